//! Waiting for what another process does, without a bet on how fast it is.

use std::time::{Duration, Instant};

/// No wait takes longer; a test that needs it all has failed.
pub const DEADLINE: Duration = Duration::from_secs(30);

const PAUSE: Duration = Duration::from_millis(5);

/// Returns as soon as the condition holds; panics with `what` after [`DEADLINE`].
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    eventually_some(what, || condition().then_some(()));
}

/// Returns the first value that `find` has; panics with `what` after [`DEADLINE`].
#[track_caller]
pub fn eventually_some<T>(what: &str, find: impl FnMut() -> Option<T>) -> T {
    within(DEADLINE, what, find)
}

/// The same for what a busy machine needs longer for.
#[track_caller]
pub fn within<T>(deadline: Duration, what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(start.elapsed() < deadline, "did not happen within {deadline:?}: {what}");
        std::thread::sleep(PAUSE);
    }
}

/// Returns once `read` gives `expected`; panics with the last value after [`DEADLINE`].
#[track_caller]
pub fn eventually_eq<T: PartialEq + std::fmt::Debug>(expected: &T, mut read: impl FnMut() -> T) {
    let start = Instant::now();
    loop {
        let found = read();
        if found == *expected {
            return;
        }
        if start.elapsed() >= DEADLINE {
            assert_eq!(found, *expected, "after {DEADLINE:?}");
        }
        std::thread::sleep(PAUSE);
    }
}
