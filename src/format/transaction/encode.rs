//! From header and events to the bytes of a file.

use std::io::Write;

use super::{FORMAT_VERSION, content_hash};
use crate::format::json::{push_hex, push_string};
use crate::model::{EventId, Header};

/// One event to be written; its payload is written as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodeEvent<'a> {
    /// The event's id.
    pub event_id: EventId,
    /// The stream, unescaped.
    pub stream_id: &'a str,
    /// The writer's own count, from 1.
    pub stream_version: u64,
    /// The type, unescaped.
    pub event_type: &'a str,
    /// One JSON value without line ends.
    pub event_data: &'a str,
    /// One JSON value without line ends.
    pub metadata: &'a str,
}

/// Renders a file: format version 2, with the content hash computed here.
///
/// `format_version` and `content_hash` of `header` are not read; everything else is written as it stands there, in its order.
#[must_use]
pub fn encode(header: &Header, events: &[EncodeEvent<'_>]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(events.iter().map(|event| 256 + event.event_data.len() + event.metadata.len()).sum());
    for event in events {
        push_event(&mut payload, event);
    }
    if events.is_empty() {
        payload.push(b'\n');
    }
    let mut out = Vec::with_capacity(payload.len() + 512);
    push_header(&mut out, header, &content_hash(&payload));
    out.extend_from_slice(&payload);
    out
}

fn push_header(out: &mut Vec<u8>, header: &Header, hash: &[u8; 32]) {
    put(out, format_args!(r#"{{"record":"header","format_version":{FORMAT_VERSION},"transaction_id":"{}""#, header.transaction_id));
    put(out, format_args!(r#","replica_id":"{}","parent_transaction_ids":["#, header.replica_id));
    for (comma, parent) in commas().zip(&header.parents) {
        put(out, format_args!("{comma}\"{parent}\""));
    }
    out.extend_from_slice(br#"],"created_at":"#);
    push_string(out, &header.created_at);
    out.extend_from_slice(br#","stream_bases":{"#);
    for (comma, (stream, base)) in commas().zip(&header.stream_bases) {
        out.extend_from_slice(comma.as_bytes());
        push_string(out, stream);
        put(out, format_args!(":{base}"));
    }
    out.extend_from_slice(br#"},"content_hash":""#);
    push_hex(out, hash);
    out.push(b'"');
    push_our_keys(out, header);
    out.extend_from_slice(b"}\n");
}

fn push_our_keys(out: &mut Vec<u8>, header: &Header) {
    if !header.resolves.is_empty() {
        out.extend_from_slice(br#","resolves":["#);
        for (comma, stream) in commas().zip(&header.resolves) {
            out.extend_from_slice(comma.as_bytes());
            push_string(out, stream);
        }
        out.push(b']');
    }
    if let Some(key) = &header.key {
        out.extend_from_slice(br#","key":"#);
        push_string(out, key);
    }
}

fn push_event(out: &mut Vec<u8>, event: &EncodeEvent<'_>) {
    put(out, format_args!(r#"{{"record":"event","event_id":"{}","stream_id":"#, event.event_id));
    push_string(out, event.stream_id);
    put(out, format_args!(r#","stream_version":{},"event_type":"#, event.stream_version));
    push_string(out, event.event_type);
    put(out, format_args!(r#","event_data":{},"metadata":{}}}"#, event.event_data, event.metadata));
    out.push(b'\n');
}

fn commas() -> impl Iterator<Item = &'static str> {
    std::iter::once("").chain(std::iter::repeat(","))
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to a Vec cannot fail.
    let _ = out.write_fmt(text);
}
