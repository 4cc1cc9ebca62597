//! Forks that are closed by now, and which conflict each belonged to.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rustc_hash::FxHashSet;

use crate::dag::closed::{Closer, Closing, closed_forks, conflict_before};
use crate::dag::{ClosedFork, Reach};
use crate::index::Index;
use crate::index::forks::past::Past;
use crate::index::forks::{may_close, streams_of};
use crate::index::transactions::Flags;

/// The closed forks, and the conflicts of them, each as the writer of what closed it found it.
#[derive(Debug)]
pub struct ClosedConflicts<'a> {
    index: &'a Index,
    merges: Vec<u32>,
    resolvers: BTreeMap<u32, Vec<u32>>,
    /// By what closed them and by stream.
    found: HashMap<(u32, u32), String>,
}

impl<'a> ClosedConflicts<'a> {
    /// Costs O(transactions).
    #[must_use]
    pub fn of(index: &'a Index) -> Self {
        let mut resolvers: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        let mut merges = Vec::new();
        for tx in index.order.iter_from(0).filter(|&tx| may_close(index, tx)) {
            if index.transactions.flags(tx).has(Flags::CLOSES_ALL) {
                merges.push(tx);
            }
            for &stream in index.transactions.details(tx).into_iter().flat_map(|details| &details.resolves) {
                resolvers.entry(stream).or_default().push(tx);
            }
        }
        Self { index, merges, resolvers, found: HashMap::new() }
    }

    /// The forks of a stream that are closed, and how, in canonical order of what closed them.
    ///
    /// `base` gives what a transaction's `stream_bases` states for the stream; it is asked of those that closed a fork.
    /// Costs what lies between cuts for each writer of the stream, each merge that carries nothing, and each transaction whose `resolves`
    /// names the stream.
    #[must_use]
    pub fn forks(&self, stream: u32, mut base: impl FnMut(u32) -> Option<u64>) -> Vec<ClosedFork> {
        if !self.index.was_forked(stream) {
            return Vec::new();
        }
        let past = Past::of(self.index, &self.index.forks.cuts);
        let mut closers = self.closers(&past, stream);
        let mut reach = Reach::default();
        let found = closed_forks(&mut reach, &past, stream, closers.iter().copied());
        let merged: BTreeSet<u32> = found.iter().filter(|fork| fork.closing == Closing::Merged).map(|fork| fork.closer).collect();
        if merged.is_empty() {
            return found;
        }
        for closer in closers.iter_mut().filter(|closer| closer.writes && merged.contains(&closer.transaction)) {
            closer.base = base(closer.transaction);
        }
        closed_forks(&mut reach, &past, stream, closers)
    }

    /// What may have closed a fork of a stream, in canonical order; what is stated of bases is left out.
    fn closers(&self, past: &Past<'_>, stream: u32) -> Vec<Closer> {
        let resolvers = self.resolvers_of(stream);
        let (writers, resolving): (FxHashSet<u32>, FxHashSet<u32>) = (past.writers(stream).collect(), resolvers.iter().copied().collect());
        let mut all: Vec<u32> = past.writers(stream).chain(resolvers.iter().chain(&self.merges).copied()).collect();
        all.sort_by(|&a, &b| self.index.transactions.compare(a, b));
        all.dedup();
        let closer = |transaction: u32| Closer {
            transaction,
            resolves: resolving.contains(&transaction),
            base: None,
            writes: writers.contains(&transaction),
        };
        all.into_iter().map(closer).collect()
    }

    fn resolvers_of(&self, stream: u32) -> &[u32] {
        self.resolvers.get(&stream).map_or(&[], Vec::as_slice)
    }

    /// Whether a transaction settles conflicts: by its `resolves`, by carrying nothing, or, as eventcore-fs's own do, by an event of a stream
    /// that was forked before it.
    pub fn is_settled_by(&mut self, tx: u32) -> bool {
        may_close(self.index, tx) || streams_of(self.index, tx).any(|stream| self.id(stream, tx).is_some())
    }

    /// The id of the conflict that the fork of a stream belonged to in the past of the transaction that closed it.
    ///
    /// All forks of a conflict are found at once.
    pub fn id(&mut self, stream: u32, closer: u32) -> Option<&str> {
        if !self.found.contains_key(&(closer, stream)) {
            let Self { index, merges, .. } = &*self;
            let past = Past::of(index, &index.forks.cuts);
            let closers = |stream: u32| merges.iter().chain(self.resolvers_of(stream)).copied();
            let streams_of = |tx: u32| streams_of(index, tx);
            let conflict = conflict_before(&mut Reach::default(), &past, stream, closer, streams_of, closers)?;
            self.found.extend(conflict.forks.iter().map(|fork| ((closer, fork.stream), conflict.id.clone())));
        }
        self.found.get(&(closer, stream)).map(String::as_str)
    }
}
