//! What only git or a longer look can tell; done beside the keeper, never in a commit's way.

mod cures;
mod status;

pub(super) use status::{ignored, restored_line_ends};

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use crate::braid::attention::Attention;
use crate::braid::git::{GitError, GitStamp, Oid, Program};
use crate::braid::keeper::load;
use crate::braid::keeper::memory::{FirstSaid, good_digest};
use crate::braid::keeper::vanished::{InGit, LookedInto, Sought};
use crate::braid::keeper::{Keeper, Request};
use crate::braid::left_out::left_out;
use crate::braid::parents::ParentsInGit;
use crate::braid::survey::cures::{cures, wrong};
use crate::braid::survey::status::{ask_git, unanswered};
use crate::braid::{Braid, Failure, Shared, travel};
use crate::epoch::Epoch;
use crate::format::text::counted_as;
use crate::index::Index;
use crate::model::{Finding, FindingKind, Origin, ReplicaId, Severity, TransactionId};
use crate::store::{Mode, Store};

/// How long the next survey waits at least where git's files are as they were.
const PAUSE: Duration = Duration::from_secs(1);
/// Such a survey takes at most one part in so many of the time.
const SHARE: u32 = 20;
/// The same where git has done something, which may have cured what is told: a person waits for that.
const SHARE_OF_GIT: u32 = 4;
/// How often it is looked at first whether git has done something or the store was closed.
const WAKE_UP: Duration = Duration::from_millis(250);
/// How long git may look through its history for files that were changed.
const HISTORY_PATIENCE: Duration = Duration::from_secs(60);

/// For how many tips of forks git is asked who brought them.
const ORIGINS_ASKED_MAX: usize = 500;
/// How long git may look for that in the background.
const ORIGINS_PATIENCE: Duration = Duration::from_secs(20);

/// What a survey found.
#[derive(Default)]
pub(super) struct Surveyed {
    findings: Vec<Finding>,
    /// Of tips that git has told more about by now.
    origins: BTreeMap<TransactionId, Origin>,
    parents: ParentsInGit,
    vanished: InGit,
    /// Commands that bring files in order, by file.
    cures: BTreeMap<String, String>,
    /// What files said first that the history has in several versions.
    first_said: Arc<BTreeMap<String, FirstSaid>>,
    /// Files that were changed and have the bytes again with which git first got them.
    originals: Vec<String>,
    /// Whether git is there and gave no answer.
    is_unanswered: bool,
}

impl Surveyed {
    fn note_unanswered(&mut self, error: &GitError) {
        tracing::debug!(%error, "git was asked in vain");
        if !std::mem::replace(&mut self.is_unanswered, true) {
            self.findings.push(unanswered(&error.reason(), error.hint()));
        }
    }
}

impl Braid {
    /// Looks for what only git or a longer look can tell, and publishes it: files that are not committed to git or differ
    /// from it, missing parents that git has, replica ids with two histories, what was left in `tmp/`, what git must be told, damaged states.
    ///
    /// # Errors
    /// If the store was closed. Where git gives no answer its part is left out.
    pub fn survey(&self) -> Result<Arc<Epoch>, Failure> {
        let epoch = self.wait_ready()?;
        let mut asked = Asked::default();
        look_through_history(&self.inner.store, &mut asked);
        let surveyed = survey(&self.inner.store, &epoch, &mut asked);
        let taken_over = self.at_keeper(move |keeper, shared| {
            keeper.inspect_snapshots(true);
            keeper.take_over(surveyed, shared);
        });
        taken_over.ok_or_else(Failure::closed)?;
        Ok(self.epoch())
    }

    /// Asks git who brought the tips of open forks to it, and publishes that; asks nothing where nothing is forked.
    ///
    /// # Errors
    /// If the store was closed. Where git gives no answer within `patience` the branches keep their plain names.
    pub fn find_origins(&self, patience: Duration) -> Result<Arc<Epoch>, Failure> {
        let epoch = self.wait_ready()?;
        let unknown = unknown_tips(&epoch);
        if unknown.is_empty() || self.inner.store.git().ok().flatten().is_none() {
            return Ok(epoch);
        }
        let origins = Program::new(self.inner.store.dir()).origins(&unknown, patience).unwrap_or_default();
        let learned = self.at_keeper(|keeper, shared| {
            keeper.learn_origins(origins);
            keeper.publish_if_dirty(shared);
        });
        learned.ok_or_else(Failure::closed)?;
        Ok(self.epoch())
    }
}

