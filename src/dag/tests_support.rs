//! Random histories for tests, with the answers that ancestor sets give.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::borrow::Cow;
use std::cmp::Ordering;

use proptest::prelude::*;
use uuid::Uuid;

use crate::dag::cuts::Cuts;
use crate::dag::forks::{History, Writer};
use crate::dag::graph::Graph;
use crate::model::TransactionId;

/// What one transaction does to streams.
#[derive(Clone, Debug, Default)]
pub struct Deeds {
    /// Streams with the number of events written.
    pub writes: Vec<(u32, u64)>,
    /// Streams that its `resolves` names.
    pub resolves: Vec<u32>,
    /// Streams that it read and did not write.
    pub reads: Vec<u32>,
    /// Whether a parent that it lists is nowhere.
    pub dangling: bool,
}

/// A history whose transactions are numbered so that parents come first.
#[derive(Clone, Debug, Default)]
pub struct Dag {
    parents: Vec<Vec<u32>>,
    /// How many parents each lists, present or not.
    listed: Vec<usize>,
    depths: Vec<u32>,
    /// By transaction, a bit for each of its ancestors.
    ancestors: Vec<Vec<u64>>,
    cuts: Cuts,
    /// By transaction.
    pub deeds: Vec<Deeds>,
}

impl Dag {
    /// A history of these parents in which nothing is written.
    pub fn new(parents: &[&[u32]]) -> Self {
        Self::from_parents(parents.iter().map(|parents| parents.to_vec()).collect())
    }

    /// A chain of `count` transactions.
    pub fn chain(count: u32) -> Self {
        Self::from_parents((0..count).map(|n| n.checked_sub(1).into_iter().collect()).collect())
    }

    /// As [`Dag::new`], owned.
    pub fn from_parents(parents: Vec<Vec<u32>>) -> Self {
        let mut dag = Self::default();
        for parents in parents {
            dag.push(parents, Deeds::default());
        }
        dag
    }

    /// Appends a transaction.
    pub fn push(&mut self, parents: Vec<u32>, deeds: Deeds) -> u32 {
        let n = self.count();
        let depth = parents.iter().map(|&parent| self.depths[parent as usize] + 1).max().unwrap_or(0);
        self.cuts.insert(n, depth, parents.iter().copied());
        self.extend(parents, depth, deeds);
        n
    }

    fn extend(&mut self, parents: Vec<u32>, depth: u32, deeds: Deeds) {
        let mut set = vec![0u64; self.parents.len() / 64 + 1];
        for &parent in &parents {
            set[parent as usize / 64] |= 1 << (parent % 64);
            for (word, other) in set.iter_mut().zip(&self.ancestors[parent as usize]) {
                *word |= other;
            }
        }
        self.listed.push(parents.len());
        self.parents.push(parents);
        self.depths.push(depth);
        self.ancestors.push(set);
        self.deeds.push(deeds);
    }

    /// The number of transactions.
    pub fn count(&self) -> u32 {
        self.parents.len() as u32
    }

    /// Whether `b` descends from `a`, by definition.
    pub fn is_ancestor(&self, a: u32, b: u32) -> bool {
        self.ancestors[b as usize].get(a as usize / 64).is_some_and(|word| word >> (a % 64) & 1 == 1)
    }

    /// The history in which only some transactions are present, under the same numbers.
    ///
    /// One that lost a parent is dangling; one that is absent has no parents and no deeds, and nothing descends from it.
    pub fn restrict(&self, is_present: impl Fn(u32) -> bool) -> Self {
        let mut dag = Self::default();
        for n in 0..self.count() {
            if !is_present(n) {
                dag.extend(Vec::new(), 0, Deeds::default());
                continue;
            }
            let listed = &self.parents[n as usize];
            let parents: Vec<u32> = listed.iter().copied().filter(|&parent| is_present(parent)).collect();
            let mut deeds = self.deeds[n as usize].clone();
            deeds.dangling |= parents.len() < listed.len();
            dag.push(parents, deeds);
            dag.listed[n as usize] = self.listed[n as usize];
        }
        dag
    }

    /// Every transaction, in canonical order.
    pub fn canonical(&self) -> Vec<u32> {
        let mut all: Vec<u32> = (0..self.count()).collect();
        all.sort_by(|&a, &b| self.compare(a, b));
        all
    }

    /// The transactions with an event of a stream, in canonical order.
    pub fn writers(&self, stream: u32) -> Vec<u32> {
        self.canonical().into_iter().filter(|&n| self.writes(n, stream) > 0).collect()
    }

