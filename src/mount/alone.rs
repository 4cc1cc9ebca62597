//! One writable daemon a store: a lock that is held for its life.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::disk::{Disk, LockGuard};
use crate::mount::Error;
use crate::store::Layout;

/// A daemon that is just ending is waited for so long.
pub const PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(20);

/// Takes the lock of a store's writable daemon, waiting `patience` at most.
pub fn lock(store: &Path, patience: Duration) -> Result<LockGuard, Error> {
    let disk = Disk::real();
    let directory = Layout::new(store.to_path_buf()).private();
    let failed = |error: &dyn std::fmt::Display| Error::new(error.to_string(), "check the permissions of the store");
    disk.create_dir(&directory).map_err(|error| failed(&error))?;
    let start = Instant::now();
    loop {
        if let Some(guard) = disk.try_lock(&directory.join("daemon.lock")).map_err(|error| failed(&error))? {
            return Ok(guard);
        }
        if start.elapsed() >= patience {
            let message = format!("store '{}' is mounted writable by another daemon", store.display());
            return Err(Error::busy(message, "unmount that one, or add --read-only"));
        }
        std::thread::sleep(PAUSE);
    }
}
