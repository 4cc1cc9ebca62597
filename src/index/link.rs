//! Takes arrivals and departures into every order at once.
//!
//! What lies before the first changed key stays as it is; what lies behind is merged once. An append costs what it adds.

use std::collections::BTreeSet;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::dag::graph::depths;
use crate::index::events::Events;
use crate::index::forks::Change;
use crate::index::transactions::Flags;
use crate::index::{Index, List, NO_CATEGORY, Touched, weight, weight_at};

/// What a change did.
#[derive(Debug, Default)]
pub struct Linked {
    /// The views it concerned.
    pub touched: Touched,
    /// Transactions that came into the views, in canonical order.
    pub shown: Vec<u32>,
    /// Transactions that left the views.
    pub hidden: Vec<u32>,
    /// Transactions whose place in the order changed since a parent came late or went.
    pub moved: Vec<u32>,
}

/// A transaction's part in a change.
struct Plan {
    /// In the views before and not after.
    hidden: BTreeSet<u32>,
    /// In the views after with their depths, parents first: new, or with another key than before.
    placed: Vec<(u32, u32)>,
    /// Of those placed, the ones that were in the views before.
    moved: BTreeSet<u32>,
    /// In the views before, and with a parent that came late or went in the past.
    moving: FxHashSet<u32>,
    /// Depths after the change.
    depths: Vec<(u32, u32)>,
    /// In or behind a cycle after the change.
    cyclic: BTreeSet<u32>,
}

/// Events that were shown before and have another version now, with the version that they had.
type Shifted = FxHashMap<u32, u32>;

impl Plan {
    /// What comes, goes or moves.
    fn changed(&self) -> impl Iterator<Item = u32> + '_ {
        self.hidden.iter().copied().chain(self.placed.iter().map(|&(tx, _)| tx))
    }
}

impl Index {
    /// Takes entered transactions into the views and those whose files went out of them.
    pub fn link(&mut self, entered: &[u32], gone: &[u32]) -> Linked {
        let plan = self.plan(entered, gone);
        let keep = self.kept_ranks(&plan);
        let old_tail: Vec<u32> = self.order.iter_from(keep).collect();
        let least_depth = |index: &Self| plan.moving.iter().chain(&plan.hidden).map(|&tx| index.transactions.depth(tx)).min();
        let floor = least_depth(self);
        for &(tx, depth) in &plan.depths {
            self.transactions.set_depth(tx, depth);
        }
        self.apply_validity(&plan, gone);
        let mut shown = self.placed_in_order(&plan);
        let new_tail = self.merged_tail(&old_tail, &shown, &plan);
        let mut touched = self.splice_views(keep, &old_tail, &new_tail, &plan);
        shown.retain(|tx| !plan.moved.contains(tx));
        let Self { feed, transactions, events, pack, .. } = &mut *self;
        feed.note_present(shown.iter().flat_map(|&tx| transactions.events(tx)).map(|event| events.id(event, pack)));
        let floor = floor.into_iter().chain(least_depth(self).filter(|_| floor.is_some())).min();
        self.follow_forks(&Change { shown: &shown, hidden: &plan.hidden, moving: &plan.moving, floor });
        touched.transactions = shown.iter().chain(&plan.hidden).copied().collect();
        Linked { touched, shown, hidden: plan.hidden.into_iter().collect(), moved: plan.moved.into_iter().collect() }
    }

    fn follow_forks(&mut self, change: &Change<'_>) {
        let mut forks = std::mem::take(&mut self.forks);
        forks.follow(self, change);
        self.forks = forks;
    }

    /// Whether transactions stand in or behind a cycle of parents now.
    #[must_use]
    pub fn cyclic(&self) -> &BTreeSet<u32> {
        &self.cyclic
    }

    fn plan(&mut self, entered: &[u32], gone: &[u32]) -> Plan {
        let mut work: BTreeSet<u32> = entered.iter().copied().collect();
        // A cycle may open when something goes, and what stood behind it comes back.
        work.extend(self.cyclic.iter().copied().filter(|tx| !gone.contains(tx)));
        let mut late: Vec<u32> = Vec::new();
        for &tx in work.iter() {
            late.extend(self.transactions.take_missing(tx));
        }
        let removed: FxHashSet<u32> = gone.iter().copied().collect();
        let was_valid: Vec<u32> = gone.iter().copied().filter(|&tx| self.transactions.is_valid(tx)).collect();
        let moving = self.descendants(&late, &was_valid);
        work.extend(moving.iter().copied().filter(|tx| !removed.contains(tx)));
        let transactions = &self.transactions;
        let batch: Vec<u32> = work.iter().copied().collect();
        let found = depths(
            &batch,
            |tx| transactions.listed(tx).filter(|parent| !removed.contains(parent)),
            |parent| (transactions.is_valid(parent) || work.contains(&parent)).then(|| transactions.depth(parent)),
        );
        let cyclic: BTreeSet<u32> = found.stuck.iter().copied().collect();
        let mut hidden: BTreeSet<u32> = was_valid.iter().copied().collect();
        hidden.extend(cyclic.iter().copied().filter(|&tx| transactions.is_valid(tx)));
        let (mut placed, mut moved) = (Vec::new(), BTreeSet::new());
        for &(tx, depth) in &found.sorted {
            if transactions.is_valid(tx) {
                if transactions.depth(tx) == depth {
                    continue;
                }
                moved.insert(tx);
            }
            placed.push((tx, depth));
        }
        Plan { hidden, placed, moved, moving, depths: found.sorted, cyclic }
    }

