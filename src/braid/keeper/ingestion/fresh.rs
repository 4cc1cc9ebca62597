//! Fresh numbers: who gets which, also where those that were given are lost.

use std::collections::HashSet;

use crate::braid::keeper::ingestion::Ingestion;
use crate::disk;
use crate::index::Index;
use crate::index::feed::Slot;
use crate::model::{EventId, ReplicaId};
use crate::store::{CommitLock, LogError};

impl Ingestion {
    /// Takes every number back from its event, so that everything waits for one; in which order they were given is remembered until then.
    pub(in crate::braid::keeper) fn forget(&mut self, index: &mut Index) {
        let before = std::mem::take(&mut index.feed);
        let slots = before.items.iter_from(0).map(|item| before.slot(item));
        let mut former: Vec<u32> = slots.filter_map(|slot| if let Slot::Event(event) = slot { Some(event) } else { None }).collect();
        // Numbers may be lost again before all are given.
        former.append(&mut self.former);
        self.former = former;
        for event in 0..index.events.len() {
            if index.events.seq_nr(event) != 0 {
                index.events.set_seq_nr(event, 0);
            }
        }
        if before.latest() > 0 {
            index.feed = before.anew();
            self.is_changed = true;
        }
        self.shown = 0;
        self.wait_for_all(index);
    }

    /// Who gets the next numbers: first the events that had some that are lost, in their order; then transactions, our own in chain order,
    /// for theirs may have been shown without a sync, and the rest in canonical order.
    pub(in crate::braid::keeper) fn in_turn(&self, index: &Index, own_replicas: &[ReplicaId]) -> (Vec<u32>, Vec<u32>) {
        let transactions = &index.transactions;
        let mut waiting: Vec<u32> = self.unnumbered.iter().copied().filter(|&tx| transactions.is_valid(tx)).collect();
        if waiting.is_empty() {
            return (Vec::new(), waiting);
        }
        let own: HashSet<ReplicaId> = own_replicas.iter().copied().collect();
        waiting.sort_by(|&a, &b| {
            let foreign = |tx: u32| !own.contains(&transactions.replica(tx));
            foreign(a).cmp(&foreign(b)).then_with(|| transactions.compare(a, b))
        });
        let is_waiting = |event: &u32| self.unnumbered.contains(&index.events.transaction(*event)) && index.is_shown(*event);
        (self.former.iter().copied().filter(is_waiting).collect(), waiting)
    }

    /// Whether numbers were lost and not all of them are given anew.
    pub(in crate::braid::keeper) fn has_former(&self) -> bool {
        !self.former.is_empty()
    }

    /// All who waited have numbers, which are shown.
    ///
    /// # Errors
    /// Where the log could not be synced, so that nothing may be written any more.
    pub(in crate::braid::keeper) fn end_turn(&mut self, index: &Index) -> disk::Result<()> {
        self.former = Vec::new();
        self.show_certain(index)
    }

    /// Appends the numbers of the events of transactions to the log without a sync, of some events `first`.
    ///
    /// # Errors
    /// What the log answered; [`LogError::Changed`] also where it has lines that the feed does not hold, as while git holds everything up:
    /// behind them the numbers of the two would differ.
    pub(in crate::braid::keeper) fn append(
        &mut self,
        lock: &CommitLock,
        index: &mut Index,
        first: &[u32],
        transactions: &[u32],
    ) -> Result<(), LogError> {
        if self.log.latest_seq_nr() != index.feed.latest() {
            return Err(LogError::Changed);
        }
        let mut slots = Vec::new();
        let mut ids = Vec::new();
        let mut fresh: HashSet<EventId> = HashSet::new();
        let of_transactions = transactions.iter().flat_map(|&tx| index.transactions.events(tx));
        for event in first.iter().copied().chain(of_transactions) {
            if index.events.seq_nr(event) != 0 {
                continue;
            }
            let id = index.events.id(event, &index.pack);
            let other = |other: u32| other != event && index.events.seq_nr(other) != 0 && index.is_shown(other);
            // One id in two transactions: the feed has it once.
            if !fresh.insert(id) || index.events.find(id, &index.pack, other).is_some() {
                continue;
            }
            slots.push(Slot::Event(event));
            ids.push(id);
        }
        self.log.append(lock, &ids)?;
        let Index { feed, events, .. } = index;
        feed.append(&slots, events);
        self.takes_lines();
        for tx in transactions {
            self.unnumbered.remove(tx);
        }
        Ok(())
    }
}
