//! What the feed waits for, and what is told of it.
//!
//! Who may write nothing gives no numbers and records nothing that is gone, so his feed waits for somebody who may. An event that is gone may
//! come back. If nobody recorded it as gone, it has the number that it had, and whoever passed that number has missed it. So nothing is
//! shown from such a number on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::braid::keeper::ingestion::Ingestion;
use crate::braid::keeper::trouble::Trouble;
use crate::disk;
use crate::index::Index;
use crate::model::{EventId, Finding, FindingKind, Severity};
use crate::store::{LogError, Store};

/// Who waits for no longer than this waits for a process that is at it, and tells nobody.
const UNTOLD: Duration = Duration::from_secs(1);

/// What helps who may write nothing himself.
const BY_ANOTHER: &str = "braidfs feed   # by somebody who may write the store";

/// Numbers of the feed, each with its event.
type Numbers = Arc<BTreeMap<u64, EventId>>;

/// What it depends on: the feed's incarnation, a number of it, how many of its events are gone, how many transactions wait.
type AsOf = (u32, u64, usize, usize);

/// What the feed waits for.
#[derive(Default)]
pub(super) struct Waiting {
    since: Option<Instant>,
    /// Which numbers nobody recorded, as of which incarnation of the feed and how many of its events were gone.
    unrecorded: Option<((u32, usize), Numbers)>,
    /// What was found, as of what.
    found: Option<(AsOf, Option<Finding>)>,
    /// Why the log takes no line.
    trouble: Trouble,
    /// What is told of it.
    told: Option<Finding>,
}

impl Waiting {
    pub(super) fn told(&self) -> Option<&Finding> {
        self.told.as_ref()
    }

    fn is_short(&self) -> bool {
        self.since.is_some_and(|since| since.elapsed() < UNTOLD)
    }
}

impl Ingestion {
    /// Whether it is waited for somebody who may write.
    pub(in crate::braid::keeper) fn is_waiting(&self) -> bool {
        self.waiting.since.is_some()
    }

    /// Whether he may be at it right now.
    pub(in crate::braid::keeper) fn is_waiting_shortly(&self) -> bool {
        self.waiting.is_short()
    }

    /// Whether the log takes no line.
    pub(in crate::braid::keeper) fn has_trouble(&self) -> bool {
        self.waiting.trouble.lasts()
    }

    /// Follows what others recorded and gave, gives what is back its number, and tells what is waited for too long.
    pub(in crate::braid::keeper) fn wait(&mut self, index: &mut Index, store: &Store) {
        if index.feed.gone_count() > 0 && !self.unnumbered.is_empty() {
            let unrecorded = self.unrecorded(index, store);
            let event = |(&seq, &id)| Some((seq, index.find_event(id)?));
            let back: Vec<(u64, u32)> = unrecorded.iter().filter_map(event).collect();
            index.feed.give_back(&back, &mut index.events);
            self.settle(index);
        }
        self.hold_back(index, store);
        let finding = self.find_waits(index);
        if finding.is_none() {
            self.waiting.since = None;
        } else if self.waiting.since.is_none() {
            self.waiting.since = Some(Instant::now());
        }
        self.tell(finding.filter(|_| !self.waiting.is_short()));
    }

    /// Tells that the log takes no line, until it takes some.
    pub(in crate::braid::keeper) fn takes_no_line(&mut self, error: &LogError) {
        self.waiting.trouble.meet("the ingestion log takes no line: the feed waits", error);
        let (message, hint) = match error {
            // What it has become is read before it is tried again.
            LogError::Changed => return,
            LogError::Disk(error) => (format!("feed ends at {}, and what comes has no number: {error}", self.shown), error.hint()),
        };
        self.tell(Some(finding(message, hint)));
    }

    /// The log takes lines, or has to take none.
    pub(super) fn takes_lines(&mut self) {
        self.waiting.trouble.end();
        self.tell(None);
    }

    /// Ends what was told of a log that took no line, where nothing is to be written any more.
    pub(in crate::braid::keeper) fn end_trouble(&mut self) {
        if !self.waits_for_numbers() && !self.log.is_lost() && !self.owes_gone() {
            self.takes_lines();
        }
    }

