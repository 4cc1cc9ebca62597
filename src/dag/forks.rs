//! Forks: what a stream with two or more tips looks like, and whether one transaction has closed it.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

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

    /// How many transactions have an event of a stream.
    fn writer_count(&self, stream: u32) -> usize;

    /// The one of them that has this place, from 0, in canonical order.
    fn writer(&self, stream: u32, place: usize) -> Option<Writer>;

    /// The place of the stream's first writer that is no shallower than `depth`.
    fn place_at(&self, stream: u32, depth: u32) -> usize {
        let (mut low, mut high) = (0, self.writer_count(stream));
        while low < high {
            let middle = low + (high - low) / 2;
            if self.writer(stream, middle).is_some_and(|writer| self.depth(writer.transaction) < depth) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

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
/// Costs what is deeper than the latest common ancestors.
pub fn fork(reach: &mut Reach, history: &impl History, stream: u32, tips: &TipSet) -> Fork {
    let mut tips = tips.as_slice().to_vec();
    tips.sort_by(|&a, &b| history.compare(a, b));
    let past = DividedPast::of(history, &tips);
    let apart = past.writers_apart(history, stream);
    let branch = |(side, &tip): (usize, &u32)| {
        let own = || apart.iter().filter(|writer| past.is_on(writer.transaction, side));
        Branch { tip, transactions: own().map(|writer| writer.transaction).collect(), events: own().map(|writer| writer.events).sum() }
    };
    let mut fork_points = past.fork_points.clone();
    fork_points.sort_by(|&a, &b| history.compare(a, b));
    Fork {
        stream,
        base_version: history.event_count(stream).saturating_sub(apart.iter().map(|writer| writer.events).sum()),
        fork_points,
        branches: tips.iter().enumerate().map(branch).collect(),
        is_provisional: has_gap(reach, history, &tips),
    }
}

/// Whether a parent is missing in the past of one of the tips, or of a tip itself.
fn has_gap(reach: &mut Reach, history: &impl History, tips: &[u32]) -> bool {
    let dangling = history.dangling();
    !dangling.is_empty() && tips.iter().any(|tip| dangling.contains(tip) || reach.has_ancestor_among(history, &dangling, *tip))
}

/// The past of several tips, divided by which of them have it; walked from the deepest down to where all have it.
struct DividedPast {
    /// What was walked: a bit for each tip that it is in the past of (a tip is in its own).
    seen: HashMap<u32, Seen>,
    /// The latest transactions that are in the past of all.
    fork_points: Vec<u32>,
    /// Whatever is shallower is in the past of all, or of none.
    floor: u32,
    sides: usize,
}

struct Seen {
    sides: Box<[u64]>,
    /// Whether a descendant of it is in the past of all tips.
    is_settled: bool,
}

impl Seen {
    fn count(&self) -> usize {
        self.sides.iter().map(|word| word.count_ones() as usize).sum()
    }
}

impl DividedPast {
    fn of(graph: &impl Graph, tips: &[u32]) -> Self {
        let mut past = Self { seen: HashMap::new(), fork_points: Vec::new(), floor: u32::MAX, sides: tips.len() };
        let mut open: BinaryHeap<(u32, u32)> = BinaryHeap::new();
        for (side, &tip) in tips.iter().enumerate() {
            let mut sides = past.no_sides();
            if let Some(word) = sides.get_mut(side / 64) {
                *word |= 1 << (side % 64);
            }
            past.seen.insert(tip, Seen { sides, is_settled: false });
            open.push((graph.depth(tip), tip));
        }
        let mut unsettled = open.len();
        while unsettled > 0
            && let Some((depth, n)) = open.pop()
        {
            unsettled -= past.close(n, depth);
            for parent in graph.parents(n) {
                match past.pass_on(n, parent) {
                    Passed::New { is_settled } => {
                        open.push((graph.depth(parent), parent));
                        unsettled += usize::from(!is_settled);
                    }
                    Passed::Settled => unsettled -= 1,
                    Passed::Same => {}
                }
            }
        }
        past
    }

    /// Notes what the walk is done with, all its descendants having passed theirs on; 1 if it was not settled.
    fn close(&mut self, n: u32, depth: u32) -> usize {
        let Some(seen) = self.seen.get(&n) else { return 0 };
        if seen.count() < self.sides {
            self.floor = depth;
        } else if !seen.is_settled {
            self.fork_points.push(n);
        }
        usize::from(!seen.is_settled)
    }

    /// Passes on to a parent whose past a transaction is in.
    fn pass_on(&mut self, n: u32, parent: u32) -> Passed {
        let Some(seen) = self.seen.get(&n) else { return Passed::Same };
        let settles = seen.count() == self.sides;
        let sides = seen.sides.clone();
        let Some(known) = self.seen.get_mut(&parent) else {
            self.seen.insert(parent, Seen { sides, is_settled: settles });
            return Passed::New { is_settled: settles };
        };
        for (word, other) in known.sides.iter_mut().zip(sides) {
            *word |= other;
        }
        if !settles || known.is_settled {
            return Passed::Same;
        }
        known.is_settled = true;
        Passed::Settled
    }

    fn no_sides(&self) -> Box<[u64]> {
        vec![0; self.sides.div_ceil(64)].into()
    }

    fn is_on(&self, n: u32, side: usize) -> bool {
        self.seen.get(&n).and_then(|seen| seen.sides.get(side / 64)).is_some_and(|word| word >> (side % 64) & 1 == 1)
    }

    /// The writers that are not in the past of all, in canonical order.
    fn writers_apart(&self, history: &impl History, stream: u32) -> Vec<Writer> {
        let places = (0..history.writer_count(stream)).rev();
        let writers = places.map_while(|place| history.writer(stream, place));
        let deep = writers.take_while(|writer| history.depth(writer.transaction) >= self.floor);
        let is_apart = |writer: &Writer| self.seen.get(&writer.transaction).is_some_and(|seen| seen.count() < self.sides);
        let mut apart: Vec<Writer> = deep.filter(is_apart).collect();
        apart.reverse();
        apart
    }
}

enum Passed {
    New {
        is_settled: bool,
    },
    /// The parent was known and is settled only now.
    Settled,
    Same,
}
