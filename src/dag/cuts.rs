//! Cuts: transactions that everything later descends from and that descend from everything earlier.
//!
//! A cut is alone on its depth, all that is shallower are its ancestors and all that is deeper its descendants. So
//! whatever stands on the two sides of a cut needs no walk. What is alone on its depth is an ancestor of all that is
//! deeper, since depths have no gaps; it is a cut exactly if no transaction above it has its first child below it, or
//! none at all. That is what [`Cuts`] counts, so an insertion touches only the depths that its edges skip.
//!
//! Between two cuts a walk goes by *runs*: chains in which each transaction has the one before as its only parent. All
//! of a run up to some transaction are its ancestors, so a walk steps from there to the parents of the run's first.

use std::collections::BTreeMap;

use crate::dag::column::Column;
use crate::format::binary::binary_fields;

/// No child, or no such transaction.
const NONE: u32 = u32::MAX;
/// Marks, beside the number of its run's first, a transaction that the run goes on after.
const CONTINUED: u32 = 1 << 31;

/// The cuts and runs of a set of transactions, cheap to clone, maintained as they are inserted, parents first.
///
/// Numbers are below 2^31, as one bit marks a run that goes on.
/// An append to all heads is a cut and costs O(1) where they are just above it; any other insertion costs the number of depths that lie
/// between it and the shallowest of the parents whose first child it is, however many these are.
#[derive(Clone, Debug, Default)]
pub struct Cuts {
    members: Shared<Member>,
    levels: Shared<Level>,
    /// Depths of the transactions without a child: how many there are on each.
    heads: BTreeMap<u32, u32>,
    bits: Bits,
}
binary_fields!(Cuts { members, levels, heads, bits });

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Member {
    depth: u32,
    /// The least depth of its children.
    first_child: u32,
    /// The first transaction of its run, and whether the run goes on.
    run: u32,
}
binary_fields!(Member { depth, first_child, run });

const ABSENT: Member = Member { depth: NONE, first_child: NONE, run: NONE };

#[derive(Clone, Copy, Debug, Default)]
struct Level {
    transactions: u32,
    /// How many edges from a parent to its first child skip this depth.
    skips: u32,
}
binary_fields!(Level { transactions, skips });

impl Level {
    /// Whether it holds a cut, if no head is above it.
    fn is_alone(&self) -> bool {
        self.transactions == 1 && self.skips == 0
    }
}

impl Cuts {
    /// Inserts a transaction whose present parents are all inserted, and none of whose children is.
    ///
    /// Inserting one twice, or at a depth that is not deeper than its parents, changes nothing that is safe to rely on.
    pub fn insert(&mut self, n: u32, depth: u32, parents: impl IntoIterator<Item = u32>) {
        let (mut only, mut count, mut skipped) = (None, 0, Vec::new());
        for parent in parents {
            skipped.extend(self.adopt(parent, depth));
            only = Some(parent);
            count += 1;
        }
        self.skip_from(skipped, depth, true);
        let run = only.filter(|_| count == 1).and_then(|parent| self.continue_run(parent)).unwrap_or(n);
        let place = n as usize;
        self.members.grow(place + 1, &ABSENT);
        if let Some(member) = self.members.get_mut(place) {
            *member = Member { depth, first_child: NONE, run };
        }
        self.levels.grow(depth as usize + 1, &Level::default());
        *self.heads.entry(depth).or_default() += 1;
        self.change(depth, |level| level.transactions += 1);
    }

    /// The first transaction of the run that a transaction belongs to; itself if it is not inserted.
    #[must_use]
    pub fn run_start(&self, n: u32) -> u32 {
        self.members.get(n as usize).filter(|member| member.depth != NONE).map_or(n, |member| member.run & !CONTINUED)
    }

    /// Whether a cut has a depth of `low..=high`.
    #[must_use]
    pub fn any_between(&self, low: u32, high: u32) -> bool {
        let Some((&shallowest_head, _)) = self.heads.first_key_value() else { return false };
        self.bits.next(low).is_some_and(|depth| depth <= high.min(shallowest_head))
    }

