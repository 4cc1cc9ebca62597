//! Events that this replica has seen and has no more, until somebody says that this is known.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::braid::git::{Elsewhere, GitError, Oid, POP_STASH, Program, Unfinished};
use crate::braid::keeper::Keeper;
use crate::braid::keeper::eventless::{Eventless, file_of_transaction};
use crate::braid::keeper::load;
use crate::braid::keeper::roster::Roster;
use crate::braid::{Failure, Shared};
use crate::disk::{Stat, quoted_name};
use crate::epoch::Epoch;
use crate::format::text::{counted_as, quoted};
use crate::index::Index;
use crate::index::absent::Absent;
use crate::model::{EventId, Finding, FindingKind, Severity, TransactionId};
use crate::store::Store;

/// Of how many files of git it is remembered what they have.
const LOOKED_INTO_MAX: usize = 100_000;

/// What git has of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::braid) struct InGit {
    /// Whether it was asked, or there is none.
    is_asked: bool,
    /// The branch that brings an event by a merge, and the file that has it there.
    branches: BTreeMap<EventId, (String, String)>,
    /// The branch that brings a transaction without events by a merge.
    eventless: BTreeMap<TransactionId, String>,
    /// The file that had an event of which this replica knows no file any more.
    files: BTreeMap<EventId, String>,
    /// Files that no commit has.
    nowhere: BTreeSet<String>,
    /// Files that the newest stash took.
    stashed: BTreeSet<String>,
    /// What git has begun, so that nothing is to be merged now.
    unfinished: Option<Unfinished>,
}

/// What is to be asked for.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::braid) struct Sought {
    events: Vec<EventId>,
    eventless: BTreeSet<TransactionId>,
}

impl Sought {
    /// What has vanished of an epoch, and nobody has acknowledged.
    pub(in crate::braid) fn of(epoch: &Epoch) -> Self {
        // Where it cannot be read what was forgotten, that is looked for too.
        let forgotten = epoch.store.forgotten().unwrap_or_default();
        Self { events: vanished_events(&epoch.index, &forgotten).collect(), eventless: BTreeSet::clone(&epoch.eventless_gone) }
    }

    pub(in crate::braid) fn is_empty(&self) -> bool {
        self.events.is_empty() && self.eventless.is_empty()
    }
}

/// What files of git have, so that no commit has all of them read again.
#[derive(Default)]
pub(in crate::braid) struct LookedInto {
    /// The events that were looked for.
    sought: BTreeSet<EventId>,
    /// Which of them each file has.
    found: HashMap<Oid, Vec<EventId>>,
}

impl InGit {
    /// What no git has.
    pub(in crate::braid) fn nothing() -> Self {
        Self { is_asked: true, ..Self::default() }
    }

    /// Asks git, by as many processes for one event as for many.
    pub(in crate::braid) fn ask(git: &Program, epoch: &Epoch, sought: &Sought, looked: &mut LookedInto) -> Result<Self, GitError> {
        let mut in_git = Self::nothing();
        let (mut nameless, mut named, mut rest) = (BTreeSet::new(), Vec::new(), BTreeSet::new());
        for &id in &sought.events {
            match file_of(&epoch.index, id) {
                Some((file, _)) => named.push((id, file)),
                None => drop(nameless.insert(id)),
            }
        }
        let eventless: Vec<(TransactionId, String)> =
            sought.eventless.iter().map(|&id| (id, file_of_transaction(&epoch.index, id))).collect();
        let names: HashSet<&str> =
            named.iter().map(|(_, file)| file.as_str()).chain(eventless.iter().map(|(_, file)| file.as_str())).collect();
        let elsewhere = git.elsewhere(|file| names.contains(file) || (!nameless.is_empty() && is_gone(epoch, file)))?;
        for (id, file) in named {
            match elsewhere.get(&file) {
                Some(Elsewhere { branch, .. }) => drop(in_git.branches.insert(id, (branch.clone(), file))),
                None => drop(rest.insert(file)),
            }
        }
        for (id, file) in eventless {
            match elsewhere.get(&file) {
                Some(Elsewhere { branch, .. }) => drop(in_git.eventless.insert(id, branch.clone())),
                None => drop(rest.insert(file)),
            }
        }
        if !nameless.is_empty() {
            in_git.find_nameless(git, epoch, nameless, &elsewhere, looked)?;
            rest.extend(in_git.files.values().cloned());
        }
        if !in_git.branches.is_empty() || !in_git.eventless.is_empty() {
            in_git.unfinished = git.unfinished()?;
        }
        rest.retain(|file| is_gone(epoch, file));
        if !rest.is_empty() {
            let stashed = git.stashed()?;
            (in_git.stashed, rest) = rest.into_iter().partition(|file| stashed.contains(file));
        }
        let held = git.last_said_by(&rest)?;
        in_git.nowhere = rest.into_iter().filter(|file| !held.contains_key(file)).collect();
        Ok(in_git)
    }

