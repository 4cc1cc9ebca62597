//! The events that have a number and are in no view.
//!
//! They are noted as they leave the views and as they are back, so nobody goes through all numbers whose events are gone: a working copy that
//! switches branches has thousands of those whose events have other numbers by now.

use std::collections::{BTreeMap, BTreeSet};

use crate::format::binary::binary_fields;
use crate::model::EventId;

/// The events, each with the last number that was its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Absent {
    last: BTreeMap<EventId, u32>,
    seqs: BTreeSet<u32>,
}
binary_fields!(Absent { last, seqs });

impl Absent {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.last.is_empty()
    }

    /// Whether it is one of them.
    #[must_use]
    pub fn has(&self, id: EventId) -> bool {
        self.last.contains_key(&id)
    }

    /// All of them by id, each with its last number.
    pub fn iter(&self) -> impl Iterator<Item = (EventId, u64)> {
        self.last.iter().map(|(&id, &seq)| (id, u64::from(seq)))
    }

    /// The last of their numbers; 0 where there is none.
    #[must_use]
    pub fn last_seq_nr(&self) -> u64 {
        self.seqs.last().copied().map_or(0, u64::from)
    }

    /// Notes that an event is in no view, and a number that was its own.
    pub(crate) fn insert(&mut self, id: EventId, seq: u32) {
        match self.last.get(&id).copied() {
            Some(last) if last >= seq => return,
            Some(last) => drop(self.seqs.remove(&last)),
            None => {}
        }
        self.last.insert(id, seq);
        self.seqs.insert(seq);
    }

    /// Notes that an event is back.
    pub(crate) fn remove(&mut self, id: EventId) {
        if let Some(seq) = self.last.remove(&id) {
            self.seqs.remove(&seq);
        }
    }
}
