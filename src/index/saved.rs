//! The index on disk: what was read of each file, so that the next start reads two files instead of all.
//!
//! `braidfs.pack` holds the packed lines, `braidfs.table` one record a transaction in the order in which it was taken in. Both
//! only grow; a record is believed if its checksum and that of its lines are right, and the table ends at the first
//! that is not. Nothing here is synced, and nothing is lost when it is deleted.

mod record;

use std::sync::{Arc, Mutex, PoisonError};

use crate::disk::{self, Disk, DiskFile, LockGuard, Mapping};
use crate::index::pack::{Backing, Bytes, Pack};
use crate::store::Store;

pub use record::{Record, SavedEvent, SavedFile, checksum, decode, encode};

/// The bytes before the first record: what it is, which version, and the random mark that ties table and pack.
const HEAD_LEN: usize = 24;
/// The format; another one is built anew.
const MAGIC: &[u8; 8] = b"braidfs1";
/// The least room that a mapping has beyond what is in the file.
const ROOM_MIN: u64 = 1 << 20;

/// The two files, owned: only one process appends to them.
pub struct Saved {
    table: DiskFile,
    table_len: u64,
    pending: Vec<u8>,
    _lock: LockGuard,
}

/// What the last process left.
pub struct Left {
    /// The packed lines that records speak of.
    pub pack: Pack,
    /// The records that can be believed, in order.
    pub records: Vec<Record>,
    table_len: usize,
}

impl Left {
    /// Nothing: every file is to be read.
    #[must_use]
    pub fn nothing() -> Self {
        Self { pack: Pack::default(), records: Vec::new(), table_len: 0 }
    }
}

struct Mapped(Mapping);

impl Bytes for Mapped {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
}

struct PackFile(Mutex<DiskFile>);

impl Backing for PackFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_at(HEAD_LEN as u64 + offset, bytes).map_err(|error| std::io::Error::from_raw_os_error(error.errno().raw()))
    }

    fn map(&self, len: u64) -> std::io::Result<Arc<dyn Bytes>> {
        let file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Room for what is to come, so that not every append maps again; an eighth more keeps that rare.
        let room = len + (len / 8).max(ROOM_MIN);
        let mapping = file.map_beyond(HEAD_LEN as u64, room).map_err(|error| std::io::Error::from_raw_os_error(error.errno().raw()))?;
        Ok(Arc::new(Mapped(mapping)))
    }
}

fn pack_path(store: &Store) -> std::path::PathBuf {
    store.layout().index().join("braidfs.pack")
}

fn table_path(store: &Store) -> std::path::PathBuf {
    store.layout().index().join("braidfs.table")
}

/// What was left, for reading only: another process may own the files and append to them meanwhile.
///
/// # Errors
/// What the disk answered; the index is then built from the files.
pub fn read(store: &Store) -> disk::Result<Left> {
    let table = store.disk().map(&table_path(store))?;
    let pack = store.disk().open_file(&pack_path(store))?;
    Ok(believed(table, pack, true))
}

/// Takes the files over, or makes new ones; none if another process owns them or the disk takes nothing.
///
/// `mark` is random and ties a new pair of files together.
pub fn own(store: &Store, mark: [u8; 16]) -> Option<(Saved, Left)> {
    let disk = store.disk();
    disk.create_dir(&store.layout().index()).ok()?;
    let lock = disk.try_lock(&store.layout().index().join("braidfs.lock")).ok()??;
    let left = disk.map(&table_path(store)).and_then(|table| Ok(believed(table, disk.open_file(&pack_path(store))?, false)));
    let left = left.unwrap_or_else(|_| Left::nothing());
    if left.table_len > 0 {
        let mut table = disk.open_file(&table_path(store)).ok()?;
        // What lies behind the last whole record is a write that did not end.
        table.truncate(left.table_len as u64).ok()?;
        return Some((Saved { table, table_len: left.table_len as u64, pending: Vec::new(), _lock: lock }, left));
    }
    make(disk, store, mark, lock)
}

/// Begins both files anew, and gives up what they held.
fn make(disk: &Disk, store: &Store, mark: [u8; 16], lock: LockGuard) -> Option<(Saved, Left)> {
    let head: Vec<u8> = MAGIC.iter().chain(&mark).copied().collect();
    let (table_path, pack_path) = (table_path(store), pack_path(store));
    // Replaced, not cut: whoever has the old ones mapped keeps them.
    for path in [&table_path, &pack_path] {
        disk.remove_if_present(path).ok()?;
    }
    let mut pack = disk.create_new(&pack_path).ok()?;
    pack.write_at(0, &head).ok()?;
    let mut table = disk.create_new(&table_path).ok()?;
    table.write_at(0, &head).ok()?;
    let pack = Pack::open(Arc::new(PackFile(Mutex::new(pack))), 0).ok()?;
    let left = Left { pack, records: Vec::new(), table_len: 0 };
    Some((Saved { table, table_len: HEAD_LEN as u64, pending: Vec::new(), _lock: lock }, left))
}

/// As much of both files as can be believed.
fn believed(table: Mapping, pack: DiskFile, read_only: bool) -> Left {
    let head = |bytes: &[u8]| bytes.get(..HEAD_LEN).map(<[u8]>::to_vec);
    let (Some(table_head), Ok(pack_head)) = (head(&table), pack.read_at(0, HEAD_LEN)) else { return Left::nothing() };
    if !table_head.starts_with(MAGIC) || table_head != pack_head {
        return Left::nothing();
    }
    let lines_len = pack.stat().map_or(0, |stat| stat.size.saturating_sub(HEAD_LEN as u64));
    let Ok(lines) = pack.map_beyond(HEAD_LEN as u64, lines_len) else { return Left::nothing() };
    let (mut records, sizes) = decode(table.get(HEAD_LEN..).unwrap_or_default());
    drop(table);
    let mut count = 0;
    let (mut table_len, mut pack_len) = (HEAD_LEN, 0);
    for (record, size) in records.iter().zip(sizes) {
        if let Record::Came(file) = record {
            let place = file.offset as usize..(file.offset as usize).saturating_add(file.lines_len as usize);
            if file.offset < pack_len || lines.get(place).map(record::checksum) != Some(file.lines_checksum) {
                break;
            }
            pack_len = file.offset + file.lines_len;
        }
        table_len += size;
        count += 1;
    }
    drop(lines);
    records.truncate(count);
    let pack = if read_only {
        match pack.map_beyond(HEAD_LEN as u64, pack_len) {
            Ok(mapping) => Pack::read_only(Arc::new(Mapped(mapping)), pack_len),
            Err(_) => return Left::nothing(),
        }
    } else {
        match Pack::open(Arc::new(PackFile(Mutex::new(pack))), pack_len) {
            Ok(pack) => pack,
            Err(_) => return Left::nothing(),
        }
    };
    Left { pack, records, table_len }
}

impl Saved {
    /// Notes a record for the next [`Saved::flush`].
    pub fn note(&mut self, record: &Record) {
        encode(record, &mut self.pending);
    }

    /// How many bytes wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.pending.len()
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
}
