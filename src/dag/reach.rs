//! Ancestor questions that visit only what lies between the two transactions, and nothing where a cut does.

use std::collections::HashSet;

use crate::dag::graph::Graph;

/// Scratch larger than this is given back after a walk, as clearing it would cost more than the next walk.
const SCRATCH_MAX: usize = 16 * 1024;

/// Answers ancestor questions, reusing its scratch, and counts what it visits.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    seen: HashSet<u32>,
    open: Vec<u32>,
    visited: u64,
    questions: u64,
}

impl Reach {
    /// How many transactions all questions so far have visited.
    #[must_use]
    pub fn visited(&self) -> u64 {
        self.visited
    }

    /// How many questions were asked, a batch counting once.
    #[must_use]
    pub fn questions(&self) -> u64 {
        self.questions
    }

    /// Whether `b` descends from `a`; nothing descends from itself.
    pub fn is_ancestor(&mut self, graph: &impl Graph, a: u32, b: u32) -> bool {
        self.questions += 1;
        let depth = graph.depth(a);
        if depth >= graph.depth(b) {
            return false;
        }
        if graph.cut_between(depth, graph.depth(b)) {
            return true;
        }
        let mut found = false;
        self.walk(graph, b, depth, |n| {
            found |= n == a;
            found
        });
        found
    }

    /// Tells for each candidate whether `of` descends from it, with one walk for all.
    pub fn ancestors_among(&mut self, graph: &impl Graph, candidates: &[u32], of: u32) -> Vec<bool> {
        let (mut answers, mut unknown) = self.ask(graph, candidates, of);
        let Some(floor) = unknown.iter().map(|&n| graph.depth(n)).min() else { return answers };
        let mut found = HashSet::new();
        self.walk(graph, of, floor, |n| {
            if unknown.remove(&n) {
                found.insert(n);
            }
            unknown.is_empty()
        });
        for (answer, candidate) in answers.iter_mut().zip(candidates) {
            *answer |= found.contains(candidate);
        }
        answers
    }

    /// Whether `of` descends from one of the candidates.
    pub fn has_ancestor_among(&mut self, graph: &impl Graph, candidates: &[u32], of: u32) -> bool {
        let (answers, unknown) = self.ask(graph, candidates, of);
        let mut found = answers.contains(&true);
        if let Some(floor) = unknown.iter().map(|&n| graph.depth(n)).min().filter(|_| !found) {
            self.walk(graph, of, floor, |n| {
                found |= unknown.contains(&n);
                found
            });
        }
        found
    }

    /// Whether `of` descends from all of the candidates.
    pub fn has_ancestors(&mut self, graph: &impl Graph, candidates: &[u32], of: u32) -> bool {
        let depth = graph.depth(of);
        candidates.iter().all(|&n| graph.depth(n) < depth) && !self.ancestors_among(graph, candidates, of).contains(&false)
    }

    /// What depths and cuts tell alone: the answers that are "yes", and the candidates that need a walk.
    fn ask(&mut self, graph: &impl Graph, candidates: &[u32], of: u32) -> (Vec<bool>, HashSet<u32>) {
        self.questions += 1;
        let depth = graph.depth(of);
        let mut unknown = HashSet::new();
        let mut answer = |n: u32| {
            let own = graph.depth(n);
            let known = own < depth && graph.cut_between(own, depth);
            if own < depth && !known {
                unknown.insert(n);
            }
            known
        };
        let answers = candidates.iter().map(|&n| answer(n)).collect();
        (answers, unknown)
    }

    /// Meets every proper ancestor of `from` that is no shallower than `floor`, first parents first, until `meet` says so.
    fn walk(&mut self, graph: &impl Graph, from: u32, floor: u32, mut meet: impl FnMut(u32) -> bool) {
        self.seen.clear();
        self.open.clear();
        self.open.push(from);
        'walk: while let Some(n) = self.open.pop() {
            self.visited += 1;
            let old = self.open.len();
            for parent in graph.parents(n) {
                let depth = graph.depth(parent);
                if depth < floor || !self.seen.insert(parent) {
                    continue;
                }
                if meet(parent) {
                    break 'walk;
                }
                if depth > floor {
                    self.open.push(parent);
                }
            }
            if let Some(new) = self.open.get_mut(old..) {
                new.reverse();
            }
        }
        if self.seen.capacity() > SCRATCH_MAX {
            self.seen = HashSet::new();
            self.open = Vec::new();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dag::tests_support::{Dag, any_dag};

    proptest! {
        #[test]
        fn answers_equal_ancestor_sets(dag in any_dag(40)) {
            let mut reach = Reach::default();
            let all: Vec<u32> = (0..dag.count()).collect();
            for of in 0..dag.count() {
                let expected: Vec<bool> = all.iter().map(|&n| dag.is_ancestor(n, of)).collect();
                prop_assert_eq!(reach.ancestors_among(&dag, &all, of), expected.clone());
                for (&n, &expected) in all.iter().zip(&expected) {
                    prop_assert_eq!(reach.is_ancestor(&dag, n, of), expected);
                    let others: Vec<u32> = all.iter().copied().skip(n as usize).step_by(3).collect();
                    let among = others.iter().map(|&n| dag.is_ancestor(n, of));
                    prop_assert_eq!(reach.has_ancestor_among(&dag, &others, of), among.clone().any(|yes| yes));
                    prop_assert_eq!(reach.has_ancestors(&dag, &others, of), among.clone().all(|yes| yes));
                }
            }
        }
    }

    #[test]
    fn a_cut_between_saves_the_walk() {
        let chain = Dag::chain(1000);
        let mut reach = Reach::default();
        assert!(reach.is_ancestor(&chain, 3, 999));
        assert!(!reach.is_ancestor(&chain, 999, 3));
        assert_eq!((reach.visited(), reach.questions()), (0, 2));
    }

    #[test]
    fn a_walk_stays_above_the_shallower_of_two() {
        // Two chains of 500 from one root: no cut between them but the root.
        let parents: Vec<Vec<u32>> = (0..1001u32).map(|n| if n == 0 { vec![] } else { vec![n.saturating_sub(2)] }).collect();
        let dag = Dag::from_parents(parents);
        let mut reach = Reach::default();
        assert!(!reach.is_ancestor(&dag, 995, 1000));
        assert!(reach.visited() < 5, "{}", reach.visited());
    }
}