    /// Looks for events into the files of other branches, and for the rest into all that git ever had, also in its stash.
    fn find_nameless(
        &mut self,
        git: &Program,
        epoch: &Epoch,
        mut nameless: BTreeSet<EventId>,
        elsewhere: &BTreeMap<String, Elsewhere>,
        looked: &mut LookedInto,
    ) -> Result<(), GitError> {
        if !nameless.is_subset(&looked.sought) {
            *looked = LookedInto { sought: nameless.clone(), found: HashMap::new() };
        }
        let files: Vec<(&String, &Elsewhere)> = elsewhere.iter().filter(|(file, _)| is_gone(epoch, file)).collect();
        looked.read(git, files.iter().map(|(_, held)| &held.blob), |n, events| {
            let Some((file, held)) = files.get(n) else { return };
            let wanted = events.iter().filter(|id| nameless.contains(id));
            self.branches.extend(wanted.map(|&id| (id, (held.branch.clone(), (*file).clone()))));
        })?;
        nameless.retain(|id| !self.branches.contains_key(id));
        if nameless.is_empty() {
            return Ok(());
        }
        let is_refused = |file: &str| epoch.quarantined.iter().any(|refused| refused.file == file);
        let past = git.last_said(|file| file.ends_with(".jsonl") && (is_gone(epoch, file) || is_refused(file)))?;
        let files: Vec<&String> = past.keys().collect();
        looked.read(git, past.values().map(|said| &said.blob), |n, events| {
            let Some(&file) = files.get(n) else { return };
            self.files.extend(events.iter().filter(|id| nameless.contains(id)).map(|&id| (id, file.clone())));
        })
    }
}

impl LookedInto {
    /// Gives to `take` which of the events that are looked for each of these files has, as far as it has any.
    fn read<'a>(
        &mut self,
        git: &Program,
        blobs: impl Iterator<Item = &'a Oid>,
        mut take: impl FnMut(usize, &[EventId]),
    ) -> Result<(), GitError> {
        let (known, new): (Vec<_>, Vec<_>) = blobs.enumerate().partition(|(_, blob)| self.found.contains_key(blob));
        for (n, blob) in known {
            take(n, self.found.get(blob).map_or(&[], Vec::as_slice));
        }
        let (numbers, blobs): (Vec<usize>, Vec<Oid>) = new.into_iter().map(|(n, blob)| (n, blob.clone())).unzip();
        git.read_blobs(&blobs, |at, bytes| {
            if let (Some(bytes), Some(&n), Some(blob)) = (bytes, numbers.get(at), blobs.get(at)) {
                let events = load::read(&bytes).map(|good| good.events).unwrap_or_default();
                let sought: Vec<EventId> = events.iter().map(|event| event.event_id).filter(|id| self.sought.contains(id)).collect();
                take(n, &sought);
                if self.found.len() < LOOKED_INTO_MAX {
                    self.found.insert(blob.clone(), sought);
                }
            }
            Ok(())
        })
    }
}

/// What is told of them.
#[derive(Default)]
pub(super) struct Vanished {
    findings: Vec<Finding>,
    /// What was in no view when they were told, and how often the files beside the index had changed.
    told: Option<(Arc<Absent>, u64)>,
    in_git: InGit,
    /// The numbers of which it is known that their events are gone, and the facts of the file that says so.
    forgotten: BTreeMap<u64, EventId>,
    forgotten_seen: Option<Option<Stat>>,
    eventless: Eventless,
    /// How often it was looked which events are gone.
    #[cfg(test)]
    pub(super) looks: u32,
}

impl Vanished {
    pub(super) fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The transactions without events that are gone.
    pub(super) fn eventless_gone(&self) -> &Arc<BTreeSet<TransactionId>> {
        self.eventless.gone()
    }

    /// Notes what a change of the index hid.
    pub(super) fn note_hidden(&mut self, index: &Index, hidden: &[u32]) {
        self.eventless.note(index, hidden);
    }

    /// Looks anew which events this replica has seen and has no more; costs nothing where the same ones are gone, whatever else comes. Gives
    /// whether something else is to be shown.
    fn look(&mut self, index: &Index, store: &Store, roster: &Roster) -> bool {
        let is_eventless_new = self.eventless.follow(index, store);
        let has_learned = self.follow_forgotten(index, store) || is_eventless_new;
        let (absent, changes) = (index.feed.absent(), roster.changes());
        let is_told = self.told.as_ref().is_some_and(|(of, of_files)| Arc::ptr_eq(of, absent) && *of_files == changes);
        if is_told && !has_learned {
            return false;
        }
        self.told = Some((Arc::clone(absent), changes));
        #[cfg(test)]
        {
            self.looks += 1;
        }
        let events = vanished_events(index, &self.forgotten);
        let findings = findings(index, events, self.eventless.gone(), &self.in_git, |file| roster.is_refused(file));
        let is_new = findings != self.findings;
        self.findings = findings;
        is_new || is_eventless_new
    }

