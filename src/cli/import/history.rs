//! What a commit's author had seen: bases and settled streams, from the graph alone.
//!
//! Everything here is a function of a commit's ancestry, and of no commit beside or after it, so that importing twice, in parts, or
//! on two machines gives the same transactions.

use std::collections::{BTreeSet, BinaryHeap, HashMap};

/// A commit in topological order: parents have smaller numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) parents: Vec<u32>,
    /// The streams of its events, one entry an event.
    pub(super) streams: Vec<u32>,
}

/// What is computed for a commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// For each event: how many events of its stream come before it, in the past and in this commit.
    pub(super) before: Vec<u64>,
    /// Streams written on both sides of a merge and not by it: the merge's author has settled them.
    pub(super) settled: Vec<u32>,
}

const FROM_FIRST: u8 = 1;
const FROM_OTHERS: u8 = 2;

/// The two sides of a merge: what only its first parent's past holds, and what only the others' does.
#[derive(Default)]
struct Sides {
    first: Vec<u32>,
    others: Vec<u32>,
}

fn parents_of(nodes: &[Node], node: u32) -> &[u32] {
    nodes.get(node as usize).map_or(&[], |node| &node.parents)
}

fn streams_of(nodes: &[Node], node: u32) -> &[u32] {
    nodes.get(node as usize).map_or(&[], |node| &node.streams)
}

/// Walks down from both sides at once, newest first, until only the common past is left.
fn sides_of(nodes: &[Node], node: u32) -> Sides {
    let mut sides = Sides::default();
    let Some((first, others)) = parents_of(nodes, node).split_first().filter(|(_, others)| !others.is_empty()) else {
        return sides;
    };
    let mut marks: HashMap<u32, u8> = HashMap::new();
    let mut open = BinaryHeap::new();
    // How many in the heap are not known to be common.
    let mut undecided = 0usize;
    let reach = |node: u32, mark: u8, open: &mut BinaryHeap<u32>, undecided: &mut usize, marks: &mut HashMap<u32, u8>| {
        let both = FROM_FIRST | FROM_OTHERS;
        let old = marks.get(&node).copied().unwrap_or(0);
        if old | mark == old {
            return;
        }
        marks.insert(node, old | mark);
        if old == 0 {
            open.push(node);
            *undecided += usize::from(mark != both);
        } else if old | mark == both {
            *undecided -= 1;
        }
    };
    reach(*first, FROM_FIRST, &mut open, &mut undecided, &mut marks);
    for other in others {
        reach(*other, FROM_OTHERS, &mut open, &mut undecided, &mut marks);
    }
    while undecided > 0 {
        let Some(node) = open.pop() else { break };
        let mark = marks.get(&node).copied().unwrap_or(0);
        match mark {
            FROM_FIRST => (sides.first.push(node), undecided -= 1).0,
            FROM_OTHERS => (sides.others.push(node), undecided -= 1).0,
            _ => {}
        }
        for parent in parents_of(nodes, node) {
            reach(*parent, mark, &mut open, &mut undecided, &mut marks);
        }
    }
    sides
}

fn settled_by(nodes: &[Node], node: u32, sides: &Sides) -> Vec<u32> {
    let all = |side: &[u32]| -> BTreeSet<u32> { side.iter().flat_map(|node| streams_of(nodes, *node)).copied().collect() };
    let own: BTreeSet<u32> = streams_of(nodes, node).iter().copied().collect();
    // A merge without events settles everything by itself.
    if own.is_empty() {
        return Vec::new();
    }
    all(&sides.first).intersection(&all(&sides.others)).filter(|stream| !own.contains(stream)).copied().collect()
}

/// Counts of events a stream, of one past at a time.
#[derive(Default)]
struct Counts(HashMap<u32, u64>);

impl Counts {
    fn add(&mut self, streams: &[u32]) {
        for stream in streams {
            *self.0.entry(*stream).or_default() += 1;
        }
    }

    fn take(&mut self, streams: &[u32]) {
        for stream in streams {
            if let Some(count) = self.0.get_mut(stream) {
                *count = count.saturating_sub(1);
            }
        }
    }

    fn get(&self, stream: u32) -> u64 {
        self.0.get(&stream).copied().unwrap_or(0)
    }
}

enum Step {
    Enter(u32),
    Leave(u32, Vec<u32>),
}

