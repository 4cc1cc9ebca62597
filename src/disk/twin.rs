//! The faulty twin, for tests: counts operations, fails or crashes where told, and knows what a loss of power leaves.
//!
//! It works on a real directory and keeps a model of it beside: which bytes and which names are durable and which are
//! only live. [`Twin::rebuild`] makes a directory as a crash at this moment would leave it.

mod model;

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::Outcome;
pub use model::{Data, FileKey, Loss, Model};

use super::{Error, Op, Result};
use crate::model::Errno;

/// An operation that was held for so long fails: a test that waits for it ends with a failure instead of never.
const HELD_MAX: Duration = Duration::from_secs(60);

/// The judge of a faulty disk.
#[derive(Debug)]
pub struct Twin {
    root: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    model: Model,
    /// The mutating operations so far.
    ops: Vec<(Op, PathBuf)>,
    /// The operations so far that change nothing.
    looks: Vec<(Op, PathBuf)>,
    /// What lies below is out of reach for now.
    held: Option<PathBuf>,
    /// How many operations wait for that.
    waiting: usize,
    faults: Vec<Fault>,
    crash_at: Option<usize>,
    crashed: bool,
    /// What a loss of power could leave so far, with the number of operations before the last moment at which it could.
    outcomes: Option<HashMap<Outcome, usize>>,
}

#[derive(Debug)]
struct Fault {
    op: Op,
    /// Operations of that kind that still succeed.
    spared: usize,
    /// Operations that then fail; none for all.
    times: Option<usize>,
    errno: Errno,
    /// The end of the path that it is about; empty for every path.
    path: PathBuf,
}

