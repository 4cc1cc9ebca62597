//! The processes that fold: as many at once as there are states that are waited for, up to a few. So one heavy fold delays no other.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, PoisonError};

use super::{Slot, locked};
use crate::fold::{FoldError, Limits, Worker};

/// How many fold at once: each may take a processor and much memory.
const AT_ONCE_MAX: usize = 4;

/// Who folds, and what is being folded.
pub(super) struct Workers {
    exe: PathBuf,
    limits: Limits,
    state: Mutex<State>,
    /// A worker came back, or a state is folded.
    freed: Condvar,
}

#[derive(Default)]
struct State {
    /// One that has nothing to do, so that the next fold starts no process.
    idle: Option<Worker>,
    lent: usize,
    folding: HashSet<Slot>,
}

impl Workers {
    pub(super) fn new(exe: PathBuf, limits: Limits) -> Self {
        Self { exe, limits, state: Mutex::default(), freed: Condvar::new() }
    }

    /// Waits until nobody folds this state, and keeps others from it: whoever waited finds it folded.
    pub(super) fn turn<'a>(&'a self, slot: &'a Slot) -> Turn<'a> {
        let is_folded = |state: &mut State| !state.folding.insert(slot.clone());
        drop(self.freed.wait_while(locked(&self.state), is_folded).unwrap_or_else(PoisonError::into_inner));
        Turn { workers: self, slot }
    }

    /// Has something done by a worker; waits while too many are at work.
    ///
    /// # Errors
    /// What the work gives, or that no process can be started.
    pub(super) fn lend<T>(&self, work: impl FnOnce(&mut Worker) -> Result<T, FoldError>) -> Result<T, FoldError> {
        let is_too_much = |state: &mut State| state.lent >= AT_ONCE_MAX;
        let mut state = self.freed.wait_while(locked(&self.state), is_too_much).unwrap_or_else(PoisonError::into_inner);
        state.lent += 1;
        let idle = state.idle.take();
        drop(state);
        let _lent = Lent(self);
        let mut worker = idle.map_or_else(|| Worker::start(&self.exe, self.limits), Ok)?;
        let result = work(&mut worker);
        // The process of one that came back before ends, once nobody waits for it here.
        let other = locked(&self.state).idle.replace(worker);
        drop(other);
        result
    }

    /// The same for what can wait: none while any is at work.
    pub(super) fn lend_idle<T>(&self, work: impl FnOnce(&mut Worker) -> Result<T, FoldError>) -> Option<Result<T, FoldError>> {
        let is_idle = locked(&self.state).lent == 0;
        is_idle.then(|| self.lend(work))
    }
}

/// One more at work, until it is dropped.
struct Lent<'a>(&'a Workers);

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        locked(&self.0.state).lent -= 1;
        self.0.freed.notify_all();
    }
}

/// The turn to fold a state.
pub(super) struct Turn<'a> {
    workers: &'a Workers,
    slot: &'a Slot,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        locked(&self.workers.state).folding.remove(self.slot);
        self.workers.freed.notify_all();
    }
}