/// What git was asked before.
#[derive(Default)]
struct Asked {
    /// Tips of which git told nothing, and how git's files were then.
    in_vain: Option<(BTreeSet<TransactionId>, GitStamp)>,
    /// The commits up to which the history was looked through for files that were changed.
    history_seen: BTreeSet<Oid>,
    /// What such files said first.
    first_said: Arc<BTreeMap<String, FirstSaid>>,
    /// What git has of what had vanished, and how git's files and branches were then.
    vanished: Option<(Sought, GitStamp, String, InGit)>,
    looked_into: LookedInto,
}

/// The tips of open forks of which it is not known who brought them to git.
fn unknown_tips(epoch: &Epoch) -> BTreeSet<TransactionId> {
    tips(&epoch.index).into_iter().filter(|id| !epoch.origins.contains_key(id)).take(ORIGINS_ASKED_MAX).collect()
}

impl Keeper {
    /// Takes a survey over and publishes what is new in it.
    fn take_over(&mut self, surveyed: Surveyed, shared: &Shared) {
        self.look_at_git_lock();
        self.learn_edits(&surveyed.first_said);
        for name in &surveyed.originals {
            self.remember_edit(name, None);
        }
        if self.memory.surveyed != surveyed.findings || self.memory.parents != surveyed.parents {
            self.memory.surveyed = surveyed.findings;
            self.memory.parents = surveyed.parents;
            self.mark_dirty();
        }
        if self.memory.cures != surveyed.cures {
            self.memory.cures = surveyed.cures;
            self.mark_dirty();
        }
        self.learn_vanished(surveyed.vanished);
        self.learn_origins(surveyed.origins);
        self.publish_if_dirty(shared);
    }

    /// Remembers who brought tips of open forks to git. What is known already stays: a name must not change twice.
    fn learn_origins(&mut self, told: BTreeMap<TransactionId, Origin>) {
        let tips = tips(&self.index);
        let mut origins: BTreeMap<TransactionId, Origin> = told.into_iter().filter(|(id, _)| tips.contains(id)).collect();
        let known = self.memory.origins.iter().filter(|(id, _)| tips.contains(id));
        origins.extend(known.map(|(id, origin)| (*id, origin.clone())));
        if *self.memory.origins != origins {
            self.memory.origins = Arc::new(origins);
            self.mark_dirty();
        }
    }
}

/// The tips of all open forks.
fn tips(index: &Index) -> BTreeSet<TransactionId> {
    let conflicts = index.forks().conflicts();
    let branches = conflicts.iter().flat_map(|conflict| &conflict.forks).flat_map(|fork| &fork.branches);
    branches.map(|branch| index.transactions.id(branch.tip)).collect()
}

