//! Scanning `events/`: which files there are, and their bytes in parallel.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};

use nix::sys::resource::{UsageWho, getrusage};

use crate::disk::{self, Disk, EntryKind, OpenDir, Stat};
use crate::format::draft::DRAFT_LEN_MAX;
use crate::store::Store;

/// The largest file in `events/` that is read: four times what a transaction may have that is written here.
pub const FILE_BYTES_MAX: u64 = 4 * DRAFT_LEN_MAX as u64;

/// A reader gives a buffer back that has become larger.
const BUFFER_BYTES_KEPT: usize = 16 << 20;

/// Files that one thread takes at a time: enough that the counter is not fought over.
const CHUNK: usize = 32;

/// How many chunks are read before the first of them is taken: bounds the memory of a first open.
const CHUNKS_AHEAD: usize = 128;

/// How many chunks lie ready before the taker is woken: it takes a chunk in less time than it is read, and would else wake for each.
const CHUNKS_AT_ONCE: usize = 8;

/// Up to so many chunks one processor is left to the one who takes.
const FEW_CHUNKS: usize = 64;

/// How many names of a listing are given at a time.
const PIECE: usize = 1024;

/// What a name in `events/` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ListedKind {
    /// A regular file, or a link to one: it is read.
    File,
    /// A directory: not read, and eventcore-fs cannot open the store.
    Directory,
    /// A link that leads nowhere: not read, and eventcore-fs cannot open the store.
    BrokenLink,
    /// A device, a socket, a pipe, or a link to one of these or to a directory: not read, and eventcore-fs cannot open the store.
    Other,
}

/// A name in `events/` that ends in `.jsonl`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The name, as `disk::shown_name` gives it.
    pub name: String,
    /// The inode of the name itself, from `readdir`: to be compared with other listings only, since `stat` may answer
    /// another one (a link's target; a file on an overlay).
    pub inode: u64,
    /// What it stands for.
    pub kind: ListedKind,
}

impl Store {
    /// The names in `events/` with something before their ending `.jsonl`, in the directory's order.
    ///
    /// Only links cost a `stat`. A missing `events/` is empty.
    pub fn list(&self) -> disk::Result<Vec<Listed>> {
        let mut listed = Vec::new();
        self.list_in_pieces(|piece| listed.extend(piece))?;
        Ok(listed)
    }

    /// The same in pieces, each given as soon as it is known.
    pub fn list_in_pieces(&self, mut give: impl FnMut(Vec<Listed>)) -> disk::Result<()> {
        let mut piece = Vec::with_capacity(PIECE);
        let mut kinds = Ok(());
        let listed = self.disk().list_each(&self.layout().events(), |entry| {
            if kinds.is_err() || entry.name.strip_suffix(".jsonl").is_none_or(str::is_empty) {
                return;
            }
            match self.kind_of(&entry) {
                Ok(kind) => piece.push(Listed { name: entry.name, inode: entry.inode, kind }),
                Err(error) => kinds = Err(error),
            }
            if piece.len() == PIECE {
                give(std::mem::replace(&mut piece, Vec::with_capacity(PIECE)));
            }
        });
        match listed {
            // Nothing is known of the files of a store that was moved away; git takes away only `events/`.
            Err(error) if !error.is_not_found() || !self.disk().is_at_home() => return Err(error),
            _ => kinds?,
        }
        give(piece);
        Ok(())
    }

    fn kind_of(&self, entry: &disk::Entry) -> disk::Result<ListedKind> {
        match entry.kind {
            EntryKind::File => Ok(ListedKind::File),
            EntryKind::Dir => Ok(ListedKind::Directory),
            EntryKind::Other => Ok(ListedKind::Other),
            EntryKind::Link => match self.disk().stat(&Disk::entry_path(&self.layout().events(), &entry.name)) {
                Ok(Stat { kind: EntryKind::File, .. }) => Ok(ListedKind::File),
                Ok(_) => Ok(ListedKind::Other),
                Err(error) if error.leads_nowhere() => Ok(ListedKind::BrokenLink),
                // Whoever reads it is told why it cannot be followed.
                Err(_) => Ok(ListedKind::File),
            },
        }
    }