    /// Looks whether something was forgotten, here or by another process; costs one look at a file's facts, and nothing where nothing is gone.
    fn follow_forgotten(&mut self, index: &Index, store: &Store) -> bool {
        if index.feed.gone_count() == 0 {
            return false;
        }
        let Ok(stat) = store.forgotten_stat() else { return false };
        if self.forgotten_seen.replace(stat) == Some(stat) {
            return false;
        }
        let forgotten = store.forgotten().unwrap_or_default();
        std::mem::replace(&mut self.forgotten, forgotten) != self.forgotten
    }

    /// Takes over what git has of them; gives whether that is new, so that they are to be looked at anew.
    fn learn(&mut self, in_git: InGit) -> bool {
        let is_new = self.in_git != in_git;
        if is_new {
            (self.in_git, self.told) = (in_git, None);
        }
        is_new
    }
}

impl Keeper {
    /// Tells anew which events this replica has seen and has no more.
    pub(super) fn look_for_vanished(&mut self) {
        if self.vanished.look(&self.index, &self.store, &self.roster) {
            self.mark_dirty();
        }
    }

    /// Takes over what git has of them.
    pub(in crate::braid) fn learn_vanished(&mut self, in_git: InGit) {
        if self.vanished.learn(in_git) {
            self.look_for_vanished();
        }
    }

    /// Remembers that these events are known to be gone, and tells no more of them.
    pub(in crate::braid) fn forget(
        &mut self,
        events: &BTreeSet<EventId>,
        eventless: &BTreeSet<TransactionId>,
        shared: &Shared,
    ) -> Result<(), Failure> {
        let failure = |message: String| Failure::new(message, "");
        let vanished: HashSet<EventId> = vanished_events(&self.index, &self.vanished.forgotten).filter(|id| events.contains(id)).collect();
        let new: Vec<(u64, EventId)> = self.index.feed.gone_events().filter(|(_, id)| vanished.contains(id)).collect();
        let is_of_log = |seq, id| self.ingestion.id_of(seq) == Some(id);
        let update = self.store.update_forgotten(is_of_log, &new).and_then(|numbers| {
            let known = self.store.update_eventless(&BTreeSet::new(), eventless)?;
            Ok(numbers.is_some() && known.is_some())
        });
        match update {
            Ok(true) => {}
            Ok(false) => return Err(failure("another process is at it; nothing was forgotten".to_owned())),
            Err(error) => return Err(failure(error.to_string())),
        }
        self.look_for_vanished();
        self.publish_if_dirty(shared);
        Ok(())
    }
}

/// The events that have a number and are not here, sorted; without those whose last number is forgotten.
pub(in crate::braid) fn vanished_events<'a>(
    index: &'a Index,
    forgotten: &'a BTreeMap<u64, EventId>,
) -> impl Iterator<Item = EventId> + use<'a> {
    index.feed.absent().iter().filter(|(id, seq)| forgotten.get(seq) != Some(id)).map(|(id, _)| id)
}

/// The name of the file that had an event, and its transaction, as long as the index has not been read anew.
pub(in crate::braid) fn file_of(index: &Index, event: EventId) -> Option<(String, TransactionId)> {
    let transaction = index.events.transaction(index.events.find(event, &index.pack, |_| true)?);
    Some((index.transactions.file_name(transaction), index.transactions.id(transaction)))
}

/// Whether nothing stands under a name in `events/`.
pub(in crate::braid) fn is_gone(epoch: &Epoch, name: &str) -> bool {
    epoch.store.stat(name).is_err()
}

