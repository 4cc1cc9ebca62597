//! One line of a legacy log.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::format::json::{NESTING_MAX, Unreadable, find_unreadable};
use crate::format::time::parse_rfc3339;

/// Longest line that becomes an event, in bytes: with its metadata it stays below the 16 MiB of a line of ours. The
/// tools themselves stop reading at 10 MiB.
pub(super) const LINE_BYTES_MAX: usize = 15 << 20;

/// Why a line is no event that can be kept as one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct LegacyError {
    /// Subject first, values in quotes, limit and actual.
    pub message: String,
}

impl LegacyError {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

/// One event of a legacy log; a key that is absent, null or (for text) empty is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LegacyEvent<'a> {
    /// The version of the envelope.
    pub schema_version: Option<u64>,
    /// The event's id; a UUID where the tools are not older than that.
    pub id: Option<String>,
    /// The type; never empty.
    pub event_type: String,
    /// When it happened, as it stands there.
    pub timestamp: Option<String>,
    /// The same in nanoseconds since the epoch.
    pub timestamp_nanos: Option<i128>,
    /// The payload's bytes; `null` if there is none.
    pub data: &'a str,
    /// The session that recorded it.
    pub session_id: Option<String>,
    /// What it belongs to.
    pub correlation_id: Option<String>,
    /// The id of the event that caused it.
    pub causation_id: Option<String>,
    /// The aggregate's id.
    pub aggregate_id: Option<String>,
    /// The aggregate's type.
    pub aggregate_type: Option<String>,
    /// The tool's own sequence number; it means nothing in our order.
    pub seq_nr: Option<u64>,
    /// Keys that the family does not know, with the bytes of their values.
    pub others: Vec<(String, &'a str)>,
}

/// Parses one line of a legacy log, without its line end.
///
/// A key that stands there twice counts the last time, as for the tools.
///
/// # Errors
///
/// What the tools could not read either (not JSON, a value of another type, a timestamp that is none), an event
/// without a type, a line over 15 MiB, and what a store must not hold: nesting over 126, infinite numbers, lone
/// surrogates.
pub fn parse_legacy_line(line: &[u8]) -> Result<LegacyEvent<'_>, LegacyError> {
    if line.len() > LINE_BYTES_MAX {
        return Err(LegacyError::new(format!("line is too long: {} bytes, the limit is {LINE_BYTES_MAX}", line.len())));
    }
    let text = std::str::from_utf8(line).map_err(|error| LegacyError::new(format!("line is not UTF-8: {error}")))?;
    let entries: Entries<'_> = serde_json::from_str(text).map_err(|error| LegacyError::new(format!("line is no JSON object: {error}")))?;
    check_writable(text)?;
    let mut event = LegacyEvent { data: "null", ..LegacyEvent::default() };
    for (key, value) in entries.0 {
        event.set(key, value)?;
    }
    if event.event_type.is_empty() {
        return Err(LegacyError::new("event has no type"));
    }
    Ok(event)
}

fn check_writable(text: &str) -> Result<(), LegacyError> {
    let mut found = None;
    // The line's own object stands where ours will, so its depth is the depth of what is written.
    find_unreadable(text.as_bytes(), NESTING_MAX, |at, what| {
        found.get_or_insert((at, what));
    });
    let Some((at, what)) = found else { return Ok(()) };
    let what = match what {
        Unreadable::Nesting => "nesting deeper than 126",
        Unreadable::Number => "a number beyond the range of f64",
        Unreadable::Surrogate => "a lone surrogate",
        Unreadable::Reserved => "a first key that serde_json keeps for itself",
    };
    Err(LegacyError::new(format!("event cannot be written: column {} has {what}", at + 1)))
}

