//! The index on disk: what was read of each file, so that the next start reads three files instead of all.
//!
//! `braidfs.pack` holds the packed lines and only grows. `braidfs.base` is the whole index as of some moment, written beside and
//! renamed. `braidfs.table` has one record for each thing that happened since. What the base speaks of was synced in the pack before it
//! got its name; of a record both its own checksum and that of its lines are compared, and the table ends at the first that is
//! not right. Random marks tie the three together. Nothing is lost when they are deleted.

mod base;
mod record;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{self, Disk, DiskFile, LockGuard, Mapping};
use crate::format::binary::{Binary, Input};
use crate::index::Index;
use crate::index::pack::{Backing, Bytes, Pack, sum_behind};
use crate::store::Store;

pub use base::{BaseWriter, Extra};
pub use record::{Record, SavedEvent, SavedFile, checksum, decode, encode};

/// Random bytes that tie files together.
pub type Mark = [u8; 16];

/// The format; another one is built anew.
const MAGIC: [u8; 8] = *b"braidfs9";
/// The bytes of the pack before the first line: the format and the pack's mark.
const PACK_HEAD: usize = 24;
/// The bytes of the table before the first record: the format, the pack's mark, and that of the base which it follows.
const TABLE_HEAD: usize = 40;
/// The mark of no base.
const NO_BASE: Mark = [0; 16];
/// How much of a start another event of a transaction takes, in sixteenths of one with its transaction.
const EVENT_WEIGHT: usize = 8;
/// The least room that a mapping has beyond what is in the file.
const ROOM_MIN: u64 = 1 << 20;

/// The files, owned: only one process writes them.
pub struct Saved {
    disk: Disk,
    paths: Paths,
    pack_mark: Mark,
    table: DiskFile,
    table_len: u64,
    pending: Vec<u8>,
    noting: Noting,
    /// How much a start has to go through in the table, in sixteenths of a transaction of one event ([`weight`]).
    records: usize,
    /// Whether base or table have the number of a state.
    is_numbered: bool,
    /// Where the files go once all three are whole, if they lie elsewhere until then.
    destination: Option<Paths>,
    /// Inodes of the pack and, once there is one, of the base.
    pack_inode: u64,
    has_base: bool,
    lock: LockGuard,
}

/// What becomes of a record.
enum Noting {
    /// It goes to the table.
    Table,
    /// It goes nowhere, unless it has a number: the next base will hold it.
    Nowhere,
    /// A base is being written that does not hold it: it also goes to the table that will follow.
    Both(Vec<u8>),
}

struct Paths {
    dir: PathBuf,
    pack: PathBuf,
    base: PathBuf,
    table: PathBuf,
}

impl Paths {
    fn of(store: &Store) -> Self {
        Self::below(store.layout().index())
    }

    fn below(dir: PathBuf) -> Self {
        Self { pack: dir.join("braidfs.pack"), base: dir.join("braidfs.base"), table: dir.join("braidfs.table"), dir }
    }

    /// Where new files are written while the old ones are still of use.
    fn aside(&self) -> Self {
        Self::below(self.dir.join("braidfs.new"))
    }

    fn lock(&self, disk: &Disk) -> disk::Result<Option<LockGuard>> {
        disk.create_dir(&self.dir)?;
        disk.try_lock(&self.lock_file())
    }

    fn lock_file(&self) -> PathBuf {
        self.dir.join("braidfs.lock")
    }

    /// Removes what a killed process left of new files.
    fn clear_aside(&self, disk: &Disk) -> disk::Result<()> {
        let aside = self.aside().dir;
        // Asked first: a removal that finds nothing is no change.
        if disk.stat_if_present(&aside)?.is_some() { disk.remove_dir_all(&aside) } else { Ok(()) }
    }
}

