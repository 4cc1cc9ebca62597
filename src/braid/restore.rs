//! Brings back from git what was in `events/` and is gone.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use crate::braid::git::{Commit, GitError, LastSaid, Oid, Program, State};
use crate::braid::load;
use crate::braid::memory::vanished_events;
use crate::braid::{Braid, Failure};
use crate::epoch::Epoch;
use crate::model::EventId;
use crate::store::LockError;

/// How long it is waited for the lock.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// Names in `events/`, each with the bytes that belong there.
type Files = Vec<(String, Vec<u8>)>;

/// A file that was brought back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Its name in `events/`.
    pub name: String,
    /// The commit that it came from.
    pub commit: Commit,
}

/// What a restoration did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restoration {
    /// What is back.
    pub restored: Vec<Restored>,
    /// Names that no commit has that git still knows.
    pub unknown: Vec<String>,
}

impl Braid {
    /// Brings files back into `events/` from the newest commit, of any branch, that holds them, or else from what no branch has any more.
    ///
    /// Without names: everything that this replica has seen and has no more, what git's last commit has and `events/` has
    /// not, and parents that are missing. Parents that are missing of what comes back come back with it. A file that is there is left alone.
    ///
    /// # Errors
    /// If git gives no answer, or the store cannot be written.
    pub fn restore(&self, names: &[String]) -> Result<Restoration, Failure> {
        let epoch = self.wait_ready()?;
        let git = Program::new(self.inner.store.dir());
        let wanted = if names.is_empty() { gone(&git, &epoch)? } else { names.iter().map(|name| file_name(name)).collect() };
        let missing: BTreeSet<String> = wanted.into_iter().filter(|name| is_gone(&epoch, name)).collect();
        let (restoration, files) = find(&git, &epoch, missing)?;
        let store = &self.inner.store;
        let lock = store.lock(LOCK_WAIT).map_err(|error| failure_of_lock(&error))?;
        store.publish(&lock, &files).map_err(|error| Failure { message: error.to_string(), hint: String::new() })?;
        drop(lock);
        self.refresh()?;
        Ok(restoration)
    }
}

/// Finds files in git, and the parents that they name and that are missing too, and so on; with what is to be written.
fn find(git: &Program, epoch: &Epoch, missing: BTreeSet<String>) -> Result<(Restoration, Files), GitError> {
    let mut known = git.last_said_by(&missing)?;
    let mut has_asked_for_all = false;
    let (mut restoration, mut files, mut asked) = (Restoration::default(), Vec::new(), missing.clone());
    let mut next = missing;
    while !next.is_empty() {
        let (mut round, mut blobs) = (Vec::new(), Vec::new());
        for name in next {
            if let Some(LastSaid { commit, blob }) = known.remove(&name) {
                round.push(Restored { name, commit });
                blobs.push(blob);
            } else {
                restoration.unknown.push(name);
            }
        }
        let contents = contents(git, &round, &blobs)?;
        next = contents.iter().flat_map(|(_, bytes)| missing_parents(epoch, bytes)).filter(|name| asked.insert(name.clone())).collect();
        // A chain is as long as it likes, and the history is walked through once for all of it.
        if !next.is_empty() && !std::mem::replace(&mut has_asked_for_all, true) {
            known = git.last_said(|name| name.ends_with(".jsonl") && is_gone(epoch, name))?;
        }
        restoration.restored.extend(round);
        files.extend(contents);
    }
    Ok((restoration, files))
}

/// The files of the parents that a transaction's file names and that are not here.
fn missing_parents(epoch: &Epoch, bytes: &[u8]) -> Vec<String> {
    let parents = load::read(bytes).map(|good| good.header.parents).unwrap_or_default();
    let missing = parents.into_iter().filter(|&parent| epoch.index.transactions.find_valid(parent).is_none());
    missing.map(|parent| format!("{parent}.jsonl")).filter(|name| is_gone(epoch, name)).collect()
}

fn is_gone(epoch: &Epoch, name: &str) -> bool {
    epoch.store.stat(name).is_err()
}

pub(super) fn failure_of_lock(error: &LockError) -> Failure {
    Failure { message: error.to_string(), hint: "try again when it has ended".to_owned() }
}

impl From<GitError> for Failure {
    fn from(error: GitError) -> Self {
        Self { message: error.to_string(), hint: error.hint() }
    }
}

/// The name in `events/` that a person means by a transaction's id, a path or a name.
fn file_name(text: &str) -> String {
    let name = text.rsplit('/').next().unwrap_or(text);
    if name.ends_with(".jsonl") { name.to_owned() } else { format!("{name}.jsonl") }
}

/// The names of the files that are gone.
fn gone(git: &Program, epoch: &Epoch) -> Result<BTreeSet<String>, GitError> {
    let deleted = git.changes()?.into_iter().filter(|change| change.state == State::Deleted);
    let mut names: BTreeSet<String> = deleted.map(|change| change.name).collect();
    let transactions = &epoch.index.transactions;
    let missing = transactions.missing().keys().map(|&parent| format!("{}.jsonl", transactions.id(parent)));
    names.extend(missing);
    let vanished: HashSet<EventId> = vanished_events(&epoch.index).into_iter().collect();
    if !vanished.is_empty() {
        names.extend(holding(git, epoch, &vanished)?);
    }
    Ok(names)
}

/// The files of git's whole history, and not of `events/`, that hold one of these events.
fn holding(git: &Program, epoch: &Epoch, vanished: &HashSet<EventId>) -> Result<Vec<String>, GitError> {
    let known = git.last_said(|name| name.ends_with(".jsonl") && is_gone(epoch, name))?;
    let (names, oids): (Vec<String>, Vec<Oid>) = known.into_iter().map(|(name, last)| (name, last.blob)).unzip();
    let mut holding = Vec::new();
    git.read_blobs(&oids, |n, blob| {
        let events = blob.and_then(|bytes| load::read(&bytes).ok()).map(|good| good.events).unwrap_or_default();
        if events.iter().any(|event| vanished.contains(&event.event_id)) {
            holding.extend(names.get(n).cloned());
        }
        Ok::<(), GitError>(())
    })?;
    Ok(holding)
}

fn contents(git: &Program, restored: &[Restored], blobs: &[Oid]) -> Result<Files, GitError> {
    let mut files = Vec::with_capacity(restored.len());
    git.read_blobs(blobs, |n, bytes| {
        if let Some(Restored { name, commit }) = restored.get(n) {
            let lacking =
                || GitError::Failed { command: "cat-file".to_owned(), message: format!("{}:./events/{name} is not here", commit.oid) };
            files.push((name.clone(), bytes.ok_or_else(lacking)?));
        }
        Ok::<(), GitError>(())
    })?;
    Ok(files)
}
