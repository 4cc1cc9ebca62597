//! The past of several tips, divided by which of them have it in their past.

use std::collections::BinaryHeap;

use rustc_hash::FxHashMap;

use crate::dag::graph::Graph;

/// What a walk from several tips, the deepest first, has found before it met what is in the past of all.
///
/// It goes by runs: a run is entered at some transactions, and left once, by the parents of its first, after all
/// entries, since these are deeper. Its cost is the number of runs, whatever their length.
pub struct DividedPast {
    /// How many tips there are.
    tips: usize,
    runs: FxHashMap<u32, Run>,
    fork_points: Vec<u32>,
    floor: u32,
}

/// A bit for each tip that has something in its past, where a tip has itself.
type Sides = Box<[u64]>;

/// Depths at which a run was entered, the deepest first, each with the tips that have it from there on.
#[derive(Default)]
struct Run {
    entries: Vec<(u32, Sides)>,
}

/// Where the walk is to enter a run.
struct Entry {
    sides: Sides,
    /// Whether something that descends from it is in the past of all.
    is_settled: bool,
}

/// What waits, the deepest first; at one depth a run is entered before it is left.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Step {
    depth: u32,
    kind: Kind,
    n: u32,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Leave,
    Enter,
}

struct Walk<'a, G> {
    graph: &'a G,
    past: DividedPast,
    open: BinaryHeap<Step>,
    entries: FxHashMap<u32, Entry>,
    /// How many of the open steps are not known to lie behind something that is in the past of all.
    unsettled: usize,
}

impl DividedPast {
    /// Walks from tips of which none descends from another.
    pub fn of(graph: &impl Graph, tips: &[u32]) -> Self {
        let past = Self { tips: tips.len(), runs: FxHashMap::default(), fork_points: Vec::new(), floor: u32::MAX };
        let mut walk = Walk { graph, past, open: BinaryHeap::new(), entries: FxHashMap::default(), unsettled: 0 };
        for (side, &tip) in tips.iter().enumerate() {
            let mut sides: Sides = vec![0; tips.len().div_ceil(64)].into();
            if let Some(word) = sides.get_mut(side / 64) {
                *word |= 1 << (side % 64);
            }
            walk.plan(tip, &sides);
        }
        while walk.unsettled > 0
            && let Some(step) = walk.open.pop()
        {
            match step.kind {
                Kind::Enter => walk.enter(step.n, step.depth),
                Kind::Leave => walk.leave(step.n, step.depth),
            }
        }
        walk.past
    }

    /// The latest transactions that are in the past of all tips.
    pub fn fork_points(&self) -> &[u32] {
        &self.fork_points
    }

    /// The depth above which nothing is in the past of only some.
    pub fn floor(&self) -> u32 {
        self.floor
    }

    /// The places of the tips that have a transaction in their past, ascending; none if all of them have it or none has.
    pub fn sides_apart(&self, graph: &impl Graph, n: u32) -> Option<impl Iterator<Item = usize>> {
        let sides = self.sides(graph, n).filter(|sides| !is_whole(sides, self.tips))?;
        Some((0..self.tips).filter(|side| sides.get(side / 64).is_some_and(|word| word >> (side % 64) & 1 == 1)))
    }

    fn sides(&self, graph: &impl Graph, n: u32) -> Option<&Sides> {
        let entries = &self.runs.get(&graph.run_start(n))?.entries;
        let depth = graph.depth(n);
        let deeper = entries.partition_point(|&(entry, _)| entry >= depth);
        entries.get(deeper.checked_sub(1)?).map(|(_, sides)| sides)
    }
}

