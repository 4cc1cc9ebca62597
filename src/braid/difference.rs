//! What lies between two epochs: what a union brought, and what it did to what was there.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::dag::{Conflict, Fork};
use crate::epoch::Epoch;
use crate::index::Index;
use crate::model::{EventId, ReplicaId, TransactionId};

/// What a later epoch has and does otherwise than an earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Transactions that only the new one has, in its canonical order.
    pub came: Vec<Arrived>,
    /// Transactions that only the old one has, in its canonical order.
    pub went: Vec<TransactionId>,
    /// Streams of which events came, went or stand elsewhere, by id.
    pub streams: BTreeMap<String, StreamDifference>,
    /// Conflicts that are open in the new one only, each with its streams.
    pub opened: BTreeMap<String, Vec<String>>,
    /// Conflicts that were open in the old one and have another id in the new one, since a branch came, went or grew together with another
    /// conflict's; by the new id.
    pub changed: BTreeMap<String, ChangedConflict>,
    /// Conflicts that are open in the old one only, each with its streams.
    pub closed: BTreeMap<String, Vec<String>>,
}

/// A conflict that is open in both epochs, under different ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangedConflict {
    /// The ids that it had in the old one; several where conflicts became one.
    pub before: Vec<String>,
    /// Its streams in the new one.
    pub streams: Vec<String>,
}

/// A transaction that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// Its id.
    pub transaction_id: TransactionId,
    /// Who wrote it.
    pub replica_id: ReplicaId,
    /// When, as its header says.
    pub created_at: String,
    /// How many events it has.
    pub events: u64,
}

/// What happened to one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamDifference {
    /// Its version in the old epoch; 0 if it was not there.
    pub old_version: u64,
    /// Its version in the new epoch; 0 if it is not there.
    pub new_version: u64,
    /// Events that only the new one has.
    pub came: u64,
    /// Events that only the old one has.
    pub went: u64,
    /// Whether events that both have follow each other otherwise.
    pub reordered: bool,
    /// Events that both have and whose version is another now.
    pub shifted: u64,
    /// The smallest old version that is another now.
    pub first_shifted: Option<u64>,
}

/// What lies between two epochs.
#[must_use]
pub fn difference(old: &Epoch, new: &Epoch) -> Difference {
    let (ours, theirs) = (&old.index, &new.index);
    let only = |a: &Index, b: &Index| -> Vec<u32> {
        a.order.iter_from(0).filter(|&tx| b.transactions.find_valid(a.transactions.id(tx)).is_none()).collect()
    };
    let came = only(theirs, ours).into_iter().map(|tx| arrived(theirs, tx)).collect();
    let went = only(ours, theirs).into_iter().map(|tx| ours.transactions.id(tx)).collect();
    let (before, after) = (conflicts(ours), conflicts(theirs));
    let without = |a: &BTreeMap<String, Vec<String>>, b: &BTreeMap<String, Vec<String>>| -> BTreeMap<String, Vec<String>> {
        a.iter().filter(|(id, _)| !b.contains_key(*id)).map(|(id, streams)| (id.clone(), streams.clone())).collect()
    };
    let (mut opened, mut closed) = (without(&after, &before), without(&before, &after));
    let mut changed: BTreeMap<String, ChangedConflict> = BTreeMap::new();
    for (old_id, new_id) in going_on(ours, theirs) {
        // One that goes on as several is gone from the closed after the first.
        closed.remove(&old_id);
        let streams = opened.remove(&new_id);
        let one = changed.entry(new_id).or_default();
        one.before.push(old_id);
        one.streams.extend(streams.into_iter().flatten());
    }
    Difference { came, went, streams: streams(ours, theirs), opened, changed, closed }
}