/// What the last process left.
#[derive(Default)]
pub struct Left {
    /// The packed lines that base and records speak of.
    pub pack: Pack,
    /// The whole index as of some moment, without its pack.
    pub base: Option<(Index, Extra)>,
    /// What happened since, in order.
    pub records: Vec<Record>,
    pack_mark: Mark,
    pack_inode: u64,
    base_mark: Mark,
    /// The bytes of the table that can be believed; none if there is no table that follows the base.
    table_len: Option<usize>,
}

impl Left {
    /// Whether it is nothing: there were no files, or none that can be used.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.base.is_none() && self.records.is_empty()
    }
}

/// The pack's file.
struct PackFile(Mutex<DiskFile>);

impl PackFile {
    fn new(file: DiskFile) -> Self {
        Self(Mutex::new(file))
    }

    fn file(&self) -> MutexGuard<'_, DiskFile> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `len` bytes of lines, also where the file does not reach that far yet.
    fn mapped(&self, len: u64) -> disk::Result<Mapped> {
        Ok(Mapped(self.file().map_beyond(PACK_HEAD as u64, len)?))
    }
}

impl Backing for PackFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        self.file().write_at(PACK_HEAD as u64 + offset, bytes).map_err(|error| std::io::Error::from_raw_os_error(error.errno().raw()))
    }

    fn map(&self, len: u64) -> std::io::Result<Arc<dyn Bytes>> {
        // Room for what is to come, so that not every append maps again; an eighth more keeps that rare.
        let room = len + (len / 8).max(ROOM_MIN);
        let mapped = self.mapped(room).map_err(|error| std::io::Error::from_raw_os_error(error.errno().raw()))?;
        Ok(Arc::new(mapped))
    }
}

/// Lines of a pack's file.
struct Mapped(Mapping);

impl Bytes for Mapped {
    fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn is_torn(&self) -> bool {
        self.0.is_torn()
    }
}

/// What was left, for reading only: another process may own the files and append to them meanwhile.
///
/// # Errors
/// What the disk answered; the index is then built from the files.
pub fn read(store: &Store) -> disk::Result<Left> {
    left(store.disk(), &Paths::of(store), true)
}

/// Takes the files over, or makes new ones; none if another process owns them or the disk takes nothing.
///
/// `mark` is random and ties new files together.
pub fn own(store: &Store, mark: Mark) -> Option<(Saved, Left)> {
    let (disk, paths) = (store.disk(), Paths::of(store));
    let lock = paths.lock(disk).ok()??;
    let _ = paths.clear_aside(disk);
    let mut left = left(disk, &paths, false).unwrap_or_default();
    if left.base.is_none() && left.table_len.is_none() {
        left = make_pack(disk, &paths, mark)?;
    }
    let (table, table_len) = match left.table_len {
        Some(len) => {
            let mut table = disk.open_file(&paths.table).ok()?;
            // What lies behind the last whole record is a write that did not end.
            table.truncate(len as u64).ok()?;
            (table, len as u64)
        }
        None => {
            let mut numbers = Vec::new();
            left.records.iter().for_each(|record| encode(record, &mut numbers));
            (make_table(disk, &paths, left.pack_mark, left.base_mark, &numbers).ok()?, (TABLE_HEAD + numbers.len()) as u64)
        }
    };
    let mut saved = Saved::new(disk, paths, lock, (left.pack_mark, left.pack_inode), table, table_len);
    saved.records = left.records.iter().map(weight).sum();
    saved.has_base = left.base.is_some();
    saved.is_numbered = left.base.is_some() || left.records.iter().any(is_number);
    Some((saved, left))
}

