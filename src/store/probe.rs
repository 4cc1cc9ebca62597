//! What the store's own file system must offer, tried once at start.

use std::time::Duration;

use crate::disk::{self, Change};
use crate::model::{Finding, FindingKind, Severity};
use crate::store::{CommitLock, Store};

/// How long a hint of a change made by ourselves may take.
const HINT_WAIT: Duration = Duration::from_secs(1);

/// What the file system of a store offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Files can be created and written.
    pub write: bool,
    /// Renaming without replacing, in one step.
    pub rename_noreplace: bool,
    /// Advisory locks that exclude a second holder.
    pub lock: bool,
    /// Syncing files and directories.
    pub sync: bool,
    /// Hints of what other programs change.
    pub watch: bool,
}

impl Store {
    /// Tries what the store's file system offers, in `tmp/`, and leaves nothing behind.
    ///
    /// Only for a writable store. `lock` is none where `.lock` itself could not be locked for lack of locks.
    pub fn probe(&self, _lock: Option<&CommitLock>) -> Probe {
        let mut probe = Probe { write: false, rename_noreplace: false, lock: false, sync: false, watch: false };
        let (Ok(from), Ok(to)) = (self.temporary("probe"), self.temporary("probe")) else { return probe };
        let watch = self.disk().watch().and_then(|watch| watch.add(&self.layout().tmp()).map(|_| watch)).ok();
        if let Ok(file) = self.disk().write_new(&from, b"probe\n") {
            probe.write = true;
            probe.sync = file.sync().and_then(|()| self.disk().sync_dir(&self.layout().tmp())).is_ok();
            probe.lock = self.locks_exclude(&from).unwrap_or(false);
            probe.rename_noreplace = self.disk().tries_rename_noreplace(&from, &to).unwrap_or(false);
            let hinted = |watch: disk::Watch| watch.wait(Some(HINT_WAIT)).is_ok_and(|changes| changes.iter().any(is_hint));
            probe.watch = watch.is_some_and(hinted) && !disk::is_remote(&self.layout().tmp());
        }
        for path in [from, to] {
            // A file that cannot be removed is reported as a stale temporary one.
            let _ = self.disk().remove_if_present(&path);
        }
        probe
    }

    fn locks_exclude(&self, path: &std::path::Path) -> disk::Result<bool> {
        let first = self.disk().try_lock(path)?;
        Ok(first.is_some() && self.disk().try_lock(path)?.is_none())
    }
}

fn is_hint(change: &Change) -> bool {
    matches!(change, Change::Came(_, name) if name.starts_with("probe-"))
}

impl Probe {
    /// What is lacking, each with what still works.
    #[must_use]
    pub fn findings(&self, disk_name: &str) -> Vec<Finding> {
        let lacks = [
            (self.write, Severity::Error, "takes no writes", "reading works; nothing can be committed"),
            (
                self.sync,
                Severity::Error,
                "does not sync",
                "reading works; nothing can be committed, since nothing would be certain to survive a loss of power",
            ),
            (
                self.lock,
                Severity::Error,
                "has no advisory locks",
                "reading works; nothing can be committed, since no other program could be kept out",
            ),
            (
                self.rename_noreplace,
                Severity::Info,
                "cannot rename without replacing",
                "everything works: names are made by hard links, or looked for under the lock first",
            ),
            (
                self.watch,
                Severity::Warning,
                "gives no hints of changes",
                "everything works; what other programs bring is found by looking from time to time, not at once",
            ),
        ];
        // Where nothing can be written, the rest was not tried.
        let tried = if self.write { lacks.len() } else { 1 };
        lacks
            .iter()
            .take(tried)
            .filter(|(is_there, ..)| !is_there)
            .map(|(_, severity, what, still)| Finding {
                kind: FindingKind::StorageLacks,
                severity: *severity,
                file: None,
                transaction_id: None,
                message: format!("file system of \"{disk_name}\" {what}"),
                hint: (*still).to_owned(),
            })
            .collect()
    }
}

impl Store {
    /// The findings of a [`Probe`] of this store.
    #[must_use]
    pub fn lacks(&self, probe: &Probe) -> Vec<Finding> {
        probe.findings(&self.dir().to_string_lossy())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use std::fs;

    use super::*;
    use crate::disk::{Disk, Op};
    use crate::model::Errno;
    use crate::store::Mode;

    #[test]
    fn an_ordinary_disk_lacks_nothing_and_is_left_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(dir.path(), &Disk::real()).unwrap();
        let lock = store.lock(Duration::from_secs(30)).unwrap();
        let probe = store.probe(Some(&lock));
        assert_eq!(store.lacks(&probe), []);
        assert_eq!(fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
    }

    #[test]
    fn each_lack_is_told_with_what_still_works() {
        for (op, errno, lack) in [
            (Op::Create, Errno::EROFS, "takes no writes"),
            (Op::Sync, Errno::EINVAL, "does not sync"),
            (Op::SyncDir, Errno::EINVAL, "does not sync"),
            (Op::Lock, Errno::EOPNOTSUPP, "no advisory locks"),
            (Op::Rename, Errno::EINVAL, "without replacing"),
            (Op::Watch, Errno::ENOSYS, "no hints"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            Store::init(dir.path(), &Disk::real()).unwrap();
            let (disk, twin) = Disk::faulty(dir.path()).unwrap();
            let store = Store::open(dir.path(), &disk, Mode::Writable).unwrap();
            twin.fail(op, 0, None, errno);
            let findings = store.lacks(&store.probe(None));
            assert_eq!(findings.len(), 1, "{op:?} {findings:?}");
            assert!(findings[0].message.contains(lack), "{findings:?}");
            assert!(!findings[0].hint.is_empty());
        }
    }
}