fn findings(
    index: &Index,
    vanished: impl Iterator<Item = EventId>,
    eventless: &BTreeSet<TransactionId>,
    in_git: &InGit,
    is_refused: impl Fn(&str) -> bool,
) -> Vec<Finding> {
    let mut by_file: BTreeMap<String, (Option<TransactionId>, usize)> = BTreeMap::new();
    let mut by_branch: BTreeMap<&str, (BTreeSet<&str>, usize)> = BTreeMap::new();
    let mut nameless = 0usize;
    let eventless: Vec<(TransactionId, String)> = eventless.iter().map(|&id| (id, file_of_transaction(index, id))).collect();
    for (id, file) in &eventless {
        match in_git.eventless.get(id) {
            Some(branch) => drop(by_branch.entry(branch).or_default().0.insert(file)),
            None => drop(by_file.insert(file.clone(), (Some(*id), 0))),
        }
    }
    for id in vanished {
        if let Some((branch, file)) = in_git.branches.get(&id) {
            let (files, events) = by_branch.entry(branch).or_default();
            files.insert(file);
            *events += 1;
            continue;
        }
        let file = file_of(index, id).map(|(file, transaction)| (file, Some(transaction)));
        match file.or_else(|| in_git.files.get(&id).map(|file| (file.clone(), TransactionId::of_file_name(file)))) {
            Some((file, transaction)) => by_file.entry(file).or_insert((transaction, 0)).1 += 1,
            None => nameless += 1,
        }
    }
    // What is here and refused is told as that.
    by_file.retain(|file, _| !is_refused(file));
    let mut findings: Vec<Finding> =
        by_branch.into_iter().map(|(branch, (files, events))| of_branch(branch, &files, events, in_git.unfinished)).collect();
    findings.extend(by_file.into_iter().map(|(file, (id, events))| {
        let message = match events {
            0 => format!("file \"{file}\" was here and is gone; it has no event; a conflict that it resolved may be open again"),
            _ => format!("file \"{file}\" was here and is gone, with {events} of the feed's events"),
        };
        let hint = if in_git.nowhere.contains(&file) {
            "braidfs restore --forget --all   # acknowledges it: no commit has it; or git fetch CLONE, from a clone that has it".to_owned()
        } else if in_git.stashed.contains(&file) {
            POP_STASH.to_owned()
        } else {
            format!("braidfs restore {}", quoted_name(&file))
        };
        Finding { file: Some(file), transaction_id: id, ..finding(Severity::Warning, message, hint) }
    }));
    if nameless > 0 {
        let message = counted_as(nameless, "event that this replica has seen is gone", "events that this replica has seen are gone");
        let hint = if in_git.is_asked {
            "braidfs restore   # of what it does not find: braidfs restore --forget --all"
        } else {
            "braidfs doctor   # asks git, and names what brings it back"
        };
        findings.push(finding(Severity::Warning, message, hint.to_owned()));
    }
    findings
}

/// What another branch has is not lost, and it is no fault to have that branch not checked out.
fn of_branch(branch: &str, files: &BTreeSet<&str>, events: usize, unfinished: Option<Unfinished>) -> Finding {
    let merge = format!("git merge {}", quoted(branch));
    // A merge would be part of what git has begun, or of no branch.
    let hint = |what: &str, alone: String| match unfinished {
        None => format!("{merge}   # brings {what} here; {alone}"),
        Some(unfinished) => {
            format!("{}   # first: {}; then look again: braidfs doctor", unfinished.ending(branch), unfinished.message())
        }
    };
    let now = match events {
        0 => format!("on branch \"{branch}\" now, without an event"),
        _ => format!("on branch \"{branch}\" now, with {events} of the feed's events"),
    };
    let mut files_of = files.iter();
    match (files_of.next(), files_of.next()) {
        (Some(file), None) => Finding {
            file: Some((*file).to_owned()),
            transaction_id: TransactionId::of_file_name(file),
            ..finding(
                Severity::Info,
                format!("file \"{file}\" was here and is {now}"),
                hint("it", format!("braidfs restore {} copies it alone", quoted_name(file))),
            )
        },
        _ => finding(
            Severity::Info,
            format!("{} files were here and are {now}", files.len()),
            hint("them", "braidfs restore copies them alone".to_owned()),
        ),
    }
}

fn finding(severity: Severity, message: String, hint: String) -> Finding {
    Finding { kind: FindingKind::Vanished, severity, file: None, transaction_id: None, message, hint }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use std::fs;

    use uuid::Uuid;

    use crate::braid::tests::{append, event, open, store};
    use crate::model::FindingKind;

    #[test]
    fn what_vanished_is_told_until_its_event_is_here_again_in_whatever_transaction() {
        let (_temp, dir) = store();
        let braid = open(&dir, false);
        append(&braid, &event("s", 0));
        let lost = format!("{{\"stream\":\"s\",\"type\":\"T\",\"data\":1,\"event_id\":\"{}\"}}\n", Uuid::from_u128(7));
        let file = format!("{}.jsonl", append(&braid, &lost).transaction_id);
        let told = || {
            let epoch = braid.refresh().unwrap();
            epoch.findings.iter().filter(|finding| finding.kind == FindingKind::Vanished).count()
        };
        assert_eq!(told(), 0);
        fs::remove_file(dir.join("events").join(file)).unwrap();
        assert_eq!(told(), 1);
        append(&braid, &event("s", 2));
        assert_eq!(told(), 1);
        append(&braid, &lost);
        assert_eq!(told(), 0);
    }
}
