//! What is accepted and worth a finding.

use crate::format::json::{NESTING_MAX, Unreadable, find_unreadable};
use crate::format::text::shorten;
use crate::format::time;
use crate::format::transaction::{FORMAT_VERSION, STREAM_ID_CHARS_MAX};
use crate::model::{FindingKind, Header};

/// What kind of oddity it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OddityKind {
    /// `created_at` is not in the form that headers are written in.
    CreatedAt,
    /// A `format_version` that is not known, or one that lacks its content hash.
    FormatVersion,
    /// A stream id outside the limits of what is written.
    StreamId,
    /// `resolves` or `key` is not what we write there; it is ignored.
    HeaderKey,
    /// `eventcore-fs` cannot open a store with this file.
    Unreadable,
}

/// Something odd about a file that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oddity {
    /// What kind it is.
    pub kind: OddityKind,
    /// Subject first, values in quotes, limit and actual.
    pub message: String,
}

impl Oddity {
    pub(super) fn new(kind: OddityKind, message: impl Into<String>) -> Self {
        Self { kind, message: shorten(message.into()) }
    }

    /// The kind of finding that reports it.
    #[must_use]
    pub fn finding_kind(&self) -> FindingKind {
        match self.kind {
            OddityKind::Unreadable => FindingKind::UnreadableByEventcore,
            _ => FindingKind::OddHeader,
        }
    }
}

/// Says which limit a stream id breaks, or none.
#[must_use]
pub fn stream_id_fault(stream_id: &str) -> Option<String> {
    let chars = if stream_id.len() > STREAM_ID_CHARS_MAX { stream_id.chars().count() } else { stream_id.len() };
    if stream_id.is_empty() {
        Some("stream id \"\" is empty".to_owned())
    } else if chars > STREAM_ID_CHARS_MAX {
        Some(format!("stream id has {chars} characters, at most {STREAM_ID_CHARS_MAX} are allowed"))
    } else if stream_id.trim().len() != stream_id.len() {
        Some(format!("stream id {stream_id:?} begins or ends with white space"))
    } else {
        let bad = stream_id.chars().find(|c| matches!(c, '*' | '?' | '[' | ']'));
        bad.map(|c| format!("stream id {stream_id:?} contains \"{c}\", none of \"* ? [ ]\" is allowed"))
    }
}

/// What is odd about a header's known keys.
pub(super) fn of_header(header: &Header, oddities: &mut Vec<Oddity>) {
    if !time::is_canonical(&header.created_at) {
        let message = format!("created_at {:?} is not of the form \"2026-11-21T22:17:35.129118736+00:00\"", header.created_at);
        oddities.push(Oddity::new(OddityKind::CreatedAt, message));
    }
    let version = header.format_version;
    if !(1..=FORMAT_VERSION).contains(&version) {
        oddities.push(Oddity::new(
            OddityKind::FormatVersion,
            format!("format_version {version} is not known, the newest known is {FORMAT_VERSION}"),
        ));
    } else if version > 1 && header.content_hash.is_none() {
        oddities.push(Oddity::new(
            OddityKind::FormatVersion,
            format!("format_version {version} without a content_hash: the payload is not checked"),
        ));
    }
}

/// Reports each kind of [`Unreadable`] once a file.
pub(super) fn of_json(line: u64, offset: usize, json: &str, nested_in: usize, oddities: &mut Vec<Oddity>) {
    find_unreadable(json.as_bytes(), NESTING_MAX - nested_in, |at, what| {
        let then = match what {
            Unreadable::Reserved => "eventcore-fs reads another value there, or cannot open this store",
            _ => "eventcore-fs cannot open this store",
        };
        let what = match what {
            Unreadable::Nesting => "nesting is deeper than 127",
            Unreadable::Number => "number is too large",
            Unreadable::Surrogate => "escape is half of a surrogate pair",
            Unreadable::Reserved => "first key of an object is one that serde_json keeps for itself",
        };
        if !oddities.iter().any(|oddity| oddity.message.starts_with(what)) {
            let message = format!("{what} at line {line}, column {}: {then}", offset + at + 1);
            oddities.push(Oddity::new(OddityKind::Unreadable, message));
        }
    });
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_id_has_limits() {
        for good in ["a", "é".repeat(255).as_str(), "a b", "a/b", "/", "..", "a\u{0}b"] {
            assert_eq!(stream_id_fault(good), None, "{good}");
        }
        for bad in ["", " a", "a\n", "é".repeat(256).as_str(), "a*", "?", "[x", "x]", "\u{a0}a"] {
            assert!(stream_id_fault(bad).is_some(), "{bad}");
        }
        assert_eq!(stream_id_fault(&"x".repeat(256)).unwrap(), "stream id has 256 characters, at most 255 are allowed");
    }
}