    /// The number of events that a transaction wrote to a stream.
    pub fn writes(&self, n: u32, stream: u32) -> u64 {
        self.deeds[n as usize].writes.iter().filter(|write| write.0 == stream).map(|write| write.1).sum()
    }

    /// Whether a transaction is a merge that carries nothing.
    pub fn is_pure_merge(&self, n: u32) -> bool {
        let deeds = &self.deeds[n as usize];
        self.listed[n as usize] > 1 && deeds.writes.is_empty() && deeds.resolves.is_empty() && deeds.reads.is_empty()
    }
}

impl Graph for Dag {
    fn parents(&self, n: u32) -> impl Iterator<Item = u32> {
        self.parents[n as usize].iter().copied()
    }

    fn depth(&self, n: u32) -> u32 {
        self.depths[n as usize]
    }

    fn run_start(&self, n: u32) -> u32 {
        self.cuts.run_start(n)
    }

    fn cut_between(&self, low: u32, high: u32) -> bool {
        self.cuts.any_between(low, high)
    }
}

impl History for Dag {
    fn compare(&self, a: u32, b: u32) -> Ordering {
        // Within a depth the order is any fixed one; reversed numbers keep it apart from the order of arrival.
        (self.depth(a), b).cmp(&(self.depth(b), a))
    }

    fn transaction_id(&self, n: u32) -> TransactionId {
        TransactionId(Uuid::from_u128(u128::from(n) << 64 | 7))
    }

    fn stream_id(&self, stream: u32) -> Cow<'_, str> {
        format!("stream-{stream}").into()
    }

    fn place_at(&self, stream: u32, depth: u32) -> usize {
        self.writers(stream).partition_point(|&n| self.depth(n) < depth)
    }

    fn writer(&self, stream: u32, place: usize) -> Option<Writer> {
        let transaction = *self.writers(stream).get(place)?;
        Some(Writer { transaction, events: self.writes(transaction, stream) })
    }

    fn event_count(&self, stream: u32) -> u64 {
        self.deeds.iter().flat_map(|deeds| &deeds.writes).filter(|write| write.0 == stream).map(|write| write.1).sum()
    }

    fn dangling(&self) -> Vec<u32> {
        (0..self.count()).filter(|&n| self.deeds[n as usize].dangling).collect()
    }
}

/// Random histories of at most `most` transactions over three streams: chains, forks, merges of some or all heads,
/// several roots, readers, resolvers, merges that carry nothing.
pub fn any_dag(most: usize) -> impl Strategy<Value = Dag> {
    let streams = || prop::collection::vec(0..3u32, 0..3);
    let step = (0..10u8, any::<[prop::sample::Index; 2]>(), streams(), streams(), 0..8u8);
    prop::collection::vec(step, 1..most).prop_map(|steps| {
        let mut dag = Dag::default();
        for (shape, [first, second], mut writes, mut others, kind) in steps {
            let parents = choose_parents(&dag, shape, first, second);
            writes.sort_unstable();
            writes.dedup();
            others.retain(|stream| !writes.contains(stream));
            let deeds = match kind {
                0 => Deeds::default(),
                1 => Deeds { resolves: others, ..Deeds::default() },
                2 => Deeds { writes: sized(&writes), resolves: writes, ..Deeds::default() },
                3 => Deeds { writes: sized(&writes), reads: others, ..Deeds::default() },
                _ => Deeds { writes: sized(&writes), ..Deeds::default() },
            };
            dag.push(parents, deeds);
        }
        dag
    })
}

fn sized(streams: &[u32]) -> Vec<(u32, u64)> {
    streams.iter().map(|&stream| (stream, u64::from(stream) + 1)).collect()
}

fn choose_parents(dag: &Dag, shape: u8, first: prop::sample::Index, second: prop::sample::Index) -> Vec<u32> {
    let count = dag.count();
    if count == 0 || shape == 0 && first.index(4) == 0 {
        return vec![];
    }
    let heads: Vec<u32> = (0..count).filter(|&n| !dag.parents.iter().any(|parents| parents.contains(&n))).collect();
    let mut parents = match shape {
        0..4 => vec![heads[first.index(heads.len())]],
        4 | 5 => vec![first.index(count as usize) as u32],
        6 => vec![first.index(count as usize) as u32, second.index(count as usize) as u32],
        7 => vec![heads[first.index(heads.len())], heads[second.index(heads.len())]],
        8 => vec![count - 1],
        _ => heads,
    };
    parents.sort_unstable();
    parents.dedup();
    parents
}
