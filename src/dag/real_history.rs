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
    fn append(&mut self, line: &str) {
        let numbers = |text: &str| text.split(',').filter_map(|number| number.parse().ok()).collect::<Vec<u32>>();
        let (parents, streams) = line.split_once('\t').unwrap();
        let writes: Vec<_> = numbers(streams).into_iter().map(|stream| (stream, 1)).collect();
        let n = self.dag.push(numbers(parents), Deeds { writes: writes.clone(), ..Deeds::default() });
        for (stream, _) in writes {
            self.tips.entry(stream).or_default().insert(&mut self.reach, &self.dag, n);
        }
        if self.dag.is_pure_merge(n) {
            self.merges.insert(&mut self.reach, &self.dag, n);
        }
    }

    fn check(&mut self) {
        for (&stream, tips) in &self.tips {
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

#[test]
fn a_question_visits_few_transactions() {
    let mut maintained = Maintained::default();
    for line in EXTRACT.lines() {
        maintained.append(line);
    }
    let (visited, questions) = (maintained.reach.visited(), maintained.reach.questions());
    assert!(questions > 500);
    assert!(visited < VISITED_MAX * questions, "{visited} visited, {questions} questions");
}

#[test]
fn forks_equal_the_definition_on_the_way() {
    let mut maintained = Maintained::default();
    for (count, line) in EXTRACT.lines().enumerate() {
        maintained.append(line);
        if count % 97 == 96 {
            maintained.check();
        }
    }
}
