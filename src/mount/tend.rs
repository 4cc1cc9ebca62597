//! The thread that removes what time has made useless.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::fs::Fs;
use crate::mount::shell::guarded;

/// It looks again at least so often, for files that came meanwhile.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// So often what is done as well is done.
pub(super) const ALSO_PAUSE: Duration = Duration::from_secs(1);

/// When the thread ends.
#[derive(Default)]
pub struct Tending {
    ended: Mutex<bool>,
    changed: Condvar,
}

impl Tending {
    /// Tends until [`Tending::end`]; `also` is done as well, more often.
    pub fn run(&self, fs: &Fs, also: impl Fn()) {
        let mut due = Instant::now();
        loop {
            guarded("tend", &also);
            if due <= Instant::now() {
                let mut pause = PAUSE_MAX;
                guarded("tend", || pause = fs.tend(Instant::now()).min(PAUSE_MAX));
                due = Instant::now() + pause;
            }
            let pause = due.saturating_duration_since(Instant::now()).min(ALSO_PAUSE);
            let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = self.changed.wait_timeout_while(ended, pause, |ended| !*ended);
            if *waited.unwrap_or_else(PoisonError::into_inner).0 {
                return;
            }
        }
    }

    /// Ends the thread.
    pub fn end(&self) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }
}
