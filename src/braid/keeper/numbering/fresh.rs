//! Fresh numbers: who gets which, also where those that were given are lost.

use std::collections::HashSet;

use crate::braid::keeper::Keeper;
use crate::index::Index;
use crate::index::feed::Slot;
use crate::model::{EventId, ReplicaId};
use crate::store::{CommitLock, LogError, Repaired};

impl Keeper {
    /// Takes every number back from its event; in which order they were given is remembered until there are fresh ones.
    pub(in crate::braid::keeper) fn forget_feed(&mut self) {
        let before = std::mem::take(&mut self.index.feed);
        let slots = before.items.iter_from(0).map(|item| before.slot(item));
        let mut former: Vec<u32> = slots.filter_map(|slot| if let Slot::Event(event) = slot { Some(event) } else { None }).collect();
        // Numbers may be lost again before all are given.
        former.append(&mut self.former_feed);
        self.former_feed = former;
        for event in 0..self.index.events.len() {
            if self.index.events.seq_nr(event) != 0 {
                self.index.events.set_seq_nr(event, 0);
            }
        }
        if before.latest() > 0 {
            self.index.feed = before.anew();
            self.mark_dirty();
        }
        self.feed_shown = 0;
    }

    /// Gives numbers to everything that has none: first to what had numbers that are lost, in their order; then to our own in chain order,
    /// for theirs may have been shown without a sync, and to the rest in canonical order.
    pub(in crate::braid::keeper) fn number_under(&mut self, lock: &CommitLock) {
        self.follow_log();
        if self.log.is_lost() {
            match self.log.rewrite(lock) {
                Ok(()) => self.log_takes_lines(),
                Err(error) => return self.tell_log_lost(Some(&error)),
            }
        }
        let remembered = self.chain.remember_found(lock, &self.store);
        self.stop_if_failed(remembered);
        match self.log.repair(lock) {
            Ok(Repaired::Nothing) => {}
            Ok(Repaired::CutOff) => drop(self.mended.insert("cut off the end of index/ingestion.log, which was half a line".to_owned())),
            Ok(Repaired::Ended) => {
                self.mended.insert("ended the last line of index/ingestion.log".to_owned());
                self.follow_log();
            }
            Err(error) => tracing::warn!(%error, "the torn end of the ingestion log stays"),
        }
        let transactions = &self.index.transactions;
        let mut waiting: Vec<u32> = self.unnumbered.iter().copied().filter(|&tx| transactions.is_valid(tx)).collect();
        if waiting.is_empty() {
            return;
        }
        let own: HashSet<ReplicaId> = self.chain.own_replicas().iter().copied().collect();
        waiting.sort_by(|&a, &b| {
            let foreign = |tx: u32| !own.contains(&transactions.replica(tx));
            foreign(a).cmp(&foreign(b)).then_with(|| transactions.compare(a, b))
        });
        let is_waiting = |event: &u32| self.unnumbered.contains(&self.index.events.transaction(*event)) && self.index.is_shown(*event);
        let former: Vec<u32> = self.former_feed.iter().copied().filter(is_waiting).collect();
        if !former.is_empty() && self.log.latest_seq_nr() == 0 {
            self.forget_gone();
        }
        if self.append_numbers(lock, &former, &waiting) {
            self.former_feed = Vec::new();
            self.show_certain();
        }
    }

    /// Appends the numbers of the events of transactions to the log without a sync, of some events `first`; false if that failed.
    pub(in crate::braid::keeper) fn append_numbers(&mut self, lock: &CommitLock, first: &[u32], transactions: &[u32]) -> bool {
        let mut appended = self.try_to_append(lock, first, transactions);
        if matches!(appended, Err(LogError::Changed)) {
            self.follow_log();
            if !self.former_feed.is_empty() {
                // What was lost right now comes first.
                return false;
            }
            // Some of them may have their numbers by now.
            appended = self.try_to_append(lock, first, transactions);
        }
        if let Err(error) = appended {
            self.log_takes_no_line(&error);
            return false;
        }
        self.log_takes_lines();
        for tx in transactions {
            self.unnumbered.remove(tx);
        }
        true
    }

    /// The same once; errors with [`LogError::Changed`] also where the log has lines that the feed does not hold, as while git holds
    /// everything up: behind them the numbers of the two would differ.
    fn try_to_append(&mut self, lock: &CommitLock, first: &[u32], transactions: &[u32]) -> Result<(), LogError> {
        if self.log.latest_seq_nr() != self.index.feed.latest() {
            return Err(LogError::Changed);
        }
        let mut slots = Vec::new();
        let mut ids = Vec::new();
        let mut fresh: HashSet<EventId> = HashSet::new();
        let of_transactions = transactions.iter().flat_map(|&tx| self.index.transactions.events(tx));
        for event in first.iter().copied().chain(of_transactions) {
            if self.index.events.seq_nr(event) != 0 {
                continue;
            }
            let id = self.index.events.id(event, &self.index.pack);
            let other = |other: u32| other != event && self.index.events.seq_nr(other) != 0 && self.index.is_shown(other);
            // One id in two transactions: the feed has it once.
            if !fresh.insert(id) || self.index.events.find(id, &self.index.pack, other).is_some() {
                continue;
            }
            slots.push(Slot::Event(event));
            ids.push(id);
        }
        self.log.append(lock, &ids)?;
        let Index { feed, events, .. } = &mut self.index;
        feed.append(&slots, events);
        Ok(())
    }
}
