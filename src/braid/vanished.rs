//! Events that this replica has seen and has no more, until somebody says that this is known.

use std::collections::{BTreeMap, BTreeSet};

use crate::braid::keeper::Keeper;
use crate::braid::{Failure, Shared};
use crate::disk::{Stat, quoted_name};
use crate::format::text::counted_as;
use crate::index::Index;
use crate::index::feed::Slot;
use crate::model::{EventId, Finding, FindingKind, Severity, TransactionId};

/// What is told of them.
#[derive(Default)]
pub(super) struct Vanished {
    pub(super) findings: Vec<Finding>,
    /// Which feed and which files they were told of.
    told: Option<(u32, usize, u32, u32)>,
    /// The numbers of which it is known that their events are gone, and the facts of the file that says so.
    forgotten: BTreeMap<u64, EventId>,
    forgotten_seen: Option<Option<Stat>>,
}

impl Keeper {
    /// Tells anew which events this replica has seen and has no more; cheap where nothing came or went.
    pub(super) fn look_for_vanished(&mut self) {
        let has_learned = self.follow_forgotten();
        let feed = &self.index.feed;
        let state = (feed.incarnation, feed.gone_count(), self.index.transactions.valid_count(), self.index.transactions.len());
        if self.memory.vanished.told.replace(state) == Some(state) && !has_learned {
            return;
        }
        let findings = findings(&self.index, &vanished_events(&self.index, &self.memory.vanished.forgotten));
        if findings != self.memory.vanished.findings {
            self.memory.vanished.findings = findings;
            self.mark_dirty();
        }
    }

    /// Looks whether something was forgotten, here or by another process; costs one look at a file's facts, and nothing where nothing is gone.
    fn follow_forgotten(&mut self) -> bool {
        if self.index.feed.gone_count() == 0 {
            return false;
        }
        let Ok(stat) = self.store.forgotten_stat() else { return false };
        let vanished = &mut self.memory.vanished;
        if vanished.forgotten_seen.replace(stat) == Some(stat) {
            return false;
        }
        let forgotten = self.store.forgotten().unwrap_or_default();
        std::mem::replace(&mut vanished.forgotten, forgotten) != vanished.forgotten
    }

    /// Remembers that these events are known to be gone, and tells no more of them.
    pub(super) fn forget(&mut self, events: &BTreeSet<EventId>, shared: &Shared) -> Result<(), Failure> {
        let failure = |message: String| Failure { message, hint: String::new() };
        let vanished = vanished_events(&self.index, &self.memory.vanished.forgotten);
        let of_event = |(id, numbers): (EventId, Vec<u64>)| numbers.into_iter().map(move |seq| (seq, id));
        let new: Vec<(u64, EventId)> = vanished.into_iter().filter(|(id, _)| events.contains(id)).flat_map(of_event).collect();
        let ids = self.log.ids();
        let is_of_log = |seq: u64, id| usize::try_from(seq).ok().and_then(|seq| ids.get(seq.checked_sub(1)?)) == Some(&id);
        match self.store.update_forgotten(is_of_log, &new) {
            Ok(Some(_)) => {}
            Ok(None) => return Err(failure("another process is at it; nothing was forgotten".to_owned())),
            Err(error) => return Err(failure(error.to_string())),
        }
        self.look_for_vanished();
        self.publish_if_dirty(shared);
        Ok(())
    }
}

/// The events that have a number and are not here, each with its numbers; without the numbers that are forgotten.
pub(super) fn vanished_events(index: &Index, forgotten: &BTreeMap<u64, EventId>) -> BTreeMap<EventId, Vec<u64>> {
    let feed = &index.feed;
    let mut vanished: BTreeMap<EventId, Vec<u64>> = BTreeMap::new();
    for seq in feed.gone_upto(feed.latest()) {
        if let Some(Slot::Gone(id)) = feed.items.get(seq - 1).map(|item| feed.slot(item))
            && !id.0.is_nil()
            && forgotten.get(&seq) != Some(&id)
            && index.find_event(id).is_none()
        {
            vanished.entry(id).or_default().push(seq);
        }
    }
    vanished
}

/// The name of the file that had an event, and its transaction, as long as the index has not been read anew.
pub(super) fn file_of(index: &Index, event: EventId) -> Option<(String, TransactionId)> {
    let transaction = index.events.transaction(index.events.find(event, &index.pack, |_| true)?);
    Some((index.transactions.file_name(transaction), index.transactions.id(transaction)))
}

fn findings(index: &Index, vanished: &BTreeMap<EventId, Vec<u64>>) -> Vec<Finding> {
    let mut by_file: BTreeMap<String, (TransactionId, usize)> = BTreeMap::new();
    let mut nameless = 0usize;
    for &id in vanished.keys() {
        match file_of(index, id) {
            Some((file, transaction)) => by_file.entry(file).or_insert((transaction, 0)).1 += 1,
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
            let hint = format!("braidfs restore {}", quoted_name(&file));
            finding(Some(file), Some(id), message, hint)
        })
        .collect();
    if nameless > 0 {
        let message = counted_as(nameless, "event that this replica has seen is gone", "events that this replica has seen are gone");
        let hint = "braidfs restore   # of what it does not find: braidfs restore --forget --all".to_owned();
        findings.push(finding(None, None, message, hint));
    }
    findings
}
