//! Work beside other work, where the system gives a thread for it.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Scope, ScopedJoinHandle};

/// Work that was begun, and is done beside what follows or was done before it.
pub(super) enum Beside<'scope, T> {
    Going(ScopedJoinHandle<'scope, Option<T>>),
    Done(Option<T>),
}

impl<'scope, T: Send + 'scope> Beside<'scope, T> {
    /// Does the work on a thread of its own; on this one, and now, where the system gives no more threads.
    pub(super) fn begin(scope: &'scope Scope<'scope, '_>, work: impl FnOnce() -> T + Send + 'scope) -> Self {
        let ours = Arc::new(Mutex::new(Some(work)));
        let theirs = Arc::clone(&ours);
        match thread::Builder::new().spawn_scoped(scope, move || taken(&theirs).map(|work| work())) {
            Ok(thread) => Self::Going(thread),
            Err(_) => Self::Done(taken(&ours).map(|work| work())),
        }
    }

    /// What came of it; none if it panicked.
    pub(super) fn end(self) -> Option<T> {
        match self {
            Self::Going(thread) => thread.join().ok().flatten(),
            Self::Done(done) => done,
        }
    }
}

fn taken<W>(work: &Mutex<Option<W>>) -> Option<W> {
    work.lock().unwrap_or_else(PoisonError::into_inner).take()
}
