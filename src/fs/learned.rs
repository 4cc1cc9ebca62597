//! Which sizes the kernel has learned a moment ago.
//!
//! Where a file has grown, the kernel takes the new size first and then makes zeros of what it holds behind it. A process that is put
//! aside between the two does that when it runs again: also with bytes that came, and were read, meanwhile, and that stay zeros
//! then. So what is behind a size that was learned a moment before the file grew again is dropped once more a moment later.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// For how long a process may be put aside.
const MOMENT: Duration = Duration::from_millis(100);

/// So many may be too old before it is looked.
const CROWD_MIN: usize = 1024;

/// The smallest size of each inode that was told within the last moment, and when one was told last.
#[derive(Default)]
pub(super) struct Learned {
    told: HashMap<u64, (u64, Instant)>,
    /// At how many it is looked next whether some are too old.
    crowd: usize,
}

impl Learned {
    /// Notes that an answer tells a size.
    pub(super) fn note(&mut self, ino: u64, size: u64) {
        self.note_at(ino, size, Instant::now());
    }

    fn note_at(&mut self, ino: u64, size: u64, now: Instant) {
        if self.told.len() >= self.crowd {
            self.forget_old();
        }
        let told = self.told.entry(ino).or_insert((size, now));
        let is_of_before = now.duration_since(told.1) >= MOMENT;
        *told = (if is_of_before { size } else { told.0.min(size) }, now);
    }

    /// Forgets what was told longer ago.
    pub(super) fn forget_old(&mut self) {
        self.told.retain(|_, (_, at)| at.elapsed() < MOMENT);
        self.crowd = CROWD_MIN.max(2 * self.told.len());
    }

    /// The smallest size that was told of an inode within the last moment.
    pub(super) fn lately(&self, ino: u64) -> Option<u64> {
        self.told.get(&ino).filter(|(_, at)| at.elapsed() < MOMENT).map(|(size, _)| *size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_size_of_the_last_moment_counts() {
        let mut learned = Learned::default();
        let now = Instant::now();
        learned.note_at(1, 10, now);
        learned.note_at(1, 30, now);
        learned.note_at(2, 5, now);
        assert_eq!((learned.lately(1), learned.lately(2), learned.lately(3)), (Some(10), Some(5), None));
        learned.note_at(1, 40, now + MOMENT);
        assert_eq!(learned.lately(1), Some(40), "what was told before is learned by now");
    }
}
