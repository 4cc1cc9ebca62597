//! `graph.txt`: the recent DAG, newest first, as `git log --graph` would draw it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use serde::Serialize;

use crate::dag::draw::{Node, draw};
use crate::format::text::counted;
use crate::index::Index;

/// How many transactions are drawn.
pub const GRAPH_TRANSACTIONS_MAX: usize = 100;
/// How many characters of an id are shown at least: those that hold the time. More where others were made in the same millisecond.
const ID_CHARS: usize = 13;
/// How many streams of one transaction are named.
const STREAMS_SHOWN_MAX: usize = 3;

/// A transaction of the graph, as programs read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GraphTransaction {
    /// Its id.
    pub transaction_id: String,
    /// Its parents, also those that are not here or not drawn.
    pub parent_transaction_ids: Vec<String>,
    /// Those of its parents that are not here.
    pub missing: Vec<String>,
    /// Who wrote it.
    pub replica_id: String,
    /// When it was written.
    pub created_at: String,
    /// How many events it has, by stream.
    pub streams: BTreeMap<String, u64>,
    /// The streams that it reconciles.
    pub resolves: Vec<String>,
    /// Whether it has no child.
    pub head: bool,
    /// Whether a parent is missing.
    pub dangling: bool,
    /// The open conflicts of which it is a tip.
    pub conflicts: Vec<String>,
}

/// The newest transactions of an index, newest first, for programs: what [`graph_nodes`] draws.
#[must_use]
pub fn graph_transactions(index: &Index, most: usize) -> Vec<GraphTransaction> {
    let transactions = &index.transactions;
    let from = index.order.len().saturating_sub(most as u64);
    let tips = tips(index);
    let text = |stream: u32| index.streams.text(stream).to_owned();
    let of = |tx: u32| {
        let gone = transactions.listed(tx).filter(|&parent| !transactions.is_valid(parent));
        let missing: Vec<String> = gone.map(|parent| transactions.id(parent).to_string()).collect();
        GraphTransaction {
            transaction_id: transactions.id(tx).to_string(),
            parent_transaction_ids: transactions.listed(tx).map(|parent| transactions.id(parent).to_string()).collect(),
            dangling: !missing.is_empty(),
            missing,
            replica_id: transactions.replica(tx).to_string(),
            created_at: transactions.created_at(tx).to_string(),
            streams: events_by_stream(index, tx).into_iter().map(|(stream, count)| (stream.to_owned(), count)).collect(),
            resolves: transactions.details(tx).map_or_else(Vec::new, |details| details.resolves.iter().copied().map(text).collect()),
            head: transactions.head_numbers().contains(&tx),
            conflicts: tips.get(&tx).into_iter().flatten().map(|&conflict| conflict.to_owned()).collect(),
        }
    };
    let mut newest: Vec<GraphTransaction> = index.order.iter_from(from).map(of).collect();
    newest.reverse();
    newest
}

/// The newest transactions of an index as nodes, newest first, each with its number.
#[must_use]
pub fn graph_nodes(index: &Index, most: usize) -> Vec<(u32, Node)> {
    let from = index.order.len().saturating_sub(most as u64);
    let mut shown: Vec<u32> = index.order.iter_from(from).collect();
    shown.reverse();
    let places: HashMap<u32, usize> = shown.iter().enumerate().map(|(place, &tx)| (tx, place)).collect();
    let dangling: BTreeSet<u32> = index.transactions.missing().values().flatten().copied().collect();
    let tips = tips(index);
    let ids = short_ids(shown.iter().map(|&tx| index.transactions.id(tx).to_string()).collect());
    let node = |(&tx, id): (&u32, String)| {
        let parents: Vec<u32> = index.transactions.parents(tx).collect();
        let held: Vec<usize> = parents.iter().filter_map(|parent| places.get(parent).copied()).collect();
        let mut marks = Vec::new();
        if index.transactions.head_numbers().contains(&tx) {
            marks.push("head".to_owned());
        }
        if dangling.contains(&tx) {
            marks.push("dangling".to_owned());
        }
        marks.extend(tips.get(&tx).into_iter().flatten().map(|conflict| format!("fork {conflict}")));
        let node = Node { id, has_older: held.len() < parents.len(), parents: held, marks, label: label(index, tx) };
        (tx, node)
    };
    shown.iter().zip(ids).map(node).collect()
}

