//! What is worth a report beyond the files as they lie there: what was here before, what git does, what the machine lacks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use sha2::{Digest, Sha256};

use crate::braid::keeper::Keeper;
use crate::braid::keeper::hold::{GIT_LOCK_AGE, age};
use crate::braid::keeper::load::Good;
use crate::braid::parents::ParentsInGit;
use crate::disk::{Stat, quoted_name};
use crate::format::text::quoted_path;
use crate::index::Index;
use crate::index::saved::Record;
use crate::model::{Declined, Finding, FindingKind, Origin, Severity, TransactionId};
use crate::store::{LockError, Mode, Store};
use crate::view::ReportContext;

/// How soon a disk is tried again on which something failed that may pass.
const PROBE_AGAIN: Duration = Duration::from_secs(5);

/// The digest of what a file said when it was first taken in, or in the oldest commit that has it whole.
pub(in crate::braid) type FirstSaid = [u8; 32];

/// What is remembered.
#[derive(Default)]
pub(in crate::braid) struct Memory {
    /// What the file of a name said first, of those that were changed since; also of files that are not here just now.
    pub(in crate::braid) edited: BTreeMap<String, FirstSaid>,
    /// What the store's disk lacks.
    pub(super) lacks: Vec<Finding>,
    /// When the disk is to be tried; none: what is known of it stays.
    pub(super) try_disk: Option<Instant>,
    git_lock: Vec<Finding>,
    /// Why the files cannot be looked at, as long as that lasts.
    pub(super) out_of_reach: Option<Finding>,
    /// Drafts that nobody has handed in.
    pub(in crate::braid) drafts: Vec<Finding>,
    /// What the last survey found.
    pub(in crate::braid) surveyed: Vec<Finding>,
    /// What git has of missing parents.
    pub(in crate::braid) parents: ParentsInGit,
    /// What brings a file in order again that is refused or was changed, as far as git tells.
    pub(in crate::braid) cures: BTreeMap<String, String>,
    /// Conflicts that were declined here, by id, and the facts of the file that says so.
    pub(in crate::braid) declined: Arc<BTreeMap<String, Declined>>,
    pub(in crate::braid) declined_seen: Option<Option<Stat>>,
    /// Who brought the tips of open forks to git; what was once told stays while the fork is open.
    pub(in crate::braid) origins: Arc<BTreeMap<TransactionId, Origin>>,
}

impl Memory {
    /// What reports of an index's conflicts are made of.
    pub(super) fn context<'a>(&'a self, index: &'a Index) -> ReportContext<'a> {
        ReportContext { index, origins: &self.origins, declined: &self.declined }
    }

    /// Everything remembered that is worth a report now; the files that were changed are not among it.
    pub(in crate::braid) fn findings(&self) -> impl Iterator<Item = Finding> + '_ {
        self.out_of_reach.iter().chain(&self.lacks).chain(&self.git_lock).chain(&self.drafts).chain(&self.surveyed).cloned()
    }
}

/// A file that says something else than when it was taken in.
pub(in crate::braid) fn edited(name: &str) -> Finding {
    Finding {
        kind: FindingKind::Edited,
        severity: Severity::Warning,
        file: Some(name.to_owned()),
        transaction_id: TransactionId::of_file_name(name),
        message: format!("file \"{name}\" was changed since it was taken in; transactions never change"),
        hint: format!("git checkout HEAD -- events/{}   # if git does not know it: braidfs doctor", quoted_name(name)),
    }
}

impl Keeper {
    /// Notes that the file of a transaction says something else than what is held of it, or again what it said first.
    pub(super) fn note_edit(&mut self, name: &str, held: Option<u32>, now: Option<&Good>) {
        let known = self.memory.edited.get(name).copied();
        let Some(first) = known.or_else(|| held.map(|number| held_digest(&self.index, number))) else { return };
        let is_first = now.is_some_and(|good| good_digest(good) == first);
        self.remember_edit(name, (!is_first).then_some(first));
    }

    /// Compares a file that comes with what its transaction's file said before it went.
    pub(super) fn note_edit_of_returned(&mut self, name: &str, good: &Good) {
        let transactions = &self.index.transactions;
        let held = transactions.find(good.header.transaction_id);
        let held = held.filter(|&number| transactions.header_sum(number) != 0 && transactions.has_name(number, name));
        self.note_edit(name, held, Some(good));
    }