    /// Tells that the log has lost numbers that were shown, and why they cannot be written again.
    pub(in crate::braid::keeper) fn tell_lost(&mut self, error: Option<&disk::Error>) {
        if let Some(error) = error {
            self.waiting.trouble.meet("the ingestion log has lost numbers and cannot be written again: the feed waits", error);
        }
        self.tell(Some(lost(error)));
    }

    /// Tells that the feed ends before an event that is gone, since that cannot be recorded; or that it does not any more.
    pub(super) fn tell_unrecorded(&mut self, error: Option<&disk::Error>) {
        let told = |error: &disk::Error| {
            finding(format!("feed ends before an event that is gone, which cannot be recorded: {error}"), error.hint())
        };
        self.tell(error.map(told));
    }

    fn tell(&mut self, told: Option<Finding>) {
        if self.waiting.told != told {
            self.waiting.told = told;
            self.note_told();
        }
    }

    /// Shows nothing from the first number on that is gone and not recorded as that.
    pub(in crate::braid::keeper) fn hold_back(&mut self, index: &Index, store: &Store) {
        let first = self.unrecorded(index, store).keys().next().copied();
        self.show_upto(first.map_or(index.feed.latest(), |first| first - 1));
    }

    /// The numbers that stand for events that are gone and would have them again: nobody recorded that, and the log has no later line for
    /// them. Costs one look at a file's facts where nothing changed, and nothing where nothing is gone.
    fn unrecorded(&mut self, index: &Index, store: &Store) -> Numbers {
        let feed = &index.feed;
        if feed.gone_count() == 0 {
            return Arc::default();
        }
        let state = (feed.incarnation, feed.gone_count());
        let has_learned = self.gone.follow(store);
        let has_number = |id: EventId| index.find_event(id).is_some_and(|event| index.events.seq_nr(event) > 0);
        if let Some((of, unrecorded)) = &mut self.waiting.unrecorded
            && *of == state
            && !has_learned
        {
            // As long as the same numbers are gone, nothing but a later one for its event takes one out.
            if unrecorded.values().any(|&id| has_number(id)) {
                Arc::make_mut(unrecorded).retain(|_, id| !has_number(*id));
            }
            return Arc::clone(unrecorded);
        }
        // Nearly all of them are recorded.
        let not_recorded: Vec<(u64, EventId)> = feed.gone_events().filter(|&(seq, id)| !self.gone.has(seq, id)).collect();
        let mut last: BTreeMap<EventId, u64> = not_recorded.into_iter().map(|(seq, id)| (id, seq)).collect();
        if !last.is_empty() {
            for (seq, id) in feed.gone_events() {
                last.entry(id).and_modify(|last| *last = (*last).max(seq));
            }
        }
        let unrecorded = last.into_iter().filter(|&(id, seq)| !self.gone.has(seq, id) && !has_number(id)).map(|(id, seq)| (seq, id));
        let unrecorded = Arc::new(unrecorded.collect());
        self.waiting.unrecorded = Some((state, Arc::clone(&unrecorded)));
        unrecorded
    }

    /// What is waited for now; made anew only where something came or went.
    fn find_waits(&mut self, index: &Index) -> Option<Finding> {
        if self.log.is_lost() {
            return Some(lost(None));
        }
        let feed = &index.feed;
        let state = (feed.incarnation, self.shown, feed.gone_count(), self.unnumbered.len());
        if let Some((of, found)) = &self.waiting.found
            && *of == state
        {
            return found.clone();
        }
        let transactions = &index.transactions;
        let waiting = self.unnumbered.iter().filter(|&&tx| transactions.is_valid(tx)).flat_map(|&tx| transactions.events(tx));
        let message = index.feed_lacks(self.shown, waiting);
        let found = message.map(|message| finding(message, BY_ANOTHER.to_owned()));
        self.waiting.found = Some((state, found.clone()));
        found
    }
}

fn finding(message: String, hint: String) -> Finding {
    Finding { kind: FindingKind::FeedWaits, severity: Severity::Warning, file: None, transaction_id: None, message, hint }
}

/// The log has lost numbers that were shown.
fn lost(error: Option<&disk::Error>) -> Finding {
    let message =
        "index/ingestion.log has lost numbers: the feed shows those that it had, and what comes waits until they are written again";
    let why = error.map(|error| format!(": {error}")).unwrap_or_default();
    finding(format!("{message}{why}"), error.map_or_else(|| BY_ANOTHER.to_owned(), disk::Error::hint))
}