/// Ids cut to what tells them from each other.
fn short_ids(ids: Vec<String>) -> Vec<String> {
    let sorted: BTreeSet<&String> = ids.iter().collect();
    let common = |a: &str, b: &str| a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    let short = |id: &String| {
        let before = sorted.range::<String, _>(..id).next_back().map_or(0, |other| common(id, other));
        let after = sorted.range::<String, _>((Bound::Excluded(id), Bound::Unbounded)).next().map_or(0, |other| common(id, other));
        id.chars().take(ID_CHARS.max(before.max(after) + 1)).collect()
    };
    ids.iter().map(short).collect()
}

/// The text of `graph.txt`.
pub(super) fn graph_text(index: &Index) -> String {
    let nodes: Vec<Node> = graph_nodes(index, GRAPH_TRANSACTIONS_MAX).into_iter().map(|(_, node)| node).collect();
    let mut lines = draw(&nodes);
    let older = index.order.len().saturating_sub(nodes.len() as u64);
    if older > 0 {
        lines.push(format!("… and {}", counted(older, "older transaction")));
    }
    lines.into_iter().map(|line| line + "\n").collect()
}

/// The conflicts of which a transaction is a tip.
fn tips(index: &Index) -> HashMap<u32, BTreeSet<&str>> {
    let mut tips: HashMap<u32, BTreeSet<&str>> = HashMap::new();
    for conflict in index.forks().conflicts().iter() {
        for branch in conflict.forks.iter().flat_map(|fork| &fork.branches) {
            tips.entry(branch.tip).or_default().insert(&conflict.id);
        }
    }
    tips
}

/// How many events a transaction has, by stream.
fn events_by_stream(index: &Index, tx: u32) -> BTreeMap<&str, u64> {
    let mut streams: BTreeMap<&str, u64> = BTreeMap::new();
    for event in index.transactions.events(tx) {
        *streams.entry(index.streams.text(index.events.stream(event))).or_default() += 1;
    }
    streams
}

/// When it was written, by whom, and to which streams.
fn label(index: &Index, tx: u32) -> String {
    let streams = events_by_stream(index, tx);
    let mut named: Vec<String> = streams.iter().take(STREAMS_SHOWN_MAX).map(|(stream, count)| format!("{stream} +{count}")).collect();
    if streams.len() > STREAMS_SHOWN_MAX {
        named.push(format!("and {}", counted(streams.len() - STREAMS_SHOWN_MAX, "more stream")));
    }
    let resolved = index.transactions.details(tx).map_or(0, |details| details.resolves.len());
    if resolved > 0 {
        named.push(format!("reconciles {}", counted(resolved, "stream")));
    }
    let created_at: String = index.transactions.created_at(tx).chars().take("2026-01-31T12:00:00".len()).collect();
    let replica: String = index.transactions.replica(tx).to_string().chars().take(8).collect();
    format!("{created_at} {replica} {}", named.join(", ")).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::short_ids;

    #[test]
    fn ids_of_one_millisecond_are_told_apart() {
        let ids = ["01a219e0-4d60-7001-8000-000000000000", "01a219e0-4d60-7001-9000-000000000000", "01a219e0-4d61-7001-8000-000000000000"];
        let short = short_ids(ids.map(str::to_owned).to_vec());
        assert_eq!(short, ["01a219e0-4d60-7001-8", "01a219e0-4d60-7001-9", "01a219e0-4d61"]);
    }
}
