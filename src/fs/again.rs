//! Who was told to look a name up again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Within this time the kernel has looked the name up and opens what it found, also where it waits meanwhile.
const MOMENT: Duration = Duration::from_secs(10);

/// So many are remembered; a thread has one name at most.
const TOLD_MAX: usize = 1024;

/// The names that threads were told to look up again, as the kernel does once in a call.
#[derive(Default)]
pub(super) struct LookedUpAgain(HashMap<u32, (Arc<str>, Instant)>);

impl LookedUpAgain {
    /// Whether a thread that opens a name was told in the same call to look it up again: whatever it opens, it is told anew next time.
    pub(super) fn take(&mut self, thread: u32, path: &str) -> bool {
        self.0.remove(&thread).is_some_and(|(told, at)| *told == *path && at.elapsed() < MOMENT)
    }

    /// Notes that a thread has opened something, so that what it was told is over.
    pub(super) fn end(&mut self, thread: u32) {
        // Nearly always there is nobody.
        if !self.0.is_empty() {
            self.0.remove(&thread);
        }
    }

    /// Notes that a thread is told to look a name up again.
    pub(super) fn note(&mut self, thread: u32, path: &Arc<str>) {
        if self.0.len() >= TOLD_MAX {
            self.0.retain(|_, (_, at)| at.elapsed() < MOMENT);
        }
        // From another namespace of processes all have the number 0.
        if thread != 0 && self.0.len() < TOLD_MAX {
            self.0.insert(thread, (Arc::clone(path), Instant::now()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_told_anew_at_each_call() {
        let (mut again, a, b): (_, Arc<str>, Arc<str>) = (LookedUpAgain::default(), "a".into(), "b".into());
        assert!(!again.take(7, &a));
        again.note(7, &a);
        assert!(!again.take(8, &a) && again.take(7, &a) && !again.take(7, &a));
        again.note(7, &a);
        assert!(!again.take(7, &b) && !again.take(7, &a), "it has opened something else");
        again.note(7, &a);
        again.end(7);
        assert!(!again.take(7, &a), "it has opened it");
        again.note(0, &a);
        assert!(!again.take(0, &a));
    }

    #[test]
    fn however_many_come_a_few_are_remembered() {
        let mut again = LookedUpAgain::default();
        (1..5_000).for_each(|thread| again.note(thread, &"a".into()));
        assert_eq!(again.0.len(), TOLD_MAX);
    }
}
