//! What lies between two epochs: what a union brought, and what it did to what was there.

use std::collections::{BTreeMap, BTreeSet, HashMap};

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
    /// Conflicts that are open in the old one only, each with its streams.
    pub closed: BTreeMap<String, Vec<String>>,
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
    let without = |a: &BTreeMap<String, Vec<String>>, b: &BTreeMap<String, Vec<String>>| {
        a.iter().filter(|(id, _)| !b.contains_key(*id)).map(|(id, streams)| (id.clone(), streams.clone())).collect()
    };
    Difference { came, went, streams: streams(ours, theirs), opened: without(&after, &before), closed: without(&before, &after) }
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
    let of = |conflict: &crate::dag::Conflict| conflict.forks.iter().map(|fork| index.streams.text(fork.stream).to_owned()).collect();
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
