//! What a process has done with a store, in numbers.

use std::time::Duration;

/// How often something was done, and for how long together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timed {
    /// How often.
    pub count: u64,
    /// How long together.
    pub time: Duration,
}

impl Timed {
    /// Counts one more.
    pub fn add(&mut self, time: Duration) {
        self.count += 1;
        self.time += time;
    }
}

/// What was done since the store was opened, as of one publication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Groups of drafts that were decided together.
    pub append: Timed,
    /// Takings-in of files that came or went.
    pub take_in: Timed,
    /// States that were to be saved.
    pub snapshot: Timed,
    /// The opening.
    pub load: Timed,
    /// Transactions that were committed.
    pub committed: u64,
    /// Events in them.
    pub committed_events: u64,
    /// Drafts that were refused.
    pub refused: u64,
    /// Drafts that could not be decided: the store was busy, or the disk failed.
    pub failed: u64,
    /// Files that were taken in after they came.
    pub came: u64,
    /// Files that went.
    pub went: u64,
    /// Events that user-defined folds were given.
    pub folded: u64,
}