impl<'a> LegacyEvent<'a> {
    fn set(&mut self, key: String, value: &'a RawValue) -> Result<(), LegacyError> {
        let json = value.get();
        if json == "null" && key != "data" {
            return Ok(());
        }
        match key.as_str() {
            "schema_version" => self.schema_version = Some(parse_number(&key, json)?),
            "id" => self.id = parse_text(&key, json)?,
            "type" => self.event_type = parse_text(&key, json)?.unwrap_or_default(),
            "timestamp" => self.set_timestamp(parse_text(&key, json)?.unwrap_or_default())?,
            "data" => self.data = json,
            "session_id" => self.session_id = parse_text(&key, json)?,
            "correlation_id" => self.correlation_id = parse_text(&key, json)?,
            "causation_id" => self.causation_id = parse_text(&key, json)?,
            "aggregate_id" => self.aggregate_id = parse_text(&key, json)?,
            "aggregate_type" => self.aggregate_type = parse_text(&key, json)?,
            "seq_nr" => self.seq_nr = Some(parse_number(&key, json)?),
            _ => {
                self.others.retain(|(other, _)| *other != key);
                self.others.push((key, json));
            }
        }
        Ok(())
    }

    fn set_timestamp(&mut self, text: String) -> Result<(), LegacyError> {
        let Some(nanos) = parse_rfc3339(&text) else {
            return Err(LegacyError::new(format!("timestamp \"{text}\" is no time of RFC 3339 with its zone")));
        };
        (self.timestamp, self.timestamp_nanos) = (Some(text), Some(nanos));
        Ok(())
    }
}

fn parse_text(key: &str, json: &str) -> Result<Option<String>, LegacyError> {
    let text: String = serde_json::from_str(json).map_err(|_| LegacyError::new(format!("{key} is no string")))?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

fn parse_number(key: &str, json: &str) -> Result<u64, LegacyError> {
    json.parse().map_err(|_| LegacyError::new(format!("{key} \"{}\" is no whole number", json.chars().take(40).collect::<String>())))
}

/// An object's entries in order, with the bytes of their values.
struct Entries<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"schema_version":1,"id":"8f14e45f-ceea-467f-9575-1a2b3c4d5e6f","type":"wave.approved","timestamp":"2026-03-01T10:00:00.5+09:00","data":{ "wave_id":"w1" },"session_id":"s1","correlation_id":"s1","causation_id":"c0","aggregate_id":"w1","aggregate_type":"wave","seq_nr":12,"tool":"x"}"#;

    #[test]
    fn every_key_is_read() {
        let event = parse_legacy_line(LINE.as_bytes()).unwrap();
        assert_eq!((event.schema_version, event.seq_nr), (Some(1), Some(12)));
        assert_eq!(event.id.as_deref(), Some("8f14e45f-ceea-467f-9575-1a2b3c4d5e6f"));
        assert_eq!((event.event_type.as_str(), event.data), ("wave.approved", "{ \"wave_id\":\"w1\" }"));
        assert_eq!(event.timestamp_nanos, Some(1_772_326_800_500_000_000));
        assert_eq!((event.aggregate_type.as_deref(), event.aggregate_id.as_deref()), (Some("wave"), Some("w1")));
        assert_eq!((event.session_id.as_deref(), event.causation_id.as_deref()), (Some("s1"), Some("c0")));
        assert_eq!(event.others, [("tool".to_owned(), "\"x\"")]);
    }

    #[test]
    fn absent_null_and_empty_are_none_and_the_last_key_counts() {
        let event = parse_legacy_line(br#"{"type":"a","type":"b","id":"","seq_nr":null,"session_id":null}"#).unwrap();
        assert_eq!(event, LegacyEvent { event_type: "b".to_owned(), data: "null", ..LegacyEvent::default() });
    }

    #[test]
    fn what_is_no_event_says_why() {
        let deep = format!(r#"{{"type":"a","data":{}1{}}}"#, "[".repeat(127), "]".repeat(127));
        for (line, part) in [
            (&b"{\"type\":\"a\""[..], "no JSON object"),
            (b"[]", "no JSON object"),
            (b"\xff", "not UTF-8"),
            (b"{}", "no type"),
            (br#"{"type":7}"#, "type is no string"),
            (br#"{"type":"a","seq_nr":-1}"#, "seq_nr \"-1\""),
            (br#"{"type":"a","timestamp":"yesterday"}"#, "timestamp \"yesterday\""),
            (br#"{"type":"a","data":"\ud800"}"#, "column 21 has a lone surrogate"),
            (br#"{"type":"a","data":1e999}"#, "f64"),
            (deep.as_bytes(), "nesting"),
            (&vec![b' '; LINE_BYTES_MAX + 1], "too long"),
        ] {
            let error = parse_legacy_line(line).unwrap_err();
            assert!(error.message.contains(part), "{error}");
        }
    }
}
