//! Under which replica id this working copy writes, and what it has written last under it.
//!
//! Transactions of one replica id are one chain: each descends from all before. So the next write needs another id once the last
//! one is not in its past, and every process must know which one was the last, whoever wrote it.

use uuid::Uuid;

use crate::braid::AppendError;
use crate::braid::keeper::Keeper;
use crate::braid::keeper::commit::storage;
use crate::braid::keeper::ingestion::Ingestion;
use crate::disk;
use crate::index::Index;
use crate::model::{ReplicaId, TransactionId};
use crate::store::{CommitLock, Followed, Identity, MintReason, Store};

/// Our replica id, and the end of its chain.
pub(super) struct Chain {
    identity: Identity,
    /// Whether the last transaction was found instead of written, and is not yet remembered on the disk.
    owes_last: bool,
    /// The last transaction, once it is gone and the file that says so is durable.
    last_synced: Option<TransactionId>,
}

impl Chain {
    pub(super) fn new(identity: Identity) -> Self {
        Self { identity, owes_last: false, last_synced: None }
    }

    pub(super) fn replica_id(&self) -> Option<ReplicaId> {
        self.identity.replica_id
    }

    /// The replica ids that this working copy has written under.
    pub(super) fn own_replicas(&self) -> &[ReplicaId] {
        &self.identity.own_replicas
    }

    /// Whether there is a last transaction to be written down.
    pub(super) fn owes_last(&self) -> bool {
        self.owes_last
    }

    /// Why the next write, on top of all that is in the views, needs a new replica id; none if it does not.
    fn must_mint(&self, index: &Index) -> Option<MintReason> {
        // The parents are all heads, so every transaction in the views is in the past.
        self.identity.must_mint(|id| index.transactions.find_valid(id).is_some())
    }

    /// Keeps in mind that this was the last transaction under our replica id.
    ///
    /// # Errors
    /// Where a sync failed; that anything else did costs a new id at most.
    pub(super) fn remember(&mut self, lock: &CommitLock, store: &Store, id: TransactionId) -> disk::Result<()> {
        self.owes_last = false;
        match store.remember(lock, &mut self.identity, id) {
            Err(error) if !error.op.is_sync() => {
                tracing::warn!(%error, "the last transaction could not be remembered");
                Ok(())
            }
            remembered => remembered,
        }
    }

    /// Writes down a last transaction that was found instead of written.
    ///
    /// # Errors
    /// As [`Chain::remember`].
    pub(super) fn remember_found(&mut self, lock: &CommitLock, store: &Store) -> disk::Result<()> {
        match self.identity.last_transaction.filter(|_| self.owes_last) {
            Some(id) => self.remember(lock, store, id),
            None => Ok(()),
        }
    }

    /// Makes it durable which transaction was the last, where that is gone: an older one, which may still be there, would be taken for it,
    /// and another chain begin there under the same id.
    ///
    /// # Errors
    /// What the disk answered.
    pub(super) fn keep_last(&mut self, index: &Index, store: &Store) -> disk::Result<()> {
        let gone = self.identity.last_transaction.filter(|&id| index.transactions.find_valid(id).is_none());
        if gone.is_none() || gone == self.last_synced || self.owes_last {
            return Ok(());
        }
        store.sync_last(&self.identity)?;
        self.last_synced = gone;
        Ok(())
    }

    /// Another program may have made a replica id here: the first one, or, after a copy or a branch switch, another than ours.
    fn follow(&mut self, index: &Index, store: &Store) -> Followed {
        let followed = store.follow_identity(&mut self.identity).unwrap_or_else(|error| {
            tracing::warn!(%error, "the replica id cannot be read");
            Followed::Same
        });
        if followed == Followed::Another {
            self.owes_last = false;
            self.find_last(index);
        }
        followed
    }

    /// Another program may have written under our replica id, or we, before we were killed: the chain goes on from there.
    pub(super) fn follow_own(&mut self, index: &Index, shown: &[u32]) {
        let Some(own) = self.identity.replica_id else { return };
        let transactions = &index.transactions;
        let ours = shown.iter().copied().filter(|&tx| transactions.replica(tx) == own && transactions.is_valid(tx));
        if let Some(newest) = ours.max_by(|&a, &b| transactions.compare(a, b)) {
            self.go_on_from(index, newest);
        }
    }

    /// The same for all that is there, at a start.
    pub(super) fn find_last(&mut self, index: &Index) {
        let Some(own) = self.identity.replica_id.filter(|_| self.identity.is_own()) else { return };
        let (transactions, order) = (&index.transactions, &index.order);
        let last = match self.identity.last_transaction.map(|last| transactions.find_valid(last)) {
            // Nothing goes on from one that is gone.
            Some(None) => return,
            known => known.flatten(),
        };
        // What descends from the last one that is known stands behind it.
        let mut behind = (0..order.len()).rev().filter_map(|rank| order.get(rank)).take_while(|&tx| Some(tx) != last);
        if let Some(newest) = behind.find(|&tx| transactions.replica(tx) == own) {
            self.go_on_from(index, newest);
        }
    }

    /// Takes one of ours for the last if it descends from the one that is known. One that has only come back does not; and a last
    /// transaction that is gone stays the last, or the next write would not notice it.
    fn go_on_from(&mut self, index: &Index, newest: u32) {
        let transactions = &index.transactions;
        let goes_on = match self.identity.last_transaction {
            Some(last) => transactions.find_valid(last).is_some_and(|last| index.is_ancestor(last, newest)),
            None => true,
        };
        if goes_on && self.identity.is_own() {
            self.identity.last_transaction = Some(transactions.id(newest));
            self.owes_last = true;
        }
    }
}

impl Keeper {
    /// Makes sure that our last transaction is in the past of the next one, or mints a new replica id.
    pub(super) fn ensure_identity(&mut self, lock: &CommitLock) -> Result<(), AppendError> {
        let taken_away = self.follow_identity().then_some(MintReason::First);
        let missed = || self.may_have_missed_last().then_some(MintReason::LastTransactionGone);
        let Some(reason) = taken_away.or_else(|| self.chain.must_mint(&self.index)).or_else(missed) else { return Ok(()) };
        self.ingestion.log().sync().map_err(|error| self.unsynced(&error))?;
        let id = ReplicaId(Uuid::new_v4());
        tracing::info!(%id, ?reason, "a new replica id is minted");
        if let Err(error) = self.store.mint(lock, &mut self.chain.identity, reason, id) {
            return Err(self.unsynced(&error));
        }
        self.mark_dirty();
        Ok(())
    }

    /// Whether our last transaction may be another than the one that is known: eventcore-fs, which shares our replica id, has opened the store
    /// since, and an event that was numbered after it is gone. Its line does not say whose it was.
    fn may_have_missed_last(&self) -> bool {
        let last = self.chain.identity.last_transaction.and_then(|id| self.index.transactions.find_valid(id));
        last.is_some_and(|tx| Ingestion::has_gone_behind(&self.index, tx)) && self.store.was_opened_by_eventcore_fs()
    }

    /// What was not made durable: writing stops only where a sync failed, and not what comes before it.
    fn unsynced(&mut self, error: &disk::Error) -> AppendError {
        if error.op.is_sync() { self.sync_failed(error) } else { storage(error) }
    }

    /// Looks whether another program has made a replica id here; gives whether ours was taken away.
    pub(super) fn follow_identity(&mut self) -> bool {
        if self.index.transactions.is_empty() {
            return false;
        }
        let followed = self.chain.follow(&self.index, &self.store);
        if followed == Followed::Another {
            self.mark_dirty();
        }
        followed == Followed::TakenAway
    }
}