    /// The bytes and facts of a file in `events/`; no bytes of one that is larger than [`FILE_BYTES_MAX`], or no regular file.
    pub fn load(&self, name: &str) -> disk::Result<(Vec<u8>, Stat)> {
        let mut bytes = Vec::new();
        let stat = self.disk().read_into(&Disk::entry_path(&self.layout().events(), name), &mut bytes, FILE_BYTES_MAX)?;
        Ok((bytes, stat))
    }

    /// A range of a file in `events/`; shorter only at its end.
    ///
    /// # Errors
    /// What the disk answered.
    pub fn read_range(&self, name: &str, offset: u64, len: usize) -> disk::Result<Vec<u8>> {
        self.disk().read_at(&Disk::entry_path(&self.layout().events(), name), offset, len)
    }

    /// The facts of a file in `events/`.
    ///
    /// # Errors
    /// What the disk answered.
    pub fn stat(&self, name: &str) -> disk::Result<Stat> {
        self.disk().stat(&Disk::entry_path(&self.layout().events(), name))
    }

    /// Whether this user may read a file in `events/`.
    pub fn may_read(&self, name: &str) -> bool {
        self.disk().may_read(&Disk::entry_path(&self.layout().events(), name))
    }

    /// Reads files in `events/` on `threads` threads and makes something of each; answers in the order of `names`.
    ///
    /// `make` gets the index in `names` and the bytes, as of [`Store::load`], in a buffer that is used again, or why they cannot be read.
    pub fn load_many<T, F>(&self, names: &[String], threads: usize, make: F) -> Vec<T>
    where
        T: Send,
        F: Fn(usize, disk::Result<(&[u8], Stat)>) -> T + Sync,
    {
        let mut all = Vec::with_capacity(names.len());
        self.load_on(names, threads, processors(), make, |made| all.append(made));
        all
    }

    /// The same for more than should lie in memory at once: `take` gets what was made, in the order of `names`, on this thread,
    /// while later files are read, though not many more than it has taken. What it leaves is dropped by who makes the next.
    pub fn load_in_turn<T, F>(&self, names: &[String], threads: usize, make: F, take: impl FnMut(&mut Vec<T>))
    where
        T: Send,
        F: Fn(usize, disk::Result<(&[u8], Stat)>) -> T + Sync,
    {
        let few = names.len() <= FEW_CHUNKS * CHUNK;
        // With few files the one who takes works as long as a reader, and they would only be in each other's way.
        let at_once = if few { processors().saturating_sub(1).max(1) } else { processors() };
        self.load_on(names, threads, at_once, make, take);
    }

    /// Begins with `at_once` readers; those who wait for the disk call others, up to `threads`.
    fn load_on<T, F>(&self, names: &[String], threads: usize, at_once: usize, make: F, mut take: impl FnMut(&mut Vec<T>))
    where
        T: Send,
        F: Fn(usize, disk::Result<(&[u8], Stat)>) -> T + Sync,
    {
        let chunks = names.len().div_ceil(CHUNK);
        let threads = if chunks > 1 && threads > 1 { threads.min(chunks) } else { 0 };
        let at_once = threads.min(at_once);
        let reading = Reading { store: self, names, threads, make, turns: Turns::of(chunks, at_once) };
        thread::scope(|scope| {
            // Whatever ends early, here or there, leaves nobody waiting.
            let _end = End(&reading.turns);
            // A system that gives no more threads is read with those that it gave.
            let readers = reading.start(at_once, scope);
            let mut alone = (readers == 0).then(|| self.reader());
            let mut spent = Vec::new();
            for chunk in 0..chunks {
                let made = match &mut alone {
                    Some(reader) => Some(reader.load(names, chunk, spent, &reading.make)),
                    None => reading.turns.take(chunk, spent),
                };
                let Some(mut made) = made else { return };
                take(&mut made);
                spent = made;
            }
        });
    }

