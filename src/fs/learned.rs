//! Which sizes the kernel has learned a moment ago.
//!
//! Where a file has grown, the kernel takes the new size first and then makes zeros of what it holds behind it. A process that is put
//! aside between the two does that when it runs again: also with bytes that came, and were read, meanwhile, and that stay zeros
//! then. So what is behind a size is dropped once more a moment later, where the file grew again before who had asked for that
//! size has asked for anything else.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// For how long a process may be put aside.
const MOMENT: Duration = Duration::from_millis(100);

/// So many may be too old before it is looked.
const CROWD_MIN: usize = 1024;

/// So many sizes are kept of one thread. An answer tells fewer; only what all threads of another namespace are told adds up.
const TOLD_MAX: usize = 4096;

/// The sizes that the last answer to each thread told.
#[derive(Default)]
pub(super) struct Learned {
    by_thread: HashMap<u32, Answer>,
    /// At how many threads it is looked next whether some answers are too old.
    crowd: usize,
}

struct Answer {
    at: Instant,
    /// Inodes with their sizes.
    told: Vec<(u64, u64)>,
}

impl Learned {
    /// Notes that an answer to a thread tells an inode's size.
    pub(super) fn note(&mut self, thread: u32, ino: u64, size: u64) {
        let now = Instant::now();
        if self.by_thread.len() >= self.crowd {
            self.forget_old(now);
        }
        let answer = self.by_thread.entry(thread).or_insert_with(|| Answer { at: now, told: Vec::new() });
        answer.at = now;
        if answer.told.len() >= TOLD_MAX {
            answer.told.clear();
        }
        answer.told.push((ino, size));
    }

    /// Notes that a thread asks for something: it has made use of what it was told.
    pub(super) fn asks(&mut self, thread: u32) {
        // From another namespace of processes all have the number 0.
        if thread != 0 {
            self.by_thread.remove(&thread);
        }
    }

    /// The smallest size of each inode that somebody may still make use of.
    pub(super) fn unused(&mut self) -> HashMap<u64, u64> {
        self.forget_old(Instant::now());
        let mut unused = HashMap::new();
        for (ino, size) in self.by_thread.values().flat_map(|answer| &answer.told) {
            unused.entry(*ino).and_modify(|smallest: &mut u64| *smallest = (*smallest).min(*size)).or_insert(*size);
        }
        unused
    }

    fn forget_old(&mut self, now: Instant) {
        self.by_thread.retain(|_, answer| now.duration_since(answer.at) < MOMENT);
        self.crowd = CROWD_MIN.max(2 * self.by_thread.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_thread_was_told_counts_until_it_asks_again() {
        let mut learned = Learned::default();
        learned.note(7, 1, 30);
        learned.note(8, 1, 10);
        learned.note(8, 2, 5);
        learned.note(0, 3, 1);
        assert_eq!(learned.unused(), HashMap::from([(1, 10), (2, 5), (3, 1)]));
        learned.asks(8);
        learned.asks(0);
        assert_eq!(learned.unused(), HashMap::from([(1, 30), (3, 1)]));
        (0..2 * TOLD_MAX as u64).for_each(|ino| learned.note(0, ino, 1));
        assert!(learned.unused().len() <= TOLD_MAX + 1, "what nobody ends is bounded");
        learned.forget_old(Instant::now() + MOMENT);
        assert_eq!(learned.unused(), HashMap::new());
    }
}
