//! The fast way in for lines that are spelled exactly as they are written, which nearly all are.
//!
//! It may decline any line and reads none that the general way would refuse or read otherwise.

use std::borrow::Cow;

use serde_json::value::RawValue;
use uuid::Uuid;

use super::ParsedEvent;
use super::fields::{hash_of_hex, without_repeats};
use crate::model::{EventId, Header, ReplicaId, TransactionId};

/// What is left of a line.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn take(&mut self, text: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(text)?;
        Some(())
    }

    fn split(&mut self, len: usize) -> Option<&'a str> {
        let (front, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(front)
    }

    /// A UUID of 36 characters.
    fn id(&mut self) -> Option<Uuid> {
        Uuid::try_parse(self.split(36)?).ok()
    }

    /// What stands in quotes, if nothing in it is escaped or should be.
    fn string(&mut self) -> Option<&'a str> {
        self.take("\"")?;
        let len = self.0.bytes().position(|byte| byte < 0x20 || byte == b'"' || byte == b'\\')?;
        let text = self.split(len)?;
        self.take("\"")?;
        Some(text)
    }

    /// A number short enough not to overflow.
    fn number(&mut self) -> Option<u64> {
        let len = self.0.bytes().position(|byte| !byte.is_ascii_digit())?;
        let digits = self.split(len)?;
        if len > 19 || (len > 1 && digits.starts_with('0')) {
            return None;
        }
        digits.parse().ok()
    }

    /// Any JSON value, checked.
    fn value(&mut self) -> Option<&'a str> {
        if self.0.starts_with("{}") {
            return self.split(2);
        }
        let mut values = serde_json::Deserializer::from_str(self.0).into_iter::<&RawValue>();
        let value = values.next()?.ok()?.get();
        let len = values.byte_offset();
        // White space in front makes the line one that is not spelled as written.
        self.split(len).filter(|text| text.len() == value.len())
    }
}

/// Reads a header line that has a content hash.
pub(super) fn parse_header(line: &str) -> Option<Header> {
    let mut rest = Rest(line);
    rest.take(r#"{"record":"header","format_version":"#)?;
    let format_version = u64::from(u32::try_from(rest.number()?).ok()?);
    rest.take(r#","transaction_id":""#)?;
    let transaction_id = TransactionId(rest.id()?);
    rest.take(r#"","replica_id":""#)?;
    let replica_id = ReplicaId(rest.id()?);
    rest.take(r#"","parent_transaction_ids":["#)?;
    let parents = parents(&mut rest)?;
    rest.take(r#","created_at":"#)?;
    let created_at = rest.string()?.to_owned();
    rest.take(r#","stream_bases":{"#)?;
    let stream_bases = without_repeats(bases(&mut rest)?);
    rest.take(r#","content_hash":""#)?;
    let content_hash = Some(hash_of_hex(rest.split(64)?)?);
    let header = Header {
        format_version,
        transaction_id,
        replica_id,
        parents,
        created_at,
        stream_bases,
        content_hash,
        resolves: Vec::new(),
        key: None,
    };
    (rest.0 == "\"}").then_some(header)
}

fn parents(rest: &mut Rest<'_>) -> Option<Vec<TransactionId>> {
    let mut parents = Vec::new();
    while rest.take("]").is_none() {
        if !parents.is_empty() {
            rest.take(",")?;
        }
        rest.take("\"")?;
        parents.push(TransactionId(rest.id()?));
        rest.take("\"")?;
    }
    Some(parents)
}

fn bases(rest: &mut Rest<'_>) -> Option<Vec<(String, u64)>> {
    let mut bases = Vec::new();
    while rest.take("}").is_none() {
        if !bases.is_empty() {
            rest.take(",")?;
        }
        let stream = rest.string()?;
        rest.take(":")?;
        bases.push((stream.to_owned(), rest.number()?));
    }
    Some(bases)
}

/// Reads an event line without further keys.
pub(super) fn parse_event(line: &str) -> Option<ParsedEvent<'_>> {
    let mut rest = Rest(line);
    rest.take(r#"{"record":"event","event_id":""#)?;
    let event_id = EventId(rest.id()?);
    rest.take(r#"","stream_id":"#)?;
    let stream_id = Cow::Borrowed(rest.string()?);
    rest.take(r#","stream_version":"#)?;
    let stream_version = rest.number()?;
    rest.take(r#","event_type":"#)?;
    let event_type = Cow::Borrowed(rest.string()?);
    rest.take(r#","event_data":"#)?;
    let event_data = rest.value()?;
    rest.take(r#","metadata":"#)?;
    let metadata = rest.value()?;
    (rest.0 == "}").then_some(ParsedEvent { event_id, stream_id, stream_version, event_type, event_data, metadata })
}
