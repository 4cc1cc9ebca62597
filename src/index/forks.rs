//! Forks, kept up at every change: the tips of each stream, what closes forks, what is open, stale reads.
//!
//! An append to one history touches the tips of what it writes and nothing else. Only what comes late or goes away
//! changes the past of transactions that are here; then the cuts from there on and the sets concerned are made anew.

mod ended;
mod former;
mod past;
mod places;
mod reads;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::FxHashSet;

use crate::dag::column::Column;
use crate::dag::forks::{fork, is_open};
use crate::dag::{Conflict, Cuts, Fork, Reach, StaleRead, TipSet, conflicts};
use crate::format::binary::{Binary, Input};
use crate::index::Index;
use crate::index::forks::former::Former;
use crate::index::forks::past::Past;
use crate::index::forks::places::Places;
use crate::index::forks::reads::Reads;
use crate::index::names::Names;
use crate::index::transactions::Flags;

pub use ended::ClosedConflicts;
pub use places::ForkPaths;

/// What a change of the index did to the past of transactions.
pub(super) struct Change<'a> {
    /// Came into the views, in canonical order.
    pub(super) shown: &'a [u32],
    /// Left the views.
    pub(super) hidden: &'a BTreeSet<u32>,
    /// May have another past than before: what descends from what came late or went.
    pub(super) moving: &'a FxHashSet<u32>,
    /// The least depth, before or after, of what is hidden or moving; none if nothing is.
    pub(super) floor: Option<u32>,
}

/// The forks of an index; clones share nearly everything.
#[derive(Clone, Debug, Default)]
pub struct Forks {
    cuts: Cuts,
    /// By stream: the writers that no other writer of it descends from.
    tips: Column<TipSet, 256>,
    /// By stream: the newest transactions whose `resolves` names it.
    resolvers: Arc<BTreeMap<u32, TipSet>>,
    /// The newest merges that carry nothing.
    merges: TipSet,
    /// Streams with two or more tips, also where the fork is closed.
    forked: Arc<BTreeSet<u32>>,
    /// The open forks by stream, as described when they last changed.
    open: Arc<BTreeMap<u32, Fork>>,
    conflicts: Arc<Vec<Conflict>>,
    /// Where the forks are in these conflicts.
    places: Arc<Places>,
    former: Former,
    reads: Reads,
    /// Streams whose fork may have opened, changed or closed since conflicts were last put together.
    unsettled: BTreeSet<u32>,
}

impl Binary for Forks {
    fn put(&self, out: &mut Vec<u8>) {
        // The open forks are described anew from the tips when they are read back.
        let Self { cuts, tips, resolvers, merges, forked, reads, former, open: _, conflicts: _, places: _, unsettled: _ } = self;
        cuts.put(out);
        tips.put(out);
        resolvers.put(out);
        merges.put(out);
        forked.put(out);
        reads.put(out);
        former.put(out);
    }

    fn take(from: &mut Input<'_>) -> Option<Self> {
        let (cuts, tips, resolvers) = (Binary::take(from)?, Binary::take(from)?, Binary::take(from)?);
        let (merges, forked, reads) = (Binary::take(from)?, Arc::<BTreeSet<u32>>::take(from)?, Binary::take(from)?);
        let (former, unsettled) = (Binary::take(from)?, (*forked).clone());
        Some(Self { cuts, tips, resolvers, merges, forked, reads, former, unsettled, ..Self::default() })
    }
}

impl Forks {
    /// The open conflicts, in the order of their ids.
    #[must_use]
    pub fn conflicts(&self) -> &Arc<Vec<Conflict>> {
        &self.conflicts
    }

