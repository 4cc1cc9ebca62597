//! Tips and forks on a piece of a real history: 600 commits of restic with the densest merges.
//!
//! A line a transaction, parents first: its parents and its streams, as numbers (`tests/data/restic-extract.tsv`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeMap;

use crate::dag::forks;
use crate::dag::reach::Reach;
use crate::dag::reference;
use crate::dag::tests_support::{Dag, Deeds};
use crate::dag::tips::TipSet;

const EXTRACT: &str = include_str!("../../tests/data/restic-extract.tsv");
/// Transactions visited by an ancestor question, on average.
const VISITED_MAX: u64 = 500;

#[derive(Default)]
struct Maintained {
    dag: Dag,
    reach: Reach,
    tips: BTreeMap<u32, TipSet>,
    merges: TipSet,
}

impl Maintained {
    /// Appends a transaction; gives the streams that it writes.
    fn append(&mut self, line: &str) -> Vec<u32> {
        let numbers = |text: &str| text.split(',').filter_map(|number| number.parse().ok()).collect::<Vec<u32>>();
        let (parents, streams) = line.split_once('\t').unwrap();
        let writes: Vec<_> = numbers(streams).into_iter().map(|stream| (stream, 1)).collect();
        let n = self.dag.push(numbers(parents), Deeds { writes: writes.clone(), ..Deeds::default() });
        for (stream, _) in &writes {
            self.tips.entry(*stream).or_default().insert(&mut self.reach, &self.dag, n);
        }
        if self.dag.is_pure_merge(n) {
            self.merges.insert(&mut self.reach, &self.dag, n);
        }
        writes.into_iter().map(|(stream, _)| stream).collect()
    }

    fn check_all(&mut self) {
        let all: Vec<u32> = self.tips.keys().copied().collect();
        self.check(&all);
    }

    fn check(&mut self, streams: &[u32]) {
        for &stream in streams {
            let tips = &self.tips[&stream];
            let mut expected = reference::tips(&self.dag, stream);
            expected.sort_unstable();
            assert_eq!(tips.as_slice(), expected);
            if tips.is_forked() {
                assert_eq!(forks::is_open(&mut self.reach, &self.dag, tips, &[&self.merges]), reference::is_open(&self.dag, stream));
                assert_eq!(forks::fork(&mut self.reach, &self.dag, stream, tips), reference::fork(&self.dag, stream));
            }
        }
    }
}

/// Its first transactions.
pub fn beginning(count: usize) -> Dag {
    let mut maintained = Maintained::default();
    EXTRACT.lines().take(count).for_each(|line| drop(maintained.append(line)));
    maintained.dag
}

#[test]
fn a_question_visits_few_transactions() {
    let mut maintained = Maintained::default();
    for line in EXTRACT.lines() {
        drop(maintained.append(line));
    }
    let (visited, questions) = (maintained.reach.visited(), maintained.reach.questions());
    assert!(questions > 500);
    assert!(visited < VISITED_MAX * questions, "{visited} visited, {questions} questions");
}

/// What a prefix adds concerns the streams that its last transaction writes; now and then all are compared.
#[test]
fn forks_equal_the_definition_at_every_prefix() {
    let mut maintained = Maintained::default();
    for (count, line) in EXTRACT.lines().enumerate() {
        let streams = maintained.append(line);
        maintained.check(&streams);
        if count % 97 == 96 {
            maintained.check_all();
        }
    }
}
