//! Ingestion order: the log is followed, and what is certain is shown. Who gets which number: [`fresh`]. The feed of who may write nothing:
//! [`waiting`].

mod fresh;
mod waiting;

use std::collections::HashMap;
use std::time::Duration;

use crate::braid::Failure;
use crate::braid::keeper::Keeper;
use crate::disk;
use crate::epoch::WriterState;
use crate::index::Index;
use crate::index::feed::Slot;
use crate::model::{Errno, EventId, Finding, FindingKind, Severity};
use crate::store::{CommitLock, LogProblem, Refreshed};

pub(super) use waiting::Waiting;

/// A start waits so long for a lock that is held, and then shows a feed that lacks numbers.
const START_PATIENCE: Duration = Duration::from_millis(100);

/// Whether this user, or the disk, lets nobody write there: no sync has failed then.
fn is_denied(error: &disk::Error) -> bool {
    !error.op.is_sync() && matches!(error.errno(), Errno::EROFS | Errno::EACCES | Errno::EPERM)
}

impl Keeper {
    /// Follows what other programs appended to the log, and gives numbers to what has none, if the lock is free.
    pub(super) fn number_new(&mut self) {
        // An identity that has just been read is not looked at again.
        let is_just_read = !self.is_feed_begun && self.chain.replica_id().is_some();
        if !self.is_feed_begun {
            self.is_feed_begun = true;
            self.continue_feed();
        }
        self.follow_log();
        if !is_just_read {
            self.follow_identity();
        }
        if self.writer == WriterState::ReadOnly {
            return self.wait_for_numbers();
        }
        if !self.waits_for_numbers() && !self.log.is_lost() && !self.gone.is_owed {
            self.log_takes_lines();
        }
        let has_to_write = self.waits_for_numbers() || self.log.is_torn() || self.log.is_lost() || self.chain.owes_last();
        if !has_to_write || matches!(self.writer, WriterState::Failed(_)) {
            return;
        }
        // A child that a mount starts beside this has the lock's descriptor for a moment, and the feed is to be whole when it is first shown.
        let patience = if self.progress.ready { Duration::ZERO } else { START_PATIENCE };
        match self.store.lock(patience) {
            Ok(lock) => {
                self.note_lock_taken();
                self.number_under(&lock);
            }
            Err(error) => self.note_lock_error(&error),
        }
    }

    /// Whether there are events without a number.
    pub(super) fn waits_for_numbers(&self) -> bool {
        !self.unnumbered.is_empty()
    }

    /// How many events may have no number yet, at most.
    pub(in crate::braid) fn waiting_events(&self) -> u64 {
        self.unnumbered.iter().map(|&tx| self.index.transactions.events(tx).count() as u64).sum()
    }

    /// Shows the lines that the feed does not hold: another program added them, or they were read while nothing could be shown.
    ///
    /// A program writes its file before its line, so what a line speaks of is there, unless it is gone again: the files are
    /// looked at after the lines are read and before they are believed. While git holds everything up, so do the lines.
    pub(in crate::braid) fn follow_log(&mut self) {
        self.drain_hints();
        if self.is_partial || self.is_held() {
            return;
        }
        match self.log.refresh() {
            // Whatever was added now: the feed goes on where it ends, or a number would come to name another line's event.
            Ok(Refreshed::Same | Refreshed::Grew(_)) => self.take_new_lines(),
            Ok(Refreshed::Replaced) => self.log_replaced(),
            Ok(Refreshed::Lost) => self.tell_log_lost(None),
            Err(error) => tracing::warn!(%error, "the ingestion log cannot be read"),
        }
    }

    /// Takes in the files that lines from `from` on speak of and that are not known yet; gives whether all that is there was read, so that what
    /// is still not known is gone.
    fn catch_up(&mut self, from: u64) -> bool {
        if self.log.ids().iter().skip(from as usize - 1).all(|&id| self.index.find_event(id).is_some()) {
            return true;
        }
        self.drain_hints();
        if !self.is_watching() {
            self.pending.add_everything();
        }
        let look = std::mem::take(&mut self.pending);
        let taken_in = self.take_in_apart(look);
        if let Err(failure) = &taken_in {
            tracing::warn!(%failure, "events could not be read; they are looked at again");
        }
        taken_in.is_ok() && !self.is_partial
    }

    /// Somebody replaced the log by another one, which is read.
    fn log_replaced(&mut self) {
        // Whoever replaced it may have done so with the packed lines too, which say what is what.
        self.keep_pack_whole();
        self.unnumbered = self.index.order.iter_from(0).collect();
        // Checkpoints of the old log are orphaned now.
        self.checkpoints_seen = None;
        self.shelf.log_changed();
        self.read_log_again();
    }

    /// Takes up the log as it is on disk behind the numbers that were published.
    pub(super) fn take_up_log(&mut self) {
        if self.log.latest_seq_nr() < self.index.feed.latest() {
            return self.log_replaced();
        }
        self.unnumbered = self.index.order.iter_from(0).collect();
        self.continue_feed();
    }

