//! The index as fork reports see it.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeSet;

use crate::dag::forks::{History, Writer};
use crate::dag::{Cuts, Fork, Graph};
use crate::index::Index;
use crate::model::TransactionId;

/// An index and the cuts of its transactions.
///
/// As places among a stream's writers it takes those of the events: a transaction with several events is met several
/// times, each time with one event. [`Past::whole`] puts that right in a fork.
pub(super) struct Past<'a> {
    pub(super) index: &'a Index,
    cuts: &'a Cuts,
}

impl<'a> Past<'a> {
    pub(super) fn of(index: &'a Index, cuts: &'a Cuts) -> Self {
        Self { index, cuts }
    }

    /// The transactions of a stream's events, in canonical order; one with several events stands there several times.
    pub(super) fn writers(&self, stream: u32) -> impl Iterator<Item = u32> + 'a {
        let index = self.index;
        let events = index.stream_list(stream).into_iter().flat_map(|list| list.events.iter_from(0));
        events.map(|event| index.events.transaction(event))
    }

    /// The fork with each transaction once.
    pub(super) fn whole(&self, mut fork: Fork) -> Fork {
        for branch in &mut fork.branches {
            branch.transactions.dedup();
        }
        fork
    }
}

impl Graph for Past<'_> {
    fn parents(&self, n: u32) -> impl Iterator<Item = u32> {
        self.index.transactions.parents(n)
    }

    fn depth(&self, n: u32) -> u32 {
        self.index.transactions.depth(n)
    }

    fn run_start(&self, n: u32) -> u32 {
        self.cuts.run_start(n)
    }

    fn cut_between(&self, low: u32, high: u32) -> bool {
        self.cuts.any_between(low, high)
    }
}

impl History for Past<'_> {
    fn compare(&self, a: u32, b: u32) -> Ordering {
        self.index.transactions.compare(a, b)
    }

    fn transaction_id(&self, n: u32) -> TransactionId {
        self.index.transactions.id(n)
    }

    fn stream_id(&self, stream: u32) -> Cow<'_, str> {
        self.index.streams.text(stream).into()
    }

    fn writer(&self, stream: u32, place: usize) -> Option<Writer> {
        let event = self.index.stream_list(stream)?.events.get(place as u64)?;
        Some(Writer { transaction: self.index.events.transaction(event), events: 1 })
    }

    fn writers_from(&self, stream: u32, place: usize) -> impl Iterator<Item = Writer> {
        let events = self.index.stream_list(stream).into_iter().flat_map(move |list| list.events.iter_from(place as u64));
        events.map(|event| Writer { transaction: self.index.events.transaction(event), events: 1 })
    }

    fn place_at(&self, stream: u32, depth: u32) -> usize {
        let is_above = |event: u32| self.depth(self.index.events.transaction(event)) < depth;
        self.index.stream_list(stream).map_or(0, |list| list.events.partition_point(is_above)) as usize
    }

    fn event_count(&self, stream: u32) -> u64 {
        self.index.stream_list(stream).map_or(0, |list| list.events.len())
    }

    fn dangling(&self) -> Vec<u32> {
        let transactions = &self.index.transactions;
        let waiting: BTreeSet<u32> = transactions.missing().values().flatten().copied().collect();
        waiting.into_iter().filter(|&tx| transactions.is_valid(tx)).collect()
    }
}