    /// The open conflict with an id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<&Conflict> {
        let at = self.conflicts.binary_search_by(|conflict| conflict.id.as_str().cmp(id)).ok()?;
        self.conflicts.get(at)
    }

    /// Streams of a conflict that was open under an id, a hundred at most; none if that is not remembered.
    #[must_use]
    pub fn former_streams(&self, id: &str) -> Option<&[u32]> {
        self.former.streams(id)
    }

    /// The open fork of a stream and the conflict that it belongs to.
    #[must_use]
    pub fn of_stream(&self, stream: u32) -> Option<(&Conflict, &Fork)> {
        if !self.open.contains_key(&stream) {
            return None;
        }
        self.places.of_stream(&self.conflicts, stream)
    }

    /// The directories of the forks of the open conflict with an id; `streams` are the index's.
    #[must_use]
    pub fn paths(&self, id: &str, streams: &Names) -> Option<ForkPaths<'_>> {
        let at = self.conflicts.binary_search_by(|conflict| conflict.id.as_str().cmp(id)).ok()?;
        self.places.paths(&self.conflicts, at, streams)
    }

    /// How many streams have an open fork that is not provisional, and how many one that is.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        let provisional = self.open.values().filter(|fork| fork.is_provisional).count();
        ((self.open.len() - provisional) as u64, provisional as u64)
    }

    /// The reads of streams that others wrote at the same time, by stream and reader; another map once there was a change.
    #[must_use]
    pub fn stale_reads(&self) -> &Arc<BTreeMap<(u32, u32), StaleRead>> {
        self.reads.stale()
    }

    /// Streams with two or more tips, closed or not.
    #[must_use]
    pub fn forked(&self) -> &BTreeSet<u32> {
        &self.forked
    }

    /// The tips of a stream, in the order of their numbers.
    #[must_use]
    pub fn tips(&self, stream: u32) -> &[u32] {
        self.tips.get(stream as usize).map_or(&[], TipSet::as_slice)
    }

    /// Takes in what a change of the index did.
    pub(super) fn follow(&mut self, index: &Index, change: &Change<'_>) {
        self.tips.grow(index.streams.len() as usize, &TipSet::default());
        match change.floor {
            None => {
                for &tx in change.shown {
                    self.insert_cut(index, tx);
                }
                self.take_in(index, change.shown);
                self.reads.take_in(&Past::of(index, &self.cuts), change.shown);
            }
            Some(floor) => {
                self.renew_cuts(index, change.shown, floor);
                self.renew_closers(index);
                self.renew_tips(index, change);
                self.reads.renew(&Past::of(index, &self.cuts));
                self.unsettled.extend(self.forked.iter().chain(self.open.keys()));
                self.open = Arc::default();
            }
        }
        self.settle(index);
    }

    fn insert_cut(&mut self, index: &Index, tx: u32) {
        self.cuts.insert(tx, index.transactions.depth(tx), index.transactions.parents(tx));
    }

    /// Forgets the cuts from a depth on and enters whatever is there now.
    fn renew_cuts(&mut self, index: &Index, shown: &[u32], floor: u32) {
        self.cuts.forget_from(floor);
        let depth = |tx: u32| index.transactions.depth(tx);
        for &tx in shown.iter().filter(|&&tx| depth(tx) < floor) {
            self.insert_cut(index, tx);
        }
        let from = index.order.partition_point(|tx| depth(tx) < floor);
        for tx in index.order.iter_from(from) {
            self.insert_cut(index, tx);
        }
    }

    fn renew_closers(&mut self, index: &Index) {
        self.merges = TipSet::default();
        self.resolvers = Arc::default();
        let all: Vec<u32> = index.order.iter_from(0).filter(|&tx| may_close(index, tx)).collect();
        let mut reach = Reach::default();
        for tx in all {
            self.take_in_closer(index, &mut reach, tx);
        }
    }

    fn renew_tips(&mut self, index: &Index, change: &Change<'_>) {
        if change.hidden.is_empty() {
            // Pasts have only grown: no tip comes but those that are new.
            let mut reach = Reach::default();
            for stream in self.forked.iter().copied().collect::<Vec<_>>() {
                let past = Past::of(index, &self.cuts);
                if let Some(tips) = self.tips.get_mut(stream as usize)
                    && tips.renew(&mut reach, &past)
                {
                    self.note_tips(stream);
                }
            }
            self.take_in(index, change.shown);
            return;
        }
        let concerned = change.hidden.iter().chain(change.moving).chain(change.shown);
        let streams: BTreeSet<u32> = concerned.flat_map(|&tx| streams_of(index, tx)).collect();
        let mut reach = Reach::default();
        for stream in streams {
            let past = Past::of(index, &self.cuts);
            let mut writers: Vec<u32> = past.writers(stream).collect();
            writers.dedup();
            // From the newest on, most are ancestors of what is held.
            let tips = TipSet::of(&mut reach, &past, writers.into_iter().rev());
            self.tips.set(stream as usize, tips);
            self.note_tips(stream);
        }
    }

    /// Takes in transactions that nothing here descends from, or whose descendants' tips are renewed.
    fn take_in(&mut self, index: &Index, shown: &[u32]) {
        let mut reach = Reach::default();
        for &tx in shown {
            for stream in streams_of(index, tx) {
                let past = Past::of(index, &self.cuts);
                if let Some(tips) = self.tips.get_mut(stream as usize)
                    && tips.insert(&mut reach, &past, tx)
                {
                    self.note_tips(stream);
                }
            }
            if may_close(index, tx) {
                self.take_in_closer(index, &mut reach, tx);
            }
        }
    }

    fn take_in_closer(&mut self, index: &Index, reach: &mut Reach, tx: u32) {
        let past = Past::of(index, &self.cuts);
        if index.transactions.flags(tx).has(Flags::CLOSES_ALL) && self.merges.insert(reach, &past, tx) {
            self.unsettled.extend(self.forked.iter());
        }
        for &stream in index.transactions.details(tx).into_iter().flat_map(|details| &details.resolves) {
            Arc::make_mut(&mut self.resolvers).entry(stream).or_default().insert(reach, &past, tx);
            if self.forked.contains(&stream) {
                self.unsettled.insert(stream);
            }
        }
    }

    /// Notes that the tips of a stream have changed.
    fn note_tips(&mut self, stream: u32) {
        let is_forked = self.tips.get(stream as usize).is_some_and(TipSet::is_forked);
        if is_forked != self.forked.contains(&stream) {
            let forked = Arc::make_mut(&mut self.forked);
            if is_forked {
                forked.insert(stream)
            } else {
                forked.remove(&stream)
            };
            self.unsettled.insert(stream);
        }
        if is_forked {
            self.unsettled.insert(stream);
        }
        if self.open.contains_key(&stream) {
            Arc::make_mut(&mut self.open).remove(&stream);
            self.unsettled.insert(stream);
        }
    }

    /// Describes the forks that may have opened or changed, and puts the conflicts together if any did.
    fn settle(&mut self, index: &Index) {
        if self.unsettled.is_empty() {
            return;
        }
        let unsettled = std::mem::take(&mut self.unsettled);
        let past = Past::of(index, &self.cuts);
        let mut reach = Reach::default();
        let mut open = (*self.open).clone();
        for stream in unsettled {
            let none = TipSet::default();
            let tips = self.tips.get(stream as usize).unwrap_or(&none);
            let resolvers = self.resolvers.get(&stream).unwrap_or(&none);
            if !is_open(&mut reach, &past, tips, &[&self.merges, resolvers]) {
                open.remove(&stream);
            } else {
                open.entry(stream).or_insert_with(|| past.whole(fork(&mut reach, &past, stream, tips)));
            }
        }
        let conflicts = conflicts::conflicts(&past, open.values().cloned().collect());
        self.former.note(&self.conflicts, &conflicts);
        self.conflicts = Arc::new(conflicts);
        self.places = Arc::default();
        self.open = Arc::new(open);
    }
}

