//! Forks straight from FORMAT.md, over ancestor sets, against the incremental ones.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::dag::forks::{self, Branch, Fork, History};
use crate::dag::graph::Graph;
use crate::dag::reach::Reach;
use crate::dag::tests_support::{Dag, Deeds, any_dag};
use crate::dag::tips::TipSet;

const STREAMS: u32 = 3;

/// The writers of a stream that are no ancestor of another writer, in canonical order.
pub fn tips(dag: &Dag, stream: u32) -> Vec<u32> {
    let writers = dag.writers(stream);
    writers.iter().copied().filter(|&n| !writers.iter().any(|&other| dag.is_ancestor(n, other))).collect()
}

/// Whether a stream is forked and no transaction has closed it.
pub fn is_open(dag: &Dag, stream: u32) -> bool {
    let tips = tips(dag, stream);
    let closes = |n: u32| {
        let counts = dag.writes(n, stream) > 0 || dag.deeds[n as usize].resolves.contains(&stream) || dag.is_pure_merge(n);
        counts && tips.iter().all(|&tip| dag.is_ancestor(tip, n))
    };
    tips.len() > 1 && !(0..dag.count()).any(closes)
}

/// A stream's fork, word by word.
pub fn fork(dag: &Dag, stream: u32) -> Fork {
    let tips = tips(dag, stream);
    let in_past = |n: u32, tip: u32| n == tip || dag.is_ancestor(n, tip);
    let is_common = |n: u32| tips.iter().all(|&tip| in_past(n, tip));
    let common: Vec<u32> = dag.canonical().into_iter().filter(|&n| is_common(n)).collect();
    let events = |transactions: &[u32]| transactions.iter().map(|&n| dag.writes(n, stream)).sum();
    let branch = |&tip: &u32| {
        let transactions: Vec<u32> = dag.writers(stream).into_iter().filter(|&n| in_past(n, tip) && !is_common(n)).collect();
        Branch { tip, events: events(&transactions), transactions }
    };
    Fork {
        stream,
        base_version: events(&common),
        fork_points: common.iter().copied().filter(|&n| !common.iter().any(|&other| dag.is_ancestor(n, other))).collect(),
        branches: tips.iter().map(branch).collect(),
        is_provisional: dag.dangling().iter().any(|&n| tips.iter().any(|&tip| in_past(n, tip))),
    }
}

/// What an index maintains as transactions arrive.
#[derive(Default)]
struct Maintained {
    reach: Reach,
    tips: [TipSet; STREAMS as usize],
    resolvers: [TipSet; STREAMS as usize],
    merges: TipSet,
}

impl Maintained {
    fn arrive(&mut self, dag: &Dag, n: u32) {
        if (0..dag.count()).any(|child| dag.parents(child).any(|parent| parent == n)) {
            for set in self.tips.iter_mut().chain(&mut self.resolvers).chain([&mut self.merges]) {
                set.renew(&mut self.reach, dag);
            }
        }
        for stream in 0..STREAMS {
            if dag.writes(n, stream) > 0 {
                self.tips[stream as usize].insert(&mut self.reach, dag, n);
            }
            if dag.deeds[n as usize].resolves.contains(&stream) {
                self.resolvers[stream as usize].insert(&mut self.reach, dag, n);
            }
        }
        if dag.is_pure_merge(n) {
            self.merges.insert(&mut self.reach, dag, n);
        }
    }

    /// Compares everything with the reference.
    fn check(&mut self, dag: &Dag) -> Result<(), TestCaseError> {
        for stream in 0..STREAMS {
            let own = &self.tips[stream as usize];
            let mut expected = tips(dag, stream);
            let open = forks::is_open(&mut self.reach, dag, own, &[&self.merges, &self.resolvers[stream as usize]]);
            prop_assert_eq!(open, is_open(dag, stream));
            if own.is_forked() {
                prop_assert_eq!(forks::fork(&mut self.reach, dag, stream, own), fork(dag, stream));
            }
            expected.sort_unstable();
            prop_assert_eq!(own.as_slice(), expected);
        }
        Ok(())
    }
}

