//! The names that legacy events get in a store.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};
use uuid::{Builder, Uuid};

use crate::format::transaction::STREAM_ID_CHARS_MAX;
use crate::model::EventId;

/// Hex digits of the hash that stands for the end of an id that is too long.
const CUT_HASH_CHARS: usize = 32;

/// The stream of an aggregate: `<aggregate_type>-<aggregate_id>`; without an id, `<aggregate_type>-`.
///
/// What a stream id must not contain (`* ? [ ]`, white space at its ends) becomes `%XX`, and so does `%`, so different
/// aggregates never share a stream for that; an id that is too long is cut and ends in `~` and a hash of the whole.
#[must_use]
pub fn stream_id(aggregate_type: &str, aggregate_id: &str) -> String {
    let whole = format!("{aggregate_type}-{aggregate_id}");
    let inner = whole.trim_start().len();
    let (begin, end) = (whole.len() - inner, whole.trim_end().len());
    let mut escaped = String::with_capacity(whole.len());
    for (at, c) in whole.char_indices() {
        if matches!(c, '*' | '?' | '[' | ']' | '%') || at < begin || at >= end {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                let _ = write!(escaped, "%{byte:02X}");
            }
        } else {
            escaped.push(c);
        }
    }
    if escaped.chars().count() > STREAM_ID_CHARS_MAX {
        escaped = escaped.chars().take(STREAM_ID_CHARS_MAX - 1 - CUT_HASH_CHARS).collect();
        let digest = hex(&Sha256::digest(whole.as_bytes()));
        let _ = write!(escaped, "~{}", digest.get(..CUT_HASH_CHARS).unwrap_or_default());
    }
    escaped
}

/// The stream that holds the cutover of an aggregate type, apart from every aggregate: `system-<aggregate_type>`.
#[must_use]
pub fn cutover_stream_id(aggregate_type: &str) -> String {
    stream_id("system", aggregate_type)
}

/// The id of the cutover's event: always the same for an aggregate type, so that it can only be written once.
#[must_use]
pub fn cutover_event_id(aggregate_type: &str) -> EventId {
    derived(&[b"system.cutover", aggregate_type.as_bytes()])
}

/// The stream of the corrupt lines for which a cutover's event has no room: `system.corrupt-<aggregate_type>`.
#[must_use]
pub fn corrupt_stream_id(aggregate_type: &str) -> String {
    stream_id("system.corrupt", aggregate_type)
}

/// The id of a part of a corrupt line.
pub(super) fn corrupt_event_id(aggregate_type: &str, path: &str, line: u64, part: usize) -> EventId {
    let (line, part) = (line.to_be_bytes(), (part as u64).to_be_bytes());
    derived(&[b"system.corrupt_line", aggregate_type.as_bytes(), path.as_bytes(), &line, &part])
}

/// The id of a legacy event: its own if that is a UUID, else one made of the file's path, the line and how many equal
/// lines stood in that file before it.
pub(super) fn event_id(legacy_id: Option<&str>, path: &str, line: &[u8], repeated: u64) -> EventId {
    match legacy_id.and_then(|id| Uuid::try_parse(id).ok()).filter(|id| !id.is_nil() && !id.is_max()) {
        Some(id) => EventId(id),
        None => derived_event_id(path, line, repeated),
    }
}

/// The id of a legacy event whose own id is no UUID, or is another event's too.
pub(super) fn derived_event_id(path: &str, line: &[u8], repeated: u64) -> EventId {
    derived(&[b"legacy", path.as_bytes(), line, &repeated.to_be_bytes()])
}

/// A UUID of version 8 (the maker's own rule): the first bytes of SHA-256 over the parts, each behind its length.
fn derived(parts: &[&[u8]]) -> EventId {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest: [u8; 32] = hash.finalize().into();
    let (bytes, _) = digest.split_first_chunk::<16>().map_or(([0; 16], &[][..]), |(bytes, rest)| (*bytes, rest));
    EventId(Builder::from_custom_bytes(bytes).into_uuid())
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len() * 2);
    crate::format::json::push_hex(&mut out, bytes);
    String::from_utf8(out).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::format::transaction::stream_id_fault;

    #[test]
    fn streams_are_named_by_their_aggregate() {
        assert_eq!(stream_id("wave", "w1"), "wave-w1");
        assert_eq!(stream_id("session", ""), "session-");
        assert_eq!(stream_id("wave", "a[1]*? 50% "), "wave-a%5B1%5D%2A%3F 50%25%20");
        assert_eq!(cutover_stream_id("wave"), "system-wave");
    }

    #[test]
    fn ids_that_are_too_long_stay_apart() {
        let (a, b) = (stream_id("wave", &"ä".repeat(300)), stream_id("wave", &"ä".repeat(301)));
        assert_ne!(a, b);
        assert_eq!((a.chars().count(), stream_id_fault(&a), stream_id_fault(&b)), (STREAM_ID_CHARS_MAX, None, None));
        assert_eq!(stream_id("wave", &"a".repeat(250)), format!("wave-{}", "a".repeat(250)));
    }

    #[test]
    fn an_event_keeps_a_uuid_and_else_gets_the_same_one_every_time() {
        let own = "8f14e45f-ceea-467f-9575-1a2b3c4d5e6f";
        assert_eq!(event_id(Some(own), "f", b"x", 0).to_string(), own);
        let derived = event_id(Some("evt-7"), "2026-01-01.jsonl", b"x", 0);
        assert_eq!(derived, event_id(None, "2026-01-01.jsonl", b"x", 0));
        assert_eq!(derived.0.get_version_num(), 8);
        for other in [
            event_id(None, "2026-01-02.jsonl", b"x", 0),
            event_id(None, "2026-01-01.jsonl", b"y", 0),
            event_id(None, "2026-01-01.jsonl", b"x", 1),
        ] {
            assert_ne!(derived, other);
        }
        assert_eq!(event_id(Some("00000000-0000-0000-0000-000000000000"), "f", b"x", 0), event_id(None, "f", b"x", 0));
        assert_ne!(cutover_event_id("wave"), cutover_event_id("session"));
    }

    proptest! {
        #[test]
        fn every_aggregate_has_a_stream_that_can_be_written(aggregate_type in "[ -~äé\u{2003}]{1,12}", aggregate_id in "[ -~äé\u{2003}]{0,300}") {
            prop_assert_eq!(stream_id_fault(&stream_id(&aggregate_type, &aggregate_id)), None);
        }
    }
}