/// Whether a transaction closes forks of streams that it need not write.
fn may_close(index: &Index, tx: u32) -> bool {
    index.transactions.flags(tx).has(Flags::CLOSES_ALL)
        || index.transactions.details(tx).is_some_and(|details| !details.resolves.is_empty())
}

/// The streams that a transaction writes, each once.
fn streams_of(index: &Index, tx: u32) -> impl Iterator<Item = u32> + '_ {
    let events = index.transactions.events(tx);
    let mut more: BTreeSet<u32> = BTreeSet::new();
    // Nearly every transaction writes one stream, which needs no set.
    let first = events.clone().next().map(|event| index.events.stream(event));
    let others = events.skip(1).map(|event| index.events.stream(event));
    first.into_iter().chain(others.filter(move |&stream| Some(stream) != first && more.insert(stream)))
}

impl Index {
    /// Whether a transaction descends from another one; nothing descends from itself.
    #[must_use]
    pub fn is_ancestor(&self, ancestor: u32, descendant: u32) -> bool {
        Reach::default().is_ancestor(&Past::of(self, &self.forks.cuts), ancestor, descendant)
    }

    /// Describes the open forks anew, as after everything else about them was read back.
    pub(super) fn settle_forks(&mut self) {
        let mut forks = std::mem::take(&mut self.forks);
        forks.settle(self);
        self.forks = forks;
    }

    /// Whether two writers of a stream that follow each other in canonical order were concurrent.
    fn was_forked(&self, stream: u32) -> bool {
        let past = Past::of(self, &self.forks.cuts);
        let mut reach = Reach::default();
        let mut writers = past.writers(stream);
        let Some(mut before) = writers.next() else { return false };
        writers.any(|writer| {
            let is_apart = writer != before && !reach.is_ancestor(&past, before, writer);
            before = writer;
            is_apart
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests;
