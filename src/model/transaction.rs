//! A transaction's header, and the drafts from which transactions are made.

use std::fmt;

use crate::model::{EventId, Payload, ReplicaId, TransactionId};

/// The first line of a transaction file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// 1 (no content hash) or 2; larger ones are accepted as a finding.
    pub format_version: u64,
    /// The transaction's id.
    pub transaction_id: TransactionId,
    /// The working copy that wrote it.
    pub replica_id: ReplicaId,
    /// The transactions that had no child when it was written, as listed.
    pub parents: Vec<TransactionId>,
    /// When it was written: RFC 3339, compared as bytes.
    pub created_at: String,
    /// Number of events of each stream that the writer had seen, in the order of the file.
    pub stream_bases: Vec<(String, u64)>,
    /// SHA-256 of every byte after the first line end; absent in version 1.
    pub content_hash: Option<[u8; 32]>,
    /// Streams whose forks it closes.
    pub resolves: Vec<String>,
    /// The key of the draft it was made of.
    pub key: Option<String>,
}

/// What an author expects of a stream before the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// The stream has exactly that many events; 0 is the same as [`Expectation::None`].
    Version(u64),
    /// The stream has no event.
    None,
    /// The stream has an event.
    Exists,
    /// Nothing is expected: the default.
    Any,
}

/// As a draft has it, without quotes.
impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => version.fmt(f),
            Self::None => f.write_str("none"),
            Self::Exists => f.write_str("exists"),
            Self::Any => f.write_str("any"),
        }
    }
}

/// A draft's `resolve`: the conflict that it closes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolveRequest {
    /// The 12 hex digits of the conflict.
    pub conflict: String,
}

/// A draft's `snapshot`: the state that it saves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotRequest {
    /// The snapshot's name.
    pub name: String,
    /// The sequence number up to which the state covers the feed.
    pub seq_nr: Option<u64>,
    /// The streams and versions that the state covers, if it covers streams.
    pub versions: Vec<(String, u64)>,
    /// The state's bytes as they stand in the draft.
    pub state: Payload,
}

/// One event of a draft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DraftEvent {
    /// The id that the author gave, for a retry without harm.
    pub event_id: Option<EventId>,
    /// The stream, unescaped.
    pub stream_id: String,
    /// The type, unescaped.
    pub event_type: String,
    /// What happened.
    pub event_data: Payload,
    /// What is told beside it; `{}` by default.
    pub metadata: Payload,
    /// The line of the draft where it begins, from 1.
    pub line: u64,
}

/// What an author hands in: it becomes one transaction or is refused as a whole.
///
/// It is held to the limits of a draft file when it is committed, however it came together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// What is expected of streams.
    pub expect: Vec<(String, Expectation)>,
    /// The streams of `expect` of which no line of the draft says it, as its author said it elsewhere.
    pub unwritten: Vec<String>,
    /// The key that makes a retry safe.
    pub key: Option<String>,
    /// How many events the author meant to write.
    pub count: Option<u64>,
    /// The conflict that it closes.
    pub resolve: Option<ResolveRequest>,
    /// The state that it saves instead of events.
    pub snapshot: Option<SnapshotRequest>,
    /// Its events, in order.
    pub events: Vec<DraftEvent>,
}
