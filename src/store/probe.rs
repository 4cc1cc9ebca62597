//! What the store's own file system must offer, tried once at start.

use std::path::PathBuf;
use std::time::Duration;

use crate::disk::{self, Change, EntryKind};
use crate::model::{Errno, Finding, FindingKind, Severity};
use crate::store::{CommitLock, Store};

/// How long a hint of a change made by ourselves may take.
const HINT_WAIT: Duration = Duration::from_secs(1);

/// How trying one thing ended.
#[derive(Debug)]
pub enum Trial {
    /// It works.
    Works,
    /// It does not, and why as far as the disk told.
    Fails(Option<disk::Error>),
    /// It was not tried.
    Untried,
}

impl Trial {
    /// What failed for lack of room, memory or descriptors: that passes, and tells nothing of the file system.
    fn shortage(&self) -> Option<&disk::Error> {
        match self {
            Self::Fails(Some(error)) if runs_short(error) => Some(error),
            _ => None,
        }
    }
}

impl From<disk::Result<bool>> for Trial {
    fn from(tried: disk::Result<bool>) -> Self {
        match tried {
            Ok(true) => Self::Works,
            Ok(false) => Self::Fails(None),
            Err(error) => Self::Fails(Some(error)),
        }
    }
}

fn runs_short(error: &disk::Error) -> bool {
    error.is_shortage() || matches!(error.errno(), Errno::ENOSPC | Errno::EDQUOT)
}

/// What the file system of a store offers.
#[derive(Debug)]
pub struct Probe {
    /// Files can be created and written.
    pub write: Trial,
    /// Renaming without replacing, in one step.
    pub rename_noreplace: Trial,
    /// Advisory locks that exclude a second holder.
    pub lock: Trial,
    /// Syncing files and directories.
    pub sync: Trial,
    /// Hints of what other programs change.
    pub watch: Trial,
}

impl Store {
    /// Tries what the store's file system offers, in `tmp/`, and leaves nothing behind.
    ///
    /// Only for a writable store. `lock` is none where `.lock` itself could not be locked for lack of locks.
    pub fn probe(&self, _lock: Option<&CommitLock>) -> Probe {
        let [rename_noreplace, lock, sync, watch] = [(); 4].map(|()| Trial::Untried);
        let mut probe = Probe { write: Trial::Untried, rename_noreplace, lock, sync, watch };
        if let Some(hindrance) = self.hindrance() {
            return Probe { write: Trial::Fails(Some(hindrance)), ..probe };
        }
        let (from, to) = match self.temporary("probe").and_then(|from| Ok((from, self.temporary("probe")?))) {
            Ok(names) => names,
            Err(error) => return Probe { write: Err(error).into(), ..probe },
        };
        let watch = self.disk().watch().and_then(|watch| watch.add(&self.layout().tmp()).map(|_| watch));
        match self.disk().write_new(&from, b"probe\n") {
            Ok(file) => {
                probe.write = Trial::Works;
                probe.sync = file.sync().and_then(|()| self.disk().sync_dir(&self.layout().tmp())).map(|()| true).into();
                probe.lock = self.locks_exclude(&from).into();
                probe.rename_noreplace = self.disk().tries_rename_noreplace(&from, &to).into();
                let hinted = |watch: disk::Watch| watch.wait(Some(HINT_WAIT)).map(|changes| changes.iter().any(is_hint));
                probe.watch = watch.and_then(hinted).map(|hinted| hinted && !disk::is_remote(&self.layout().tmp())).into();
            }
            Err(error) => probe.write = Err(error).into(),
        }
        for path in [from, to] {
            // A file that cannot be removed is reported as a stale temporary one.
            let _ = self.disk().remove_if_present(&path);
        }
        probe
    }

    /// What keeps a commit from changing what it has to change, if anything does: what is no file or no directory, what this user may not
    /// change, and a disk that takes no file.
    fn hindrance(&self) -> Option<disk::Error> {
        let (layout, disk) = (self.layout(), self.disk());
        let dirs = [layout.events(), layout.tmp(), layout.index(), layout.eventcore(), layout.private()];
        let files = [layout.lock(), layout.ingestion_log()];
        let is_dir = |path: &PathBuf| disk.must_be(EntryKind::Dir, path).err();
        let is_file = |path: &PathBuf| disk.must_be(EntryKind::File, path).err();
        if let Some(misplaced) = dirs.iter().find_map(is_dir).or_else(|| files.iter().find_map(is_file)) {
            return Some(misplaced);
        }
        let made = [layout.lock()].into_iter().chain(dirs);
        let (there, missing): (Vec<_>, Vec<_>) = made.partition(|path| disk.exists(path));
        // What is missing is to be made.
        let above = (!missing.is_empty()).then(|| layout.root().to_path_buf());
        let log = Some(layout.ingestion_log()).filter(|log| disk.exists(log));
        let mut asked = there.into_iter().chain(log).chain(above).filter_map(|path| disk.may_change(&path).err());
        let place = if disk.exists(&layout.tmp()) { layout.tmp() } else { layout.root().to_path_buf() };
        asked.find(|error| matches!(error.errno(), Errno::EACCES | Errno::EPERM | Errno::EROFS)).or_else(|| disk.takes_no_file(&place))
    }

