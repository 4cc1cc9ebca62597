//! The forks of an index against the definition over ancestor sets, after every step of random histories.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use rustc_hash::FxHashSet;

use crate::dag::closed::Closer;
use crate::dag::forks::{Branch, History};
use crate::dag::tests_support::{Dag, Deeds, any_dag};
use crate::dag::{Conflict, Fork, Graph, Reach, StaleRead, closed, conflicts, real_history, reference};
use crate::index::forks::{Change, ClosedConflicts, Forks};
use crate::index::{Arrival, ArrivalEvent, Index};
use crate::model::{EventId, Header, ReplicaId};
use uuid::Uuid;

fn stream_id(stream: u32) -> String {
    format!("stream-{stream}")
}

fn header(dag: &Dag, n: u32) -> Header {
    let deeds = &dag.deeds[n as usize];
    let stated = deeds.writes.iter().map(|write| write.0).chain(deeds.reads.iter().copied());
    Header {
        format_version: 2,
        transaction_id: dag.transaction_id(n),
        replica_id: ReplicaId(Uuid::from_u128(1)),
        parents: dag.parents(n).map(|parent| dag.transaction_id(parent)).collect(),
        // Within a depth the model's order is that of falling numbers.
        created_at: format!("2026-01-01T00:{:02}:{:02}+00:00", 59 - n / 60, 59 - n % 60),
        stream_bases: stated.map(|stream| (stream_id(stream), 0)).collect(),
        content_hash: None,
        resolves: deeds.resolves.iter().map(|&stream| stream_id(stream)).collect(),
        key: None,
    }
}

/// Enters a transaction of the model into an index.
fn enter(index: &mut Index, dag: &Dag, n: u32) -> u32 {
    let header = header(dag, n);
    let mut lines = Vec::new();
    let mut names = Vec::new();
    for &(stream, events) in &dag.deeds[n as usize].writes {
        names.extend((0..events).map(|_| stream_id(stream)));
    }
    let mut events = Vec::new();
    for (at, stream) in names.iter().enumerate() {
        let event_id = EventId(Uuid::from_u128(u128::from(n) << 32 | at as u128));
        let line = format!("\"event_id\":\"{event_id}\"}}\n");
        lines.extend_from_slice(line.as_bytes());
        events.push(ArrivalEvent { event_id, stream_id: stream, event_type: "T", line_len: line.len() });
    }
    index.enter(&Arrival { header: &header, odd_name: None, inode: 1, stamp: 0, header_sum: 0, events }, &lines)
}

/// The numbers of the model for those of the index.
struct Numbers {
    transactions: BTreeMap<u32, u32>,
    streams: BTreeMap<u32, u32>,
}

impl Numbers {
    fn of(index: &Index, dag: &Dag) -> Self {
        let transactions = (0..dag.count()).filter_map(|n| Some((index.transactions.find(dag.transaction_id(n))?, n))).collect();
        let stream = |number: u32| index.streams.text(number).strip_prefix("stream-").unwrap().parse().unwrap();
        let streams = (0..index.streams.len()).map(|number| (number, stream(number))).collect();
        Self { transactions, streams }
    }

    fn all(&self, numbers: &[u32]) -> Vec<u32> {
        numbers.iter().map(|tx| self.transactions[tx]).collect()
    }

    fn fork(&self, fork: &Fork) -> Fork {
        let branch = |branch: &Branch| Branch {
            tip: self.transactions[&branch.tip],
            transactions: self.all(&branch.transactions),
            events: branch.events,
        };
        Fork {
            stream: self.streams[&fork.stream],
            base_version: fork.base_version,
            fork_points: self.all(&fork.fork_points),
            branches: fork.branches.iter().map(branch).collect(),
            is_provisional: fork.is_provisional,
        }
    }

    fn conflict(&self, conflict: &Conflict) -> Conflict {
        Conflict { id: conflict.id.clone(), forks: conflict.forks.iter().map(|fork| self.fork(fork)).collect() }
    }

    fn read(&self, read: &StaleRead) -> StaleRead {
        StaleRead { stream: self.streams[&read.stream], reader: self.transactions[&read.reader], writers: self.all(&read.writers) }
    }
}

fn stale_reads(dag: &Dag) -> BTreeMap<(u32, u32), StaleRead> {
    let reads = (0..dag.count()).flat_map(|n| dag.deeds[n as usize].reads.iter().map(move |&stream| (stream, n)));
    let stale = |(stream, reader): (u32, u32)| {
        let apart = |&n: &u32| n != reader && !dag.is_ancestor(n, reader) && !dag.is_ancestor(reader, n);
        let writers: Vec<u32> = dag.writers(stream).into_iter().filter(apart).collect();
        (!writers.is_empty()).then_some(((stream, reader), StaleRead { stream, reader, writers }))
    };
    reads.filter_map(stale).collect()
}