    /// Forgets every transaction of that depth or deeper, so that they can be inserted anew after a late parent moved some.
    ///
    /// Costs O(transactions).
    pub fn forget_from(&mut self, depth: u32) {
        self.heads.split_off(&depth);
        let mut skipped = Vec::new();
        for place in 0..self.members.len() {
            let Some(&old) = self.members.get(place) else { continue };
            let (mut member, Member { depth: own, first_child, .. }) = (old, old);
            if first_child != NONE && first_child >= depth {
                member.first_child = NONE;
            }
            // A run goes on one deeper, so only those just above lose what follows them.
            if own.checked_add(1) == Some(depth) {
                member.run &= !CONTINUED;
            }
            if own >= depth {
                member = ABSENT;
            } else if first_child != NONE && first_child >= depth {
                *self.heads.entry(own).or_default() += 1;
                skipped.extend((own + 1 < depth).then_some(own + 1));
            }
            // What stays as it is stays shared with clones.
            if member != old {
                self.members.set(place, member);
            }
        }
        self.skip_from(skipped, depth, false);
        self.bits.clear(depth, self.levels.len() as u32);
        self.levels.truncate(depth as usize);
    }

    /// Tells a parent of a child at `depth`; gives the first depth that lies between them, if it is the first child and one does.
    fn adopt(&mut self, parent: u32, depth: u32) -> Option<u32> {
        let &member = self.members.get(parent as usize).filter(|member| member.depth < depth)?;
        let Member { depth: own, first_child, .. } = member;
        if first_child <= depth {
            return None;
        }
        self.members.set(parent as usize, Member { first_child: depth, ..member });
        if first_child != NONE {
            self.skip_from(vec![depth], first_child, false);
            return None;
        }
        if let Some(count) = self.heads.get_mut(&own) {
            *count -= 1;
            if *count == 0 {
                self.heads.remove(&own);
            }
        }
        self.levels.grow(depth as usize, &Level::default());
        (own + 1 < depth).then_some(own + 1)
    }

    /// Goes on with the run of an only parent, if it ends there; gives the run's first.
    fn continue_run(&mut self, parent: u32) -> Option<u32> {
        let member = self.members.get_mut(parent as usize).filter(|member| member.depth != NONE)?;
        let run = member.run;
        member.run |= CONTINUED;
        (run & CONTINUED == 0).then_some(run)
    }

    /// Adds or takes back, for each of `begins`, a skip of the depths from there up to `to`; goes once through them all.
    fn skip_from(&mut self, mut begins: Vec<u32>, to: u32, add: bool) {
        begins.sort_unstable();
        let ends = begins.iter().skip(1).copied().chain([to]);
        for ((&from, end), count) in begins.iter().zip(ends).zip(1..) {
            self.skip(from, end, count, add);
        }
    }

    /// Adds or takes back `count` skips of each depth of `from..to`.
    fn skip(&mut self, from: u32, to: u32, count: u32, add: bool) {
        if add {
            self.bits.clear(from, to);
        }
        let mut at = from;
        while at < to {
            let levels = self.levels.part_mut(at as usize);
            if levels.is_empty() {
                return;
            }
            for level in levels.iter_mut().take((to - at) as usize) {
                level.skips = if add { level.skips + count } else { level.skips.saturating_sub(count) };
                if level.is_alone() {
                    self.bits.set(at, true);
                }
                at += 1;
            }
        }
    }

    fn change(&mut self, depth: u32, change: impl FnOnce(&mut Level)) {
        if let Some(level) = self.levels.get_mut(depth as usize) {
            change(level);
            let is_alone = level.is_alone();
            self.bits.set(depth, is_alone);
        }
    }
}

/// Values of which a clone shares what it does not change.
type Shared<T> = Column<T, 1024>;

/// A set of small numbers with a fast search for the next one: a bit each, and a bit for each word that is not zero.
#[derive(Clone, Debug, Default)]
struct Bits {
    words: Shared<u64>,
    summary: Shared<u64>,
}
binary_fields!(Bits { words, summary });

