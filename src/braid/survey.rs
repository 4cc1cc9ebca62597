//! What only git or a longer look can tell; done beside the keeper, never in a commit's way.

use std::collections::HashMap;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use crate::braid::findings::quoted;
use crate::braid::git::{Commit, GitError, Program, State};
use crate::braid::keeper::Request;
use crate::braid::memory::edited;
use crate::braid::{Braid, Failure, Shared};
use crate::epoch::Epoch;
use crate::model::{Finding, FindingKind, ReplicaId, Severity, TransactionId};
use crate::store::Store;

/// How long the next survey waits at least.
const PAUSE: Duration = Duration::from_secs(5);
/// A survey takes at most one part in so many of the time.
const SHARE: u32 = 20;
/// How often it is looked whether the store was closed.
const WAKE_UP: Duration = Duration::from_millis(250);
/// For how many missing parents git is asked: each may take a walk through its history.
const PARENTS_ASKED_MAX: usize = 20;
/// For how many changed files git is asked.
const FILES_ASKED_MAX: usize = 20;

/// What a survey found.
#[derive(Default)]
pub(super) struct Surveyed {
    findings: Vec<Finding>,
    parents: HashMap<TransactionId, Commit>,
    /// Files that were changed and have the bytes again with which git first got them.
    originals: Vec<String>,
}

impl Braid {
    /// Looks for what only git or a longer look can tell, and publishes it: files that are not committed to git or differ
    /// from it, missing parents that git has, replica ids with two histories, what was left in `tmp/`, what git must be told.
    ///
    /// # Errors
    /// If the store was closed. Where git gives no answer its part is left out.
    pub fn survey(&self) -> Result<Arc<Epoch>, Failure> {
        let epoch = self.wait_ready()?;
        let surveyed = survey(&self.inner.store, &epoch);
        let (reply, done) = channel();
        let closed = || Failure { message: "the store was closed".to_owned(), hint: String::new() };
        self.inner.requests.send(job(surveyed, Some(reply))).map_err(|_| closed())?;
        done.recv().map_err(|_| closed())?;
        Ok(self.epoch())
    }
}

/// Takes a survey over and publishes what is new in it.
fn job(surveyed: Surveyed, reply: Option<Sender<()>>) -> Request {
    Request::Job(Box::new(move |keeper, shared| {
        keeper.look_at_git_lock();
        for name in &surveyed.originals {
            if keeper.memory.forget_file(name) {
                keeper.mark_dirty();
            }
        }
        if keeper.memory.surveyed != surveyed.findings || keeper.memory.parents != surveyed.parents {
            keeper.memory.surveyed = surveyed.findings;
            keeper.memory.parents = surveyed.parents;
            keeper.mark_dirty();
        }
        if keeper.is_dirty() {
            keeper.publish(shared);
        }
        if let Some(reply) = reply {
            let _ = reply.send(());
        }
    }))
}

/// Surveys a followed store from time to time, after it has changed, until it is closed.
pub(super) fn follow(shared: Weak<Shared>, store: Weak<Store>, keeper: Sender<Request>) {
    let mut surveyed_epoch = None;
    let mut next = Instant::now();
    while let (Some(shared), Some(store)) = (shared.upgrade(), store.upgrade()) {
        let epoch = shared.epoch();
        drop(shared);
        if epoch.progress.ready && Instant::now() >= next && surveyed_epoch != Some(epoch.number) {
            let start = Instant::now();
            let surveyed = survey(&store, &epoch);
            if keeper.send(job(surveyed, None)).is_err() {
                return;
            }
            // What it publishes itself is one epoch more.
            surveyed_epoch = Some(epoch.number);
            next = Instant::now() + PAUSE.max(start.elapsed() * SHARE);
        }
        drop((epoch, store));
        std::thread::sleep(WAKE_UP);
    }
}

fn survey(store: &Store, epoch: &Epoch) -> Surveyed {
    let mut surveyed = Surveyed::default();
    surveyed.findings.extend(stale_temporaries(store));
    surveyed.findings.extend(collisions(epoch));
    if store.git().ok().flatten().is_some() {
        let git = Program::new(store.dir());
        if let Err(error) = ask_git(&git, epoch, &mut surveyed) {
            tracing::debug!(%error, "git was asked in vain");
        }
    }
    surveyed
}

