//! Transaction files: bytes to header and events and back, exactly as `eventcore-fs` 2.1.0 reads and writes them.

mod canonical;
mod encode;
mod fields;
mod header;
mod normalize;
mod oddity;
mod parse;
mod refusal;

#[cfg(test)]
#[path = "transaction/twin_tests.rs"]
mod twin_tests;

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use crate::model::EventId;

pub use encode::{EncodeEvent, encode};
pub use normalize::{FinalNewline, Healing, Normal, normalize};
pub use oddity::{Oddity, OddityKind, stream_id_fault};
pub use parse::parse_events;
pub use refusal::Refusal;

/// The newest `format_version` that is known, and the one that is written.
pub const FORMAT_VERSION: u64 = 2;

/// The most characters of a stream id that is written.
pub const STREAM_ID_CHARS_MAX: usize = 255;

/// One event of a transaction file; its payload is the bytes of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedEvent<'a> {
    /// The event's id.
    pub event_id: EventId,
    /// The stream, unescaped.
    pub stream_id: Cow<'a, str>,
    /// The writer's own count; the true version is computed.
    pub stream_version: u64,
    /// The type, unescaped.
    pub event_type: Cow<'a, str>,
    /// The payload's bytes: one JSON value without `\n`.
    pub event_data: &'a str,
    /// The metadata's bytes: one JSON value without `\n`.
    pub metadata: &'a str,
}

/// The SHA-256 of a payload: every byte of a file after its first `\n`.
#[must_use]
pub fn content_hash(payload: &[u8]) -> [u8; 32] {
    Sha256::digest(payload).into()
}
