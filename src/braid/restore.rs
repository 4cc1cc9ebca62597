//! Brings back from git what was in `events/` and is gone.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::braid::git::{Commit, GitError, Program, State};
use crate::braid::keeper::commit::LOCK_WAIT;
use crate::braid::keeper::eventless::file_of_transaction;
use crate::braid::keeper::load::Good;
use crate::braid::keeper::vanished::{is_gone, vanished_events};
use crate::braid::whole::{Whole, read_whole};
use crate::braid::{Braid, Failure};
use crate::epoch::{Epoch, Quarantined};
use crate::model::EventId;
use crate::store::LockError;

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
    /// Names of which git has only bytes that do not count.
    pub unsound: Vec<String>,
    /// The filter through which git gives files, where it has unsound ones: it may be that it fails here.
    pub filter: Option<String>,
    /// Names that `git stash pop` brings back, and that were not asked for by name: git pops no stash whose files are here.
    pub stashed: BTreeSet<String>,
    /// What is here and counts as gone, since it is refused.
    pub refused: Vec<Quarantined>,
    /// How many events are gone of which no file is known, neither here nor to git.
    pub unnamed: usize,
}

impl Braid {
    /// Brings files back into `events/` from the newest commit, of any branch, that holds them whole, or else from what no branch has any more.
    ///
    /// Without names: everything that this replica has seen and has no more, what git's last commit has and `events/` has
    /// not, and parents that are missing, but for what the newest stash took. Parents that are missing of what comes back come back
    /// with it. A file that is there is left alone.
    ///
    /// # Errors
    /// If git gives no answer, or the store cannot be written.
    pub fn restore(&self, names: &[String]) -> Result<Restoration, Failure> {
        let epoch = self.wait_ready()?;
        let git = Program::new(self.inner.store.dir());
        let named = || (names.iter().map(|name| file_name(name)).collect(), 0);
        let (wanted, unnamed) = if names.is_empty() { gone(&git, &epoch)? } else { named() };
        let (missing, here): (BTreeSet<String>, BTreeSet<String>) = wanted.into_iter().partition(|name| is_gone(&epoch, name));
        let stashed = if names.is_empty() && !missing.is_empty() { git.stashed()? } else { BTreeSet::new() };
        let (mut restoration, files) = find(&git, &epoch, missing, &stashed)?;
        restoration.refused = epoch.quarantined.iter().filter(|refused| here.contains(&refused.file)).cloned().collect();
        restoration.unnamed = unnamed;
        let store = &self.inner.store;
        let lock = store.lock(LOCK_WAIT).map_err(|error| failure_of_lock(&error))?;
        store.publish(&lock, &files).map_err(|error| Failure::new(error.to_string(), ""))?;
        drop(lock);
        self.refresh()?;
        Ok(restoration)
    }
}

/// Finds files in git, and the parents that they name and that are missing too, and so on; with what is to be written. What is stashed
/// is left where it is.
fn find(git: &Program, epoch: &Epoch, missing: BTreeSet<String>, stashed: &BTreeSet<String>) -> Result<(Restoration, Files), GitError> {
    let mut known = git.last_said_by(&missing)?;
    let mut has_asked_for_all = false;
    let (mut restoration, mut files, mut asked) = (Restoration::default(), Vec::new(), missing.clone());
    let mut next = missing;
    while !next.is_empty() {
        let mut round = BTreeMap::new();
        for name in next {
            if stashed.contains(&name) {
                restoration.stashed.insert(name);
            } else if let Some(said) = known.remove(&name) {
                round.insert(name, said);
            } else {
                restoration.unknown.push(name);
            }
        }
        next = BTreeSet::new();
        let unsound = read_whole(git, round, |Whole { name, commit, bytes, good }| {
            next.extend(missing_parents(epoch, &good).filter(|name| asked.insert(name.clone())));
            restoration.restored.push(Restored { name: name.clone(), commit });
            files.push((name, bytes));
        })?;
        restoration.unsound.extend(unsound);
        // A chain is as long as it likes, and the history is walked through once for all of it.
        if !next.is_empty() && !std::mem::replace(&mut has_asked_for_all, true) {
            known = git.last_said(|name| name.ends_with(".jsonl") && is_gone(epoch, name))?;
        }
    }
    if !restoration.unsound.is_empty() {
        restoration.filter = git.filter()?;
    }
    restoration.restored.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((restoration, files))
}

