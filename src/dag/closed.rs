//! Forks that were closed, and how: found on demand over one stream's history.

use std::collections::BTreeSet;

use rustc_hash::FxHashSet;

use crate::dag::conflicts::{Conflict, conflicts};
use crate::dag::forks::{Fork, History, Writer, fork, is_open};
use crate::dag::reach::Reach;
use crate::dag::tips::TipSet;

/// How a fork was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Closing {
    /// By an event of the stream whose author stated the merged version.
    Joined,
    /// By a transaction whose `resolves` names the stream.
    Reconciled,
    /// By a merge that carries nothing, or by an event whose author stated another version.
    Merged,
}

/// A fork that a transaction has closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedFork {
    /// The tips that it had, in canonical order.
    pub tips: Vec<u32>,
    /// The transaction that descends from all of them.
    pub closer: u32,
    /// How it did.
    pub closing: Closing,
}

/// A transaction that may have closed a fork of the stream in question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closer {
    /// Its number.
    pub transaction: u32,
    /// Whether its `resolves` names the stream.
    pub resolves: bool,
    /// What its `stream_bases` states for the stream.
    pub base: Option<u64>,
    /// Whether it has an event of the stream.
    pub writes: bool,
}

/// Finds the closed forks of a stream among its possible closers: its writers, the transactions whose `resolves` names
/// it and the merges that carry nothing, each once and in canonical order.
///
/// A transaction closed a fork if the stream has two or more tips in its past that none of its ancestors closed.
/// Costs what lies between cuts for each closer.
pub fn closed_forks(reach: &mut Reach, history: &impl History, stream: u32, closers: impl IntoIterator<Item = Closer>) -> Vec<ClosedFork> {
    let mut closed: Vec<ClosedFork> = Vec::new();
    for closer in closers {
        let tips = tips_before(reach, history, stream, closer.transaction);
        let closed_before =
            |reach: &mut Reach, old: &ClosedFork| old.tips == tips && reach.is_ancestor(history, old.closer, closer.transaction);
        if tips.len() > 1 && !closed.iter().any(|old| closed_before(reach, old)) {
            let closing = closing(reach, history, stream, &closer);
            closed.push(ClosedFork { tips, closer: closer.transaction, closing });
        }
    }
    closed
}

/// The conflict that the fork of a stream belongs to in the past of a transaction; none if the stream has no open fork there.
///
/// `streams_of` gives the streams that a transaction writes, `closers` the transactions whose `resolves` names a stream and the merges that
/// carry nothing. Of the forks only what makes a conflict holds: base versions count events outside that past too. Costs what the forks
/// that hang together cost, not what else is open.
pub fn conflict_before<S, C>(
    reach: &mut Reach,
    history: &impl History,
    stream: u32,
    n: u32,
    streams_of: impl Fn(u32) -> S,
    closers: impl Fn(u32) -> C,
) -> Option<Conflict>
where
    S: Iterator<Item = u32>,
    C: Iterator<Item = u32>,
{
    let (mut waiting, mut seen) = (vec![stream], BTreeSet::from([stream]));
    let mut asked = FxHashSet::default();
    let mut forks: Vec<Fork> = Vec::new();
    while let Some(stream) = waiting.pop() {
        let tips = tips_before(reach, history, stream, n);
        if tips.len() < 2 {
            continue;
        }
        let tips = TipSet::of(reach, history, tips);
        let before: Vec<u32> = closers(stream).filter(|&closer| reach.is_ancestor(history, closer, n)).collect();
        let before = TipSet::of(reach, history, before);
        if is_open(reach, history, &tips, &[&before]) {
            let fork = fork(reach, history, stream, &tips);
            // Forks of one conflict have transactions in common, and each may write every stream of it.
            let unasked = fork.branches.iter().flat_map(|branch| &branch.transactions).filter(|&&tx| asked.insert(tx));
            waiting.extend(unasked.flat_map(|&tx| streams_of(tx)).filter(|&stream| seen.insert(stream)));
            forks.push(fork);
        }
    }
    conflicts(history, forks).into_iter().find(|conflict| conflict.forks.iter().any(|fork| fork.stream == stream))
}

fn closing(reach: &mut Reach, history: &impl History, stream: u32, closer: &Closer) -> Closing {
    if closer.resolves {
        Closing::Reconciled
    } else if closer.writes && closer.base.is_some_and(|base| base == version_before(reach, history, stream, closer.transaction)) {
        Closing::Joined
    } else {
        Closing::Merged
    }
}

/// The tips of a stream in the past of a transaction, in canonical order.
fn tips_before(reach: &mut Reach, history: &impl History, stream: u32, n: u32) -> Vec<u32> {
    let mut tips: Vec<u32> = Vec::new();
    for Writer { transaction, .. } in writers_above(history, stream, n).rev() {
        let depth = history.depth(transaction);
        if tips.iter().any(|&tip| tip != transaction && history.cut_between(depth, history.depth(tip))) {
            break;
        }
        if !tips.iter().any(|&tip| tip == transaction || reach.is_ancestor(history, transaction, tip))
            && reach.is_ancestor(history, transaction, n)
        {
            tips.push(transaction);
        }
    }
    tips.reverse();
    tips
}

/// How many events of a stream lie in the past of a transaction.
fn version_before(reach: &mut Reach, history: &impl History, stream: u32, n: u32) -> u64 {
    let writers: Vec<Writer> = writers_above(history, stream, n).collect();
    let transactions: Vec<u32> = writers.iter().map(|writer| writer.transaction).collect();
    let past = reach.ancestors_among(history, &transactions, n);
    writers.iter().zip(past).filter(|(_, past)| *past).map(|(writer, _)| writer.events).sum()
}

