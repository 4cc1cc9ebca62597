//! Whether git is changing `events/` right now: then nothing is published, so that no half-done checkout shows.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::disk::Disk;
use crate::store::Store;

/// For how long after a change in `events/` git's lock holds everything up.
const QUIET: Duration = Duration::from_millis(300);

/// Git's lock and the last change.
pub(super) struct Hold {
    disk: Disk,
    lock: Option<PathBuf>,
    last_change: Option<Instant>,
}

impl Hold {
    pub(super) fn new(store: &Arc<Store>) -> Self {
        Self { disk: store.disk().clone(), lock: crate::store::git::index_lock(store), last_change: None }
    }

    /// Something in `events/` changed, and not by us.
    pub(super) fn note_change(&mut self) {
        self.last_change = Some(Instant::now());
    }

    pub(super) fn forget_changes(&mut self) {
        self.last_change = None;
    }

    /// Whether git's lock is there and `events/` changed a moment ago.
    pub(super) fn holds(&self) -> bool {
        self.last_change.is_some_and(|at| at.elapsed() < QUIET) && self.lock.as_ref().is_some_and(|lock| self.disk.exists(lock))
    }
}
