//! What git has of parents that are missing, and what brings them back.

use std::collections::{BTreeMap, BTreeSet};

use crate::braid::git::{Commit, GitError, Oid, Program};
use crate::braid::whole::{Whole, read_whole};
use crate::model::TransactionId;

/// What git was asked about missing parents.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum ParentsInGit {
    /// It was not asked yet, or gave no answer.
    #[default]
    Unasked,
    /// There is no git to ask.
    NoRepository,
    /// It was asked about these: the newest commit that has the file whole, or none.
    Asked(BTreeMap<TransactionId, Option<Commit>>),
}

impl ParentsInGit {
    /// Asks git about some. What a partial clone lacks is not fetched for that: its remote has it.
    pub(super) fn ask(git: &Program, missing: BTreeSet<TransactionId>) -> Result<Self, GitError> {
        let git = &git.without_fetching();
        let mut said = git.last_said_by(&missing.iter().map(|&parent| file(parent)).collect())?;
        let mut held = BTreeMap::new();
        if !said.is_empty() && git.is_partial()? {
            let (names, blobs): (Vec<String>, Vec<Oid>) = said.iter().map(|(name, said)| (name.clone(), said.blob.clone())).unzip();
            git.read_blobs(&blobs, |n, bytes| {
                let lacking = names.get(n).filter(|_| bytes.is_none()).and_then(|name| said.remove_entry(name));
                held.extend(lacking.map(|(name, said)| (name, said.commit)));
                Ok::<(), GitError>(())
            })?;
        }
        read_whole(git, said, |Whole { name, commit, .. }| drop(held.insert(name, commit)))?;
        Ok(Self::Asked(missing.into_iter().map(|parent| (parent, held.remove(&file(parent)))).collect()))
    }

    /// What brings these parents back; `braidfs restore` says itself what git does not have.
    pub(super) fn hint(&self, parents: &[TransactionId]) -> String {
        let names: Vec<String> = parents.iter().map(|&parent| file(parent)).collect();
        let of_restore = format!("braidfs restore {}", names.join(" "));
        let asked = match self {
            Self::Unasked => return of_restore,
            Self::NoRepository => {
                let paths: Vec<String> = names.iter().map(|name| format!("OTHER/events/{name}")).collect();
                return format!(
                    "cp {} events/   # OTHER is a working copy that has it; this store lies in no git repository",
                    paths.join(" ")
                );
            }
            Self::Asked(asked) => asked,
        };
        let held = parents.iter().find_map(|parent| asked.get(parent)?.as_ref());
        let lacking = parents.iter().filter(|parent| asked.get(parent) == Some(&None)).count();
        match (held, lacking) {
            (Some(commit), 0) => format!("{of_restore}   # git has it in commit {}", commit.oid.short()),
            (None, 0) => of_restore,
            _ => format!("git fetch --all && {of_restore}   # git has no such file here; or git fetch CLONE, from a clone that has it"),
        }
    }
}

fn file(parent: TransactionId) -> String {
    format!("{parent}.jsonl")
}