/// The writers of a stream that are shallower than a transaction, in canonical order.
fn writers_above(history: &impl History, stream: u32, n: u32) -> impl DoubleEndedIterator<Item = Writer> {
    let end = history.place_at(stream, history.depth(n));
    (0..end).filter_map(move |place| history.writer(stream, place))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dag::tests_support::{Dag, Deeds, any_dag};

    fn version_by_sets(dag: &Dag, stream: u32, n: u32) -> u64 {
        (0..n).filter(|&other| dag.is_ancestor(other, n)).map(|other| dag.writes(other, stream)).sum()
    }

    /// The possible closers of a stream; every second writer states the merged version.
    fn closers(dag: &Dag, stream: u32) -> Vec<Closer> {
        let closer = |n: u32| Closer {
            transaction: n,
            resolves: dag.deeds[n as usize].resolves.contains(&stream),
            base: (n.is_multiple_of(2)).then(|| version_by_sets(dag, stream, n)),
            writes: dag.writes(n, stream) > 0,
        };
        let all = dag.canonical().into_iter().map(closer);
        all.filter(|closer| closer.resolves || closer.writes || dag.is_pure_merge(closer.transaction)).collect()
    }

    /// Straight from the words, over ancestor sets.
    fn closed_by_sets(dag: &Dag, stream: u32) -> Vec<ClosedFork> {
        let closers = closers(dag, stream);
        let closed = |closer: &Closer| {
            let mut tips = dag.writers(stream);
            tips.retain(|&n| dag.is_ancestor(n, closer.transaction));
            let all = tips.clone();
            tips.retain(|&n| !all.iter().any(|&other| dag.is_ancestor(n, other)));
            let closes = |n: u32| dag.is_ancestor(n, closer.transaction) && tips.iter().all(|&tip| dag.is_ancestor(tip, n));
            let is_first = !closers.iter().any(|other| closes(other.transaction));
            let closing = match closer {
                Closer { resolves: true, .. } => Closing::Reconciled,
                Closer { writes: true, base: Some(_), .. } => Closing::Joined,
                _ => Closing::Merged,
            };
            (tips.len() > 1 && is_first).then_some(ClosedFork { tips, closer: closer.transaction, closing })
        };
        closers.iter().filter_map(closed).collect()
    }

    proptest! {
        #[test]
        fn equal_the_definition(dag in any_dag(40)) {
            for stream in 0..3 {
                let got = closed_forks(&mut Reach::default(), &dag, stream, closers(&dag, stream));
                prop_assert_eq!(got, closed_by_sets(&dag, stream));
            }
        }
    }

    /// Two histories that write the same streams, and a merge: what a transaction writes is asked for once.
    #[test]
    fn a_conflict_of_many_streams_is_put_together_in_one_go() {
        let streams = 0..100;
        let mut dag = Dag::default();
        for parents in [vec![], vec![0], vec![0]] {
            dag.push(parents, Deeds { writes: streams.clone().map(|stream| (stream, 1)).collect(), ..Deeds::default() });
        }
        dag.push(vec![1, 2], Deeds::default());
        let asked = std::cell::Cell::new(0);
        let streams_of = |_| streams.clone().inspect(|_| asked.set(asked.get() + 1));
        let found = conflict_before(&mut Reach::default(), &dag, 7, 3, streams_of, |_| [3].into_iter()).unwrap();
        assert_eq!((found.forks.len(), asked.get()), (100, 200));
    }

    fn forked() -> Dag {
        let mut dag = Dag::default();
        for parents in [vec![], vec![0], vec![0]] {
            dag.push(parents, Deeds { writes: vec![(0, 1)], ..Deeds::default() });
        }
        dag
    }

    fn closing_by(dag: &Dag, closer: Closer) -> Vec<(u32, Closing)> {
        let writers = dag.writers(0).into_iter().filter(|&n| n != closer.transaction);
        let writer = |transaction| Closer { transaction, resolves: false, base: None, writes: true };
        let all = writers.map(writer).chain([closer]);
        closed_forks(&mut Reach::default(), dag, 0, all).into_iter().map(|fork| (fork.closer, fork.closing)).collect()
    }

    #[test]
    fn an_author_who_stated_the_merged_version_joined() {
        let mut dag = forked();
        dag.push(vec![1, 2], Deeds { writes: vec![(0, 1)], ..Deeds::default() });
        let closer = |base| Closer { transaction: 3, resolves: false, base: Some(base), writes: true };
        assert_eq!(closing_by(&dag, closer(3)), [(3, Closing::Joined)]);
        assert_eq!(closing_by(&dag, closer(2)), [(3, Closing::Merged)]);
        assert_eq!(closing_by(&dag, Closer { resolves: true, ..closer(3) }), [(3, Closing::Reconciled)]);
    }

    #[test]
    fn the_first_closer_counts() {
        let mut dag = forked();
        dag.push(vec![1, 2], Deeds { resolves: vec![0], ..Deeds::default() });
        dag.push(vec![3], Deeds { resolves: vec![0], ..Deeds::default() });
        let closers = closers(&dag, 0);
        let got = closed_forks(&mut Reach::default(), &dag, 0, closers);
        assert_eq!(got, [ClosedFork { tips: vec![2, 1], closer: 3, closing: Closing::Reconciled }]);
    }
}