/// The conflicts of the old index that are open in the new one under another id, each with that id.
fn going_on(ours: &Index, theirs: &Index) -> BTreeSet<(String, String)> {
    let mut by_stream: HashMap<&str, (&Conflict, &Fork)> = HashMap::new();
    for conflict in theirs.forks().conflicts().iter() {
        by_stream.extend(conflict.forks.iter().map(|fork| (theirs.streams.text(fork.stream), (conflict, fork))));
    }
    let mut pairs = BTreeSet::new();
    for old in ours.forks().conflicts().iter() {
        for fork in &old.forks {
            if let Some((new, other)) = by_stream.get(ours.streams.text(fork.stream))
                && new.id != old.id
                && goes_on(ours, fork, theirs, other)
            {
                pairs.insert((old.id.clone(), new.id.clone()));
            }
        }
    }
    pairs
}

/// Whether a fork was never closed: of its tips that are still there no branch has all in its past.
fn goes_on(ours: &Index, old: &Fork, theirs: &Index, new: &Fork) -> bool {
    let tips = old.branches.iter().filter_map(|branch| theirs.transactions.find_valid(ours.transactions.id(branch.tip)));
    let tips: Vec<u32> = tips.collect();
    let holds = |branch: u32, tip: u32| branch == tip || theirs.is_ancestor(tip, branch);
    tips.len() > 1 && !new.branches.iter().any(|branch| tips.iter().all(|&tip| holds(branch.tip, tip)))
}

fn arrived(index: &Index, tx: u32) -> Arrived {
    let transactions = &index.transactions;
    Arrived {
        transaction_id: transactions.id(tx),
        replica_id: transactions.replica(tx),
        created_at: transactions.created_at(tx),
        events: transactions.events(tx).len() as u64,
    }
}

fn conflicts(index: &Index) -> BTreeMap<String, Vec<String>> {
    let of = |conflict: &Conflict| conflict.forks.iter().map(|fork| index.streams.text(fork.stream).to_owned()).collect();
    index.forks().conflicts().iter().map(|conflict| (conflict.id.clone(), of(conflict))).collect()
}

fn streams(old: &Index, new: &Index) -> BTreeMap<String, StreamDifference> {
    let live = |index: &Index| -> BTreeSet<String> {
        let numbers = (0..index.streams.len()).filter(|&stream| index.stream_list(stream).is_some());
        numbers.map(|stream| index.streams.text(stream).to_owned()).collect()
    };
    let names: BTreeSet<String> = live(old).into_iter().chain(live(new)).collect();
    let differences = names.into_iter().map(|name| {
        let difference = stream(&events(old, &name), &events(new, &name));
        (name, difference)
    });
    differences.filter(|(_, difference)| difference.came + difference.went + difference.shifted > 0 || difference.reordered).collect()
}

/// The ids of a stream's events in canonical order.
fn events(index: &Index, stream: &str) -> Vec<EventId> {
    let list = index.find_stream(stream).and_then(|number| index.stream_list(number));
    list.into_iter().flat_map(|list| list.events.iter_from(0)).map(|event| index.events.id(event, &index.pack)).collect()
}

fn stream(old: &[EventId], new: &[EventId]) -> StreamDifference {
    let old_versions: HashMap<EventId, u64> = old.iter().copied().zip(1..).collect();
    let new_versions: HashMap<EventId, u64> = new.iter().copied().zip(1..).collect();
    let shared_before: Vec<EventId> = old.iter().copied().filter(|id| new_versions.contains_key(id)).collect();
    let shared_after: Vec<EventId> = new.iter().copied().filter(|id| old_versions.contains_key(id)).collect();
    let shifted: Vec<u64> = shared_before
        .iter()
        .filter(|&id| old_versions.get(id) != new_versions.get(id))
        .filter_map(|id| old_versions.get(id).copied())
        .collect();
    StreamDifference {
        old_version: old.len() as u64,
        new_version: new.len() as u64,
        came: (new.len() - shared_after.len()) as u64,
        went: (old.len() - shared_before.len()) as u64,
        reordered: shared_before != shared_after,
        shifted: shifted.len() as u64,
        first_shifted: shifted.iter().copied().min(),
    }
}
