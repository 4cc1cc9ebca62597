//! What git has of files that are gone: the newest of what it ever had of each that counts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::braid::git::{Commit, GitError, Oid, Program, Said};
use crate::braid::keeper::load::{self, Good};
use crate::model::TransactionId;

/// How long git may look for what else it had of files whose last bytes do not count.
const PATIENCE: Duration = Duration::from_secs(60);

/// A file as git has it whole.
pub(super) struct Whole {
    pub(super) name: String,
    /// The newest commit that has it so.
    pub(super) commit: Commit,
    pub(super) bytes: Vec<u8>,
    pub(super) good: Good,
}

/// Gives to `take` each of these files as it was last, or, where that does not count (edited, torn), as the newest commit has it that has it
/// whole: its hash proves which one does. Answers of which files no commit has that; what is not in the repository is one of them.
pub(super) fn read_whole(git: &Program, said: BTreeMap<String, Said>, mut take: impl FnMut(Whole)) -> Result<BTreeSet<String>, GitError> {
    let mut unsound = BTreeSet::new();
    read(git, said.into_iter().collect(), |name, whole| match whole {
        Some(whole) => take(whole),
        None => drop(unsound.insert(name)),
    })?;
    if unsound.is_empty() {
        return Ok(unsound);
    }
    let ever = git.ever_said(&unsound, PATIENCE)?;
    let versions = ever.into_iter().flat_map(|(name, said)| said.into_iter().map(move |said| (name.clone(), said)));
    read(git, versions.collect(), |name, whole| {
        if let Some(whole) = whole
            && unsound.remove(&name)
        {
            take(whole);
        }
    })?;
    Ok(unsound)
}

fn read(git: &Program, files: Vec<(String, Said)>, mut take: impl FnMut(String, Option<Whole>)) -> Result<(), GitError> {
    let blobs: Vec<Oid> = files.iter().map(|(_, said)| said.blob.clone()).collect();
    let mut odd = Vec::new();
    let is_whole = |name: &str, bytes: Option<Vec<u8>>, commit: &Commit| {
        let bytes = bytes?;
        let good = load::read(&bytes).ok().filter(|good| is_of_name(good, name))?;
        Some(Whole { name: name.to_owned(), commit: commit.clone(), bytes, good })
    };
    git.read_blobs(&blobs, |n, bytes| {
        if let Some((name, said)) = files.get(n) {
            match is_whole(name, bytes, &said.commit) {
                None => odd.push((name.clone(), said.clone())),
                whole => take(name.clone(), whole),
            }
        }
        Ok::<(), GitError>(())
    })?;
    let asked: Vec<(String, Oid)> = odd.iter().map(|(name, said)| (name.clone(), said.blob.clone())).collect();
    for ((name, said), bytes) in odd.into_iter().zip(git.through_filter(&asked)) {
        let whole = is_whole(&name, bytes, &said.commit);
        take(name, whole);
    }
    Ok(())
}

/// Whether a transaction has that name, or the name is that of none.
fn is_of_name(good: &Good, name: &str) -> bool {
    let names_another = TransactionId::of_file_name(name).is_some();
    good.header.transaction_id.is_file_name(name) || !names_another
}
