//! Scanning `events/`: which files there are, and their bytes in parallel.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::disk::{self, Disk, EntryKind, Stat};
use crate::store::Store;

/// Files that one thread takes at a time: enough that the counter is not fought over.
const CHUNK: usize = 32;

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
        let threads = threads.clamp(1, names.len().div_ceil(CHUNK).max(1));
        let next = AtomicUsize::new(0);
        let work = || self.load_chunks(names, &next, &make);
        let mut chunks: Vec<(usize, Vec<T>)> = thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let mut chunks = work();
            for other in others {
                match other.join() {
                    Ok(done) => chunks.extend(done),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            chunks
        });
        chunks.sort_unstable_by_key(|(start, _)| *start);
        chunks.into_iter().flat_map(|(_, made)| made).collect()
    }

    fn load_chunks<T, F>(&self, names: &[String], next: &AtomicUsize, make: &F) -> Vec<(usize, Vec<T>)>
    where
        F: Fn(usize, disk::Result<(&[u8], Stat)>) -> T,
    {
        let events = self.layout().events();
        let dir = self.disk().open_dir(&events);
        let mut buffer = Vec::new();
        let mut chunks = Vec::new();
        loop {
            let start = next.fetch_add(CHUNK, Ordering::Relaxed);
            let Some(chunk) = names.get(start..names.len().min(start.saturating_add(CHUNK))).filter(|chunk| !chunk.is_empty()) else {
                return chunks;
            };
            let made = chunk.iter().zip(start..).map(|(name, n)| {
                let read = match &dir {
                    Ok(dir) => dir.read_into(name, &mut buffer),
                    Err(_) => self.disk().read_into(&Disk::entry_path(&events, name), &mut buffer),
                };
                make(n, read.map(|stat| (buffer.as_slice(), stat)))
            });
            chunks.push((start, made.collect()));
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
}