    fn reader(&self) -> Reader<'_> {
        let events = self.layout().events();
        Reader { dir: self.disk().open_dir(&events), disk: self.disk(), events, buffer: Vec::new() }
    }
}

fn processors() -> usize {
    thread::available_parallelism().map_or(2, usize::from)
}

/// Files that are read on some threads, and who takes what is made of them.
struct Reading<'a, T, F> {
    store: &'a Store,
    names: &'a [String],
    /// How many readers there may be.
    threads: usize,
    make: F,
    turns: Turns<T>,
}

impl<T, F> Reading<'_, T, F>
where
    T: Send,
    F: Fn(usize, disk::Result<(&[u8], Stat)>) -> T + Sync,
{
    /// Starts so many readers; gives how many the system let start.
    fn start<'scope>(&'scope self, readers: usize, scope: &'scope Scope<'scope, '_>) -> usize {
        let start = || thread::Builder::new().name("read".to_owned()).spawn_scoped(scope, move || self.read(scope));
        (0..readers).take_while(|_| start().is_ok()).count()
    }

    fn read<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) {
        let end = End(&self.turns);
        let mut reader = self.store.reader();
        while let Some((chunk, spent)) = self.turns.claim() {
            let before = blocks_read();
            self.turns.hand_in(chunk, reader.load(self.names, chunk, spent, &self.make));
            // Who waits for the disk, and not just once, calls others to wait beside it.
            if blocks_read() - before >= CHUNK as i64 {
                self.start(self.turns.call(self.threads), scope);
            }
        }
        // One who finds nothing more to do is not the end of the others' work.
        std::mem::forget(end);
    }
}

/// Reads files into one buffer.
struct Reader<'a> {
    disk: &'a Disk,
    events: PathBuf,
    dir: disk::Result<OpenDir>,
    buffer: Vec<u8>,
}

impl Reader<'_> {
    /// Makes a chunk, and drops what was made of an earlier one and is spent, one for one: a heap gives a thread without a lock what that
    /// thread has just given back, and else readers and taker would meet at its lock for every piece.
    fn load<T, F>(&mut self, names: &[String], chunk: usize, spent: Vec<T>, make: &F) -> Vec<T>
    where
        F: Fn(usize, disk::Result<(&[u8], Stat)>) -> T,
    {
        let start = chunk * CHUNK;
        let names = names.get(start..names.len().min(start + CHUNK)).unwrap_or_default();
        let mut spent = spent.into_iter();
        let made = names.iter().zip(start..).map(|(name, n)| {
            drop(spent.next());
            let read = match &self.dir {
                Ok(dir) => dir.read_into(name, &mut self.buffer, FILE_BYTES_MAX),
                Err(_) => self.disk.read_into(&Disk::entry_path(&self.events, name), &mut self.buffer, FILE_BYTES_MAX),
            };
            let made = make(n, read.map(|stat| (self.buffer.as_slice(), stat)));
            if self.buffer.capacity() > BUFFER_BYTES_KEPT {
                self.buffer = Vec::new();
            }
            made
        });
        made.collect()
    }
}

/// Chunks that were made out of order, until their turn comes.
struct Turns<T> {
    chunks: usize,
    state: Mutex<State<T>>,
    /// The next chunk was made.
    made: Condvar,
    /// There is room for another chunk.
    room: Condvar,
}

struct State<T> {
    made: BTreeMap<usize, Vec<T>>,
    /// Chunks that were taken: readers drop what is left of them.
    spent: Vec<Vec<T>>,
    /// The chunk that the next free reader reads.
    next: usize,
    taken: usize,
    /// How many readers wait for room.
    waiting: usize,
    /// How many readers were called.
    readers: usize,
    ended: bool,
}