impl Bits {
    fn set(&mut self, number: u32, on: bool) {
        let word = number >> 6;
        self.words.grow(word as usize + 1, &0);
        self.summary.grow((word >> 6) as usize + 1, &0);
        if set_bit(&mut self.words, number, on) == 0 {
            set_bit(&mut self.summary, word, false);
        } else {
            set_bit(&mut self.summary, word, true);
        }
    }

    /// Takes out all that are in `from..to`, a word at a time.
    fn clear(&mut self, from: u32, to: u32) {
        let mut at = from;
        while at < to {
            let (word, end) = (at >> 6, to.min((at | 63) + 1));
            let Some(bits) = self.words.get(word as usize) else { return };
            let kept = bits & !(u64::MAX << (at & 63) & u64::MAX >> (63 - ((end - 1) & 63)));
            // What stays as it is stays shared with clones.
            if kept != *bits {
                self.words.set(word as usize, kept);
                if kept == 0 {
                    set_bit(&mut self.summary, word, false);
                }
            }
            at = end;
        }
    }

    /// The least member that is not below `from`.
    fn next(&self, from: u32) -> Option<u32> {
        if let Some(found) = first_bit(*self.words.get((from >> 6) as usize)?, from & 63) {
            return Some((from & !63) + found);
        }
        let start = (from >> 6) + 1;
        let mut floor = start & 63;
        for (place, &bits) in self.summary.iter().enumerate().skip((start >> 6) as usize) {
            if let Some(found) = first_bit(bits, floor) {
                let word = ((place as u32) << 6) + found;
                let within = first_bit(*self.words.get(word as usize)?, 0)?;
                return Some((word << 6) + within);
            }
            floor = 0;
        }
        None
    }
}

/// Sets or clears a bit and gives the word that holds it.
fn set_bit(words: &mut Shared<u64>, number: u32, on: bool) -> u64 {
    let Some(word) = words.get_mut((number >> 6) as usize) else { return 0 };
    let bit = 1u64 << (number & 63);
    *word = if on { *word | bit } else { *word & !bit };
    *word
}

