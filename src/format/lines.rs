//! The lines of views: a number or two in front, and behind them a tail that is rendered once an event.

mod content;
mod prefix;
mod read;

use crate::format::json::push_string;
use crate::format::transaction::ParsedEvent;
use crate::model::{EventId, Header};

pub use content::push_content_first;
pub use prefix::{
    FEED_PREFIX_FIXED_LEN, LOG_PREFIX_FIXED_LEN, STREAM_PREFIX_FIXED_LEN, digits, digits_up_to, push_feed_prefix, push_log_prefix,
    push_stream_prefix,
};
pub use read::{Line, parse_line};

const EVENT_ID_KEY: &[u8] = br#""event_id":""#;
const STREAM_ID_KEY: &[u8] = br#"","stream_id":"#;
const TRANSACTION_ID_KEY: &[u8] = br#","transaction_id":""#;
const REPLICA_ID_KEY: &[u8] = br#"","replica_id":""#;
const CREATED_AT_KEY: &[u8] = br#"","created_at":"#;

/// Appends the tail of an event's view lines: everything behind the leading numbers, with the line end.
pub fn render_tail(out: &mut Vec<u8>, header: &Header, event: &ParsedEvent<'_>) {
    out.extend_from_slice(EVENT_ID_KEY);
    push_id(out, event.event_id.0);
    out.extend_from_slice(STREAM_ID_KEY);
    push_string(out, &event.stream_id);
    out.extend_from_slice(br#","event_type":"#);
    push_string(out, &event.event_type);
    out.extend_from_slice(br#","event_data":"#);
    out.extend_from_slice(event.event_data.as_bytes());
    out.extend_from_slice(br#","metadata":"#);
    out.extend_from_slice(event.metadata.as_bytes());
    out.extend_from_slice(TRANSACTION_ID_KEY);
    push_id(out, header.transaction_id.0);
    out.extend_from_slice(REPLICA_ID_KEY);
    push_id(out, header.replica_id.0);
    out.extend_from_slice(CREATED_AT_KEY);
    push_string(out, &header.created_at);
    out.extend_from_slice(b"}\n");
}

fn push_id(out: &mut Vec<u8>, id: uuid::Uuid) {
    out.extend_from_slice(id.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()).as_bytes());
}

/// What follows the event id in a line of an event that has left `events/`.
const GONE_END: &[u8] = b"\",\"gone\":true}\n";

/// The bytes of what [`push_gone_tail`] appends.
pub const GONE_TAIL_LEN: u64 = (EVENT_ID_KEY.len() + uuid::fmt::Hyphenated::LENGTH + GONE_END.len()) as u64;

/// Appends what the feed's line of an event that has left `events/` has behind its number, with its line end.
pub fn push_gone_tail(out: &mut Vec<u8>, event_id: EventId) {
    out.extend_from_slice(EVENT_ID_KEY);
    push_id(out, event_id.0);
    out.extend_from_slice(GONE_END);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::{ReplicaId, TransactionId};

    pub(super) fn tail() -> Vec<u8> {
        tail_of("a\"/é\n", "2026-11-21T22:17:35+00:00")
    }

    pub(super) fn tail_of(stream_id: &str, created_at: &str) -> Vec<u8> {
        let header = Header {
            format_version: 2,
            transaction_id: TransactionId(Uuid::from_u128(2)),
            replica_id: ReplicaId(Uuid::from_u128(3)),
            parents: Vec::new(),
            created_at: created_at.to_owned(),
            stream_bases: Vec::new(),
            content_hash: None,
            resolves: Vec::new(),
            key: None,
        };
        let event = ParsedEvent {
            event_id: EventId(Uuid::from_u128(1)),
            stream_id: stream_id.into(),
            stream_version: 99,
            event_type: "Opened".into(),
            event_data: "{ \"a\" : 1.50 }",
            metadata: "{}",
        };
        let mut out = Vec::new();
        render_tail(&mut out, &header, &event);
        out
    }

    #[test]
    fn a_line_is_a_prefix_and_a_tail() {
        let mut line = Vec::new();
        push_log_prefix(&mut line, 5, 7);
        line.extend(tail());
        let expected = concat!(
            r#"{"position":5,"stream_version":7,"event_id":"00000000-0000-0000-0000-000000000001","stream_id":"a\"/é\n","#,
            r#""event_type":"Opened","event_data":{ "a" : 1.50 },"metadata":{},"transaction_id":"00000000-0000-0000-0000-000000000002","#,
            r#""replica_id":"00000000-0000-0000-0000-000000000003","created_at":"2026-11-21T22:17:35+00:00"}"#,
            "\n"
        );
        assert_eq!(String::from_utf8(line.clone()).unwrap(), expected);
        let read = parse_line(&line).unwrap();
        assert_eq!((read.position, read.stream_version, read.seq_nr), (Some(5), Some(7), None));
        assert_eq!((read.stream_id.as_ref(), read.event_data, read.transaction_id.0.as_u128()), ("a\"/é\n", "{ \"a\" : 1.50 }", 2));
    }

    #[test]
    fn an_event_that_left_is_said_to_be_gone() {
        let mut line = Vec::new();
        push_feed_prefix(&mut line, 9);
        let prefix_len = line.len() as u64;
        push_gone_tail(&mut line, EventId(Uuid::from_u128(1)));
        assert_eq!(line.len() as u64, prefix_len + GONE_TAIL_LEN);
        assert_eq!(line, b"{\"seq_nr\":9,\"event_id\":\"00000000-0000-0000-0000-000000000001\",\"gone\":true}\n");
        assert_eq!(parse_line(&line), None);
        let mut feed = Vec::new();
        push_feed_prefix(&mut feed, 9);
        feed.extend(tail());
        assert_eq!(parse_line(&feed).unwrap().seq_nr, Some(9));
    }
}
