//! Those who open what a verdict is on its way for: they are parked, so that however many they are none takes a thread from others.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::fs::Fs;
use crate::mount::park::Job;

/// The parked requests.
#[derive(Default)]
pub struct Verdicts {
    state: Mutex<State>,
    /// A request was parked.
    came: Condvar,
}

#[derive(Default)]
struct State {
    parked: Vec<Parked>,
    ended: bool,
}

/// Who wants to open an inode with these flags.
struct Parked {
    ino: u64,
    flags: i32,
    /// Then it is opened as it is.
    until: Option<Instant>,
    job: Job,
}

impl Parked {
    fn is_ready(&self, fs: &Fs) -> bool {
        self.until.is_some_and(|until| until <= Instant::now()) || fs.open_wait(self.ino, self.flags).is_none()
    }
}

impl Verdicts {
    /// Parks who opens an inode as long as he is to wait, until then at most.
    pub fn park(&self, fs: &Fs, (ino, flags): (u64, i32), until: Option<Instant>, job: Job) {
        self.lock().parked.push(Parked { ino, flags, until, job });
        self.came.notify_one();
        // The verdict may have come before he was parked.
        fs.look_again();
    }

    /// Hands whoever need not wait any more to `answer`, until [`Verdicts::end`].
    pub fn serve(&self, fs: &Fs, answer: impl Fn(Job)) {
        loop {
            let Some(parked) = self.take() else { return };
            let seen = fs.verdicts();
            let (ready, waiting): (Vec<_>, Vec<_>) = parked.into_iter().partition(|parked| parked.is_ready(fs));
            let until = waiting.iter().filter_map(|parked| parked.until).min();
            let waits = !waiting.is_empty();
            self.lock().parked.extend(waiting);
            ready.into_iter().for_each(|parked| answer(parked.job));
            if waits {
                fs.wait_verdict(seen, until);
            }
        }
    }

    /// Ends the thread that serves; what is still parked is not answered.
    pub fn end(&self, fs: &Fs) {
        self.lock().ended = true;
        self.came.notify_all();
        fs.look_again();
    }

    /// All that are parked, once there are any; none after the end.
    fn take(&self) -> Option<Vec<Parked>> {
        let waited = self.came.wait_while(self.lock(), |state| state.parked.is_empty() && !state.ended);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        (!state.ended).then(|| std::mem::take(&mut state.parked))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
