//! What it took until everything showed files that came or went.

use std::time::{Duration, Instant};

use crate::braid::spans::{count, micros};
use crate::disk::cpu_time;
use crate::epoch::Counters;

/// When the first hint came of what is to be taken in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hinted {
    at: Instant,
    cpu: Duration,
}

/// Files that came or went, on their way into every view and report.
pub(super) struct Arriving {
    hinted: Hinted,
    came: u64,
    went: u64,
}

impl Hinted {
    /// This moment, where anybody is told of it.
    pub(super) fn now() -> Option<Self> {
        tracing::enabled!(tracing::Level::DEBUG).then(|| Self { at: Instant::now(), cpu: cpu_time() })
    }

    /// The same moment; what was spent till now is somebody else's.
    pub(super) fn spent_till_now(self) -> Self {
        Self { cpu: cpu_time(), ..self }
    }

    /// Begins to take in what was hinted at.
    pub(super) fn begin(self, counters: &Counters) -> Arriving {
        Arriving { hinted: self, came: counters.came, went: counters.went }
    }
}

impl Arriving {
    /// Tells what it took, now that everything shows what came and went; nothing where the hints were of our own commits.
    pub(super) fn end(self, counters: &Counters) {
        let (came, went) = (counters.came - self.came, counters.went - self.went);
        if came + went > 0 {
            // What other threads do meanwhile is in it too.
            let cpu_us = count(cpu_time().saturating_sub(self.hinted.cpu).as_micros());
            tracing::debug!(came, went, cpu_us, duration_us = micros(self.hinted.at), "what came and went is taken in and shown");
        }
    }
}