    /// Everything valid that descends from children of late parents or from what goes, those children included.
    fn descendants(&self, late: &[u32], gone: &[u32]) -> FxHashSet<u32> {
        let starts: FxHashSet<u32> = late.iter().chain(gone).copied().filter(|&tx| self.transactions.is_valid(tx)).collect();
        let first = starts.iter().copied().min_by(|&a, &b| self.transactions.compare(a, b));
        let Some(first) = first else {
            return FxHashSet::default();
        };
        let mut found = starts;
        // Parents come before their children in canonical order, so one pass finds all.
        for tx in self.order.iter_from(self.rank(first)) {
            if self.transactions.parents(tx).any(|parent| found.contains(&parent)) {
                found.insert(tx);
            }
        }
        found
    }

    /// How many transactions at the beginning of the order no change reaches.
    fn kept_ranks(&self, plan: &Plan) -> u64 {
        let transactions = &self.transactions;
        let mut first: Option<(u32, u32)> = None;
        let old = plan.hidden.iter().chain(&plan.moved).map(|&tx| (tx, transactions.depth(tx)));
        for (tx, depth) in old.chain(plan.placed.iter().copied()) {
            if first.is_none_or(|(other, other_depth)| transactions.compare_at(tx, depth, other, other_depth).is_lt()) {
                first = Some((tx, depth));
            }
        }
        match first {
            None => self.order.len(),
            Some((tx, depth)) => {
                self.order.partition_point(|other| transactions.compare_at(other, transactions.depth(other), tx, depth).is_lt())
            }
        }
    }

    fn apply_validity(&mut self, plan: &Plan, gone: &[u32]) {
        for &tx in &plan.hidden {
            self.transactions.set_flag(tx, Flags::VALID, false);
            self.transactions.forget_waiting(tx);
        }
        for &tx in gone {
            self.transactions.set_flag(tx, Flags::PRESENT, false);
        }
        for &tx in &self.cyclic {
            if !plan.cyclic.contains(&tx) {
                self.transactions.set_flag(tx, Flags::CYCLIC, false);
            }
        }
        for &tx in &plan.cyclic {
            self.transactions.set_flag(tx, Flags::CYCLIC, true);
        }
        self.cyclic = plan.cyclic.clone();
        // In the order of depth, so that the set of heads stays small.
        for &(tx, _) in &plan.placed {
            self.transactions.set_flag(tx, Flags::VALID, true);
        }
        // What loses a parent waits for it from now on.
        for &(tx, _) in &plan.depths {
            self.transactions.note_missing(tx);
        }
    }

    fn placed_in_order(&self, plan: &Plan) -> Vec<u32> {
        // Parents first is nearly canonical order already.
        let mut placed: Vec<u32> = plan.placed.iter().map(|&(tx, _)| tx).collect();
        placed.sort_by(|&a, &b| self.transactions.compare(a, b));
        placed
    }

    fn merged_tail(&self, old_tail: &[u32], placed: &[u32], plan: &Plan) -> Vec<u32> {
        let mut kept = old_tail.iter().copied().filter(|tx| !plan.hidden.contains(tx) && !plan.moved.contains(tx)).peekable();
        let mut tail = Vec::with_capacity(old_tail.len() + placed.len());
        for &tx in placed {
            while let Some(before) = kept.next_if(|&other| self.transactions.compare(other, tx).is_lt()) {
                tail.push(before);
            }
            tail.push(tx);
        }
        tail.extend(kept);
        tail
    }

    fn splice_views(&mut self, keep: u64, old_tail: &[u32], new_tail: &[u32], plan: &Plan) -> Touched {
        let mut touched = Touched::default();
        let events_before: u64 = self.order_events_before(keep);
        let old_events: Vec<u32> = self.log.events.iter_from(events_before).collect();
        let new_events: Vec<u32> = new_tail.iter().flat_map(|&tx| self.transactions.events(tx)).collect();
        let transactions = &self.transactions;
        self.order.splice(keep, new_tail, |tx| transactions.events(tx).len() as u64);
        if old_tail.is_empty() && new_events.is_empty() {
            return touched;
        }
        let concerned = self.concerned_streams(plan);
        let shifted = self.renumber_streams(&concerned, &new_events, &old_events, &mut touched);
        touched.log = old_events != new_events || !shifted.is_empty();
        if touched.log {
            let events = &self.events;
            splice_list(&mut self.log, events_before, &old_events, &new_events, &shifted, events);
        }
        self.splice_groups(&old_events, &new_events, &concerned, &shifted, plan, &mut touched);
        touched
    }

