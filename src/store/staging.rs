//! `tmp/staging/`: what authors have handed in and is not decided, and their drafts. It outlives the daemon.

use std::path::PathBuf;

use crate::disk::{self, Disk, DiskFile, Entry, EntryKind, Stat};
use crate::store::Store;

/// The longest name of a file, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// A name that is one component of a path and leads nowhere else.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StagedName(String);

impl StagedName {
    /// The name, as `disk::shown_name` gives it; none if it cannot be that of a file.
    #[must_use]
    pub fn new(shown: &str) -> Option<Self> {
        let name = disk::os_name(shown);
        let is_plain = disk::shown_name(&name) == shown && !shown.contains('\0');
        (is_plain && !matches!(shown, "" | "." | "..") && name.len() <= NAME_BYTES_MAX).then(|| Self(shown.to_owned()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The staged files and drafts of a store.
#[derive(Clone, Debug)]
pub struct Staging {
    disk: Disk,
    dir: PathBuf,
}

impl Store {
    /// The staged files; makes their directory.
    pub fn staging(&self) -> disk::Result<Staging> {
        let dir = self.layout().tmp().join("staging");
        self.disk().create_dir(&dir)?;
        Ok(Staging { disk: self.disk().clone(), dir })
    }
}

impl Staging {
    fn path(&self, name: &StagedName) -> PathBuf {
        Disk::entry_path(&self.dir, name.as_str())
    }

    /// Creates an empty file. Errors with `EEXIST` when the name is taken.
    pub fn create(&self, name: &StagedName) -> disk::Result<DiskFile> {
        self.disk.in_dir(&self.dir, || self.disk.create_new(&self.path(name)))
    }

    /// Opens a file for reading and writing.
    pub fn open(&self, name: &StagedName) -> disk::Result<DiskFile> {
        self.disk.open_file(&self.path(name))
    }

    /// The bytes of a file.
    pub fn read(&self, name: &StagedName) -> disk::Result<Vec<u8>> {
        self.disk.read(&self.path(name))
    }

    /// At most `len` bytes of a file from `offset` on; fewer at its end.
    pub fn read_at(&self, name: &StagedName, offset: u64, len: usize) -> disk::Result<Vec<u8>> {
        self.disk.read_at(&self.path(name), offset, len)
    }

    /// The facts of a file.
    pub fn stat(&self, name: &StagedName) -> disk::Result<Stat> {
        self.disk.stat_link(&self.path(name))
    }

    /// Renames a file, over another one if there is one.
    pub fn rename(&self, from: &StagedName, to: &StagedName) -> disk::Result<()> {
        self.disk.rename(&self.path(from), &self.path(to))
    }

    /// Removes a file; one that is gone already is fine too.
    pub fn remove(&self, name: &StagedName) -> disk::Result<()> {
        match self.disk.remove(&self.path(name)) {
            Err(error) if error.is_not_found() => Ok(()),
            removed => removed,
        }
    }

    /// The regular files, in the directory's order.
    pub fn list(&self) -> disk::Result<Vec<Entry>> {
        let mut entries = self.disk.list_if_present(&self.dir)?;
        entries.retain(|entry| entry.kind == EntryKind::File);
        Ok(entries)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out() {
        for name in ["", ".", "..", "a/b", "../x", "/2Fx/2F", "/zz", "a\0", "/2e", &"x".repeat(256)] {
            assert_eq!(StagedName::new(name), None, "{name:?}");
        }
        for name in ["x.jsonl", ".x", "...", "/FF", "ä", &"x".repeat(255)] {
            assert!(StagedName::new(name).is_some(), "{name:?}");
        }
    }

    #[test]
    fn files_are_created_written_renamed_and_found_by_the_next_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(dir.path(), &Disk::real()).unwrap();
        let staging = store.staging().unwrap();
        let name = |name: &str| StagedName::new(name).unwrap();
        let mut file = staging.create(&name(".x")).unwrap();
        file.write_at(0, b"0123456789").unwrap();
        file.write_at(4, b"ab").unwrap();
        file.truncate(8).unwrap();
        assert!(staging.create(&name(".x")).unwrap_err().is_taken());
        staging.create(&name("y.jsonl")).unwrap();
        staging.rename(&name(".x"), &name("y.jsonl")).unwrap();
        assert_eq!(file.read_at(0, 100).unwrap(), b"0123ab67");
        let again = store.staging().unwrap();
        assert_eq!(again.read(&name("y.jsonl")).unwrap(), b"0123ab67");
        assert_eq!(again.list().unwrap().len(), 1);
        again.remove(&name("y.jsonl")).unwrap();
        assert!(again.stat(&name("y.jsonl")).unwrap_err().is_not_found());
    }
}