/// The least bit that is set at `floor` (0 to 63) or above.
fn first_bit(word: u64, floor: u32) -> Option<u32> {
    let rest = word >> floor << floor;
    (rest != 0).then(|| rest.trailing_zeros())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dag::Graph;
    use crate::dag::tests_support::{Dag, any_dag};

    fn cuts_of(dag: &Dag, count: u32) -> Cuts {
        let mut cuts = Cuts::default();
        for n in 0..count {
            cuts.insert(n, dag.depth(n), dag.parents(n));
        }
        cuts
    }

    /// Straight from the words: which depths hold a cut, over ancestor sets.
    fn depths_of_cuts(dag: &Dag, count: u32) -> Vec<u32> {
        let is_cut = |n: u32| {
            (0..count).filter(|&other| other != n).all(|other| match dag.depth(other).cmp(&dag.depth(n)) {
                std::cmp::Ordering::Less => dag.is_ancestor(other, n),
                std::cmp::Ordering::Greater => dag.is_ancestor(n, other),
                std::cmp::Ordering::Equal => false,
            })
        };
        let mut depths: Vec<_> = (0..count).filter(|&n| is_cut(n)).map(|n| dag.depth(n)).collect();
        depths.sort_unstable();
        depths
    }

    fn held(cuts: &Cuts, count: u32) -> Vec<u32> {
        (0..count).filter(|&depth| cuts.any_between(depth, depth)).collect()
    }

    /// Each member of a run but the first has one parent, which is of that run and has no other child in it.
    fn check_runs(cuts: &Cuts, dag: &Dag) {
        let mut continued = std::collections::HashSet::new();
        for n in (0..dag.count()).filter(|&n| cuts.run_start(n) != n) {
            let parents: Vec<u32> = dag.parents(n).collect();
            assert_eq!(parents.len(), 1);
            assert_eq!(cuts.run_start(parents[0]), cuts.run_start(n));
            assert!(continued.insert(parents[0]));
        }
        for n in 0..dag.count() {
            let only_child =
                dag.parents(n).count() == 1 && dag.parents(n).all(|parent| cuts.run_start(n) == n && !continued.contains(&parent));
            assert!(!only_child, "{n} should go on with the run of its parent");
        }
    }

    proptest! {
        #[test]
        fn equal_the_definition_at_every_prefix(dag in any_dag(40)) {
            for count in 0..=dag.count() {
                let cuts = cuts_of(&dag, count);
                let expected = depths_of_cuts(&dag, count);
                prop_assert_eq!(held(&cuts, count), expected.clone());
                for low in 0..count {
                    let high = low + count % 5;
                    prop_assert_eq!(cuts.any_between(low, high), expected.iter().any(|depth| (low..=high).contains(depth)));
                }
            }
        }

        #[test]
        fn forgetting_and_inserting_anew_changes_nothing(dag in any_dag(40), from in 0..12u32) {
            let mut cuts = cuts_of(&dag, dag.count());
            cuts.forget_from(from);
            for n in (0..dag.count()).filter(|&n| dag.depth(n) >= from) {
                cuts.insert(n, dag.depth(n), dag.parents(n));
            }
            check_runs(&cuts, &dag);
            prop_assert_eq!(held(&cuts, dag.count()), held(&cuts_of(&dag, dag.count()), dag.count()));
        }
    }

    #[test]
    fn an_append_to_all_heads_is_a_cut() {
        let dag = Dag::new(&[&[], &[0], &[0], &[2], &[1, 3]]);
        assert_eq!(held(&cuts_of(&dag, 4), 4), [0]);
        assert_eq!(held(&cuts_of(&dag, 5), 5), [0, 3]);
    }

    /// Story: an append that joined a hundred heads deep in a long history took 167 ms, and so did each start after it.
    #[test]
    fn many_heads_that_are_joined_deep_below_are_counted_as_if_one_by_one() {
        const DEPTH: u32 = 3_000;
        let mut cuts = Cuts::default();
        (0..DEPTH).for_each(|n| cuts.insert(n, n, n.checked_sub(1)));
        // Heads of their own, each beside the chain.
        let heads: Vec<u32> = (0..40).map(|head| DEPTH + head).collect();
        heads.iter().zip((100..).step_by(50)).for_each(|(&n, depth)| cuts.insert(n, depth, [depth - 1]));
        assert!(!cuts.any_between(100, DEPTH), "none has a child");
        cuts.insert(DEPTH + 40, DEPTH, heads.iter().copied().chain([DEPTH - 1]));
        let skips = |depth: u32| cuts.levels.get(depth as usize).unwrap().skips;
        assert_eq!([50, 100, 101, 150, 151, 1_000, DEPTH - 1].map(skips), [0, 0, 1, 1, 2, 18, 40]);
        assert_eq!([cuts.any_between(0, 99), cuts.any_between(100, DEPTH - 1), cuts.any_between(DEPTH, DEPTH)], [true, false, true]);
        cuts.forget_from(DEPTH);
        assert!((0..DEPTH).all(|depth| cuts.levels.get(depth as usize).unwrap().skips == 0));
    }

    #[test]
    fn what_is_cleared_is_what_lies_between() {
        for (from, to) in [(0, 1), (3, 64), (5, 200), (64, 128), (63, 65), (130, 130), (0, 10_000)] {
            let mut bits = Bits::default();
            (0..300).for_each(|number| bits.set(number, true));
            bits.clear(from, to);
            let held: Vec<u32> = (0..300).filter(|&number| bits.next(number) == Some(number)).collect();
            assert_eq!(held, (0..300).filter(|number| !(from..to).contains(number)).collect::<Vec<_>>(), "{from}..{to}");
        }
    }

    #[test]
    fn the_next_cut_is_found_across_words() {
        let mut bits = Bits::default();
        for number in [3, 64, 5000, 300_000] {
            bits.set(number, true);
        }
        let found: Vec<_> = [0, 3, 4, 64, 65, 5000, 5001, 300_001, 900_000].iter().map(|&from| bits.next(from)).collect();
        assert_eq!(found, [Some(3), Some(3), Some(64), Some(64), Some(5000), Some(5000), Some(300_000), None, None]);
    }
}
