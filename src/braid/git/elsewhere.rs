//! What a merge with another branch would bring.

use std::collections::{BTreeMap, HashSet};
use std::io::BufReader;
use std::process::Stdio;

use super::raw::{COMMIT_BY_REFERENCE, RAW, read_changes};
use super::{GitError, Oid, Program, of_spawn};

/// A file of `events/` that another branch has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// The branch, as `git merge` takes it.
    pub branch: String,
    /// What the file has there.
    pub blob: Oid,
}

impl Program {
    /// The files of `events/` that other branches, also those of remotes, have got in commits that what is checked out does not have.
    ///
    /// One walk through these commits.
    ///
    /// # Errors
    /// If git cannot be run.
    pub fn elsewhere(&self) -> Result<BTreeMap<String, Elsewhere>, GitError> {
        let events = self.events_path()?;
        let mut command = self.command();
        command
            .args(["log", "--source", COMMIT_BY_REFERENCE, "--branches", "--exclude=*/HEAD", "--remotes", "--not", "HEAD"])
            .args(RAW)
            .args(["-c", "--", "events"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().map_err(of_spawn)?;
        let Some(stdout) = child.stdout.take() else { return Err(GitError::Unexpected("log")) };
        let (mut found, mut removed) = (BTreeMap::new(), HashSet::new());
        let read = read_changes(BufReader::new(stdout), &events, |commit, change| {
            let reference = commit.map_or("", |commit| commit.author.as_str());
            let branch = reference.trim_start_matches("refs/heads/").trim_start_matches("refs/remotes/").to_owned();
            match change.after {
                // The newest change comes first.
                Some(blob) if !removed.contains(&(branch.clone(), change.name.clone())) => {
                    found.entry(change.name).or_insert(Elsewhere { branch, blob });
                }
                Some(_) => {}
                None => drop(removed.insert((branch, change.name))),
            }
            true
        });
        // Where no commit is checked out yet it fails, and no branch is another one.
        let _ = child.wait();
        read.map_err(GitError::Io)?;
        Ok(found)
    }
}
