//! Which conflict a fork belonged to that is closed by now.

use std::collections::{BTreeMap, HashMap};

use crate::dag::Reach;
use crate::dag::closed::conflict_before;
use crate::index::Index;
use crate::index::forks::past::Past;
use crate::index::forks::{may_close, streams_of};
use crate::index::transactions::Flags;

/// The conflicts of closed forks, each as the writer of what closed it found it.
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

    /// The id of the conflict that the fork of a stream belonged to in the past of the transaction that closed it.
    ///
    /// All forks of a conflict are found at once.
    pub fn id(&mut self, stream: u32, closer: u32) -> Option<&str> {
        if !self.found.contains_key(&(closer, stream)) {
            let Self { index, merges, resolvers, .. } = &*self;
            let past = Past::of(index, &index.forks.cuts);
            let closers = |stream: u32| merges.iter().chain(resolvers.get(&stream).into_iter().flatten()).copied();
            let streams_of = |tx: u32| streams_of(index, tx);
            let conflict = conflict_before(&mut Reach::default(), &past, stream, closer, streams_of, closers)?;
            self.found.extend(conflict.forks.iter().map(|fork| ((closer, fork.stream), conflict.id.clone())));
        }
        self.found.get(&(closer, stream)).map(String::as_str)
    }
}
