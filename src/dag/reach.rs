//! Ancestor questions that visit only the runs between the two transactions, and nothing where a cut lies between.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::dag::graph::Graph;

/// Scratch larger than this is given back after a walk, as clearing it would cost more than the next walk.
const SCRATCH_MAX: usize = 16 * 1024;

/// Answers ancestor questions, reusing its scratch, and counts what it visits.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    seen: FxHashSet<u32>,
    open: Vec<u32>,
    visited: u64,
    questions: u64,
}

impl Reach {
    /// How many transactions all questions so far have visited: one for each time that a walk enters a run.
    #[cfg(test)]
    #[must_use]
    pub fn visited(&self) -> u64 {
        self.visited
    }

    /// How many questions were asked, a batch counting once.
    #[cfg(test)]
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
        let run = graph.run_start(a);
        let mut found = false;
        // Nothing shallower than `a` is entered, so its run is entered at `a` or below.
        self.walk(graph, b, depth, |entered, _| {
            found |= entered == run;
            found
        });
        found
    }

    /// Tells for each candidate whether `of` descends from it, with one walk for all.
    pub fn ancestors_among(&mut self, graph: &impl Graph, candidates: &[u32], of: u32) -> Vec<bool> {
        let (mut answers, mut unknown) = self.ask(graph, candidates, of);
        let Some(floor) = unknown.floor() else { return answers };
        let mut found = FxHashSet::default();
        self.walk(graph, of, floor, |run, at| {
            unknown.take(run, at, &mut found);
            unknown.runs.is_empty()
        });
        for (answer, candidate) in answers.iter_mut().zip(candidates) {
            *answer |= found.contains(candidate);
        }
        answers
    }

    /// Whether `of` descends from one of the candidates.
    pub fn has_ancestor_among(&mut self, graph: &impl Graph, candidates: &[u32], of: u32) -> bool {
        let (answers, mut unknown) = self.ask(graph, candidates, of);
        if answers.contains(&true) {
            return true;
        }
        let mut found = FxHashSet::default();
        if let Some(floor) = unknown.floor() {
            self.walk(graph, of, floor, |run, at| {
                unknown.take(run, at, &mut found);
                !found.is_empty()
            });
        }
        !found.is_empty()
    }

    /// Whether `of` descends from all of the candidates.
    pub fn has_ancestors(&mut self, graph: &impl Graph, candidates: &[u32], of: u32) -> bool {
        let depth = graph.depth(of);
        candidates.iter().all(|&n| graph.depth(n) < depth) && !self.ancestors_among(graph, candidates, of).contains(&false)
    }

    /// What depths and cuts tell alone: the answers that are "yes", and the candidates that need a walk.
    fn ask(&mut self, graph: &impl Graph, candidates: &[u32], of: u32) -> (Vec<bool>, Unknown) {
        self.questions += 1;
        let depth = graph.depth(of);
        let mut unknown = Unknown::default();
        let mut answer = |n: u32| {
            let own = graph.depth(n);
            let known = own < depth && graph.cut_between(own, depth);
            if own < depth && !known {
                unknown.runs.entry(graph.run_start(n)).or_default().push((own, n));
            }
            known
        };
        let answers = candidates.iter().map(|&n| answer(n)).collect();
        (answers, unknown)
    }

    /// Enters every run that holds `from` or an ancestor of it, from below, first parents first, until `enter` says so.
    ///
    /// `enter` is told the run and the depth at which it is entered: all of the run that is no deeper is in the past.
    /// Nothing shallower than `floor` is entered.
    fn walk(&mut self, graph: &impl Graph, from: u32, floor: u32, mut enter: impl FnMut(u32, u32) -> bool) {
        self.seen.clear();
        self.open.clear();
        self.open.push(from);
        while let Some(n) = self.open.pop() {
            self.visited += 1;
            let run = graph.run_start(n);
            if enter(run, graph.depth(n)) {
                break;
            }
            if graph.depth(run) <= floor || !self.seen.insert(run) {
                continue;
            }
            let old = self.open.len();
            self.open.extend(graph.parents(run).filter(|&parent| graph.depth(parent) >= floor));
            if let Some(new) = self.open.get_mut(old..) {
                new.reverse();
            }
        }
        if self.seen.capacity() > SCRATCH_MAX {
            self.seen = FxHashSet::default();
            self.open = Vec::new();
        }
    }
}

/// Candidates that only a walk can tell of: by run, each with its depth.
#[derive(Default)]
struct Unknown {
    runs: FxHashMap<u32, Vec<(u32, u32)>>,
}

impl Unknown {
    /// The depth above which no walk need go.
    fn floor(&self) -> Option<u32> {
        self.runs.values().flatten().map(|&(depth, _)| depth).min()
    }

    /// Takes out what is in the past of a walk that has entered a run at a depth.
    fn take(&mut self, run: u32, at: u32, found: &mut FxHashSet<u32>) {
        let Some(candidates) = self.runs.get_mut(&run) else { return };
        candidates.retain(|&(depth, n)| {
            if depth <= at {
                found.insert(n);
            }
            depth > at
        });
        if candidates.is_empty() {
            self.runs.remove(&run);
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
    fn a_long_run_is_one_step() {
        // A transaction that nothing descends from, beside a chain: no cut but the root.
        let parents: Vec<Vec<u32>> =
            (0..1001u32).map(|n| if n < 2 { vec![0; n as usize] } else { vec![if n == 2 { 0 } else { n - 1 }] }).collect();
        let dag = Dag::from_parents(parents);
        let mut reach = Reach::default();
        assert!(reach.is_ancestor(&dag, 5, 1000));
        assert!(!reach.is_ancestor(&dag, 1, 1000));
        assert!(reach.visited() <= 3, "{}", reach.visited());
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
