//! What is worth a report beyond the files as they lie there: what was here before, what git does, what the machine lacks.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use crate::braid::git::Commit;
use crate::braid::keeper::Keeper;
use crate::braid::load::Good;
use crate::disk::Stat;
use crate::format::text::{counted_as, quoted};
use crate::index::Index;
use crate::index::feed::Slot;
use crate::model::{Declined, EventId, Finding, FindingKind, Origin, Severity, TransactionId};
use crate::store::{Mode, Store};

/// How old git's lock must be before it is taken for a dead process's.
pub(super) const GIT_LOCK_AGE: Duration = Duration::from_secs(600);

/// What is remembered.
#[derive(Default)]
pub(super) struct Memory {
    /// What the file of a name said when it was first taken in, of those that were changed since.
    edited: BTreeMap<String, [u8; 32]>,
    vanished: Vec<Finding>,
    /// Which feed and which files the vanished were told of.
    told: Option<(u32, usize, u32, u32)>,
    /// What the store's disk lacks, tried once.
    pub(super) lacks: Vec<Finding>,
    git_lock: Vec<Finding>,
    /// Drafts that nobody has handed in.
    pub(super) drafts: Vec<Finding>,
    /// What the last survey found.
    pub(super) surveyed: Vec<Finding>,
    /// The commits that hold missing parents.
    pub(super) parents: HashMap<TransactionId, Commit>,
    /// What brings a file in order again that is refused or was changed, as far as git tells.
    pub(super) cures: BTreeMap<String, String>,
    /// Conflicts that were declined here, by id, and the facts of the file that says so.
    pub(super) declined: Arc<BTreeMap<String, Declined>>,
    pub(super) declined_seen: Option<Option<Stat>>,
    /// Who brought the tips of open forks to git; what was once told stays while the fork is open.
    pub(super) origins: Arc<BTreeMap<TransactionId, Origin>>,
}

impl Memory {
    /// Everything remembered that is worth a report now.
    pub(super) fn findings(&self) -> impl Iterator<Item = Finding> + '_ {
        let edited = self.edited.keys().map(|name| edited(name));
        let kept = self.vanished.iter().chain(&self.lacks).chain(&self.git_lock).chain(&self.drafts).chain(&self.surveyed);
        edited.chain(kept.cloned())
    }

    /// Forgets that a file was changed; answers whether it was.
    pub(super) fn forget_file(&mut self, name: &str) -> bool {
        self.edited.remove(name).is_some()
    }
}

/// A file that says something else than when it was taken in.
pub(super) fn edited(name: &str) -> Finding {
    Finding {
        kind: FindingKind::Edited,
        severity: Severity::Warning,
        file: Some(name.to_owned()),
        transaction_id: name.strip_suffix(".jsonl").and_then(|id| id.parse().ok()),
        message: format!("file \"{name}\" was changed since it was taken in; transactions never change"),
        hint: format!("git checkout HEAD -- events/{}", quoted(name)),
    }
}

impl Keeper {
    /// Notes that the file of a transaction says something else now, or again what it said first.
    pub(super) fn note_edit(&mut self, name: &str, number: u32, now: Option<&Good>) {
        let first = *self.memory.edited.entry(name.to_owned()).or_insert_with(|| held_digest(&self.index, number));
        if now.is_some_and(|good| good_digest(good) == first) {
            self.memory.edited.remove(name);
        }
        self.mark_dirty();
    }

    /// Tells anew which events this replica has seen and has no more; cheap where nothing came or went.
    pub(super) fn look_for_vanished(&mut self) {
        let feed = &self.index.feed;
        let state = (feed.incarnation, feed.gone_count(), self.index.transactions.valid_count(), self.index.transactions.len());
        if self.memory.told.replace(state) == Some(state) {
            return;
        }
        let vanished = if feed.gone_count() == 0 { Vec::new() } else { vanished(&self.index) };
        if vanished != self.memory.vanished {
            self.memory.vanished = vanished;
            self.mark_dirty();
        }
    }