    fn order_events_before(&self, rank: u64) -> u64 {
        let transactions = &self.transactions;
        self.order.bytes_before(rank, |tx| transactions.events(tx).len() as u64)
    }

    /// Streams of which an event comes, goes or moves.
    fn concerned_streams(&self, plan: &Plan) -> FxHashSet<u32> {
        plan.changed().flat_map(|tx| self.transactions.events(tx)).map(|event| self.events.stream(event)).collect()
    }

    /// Splices the streams that are concerned and numbers their events; gives those shown before whose version is another now.
    fn renumber_streams(&mut self, concerned: &FxHashSet<u32>, new: &[u32], old: &[u32], touched: &mut Touched) -> Shifted {
        let stream_of = |event: u32| self.events.stream(event);
        let new_by_stream = grouped(new, concerned, stream_of);
        let old_by_stream = grouped(old, concerned, stream_of);
        let mut shifted = Shifted::default();
        for &stream in concerned {
            let tail: &[u32] = new_by_stream.get(&stream).map_or(&[], Vec::as_slice);
            let before: &[u32] = old_by_stream.get(&stream).map_or(&[], Vec::as_slice);
            let Some(list) = self.stream_lists.get_mut(stream as usize) else { continue };
            let keep = list.events.len() - before.len() as u64;
            let mut renumbered = Shifted::default();
            for (version, &event) in (keep as u32 + 1..).zip(tail) {
                let was = self.events.version(event);
                if was != version {
                    self.events.set_version(event, version);
                    if was != 0 {
                        renumbered.insert(event, was);
                    }
                }
            }
            let events = &self.events;
            let was_live = !list.events.is_empty();
            if splice_list(list, keep, before, tail, &renumbered, events) {
                touched.streams.insert(stream);
            }
            if was_live == list.events.is_empty() {
                self.directories.count(stream, !was_live);
            }
            shifted.extend(renumbered);
        }
        shifted
    }

    /// Splices the types and categories of which a line comes, goes, moves or is renumbered.
    fn splice_groups(&mut self, old: &[u32], new: &[u32], streams: &FxHashSet<u32>, shifted: &Shifted, plan: &Plan, touched: &mut Touched) {
        let changed = plan.changed().flat_map(|tx| self.transactions.events(tx));
        let types: FxHashSet<u32> = changed.chain(shifted.keys().copied()).map(|event| self.events.event_type(event)).collect();
        let categories: FxHashSet<u32> =
            streams.iter().map(|&stream| self.stream_category.at(stream)).filter(|&category| category != NO_CATEGORY).collect();
        let type_of = |event: u32| self.events.event_type(event);
        let category_of = |event: u32| self.stream_category.at(self.events.stream(event));
        let (old_types, new_types) = (grouped(old, &types, type_of), grouped(new, &types, type_of));
        let (old_categories, new_categories) = (grouped(old, &categories, category_of), grouped(new, &categories, category_of));
        let events = &self.events;
        let none: &[u32] = &[];
        for (groups, old, new, lists, touched) in [
            (&types, &old_types, &new_types, &mut self.type_lists, &mut touched.types),
            (&categories, &old_categories, &new_categories, &mut self.category_lists, &mut touched.categories),
        ] {
            for &group in groups {
                let before = old.get(&group).map_or(none, Vec::as_slice);
                let tail = new.get(&group).map_or(none, Vec::as_slice);
                let Some(list) = lists.get_mut(group as usize) else { continue };
                let keep = list.events.len() - before.len() as u64;
                if splice_list(list, keep, before, tail, shifted, events) {
                    touched.insert(group);
                }
            }
        }
    }
}

/// The events of each wanted group, in their order.
fn grouped(events: &[u32], wanted: &FxHashSet<u32>, group_of: impl Fn(u32) -> u32) -> FxHashMap<u32, Vec<u32>> {
    let mut groups: FxHashMap<u32, Vec<u32>> = wanted.iter().map(|&group| (group, Vec::new())).collect();
    for &event in events {
        if let Some(group) = groups.get_mut(&group_of(event)) {
            group.push(event);
        }
    }
    groups
}

/// Puts a new tail behind the kept lines; the incarnation rises unless lines were only added. Tells whether anything changed.
fn splice_list(list: &mut List, keep: u64, old: &[u32], new: &[u32], shifted: &Shifted, events: &Events) -> bool {
    let same = old.iter().zip(new).take_while(|(a, b)| a == b && !shifted.contains_key(a)).count();
    if same == old.len() && same == new.len() {
        return false;
    }
    if same < old.len() {
        list.incarnation += 1;
    }
    let weight = |event| weight(events, event);
    let was = |event: u32| match shifted.get(&event) {
        Some(&version) => weight_at(events, event, version),
        None => weight(event),
    };
    list.events.splice_reweighed(keep + same as u64, new.get(same..).unwrap_or_default(), weight, was);
    true
}
