//! Scanning `events/`: which files there are, and their bytes in parallel.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

use crate::disk::{self, Disk, EntryKind, OpenDir, Stat};
use crate::store::Store;

/// Files that one thread takes at a time: enough that the counter is not fought over.
const CHUNK: usize = 32;

/// How many chunks are read before the first of them is taken: bounds the memory of a first open.
const CHUNKS_AHEAD: usize = 128;

/// How many chunks lie ready before the taker is woken: it takes a chunk in less time than it is read, and would else wake for each.
const CHUNKS_AT_ONCE: usize = 8;

/// A reader that took so many times its processor time was waiting for the disk.
const WAITING: u32 = 4;

/// What a name in `events/` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ListedKind {
    /// A regular file, or a link to one: it is read.
    File,
    /// A directory: not read, and eventcore-fs cannot open the store.
    Directory,
    /// A link that leads nowhere: not read, and eventcore-fs cannot open the store.
    BrokenLink,
    /// A link to a directory, a device, a socket or a pipe: not read.
    Other,
}

/// A name in `events/` that ends in `.jsonl`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The name, as [`disk::shown_name`] gives it.
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
        for entry in self.disk().list_if_present(&self.layout().events())? {
            if entry.name.strip_suffix(".jsonl").is_some_and(|stem| !stem.is_empty()) {
                let kind = self.kind_of(&entry)?;
                listed.push(Listed { name: entry.name, inode: entry.inode, kind });
            }
        }
        Ok(listed)
    }

    fn kind_of(&self, entry: &disk::Entry) -> disk::Result<ListedKind> {
        match entry.kind {
            EntryKind::File => Ok(ListedKind::File),
            EntryKind::Dir => Ok(ListedKind::Directory),
            EntryKind::Other => Ok(ListedKind::Other),
            EntryKind::Link => match self.disk().stat(&Disk::entry_path(&self.layout().events(), &entry.name)) {
                Ok(Stat { kind: EntryKind::File, .. }) => Ok(ListedKind::File),
                Ok(_) => Ok(ListedKind::Other),
                Err(_) => Ok(ListedKind::BrokenLink),
            },
        }
    }

    /// The bytes and facts of a file in `events/`.
    pub fn load(&self, name: &str) -> disk::Result<(Vec<u8>, Stat)> {
        self.disk().read_with_stat(&Disk::entry_path(&self.layout().events(), name))
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

    /// Reads files in `events/` on `threads` threads and makes something of each; answers in the order of `names`.
    ///
    /// `make` gets the index in `names` and the bytes, in a buffer that is used again, or why they cannot be read.
    pub fn load_many<T, F>(&self, names: &[String], threads: usize, make: F) -> Vec<T>
    where
        T: Send,
        F: Fn(usize, disk::Result<(&[u8], Stat)>) -> T + Sync,
    {
        let mut all = Vec::with_capacity(names.len());
        self.load_in_turn(names, threads, make, |made| all.extend(made));
        all
    }

    /// The same for more than should lie in memory at once: `take` gets what was made, in the order of `names`, on this thread,
    /// while later files are read, though not many more than it has taken.
    pub fn load_in_turn<T, F>(&self, names: &[String], threads: usize, make: F, mut take: impl FnMut(Vec<T>))
    where
        T: Send,
        F: Fn(usize, disk::Result<(&[u8], Stat)>) -> T + Sync,
    {
        let chunks = names.len().div_ceil(CHUNK);
        let turns = Turns::of(chunks, threads.min(thread::available_parallelism().map_or(2, usize::from)));
        let work = |reader_number: usize| {
            let end = End(&turns);
            let mut reader = self.reader();
            while turns.wait_until_called(reader_number) {
                let Some(chunk) = turns.claim() else { break };
                let begun = (Instant::now(), thread_time());
                turns.hand_in(chunk, reader.load(names, chunk, &make));
                // Who mostly waits for the disk calls others to wait beside it.
                if begun.0.elapsed() > thread_time().saturating_sub(begun.1) * WAITING {
                    turns.call(threads);
                }
            }
            // One who finds nothing more to do is not the end of the others' work.
            std::mem::forget(end);
        };
        thread::scope(|scope| {
            // Whatever ends early, here or there, leaves nobody waiting.
            let _end = End(&turns);
            let wanted = if chunks > 1 && threads > 1 { threads.min(chunks) } else { 0 };
            let spawn = |number| thread::Builder::new().name("read".to_owned()).spawn_scoped(scope, move || work(number)).is_ok();
            // A system that gives no more threads is read with those that it gave.
            let readers = (0..wanted).take_while(|&number| spawn(number)).count();
            let mut alone = (readers == 0).then(|| self.reader());
            for chunk in 0..chunks {
                let made = match &mut alone {
                    Some(reader) => Some(reader.load(names, chunk, &make)),
                    None => turns.take(chunk),
                };
                let Some(made) = made else { return };
                take(made);
            }
        });
    }

    fn reader(&self) -> Reader<'_> {
        let events = self.layout().events();
        Reader { dir: self.disk().open_dir(&events), disk: self.disk(), events, buffer: Vec::new() }
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
    fn load<T>(&mut self, names: &[String], chunk: usize, make: &impl Fn(usize, disk::Result<(&[u8], Stat)>) -> T) -> Vec<T> {
        let start = chunk * CHUNK;
        let names = names.get(start..names.len().min(start + CHUNK)).unwrap_or_default();
        let made = names.iter().zip(start..).map(|(name, n)| {
            let read = match &self.dir {
                Ok(dir) => dir.read_into(name, &mut self.buffer),
                Err(_) => self.disk.read_into(&Disk::entry_path(&self.events, name), &mut self.buffer),
            };
            make(n, read.map(|stat| (self.buffer.as_slice(), stat)))
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
    /// More readers are called.
    called: Condvar,
}

struct State<T> {
    made: BTreeMap<usize, Vec<T>>,
    /// The chunk that the next free reader reads.
    next: usize,
    taken: usize,
    /// How many readers wait for room.
    waiting: usize,
    /// Readers below this number are to read.
    called: usize,
    ended: bool,
}

impl<T> Turns<T> {
    fn of(chunks: usize, called: usize) -> Self {
        let state = State { made: BTreeMap::new(), next: 0, taken: 0, waiting: 0, called, ended: false };
        Self { chunks, state: Mutex::new(state), made: Condvar::new(), room: Condvar::new(), called: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until this reader is needed; false if nobody takes any more.
    fn wait_until_called(&self, reader: usize) -> bool {
        let wait = |state: &mut State<T>| !state.ended && reader >= state.called;
        !self.called.wait_while(self.lock(), wait).unwrap_or_else(PoisonError::into_inner).ended
    }

    /// Calls twice as many readers.
    fn call(&self, max: usize) {
        let mut state = self.lock();
        if state.called < max {
            state.called = (state.called * 2).min(max);
            self.called.notify_all();
        }
    }

    /// A chunk to read, once it is not too far ahead; none when all are claimed or nobody takes any more.
    fn claim(&self) -> Option<usize> {
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
        Some(chunk)
    }

    fn hand_in(&self, chunk: usize, made: Vec<T>) {
        let mut state = self.lock();
        state.made.insert(chunk, made);
        let (ready, taken) = (state.made.len(), state.taken);
        if state.made.contains_key(&taken) && (ready >= CHUNKS_AT_ONCE || taken + ready == self.chunks) {
            self.made.notify_all();
        }
    }

    /// The next chunk; none if it will never come.
    fn take(&self, chunk: usize) -> Option<Vec<T>> {
        let wait = |state: &mut State<T>| !state.ended && !state.made.contains_key(&chunk);
        let mut state = self.made.wait_while(self.lock(), wait).unwrap_or_else(PoisonError::into_inner);
        state.taken = chunk + 1;
        // Readers who wait are woken for many chunks at once.
        if state.waiting > 0 && state.next <= state.taken + CHUNKS_AHEAD / 2 {
            self.room.notify_all();
        }
        state.made.remove(&chunk)
    }
}

/// The processor time of this thread so far.
fn thread_time() -> Duration {
    let now = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID);
    now.map_or(Duration::ZERO, Duration::from)
}

/// Tells everybody that nothing more comes or is taken.
struct End<'a, T>(&'a Turns<T>);

impl<T> Drop for End<'_, T> {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        for waits in [&self.0.made, &self.0.room, &self.0.called] {
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
    fn a_panic_on_either_side_ends_both() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(dir.path(), &Disk::real()).unwrap();
        let names: Vec<String> = (0..(CHUNKS_AHEAD + 9) * CHUNK).map(|n| format!("{n}.jsonl")).collect();
        let caught = |run: &(dyn Fn() + std::panic::RefUnwindSafe)| std::panic::catch_unwind(run).is_err();
        assert!(caught(&|| store.load_in_turn(&names, 3, |n, _| assert!(n < 99), |_| ())));
        assert!(caught(&|| store.load_in_turn(&names, 3, |_, _| (), |_| panic!("no more"))));
    }
}
