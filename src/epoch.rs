//! One immutable published state: readers hold an `Arc` of it and never lock.

mod counters;
mod saved;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::index::{Index, Touched};
use crate::model::{Declined, Finding, Origin, ReplicaId, TransactionId};
use crate::store::{Checkpoint, Store};

pub use counters::{Counters, Timed};
pub use saved::{SavedSnapshot, StateBytes};

/// A file of `events/` that the store refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// Its name in `events/`.
    pub file: String,
    /// Its size in bytes when it was read.
    pub size: u64,
    /// When it was last changed, in nanoseconds since 1970.
    pub mtime_ns: i128,
    /// Why it is refused.
    pub reason: String,
}

/// What the writer of this process may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum WriterState {
    /// It can commit.
    #[default]
    Ready,
    /// The store was opened for reading.
    ReadOnly,
    /// Another program holds the lock; with what is known of it.
    Locked(String),
    /// A sync failed: nothing is written until the store is opened again.
    Failed(String),
}

/// How far the index is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Files taken in.
    pub done: u64,
    /// Files to take in; equal to `done` once the index is ready.
    pub of: u64,
    /// Whether every file that was there at the start is in the views but for the feed, whose numbers may still be given.
    pub ordered: bool,
    /// Whether every file that was there at the start is in the views.
    pub ready: bool,
    /// Whether the disk or a bug has ended the reading of those files, so that it is not known what the views would show; it is tried again.
    pub failed: bool,
}

impl Progress {
    /// Marks that every file is in the views.
    pub fn finish(&mut self) {
        (self.ordered, self.ready, self.failed) = (true, true, false);
    }
}

/// What only an epoch of the past has.
#[derive(Clone, Debug)]
pub struct PastFacts {
    /// Which files its names stand for: the same for every epoch of the same files, another one for any other.
    pub incarnation: u64,
    /// The files that are not in `events/`, where some are not.
    pub elsewhere: Option<Arc<dyn Elsewhere>>,
}

impl PastFacts {
    /// Where the file lies that had a name then.
    #[must_use]
    pub fn find(&self, name: &str) -> Place {
        self.elsewhere.as_ref().map_or(Place::Events, |elsewhere| elsewhere.find(name))
    }
}

/// Where a file of the past lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The file of that name in `events/` is the one.
    Events,
    /// Elsewhere; its bytes.
    Elsewhere(Arc<[u8]>),
    /// In `events/` is another one by now, and what had it does not give it.
    Nowhere,
}

/// Where a past epoch finds the files that `events/` does not have.
pub trait Elsewhere: Send + Sync + std::fmt::Debug {
    /// Where the file lies that had a name then.
    fn find(&self, name: &str) -> Place;
}

/// Everything that can be read, as of one moment.
#[derive(Debug)]
pub struct Epoch {
    /// Rises by one at each publication; begins anew when the store is opened.
    pub number: u64,
    /// What `epoch:N` calls the transactions in it: rises by one when some came or went, and goes on over restarts while `index/` is kept;
    /// 0 until everything was read.
    pub name: u64,
    /// Orders, streams, lines.
    pub index: Index,
    /// The views that differ from the epoch before.
    pub touched: Touched,
    /// How many numbers of the feed may be shown.
    pub feed_shown: u64,
    /// The files that the store refused, by name.
    pub quarantined: Arc<Vec<Quarantined>>,
    /// What is worth a report.
    pub findings: Arc<Vec<Finding>>,
    /// The saved states, by name and then in the order in which they were saved.
    pub snapshots: Arc<Vec<SavedSnapshot>>,
    /// The subscriptions' checkpoints, by number.
    pub checkpoints: Arc<Vec<Checkpoint>>,
    /// Who brought the tips of open forks to git, as far as git has told: it is asked beside the keeper, so this comes later
    /// than the fork; none in an epoch of the past.
    pub origins: Arc<BTreeMap<TransactionId, Origin>>,
    /// Rises whenever what is shown below `forks/` may have changed, but for the heads in its reports, which every commit changes; begins anew when
    /// the store is opened, and is 0 in an epoch of the past.
    pub forks_number: u64,
    /// Conflicts that somebody declined to settle in this working copy, by id; some may be closed by now.
    pub declined: Arc<BTreeMap<String, Declined>>,
    /// The transactions without events that this working copy has seen and has no more, and of which nobody said that this is known.
    pub eventless_gone: Arc<BTreeSet<TransactionId>>,
    /// The identity of this working copy, once it has one.
    pub replica_id: Option<ReplicaId>,
    /// What the writer may do.
    pub writer: WriterState,
    /// How far the index is.
    pub progress: Progress,
    /// What this process has done.
    pub counters: Counters,
    /// The files behind it.
    pub store: Arc<Store>,
    /// Set in an epoch of the past.
    pub past: Option<PastFacts>,
}

impl Epoch {
    /// Whether a file of `events/` is a transaction's of the views, under the name that it should have.
    #[must_use]
    pub fn shows_file(&self, name: &str) -> bool {
        let transactions = &self.index.transactions;
        let id = TransactionId::of_file_name(name);
        let number = id.filter(|id| id.is_file_name(name)).and_then(|id| transactions.find_valid(id));
        number.is_some_and(|number| transactions.has_name(number, name))
    }
}