impl<T> Turns<T> {
    fn of(chunks: usize, readers: usize) -> Self {
        let state = State { made: BTreeMap::new(), spent: Vec::new(), next: 0, taken: 0, waiting: 0, readers, ended: false };
        Self { chunks, state: Mutex::new(state), made: Condvar::new(), room: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls as many readers again as there are, while there is something for them to read; gives how many are to be started.
    fn call(&self, max: usize) -> usize {
        let mut state = self.lock();
        let more = state.readers.min(max - state.readers).min(self.chunks - state.next);
        state.readers += more;
        more
    }

    /// A chunk to read, once it is not too far ahead, and one to drop; none when all are claimed or nobody takes any more.
    fn claim(&self) -> Option<(usize, Vec<T>)> {
        let mut state = self.lock();
        state.waiting += 1;
        let wait = |state: &mut State<T>| !state.ended && state.next < self.chunks && state.next >= state.taken + CHUNKS_AHEAD;
        let mut state = self.room.wait_while(state, wait).unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        let chunk = Some(state.next).filter(|&next| !state.ended && next < self.chunks)?;
        state.next += 1;
        if state.next == self.chunks {
            self.room.notify_all();
        }
        Some((chunk, state.spent.pop().unwrap_or_default()))
    }

    fn hand_in(&self, chunk: usize, made: Vec<T>) {
        let mut state = self.lock();
        state.made.insert(chunk, made);
        let (ready, taken) = (state.made.len(), state.taken);
        // Of few chunks a quarter, so that they are not all read before the first is taken.
        let enough = CHUNKS_AT_ONCE.min(self.chunks / 4).max(1);
        if state.made.contains_key(&taken) && (ready >= enough || taken + ready == self.chunks) {
            self.made.notify_all();
        }
    }

    /// The next chunk, for what is left of the one before; none if it will never come.
    fn take(&self, chunk: usize, spent: Vec<T>) -> Option<Vec<T>> {
        let wait = |state: &mut State<T>| !state.ended && !state.made.contains_key(&chunk);
        let mut state = self.lock();
        state.spent.push(spent);
        let mut state = self.made.wait_while(state, wait).unwrap_or_else(PoisonError::into_inner);
        state.taken = chunk + 1;
        // Readers who wait are woken for many chunks at once.
        if state.waiting > 0 && state.next <= state.taken + CHUNKS_AHEAD / 2 {
            self.room.notify_all();
        }
        state.made.remove(&chunk)
    }
}

/// How much this thread has had to fetch from disks so far, in blocks of 512 bytes. No clock would tell that from waiting for a
/// processor or for a lock, where more readers are only in the way.
fn blocks_read() -> i64 {
    getrusage(UsageWho::RUSAGE_THREAD).map_or(0, |usage| usage.block_reads())
}

/// Tells everybody that nothing more comes or is taken.
struct End<'a, T>(&'a Turns<T>);

impl<T> Drop for End<'_, T> {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        for waits in [&self.0.made, &self.0.room] {
            waits.notify_all();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn only_names_before_their_ending_count_and_each_says_what_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(dir.path(), &Disk::real()).unwrap();
        let events = store.layout().events();
        for name in ["a.jsonl", ".jsonl", "b.json", ".hidden.jsonl", "c.jsonl.tmp"] {
            fs::write(events.join(name), name).unwrap();
        }
        fs::write(events.join(OsStr::from_bytes(b"\xff.jsonl")), "bytes").unwrap();
        fs::create_dir(events.join("d.jsonl")).unwrap();
        symlink("a.jsonl", events.join("e.jsonl")).unwrap();
        symlink("nowhere", events.join("f.jsonl")).unwrap();
        symlink("d.jsonl", events.join("g.jsonl")).unwrap();
        let mut listed: Vec<_> = store.list().unwrap().into_iter().map(|listed| (listed.name, listed.kind)).collect();
        listed.sort_by(|a, b| a.0.cmp(&b.0));
        let expected = [
            (".hidden.jsonl", ListedKind::File),
            ("/FF.jsonl", ListedKind::File),
            ("a.jsonl", ListedKind::File),
            ("d.jsonl", ListedKind::Directory),
            ("e.jsonl", ListedKind::File),
            ("f.jsonl", ListedKind::BrokenLink),
            ("g.jsonl", ListedKind::Other),
        ];
        assert_eq!(listed, expected.map(|(name, kind)| (name.to_owned(), kind)));
        assert_eq!(store.load("/FF.jsonl").unwrap().0, b"bytes");
    }

    #[test]
    fn many_files_are_read_in_order_on_any_number_of_threads() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(dir.path(), &Disk::real()).unwrap();
        let mut names: Vec<String> = (0..3 * CHUNK + 7).map(|n| format!("{n}.jsonl")).collect();
        for name in &names {
            fs::write(store.layout().events().join(name), name).unwrap();
        }
        names.insert(5, "missing.jsonl".to_owned());
        for threads in [0, 1, 2, 9] {
            let read = store.load_many(&names, threads, |n, file| match file {
                Ok((bytes, stat)) => {
                    assert_eq!(stat.size, bytes.len() as u64);
                    assert_eq!(bytes, names[n].as_bytes());
                    Some(n)
                }
                Err(error) => {
                    assert!(error.is_not_found());
                    None
                }
            });
            assert_eq!(read, (0..names.len()).map(|n| (n != 5).then_some(n)).collect::<Vec<_>>());
        }
        assert!(store.load_many(&[], 4, |n, _| n).is_empty());
    }

    #[test]
    fn readers_are_called_as_they_are_needed_and_no_more_than_there_are_chunks() {
        let call = |chunks, at_once, max| {
            let turns = Turns::<()>::of(chunks, at_once);
            std::iter::from_fn(|| Some(turns.call(max)).filter(|&more| more > 0)).collect::<Vec<_>>()
        };
        assert_eq!(call(100, 2, 32), [2, 4, 8, 16]);
        assert_eq!(call(100, 2, 13), [2, 4, 5]);
        assert_eq!(call(0, 2, 32), [0; 0]);
        let turns = Turns::<()>::of(5, 2);
        (0..3).for_each(|chunk| assert_eq!(turns.claim().unwrap().0, chunk));
        assert_eq!(turns.call(32), 2);
    }

    #[test]
    fn what_the_taker_leaves_is_dropped_by_a_reader() {
        struct Made<'a>(&'a AtomicUsize);
        impl Drop for Made<'_> {
            fn drop(&mut self) {
                self.0.fetch_add(usize::from(thread::current().name() == Some("read")), Ordering::Relaxed);
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(dir.path(), &Disk::real()).unwrap();
        let names = vec!["missing.jsonl".to_owned(); 3 * CHUNKS_AHEAD * CHUNK];
        let dropped = AtomicUsize::new(0);
        store.load_in_turn(&names, 3, |_, _| Made(&dropped), |_| ());
        // Readers are never further ahead than that, so whatever they begin later they begin with a chunk in hand.
        assert!(dropped.into_inner() >= CHUNKS_AHEAD * CHUNK);
    }

    #[test]
    fn a_panic_on_either_side_ends_both() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(dir.path(), &Disk::real()).unwrap();
        let names: Vec<String> = (0..(CHUNKS_AHEAD + 9) * CHUNK).map(|n| format!("{n}.jsonl")).collect();
        let caught = |run: &(dyn Fn() + std::panic::RefUnwindSafe)| std::panic::catch_unwind(run).is_err();
        assert!(caught(&|| store.load_in_turn(&names, 3, |n, _| assert!(n < 99), |_| ())));
        assert!(caught(&|| store.load_in_turn(&names, 3, |_, _| (), |_| panic!("no more"))));
    }
}
