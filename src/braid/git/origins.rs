//! Who brought files to git.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::{GitError, Program, of_spawn};
use crate::model::{Origin, TransactionId};

/// What a line of a commit begins with; no path does.
const COMMIT_MARK: char = '>';

impl Program {
    /// The newest commit, of any branch but the stash, that added the file of each of these transactions, as far as git tells
    /// within `patience`.
    ///
    /// One walk through the history, which ends as soon as all are found. A merge counts only for a file that no parent has, and the oldest
    /// commit of a shallow clone does not count: it seems to add everything.
    ///
    /// # Errors
    /// If git cannot be run.
    pub fn origins(&self, of: &BTreeSet<TransactionId>, patience: Duration) -> Result<BTreeMap<TransactionId, Origin>, GitError> {
        if of.is_empty() {
            return Ok(BTreeMap::new());
        }
        let is_shallow = self.text(&["rev-parse", "--is-shallow-repository"])? == "true";
        let mut command = self.without_fetching().command();
        command
            .args(["log", "--exclude=refs/stash", "--all", "--no-renames", "--diff-filter=A", "--name-only", "-c"])
            .args(["--format=>%H%x00%P%x00%an", "--"])
            .args(of.iter().map(|id| format!("events/{id}.jsonl")))
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().map_err(of_spawn)?;
        let found = read_origins(&mut child, of, is_shallow, patience);
        // What is not read any more needs no end of its own.
        let _ = child.kill();
        let _ = child.wait();
        Ok(found)
    }
}

fn read_origins(child: &mut Child, of: &BTreeSet<TransactionId>, is_shallow: bool, patience: Duration) -> BTreeMap<TransactionId, Origin> {
    let start = Instant::now();
    let mut found = BTreeMap::new();
    let Some(stdout) = child.stdout.take() else { return found };
    let (lines, inbox) = channel();
    // Ends when git does, or when nobody hears any more.
    let reading = std::thread::Builder::new().spawn(move || {
        for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
            if lines.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
    if let Err(error) = reading {
        tracing::debug!(%error, "no thread to read git's log with");
        return found;
    }
    let mut commit: Option<Origin> = None;
    while found.len() < of.len() {
        match inbox.recv_timeout(patience.saturating_sub(start.elapsed())) {
            Ok(line) => match line.strip_prefix(COMMIT_MARK) {
                Some(facts) => commit = parse_origin(facts, is_shallow),
                None => {
                    // Git may put the path in quotes, for what is above the store.
                    let name = line.trim_end_matches('"').rsplit('/').next();
                    let id = name.and_then(|name| name.strip_suffix(".jsonl")).and_then(|id| id.parse().ok());
                    if let (Some(id), Some(commit)) = (id.filter(|id| of.contains(id)), &commit) {
                        // The log begins with the newest.
                        found.entry(id).or_insert_with(|| commit.clone());
                    }
                }
            },
            Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => break,
        }
    }
    found
}

/// The commit of a line; none where it only seems to add what it has.
fn parse_origin(facts: &str, is_shallow: bool) -> Option<Origin> {
    let mut facts = facts.splitn(3, '\0');
    let (commit, parents, author) = (facts.next()?, facts.next()?, facts.next()?);
    (!is_shallow || !parents.is_empty()).then(|| Origin { author: author.to_owned(), commit: commit.to_owned() })
}