    /// Looks whether git's lock was left behind.
    pub(super) fn look_at_git_lock(&mut self) {
        let finding = self.hold.lock_path().and_then(|path| git_lock(&self.store, &path)).into_iter().collect();
        if self.memory.git_lock != finding {
            self.memory.git_lock = finding;
            self.mark_dirty();
        }
    }

    /// Tries once what the store's disk offers; nothing is tried while another program has the lock.
    pub(super) fn probe_disk(&mut self) {
        if self.store.mode() == Mode::ReadOnly {
            return;
        }
        if let Ok(lock) = self.store.lock(Duration::ZERO) {
            self.memory.lacks = self.store.lacks(&self.store.probe(Some(&lock)));
            if !self.memory.lacks.is_empty() {
                self.mark_dirty();
            }
        }
    }
}

/// The finding about a lock of git that nobody holds any more.
fn git_lock(store: &Store, path: &std::path::Path) -> Option<Finding> {
    let stat = store.disk().stat_if_present(path).ok().flatten()?;
    let age = SystemTime::now().duration_since(stat.modified()).unwrap_or_default();
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
        hint: format!("rm -f {}   # if no git is running there", quoted(&path.to_string_lossy())),
    })
}

fn vanished(index: &Index) -> Vec<Finding> {
    let gone: Vec<EventId> = vanished_events(index);
    let mut by_file: BTreeMap<String, (TransactionId, usize)> = BTreeMap::new();
    let mut nameless = 0usize;
    for id in gone {
        match index.events.find(id, &index.pack, |_| true) {
            Some(event) => {
                let tx = index.events.transaction(event);
                by_file.entry(index.transactions.file_name(tx)).or_insert((index.transactions.id(tx), 0)).1 += 1;
            }
            None => nameless += 1,
        }
    }
    let finding = |file: Option<String>, transaction_id, message, hint| Finding {
        kind: FindingKind::Vanished,
        severity: Severity::Warning,
        file,
        transaction_id,
        message,
        hint,
    };
    let mut findings: Vec<Finding> = by_file
        .into_iter()
        .map(|(file, (id, events))| {
            let message = format!("file \"{file}\" was here and is gone, with {events} of the feed's events");
            let hint = format!("braidfs restore {}", quoted(&file));
            finding(Some(file), Some(id), message, hint)
        })
        .collect();
    if nameless > 0 {
        let message = counted_as(nameless, "event that this replica has seen is gone", "events that this replica has seen are gone");
        findings.push(finding(None, None, message, "braidfs restore".to_owned()));
    }
    findings
}

/// The events that have a number and are not here.
pub(super) fn vanished_events(index: &Index) -> Vec<EventId> {
    let slots = index.feed.items.iter_from(0).map(|item| index.feed.slot(item));
    let gone = slots.filter_map(|slot| match slot {
        Slot::Gone(id) if !id.0.is_nil() && index.find_event(id).is_none() => Some(id),
        _ => None,
    });
    let mut gone: Vec<EventId> = gone.collect();
    gone.sort_unstable();
    gone.dedup();
    gone
}

fn held_digest(index: &Index, number: u32) -> [u8; 32] {
    let transactions = &index.transactions;
    let lines = transactions.events(number).flat_map(|event| index.events.tail(event, &index.pack).iter().copied());
    digest(
        transactions.listed(number).map(|parent| transactions.id(parent)).collect(),
        &format!("{} {}", transactions.replica(number), transactions.created_at(number)),
        &lines.collect::<Vec<u8>>(),
    )
}

fn good_digest(good: &Good) -> [u8; 32] {
    let header = &good.header;
    digest(header.parents.clone(), &format!("{} {}", header.replica_id, header.created_at), &good.lines)
}

fn digest(mut parents: Vec<TransactionId>, rest: &str, lines: &[u8]) -> [u8; 32] {
    parents.sort_unstable();
    parents.dedup();
    let mut hash = Sha256::new();
    parents.iter().for_each(|parent| hash.update(parent.as_bytes()));
    hash.update(rest);
    hash.update(lines);
    hash.finalize().into()
}