impl Twin {
    pub(super) fn new(root: &Path) -> Result<Self> {
        let root = std::fs::canonicalize(root).map_err(|source| Error::new(Op::List, root, source))?;
        let model = Model::of(&root).map_err(|source| Error::new(Op::List, &root, source))?;
        let state = State {
            model,
            ops: Vec::new(),
            looks: Vec::new(),
            held: None,
            waiting: 0,
            faults: Vec::new(),
            crash_at: None,
            crashed: false,
            outcomes: None,
        };
        Ok(Self { root, state: Mutex::new(state), changed: Condvar::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn admit(&self, op: Op, path: &Path) -> Result<()> {
        let is_held = |state: &mut State| state.held.as_ref().is_some_and(|held| path != held && path.starts_with(held));
        let mut state = self.state();
        state.waiting += 1;
        self.changed.notify_all();
        let waited = self.changed.wait_timeout_while(state, HELD_MAX, is_held);
        let (mut state, wait) = waited.unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        let failed = |errno: Errno| Err(Error::new(op, path, io::Error::from_raw_os_error(errno.raw())));
        if state.crashed || wait.timed_out() {
            return failed(Errno::EIO);
        }
        if !op.is_mutating() && path.starts_with(&self.root) {
            state.looks.push((op, path.to_path_buf()));
            self.changed.notify_all();
        }
        if op.is_mutating() && path.starts_with(&self.root) {
            if state.crash_at == Some(state.ops.len()) {
                state.crashed = true;
                return failed(Errno::EIO);
            }
            state.keep_outcomes();
            state.ops.push((op, path.to_path_buf()));
        }
        match state.faults.iter_mut().filter(|fault| fault.op == op && path.ends_with(&fault.path)).find_map(Fault::strike) {
            Some(errno) => failed(errno),
            None => Ok(()),
        }
    }

    pub(super) fn note(&self, change: impl FnOnce(&mut Model)) {
        change(&mut self.state().model);
    }

    pub(super) fn key_of(&self, path: &Path) -> Option<FileKey> {
        self.state().model.key_of(path)
    }

    /// Crashes in place of the mutating operation after `spared` more of them: it and all later operations fail.
    pub fn crash_after(&self, spared: usize) {
        let mut state = self.state();
        state.crash_at = Some(state.ops.len() + spared);
    }

    /// Fails operations of a kind, after `spared` more of them, `times` times or for ever.
    pub fn fail(&self, op: Op, spared: usize, times: Option<usize>, errno: Errno) {
        self.state().faults.push(Fault { op, spared, times, errno, path: PathBuf::new() });
    }

    /// Fails operations of a kind on what lies at a path below the root, for ever.
    pub fn fail_at(&self, op: Op, path: &Path, errno: Errno) {
        self.state().faults.push(Fault { op, spared: 0, times: None, errno, path: path.to_path_buf() });
    }

    /// Takes back every fault that was ordered.
    pub fn heal(&self) {
        self.state().faults.clear();
    }

    /// Whether the crash has happened.
    #[must_use]
    pub fn has_crashed(&self) -> bool {
        self.state().crashed
    }

    /// The mutating operations so far, in order.
    #[must_use]
    pub fn ops(&self) -> Vec<(Op, PathBuf)> {
        self.state().ops.clone()
    }

    /// The operations so far that read, ask, list, map, lock or watch, in order.
    #[must_use]
    pub fn looks(&self) -> Vec<(Op, PathBuf)> {
        self.state().looks.clone()
    }

    /// Lets every operation on what lies below a directory wait until [`Twin::let_go`]; one that waits for a minute fails.
    pub fn hold(&self, below: &Path) {
        self.state().held = Some(below.to_path_buf());
    }

    /// Waits until an operation waits for [`Twin::let_go`].
    pub fn wait_held(&self) {
        let waited = self.changed.wait_timeout_while(self.state(), HELD_MAX, |state| state.waiting == 0);
        assert!(!waited.unwrap_or_else(PoisonError::into_inner).1.timed_out(), "nothing came to be held");
    }

    /// Waits until what was looked at, as [`Twin::looks`] tells it, is enough.
    pub fn wait_looks(&self, is_enough: impl Fn(&[(Op, PathBuf)]) -> bool) {
        let waited = self.changed.wait_timeout_while(self.state(), HELD_MAX, |state| !is_enough(&state.looks));
        assert!(!waited.unwrap_or_else(PoisonError::into_inner).1.timed_out(), "it was not looked at");
    }

    /// Lets go on what [`Twin::hold`] has held.
    pub fn let_go(&self) {
        self.state().held = None;
        self.changed.notify_all();
    }

    /// Forgets the operations so far, so that the next ones can be counted.
    pub fn forget_ops(&self) {
        let mut state = self.state();
        state.ops.clear();
        state.looks.clear();
    }

    /// Every way to lose power now: each number of the name changes that are not durable, with each fate of the bytes.
    ///
    /// Of several that leave the same, only the first.
    #[must_use]
    pub fn losses(&self) -> Vec<Loss> {
        let state = self.state();
        let mut seen = HashSet::new();
        state.model.losses().filter(|loss| seen.insert(state.model.outcome(*loss))).collect()
    }

    /// From now on keeps in mind what every loss of power before each operation would leave.
    pub fn keep_outcomes(&self) {
        self.state().outcomes = Some(HashMap::new());
    }

    /// Makes each different thing that a loss of power could have left since [`Twin::keep_outcomes`], now included, one after the other in
    /// an empty directory, and shows it with the number of operations before the last moment at which it could have been left.
    ///
    /// It tries what a crash at every operation with each of its losses would, but each outcome once.
    pub fn each_outcome(&self, mut visit: impl FnMut(&Path, usize)) -> io::Result<()> {
        let outcomes = {
            let mut state = self.state();
            state.keep_outcomes();
            let mut outcomes: Vec<(usize, Outcome)> =
                state.outcomes.take().unwrap_or_default().into_iter().map(|(outcome, ops)| (ops, outcome)).collect();
            outcomes.sort();
            outcomes
        };
        for (ops, outcome) in outcomes {
            let into = tempfile::tempdir()?;
            model::write(&outcome, into.path())?;
            visit(into.path(), ops);
        }
        Ok(())
    }

    /// Makes `into`, which must be an empty directory, what this loss of power leaves of the root.
    pub fn rebuild(&self, into: &Path, loss: Loss) -> io::Result<()> {
        self.state().model.rebuild(into, loss)
    }
}

impl State {
    fn keep_outcomes(&mut self) {
        let Some(outcomes) = &mut self.outcomes else { return };
        let now = self.ops.len();
        outcomes.extend(self.model.losses().map(|loss| (self.model.outcome(loss), now)));
    }
}

impl Fault {
    fn strike(&mut self) -> Option<Errno> {
        if self.spared > 0 {
            self.spared -= 1;
            return None;
        }
        match &mut self.times {
            Some(0) => None,
            Some(times) => {
                *times -= 1;
                Some(self.errno)
            }
            None => Some(self.errno),
        }
    }
}

#[cfg(test)]
mod tests;
