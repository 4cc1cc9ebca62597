//! The store's lock, shared with every other program.

use std::time::{Duration, SystemTime};

use crate::disk::{self, Holder, LockGuard};
use crate::store::{Mode, Store};

/// Proof that `.lock` is held: for one commit or one take-in.
#[derive(Debug)]
pub struct CommitLock {
    _guard: LockGuard,
}

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another program, or another part of this one, holds it.
    #[error("store \"{store}\" is locked by {}", shown(holder.as_ref()))]
    Busy {
        /// The store.
        store: String,
        /// Who holds it, if the kernel tells.
        holder: Option<Holder>,
    },
    /// The store was opened for reading only.
    #[error("store \"{0}\" is open for reading only")]
    ReadOnly(String),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] disk::Error),
}

fn shown(holder: Option<&Holder>) -> String {
    holder.map_or_else(|| "another program".to_owned(), Holder::to_string)
}

impl Store {
    /// Takes `.lock`, waiting `timeout` at most.
    ///
    /// Errors with [`LockError::Busy`] when somebody holds it for longer.
    pub fn lock(&self, timeout: Duration) -> Result<CommitLock, LockError> {
        if self.mode() == Mode::ReadOnly {
            return Err(LockError::ReadOnly(self.dir().display().to_string()));
        }
        let path = self.layout().lock();
        match self.disk().lock_within(&path, timeout)? {
            Some(guard) => Ok(CommitLock { _guard: guard }),
            None => Err(LockError::Busy { store: self.dir().display().to_string(), holder: self.disk().lock_holder(&path) }),
        }
    }

    /// When the lock's file was last changed, which eventcore-fs does as it takes the lock.
    #[must_use]
    pub fn lock_changed(&self) -> Option<SystemTime> {
        Some(self.disk().stat(&self.layout().lock()).ok()?.modified())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;
    use crate::disk::Disk;

    #[test]
    fn one_lock_excludes_the_next_and_says_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(dir.path(), &Disk::real()).unwrap();
        let lock = store.lock(Duration::ZERO).unwrap();
        let error = store.clone().lock(Duration::from_millis(5)).unwrap_err();
        assert!(matches!(error, LockError::Busy { holder: Some(_), .. }), "{error}");
        drop(lock);
        store.lock(Duration::ZERO).unwrap();
    }

    #[test]
    fn a_lock_file_that_was_removed_locks_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(dir.path(), &Disk::real()).unwrap();
        let _lost = store.lock(Duration::ZERO).unwrap();
        std::fs::remove_file(dir.path().join(".lock")).unwrap();
        store.lock(Duration::ZERO).unwrap();
    }

    #[test]
    fn a_read_only_store_is_never_locked() {
        let dir = tempfile::tempdir().unwrap();
        Store::init(dir.path(), &Disk::real()).unwrap();
        let store = Store::open(dir.path(), &Disk::real(), Mode::ReadOnly).unwrap();
        assert!(matches!(store.lock(Duration::ZERO), Err(LockError::ReadOnly(_))));
        assert!(!dir.path().join(".lock").exists());
    }
}
