//! The lock of those who exchange with git: `.eventcore/braidfs/sync.lock`.

use std::time::Duration;

use crate::disk::{self, LockGuard};
use crate::store::Store;

impl Store {
    /// Takes the lock of whoever commits, pulls and pushes, waiting `timeout` at most; none where somebody holds it for longer.
    ///
    /// Git locks each thing that it changes, but not one exchange against the next. This is not `.lock`: transactions are appended meanwhile.
    pub fn lock_exchange(&self, timeout: Duration) -> disk::Result<Option<LockGuard>> {
        let private = self.layout().private();
        self.ensure_dir(&private)?;
        self.disk().lock_within(&private.join("sync.lock"), timeout)
    }
}
