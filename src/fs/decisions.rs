//! Commits that are being decided, and those who wait for them.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::fs::locked;

/// For so long at most a reader of a view waits for a commit whose file was closed but perhaps not for the last time.
const UNDECIDED_MAX: Duration = Duration::from_millis(50);

/// The staged files that were closed and whose last close has not been decided.
#[derive(Default)]
pub struct Decisions {
    open: Mutex<HashMap<u64, Instant>>,
    changed: Condvar,
}

impl Decisions {
    /// A file was closed: its verdict may be on its way.
    pub fn expect(&self, id: u64) {
        locked(&self.open).insert(id, Instant::now() + UNDECIDED_MAX);
    }

    /// The verdict is out.
    pub fn decided(&self, id: u64) {
        locked(&self.open).remove(&id);
        self.changed.notify_all();
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
