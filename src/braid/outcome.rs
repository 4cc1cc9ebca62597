//! What became of a draft, and why a store could not be opened.

use crate::disk;
use crate::model::{Errno, EventId, Rejection, TransactionId};
use crate::store::{OpenError, SnapshotMeta};

/// A transaction as it was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its id.
    pub transaction_id: TransactionId,
    /// Its events in the order of the draft.
    pub events: Vec<CommittedEvent>,
    /// Whether an earlier commit had done this already, by its key or its event ids.
    pub repeated: bool,
    /// The state that was saved instead of a transaction: then the id is nil and there are no events.
    pub snapshot: Option<SnapshotMeta>,
}

/// An event as it was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedEvent {
    /// Its id.
    pub event_id: EventId,
    /// Its stream.
    pub stream_id: String,
    /// Its rank from 1 in the stream, as of the commit.
    pub stream_version: u64,
    /// Its rank from 1 in canonical order, as of the commit.
    pub position: u64,
    /// Its number in ingestion order, once it is certain.
    pub seq_nr: Option<u64>,
}

/// Why nothing was committed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// The author's fault: every reason.
    #[error("{0}")]
    Rejected(Rejection),
    /// The store is locked, or git is changing it, for longer than five seconds.
    #[error("{message}{}", behind(.hint))]
    Busy {
        /// Who holds it.
        message: String,
        /// What helps.
        hint: String,
    },
    /// The machine's fault.
    #[error("{message}{}", behind(.hint))]
    Storage {
        /// What a system call reports.
        errno: Errno,
        /// What failed.
        message: String,
        /// What helps; may be empty.
        hint: String,
    },
    /// The machine's fault, when the transaction was in `events/` already, or nobody knows whether it was.
    #[error("{message}{}", behind(.hint))]
    Uncertain {
        /// What a system call reports.
        errno: Errno,
        /// What failed, and what is known of the transaction.
        message: String,
        /// What helps; may be empty.
        hint: String,
    },
}

/// What helps, where nothing else has a place for it.
fn behind(hint: &str) -> String {
    if hint.is_empty() { String::new() } else { format!("; {hint}") }
}

impl AppendError {
    /// What a system call reports.
    #[must_use]
    pub fn errno(&self) -> Errno {
        match self {
            Self::Rejected(rejection) => rejection.errno(),
            Self::Busy { .. } => Errno::EBUSY,
            Self::Storage { errno, .. } | Self::Uncertain { errno, .. } => *errno,
        }
    }
}

impl From<Rejection> for AppendError {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

/// Why a store could not be opened or taken in.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What a system call reports.
    pub errno: Errno,
    /// What failed.
    pub message: String,
    /// What helps.
    pub hint: String,
}

impl Failure {
    /// What is no answer of the disk.
    pub(super) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { errno: Errno::EIO, message: message.into(), hint: hint.into() }
    }

    /// Somebody else is at work; it may be tried again.
    pub(super) fn busy(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { errno: Errno::EBUSY, ..Self::new(message, hint) }
    }

    /// The keeper has ended.
    pub(super) fn closed() -> Self {
        Self::new("the store was closed", "")
    }
}

impl From<Failure> for AppendError {
    fn from(failure: Failure) -> Self {
        let Failure { errno, message, hint } = failure;
        if errno == Errno::EBUSY { Self::Busy { message, hint } } else { Self::Storage { errno, message, hint } }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Self::new(error.to_string(), error.hint())
    }
}

impl From<&disk::Error> for Failure {
    fn from(error: &disk::Error) -> Self {
        Self { errno: error.errno(), ..Self::new(error.to_string(), error.hint()) }
    }
}

impl From<disk::Error> for Failure {
    fn from(error: disk::Error) -> Self {
        Self::from(&error)
    }
}
