//! What a store says of its forks, and what a resolver is told and answers.

use std::fmt;

use eventcore_types::{StreamId, StreamVersion};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The id of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TransactionId(Uuid);

impl TransactionId {
    /// The transaction with this id.
    #[must_use]
    pub fn new(id: Uuid) -> Self {
        Self(id)
    }

    /// The id as a UUID.
    #[must_use]
    pub fn into_inner(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<TransactionId> for Uuid {
    fn from(id: TransactionId) -> Self {
        id.0
    }
}

/// A stream that concurrent transactions each continued from the same version.
#[derive(Debug, Clone)]
pub struct Fork {
    pub(super) stream_id: StreamId,
    pub(super) base_version: StreamVersion,
    pub(super) transactions: Vec<TransactionId>,
}

impl Fork {
    /// The stream.
    #[must_use]
    pub fn stream_id(&self) -> &StreamId {
        &self.stream_id
    }

    /// The version that they continued from.
    #[must_use]
    pub fn base_version(&self) -> StreamVersion {
        self.base_version
    }

    /// The transactions, sorted by id.
    #[must_use]
    pub fn transactions(&self) -> &[TransactionId] {
        &self.transactions
    }
}

/// A transaction that names parents which are not here.
#[derive(Debug, Clone)]
pub struct DanglingTransaction {
    pub(super) transaction_id: TransactionId,
    pub(super) missing_parents: Vec<TransactionId>,
}

impl DanglingTransaction {
    /// The transaction.
    #[must_use]
    pub fn transaction_id(&self) -> TransactionId {
        self.transaction_id
    }

    /// The parents that are not here.
    #[must_use]
    pub fn missing_parents(&self) -> &[TransactionId] {
        &self.missing_parents
    }
}

/// A transaction file that is left out of all that is read.
#[derive(Debug, Clone)]
pub struct IntegrityFailure {
    pub(super) transaction_id: TransactionId,
    pub(super) detail: String,
}

impl IntegrityFailure {
    /// The transaction that its name claims; nil where it names none.
    #[must_use]
    pub fn transaction_id(&self) -> TransactionId {
        self.transaction_id
    }

    /// The file and why it is left out.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

/// What there is to reconcile, to fetch and to mend.
#[derive(Debug, Clone)]
pub struct StoreStatus {
    pub(super) forks: Vec<Fork>,
    pub(super) dangling: Vec<DanglingTransaction>,
    pub(super) integrity_failures: Vec<IntegrityFailure>,
}

impl StoreStatus {
    /// The forks that no transaction has joined.
    #[must_use]
    pub fn forks(&self) -> &[Fork] {
        &self.forks
    }

    /// The transactions that name parents which are not here, sorted by id.
    #[must_use]
    pub fn dangling(&self) -> &[DanglingTransaction] {
        &self.dangling
    }

    /// The files that are left out.
    #[must_use]
    pub fn integrity_failures(&self) -> &[IntegrityFailure] {
        &self.integrity_failures
    }

    /// Whether there is nothing of all that.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.forks.is_empty() && self.dangling.is_empty() && self.integrity_failures.is_empty()
    }
}

/// A fork as a resolver sees it.
#[derive(Debug, Clone)]
pub struct ForkContext<E> {
    pub(super) stream_id: StreamId,
    pub(super) base_version: StreamVersion,
    pub(super) branches: Vec<BranchView<E>>,
}

impl<E> ForkContext<E> {
    /// The stream.
    #[must_use]
    pub fn stream_id(&self) -> &StreamId {
        &self.stream_id
    }

    /// The version that the branches continued from.
    #[must_use]
    pub fn base_version(&self) -> StreamVersion {
        self.base_version
    }

    /// The branches, a transaction each.
    #[must_use]
    pub fn branches(&self) -> &[BranchView<E>] {
        &self.branches
    }
}

/// What one transaction of a fork wrote to the stream.
#[derive(Debug, Clone)]
pub struct BranchView<E> {
    pub(super) transaction_id: TransactionId,
    pub(super) events: Vec<E>,
}

impl<E> BranchView<E> {
    /// The transaction.
    #[must_use]
    pub fn transaction_id(&self) -> TransactionId {
        self.transaction_id
    }

    /// Its events in the stream.
    #[must_use]
    pub fn events(&self) -> &[E] {
        &self.events
    }
}

/// What a resolver decides for one fork.
#[derive(Debug, Clone)]
pub enum ResolutionOutcome<E> {
    /// Close the fork with these events, which may be none.
    Resolve(Vec<E>),
    /// Leave it, for this reason.
    Unresolvable(String),
}

/// What a reconciliation came to.
#[derive(Debug, Clone)]
pub struct ReconcileReport {
    pub(super) resolved: usize,
    pub(super) unresolved: Vec<StreamId>,
}

impl ReconcileReport {
    /// How many forks it closed.
    #[must_use]
    pub fn resolved_count(&self) -> usize {
        self.resolved
    }

    /// The streams of the forks that the resolver left.
    #[must_use]
    pub fn unresolved_streams(&self) -> &[StreamId] {
        &self.unresolved
    }
}