impl<G: Graph> Walk<'_, G> {
    /// Plans to enter the run of `n` there.
    fn plan(&mut self, n: u32, sides: &Sides) {
        let is_settled = is_whole(sides, self.past.tips);
        if let Some(entry) = self.entries.get_mut(&n) {
            join(&mut entry.sides, sides);
            if is_settled && !entry.is_settled {
                entry.is_settled = true;
                self.unsettled -= 1;
            }
            return;
        }
        self.entries.insert(n, Entry { sides: sides.clone(), is_settled });
        self.unsettled += usize::from(!is_settled);
        self.open.push(Step { depth: self.graph.depth(n), kind: Kind::Enter, n });
    }

    fn enter(&mut self, n: u32, depth: u32) {
        let Some(Entry { mut sides, is_settled }) = self.entries.remove(&n) else { return };
        self.unsettled -= usize::from(!is_settled);
        let start = self.graph.run_start(n);
        let tips = self.past.tips;
        let run = self.past.runs.entry(start).or_default();
        if let Some((_, above)) = run.entries.last() {
            if is_whole(above, tips) {
                return;
            }
            join(&mut sides, above);
            self.unsettled -= 1;
            self.past.floor = self.past.floor.min(depth.saturating_add(1));
        } else {
            self.open.push(Step { depth: self.graph.depth(start), kind: Kind::Leave, n: start });
        }
        if !is_whole(&sides, tips) {
            self.unsettled += 1;
            self.past.floor = self.past.floor.min(depth);
        } else if !is_settled {
            self.past.fork_points.push(n);
        }
        run.entries.push((depth, sides));
    }

    fn leave(&mut self, start: u32, depth: u32) {
        let Some(sides) = self.past.runs.get(&start).and_then(|run| run.entries.last()).map(|(_, sides)| sides.clone()) else { return };
        if !is_whole(&sides, self.past.tips) {
            self.unsettled -= 1;
            self.past.floor = depth;
        }
        for parent in self.graph.parents(start) {
            self.plan(parent, &sides);
        }
    }
}

fn join(sides: &mut Sides, others: &Sides) {
    for (word, other) in sides.iter_mut().zip(others) {
        *word |= other;
    }
}

/// Whether all tips have it.
fn is_whole(sides: &Sides, tips: usize) -> bool {
    sides.iter().map(|word| word.count_ones() as usize).sum::<usize>() == tips
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::dag::reach::Reach;
    use crate::dag::tests_support::Dag;
    use crate::dag::tips::TipSet;

    const CHAIN: u32 = 2_000;
    const BACK: u32 = 1_000;
    const BRANCH: u32 = 100;

    /// A graph that counts how often a transaction's parents are asked for.
    struct Counted {
        dag: Dag,
        asked: Cell<u32>,
    }

    impl Graph for Counted {
        fn parents(&self, n: u32) -> impl Iterator<Item = u32> {
            self.asked.set(self.asked.get() + 1);
            self.dag.parents(n)
        }

        fn depth(&self, n: u32) -> u32 {
            self.dag.depth(n)
        }

        fn run_start(&self, n: u32) -> u32 {
            self.dag.run_start(n)
        }

        fn cut_between(&self, low: u32, high: u32) -> bool {
            self.dag.cut_between(low, high)
        }
    }

    /// A chain, and a branch that left it far back.
    fn branch_far_back() -> Counted {
        let parent = |n: u32| if n == CHAIN { Some(CHAIN - BACK) } else { n.checked_sub(1) };
        let parents = (0..CHAIN + BRANCH).map(|n| parent(n).into_iter().collect()).collect();
        Counted { dag: Dag::from_parents(parents), asked: Cell::new(0) }
    }

    #[test]
    fn a_branch_far_back_costs_its_runs() {
        let graph = branch_far_back();
        let tips = [CHAIN - 1, CHAIN + BRANCH - 1];
        let past = DividedPast::of(&graph, &tips);
        assert_eq!((past.fork_points(), past.floor()), ([CHAIN - BACK].as_slice(), CHAIN - BACK + 1));
        assert!(graph.asked.get() <= 2, "{}", graph.asked.get());
        let sides = |n: u32| past.sides_apart(&graph, n).map(Iterator::collect::<Vec<_>>);
        for (n, expected) in [(0, None), (CHAIN - BACK, None), (CHAIN - BACK + 1, Some(0)), (CHAIN - 1, Some(0)), (CHAIN, Some(1))] {
            assert_eq!(sides(n), expected.map(|side| vec![side]), "{n}");
        }
    }

    #[test]
    fn tips_of_a_branch_that_arrives_far_back_cost_little() {
        let graph = branch_far_back();
        let mut reach = Reach::default();
        // Each transaction of the branch writes a stream that the chain has written too, at another depth each.
        for n in 0..BRANCH {
            let mut tips = TipSet::of(&mut reach, &graph, [CHAIN - 1 - n * 13]);
            tips.insert(&mut reach, &graph, CHAIN + n);
            assert_eq!(tips.is_forked(), n * 13 < BACK - 1);
        }
        assert!(reach.visited() <= 2 * reach.questions(), "{} visited, {} questions", reach.visited(), reach.questions());
    }
}
