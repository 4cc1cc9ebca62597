//! Requests that wait: commits on a few threads of their own, reads of views in one queue. Replies are parked, never the threads that
//! serve the kernel.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::fs::Fs;

/// As many commits may wait at once as are grouped into one sync: whoever waits for a thread before that waits for `.lock` longer than is
/// promised, and so does the end of the daemon.
const THREADS_MAX: usize = 64;

/// A request that was unpacked and is still to be answered.
pub type Job = Box<dyn FnOnce() + Send>;

/// The queues of waiting requests.
#[derive(Default)]
pub struct Parking {
    state: Mutex<State>,
    /// A job has come: one idle thread is woken for it.
    came: Condvar,
    /// A request was parked.
    parked: Condvar,
    /// A thread has nothing left to do.
    idle: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    idle: usize,
    threads: usize,
    /// Each with the number of closes that came before it.
    parked: Vec<(u64, Job)>,
    ended: bool,
}

impl Parking {
    /// Runs a job on a thread that may wait.
    pub fn run(self: &Arc<Self>, job: Job) {
        let mut state = self.lock();
        state.jobs.push_back(job);
        if state.idle < state.jobs.len() && state.threads < THREADS_MAX {
            let parking = Arc::clone(self);
            if thread::Builder::new().name("braidfs-commit".to_owned()).spawn(move || parking.work()).is_ok() {
                state.threads += 1;
            }
        }
        let alone = state.threads == 0;
        drop(state);
        self.came.notify_one();
        if alone {
            // No thread can be had: late is better than never.
            self.work_once();
        }
    }

    /// Parks a request until the first `closes` are decided.
    pub fn park(&self, closes: u64, job: Job) {
        self.lock().parked.push((closes, job));
        self.parked.notify_one();
    }

    /// Answers what was parked as soon as what came before it is decided, until [`Parking::end`].
    pub fn serve(&self, fs: &Fs) {
        loop {
            let mut state = self.lock();
            while state.parked.is_empty() && !state.ended {
                state = self.parked.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            let Some(closes) = state.parked.iter().map(|(closes, _)| *closes).min() else { return };
            drop(state);
            fs.wait_decided(closes);
            let ready: Vec<(u64, Job)> = self.lock().parked.extract_if(.., |(others, _)| *others <= closes).collect();
            ready.into_iter().for_each(|(_, job)| job());
        }
    }

    /// Ends the threads once nothing is left to do.
    pub fn end(&self) {
        self.lock().ended = true;
        self.came.notify_all();
        self.parked.notify_all();
    }

    /// Waits until every job has been done.
    pub fn drain(&self) {
        let state = self.lock();
        let done = self.idle.wait_while(state, |state| !state.jobs.is_empty() || state.idle < state.threads);
        drop(done);
    }

    fn work(&self) {
        loop {
            let mut state = self.lock();
            state.idle += 1;
            self.idle.notify_all();
            while state.jobs.is_empty() && !state.ended {
                state = self.came.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            let Some(job) = state.jobs.pop_front() else {
                return;
            };
            state.idle -= 1;
            drop(state);
            job();
        }
    }

    fn work_once(&self) {
        let job = self.lock().jobs.pop_front();
        if let Some(job) = job {
            job();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
