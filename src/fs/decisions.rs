//! Commits that are being decided, and those who wait for them.

use std::collections::{HashMap, HashSet};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::fs::locked;

/// For so long at most a reader of a view waits for a file that was closed, until it is known whether that was the last close: usually
/// it was, and the kernel says so at once, but the machine may be busy.
const FIRST_CLOSE_MAX: Duration = Duration::from_millis(250);
/// The same for a handle that has been closed before without being let go: a shell keeps it, and its children close it.
const LATER_CLOSE_MAX: Duration = Duration::from_millis(50);
/// For so long at most a reader of a view waits once the last close is known: longer than a small commit takes, but not until a store
/// that another program has locked is free.
const VERDICT_MAX: Duration = Duration::from_secs(2);
/// A large commit takes longer: so many of its bytes are given a second more.
const BYTES_A_SECOND: u64 = 128 << 10;

/// The open files whose verdict may be on its way.
#[derive(Default)]
pub struct Decisions {
    open: Mutex<HashMap<u64, Instant>>,
    kept: Mutex<HashSet<u64>>,
    changed: Condvar,
}

impl Decisions {
    /// A handle was closed; there may be more of it.
    pub fn expect(&self, handle: u64) {
        let limit = if locked(&self.kept).insert(handle) { FIRST_CLOSE_MAX } else { LATER_CLOSE_MAX };
        locked(&self.open).insert(handle, Instant::now() + limit);
    }

    /// A handle was closed for the last time, and the so many bytes that it wrote are being committed.
    pub fn commit(&self, handle: u64, bytes: u64) {
        let limit = VERDICT_MAX + Duration::from_secs(bytes / BYTES_A_SECOND);
        locked(&self.open).insert(handle, Instant::now() + limit);
    }

    /// The verdict is out when what this returns is dropped, however that comes about.
    pub fn deciding(&self, handle: u64) -> impl Drop {
        struct Deciding<'a>(&'a Decisions, u64);
        impl Drop for Deciding<'_> {
            fn drop(&mut self) {
                self.0.decided(self.1);
            }
        }
        Deciding(self, handle)
    }

    /// The verdict is out.
    pub fn decided(&self, handle: u64) {
        locked(&self.kept).remove(&handle);
        locked(&self.open).remove(&handle);
        self.changed.notify_all();
    }

    /// Whether a file was closed and is not yet known to have been closed for the last time.
    pub fn is_closing(&self) -> bool {
        !locked(&self.kept).is_empty()
    }

    /// Whether a verdict may be on its way.
    pub fn is_open(&self) -> bool {
        let mut open = locked(&self.open);
        if open.is_empty() {
            return false;
        }
        let now = Instant::now();
        open.retain(|_, due| *due > now);
        !open.is_empty()
    }

    /// Waits until none is on its way, or its time is over, and the index is ready.
    pub fn wait(&self, ready: impl Fn() -> bool) {
        /// Nobody tells when the index is ready.
        const PAUSE: Duration = Duration::from_millis(10);
        let mut open = locked(&self.open);
        loop {
            let now = Instant::now();
            open.retain(|_, due| *due > now);
            let left = match open.values().max() {
                Some(last) => *last - now,
                None if ready() => return,
                None => PAUSE,
            };
            open = self.changed.wait_timeout(open, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
