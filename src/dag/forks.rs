//! Forks: what a stream with two or more tips looks like, and whether one transaction has closed it.

use std::borrow::Cow;
use std::cmp::Ordering;

use crate::dag::divided::DividedPast;
use crate::dag::graph::Graph;
use crate::dag::reach::Reach;
use crate::dag::tips::TipSet;
use crate::model::TransactionId;

/// A transaction with an event of the stream in question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writer {
    /// Its number.
    pub transaction: u32,
    /// How many events of the stream it has.
    pub events: u64,
}

/// What fork reports need to know beyond the graph; streams are numbers too.
pub trait History: Graph {
    /// Compares two transactions in canonical order.
    fn compare(&self, a: u32, b: u32) -> Ordering;

    /// A transaction's id.
    fn transaction_id(&self, n: u32) -> TransactionId;

    /// A stream's id.
    fn stream_id(&self, stream: u32) -> Cow<'_, str>;

    /// The transaction with an event of a stream that has this place, from 0, in canonical order.
    fn writer(&self, stream: u32, place: usize) -> Option<Writer>;

    /// Those from a place on, in canonical order.
    fn writers_from(&self, stream: u32, place: usize) -> impl Iterator<Item = Writer> {
        (place..).map_while(move |place| self.writer(stream, place))
    }

    /// The place of the stream's first writer that is no shallower than `depth`.
    fn place_at(&self, stream: u32, depth: u32) -> usize;

    /// How many events a stream has.
    fn event_count(&self, stream: u32) -> u64;

    /// The transactions that list a parent which is not present and valid.
    fn dangling(&self) -> Vec<u32>;
}

/// One side of a fork.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// The newest writer of the stream on this side.
    pub tip: u32,
    /// The writers in its past, itself included, that are not in the past of all tips; in canonical order.
    pub transactions: Vec<u32>,
    /// How many events of the stream these have.
    pub events: u64,
}

/// A stream with two or more tips.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fork {
    /// The stream's number.
    pub stream: u32,
    /// How many events of the stream lie in the common past of all tips.
    pub base_version: u64,
    /// The latest common ancestors of all tips, in canonical order; none if they have no common past.
    pub fork_points: Vec<u32>,
    /// A branch a tip, in canonical order of the tips.
    pub branches: Vec<Branch>,
    /// Whether a parent is missing in the past of a tip.
    pub is_provisional: bool,
}

/// Whether the fork of these tips is open: no closer descends from all of them.
///
/// `closers` are the newest of the transactions whose `resolves` names the stream, and the newest of the merges (two
/// or more listed parents) without events, bases and `resolves`.
pub fn is_open(reach: &mut Reach, graph: &impl Graph, tips: &TipSet, closers: &[&TipSet]) -> bool {
    tips.is_forked() && !closers.iter().flat_map(|closers| closers.as_slice()).any(|&n| reach.has_ancestors(graph, tips.as_slice(), n))
}

/// Describes the fork of a stream, whose tips these are.
///
/// Costs the runs and the writers of the stream that are deeper than the latest common ancestors.
pub fn fork(reach: &mut Reach, history: &impl History, stream: u32, tips: &TipSet) -> Fork {
    let mut tips = tips.as_slice().to_vec();
    tips.sort_by(|&a, &b| history.compare(a, b));
    let past = DividedPast::of(history, &tips);
    let mut branches: Vec<Branch> = tips.iter().map(|&tip| Branch { tip, transactions: Vec::new(), events: 0 }).collect();
    let mut apart = 0;
    for Writer { transaction, events } in history.writers_from(stream, history.place_at(stream, past.floor())) {
        let Some(sides) = past.sides_apart(history, transaction) else { continue };
        apart += events;
        for side in sides {
            let Some(branch) = branches.get_mut(side) else { continue };
            branch.transactions.push(transaction);
            branch.events += events;
        }
    }
    let mut fork_points = past.fork_points().to_vec();
    fork_points.sort_by(|&a, &b| history.compare(a, b));
    Fork {
        stream,
        base_version: history.event_count(stream).saturating_sub(apart),
        fork_points,
        branches,
        is_provisional: has_gap(reach, history, &tips),
    }
}

/// Whether a parent is missing in the past of one of the tips, or of a tip itself.
fn has_gap(reach: &mut Reach, history: &impl History, tips: &[u32]) -> bool {
    let dangling = history.dangling();
    !dangling.is_empty() && tips.iter().any(|tip| dangling.contains(tip) || reach.has_ancestor_among(history, &dangling, *tip))
}