/// Lets transactions arrive in an order, children possibly before their parents, and compares after each.
fn arrive_in_order(dag: &Dag, order: &[u32]) -> Result<(), TestCaseError> {
    let mut maintained = Maintained::default();
    for (count, &n) in order.iter().enumerate() {
        let now = dag.restrict(|n| order[..=count].contains(&n));
        maintained.arrive(&now, n);
        maintained.check(&now)?;
    }
    Ok(())
}

fn with_order() -> impl Strategy<Value = (Dag, Vec<u32>)> {
    any_dag(24).prop_flat_map(|dag| {
        let all: Vec<u32> = (0..dag.count()).collect();
        (Just(dag), Just(all).prop_shuffle())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn equal_the_definition_at_every_prefix(dag in any_dag(32)) {
        arrive_in_order(&dag, &(0..dag.count()).collect::<Vec<_>>())?;
    }

    #[test]
    fn equal_the_definition_in_any_order_of_arrival((dag, order) in with_order()) {
        arrive_in_order(&dag, &order)?;
    }
}

fn writes(streams: &[u32]) -> Deeds {
    Deeds { writes: streams.iter().map(|&stream| (stream, 1)).collect(), ..Deeds::default() }
}

/// A history of (parents, streams written).
fn history(steps: &[(&[u32], &[u32])]) -> Dag {
    let mut dag = Dag::default();
    for (parents, streams) in steps {
        dag.push(parents.to_vec(), writes(streams));
    }
    dag
}

fn open_now(dag: &Dag) -> bool {
    let mut maintained = Maintained::default();
    for n in 0..dag.count() {
        maintained.arrive(dag, n);
    }
    maintained.check(dag).unwrap();
    forks::is_open(&mut maintained.reach, dag, &maintained.tips[0], &[&maintained.merges, &maintained.resolvers[0]])
}

#[test]
fn an_append_to_other_streams_closes_nothing() {
    let mut dag = history(&[(&[], &[0]), (&[0], &[0]), (&[0], &[0]), (&[1, 2], &[1])]);
    assert!(open_now(&dag));
    dag.push(vec![3], Deeds { resolves: vec![1], ..Deeds::default() });
    assert!(open_now(&dag));
    dag.push(vec![4], Deeds { resolves: vec![0], ..Deeds::default() });
    assert!(!open_now(&dag));
}

#[test]
fn a_merge_that_carries_nothing_closes_and_one_that_has_read_does_not() {
    let mut dag = history(&[(&[], &[0]), (&[0], &[0]), (&[0], &[0])]);
    dag.push(vec![1, 2], Deeds { reads: vec![2], ..Deeds::default() });
    assert!(open_now(&dag));
    dag.push(vec![1, 2], Deeds::default());
    assert!(!open_now(&dag));
}

#[test]
fn another_branch_that_arrives_opens_a_closed_fork_again() {
    let mut dag = history(&[(&[], &[0]), (&[0], &[0]), (&[0], &[0])]);
    dag.push(vec![1, 2], Deeds::default());
    assert!(!open_now(&dag));
    dag.push(vec![0], writes(&[0]));
    assert!(open_now(&dag));
}

#[test]
fn a_criss_cross_merge_has_two_fork_points() {
    let dag = history(&[(&[], &[0]), (&[0], &[1]), (&[0], &[1]), (&[1, 2], &[0]), (&[1, 2], &[0])]);
    assert!(open_now(&dag));
    let mut points = fork(&dag, 0).fork_points;
    points.sort_unstable();
    assert_eq!(points, [1, 2]);
}

#[test]
fn branches_of_three_tips_share_events() {
    let dag = history(&[(&[], &[0]), (&[0], &[0]), (&[1], &[0]), (&[1], &[0]), (&[0], &[0])]);
    assert!(open_now(&dag));
    let fork = fork(&dag, 0);
    let mut branches: Vec<_> = fork.branches.into_iter().map(|branch| branch.transactions).collect();
    branches.sort();
    assert_eq!((fork.base_version, branches), (1, vec![vec![1, 2], vec![1, 3], vec![4]]));
}

#[test]
fn more_tips_than_a_word_has_bits() {
    let mut dag = history(&[(&[], &[0])]);
    for _ in 0..130 {
        dag.push(vec![0], writes(&[0]));
    }
    assert!(open_now(&dag));
}
