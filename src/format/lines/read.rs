//! View lines back into their fields, for programs that use the library.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::model::{EventId, ReplicaId, TransactionId};

/// The fields of a view line; which numbers there are depends on the view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Rank in canonical order, in `log.jsonl`.
    pub position: Option<u64>,
    /// Rank among the events of its stream, in all views but the feed.
    pub stream_version: Option<u64>,
    /// Rank in ingestion order, in `feed.jsonl`.
    pub seq_nr: Option<u64>,
    /// The event's id.
    pub event_id: EventId,
    /// The stream, unescaped.
    pub stream_id: Cow<'a, str>,
    /// The type, unescaped.
    pub event_type: Cow<'a, str>,
    /// The payload's stored bytes.
    pub event_data: &'a str,
    /// The metadata's stored bytes.
    pub metadata: &'a str,
    /// The transaction that brought it.
    pub transaction_id: TransactionId,
    /// The replica that wrote it.
    pub replica_id: ReplicaId,
    /// When it was written, as the header says.
    pub created_at: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Fields<'a> {
    position: Option<u64>,
    stream_version: Option<u64>,
    seq_nr: Option<u64>,
    #[serde(borrow)]
    event_id: Cow<'a, str>,
    #[serde(borrow)]
    stream_id: Cow<'a, str>,
    #[serde(borrow)]
    event_type: Cow<'a, str>,
    #[serde(borrow)]
    event_data: &'a RawValue,
    #[serde(borrow)]
    metadata: &'a RawValue,
    #[serde(borrow)]
    transaction_id: Cow<'a, str>,
    #[serde(borrow)]
    replica_id: Cow<'a, str>,
    #[serde(borrow)]
    created_at: Cow<'a, str>,
}

/// Reads one view line, with or without its line end; none if it is not one, as for an event that is gone.
#[must_use]
pub fn parse_line(line: &[u8]) -> Option<Line<'_>> {
    let fields: Fields<'_> = serde_json::from_slice(line).ok()?;
    Some(Line {
        position: fields.position,
        stream_version: fields.stream_version,
        seq_nr: fields.seq_nr,
        event_id: EventId(Uuid::try_parse(&fields.event_id).ok()?),
        stream_id: fields.stream_id,
        event_type: fields.event_type,
        event_data: fields.event_data.get(),
        metadata: fields.metadata.get(),
        transaction_id: TransactionId(Uuid::try_parse(&fields.transaction_id).ok()?),
        replica_id: ReplicaId(Uuid::try_parse(&fields.replica_id).ok()?),
        created_at: fields.created_at,
    })
}
