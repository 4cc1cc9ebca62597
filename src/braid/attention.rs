//! How often something is looked at that nobody tells of.

use std::time::{Duration, Instant};

/// Often while things happen, and seldom after a quiet minute: a machine that sleeps is not woken all the time.
pub(super) struct Attention {
    often: Duration,
    last: Instant,
}

/// After how long without a change it is looked more seldom.
const QUIET: Duration = Duration::from_secs(60);

/// How often then.
const SELDOM: Duration = Duration::from_secs(1);

impl Attention {
    pub(super) fn new(often: Duration) -> Self {
        Self { often, last: Instant::now() }
    }

    /// Something has changed.
    pub(super) fn noticed(&mut self) {
        self.last = Instant::now();
    }

    /// Sleeps until the next look.
    pub(super) fn rest(&self) {
        std::thread::sleep(self.pause(self.last.elapsed()));
    }

    fn pause(&self, quiet: Duration) -> Duration {
        if quiet < QUIET { self.often } else { self.often.max(SELDOM) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_minute_makes_looks_seldom() {
        let attention = Attention::new(Duration::from_millis(250));
        assert_eq!(attention.pause(Duration::from_secs(59)), Duration::from_millis(250));
        assert_eq!(attention.pause(Duration::from_secs(60)), Duration::from_secs(1));
        assert_eq!(Attention::new(Duration::from_secs(3)).pause(Duration::from_secs(60)), Duration::from_secs(3));
    }
}