/// Takes the files over once whoever owned them has ended; none while somebody does. The lines of `pack`, which is the whole, are written
/// anew beside what was left, and the next base holds the rest: then they take its place.
///
/// # Errors
/// What the disk answered; what was left stays.
pub fn take_up(store: &Store, mark: Mark, pack: &mut Pack) -> disk::Result<Option<Saved>> {
    let (disk, destination) = (store.disk(), Paths::of(store));
    let Some(lock) = destination.lock(disk)? else { return Ok(None) };
    destination.clear_aside(disk)?;
    let paths = destination.aside();
    disk.create_dir(&paths.dir)?;
    let table = make_table(disk, &paths, mark, NO_BASE, &[]).inspect_err(|_| drop(destination.clear_aside(disk)))?;
    let mut saved = Saved::new(disk, paths, lock, (mark, 0), table, TABLE_HEAD as u64);
    (saved.noting, saved.destination) = (Noting::Nowhere, Some(destination));
    let failed = |error| disk::Error::new(disk::Op::Write, &saved.paths.pack, error);
    pack.move_to(create_pack(disk, &saved.paths, mark)?).map_err(failed)?;
    saved.pack_inode = disk.stat(&saved.paths.pack)?.inode;
    pack.flush();
    // It is not tried again and again.
    if pack.has_file() { Ok(Some(saved)) } else { Err(failed(std::io::ErrorKind::StorageFull.into())) }
}

/// Begins anew, and gives up what was there.
fn make_pack(disk: &Disk, paths: &Paths, mark: Mark) -> Option<Left> {
    let pack = Pack::open(create_pack(disk, paths, mark).ok()?, 0, 0).ok()?;
    let pack_inode = disk.stat(&paths.pack).ok()?.inode;
    Some(Left { pack, pack_mark: mark, pack_inode, ..Left::default() })
}

/// A pack without lines, in place of everything that was there.
fn create_pack(disk: &Disk, paths: &Paths, mark: Mark) -> disk::Result<Arc<PackFile>> {
    // Removed, not cut: whoever has the old ones mapped keeps them.
    for path in [&paths.base, &paths.table, &paths.pack] {
        disk.remove_if_present(path)?;
    }
    let mut pack = disk.create_new(&paths.pack)?;
    let mut head = Vec::with_capacity(PACK_HEAD);
    MAGIC.put(&mut head);
    mark.put(&mut head);
    pack.write_at(0, &head)?;
    Ok(Arc::new(PackFile::new(pack)))
}

/// Replaces the table by one that follows a base.
fn make_table(disk: &Disk, paths: &Paths, pack_mark: Mark, base_mark: Mark, records: &[u8]) -> disk::Result<DiskFile> {
    let mut bytes = Vec::with_capacity(TABLE_HEAD + records.len());
    MAGIC.put(&mut bytes);
    pack_mark.put(&mut bytes);
    base_mark.put(&mut bytes);
    bytes.extend_from_slice(records);
    disk.replace_loosely(&paths.table, &paths.table.with_extension("table.tmp"), &bytes)?;
    disk.open_file(&paths.table)
}

/// As much of the files as can be believed.
fn left(disk: &Disk, paths: &Paths, read_only: bool) -> disk::Result<Left> {
    let pack = disk.open_file(&paths.pack)?;
    let Some(pack_mark) = pack_mark_of(&pack.read_at(0, PACK_HEAD)?) else { return Ok(Left::default()) };
    // In this order: a base that came meanwhile is newer than the table, and no line that it speaks of lies behind the end.
    let table = disk.map(&paths.table);
    let base = disk.map(&paths.base);
    let stat = pack.stat()?;
    let lines_len = stat.size.saturating_sub(PACK_HEAD as u64);
    let lines = pack.map_beyond(PACK_HEAD as u64, lines_len)?;
    let base = base.ok().and_then(|bytes| base::decode(&bytes, pack_mark, &lines));
    let base_mark = base.as_ref().map_or(NO_BASE, |base| base.mark);
    let (base_len, base_sum) = base.as_ref().map_or((0, 0), |base| (base.pack_len, base.lines_sum));
    let mut pack_len = base_len;
    let (mut records, mut table_len) = (Vec::new(), None);
    if let Ok(table) = table
        && let Some((of_pack, of_base)) = table_head(&table)
        && of_pack == pack_mark
    {
        if of_base == base_mark {
            let len;
            (records, len, pack_len) = believed(&table, &lines, pack_len);
            table_len = Some(len);
        } else if base.is_some() {
            // A table that follows the base is yet to be written. Numbers that were given meanwhile stand here alone.
            records = decode(table.get(TABLE_HEAD..).unwrap_or_default()).0;
            records.retain(is_number);
        }
    }
    let sum = sum_behind(base_sum, lines.get(base_len as usize..pack_len as usize).unwrap_or_default());
    let pack = PackFile::new(pack);
    let pack = if read_only {
        Pack::read_only(Arc::new(pack.mapped(pack_len)?), pack_len, sum)
    } else {
        Pack::open(Arc::new(pack), pack_len, sum).unwrap_or_default()
    };
    if pack.len() != pack_len {
        return Ok(Left::default());
    }
    Ok(Left { pack, base: base.map(|base| (base.index, base.extra)), records, pack_mark, pack_inode: stat.inode, base_mark, table_len })
}

