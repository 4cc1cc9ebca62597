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
    open: Mutex<Open>,
    kept: Mutex<HashSet<u64>>,
    changed: Condvar,
}

#[derive(Default)]
struct Open {
    by_handle: HashMap<u64, Awaited>,
    /// How many closes there were.
    closes: u64,
}

/// A verdict that may be on its way.
struct Awaited {
    /// Nobody waits for longer.
    due: Instant,
    /// Which close it is about.
    close: u64,
}

impl Open {
    /// Until when a verdict about a close up to that one may come.
    fn awaited(&mut self, upto: u64) -> Option<Instant> {
        let now = Instant::now();
        self.by_handle.retain(|_, awaited| awaited.due > now);
        self.by_handle.values().filter(|awaited| awaited.close <= upto).map(|awaited| awaited.due).max()
    }
}

impl Decisions {
    /// A handle was closed; there may be more of it.
    pub fn expect(&self, handle: u64) {
        let limit = if locked(&self.kept).insert(handle) { FIRST_CLOSE_MAX } else { LATER_CLOSE_MAX };
        let mut open = locked(&self.open);
        open.closes += 1;
        let close = open.closes;
        open.by_handle.insert(handle, Awaited { due: Instant::now() + limit, close });
    }

    /// The number of the last close.
    pub fn closes(&self) -> u64 {
        locked(&self.open).closes
    }

    /// A handle was closed for the last time, and the so many bytes that it wrote are being committed.
    pub fn commit(&self, handle: u64, bytes: u64) {
        let limit = VERDICT_MAX + Duration::from_secs(bytes / BYTES_A_SECOND);
        let mut open = locked(&self.open);
        let close = open.by_handle.get(&handle).map_or(open.closes, |awaited| awaited.close);
        open.by_handle.insert(handle, Awaited { due: Instant::now() + limit, close });
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
        locked(&self.open).by_handle.remove(&handle);
        self.changed.notify_all();
    }

    /// Whether a file was closed and is not yet known to have been closed for the last time.
    pub fn is_closing(&self) -> bool {
        !locked(&self.kept).is_empty()
    }

    /// Whether a verdict may be on its way.
    pub fn is_open(&self) -> bool {
        let mut open = locked(&self.open);
        !open.by_handle.is_empty() && open.awaited(u64::MAX).is_some()
    }

    /// Waits until none of a close up to that one is on its way, or its time is over, and the index is ready. Later ones are not waited for:
    /// where several writers close one file after the other there is always one on its way.
    pub fn wait(&self, upto: u64, ready: impl Fn() -> bool) {
        /// Nobody tells when the index is ready.
        const PAUSE: Duration = Duration::from_millis(10);
        let mut open = locked(&self.open);
        loop {
            let left = match open.awaited(upto) {
                Some(due) => due.saturating_duration_since(Instant::now()),
                None if ready() => return,
                None => PAUSE,
            };
            open = self.changed.wait_timeout(open, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_does_not_wait_for_what_is_closed_after_he_asked() {
        let decisions = Decisions::default();
        decisions.expect(1);
        let asked = decisions.closes();
        decisions.commit(1, 1 << 30);
        decisions.expect(2);
        decisions.commit(2, 1 << 30);
        std::thread::scope(|scope| {
            scope.spawn(|| decisions.wait(asked, || true));
            decisions.decided(1);
        });
        assert!(decisions.is_open(), "the later one is still on its way");
    }
}
