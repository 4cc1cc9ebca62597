//! Which files were changed in the history.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Write as _};
use std::process::Stdio;
use std::sync::mpsc::channel;
use std::time::Duration;

use super::raw::{FileChange, RAW, read_changes};
use super::{GitError, Oid, Program, of_spawn};

impl Program {
    /// The commits that branches, tags and HEAD name, but for the stash.
    ///
    /// # Errors
    /// If git cannot be run.
    pub fn tips(&self) -> Result<BTreeSet<Oid>, GitError> {
        let tips = self.text(&["rev-parse", "--exclude=refs/stash", "--all"])?;
        let head = self.text(&["rev-parse", "--verify", "--quiet", "HEAD"]).unwrap_or_default();
        Ok(tips.lines().chain(head.lines()).filter_map(Oid::parse).collect())
    }

    /// The files of `events/` that a commit changed or removed, each with what it had before, the oldest first, and what it got; of the
    /// commits that `tips` descend from and `seen` do not.
    ///
    /// One walk through the history. Of a merge only that counts which it made otherwise than all its parents.
    ///
    /// # Errors
    /// If git cannot be run or has not ended within `patience`.
    pub fn rewritten(
        &self,
        tips: &BTreeSet<Oid>,
        seen: &BTreeSet<Oid>,
        patience: Duration,
    ) -> Result<BTreeMap<String, Vec<Oid>>, GitError> {
        if tips.is_empty() {
            return Ok(BTreeMap::new());
        }
        let events = self.events_path()?;
        let mut command = self.command();
        command
            // A commit that was seen may be gone since.
            .args(["log", "--ignore-missing", "--topo-order"])
            .args(RAW)
            .args(["--format=", "--stdin", "--", "events"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().map_err(of_spawn)?;
        let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(GitError::Unexpected("log"));
        };
        let revisions: String = tips.iter().map(|tip| format!("{tip}\n")).chain(seen.iter().map(|tip| format!("^{tip}\n"))).collect();
        // Git reads all of it before it answers.
        let asked = stdin.write_all(revisions.as_bytes());
        drop(stdin);
        let (end, ended) = channel();
        std::thread::spawn(move || {
            let mut changes = Vec::new();
            let read = read_changes(BufReader::new(stdout), &events, |change| {
                // Nearly all of a history is files that were added, and these are not kept.
                if !change.before.is_empty() {
                    changes.push(change);
                }
                true
            });
            let _ = end.send(read.map(|()| changes));
        });
        let Ok(changes) = ended.recv_timeout(patience) else {
            let _ = child.kill();
            let _ = child.wait();
            return Err(GitError::Impatient("log"));
        };
        if !child.wait()?.success() {
            return Err(GitError::Unexpected("log"));
        }
        asked?;
        Ok(versions(changes?))
    }
}

/// What each file had, the oldest first, by its changes, the newest first.
fn versions(changes: Vec<FileChange>) -> BTreeMap<String, Vec<Oid>> {
    let mut of_files: BTreeMap<String, Vec<Oid>> = BTreeMap::new();
    for change in changes.into_iter().rev() {
        let known = of_files.entry(change.name).or_default();
        for oid in change.before.into_iter().chain(change.after) {
            if known.last() != Some(&oid) {
                known.push(oid);
            }
        }
    }
    of_files
}