fn ask_git(git: &Program, epoch: &Epoch, surveyed: &mut Surveyed) -> Result<(), GitError> {
    let changes = git.changes()?;
    let in_state =
        |states: &[State]| changes.iter().filter(|change| states.contains(&change.state)).map(|change| change.name.as_str()).collect();
    surveyed.findings.extend(uncommitted(in_state(&[State::Untracked, State::Added])));
    let changed: Vec<&str> = in_state(&[State::Modified, State::Unmerged]);
    let remembered = epoch.findings.iter().filter(|finding| finding.kind == FindingKind::Edited);
    for name in remembered.filter_map(|finding| finding.file.as_deref()).take(FILES_ASKED_MAX) {
        if git.is_original(name)? {
            surveyed.originals.push(name.to_owned());
        }
    }
    // What was healed is told as that.
    let is_healed =
        |name: &&str| epoch.findings.iter().any(|finding| finding.kind == FindingKind::Healed && finding.file.as_deref() == Some(*name));
    surveyed.findings.extend(changed.into_iter().filter(|name| !is_healed(name)).map(edited));
    let deleted: Vec<&str> = in_state(&[State::Deleted]);
    surveyed.findings.extend(deleted.into_iter().map(deleted_finding));
    let transactions = &epoch.index.transactions;
    for &parent in transactions.missing().keys().take(PARENTS_ASKED_MAX) {
        let id = transactions.id(parent);
        if let Some(commit) = git.last_commit_with(&format!("{id}.jsonl"))? {
            surveyed.parents.insert(id, commit);
        }
    }
    surveyed.findings.extend(git.lacks()?.sentences().map(|lack| Finding {
        kind: FindingKind::GitSetup,
        severity: Severity::Warning,
        file: None,
        transaction_id: None,
        message: lack.to_owned(),
        hint: "braidfs git setup".to_owned(),
    }));
    Ok(())
}

fn uncommitted(names: Vec<&str>) -> Option<Finding> {
    let first = names.first()?;
    Some(Finding {
        kind: FindingKind::Uncommitted,
        severity: Severity::Info,
        file: (names.len() == 1).then(|| (*first).to_owned()),
        transaction_id: None,
        message: format!("{} transaction files are not committed to git yet", names.len()),
        hint: "git add events && git commit -m \"add events\" -- events".to_owned(),
    })
}

fn deleted_finding(name: &str) -> Finding {
    Finding {
        kind: FindingKind::Vanished,
        severity: Severity::Warning,
        file: Some(name.to_owned()),
        transaction_id: name.strip_suffix(".jsonl").and_then(|id| id.parse().ok()),
        message: format!("file \"{name}\" is committed to git and gone from events/"),
        hint: format!("braidfs restore {}", quoted(name)),
    }
}

fn stale_temporaries(store: &Store) -> Option<Finding> {
    let stale = store.stale_temporaries(SystemTime::now()).ok()?;
    let oldest = stale.iter().map(|stale| stale.age).max()?;
    Some(Finding {
        kind: FindingKind::StaleTemporary,
        severity: Severity::Info,
        file: None,
        transaction_id: None,
        message: format!("{} files in tmp/ were left by a killed program, the oldest {} h ago", stale.len(), oldest.as_secs() / 3600),
        hint: "braidfs doctor --fix".to_owned(),
    })
}

/// Replica ids whose transactions are no chain: two working copies wrote under one id.
fn collisions(epoch: &Epoch) -> Vec<Finding> {
    let transactions = &epoch.index.transactions;
    let mut last: HashMap<ReplicaId, u32> = HashMap::new();
    let mut found: HashMap<ReplicaId, (u32, u32)> = HashMap::new();
    // Missing parents may be what connects two of its transactions: then nothing is certain.
    if !transactions.missing().is_empty() {
        return Vec::new();
    }
    for tx in epoch.index.order.iter_from(0) {
        let replica = transactions.replica(tx);
        if let Some(before) = last.insert(replica, tx)
            && !found.contains_key(&replica)
            && !transactions.parents(tx).any(|parent| parent == before)
            && !epoch.index.is_ancestor(before, tx)
        {
            found.insert(replica, (before, tx));
        }
    }
    let mut findings: Vec<Finding> = found
        .into_iter()
        .map(|(replica, (a, b))| Finding {
            kind: FindingKind::IdentityCollision,
            severity: Severity::Warning,
            file: Some(transactions.file_name(b)),
            transaction_id: Some(transactions.id(b)),
            message: format!(
                "replica id \"{replica}\" wrote \"{}\" and \"{}\", of which neither descends from the other: two working copies share it",
                transactions.id(a),
                transactions.id(b)
            ),
            hint: "rm -r .eventcore   # in the copy: its next write makes an id of its own; forks are told all the same".to_owned(),
        })
        .collect();
    findings.sort();
    findings
}
