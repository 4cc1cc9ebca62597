//! `tmp/receipts/`: what became of staged files, one file a staged name.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::disk::{self, Disk, EntryKind, Stat};
use crate::store::{StagedName, Store};

/// How long a receipt is kept: 30 days.
pub const RECEIPT_AGE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// How many receipts are kept.
pub const RECEIPTS_MAX: usize = 10_000;

/// The receipts of a store.
#[derive(Clone, Debug)]
pub struct Receipts {
    store: Store,
    dir: PathBuf,
}

impl Store {
    /// The receipts; makes their directory.
    pub fn receipts(&self) -> disk::Result<Receipts> {
        let dir = self.layout().tmp().join("receipts");
        self.disk().create_dir(&dir)?;
        Ok(Receipts { store: self.clone(), dir })
    }
}

impl Receipts {
    fn path(&self, name: &StagedName) -> PathBuf {
        // Under the staged name itself: with an ending it could be too long for a file's name.
        Disk::entry_path(&self.dir, name.as_str())
    }

    /// Saves the receipt of a staged name, in place of an older one, as a whole.
    ///
    /// Without a sync: what became of the file is in `events/`, and a retry by key finds it there.
    pub fn save(&self, name: &StagedName, bytes: &[u8]) -> disk::Result<()> {
        let temporary = self.store.temporary("receipt")?;
        self.store.disk().in_dir(&self.dir, || self.store.disk().replace_loosely(&self.path(name), &temporary, bytes))
    }

    /// The receipt of a staged name, or none.
    pub fn load(&self, name: &StagedName) -> disk::Result<Option<Vec<u8>>> {
        self.store.disk().read_if_present(&self.path(name))
    }

    /// The facts of a receipt's file, or none.
    pub fn stat(&self, name: &StagedName) -> disk::Result<Option<Stat>> {
        self.store.disk().stat_if_present(&self.path(name))
    }

    /// Forgets a receipt. Errors with `ENOENT` when there is none.
    pub fn forget(&self, name: &StagedName) -> disk::Result<()> {
        self.store.disk().remove(&self.path(name))
    }

    /// The staged names that have a receipt, with its facts, oldest first.
    pub fn list(&self) -> disk::Result<Vec<(StagedName, Stat)>> {
        let mut receipts = Vec::new();
        for entry in self.store.disk().list_if_present(&self.dir)? {
            if entry.kind != EntryKind::File {
                continue;
            }
            let Some(name) = StagedName::new(&entry.name) else { continue };
            if let Some(stat) = self.stat(&name)? {
                receipts.push((name, stat));
            }
        }
        receipts.sort_by(|(a, a_stat), (b, b_stat)| (a_stat.mtime_ns, a).cmp(&(b_stat.mtime_ns, b)));
        Ok(receipts)
    }

    /// Forgets those that are older than [`RECEIPT_AGE_MAX`] at `now`, if that is known, and the oldest beyond [`RECEIPTS_MAX`].
    pub fn forget_old(&self, now: Option<SystemTime>) -> disk::Result<Vec<StagedName>> {
        self.forget_beyond(now, RECEIPTS_MAX)
    }

    fn forget_beyond(&self, now: Option<SystemTime>, keep: usize) -> disk::Result<Vec<StagedName>> {
        let receipts = self.list()?;
        let beyond = receipts.len().saturating_sub(keep);
        let is_old = |stat: &Stat| now.is_some_and(|now| now.duration_since(stat.modified()).is_ok_and(|age| age > RECEIPT_AGE_MAX));
        let mut forgotten = Vec::new();
        for (n, (name, stat)) in receipts.into_iter().enumerate() {
            if n < beyond || is_old(&stat) {
                self.store.disk().remove_if_present(&self.path(&name))?;
                forgotten.push(name);
            }
        }
        Ok(forgotten)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use std::fs;

    use super::*;

    fn name(name: &str) -> StagedName {
        StagedName::new(name).unwrap()
    }

    #[test]
    fn a_receipt_is_replaced_listed_and_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let receipts = Store::init(dir.path(), &Disk::real()).unwrap().receipts().unwrap();
        let long = name(&"x".repeat(255));
        receipts.save(&long, b"1").unwrap();
        receipts.save(&long, b"22").unwrap();
        assert_eq!(receipts.load(&long).unwrap().unwrap(), b"22");
        assert_eq!(receipts.list().unwrap().len(), 1);
        receipts.forget(&long).unwrap();
        assert!(receipts.forget(&long).unwrap_err().is_not_found());
        assert_eq!(receipts.load(&long).unwrap(), None);
    }

    #[test]
    fn old_ones_and_too_many_are_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let receipts = Store::init(dir.path(), &Disk::real()).unwrap().receipts().unwrap();
        let now = SystemTime::now();
        let second = Duration::from_secs(1);
        for (n, age) in [(1, RECEIPT_AGE_MAX + second), (2, RECEIPT_AGE_MAX), (3, second * 3), (4, second * 2), (5, second)] {
            fs::write(dir.path().join(format!("tmp/receipts/{n}")), "").unwrap();
            Disk::real().set_modified(&dir.path().join(format!("tmp/receipts/{n}")), now - age).unwrap();
        }
        assert_eq!(receipts.forget_old(None).unwrap(), []);
        assert_eq!(receipts.forget_old(Some(now)).unwrap(), [name("1")]);
        assert_eq!(receipts.forget_beyond(None, 4).unwrap(), []);
        assert_eq!(receipts.forget_beyond(None, 2).unwrap(), [name("2"), name("3")]);
        assert_eq!(receipts.list().unwrap().into_iter().map(|(name, _)| name).collect::<Vec<_>>(), [name("4"), name("5")]);
    }
}