/// Surveys a followed store from time to time, after it has changed, until it is closed.
pub(super) fn follow(shared: Weak<Shared>, store: Weak<Store>, keeper: Sender<Request>) {
    let mut surveyed: Option<(u64, GitStamp)> = None;
    let mut asked = Asked::default();
    let (mut attention, mut seen) = (Attention::new(WAKE_UP), None);
    let (mut next, mut next_of_git) = (Instant::now(), Instant::now());
    while let (Some(shared), Some(store)) = (shared.upgrade(), store.upgrade()) {
        let epoch = shared.epoch();
        drop(shared);
        // What git does meanwhile is looked at the next time.
        let now = (epoch.number, GitStamp::of(&store, asked.vanished.is_some()));
        if seen.as_ref() != Some(&now) {
            attention.noticed();
            seen = Some(now.clone());
        }
        let due = if surveyed.as_ref().is_some_and(|(_, stamp)| *stamp != now.1) { next_of_git } else { next };
        if epoch.progress.ready && Instant::now() >= due && surveyed.as_ref() != Some(&now) {
            let start = Instant::now();
            let found = survey(&store, &epoch, &mut asked);
            let is_unanswered = found.is_unanswered;
            let job = Request::Job(Box::new(move |keeper: &mut Keeper, shared: &Shared| keeper.take_over(found, shared)));
            if keeper.send(job).is_err() {
                return;
            }
            // A long history keeps nothing waiting that was found without it; cures of what it tells come with the next survey.
            if look_through_history(&store, &mut asked) {
                let first_said = Arc::clone(&asked.first_said);
                let job = Request::Job(Box::new(move |keeper: &mut Keeper, shared: &Shared| {
                    keeper.learn_edits(&first_said);
                    keeper.publish_if_dirty(shared);
                }));
                if keeper.send(job).is_err() {
                    return;
                }
            }
            // What it publishes itself is one epoch more. Why git gave no answer may lie where nothing tells that it has changed.
            surveyed = (!is_unanswered).then_some(now);
            let (end, took) = (Instant::now(), start.elapsed());
            (next, next_of_git) = (end + PAUSE.max(took * SHARE), end + took * SHARE_OF_GIT);
        }
        drop((epoch, store));
        attention.rest();
    }
}

fn survey(store: &Store, epoch: &Epoch, asked: &mut Asked) -> Surveyed {
    let mut surveyed = Surveyed::default();
    surveyed.findings.extend(stale_temporaries(store));
    if store.mode() == Mode::ReadOnly {
        // Who may write has tried it.
        surveyed.findings.extend(store.owner_hindered());
    }
    surveyed.findings.extend(collisions(epoch));
    surveyed.findings.extend(left_out(store, &epoch.index).ok().flatten());
    let git = store.git().ok().flatten().map(|_| Program::new(store.dir()).patient(travel::PATIENCE));
    surveyed.first_said = Arc::clone(&asked.first_said);
    if let Some(git) = git {
        if let Err(error) = ask_git(&git, epoch, &mut surveyed) {
            surveyed.note_unanswered(&error);
        }
        match ask_vanished(store, &git, epoch, asked) {
            Ok(in_git) => surveyed.vanished = in_git,
            Err(error) => surveyed.note_unanswered(&error),
        }
        surveyed.origins = ask_origins(store, &git, epoch, asked);
        return surveyed;
    }
    surveyed.vanished = InGit::nothing();
    surveyed.cures = cures(store, None, &wrong(epoch, &surveyed.first_said));
    if let Ok(Some(path)) = store.broken_git() {
        surveyed.is_unanswered = true;
        let reason = format!("\"{}\" is no repository any more: it has no \"HEAD\", or names a directory that is gone", path.display());
        surveyed
            .findings
            .push(unanswered(&reason, "git worktree repair   # or put back what is missing, from a clone or a backup".to_owned()));
    } else {
        surveyed.parents = ParentsInGit::NoRepository;
    }
    surveyed
}

/// Looks through what the history has got since the last time for files that were changed; tells whether there are more of them now.
fn look_through_history(store: &Store, asked: &mut Asked) -> bool {
    if store.git().ok().flatten().is_none() {
        return false;
    }
    let known = asked.first_said.len();
    if let Err(error) = read_first_said(&Program::new(store.dir()).without_fetching(), asked) {
        tracing::debug!(%error, "git's history was not looked through for files that were changed");
    }
    asked.first_said.len() > known
}