    /// Remembers what files said first by git's history, of those that say something else now.
    pub(in crate::braid) fn learn_edits(&mut self, first_said: &BTreeMap<String, FirstSaid>) {
        for (name, first) in changed_since(&self.index, first_said) {
            if !self.memory.edited.contains_key(&name) {
                self.remember_edit(&name, Some(first));
            }
        }
    }

    /// Remembers what a file said first that was changed since; none: it was not, or says that again.
    pub(in crate::braid) fn remember_edit(&mut self, name: &str, first: Option<FirstSaid>) {
        let before = match first {
            Some(first) => self.memory.edited.insert(name.to_owned(), first),
            None => self.memory.edited.remove(name),
        };
        if before != first {
            self.note(&Record::Edited(name.to_owned(), first));
            self.mark_dirty();
        }
    }

    /// The files that are here and say something else than they did first.
    pub(super) fn edited_findings(&self) -> impl Iterator<Item = Finding> + '_ {
        self.memory.edited.keys().filter(|name| self.is_known(name)).map(|name| edited(name))
    }

    /// Looks whether git's lock was left behind.
    pub(in crate::braid) fn look_at_git_lock(&mut self) {
        let finding = self.hold.lock_path().and_then(|path| git_lock(&self.store, &path)).into_iter().collect();
        if self.memory.git_lock != finding {
            self.memory.git_lock = finding;
            self.mark_dirty();
        }
    }

    /// Notes that something could not be written, or can be again: the disk is tried at the next tick.
    pub(super) fn suspect_disk(&mut self) {
        self.memory.try_disk = Some(Instant::now());
    }

    /// Tries what the store's disk offers if it is time for that. It is tried again later where another program has the lock, and as long
    /// as something is to be told that may pass.
    pub(super) fn probe_disk(&mut self) {
        if self.store.mode() == Mode::ReadOnly || self.memory.try_disk.is_none_or(|time| time > Instant::now()) {
            return;
        }
        self.memory.try_disk = Some(Instant::now() + PROBE_AGAIN);
        let lock = match self.store.lock(Duration::ZERO) {
            Ok(lock) => Some(lock),
            // Where the file of the lock cannot be made or locked, the trial tells why.
            Err(LockError::Disk(_)) => None,
            Err(_) => return,
        };
        let probe = self.store.probe(lock.as_ref());
        if !probe.may_pass() {
            self.memory.try_disk = None;
        }
        let lacks = self.store.lacks(&probe);
        if self.memory.lacks != lacks {
            self.memory.lacks = lacks;
            self.mark_dirty();
        }
    }
}

/// The finding about a lock of git that nobody holds any more.
fn git_lock(store: &Store, path: &std::path::Path) -> Option<Finding> {
    let stat = store.disk().stat_if_present(path).ok().flatten()?;
    let age = age(&stat, SystemTime::now());
    (age >= GIT_LOCK_AGE).then(|| Finding {
        kind: FindingKind::GitLock,
        severity: Severity::Warning,
        file: None,
        transaction_id: None,
        message: format!(
            "git's lock \"{}\" is {} min old: git was killed, and refuses to work until it is gone",
            path.display(),
            age.as_secs() / 60
        ),
        hint: format!("rm -f {}   # if no git is running there", quoted_path(path)),
    })
}

/// The digest of what the index has of a transaction.
pub(in crate::braid) fn held_digest(index: &Index, number: u32) -> FirstSaid {
    let transactions = &index.transactions;
    let lines = transactions.events(number).flat_map(|event| index.events.tail(event, &index.pack).iter().copied());
    digest(transactions.header_sum(number), &lines.collect::<Vec<u8>>())
}

pub(in crate::braid) fn good_digest(good: &Good) -> FirstSaid {
    digest(good.header_sum, &good.lines)
}

fn digest(header_sum: u32, lines: &[u8]) -> FirstSaid {
    let mut hash = Sha256::new();
    hash.update(header_sum.to_le_bytes());
    hash.update(lines);
    hash.finalize().into()
}

/// The files of transactions in an index that say something else than they did first.
pub(in crate::braid) fn changed_since(index: &Index, first_said: &BTreeMap<String, FirstSaid>) -> Vec<(String, FirstSaid)> {
    let transactions = &index.transactions;
    let changed = first_said.iter().filter_map(|(name, &first)| {
        let id = TransactionId::of_file_name(name)?;
        let number = transactions.find(id).filter(|&number| transactions.is_present(number) && transactions.has_name(number, name))?;
        (held_digest(index, number) != first).then(|| (name.clone(), first))
    });
    changed.collect()
}
