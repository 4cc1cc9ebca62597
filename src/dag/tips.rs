//! The tips of one stream, maintained for arrivals in any order.

use crate::dag::graph::Graph;
use crate::dag::reach::Reach;
use crate::format::binary::{Binary, Input, put_len};

/// Transactions of which none descends from another: those of a stream's writers that no other writer descends from.
///
/// It also keeps the newest of a set of closers, as a fork is closed by one of them or by none. Nearly every stream
/// has one tip, so that one is held without an allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TipSet(Tips);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Tips {
    #[default]
    None,
    One(u32),
    /// Two or more, in the order of their numbers.
    Many(Box<[u32]>),
}

impl Binary for TipSet {
    fn put(&self, out: &mut Vec<u8>) {
        put_len(self.as_slice().len(), out);
        u32::put_all(self.as_slice(), out);
    }

    fn take(from: &mut Input<'_>) -> Option<Self> {
        Vec::take(from).map(|tips| Self(Tips::from(tips)))
    }
}

impl TipSet {
    /// The tips of transactions in any order.
    #[must_use]
    pub fn of(reach: &mut Reach, graph: &impl Graph, transactions: impl IntoIterator<Item = u32>) -> Self {
        let mut tips = Self::default();
        for n in transactions {
            tips.insert(reach, graph, n);
        }
        tips
    }

    /// The tips, in the order of their numbers.
    #[must_use]
    pub fn as_slice(&self) -> &[u32] {
        match &self.0 {
            Tips::None => &[],
            Tips::One(tip) => std::slice::from_ref(tip),
            Tips::Many(tips) => tips,
        }
    }

    /// Whether there are two or more.
    #[must_use]
    pub fn is_forked(&self) -> bool {
        matches!(self.0, Tips::Many(_))
    }

    /// Takes in a transaction, unless a tip descends from it; tells whether the tips have changed.
    ///
    /// Costs one ancestor question where there is one tip.
    pub fn insert(&mut self, reach: &mut Reach, graph: &impl Graph, n: u32) -> bool {
        match &self.0 {
            Tips::None => self.0 = Tips::One(n),
            &Tips::One(tip) => {
                if tip == n || reach.is_ancestor(graph, n, tip) {
                    return false;
                }
                self.0 = if reach.is_ancestor(graph, tip, n) { Tips::One(n) } else { Tips::from(vec![tip, n]) };
            }
            Tips::Many(tips) => {
                if tips.contains(&n) || tips.iter().any(|&tip| reach.is_ancestor(graph, n, tip)) {
                    return false;
                }
                let past = reach.ancestors_among(graph, tips, n);
                let kept = tips.iter().zip(past).filter(|&(_, past)| !past).map(|(&tip, _)| tip);
                self.0 = Tips::from(kept.chain([n]).collect::<Vec<_>>());
            }
        }
        true
    }

    /// Drops the tips that another one descends from by now, as a late parent may bring about; tells whether it did.
    pub fn renew(&mut self, reach: &mut Reach, graph: &impl Graph) -> bool {
        let Tips::Many(tips) = &self.0 else { return false };
        let renewed = Self::of(reach, graph, tips.iter().copied());
        let changed = renewed != *self;
        *self = renewed;
        changed
    }
}

impl From<Vec<u32>> for Tips {
    fn from(mut tips: Vec<u32>) -> Self {
        tips.sort_unstable();
        match *tips.as_slice() {
            [] => Self::None,
            [tip] => Self::One(tip),
            _ => Self::Many(tips.into()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;
    use crate::dag::tests_support::Dag;

    #[test]
    fn a_descendant_takes_the_place_of_the_only_tip() {
        let dag = Dag::new(&[&[], &[0], &[1]]);
        let mut reach = Reach::default();
        let mut tips = TipSet::default();
        for n in 0..3 {
            assert!(tips.insert(&mut reach, &dag, n));
            assert_eq!(tips.as_slice(), [n]);
        }
        assert_eq!(reach.visited(), 0);
    }

    #[test]
    fn a_late_ancestor_is_no_tip() {
        let dag = Dag::new(&[&[], &[0], &[0], &[1, 2]]);
        let mut reach = Reach::default();
        let mut tips = TipSet::of(&mut reach, &dag, [3]);
        assert!(!tips.insert(&mut reach, &dag, 1));
        assert_eq!(tips.as_slice(), [3]);
    }

    #[test]
    fn one_transaction_ends_some_tips_and_leaves_others() {
        let dag = Dag::new(&[&[], &[0], &[0], &[0], &[1, 2]]);
        let tips = TipSet::of(&mut Reach::default(), &dag, [1, 2, 3, 4]);
        assert_eq!(tips.as_slice(), [3, 4]);
    }

    #[test]
    fn a_late_parent_joins_two_tips() {
        let apart = Dag::new(&[&[], &[0], &[0]]);
        let joined = Dag::new(&[&[], &[0], &[1]]);
        let mut reach = Reach::default();
        let mut tips = TipSet::of(&mut reach, &apart, [1, 2]);
        assert!(tips.is_forked());
        assert!(tips.renew(&mut reach, &joined));
        assert_eq!(tips.as_slice(), [2]);
        assert!(!tips.renew(&mut reach, &joined));
    }

    #[test]
    fn the_usual_case_is_small() {
        assert!(size_of::<TipSet>() <= 24);
    }
}