/// The files of the parents that a transaction's file names and that are not here.
fn missing_parents<'a>(epoch: &'a Epoch, good: &'a Good) -> impl Iterator<Item = String> + 'a {
    let missing = good.header.parents.iter().filter(|&&parent| epoch.index.transactions.find_valid(parent).is_none());
    missing.map(|parent| format!("{parent}.jsonl")).filter(|name| is_gone(epoch, name))
}

pub(super) fn failure_of_lock(error: &LockError) -> Failure {
    match error {
        LockError::Busy { .. } => Failure::busy(error.to_string(), "try again when it has ended"),
        LockError::ReadOnly(_) => Failure::new(error.to_string(), ""),
        LockError::Disk(error) => error.into(),
    }
}

impl From<GitError> for Failure {
    fn from(error: GitError) -> Self {
        Self::new(error.to_string(), error.hint())
    }
}

/// The name in `events/` that a person means by a transaction's id, a path or a name.
pub(super) fn file_name(text: &str) -> String {
    let name = text.rsplit('/').next().unwrap_or(text);
    if name.ends_with(".jsonl") { name.to_owned() } else { format!("{name}.jsonl") }
}

/// The names of the files that are gone or refused, and how many events are gone of which no file is known.
fn gone(git: &Program, epoch: &Epoch) -> Result<(BTreeSet<String>, usize), GitError> {
    let deleted = git.changes()?.into_iter().filter(|change| change.state == State::Deleted);
    let mut names: BTreeSet<String> = deleted.map(|change| change.name).collect();
    let (transactions, events) = (&epoch.index.transactions, &epoch.index.events);
    let missing = transactions.missing().keys().map(|&parent| format!("{}.jsonl", transactions.id(parent)));
    names.extend(missing);
    // Where it cannot be read what was forgotten, that is looked for too.
    let forgotten = epoch.store.forgotten().unwrap_or_default();
    let mut vanished: HashSet<EventId> = vanished_events(&epoch.index, &forgotten).collect();
    if !vanished.is_empty() {
        names.extend(holding(git, epoch, &mut vanished)?);
    }
    names.extend(epoch.eventless_gone.iter().map(|&id| file_of_transaction(&epoch.index, id)));
    let mut unnamed = 0;
    for id in vanished {
        match events.find(id, &epoch.index.pack, |_| true) {
            Some(event) => drop(names.insert(transactions.file_name(events.transaction(event)))),
            None => unnamed += 1,
        }
    }
    Ok((names, unnamed))
}

/// The files of git's whole history that are gone or refused and hold one of these events; what they hold is taken from `vanished`.
pub(super) fn holding(git: &Program, epoch: &Epoch, vanished: &mut HashSet<EventId>) -> Result<Vec<String>, GitError> {
    let refused: HashSet<&str> = epoch.quarantined.iter().map(|refused| refused.file.as_str()).collect();
    let known = git.last_said(|name| name.ends_with(".jsonl") && (refused.contains(name) || is_gone(epoch, name)))?;
    let (mut holding, mut held) = (Vec::new(), HashSet::new());
    read_whole(git, known, |Whole { name, good, .. }| {
        let of_file: Vec<EventId> = good.events.iter().map(|event| event.event_id).filter(|id| vanished.contains(id)).collect();
        if !of_file.is_empty() {
            holding.push(name);
        }
        held.extend(of_file);
    })?;
    vanished.retain(|id| !held.contains(id));
    Ok(holding)
}