/// The possible closers of a stream; every second writer states the merged version.
fn base(dag: &Dag, stream: u32, n: u32) -> Option<u64> {
    let before = (0..dag.count()).filter(|&other| dag.is_ancestor(other, n)).map(|other| dag.writes(other, stream)).sum();
    n.is_multiple_of(2).then_some(before)
}

fn check(index: &Index, dag: &Dag) -> Result<(), TestCaseError> {
    let numbers = Numbers::of(index, dag);
    let forks = index.forks();
    let open: Vec<Fork> =
        numbers.streams.values().filter(|&&stream| reference::is_open(dag, stream)).map(|&stream| reference::fork(dag, stream)).collect();
    let provisional = open.iter().filter(|fork| fork.is_provisional).count() as u64;
    prop_assert_eq!(forks.counts(), (open.len() as u64 - provisional, provisional));
    for (&number, &stream) in &numbers.streams {
        let mut tips = numbers.all(forks.tips(number));
        tips.sort_unstable();
        let mut expected = reference::tips(dag, stream);
        expected.sort_unstable();
        prop_assert_eq!(tips, expected);
        prop_assert_eq!(
            forks.of_stream(number).map(|(_, fork)| numbers.fork(fork)),
            open.iter().find(|fork| fork.stream == stream).cloned()
        );
    }
    let expected = conflicts::conflicts(dag, open);
    prop_assert_eq!(forks.conflicts().iter().map(|conflict| numbers.conflict(conflict)).collect::<Vec<_>>(), expected);
    for conflict in forks.conflicts().iter() {
        prop_assert_eq!(forks.find(&conflict.id), Some(conflict));
    }
    let stale: BTreeMap<_, _> =
        forks.stale_reads().values().map(|read| numbers.read(read)).map(|read| ((read.stream, read.reader), read)).collect();
    prop_assert_eq!(stale, stale_reads(dag));
    Ok(())
}

fn check_closed(index: &Index, dag: &Dag) -> Result<(), TestCaseError> {
    let numbers = Numbers::of(index, dag);
    let mut conflicts_of_closed = ClosedConflicts::of(index);
    for (&number, &stream) in &numbers.streams {
        let closer = |n: u32| Closer {
            transaction: n,
            resolves: dag.deeds[n as usize].resolves.contains(&stream),
            base: base(dag, stream, n),
            writes: dag.writes(n, stream) > 0,
        };
        let closers = dag.canonical().into_iter().map(closer);
        let closers = closers.filter(|closer| closer.resolves || closer.writes || dag.is_pure_merge(closer.transaction));
        let closed: Vec<u32> = conflicts_of_closed.forks(number, |_| None).iter().map(|fork| fork.closer).collect();
        for closer in closed {
            let past = dag.restrict(|n| dag.is_ancestor(n, numbers.transactions[&closer]));
            let open = numbers.streams.values().filter(|&&stream| reference::is_open(&past, stream));
            let open = conflicts::conflicts(&past, open.map(|&stream| reference::fork(&past, stream)).collect());
            let found = open.iter().find(|conflict| conflict.forks.iter().any(|fork| fork.stream == stream));
            prop_assert_eq!(conflicts_of_closed.id(number, closer), found.map(|conflict| conflict.id.as_str()));
        }
        let expected = closed::closed_forks(&mut Reach::default(), dag, stream, closers);
        let got = conflicts_of_closed.forks(number, |tx| base(dag, stream, numbers.transactions[&tx]));
        let got: Vec<_> = got.iter().map(|fork| (numbers.all(&fork.tips), numbers.transactions[&fork.closer], fork.closing)).collect();
        prop_assert_eq!(got, expected.into_iter().map(|fork| (fork.tips, fork.closer, fork.closing)).collect::<Vec<_>>());
    }
    Ok(())
}

/// Makes everything about forks anew.
fn rebuild_forks(index: &mut Index) {
    let all: Vec<u32> = index.order.iter_from(0).collect();
    let mut forks = Forks::default();
    let change = Change { shown: &all, hidden: &BTreeSet::new(), moving: &FxHashSet::default(), floor: None };
    forks.follow(index, &change);
    index.forks = forks;
}

