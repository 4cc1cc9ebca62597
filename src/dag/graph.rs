//! Walks over transactions as numbers; every one is a loop, however long the chain.

use std::collections::{HashMap, HashSet};

/// What the walks need to know of a set of transactions that are numbered densely.
pub trait Graph {
    /// The parents of a transaction that are present and valid, in the order listed.
    fn parents(&self, n: u32) -> impl Iterator<Item = u32>;

    /// 0 without such a parent, else 1 more than the deepest of them.
    fn depth(&self, n: u32) -> u32;

    /// Whether a cut has a depth of `low..=high`; "no" is always safe, only slower.
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
    let places: HashMap<u32, usize> = batch.iter().enumerate().map(|(place, &n)| (n, place)).collect();
    let mut waiting = vec![0usize; batch.len()];
    let mut depths = vec![0u32; batch.len()];
    let mut edges = Vec::new();
    for ((&n, waiting), depth) in batch.iter().zip(&mut waiting).zip(&mut depths) {
        for parent in parents(n) {
            if let Some(&from) = places.get(&parent) {
                edges.push((from, n));
                *waiting += 1;
            } else if let Some(known) = known(parent) {
                *depth = (*depth).max(known.saturating_add(1));
            }
        }
    }
    edges.sort_unstable();
    sort_by_waiting(batch, &places, &edges, waiting, depths)
}

/// Takes whatever waits for no parent until nothing is left to take; `edges` are (place of the parent, child), sorted.
fn sort_by_waiting(
    batch: &[u32],
    places: &HashMap<u32, usize>,
    edges: &[(usize, u32)],
    mut waiting: Vec<usize>,
    mut depths: Vec<u32>,
) -> Depths {
    let mut ready: Vec<usize> = (0..batch.len()).filter(|&place| waiting.get(place) == Some(&0)).collect();
    let mut sorted = Vec::with_capacity(batch.len());
    while let Some(place) = ready.pop() {
        let (Some(&n), Some(&depth)) = (batch.get(place), depths.get(place)) else { continue };
        sorted.push((n, depth));
        let from = edges.partition_point(|&(parent, _)| parent < place);
        for (_, child) in edges.iter().skip(from).take_while(|&&(parent, _)| parent == place) {
            let Some(&child) = places.get(child) else { continue };
            let (Some(left), Some(below)) = (waiting.get_mut(child), depths.get_mut(child)) else { continue };
            *below = (*below).max(depth.saturating_add(1));
            *left -= 1;
            if *left == 0 {
                ready.push(child);
            }
        }
    }
    let stuck = batch.iter().zip(&waiting).filter(|&(_, &left)| left > 0).map(|(&n, _)| n).collect();
    Depths { sorted, stuck }
}

/// Collects what can be reached from `starts` by following `next`, the starts included, in no order that means anything.
///
/// With children as `next` these are the descendants, with parents the past.
pub fn reachable<I: IntoIterator<Item = u32>>(starts: impl IntoIterator<Item = u32>, next: impl Fn(u32) -> I) -> HashSet<u32> {
    let mut open: Vec<u32> = starts.into_iter().collect();
    let mut seen: HashSet<u32> = open.iter().copied().collect();
    while let Some(n) = open.pop() {
        open.extend(next(n).into_iter().filter(|&next| seen.insert(next)));
    }
    seen
}

/// Collects transactions and all their ancestors.
pub fn past(graph: &impl Graph, starts: impl IntoIterator<Item = u32>) -> HashSet<u32> {
    reachable(starts, |n| graph.parents(n))
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
            assert_eq!(reachable([99_999], parent).len(), 100_000);
        };
        std::thread::Builder::new().stack_size(128 * 1024).spawn(walk).unwrap().join().unwrap();
    }
}
