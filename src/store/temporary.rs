//! `tmp/`: names for what is being written, and what a killed program left there.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::disk::{self, Disk, EntryKind};
use crate::store::{CommitLock, Store};

/// The age from which a temporary file is of no use to anyone.
pub const STALE_AGE: Duration = Duration::from_secs(3600);

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// A temporary file that nobody finished; harmless.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stale {
    /// Its name in `tmp/`.
    pub name: String,
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

    /// The files in `tmp/` that were last written [`STALE_AGE`] or longer before `now`.
    pub fn stale_temporaries(&self, now: SystemTime) -> disk::Result<Vec<Stale>> {
        let tmp = self.layout().tmp();
        let mut stale = Vec::new();
        for entry in self.disk().list_if_present(&tmp)? {
            // The directories there are ours and lasting.
            if entry.kind != EntryKind::File {
                continue;
            }
            let Some(stat) = self.disk().stat_if_present(&Disk::entry_path(&tmp, &entry.name))? else { continue };
            let age = now.duration_since(stat.modified()).unwrap_or_default();
            if age >= STALE_AGE {
                stale.push(Stale { name: entry.name, age });
            }
        }
        Ok(stale)
    }

    /// Removes what [`Store::stale_temporaries`] lists; answers how many.
    pub fn remove_stale_temporaries(&self, _lock: &CommitLock, now: SystemTime) -> disk::Result<usize> {
        let stale = self.stale_temporaries(now)?;
        for file in &stale {
            self.disk().remove_if_present(&Disk::entry_path(&self.layout().tmp(), &file.name))?;
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
}
