//! Walks over transactions as numbers; every one is a loop, however long the chain.

use rustc_hash::FxHashMap;

/// What the walks need to know of a set of transactions that are numbered densely.
pub trait Graph {
    /// The parents of a transaction that are present and valid, in the order listed.
    fn parents(&self, n: u32) -> impl Iterator<Item = u32>;

    /// 0 without such a parent, else 1 more than the deepest of them.
    fn depth(&self, n: u32) -> u32;

    /// The first transaction of the run that a transaction belongs to (see [`crate::dag::Cuts`]): those of a run from
    /// its first on form a chain in which each has the one before as its only parent. Itself is always right, only slower.
    fn run_start(&self, n: u32) -> u32 {
        n
    }

    /// Whether a cut has a depth of `low..=high` (see [`crate::dag::Cuts`]); "no" is always safe, only slower.
    fn cut_between(&self, _low: u32, _high: u32) -> bool {
        false
    }
}

/// The depths of a batch of new transactions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Depths {
    /// Each transaction with its depth, every parent before its children.
    pub sorted: Vec<(u32, u32)>,
    /// The transactions in or behind a cycle, in the order of the batch.
    pub stuck: Vec<u32>,
}

/// Computes the depths of a batch without repeats, by Kahn's algorithm.
///
/// `parents` gives the parents of a member of the batch; those outside it count with the depth that `known` gives,
/// or not at all if that is none.
pub fn depths<I: IntoIterator<Item = u32>>(batch: &[u32], parents: impl Fn(u32) -> I, known: impl Fn(u32) -> Option<u32>) -> Depths {
    let places = Places::of(batch);
    let mut members = vec![Unsorted::default(); batch.len()];
    let mut edges = Vec::new();
    for ((&n, place), member) in batch.iter().zip(0u32..).zip(&mut members) {
        for parent in parents(n) {
            if let Some(from) = places.find(parent) {
                edges.push((from, place));
                member.waits_for += 1;
            } else if let Some(known) = known(parent) {
                member.depth = member.depth.max(known.saturating_add(1));
            }
        }
    }
    edges.sort_unstable();
    sort_by_waiting(batch, &edges, members)
}

#[derive(Clone, Copy, Default)]
struct Unsorted {
    depth: u32,
    /// How many parents in the batch have no depth yet.
    waits_for: u32,
}

/// Takes whatever waits for no parent until nothing is left to take; `edges` are (parent, child) as places, sorted.
fn sort_by_waiting(batch: &[u32], edges: &[(u32, u32)], mut members: Vec<Unsorted>) -> Depths {
    let mut ready: Vec<u32> = members.iter().zip(0u32..).filter(|(member, _)| member.waits_for == 0).map(|(_, place)| place).collect();
    let mut sorted = Vec::with_capacity(batch.len());
    while let Some(place) = ready.pop() {
        let (Some(&n), Some(&Unsorted { depth, .. })) = (batch.get(place as usize), members.get(place as usize)) else { continue };
        sorted.push((n, depth));
        let children = edges.partition_point(|&(parent, _)| parent < place);
        for &(_, child) in edges.iter().skip(children).take_while(|&&(parent, _)| parent == place) {
            let Some(member) = members.get_mut(child as usize) else { continue };
            member.depth = member.depth.max(depth.saturating_add(1));
            member.waits_for -= 1;
            if member.waits_for == 0 {
                ready.push(child);
            }
        }
    }
    let stuck = batch.iter().zip(&members).filter(|(_, member)| member.waits_for > 0).map(|(&n, _)| n).collect();
    Depths { sorted, stuck }
}

/// Where each transaction stands in a batch.
enum Places {
    /// By number, from the least on: for batches that have most numbers of their span.
    Table {
        first: u32,
        places: Vec<u32>,
    },
    Map(FxHashMap<u32, u32>),
}

impl Places {
    fn of(batch: &[u32]) -> Self {
        let (first, last) = (batch.iter().min().copied().unwrap_or(0), batch.iter().max().copied().unwrap_or(0));
        let span = (last - first) as usize + 1;
        if span / 8 > batch.len() {
            return Self::Map(batch.iter().copied().zip(0..).collect());
        }
        let mut places = vec![u32::MAX; span];
        for (&n, place) in batch.iter().zip(0..) {
            if let Some(slot) = places.get_mut((n - first) as usize) {
                *slot = place;
            }
        }
        Self::Table { first, places }
    }

    fn find(&self, n: u32) -> Option<u32> {
        match self {
            Self::Table { first, places } => places.get(n.checked_sub(*first)? as usize).copied().filter(|&place| place != u32::MAX),
            Self::Map(places) => places.get(&n).copied(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    fn depths_of(parents: &[&[u32]]) -> Depths {
        let batch: Vec<u32> = (0..parents.len() as u32).collect();
        depths(&batch, |n| parents[n as usize].iter().copied(), |n| (n == 99).then_some(41))
    }

    #[test]
    fn depth_is_one_more_than_the_deepest_parent() {
        let mut got = depths_of(&[&[], &[0], &[0, 1], &[2, 0], &[]]);
        got.sorted.sort_unstable();
        assert_eq!(got, Depths { sorted: vec![(0, 0), (1, 1), (2, 2), (3, 3), (4, 0)], stuck: vec![] });
    }

    #[test]
    fn known_parents_count_and_absent_ones_do_not() {
        let got = depths_of(&[&[99], &[77], &[0, 77]]);
        assert_eq!(got.sorted, [(1, 0), (0, 42), (2, 43)]);
    }

    #[test]
    fn a_parent_listed_twice_counts_once() {
        assert_eq!(depths_of(&[&[], &[0, 0]]).sorted, [(0, 0), (1, 1)]);
    }

    #[test]
    fn numbers_far_apart_are_found() {
        let batch = [4_000_000_000, 7, 5_000];
        let got = depths(&batch, |n| batch.iter().copied().filter(move |&parent| parent < n), |_| None);
        assert_eq!(got.sorted, [(7, 0), (5_000, 1), (4_000_000_000, 2)]);
    }

    #[test]
    fn a_cycle_and_what_is_behind_it_are_stuck() {
        let got = depths_of(&[&[], &[2, 0], &[1], &[2], &[0], &[5]]);
        assert_eq!(got.stuck, [1, 2, 3, 5]);
        assert_eq!(got.sorted, [(0, 0), (4, 1)]);
    }

    #[test]
    fn a_chain_of_a_million_needs_a_small_stack() {
        let walk = || {
            let parent = |n: u32| n.checked_sub(1);
            let batch: Vec<u32> = (0..1_000_000).rev().collect();
            let got = depths(&batch, parent, |_| None);
            assert_eq!(got.sorted.last(), Some(&(999_999, 999_999)));
        };
        std::thread::Builder::new().stack_size(128 * 1024).spawn(walk).unwrap().join().unwrap();
    }
}