/// Lets transactions come and go, some at once, and compares after each step.
fn run(dag: &Dag, steps: &[Vec<(u32, bool)>]) -> Result<(), TestCaseError> {
    let mut index = Index::default();
    let mut here: BTreeSet<u32> = BTreeSet::new();
    for step in steps {
        let (mut come, mut go) = (Vec::new(), Vec::new());
        for &(n, comes) in step {
            if comes && !go.contains(&n) && here.insert(n) {
                come.push(n);
            } else if !comes && !come.contains(&n) && here.remove(&n) {
                go.push(n);
            }
        }
        let entered: Vec<u32> = come.iter().map(|&n| enter(&mut index, dag, n)).collect();
        let gone: Vec<u32> = go.iter().map(|&n| index.transactions.find(dag.transaction_id(n)).unwrap()).collect();
        let before = index.clone();
        index.link(&entered, &gone);
        let now = dag.restrict(|n| here.contains(&n));
        check(&index, &now)?;
        // A clone from before is what it was.
        prop_assert_eq!(before.forks().counts(), {
            let mut again = before.clone();
            rebuild_forks(&mut again);
            again.forks().counts()
        });
    }
    let now = dag.restrict(|n| here.contains(&n));
    check_closed(&index, &now)?;
    rebuild_forks(&mut index);
    check(&index, &now)
}

/// A history and an order of arrival, in groups, with some that go and some that come back.
fn comings_and_goings() -> impl Strategy<Value = (Dag, Vec<Vec<(u32, bool)>>)> {
    any_dag(24).prop_flat_map(|dag| {
        let all: Vec<u32> = (0..dag.count()).collect();
        let step = prop::collection::vec((0..dag.count(), prop::bool::weighted(0.6)), 1..4);
        (Just(dag), Just(all).prop_shuffle(), prop::collection::vec(step, 0..12), 1..5usize).prop_map(|(dag, order, more, size)| {
            let mut steps: Vec<Vec<(u32, bool)>> = order.chunks(size).map(|chunk| chunk.iter().map(|&n| (n, true)).collect()).collect();
            steps.extend(more);
            (dag, steps)
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn equal_the_definition_at_every_prefix(dag in any_dag(32)) {
        run(&dag, &(0..dag.count()).map(|n| vec![(n, true)]).collect::<Vec<_>>())?;
    }

    #[test]
    fn equal_the_definition_whatever_comes_late_or_goes((dag, steps) in comings_and_goings()) {
        run(&dag, &steps)?;
    }
}

/// Another order for each seed.
fn shuffled(count: u32, seed: u64) -> Vec<u32> {
    use sha2::{Digest as _, Sha256};
    let mut order: Vec<u32> = (0..count).collect();
    order.sort_by_cached_key(|n| Sha256::digest(format!("{seed} {n}")).to_vec());
    order
}

/// Most parents come late, and some transactions go away for a while.
#[test]
fn a_real_history_in_any_order_of_arrival_equals_the_definition() {
    // The definition costs the cube of the length.
    let dag = real_history::beginning(120);
    for seed in 0..2 {
        let order = shuffled(dag.count(), seed);
        let mut steps: Vec<Vec<(u32, bool)>> = order.chunks(15).map(|chunk| chunk.iter().map(|&n| (n, true)).collect()).collect();
        let leave = |comes: bool| shuffled(dag.count(), seed + 7).into_iter().take(20).map(|n| (n, comes)).collect();
        steps.extend([leave(false), leave(true)]);
        run(&dag, &steps).unwrap();
    }
}

/// An index of (parents, streams written).
fn index_of(steps: &[(&[u32], &[u32])]) -> (Dag, Index) {
    let mut dag = Dag::default();
    let mut index = Index::default();
    for (parents, streams) in steps {
        let writes = streams.iter().map(|&stream| (stream, 2)).collect();
        let n = dag.push(parents.to_vec(), Deeds { writes, ..Deeds::default() });
        let entered = enter(&mut index, &dag, n);
        index.link(&[entered], &[]);
    }
    (dag, index)
}

#[test]
fn a_parent_between_that_goes_away_forks_streams_that_it_did_not_write() {
    let (_, mut index) = index_of(&[(&[], &[0]), (&[0], &[1]), (&[1], &[0])]);
    assert_eq!(index.forks().counts(), (0, 0));
    let between = index.order.get(1).unwrap();
    index.link(&[], &[between]);
    assert_eq!(index.forks().counts(), (0, 1), "a fork with a missing parent is provisional");
}

#[test]
fn the_events_of_one_transaction_count_once_as_a_transaction() {
    let (_, index) = index_of(&[(&[], &[0]), (&[0], &[0]), (&[0], &[0])]);
    let (_, fork) = index.forks().of_stream(0).unwrap();
    assert_eq!((fork.base_version, fork.branches.iter().map(|branch| branch.transactions.len()).collect::<Vec<_>>()), (2, vec![1, 1]));
    assert_eq!(fork.branches.iter().map(|branch| branch.events).collect::<Vec<_>>(), [2, 2]);
}