/// Reads what files that the history has in several versions said first.
fn read_first_said(git: &Program, asked: &mut Asked) -> Result<(), GitError> {
    let tips = git.tips()?;
    if tips == asked.history_seen {
        return Ok(());
    }
    let mut versions = git.rewritten(&tips, &asked.history_seen, HISTORY_PATIENCE)?;
    versions.retain(|name, _| !asked.first_said.contains_key(name));
    let of_versions: Vec<(&str, Oid)> =
        versions.iter().flat_map(|(name, oids)| oids.iter().map(|oid| (name.as_str(), oid.clone()))).collect();
    let oids: Vec<Oid> = of_versions.iter().map(|(_, oid)| oid.clone()).collect();
    let first_said = Arc::make_mut(&mut asked.first_said);
    git.read_blobs(&oids, |n, bytes| {
        if let (Some((name, _)), Some(bytes)) = (of_versions.get(n), bytes)
            && !first_said.contains_key(*name)
            && let Some(good) = load::read(&bytes).ok().filter(|good| good.header.transaction_id.is_file_name(name))
        {
            first_said.insert((*name).to_owned(), good_digest(&good));
        }
        Ok::<(), GitError>(())
    })?;
    asked.history_seen = tips;
    Ok(())
}

/// Asks git nothing where it was asked of the same before, and has done nothing since.
fn ask_vanished(store: &Store, git: &Program, epoch: &Epoch, asked: &mut Asked) -> Result<InGit, GitError> {
    let vanished = Sought::of(epoch);
    let before = asked.vanished.take();
    if vanished.is_empty() {
        asked.looked_into = LookedInto::default();
        return Ok(InGit::default());
    }
    let (stamp, branches) = (GitStamp::of(store, false), git.branches()?);
    let in_git = match before {
        Some((of, at, had, in_git)) if (&of, &at, &had) == (&vanished, &stamp, &branches) => in_git,
        // No answer is not remembered, so it is asked again.
        _ => InGit::ask(git, epoch, &vanished, &mut asked.looked_into)?,
    };
    asked.vanished = Some((vanished, stamp, branches, in_git.clone()));
    Ok(in_git)
}

fn ask_origins(store: &Store, git: &Program, epoch: &Epoch, asked: &mut Asked) -> BTreeMap<TransactionId, Origin> {
    let now = (unknown_tips(epoch), GitStamp::of(store, false));
    if now.0.is_empty() || asked.in_vain.as_ref() == Some(&now) {
        return BTreeMap::new();
    }
    match git.origins(&now.0, ORIGINS_PATIENCE) {
        Ok(origins) if origins.is_empty() => {
            asked.in_vain = Some(now);
            origins
        }
        Ok(origins) => origins,
        // It has not told that it has nothing: it is asked again.
        Err(error) => {
            tracing::debug!(%error, "git does not tell who brought the tips of forks");
            BTreeMap::new()
        }
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
        message: format!(
            "{} left by a killed program, the oldest {} h ago",
            counted_as(stale.len(), "temporary file was", "temporary files were"),
            oldest.as_secs() / 3600
        ),
        hint: "braidfs doctor --fix".to_owned(),
    })
}

/// Replica ids under which two working copies wrote: two of its transactions of which neither descends from the other.
///
/// Where the two histories have met in a later transaction there is nothing to cure any more.
fn collisions(epoch: &Epoch) -> Vec<Finding> {
    let transactions = &epoch.index.transactions;
    let mut last: HashMap<ReplicaId, u32> = HashMap::new();
    let mut found: HashMap<ReplicaId, (u32, u32)> = HashMap::new();
    // Missing parents may be what connects two of its transactions, or that in which they have met, whoever names them: then nothing is certain.
    if !transactions.missing().is_empty() {
        return Vec::new();
    }
    let heads: Vec<u32> = transactions.heads().into_iter().filter_map(|id| transactions.find_valid(id)).collect();
    let holds = |head: u32, tx: u32| head == tx || epoch.index.is_ancestor(tx, head);
    for tx in epoch.index.order.iter_from(0) {
        let replica = transactions.replica(tx);
        if let Some(before) = last.insert(replica, tx)
            && !transactions.parents(tx).any(|parent| parent == before)
            && !epoch.index.is_ancestor(before, tx)
            && !heads.iter().any(|&head| holds(head, before) && holds(head, tx))
        {
            found.entry(replica).or_insert((before, tx));
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
            hint: format!(
                "rm -f .eventcore/replica_id   # in one of the working copies whose id is {replica}: its next write makes a new one, and all \
                 is well once a transaction descends from both; forks are told all the same"
            ),
        })
        .collect();
    findings.sort();
    findings
}
