//! The lock of those who exchange with git: `.eventcore/braidfs/sync.lock`.

use std::thread;
use std::time::{Duration, Instant};

use crate::disk::{self, LockGuard};
use crate::store::Store;

/// The wait between two attempts.
const PAUSE: Duration = Duration::from_millis(20);

impl Store {
    /// Takes the lock of whoever commits, pulls and pushes, waiting `timeout` at most; none where somebody holds it for longer.
    ///
    /// Git locks each thing that it changes, but not one exchange against the next. This is not `.lock`: transactions are appended meanwhile.
    pub fn lock_exchange(&self, timeout: Duration) -> disk::Result<Option<LockGuard>> {
        let private = self.layout().private();
        self.ensure_dir(&private)?;
        let deadline = Instant::now() + timeout;
        loop {
            let guard = self.disk().try_lock(&private.join("sync.lock"))?;
            if guard.is_some() || Instant::now() >= deadline {
                return Ok(guard);
            }
            thread::sleep(PAUSE);
        }
    }
}
