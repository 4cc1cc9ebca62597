//! Under which replica id this working copy writes, and what it has written last under it.
//!
//! Transactions of one replica id are one chain: each descends from all before. So the next write needs another id once the last
//! one is not in its past, and every process must know which one was the last, whoever wrote it.

use uuid::Uuid;

use crate::braid::AppendError;
use crate::braid::keeper::Keeper;
use crate::braid::keeper::commit::storage;
use crate::disk;
use crate::epoch::WriterState;
use crate::model::{ReplicaId, TransactionId};
use crate::store::{CommitLock, Followed, MintReason};

impl Keeper {
    /// Makes sure that our last transaction is in the past of the next one, or mints a new replica id.
    pub(super) fn ensure_identity(&mut self, lock: &CommitLock) -> Result<(), AppendError> {
        let is_taken_away = self.follow_identity();
        // The parents are all heads, so every transaction in the views is in the past.
        let transactions = &self.index.transactions;
        let taken_away = is_taken_away.then_some(MintReason::First);
        let Some(reason) = taken_away.or_else(|| self.identity.must_mint(|id| transactions.find_valid(id).is_some())) else {
            return Ok(());
        };
        self.log.sync().map_err(|error| self.unsynced(&error))?;
        let id = ReplicaId(Uuid::new_v4());
        tracing::info!(%id, ?reason, "a new replica id is minted");
        if let Err(error) = self.store.mint(lock, &mut self.identity, reason, id) {
            return Err(self.unsynced(&error));
        }
        self.mark_dirty();
        Ok(())
    }

    /// What was not made durable: writing stops only where a sync failed, and not what comes before it.
    fn unsynced(&mut self, error: &disk::Error) -> AppendError {
        if error.op.is_sync() { self.sync_failed(error) } else { storage(error) }
    }

    /// Keeps in mind that this was the last transaction under our replica id.
    pub(super) fn remember(&mut self, lock: &CommitLock, id: TransactionId) {
        self.owes_last = false;
        match self.store.remember(lock, &mut self.identity, id) {
            Ok(()) => {}
            Err(error) if error.op.is_sync() => self.set_writer(WriterState::Failed(error.to_string())),
            Err(error) => tracing::warn!(%error, "the last transaction could not be remembered"),
        }
    }

    /// Writes down a last transaction that was found instead of written.
    pub(super) fn remember_found(&mut self, lock: &CommitLock) {
        if let Some(id) = self.identity.last_transaction.filter(|_| self.owes_last) {
            self.remember(lock, id);
        }
    }

    /// Another program may have made a replica id here: the first one, or, after a copy or a branch switch, another than ours. Gives
    /// whether ours was taken away.
    pub(super) fn follow_identity(&mut self) -> bool {
        if self.index.transactions.is_empty() {
            return false;
        }
        match self.store.follow_identity(&mut self.identity) {
            Ok(Followed::Another) => {
                self.owes_last = false;
                self.find_last();
                self.mark_dirty();
            }
            Ok(Followed::Same) => {}
            Ok(Followed::TakenAway) => return true,
            Err(error) => tracing::warn!(%error, "the replica id cannot be read"),
        }
        false
    }

    /// Another program may have written under our replica id, or we, before we were killed: the chain goes on from there.
    pub(super) fn follow_own(&mut self, shown: &[u32]) {
        let Some(own) = self.identity.replica_id else { return };
        let transactions = &self.index.transactions;
        let ours = shown.iter().copied().filter(|&tx| transactions.replica(tx) == own && transactions.is_valid(tx));
        if let Some(newest) = ours.max_by(|&a, &b| transactions.compare(a, b)) {
            self.go_on_from(newest);
        }
    }

    /// The same for all that is there, at a start.
    pub(super) fn find_last(&mut self) {
        let Some(own) = self.identity.replica_id.filter(|_| self.identity.is_own()) else { return };
        let (transactions, order) = (&self.index.transactions, &self.index.order);
        let last = match self.identity.last_transaction.map(|last| transactions.find_valid(last)) {
            // Nothing goes on from one that is gone.
            Some(None) => return,
            known => known.flatten(),
        };
        // What descends from the last one that is known stands behind it.
        let mut behind = (0..order.len()).rev().filter_map(|rank| order.get(rank)).take_while(|&tx| Some(tx) != last);
        if let Some(newest) = behind.find(|&tx| transactions.replica(tx) == own) {
            self.go_on_from(newest);
        }
    }

    /// Takes one of ours for the last if it descends from the one that is known. One that has only come back does not; and a last
    /// transaction that is gone stays the last, or the next write would not notice it.
    fn go_on_from(&mut self, newest: u32) {
        let transactions = &self.index.transactions;
        let goes_on = match self.identity.last_transaction {
            Some(last) => transactions.find_valid(last).is_some_and(|last| self.index.is_ancestor(last, newest)),
            None => true,
        };
        if goes_on && self.identity.is_own() {
            self.identity.last_transaction = Some(transactions.id(newest));
            self.owes_last = true;
        }
    }
}