fn pack_mark_of(head: &[u8]) -> Option<Mark> {
    let mut head = Input(head);
    (<[u8; 8]>::take(&mut head)? == MAGIC).then(|| Mark::take(&mut head))?
}

fn table_head(table: &[u8]) -> Option<(Mark, Mark)> {
    let mut head = Input(table);
    (<[u8; 8]>::take(&mut head)? == MAGIC).then(|| Some((Mark::take(&mut head)?, Mark::take(&mut head)?)))?
}

/// Whether a record is about the numbers of states.
fn is_number(record: &Record) -> bool {
    matches!(record, Record::State(_) | Record::SetApart(_))
}

/// How much of a start a record takes, in sixteenths of a transaction of one event: what has a number was noted when it came or went.
fn weight(record: &Record) -> usize {
    match record {
        Record::State(_) | Record::SetApart(_) => 1,
        Record::Came(file) => 16 + EVENT_WEIGHT * file.events.len().saturating_sub(1),
        _ => 16,
    }
}

/// How much a start has to go through for what is in an index, if no base holds it: as many transactions of one event.
#[must_use]
pub fn work(index: &Index) -> usize {
    let (transactions, events) = (index.transactions.len() as usize, index.events.len() as usize);
    transactions + events.saturating_sub(transactions) * EVENT_WEIGHT / 16
}

/// The records whose lines are in the pack, the bytes of the table up to their end, and those of the pack.
fn believed(table: &[u8], lines: &[u8], mut pack_len: u64) -> (Vec<Record>, usize, u64) {
    let (mut records, sizes) = decode(table.get(TABLE_HEAD..).unwrap_or_default());
    let (mut count, mut table_len) = (0, TABLE_HEAD);
    for (record, size) in records.iter().zip(sizes) {
        if let Record::Came(file) = record {
            let place = file.offset as usize..(file.offset as usize).saturating_add(file.lines_len as usize);
            if file.offset < pack_len || lines.get(place).map(checksum) != Some(file.lines_checksum) {
                break;
            }
            pack_len = file.offset + file.lines_len;
        }
        table_len += size;
        count += 1;
    }
    records.truncate(count);
    (records, table_len, pack_len)
}

impl Saved {
    fn new(disk: &Disk, paths: Paths, lock: LockGuard, (pack_mark, pack_inode): (Mark, u64), table: DiskFile, table_len: u64) -> Self {
        Self {
            disk: disk.clone(),
            paths,
            pack_mark,
            table,
            table_len,
            pending: Vec::new(),
            noting: Noting::Table,
            records: 0,
            is_numbered: false,
            destination: None,
            pack_inode,
            has_base: false,
            lock,
        }
    }

