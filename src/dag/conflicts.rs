//! Conflicts: forks that have transactions in common, to be resolved as a whole.

use std::fmt::Write;

use rustc_hash::FxHashMap;
use sha2::{Digest, Sha256};

use crate::dag::forks::{Fork, History};

/// How many bytes of the hash make a conflict's id; two hex digits each.
const ID_BYTES: usize = 6;

/// Forks whose branches are linked by common transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// 12 hex digits, equal on every clone, changed when another branch arrives.
    pub id: String,
    /// Its forks, in the order of their streams' ids.
    pub forks: Vec<Fork>,
}

impl Conflict {
    /// Whether one of its forks is provisional.
    #[must_use]
    pub fn is_provisional(&self) -> bool {
        self.forks.iter().any(|fork| fork.is_provisional)
    }
}

/// Groups forks into conflicts, in the order of their ids.
#[must_use]
pub fn conflicts(history: &impl History, forks: Vec<Fork>) -> Vec<Conflict> {
    let mut groups = Groups::new(forks.len());
    let mut first_with = FxHashMap::default();
    for (place, fork) in forks.iter().enumerate() {
        for n in fork.branches.iter().flat_map(|branch| &branch.transactions) {
            groups.join(place, *first_with.entry(*n).or_insert(place));
        }
    }
    let mut by_group: FxHashMap<usize, Vec<Fork>> = FxHashMap::default();
    for (place, fork) in forks.into_iter().enumerate() {
        by_group.entry(groups.find(place)).or_default().push(fork);
    }
    let mut conflicts: Vec<Conflict> = by_group.into_values().map(|forks| conflict(history, forks)).collect();
    conflicts.sort_by(|a, b| a.id.cmp(&b.id));
    conflicts
}

fn conflict(history: &impl History, mut forks: Vec<Fork>) -> Conflict {
    forks.sort_by_cached_key(|fork| history.stream_id(fork.stream).into_owned());
    let tips = |fork: &Fork| {
        let stream = history.stream_id(fork.stream);
        fork.branches.iter().map(|branch| format!("{stream}\0{}\n", history.transaction_id(branch.tip))).collect::<Vec<_>>()
    };
    let mut lines: Vec<String> = forks.iter().flat_map(tips).collect();
    lines.sort();
    Conflict { id: id_of(&lines), forks }
}

/// The first hex digits of SHA-256 over the lines.
fn id_of(lines: &[String]) -> String {
    let mut hash = Sha256::new();
    for line in lines {
        hash.update(line.as_bytes());
    }
    hash.finalize().iter().take(ID_BYTES).fold(String::new(), |mut id, byte| {
        // Writing to a string does not fail.
        let _ = write!(id, "{byte:02x}");
        id
    })
}

/// Sets that only ever grow together.
struct Groups(Vec<usize>);

impl Groups {
    fn new(count: usize) -> Self {
        Self((0..count).collect())
    }

    fn find(&mut self, mut place: usize) -> usize {
        while let Some(&up) = self.0.get(place)
            && up != place
        {
            let above = self.0.get(up).copied().unwrap_or(up);
            if let Some(slot) = self.0.get_mut(place) {
                *slot = above;
            }
            place = above;
        }
        place
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.find(a), self.find(b));
        if let Some(slot) = self.0.get_mut(a) {
            *slot = b;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;
    use crate::dag::forks::fork;
    use crate::dag::reach::Reach;
    use crate::dag::tests_support::{Dag, Deeds};
    use crate::dag::tips::TipSet;

    fn conflicts_of(steps: &[(&[u32], &[u32])]) -> Vec<Conflict> {
        let mut dag = Dag::default();
        for (parents, streams) in steps {
            let writes = streams.iter().map(|&stream| (stream, 1)).collect();
            dag.push(parents.to_vec(), Deeds { writes, ..Deeds::default() });
        }
        let mut reach = Reach::default();
        let tips: Vec<TipSet> = (0..8).map(|stream| TipSet::of(&mut reach, &dag, dag.writers(stream))).collect();
        let forked = tips.iter().zip(0..).filter(|(tips, _)| tips.is_forked());
        let forks = forked.map(|(tips, stream)| fork(&mut reach, &dag, stream, tips)).collect();
        conflicts(&dag, forks)
    }

    fn streams(conflict: &Conflict) -> Vec<u32> {
        conflict.forks.iter().map(|fork| fork.stream).collect()
    }

    #[test]
    fn a_common_transaction_makes_one_conflict() {
        let got = conflicts_of(&[(&[], &[0, 1]), (&[0], &[0, 1]), (&[0], &[0]), (&[0], &[1])]);
        assert_eq!(got.iter().map(streams).collect::<Vec<_>>(), [[0, 1]]);
    }

    #[test]
    fn a_common_base_alone_does_not() {
        let got = conflicts_of(&[(&[], &[0, 1]), (&[0], &[0]), (&[0], &[0]), (&[0], &[1]), (&[0], &[1])]);
        let mut groups: Vec<_> = got.iter().map(streams).collect();
        groups.sort();
        assert_eq!(groups, [[0], [1]]);
    }

    #[test]
    fn links_go_over_several_forks() {
        let got = conflicts_of(&[(&[], &[]), (&[0], &[0, 1]), (&[0], &[1, 2]), (&[0], &[0]), (&[0], &[2]), (&[0], &[3]), (&[0], &[3])]);
        let mut groups: Vec<_> = got.iter().map(streams).collect();
        groups.sort();
        assert_eq!(groups, [vec![0, 1, 2], vec![3]]);
    }

    #[test]
    fn the_id_is_the_hash_of_sorted_lines() {
        let got = conflicts_of(&[(&[], &[]), (&[0], &[0]), (&[0], &[0])]);
        let lines = ["00000000-0000-0001-0000-000000000007", "00000000-0000-0002-0000-000000000007"];
        let text: String = lines.iter().map(|id| format!("stream-0\0{id}\n")).collect();
        let hash: String = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(got[0].id, hash[..12]);
    }

    #[test]
    fn another_branch_changes_the_id() {
        let two = conflicts_of(&[(&[], &[]), (&[0], &[0]), (&[0], &[0])]);
        let three = conflicts_of(&[(&[], &[]), (&[0], &[0]), (&[0], &[0]), (&[0], &[0])]);
        assert_ne!(two[0].id, three[0].id);
    }
}
