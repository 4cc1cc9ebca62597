//! Those who wait for a lock: the kernel does not tell of a signal, and until it is answered the waiting thread stays.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::disk::has_signal;
use crate::fs::Fs;

/// How often it is looked whether one of them has a signal.
const PAUSE: Duration = Duration::from_millis(40);

/// The waiting threads; one of ours looks after them as long as there are any.
#[derive(Clone, Default)]
pub struct Waits(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    waits: Vec<Wait>,
    /// How many have begun.
    begun: u64,
    is_looked_after: bool,
}

struct Wait {
    number: u64,
    thread: u32,
    ino: u64,
    owner: u64,
    was_signalled: bool,
}

/// Ends a wait when it is dropped.
pub struct Waiting(Waits, u64);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.lock().waits.retain(|wait| wait.number != self.1);
    }
}

impl Waits {
    /// Notes that a thread waits for a lock of `owner`.
    pub fn begin(&self, fs: &Arc<Fs>, thread: u32, ino: u64, owner: u64) -> Waiting {
        let mut state = self.lock();
        state.begun += 1;
        let number = state.begun;
        state.waits.push(Wait { number, thread, ino, owner, was_signalled: false });
        if !state.is_looked_after {
            let (waits, fs) = (self.clone(), Arc::clone(fs));
            let looks = std::thread::Builder::new().name("braidfs-waits".to_owned()).spawn(move || waits.look_after(&fs));
            // The next one tries it again.
            state.is_looked_after = looks.is_ok();
        }
        Waiting(self.clone(), number)
    }

    /// Ends the wait of who has a signal, until nobody waits. Where none is there the kernel would make of that answer a number which is
    /// no error (512), so it is looked twice: one that another thread of the process takes is gone by then.
    fn look_after(&self, fs: &Fs) {
        loop {
            std::thread::sleep(PAUSE);
            let mut signalled = Vec::new();
            {
                let mut state = self.lock();
                if state.waits.is_empty() {
                    state.is_looked_after = false;
                    return;
                }
                for wait in &mut state.waits {
                    let was_signalled = std::mem::replace(&mut wait.was_signalled, has_signal(wait.thread));
                    if wait.was_signalled && was_signalled {
                        signalled.push((wait.ino, wait.owner));
                    }
                }
            }
            signalled.into_iter().for_each(|(ino, owner)| fs.unlock_all(ino, owner));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
