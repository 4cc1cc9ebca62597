//! Which requests have begun, by the numbers that the kernel gives them: several threads take requests, so one that came earlier may
//! begin later.
//!
//! After close(2) the kernel sends RELEASE before anything else that its caller asks. Who reads a view after that is to find it at least
//! begun, however long the thread that took it did not get to run.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The kernel numbers requests in the order in which they come, by twos: the odd number is that of an interruption.
const STEP: u64 = 2;
/// Longer than a thread that has taken a request needs to begin it. What does not begin was interrupted before it was handed out, or is
/// nothing that we are told of.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// As many waits in vain mean that this kernel counts otherwise: then nobody waits any more.
const VAIN_MAX: u32 = 16;
/// So many requests are remembered behind one that does not begin.
const EARLY_MAX: usize = 1024;

/// The requests that have begun.
#[derive(Default)]
pub struct Arrivals {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The first number that has not begun; 0 before the first request.
    next: u64,
    /// Later ones that have.
    early: BTreeSet<u64>,
    /// Since when one of these is there before it.
    since: Option<Instant>,
    waiting: usize,
    vain: u32,
}

impl State {
    fn begun(&mut self, number: u64) {
        if self.next == 0 {
            self.next = number;
        }
        if number < self.next || !number.is_multiple_of(STEP) {
            return;
        }
        self.early.insert(number);
        if self.early.len() > EARLY_MAX {
            self.next = self.early.first().copied().unwrap_or(number);
        }
        self.pass();
    }

    /// Passes by what has begun without a gap.
    fn pass(&mut self) {
        while self.early.first() == Some(&self.next) {
            self.early.pop_first();
            self.next += STEP;
            self.since = None;
        }
        if self.since.is_none() && !self.early.is_empty() {
            self.since = Some(Instant::now());
        }
    }

    /// Waits no more for what should have come before a number.
    fn give_up(&mut self, number: u64) {
        self.since = None;
        self.early = self.early.split_off(&number);
        self.next = self.next.max(number);
        self.pass();
    }
}

impl Arrivals {
    /// A request begins.
    pub fn begun(&self, number: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.begun(number);
        if state.waiting > 0 {
            self.changed.notify_all();
        }
    }

    /// Waits until every request that came before one has begun.
    pub fn wait_before(&self, number: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.next >= number || state.vain >= VAIN_MAX {
            return;
        }
        state.waiting += 1;
        let left = WAIT_MAX.saturating_sub(state.since.map_or(Duration::ZERO, |since| since.elapsed()));
        let waited = self.changed.wait_timeout_while(state, left, |state| state.next < number);
        let (mut state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        if timeout.timed_out() && state.next < number {
            tracing::debug!(next = state.next, number, "a request did not begin");
            state.vain += u32::from(!left.is_zero());
            state.give_up(number);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn who_waits_goes_on_when_all_that_came_before_has_begun() {
        let arrivals = Arc::new(Arrivals::default());
        for number in [4, 10, 8] {
            arrivals.begun(number);
        }
        arrivals.wait_before(4);
        let (tell, told) = channel();
        let waiting = Arc::clone(&arrivals);
        let waiter = std::thread::spawn(move || {
            waiting.wait_before(10);
            tell.send(()).unwrap();
        });
        assert!(told.recv_timeout(Duration::from_millis(50)).is_err(), "6 has not begun");
        arrivals.begun(6);
        told.recv_timeout(Duration::from_secs(30)).unwrap();
        waiter.join().unwrap();
        assert_eq!(arrivals.state.lock().unwrap().next, 12);
    }

    #[test]
    fn what_never_begins_is_waited_for_once_and_a_kernel_that_counts_otherwise_not_for_ever() {
        let arrivals = Arrivals::default();
        arrivals.begun(2);
        arrivals.begun(8);
        arrivals.wait_before(8);
        assert_eq!(arrivals.state.lock().unwrap().next, 10);
        arrivals.begun(14);
        std::thread::sleep(WAIT_MAX);
        let start = Instant::now();
        arrivals.wait_before(14);
        assert!(start.elapsed() < WAIT_MAX / 2, "what would have begun long ago is not waited for");
        assert_eq!(arrivals.state.lock().unwrap().next, 16);
        arrivals.begun(4);
        arrivals.begun(11);
        assert_eq!(arrivals.state.lock().unwrap().next, 16, "what is late or an interruption counts for nothing");
        arrivals.state.lock().unwrap().vain = VAIN_MAX;
        arrivals.wait_before(1000);
        assert_eq!(arrivals.state.lock().unwrap().next, 16);
    }

    #[test]
    fn behind_what_never_begins_only_so_much_is_remembered() {
        let mut state = State::default();
        state.begun(2);
        (3..4000).for_each(|n| state.begun(n * STEP));
        assert_eq!((state.next, state.early.len()), (8000, 0));
    }
}