/// Computes what every commit's author had seen.
///
/// The first parents make a forest; a walk down it keeps the counts of one past at a time, and a merge adds what only its
/// other parents hold. Cost: the commits, and for each merge the commits that its sides do not share.
pub(super) fn see(nodes: &[Node]) -> Vec<Seen> {
    let mut seen = vec![Seen::default(); nodes.len()];
    let mut children: Vec<Vec<u32>> = vec![Vec::new(); nodes.len()];
    let mut steps = Vec::new();
    for number in (0..nodes.len() as u32).rev() {
        match parents_of(nodes, number).first().and_then(|parent| children.get_mut(*parent as usize)) {
            Some(siblings) => siblings.push(number),
            None => steps.push(Step::Enter(number)),
        }
    }
    let mut counts = Counts::default();
    while let Some(step) = steps.pop() {
        match step {
            Step::Leave(number, brought) => {
                counts.take(streams_of(nodes, number));
                brought.iter().for_each(|node| counts.take(streams_of(nodes, *node)));
            }
            Step::Enter(number) => {
                let sides = sides_of(nodes, number);
                sides.others.iter().for_each(|node| counts.add(streams_of(nodes, *node)));
                if let Some(seen) = seen.get_mut(number as usize) {
                    seen.settled = settled_by(nodes, number, &sides);
                    for stream in streams_of(nodes, number) {
                        seen.before.push(counts.get(*stream));
                        counts.add(&[*stream]);
                    }
                }
                steps.push(Step::Leave(number, sides.others));
                steps.extend(children.get(number as usize).into_iter().flatten().map(|child| Step::Enter(*child)));
            }
        }
    }
    seen
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(parents: &[u32], streams: &[u32]) -> Node {
        Node { parents: parents.to_vec(), streams: streams.to_vec() }
    }

    /// Straight from the definition: ancestor sets.
    fn pasts(nodes: &[Node]) -> Vec<BTreeSet<u32>> {
        let mut pasts: Vec<BTreeSet<u32>> = Vec::new();
        for node in nodes {
            let mut past = BTreeSet::new();
            for parent in &node.parents {
                past.insert(*parent);
                past.extend(&pasts[*parent as usize]);
            }
            pasts.push(past);
        }
        pasts
    }

    fn histories() -> impl Strategy<Value = Vec<Node>> {
        let node = (proptest::collection::vec(any::<u32>(), 0..4), proptest::collection::vec(0u32..5, 0..4));
        proptest::collection::vec(node, 1..40).prop_map(|raw| {
            let numbered = (0u32..).zip(raw);
            numbered
                .map(|(number, (picks, streams))| {
                    let parents: BTreeSet<u32> = picks.iter().filter(|_| number > 0).map(|pick| pick % number.max(1)).collect();
                    Node { parents: parents.into_iter().rev().collect(), streams }
                })
                .collect()
        })
    }

    #[test]
    fn a_merge_counts_both_sides_once() {
        let nodes = [node(&[], &[7]), node(&[0], &[7]), node(&[0], &[7, 8]), node(&[1, 2], &[8]), node(&[3], &[7])];
        let seen = see(&nodes);
        assert_eq!(seen.iter().map(|s| s.before.clone()).collect::<Vec<_>>(), [vec![0], vec![1], vec![1, 0], vec![1], vec![3]]);
        assert_eq!(seen[3].settled, [7]);
    }

    #[test]
    fn a_long_chain_needs_no_deep_stack() {
        let nodes: Vec<Node> = (0..200_000u32).map(|n| node(&n.checked_sub(1).into_iter().collect::<Vec<_>>(), &[0])).collect();
        assert_eq!(see(&nodes).last().unwrap().before, [199_999]);
    }

    proptest! {
        #[test]
        fn counts_are_those_of_the_ancestor_sets(nodes in histories()) {
            let (pasts, seen) = (pasts(&nodes), see(&nodes));
            for (number, node) in nodes.iter().enumerate() {
                for (at, stream) in node.streams.iter().enumerate() {
                    let own = node.streams[..at].iter().filter(|s| *s == stream).count();
                    let past = pasts[number].iter().flat_map(|p| &nodes[*p as usize].streams).filter(|s| *s == stream).count();
                    prop_assert_eq!(seen[number].before[at], (own + past) as u64);
                }
                if let Some((first, others)) = node.parents.split_first() && !node.streams.is_empty() {
                    let with = |parent: &u32| { let mut all = pasts[*parent as usize].clone(); all.insert(*parent); all };
                    let first = with(first);
                    let others: BTreeSet<u32> = others.iter().flat_map(with).collect();
                    let streams = |from: &BTreeSet<u32>, not: &BTreeSet<u32>| -> BTreeSet<u32> { from.difference(not).flat_map(|p| nodes[*p as usize].streams.clone()).collect() };
                    let both: BTreeSet<u32> = streams(&first, &others).intersection(&streams(&others, &first)).copied().collect();
                    let settled: Vec<u32> = both.into_iter().filter(|s| !node.streams.contains(s)).collect();
                    prop_assert_eq!(&seen[number].settled, &settled);
                }
            }
        }
    }
}