    /// Builds the feed anew from the log.
    fn read_log_again(&mut self) {
        self.forget_feed();
        self.continue_feed();
    }

    /// Shows the feed that was built, with every line behind it.
    fn continue_feed(&mut self) {
        self.note_log_problems();
        self.take_new_lines();
        if self.index.feed.latest() > 0 {
            self.settle_numbered();
            self.show_certain();
        }
    }

    /// Gives every line that the feed does not hold to its event, if all files can be read; else they are still new the next time.
    fn take_new_lines(&mut self) {
        let held = self.index.feed.latest();
        if self.log.latest_seq_nr() > held {
            // The files may have been listed before the log was read, so a line may speak of one that came after.
            if self.catch_up(held + 1) {
                self.take_lines();
            }
        }
    }

    /// Gives the numbers of the log's lines behind the end of the feed to their events.
    fn take_lines(&mut self) {
        let held = self.index.feed.latest();
        let ids: Vec<EventId> = self.log.ids().iter().skip(held as usize).copied().collect();
        let mut last_line: HashMap<EventId, usize> = HashMap::with_capacity(ids.len());
        for (at, &id) in ids.iter().enumerate() {
            last_line.insert(id, at);
        }
        let mut superseded = Vec::new();
        let mut slots = Vec::with_capacity(ids.len());
        for (at, &id) in ids.iter().enumerate() {
            // Of several lines for one id the last counts, unless it was passed as gone: then the event gets a fresh number.
            let counts = last_line.get(&id) == Some(&at) && !self.gone.has(held + 1 + at as u64, id);
            let event = if counts { self.index.find_event(id) } else { None };
            if let Some(event) = event {
                superseded.extend(Some(self.index.events.seq_nr(event)).filter(|&seq| seq > 0));
            }
            slots.push(event.map_or(Slot::Gone(id), Slot::Event));
        }
        let Index { feed, events, pack, .. } = &mut self.index;
        feed.mark_gone(&superseded, events, pack);
        feed.append(&slots, events);
        self.settle_numbered();
        self.show_certain();
    }

    /// Transactions whose events all have numbers wait for none.
    fn settle_numbered(&mut self) {
        let (transactions, events) = (&self.index.transactions, &self.index.events);
        self.unnumbered.retain(|&tx| transactions.is_valid(tx) && transactions.events(tx).any(|event| events.seq_nr(event) == 0));
    }

    /// Syncs the log and shows every number in it.
    pub(super) fn show_certain(&mut self) {
        match self.log.sync() {
            Ok(()) => self.show_all(),
            // Where it may not be opened for writing, nothing of ours waits to be synced; what was read stays.
            Err(error) if self.writer == WriterState::ReadOnly || is_denied(&error) => {
                tracing::debug!(%error, "the ingestion log cannot be synced");
                self.show_all();
            }
            Err(error) => {
                tracing::error!(%error, "the ingestion log cannot be synced: no new number is shown");
                self.set_writer(WriterState::Failed(error.to_string()));
            }
        }
    }

    fn show_all(&mut self) {
        self.show_upto(self.index.feed.latest());
    }

    fn show_upto(&mut self, seq_nr: u64) {
        if self.feed_shown != seq_nr {
            self.feed_shown = seq_nr;
            self.mark_dirty();
        }
    }

    /// Writes a damaged log anew; answers what was wrong with it.
    pub(in crate::braid) fn mend_log(&mut self, lock: &CommitLock) -> Result<Vec<LogProblem>, Failure> {
        self.follow_log();
        let problems = self.log.problems().to_vec();
        if problems.is_empty() {
            return Ok(problems);
        }
        self.log.rewrite(lock)?;
        self.note_log_problems();
        self.mark_dirty();
        Ok(problems)
    }

    fn note_log_problems(&mut self) {
        self.tell_anew();
        self.log_findings.clear();
        let told = |problem: &LogProblem| match problem {
            LogProblem::Unreadable { seq_nr } => format!("index/ingestion.log has a line before number {seq_nr} that is none"),
            LogProblem::Skipped { seq_nr, .. } => format!("index/ingestion.log skips numbers before {seq_nr}"),
            LogProblem::Repeated { seq_nr } => format!("index/ingestion.log gives number {seq_nr} twice; the first line counts"),
        };
        // Who writes cuts a torn end off at once, and who follows another that writes may see half a line of it.
        let torn = self.options.verify && self.writer == WriterState::ReadOnly && self.log.is_torn();
        let torn = torn.then(|| "index/ingestion.log ends with half a line".to_owned());
        self.log_findings.extend(self.log.problems().iter().map(told).chain(torn).map(|message| Finding {
            kind: FindingKind::UnreadableByEventcore,
            severity: Severity::Warning,
            file: None,
            transaction_id: None,
            message,
            hint: "braidfs doctor --fix".to_owned(),
        }));
    }
}