    /// The finding that the owner of the store cannot write to it, for who only reads: others need not be able to.
    #[must_use]
    pub fn owner_hindered(&self) -> Vec<Finding> {
        let hindrance = if self.disk().is_own(self.dir()) { self.hindrance() } else { None };
        let [rename_noreplace, lock, sync, watch] = [(); 4].map(|()| Trial::Untried);
        hindrance
            .map_or_else(Vec::new, |error| self.lacks(&Probe { write: Trial::Fails(Some(error)), rename_noreplace, lock, sync, watch }))
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
    /// Whether there is something to tell that may be over at another time, and so is to be tried again: what keeps anything from being
    /// committed, and what failed for lack of something that passes.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        let hinders = [&self.write, &self.sync, &self.lock].into_iter().any(|trial| matches!(trial, Trial::Fails(_)));
        hinders || self.all().into_iter().any(|trial| trial.shortage().is_some())
    }

    fn all(&self) -> [&Trial; 5] {
        [&self.write, &self.sync, &self.lock, &self.rename_noreplace, &self.watch]
    }

    /// What is lacking, each with what still works.
    #[must_use]
    pub fn findings(&self, disk_name: &str) -> Vec<Finding> {
        let lacks = [
            (Severity::Error, "takes no writes", "reading works; nothing can be committed"),
            (
                Severity::Error,
                "does not sync",
                "reading works; nothing can be committed, since nothing would be certain to survive a loss of power",
            ),
            (Severity::Error, "has no advisory locks", "reading works; nothing can be committed, since no other program could be kept out"),
            (
                Severity::Info,
                "cannot rename without replacing",
                "everything works: names are made by hard links, or looked for under the lock first",
            ),
            (
                Severity::Warning,
                "gives no hints of changes",
                "everything works; what other programs bring is found by looking from time to time, not at once",
            ),
        ];
        let told = |(trial, (severity, what, still)): (&Trial, (Severity, &str, &str))| {
            let Trial::Fails(error) = trial else { return None };
            let why = error.as_ref().map_or_else(String::new, |error| format!(": {}", error.source));
            // What helps, where something does; of what a file system never had, there is no cure.
            let cure = error.as_ref().filter(|error| what == lacks[0].1 || runs_short(error)).map(disk::Error::hint);
            // Whom the file system lets write, and what was put there, is no fault of its own.
            let hindrance = error.as_ref().filter(|_| what == lacks[0].1).and_then(|error| match error.errno() {
                Errno::EACCES => Some((" of this user", error)),
                Errno::ENOTDIR | Errno::ELOOP | Errno::EPERM => Some(("", error)),
                _ => error.is_misplaced().then_some(("", error)),
            });
            let just_now = if trial.shortage().is_some() { " just now" } else { "" };
            Some(Finding {
                kind: FindingKind::StorageLacks,
                severity,
                file: None,
                transaction_id: None,
                message: match hindrance {
                    Some((whose, error)) => format!("store \"{disk_name}\" {what}{whose}: {error}"),
                    None => format!("file system of \"{disk_name}\" {what}{just_now}{why}"),
                },
                hint: cure.map_or_else(|| still.to_owned(), |cure| format!("{cure}; until then {still}")),
            })
        };
        self.all().into_iter().zip(lacks).filter_map(told).collect()
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
    /// A disk that was full at the start was told as one that takes no writes at all, without a reason or a cure.
    #[test]
    fn what_runs_short_is_no_lack_of_the_file_system() {
        for (op, errno, told, hint) in [
            (
                Op::Create,
                Errno::ENOSPC,
                "takes no writes just now: No space left on device (os error 28)",
                "make room: df, df -i; until then reading works",
            ),
            (Op::Write, Errno::EDQUOT, "takes no writes just now: Disk quota exceeded", "make room; until then"),
            (Op::Lock, Errno::EMFILE, "has no advisory locks just now: Too many open files", "ulimit -n; until then reading works"),
            (
                Op::Watch,
                Errno::EMFILE,
                "gives no hints of changes just now: Too many open files",
                "max_user_instances; until then everything works",
            ),
        ] {
            let dir = tempfile::tempdir().unwrap();
            Store::init(dir.path(), &Disk::real()).unwrap();
            let (disk, twin) = Disk::faulty(dir.path()).unwrap();
            let store = Store::open(dir.path(), &disk, Mode::Writable).unwrap();
            twin.fail(op, 0, None, errno);
            let probe = store.probe(None);
            assert!(probe.may_pass(), "{probe:?}");
            let findings = store.lacks(&probe);
            assert_eq!(findings.len(), 1, "{op:?} {findings:?}");
            assert!(findings[0].message.contains(told), "{findings:?}");
            assert!(findings[0].hint.contains(hint), "{findings:?}");
            twin.heal();
            assert_eq!(store.lacks(&store.probe(None)), []);
        }
    }

    #[test]
    fn what_a_file_system_never_has_is_not_tried_for_again() {
        let dir = tempfile::tempdir().unwrap();
        Store::init(dir.path(), &Disk::real()).unwrap();
        let (disk, twin) = Disk::faulty(dir.path()).unwrap();
        let store = Store::open(dir.path(), &disk, Mode::Writable).unwrap();
        twin.fail(Op::Rename, 0, None, Errno::EINVAL);
        twin.fail(Op::Watch, 0, None, Errno::ENOSYS);
        let probe = store.probe(None);
        assert!(!probe.may_pass());
        assert_eq!(store.lacks(&probe).len(), 2);
    }
}