    /// Whether lock and files are still what has their names: somebody may have deleted them, and made others.
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        // An error tells nothing.
        let named = |path: &Path| self.disk.stat_if_present(path).map_or(None, |stat| Some(stat.map(|stat| stat.inode)));
        let is_same = |path: &Path, inode: Option<u64>| named(path).is_none_or(|named| named.is_some() && named == inode);
        let is_table = self.table.stat().map_or(true, |stat| is_same(&self.paths.table, Some(stat.inode)));
        let is_base = !self.has_base || named(&self.paths.base) != Some(None);
        self.is_locked() && is_table && is_base && is_same(&self.paths.pack, Some(self.pack_inode))
    }

    fn is_locked(&self) -> bool {
        self.lock.is_on(&self.destination.as_ref().unwrap_or(&self.paths).lock_file())
    }

    /// Notes a record for the next [`Saved::flush`].
    pub fn note(&mut self, record: &Record) {
        let start = self.pending.len();
        let is_number = is_number(record);
        match &mut self.noting {
            // The next base may be long in coming, and the number is shown by then. It counts what came since the numbers before it.
            Noting::Nowhere if !is_number || !self.is_numbered => return,
            Noting::Nowhere | Noting::Table => encode(record, &mut self.pending),
            Noting::Both(next) => {
                encode(record, &mut self.pending);
                next.extend_from_slice(self.pending.get(start..).unwrap_or_default());
            }
        }
        self.is_numbered |= is_number;
        self.records += weight(record);
    }

    /// Notes nothing but numbers until the next base, which will hold it all.
    pub fn skip_to_base(&mut self) {
        if matches!(self.noting, Noting::Table) {
            self.noting = Noting::Nowhere;
        }
    }

    /// How much a start would have to go through, as so many transactions of one event.
    #[must_use]
    pub fn records(&self) -> usize {
        self.records / 16
    }

    /// Writes what was noted; false if the disk takes no more, and then nothing later may be noted.
    pub fn flush(&mut self) -> bool {
        if self.pending.is_empty() {
            return true;
        }
        let pending = std::mem::take(&mut self.pending);
        match self.table.write_at(self.table_len, &pending) {
            Ok(()) => {
                self.table_len += pending.len() as u64;
                true
            }
            Err(error) => {
                tracing::warn!(%error, "the saved index takes no more; the next start reads the files");
                let _ = self.table.truncate(self.table_len);
                false
            }
        }
    }

    /// Begins a base that holds everything up to now; `mark` is random. [`Saved::end_base`] must follow.
    pub fn begin_base(&mut self, mark: Mark) -> BaseWriter {
        self.noting = Noting::Both(Vec::new());
        BaseWriter::new(self.disk.clone(), self.paths.pack.clone(), self.paths.base.clone(), self.pack_mark, mark)
    }

    /// Goes on with a table that follows the base, if that was written.
    ///
    /// # Errors
    /// What the disk answered; the old table goes on then, and nothing is saved of what it does not hold.
    pub fn end_base(&mut self, written: disk::Result<Mark>) -> disk::Result<()> {
        let Noting::Both(next) = std::mem::replace(&mut self.noting, Noting::Table) else { return Ok(()) };
        let mark = written?;
        self.table = make_table(&self.disk, &self.paths, self.pack_mark, mark, &next)?;
        self.table_len = (TABLE_HEAD + next.len()) as u64;
        (self.records, self.is_numbered, self.has_base) = (0, true, true);
        self.pending.clear();
        self.arrive()
    }

    /// Puts the files in the place of what another process left, now that they are whole.
    fn arrive(&mut self) -> disk::Result<()> {
        let Some(destination) = &self.destination else { return Ok(()) };
        self.disk.rename(&self.paths.pack, &destination.pack)?;
        self.disk.rename(&self.paths.base, &destination.base)?;
        self.disk.rename(&self.paths.table, &destination.table)?;
        let _ = self.disk.remove_dir(&self.paths.dir);
        if let Some(destination) = self.destination.take() {
            self.paths = destination;
        }
        Ok(())
    }
}

impl Drop for Saved {
    fn drop(&mut self) {
        // Without the lock they are another's.
        if let Some(destination) = self.destination.as_ref().filter(|_| self.is_locked()) {
            let _ = destination.clear_aside(&self.disk);
        }
    }
}
