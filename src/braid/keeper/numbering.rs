//! When the ingestion log is followed and numbers are given, among all else that the keeper does: [`Ingestion`] knows which.
//!
//! [`Ingestion`]: crate::braid::keeper::ingestion::Ingestion

use std::time::Duration;

use crate::braid::Failure;
use crate::braid::keeper::Keeper;
use crate::epoch::WriterState;
use crate::store::{CommitLock, LogError, LogProblem, Refreshed, Repaired};

/// A start waits so long for a lock that is held, and then shows a feed that lacks numbers.
const START_PATIENCE: Duration = Duration::from_millis(100);

impl Keeper {
    /// Follows what other programs appended to the log, and gives numbers to what has none, if the lock is free.
    pub(super) fn number_new(&mut self) {
        let begins = self.ingestion.begin();
        if begins {
            self.continue_feed();
        }
        self.follow_log();
        // An identity that has just been read is not looked at again.
        if !begins || self.chain.replica_id().is_none() {
            self.follow_identity();
        }
        if self.locking.is_read_only() {
            return self.ingestion.wait(&mut self.index, &self.store);
        }
        self.ingestion.end_trouble();
        let has_to_write = self.ingestion.has_to_write() || self.chain.owes_last();
        if !has_to_write || matches!(self.locking.writer(), WriterState::Failed(_)) {
            return;
        }
        // A child that a mount starts beside this has the lock's descriptor for a moment, and the feed is to be whole when it is first shown.
        let patience = if self.progress.ready { Duration::ZERO } else { START_PATIENCE };
        match self.store.lock(patience) {
            Ok(lock) => {
                self.locking.taken();
                self.number_under(&lock);
            }
            Err(error) => self.locking.refused(&self.store, &error),
        }
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
        match self.ingestion.refresh() {
            // Whatever was added now: the feed goes on where it ends, or a number would come to name another line's event.
            Ok(Refreshed::Same | Refreshed::Grew(_)) => self.take_new_lines(),
            Ok(Refreshed::Replaced) => self.log_replaced(),
            Ok(Refreshed::Lost) => self.ingestion.tell_lost(None),
            Err(error) => tracing::warn!(%error, "the ingestion log cannot be read"),
        }
    }

    /// Gives every line that the feed does not hold to its event, if all files can be read; else they are still new the next time.
    fn take_new_lines(&mut self) {
        if self.ingestion.has_new_lines(&self.index) && self.catch_up() {
            let shown = self.ingestion.take_lines(&mut self.index);
            self.locking.stop_if_failed(shown);
        }
    }

    /// Takes in the files that new lines speak of and that are not known yet, as those that came after the files were listed and before the log
    /// was read; gives whether all that is there was read, so that what is still not known is gone.
    fn catch_up(&mut self) -> bool {
        if self.ingestion.knows_new_lines(&self.index) {
            return true;
        }
        self.drain_hints();
        if !self.watching.is_on() {
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
        // Checkpoints of the old log are orphaned now.
        self.checkpoints.log_changed();
        self.shelf.log_changed();
        self.ingestion.forget(&mut self.index);
        self.continue_feed();
    }

    /// Takes up the log as it is on disk behind the numbers that were published.
    pub(super) fn take_up_log(&mut self) {
        if self.ingestion.is_behind(&self.index) {
            return self.log_replaced();
        }
        self.ingestion.wait_for_all(&self.index);
        self.continue_feed();
    }

    /// Shows the feed that was built, with every line behind it.
    fn continue_feed(&mut self) {
        self.ingestion.note_problems();
        self.take_new_lines();
        let shown = self.ingestion.show_held(&self.index);
        self.locking.stop_if_failed(shown);
    }

    /// Gives numbers to everything that has none.
    pub(super) fn number_under(&mut self, lock: &CommitLock) {
        self.follow_log();
        if self.ingestion.is_lost() && !self.ingestion.write_lost(lock) {
            return;
        }
        let remembered = self.chain.remember_found(lock, &self.store);
        self.locking.stop_if_failed(remembered);
        match self.ingestion.repair(lock) {
            Repaired::Nothing => {}
            Repaired::CutOff => drop(self.mended.insert("cut off the end of index/ingestion.log, which was half a line".to_owned())),
            Repaired::Ended => {
                self.mended.insert("ended the last line of index/ingestion.log".to_owned());
                self.follow_log();
            }
        }
        let (former, waiting) = self.ingestion.in_turn(&self.index, self.chain.own_replicas());
        if waiting.is_empty() {
            return;
        }
        let forgotten = self.ingestion.forget_gone(&self.index, &self.store);
        self.locking.stop_if_failed(forgotten);
        if self.append_numbers(lock, &former, &waiting) {
            let shown = self.ingestion.end_turn(&self.index);
            self.locking.stop_if_failed(shown);
        }
    }

    /// Appends the numbers of the events of transactions to the log without a sync, of some events `first`; false if that failed.
    pub(super) fn append_numbers(&mut self, lock: &CommitLock, first: &[u32], transactions: &[u32]) -> bool {
        let mut appended = self.ingestion.append(lock, &mut self.index, first, transactions);
        if matches!(appended, Err(LogError::Changed)) {
            self.follow_log();
            if self.ingestion.has_former() {
                // What was lost right now comes first.
                return false;
            }
            // Some of them may have their numbers by now.
            appended = self.ingestion.append(lock, &mut self.index, first, transactions);
        }
        appended.inspect_err(|error| self.ingestion.takes_no_line(error)).is_ok()
    }

    /// Records what is about to be shown as gone.
    ///
    /// As long as a commit's file is in `events/`, its numbers and that it was the last of our replica id are derived from it after a loss of
    /// power, so nothing of that is synced then. Once the file is gone nothing else tells, and both become durable here.
    pub(super) fn record_gone(&mut self) {
        if self.locking.is_read_only() {
            return self.ingestion.hold_back(&self.index, &self.store);
        }
        if !self.progress.ready {
            return;
        }
        if let Err(error) = self.chain.keep_last(&self.index, &self.store) {
            let failed = self.ingestion.not_recorded(&self.index, &self.store, error);
            self.locking.stop_if_failed(failed);
        }
        let recorded = self.ingestion.record_gone(&self.index, &self.store);
        self.locking.stop_if_failed(recorded);
    }

    /// Writes a damaged log anew; answers what was wrong with it.
    pub(in crate::braid) fn mend_log(&mut self, lock: &CommitLock) -> Result<Vec<LogProblem>, Failure> {
        self.follow_log();
        Ok(self.ingestion.mend(lock)?)
    }
}
