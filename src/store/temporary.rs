//! Temporary files: names for what is being written, in `tmp/`, and what a killed program left, there or beside what it was to replace.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::disk::{self, Disk, Entry, EntryKind};
use crate::store::{CommitLock, Store};

/// The age from which a temporary file is of no use to anyone.
pub const STALE_AGE: Duration = Duration::from_secs(3600);

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// A temporary file that nobody finished; harmless.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stale {
    /// Where it lies.
    pub path: PathBuf,
    /// How long ago it was last written.
    pub age: Duration,
}

impl Store {
    /// A path in `tmp/` that no other process and no other thread uses; makes `tmp/`.
    pub(super) fn temporary(&self, what: &str) -> disk::Result<PathBuf> {
        let tmp = self.layout().tmp();
        self.disk().create_dir(&tmp)?;
        let n = COUNTER.fetch_add(1, Ordering::Relaxed);
        Ok(tmp.join(format!("{what}-{}-{n}.tmp", std::process::id())))
    }

    /// The temporary files that were last written [`STALE_AGE`] or longer before `now`: whatever lies in `tmp/`, and, where eventcore-fs
    /// writes checkpoints and saved states, what it names so.
    pub fn stale_temporaries(&self, now: SystemTime) -> disk::Result<Vec<Stale>> {
        let (tmp, snapshots) = (self.layout().tmp(), self.layout().eventcore().join("snapshots"));
        let mut stale = Vec::new();
        for dir in [&tmp, &self.layout().checkpoints(), &snapshots] {
            // The directories in `tmp/` are ours and lasting.
            let is_temporary = |entry: &Entry| entry.kind == EntryKind::File && (*dir == tmp || entry.name.ends_with(".tmp"));
            for entry in self.disk().list_if_present(dir)?.into_iter().filter(is_temporary) {
                let path = Disk::entry_path(dir, &entry.name);
                let Some(stat) = self.disk().stat_if_present(&path)? else { continue };
                let age = now.duration_since(stat.modified()).unwrap_or_default();
                if age >= STALE_AGE {
                    stale.push(Stale { path, age });
                }
            }
        }
        Ok(stale)
    }

    /// Removes what [`Store::stale_temporaries`] lists; answers how many.
    pub fn remove_stale_temporaries(&self, _lock: &CommitLock, now: SystemTime) -> disk::Result<usize> {
        let stale = self.stale_temporaries(now)?;
        for file in &stale {
            self.disk().remove_if_present(&file.path)?;
        }
        Ok(stale.len())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_old_files_are_stale() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(dir.path(), &Disk::real()).unwrap();
        assert_eq!(store.stale_temporaries(SystemTime::now()).unwrap(), []);
        let path = store.temporary("x").unwrap();
        assert_ne!(store.temporary("x").unwrap(), path);
        fs::write(&path, "half").unwrap();
        fs::create_dir(dir.path().join("tmp/staging")).unwrap();
        let written = store.disk().stat(&path).unwrap().modified();
        assert_eq!(store.stale_temporaries(written + STALE_AGE - Duration::from_nanos(1)).unwrap(), []);
        let stale = store.stale_temporaries(written + STALE_AGE).unwrap();
        assert_eq!(stale.len(), 1);
        assert_eq!(stale[0].age, STALE_AGE);
        let lock = store.lock(Duration::from_secs(30)).unwrap();
        assert_eq!(store.remove_stale_temporaries(&lock, written + STALE_AGE).unwrap(), 1);
        assert!(!path.exists() && dir.path().join("tmp/staging").exists());
    }

    /// Story: what a killed eventcore-fs leaves of a checkpoint or a saved state was neither told nor removed.
    #[test]
    fn what_lies_beside_what_it_was_to_replace_is_stale_too() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(dir.path(), &Disk::real()).unwrap();
        let paths = ["checkpoints/77.json", "checkpoints/77.json.tmp", ".eventcore/snapshots/00.json", ".eventcore/snapshots/00.json.tmp"];
        let paths = paths.map(|path| store.dir().join(path));
        for path in &paths {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "half").unwrap();
        }
        let now = SystemTime::now();
        assert_eq!(store.stale_temporaries(now).unwrap(), []);
        let stale: Vec<PathBuf> = store.stale_temporaries(now + STALE_AGE).unwrap().into_iter().map(|stale| stale.path).collect();
        assert_eq!(stale, [paths[1].clone(), paths[3].clone()]);
        let lock = store.lock(Duration::from_secs(30)).unwrap();
        assert_eq!(store.remove_stale_temporaries(&lock, now + STALE_AGE).unwrap(), 2);
        assert_eq!(paths.map(|path| path.exists()), [true, false, true, false]);
    }
}
