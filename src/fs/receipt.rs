//! Receipts: what became of a staged file, as JSON that programs read.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::braid::Committed;
use crate::format::names::{COMPONENT_LEN_MAX, cut_name};
use crate::format::text::{counted, harmless};
use crate::format::time::created_at;
use crate::model::{ConflictReport, Errno, EventId, Reason, Rejection};
use crate::store::{Coverage, SnapshotMeta};

/// The ending of a receipt's name after that of the staged file.
pub const ENDING: &str = ".json";
/// The ending of the name that shows a refusal in plain words.
pub const ERROR_ENDING: &str = ".error";

/// What the receipt of a staged name is called ([`ENDING`]), or its refusal in words ([`ERROR_ENDING`]). What would be too long is cut
/// before the staged name's own ending.
#[must_use]
pub fn shown_name(of: &str, ending: &str) -> String {
    if of.len() + ending.len() <= COMPONENT_LEN_MAX {
        return of.to_owned() + ending;
    }
    let (stem, kind) = of.split_at(of.rfind('.').unwrap_or(of.len()));
    cut_name(stem, of.as_bytes(), &format!("{kind}{ending}"))
}

/// The staged name that is meant by such a name: as it stands before the ending, or the one of `names` that is shown cut like this.
#[must_use]
pub fn staged_name(shown: &str, ending: &str, names: impl FnOnce() -> Vec<String>) -> Option<String> {
    let of = shown.strip_suffix(ending)?;
    // No staged name that is committed has such a sign.
    if of.contains('%') { names().into_iter().find(|name| shown_name(name, ending) == shown) } else { Some(of.to_owned()) }
}

/// So many streams of a conflict are told in words; the receipt has them all.
const STREAMS_TOLD_MAX: usize = 20;

/// How it stands with a staged file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is a transaction.
    Committed,
    /// It is not, and the file is still there.
    Refused,
    /// It is not decided.
    Pending,
}

/// One receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The staged name.
    pub name: String,
    /// How it stands.
    pub state: State,
    /// The transaction, if committed.
    pub transaction_id: Option<String>,
    /// Its events.
    pub events: Vec<Event>,
    /// The state that was saved instead of a transaction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Saved>,
    /// Every reason, if refused.
    pub reasons: Vec<Why>,
    /// Where forks are the reason: what is open, as the `report.json` of each conflict says it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<ConflictReport>,
    /// How many more there are, without their reports.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_conflicts: usize,
    /// Bytes of the file.
    pub bytes: u64,
    /// Their SHA-256 in hexadecimal.
    pub sha256: String,
    /// When it was decided.
    pub at: String,
    /// Where a draft was refused when it was renamed: the name under which it still lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draft: Option<String>,
    /// While pending, or where it is not certain that nothing was committed: the name under which the bytes lie, and the event ids with
    /// which they are committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
}

/// What a daemon that finds a commit unfinished needs to finish it exactly once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The name in `staging/`.
    pub from: String,
    /// An id for each event whose author gave none.
    pub event_ids: Vec<String>,
}

/// One event of a receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    event_id: String,
    stream_id: String,
    stream_version: u64,
    position: u64,
    seq_nr: Option<u64>,
}

/// The saved state of a receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    name: String,
    ordinal: u64,
    /// Up to which number of the feed it was folded; null where of streams.
    seq_nr: Option<u64>,
    /// The versions of these streams of which it was folded; null where of the feed.
    #[serde(default)]
    versions: Option<BTreeMap<String, u64>>,
    digest: String,
}

impl From<&SnapshotMeta> for Saved {
    fn from(meta: &SnapshotMeta) -> Self {
        let (seq_nr, versions) = match &meta.coverage {
            Coverage::SeqNr(seq_nr) => (Some(*seq_nr), None),
            Coverage::Versions(versions) => (None, Some(versions.clone().into_iter().collect())),
        };
        Self { name: meta.name.clone(), ordinal: meta.ordinal, seq_nr, versions, digest: meta.digest.clone() }
    }
}

/// One reason of a receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    errno: String,
    line: Option<u64>,
    column: Option<u64>,
    message: String,
    hint: String,
}

impl From<&Reason> for Why {
    fn from(reason: &Reason) -> Self {
        Self {
            errno: reason.errno.name().to_owned(),
            line: reason.line,
            column: reason.column,
            message: reason.message.clone(),
            hint: reason.hint.clone(),
        }
    }
}

impl Receipt {
    /// What a system call reports: the first reason's.
    pub(super) fn errno(&self) -> Option<Errno> {
        Errno::from_name(&self.reasons.first()?.errno)
    }

    /// A receipt that says only that nothing is decided.
    #[must_use]
    pub fn pending(name: &str, bytes: u64, sha256: String, attempt: Option<Attempt>) -> Self {
        Self {
            name: name.to_owned(),
            state: State::Pending,
            transaction_id: None,
            events: Vec::new(),
            snapshot: None,
            reasons: Vec::new(),
            conflicts: Vec::new(),
            more_conflicts: 0,
            bytes,
            sha256,
            at: created_at(std::time::SystemTime::now()),
            draft: None,
            attempt,
        }
    }

    /// The same of a draft that lies under another name.
    #[must_use]
    pub fn of_draft(self, from: &str) -> Self {
        let draft = (from != self.name).then(|| from.to_owned());
        Self { draft, ..self }
    }

    /// The receipt of what was committed.
    #[must_use]
    pub fn committed(self, committed: &Committed) -> Self {
        let events = committed.events.iter().map(|event| Event {
            event_id: event.event_id.to_string(),
            stream_id: event.stream_id.clone(),
            stream_version: event.stream_version,
            position: event.position,
            seq_nr: event.seq_nr,
        });
        Self {
            state: State::Committed,
            // A saved state is no transaction.
            transaction_id: committed.snapshot.is_none().then(|| committed.transaction_id.to_string()),
            events: events.collect(),
            snapshot: committed.snapshot.as_ref().map(Saved::from),
            at: created_at(std::time::SystemTime::now()),
            draft: None,
            attempt: None,
            ..self
        }
    }

    /// The receipt of what was refused.
    #[must_use]
    pub fn refused(self, rejection: &Rejection) -> Self {
        Self {
            state: State::Refused,
            reasons: rejection.reasons.iter().map(Why::from).collect(),
            conflicts: rejection.conflicts.clone(),
            more_conflicts: rejection.more_conflicts,
            at: created_at(std::time::SystemTime::now()),
            ..self
        }
    }

    /// The event ids of an attempt at these bytes of which it is not certain that it committed nothing.
    #[must_use]
    pub fn tried(&self, sha256: &str) -> Vec<EventId> {
        let attempt = self.attempt.as_ref().filter(|_| self.state != State::Committed && self.sha256 == sha256);
        attempt.into_iter().flat_map(|attempt| attempt.event_ids.iter().filter_map(|id| id.parse().ok())).collect()
    }

    /// The receipt as the bytes of its file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// The receipt that bytes hold; none if they hold none.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// The refusal in plain words.
    #[must_use]
    pub fn words(&self) -> String {
        // The machine's fault, and not the file's.
        let is_uncertain = self.attempt.is_some();
        let mut text = format!("{} was not committed{}:\n", self.name, if is_uncertain { ", or it is not certain" } else { "" });
        for why in &self.reasons {
            let place = match (why.line, why.column) {
                (Some(line), Some(column)) => format!("line {line}, column {column}: "),
                (Some(line), None) => format!("line {line}: "),
                _ => String::new(),
            };
            text += &format!("{place}{} ({})\n", harmless(&why.message), why.errno);
            if !why.hint.is_empty() {
                text += &format!("  {}\n", harmless(&why.hint));
            }
        }
        for conflict in &self.conflicts {
            text += &conflict.to_text(STREAMS_TOLD_MAX);
            text.push('\n');
        }
        if self.more_conflicts > 0 {
            text += &format!("and {}: see forks/, or braidfs forks\n", counted(self.more_conflicts, "more conflict"));
        }
        if is_uncertain {
            return text;
        }
        text + "Mend the file and save it again as a whole. A program that was told of this while it wrote may not have written the rest.\n"
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // Serde asks so.
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// SHA-256 in hexadecimal.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Bytes in hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;
    use crate::model::Errno;

    #[test]
    fn what_would_be_too_long_is_cut_and_found_again() {
        for len in 240..=COMPONENT_LEN_MAX {
            let names = ["a", "b"].map(|last| "x".repeat(len - 6) + last + ".json");
            let names: Vec<String> = names.into_iter().chain(["x".repeat(len - 6) + ".jsonl"]).collect();
            for ending in [ENDING, ERROR_ENDING] {
                for name in &names {
                    let shown = shown_name(name, ending);
                    assert_eq!(shown == format!("{name}{ending}"), len + ending.len() <= COMPONENT_LEN_MAX, "{shown}");
                    assert!(shown.len() <= COMPONENT_LEN_MAX && shown.ends_with(ending), "{shown}");
                    assert_eq!(staged_name(&shown, ending, || names.clone()).as_ref(), Some(name));
                    assert_eq!(staged_name(&format!("{name}{ending}"), ending, Vec::new).as_ref(), Some(name));
                }
            }
        }
        assert_eq!(staged_name("x%~0.jsonl.json", ENDING, || vec!["x.jsonl".to_owned()]), None);
    }

    #[test]
    fn the_words_of_a_refusal_are_harmless_and_say_how_much_is_left_out() {
        let name = "a\u{1b}[2J\n\u{202e}b";
        let mut rejection = Rejection::whole(Errno::ESTALE, format!("stream \"{name}\" is forked"), format!("look at \"{name}\""));
        rejection.more_conflicts = 7;
        let receipt = Receipt::pending("x.jsonl", 1, String::new(), None).refused(&rejection);
        let words = receipt.words();
        let lines: Vec<&str> = words.lines().collect();
        let plain = "a\\u{1b}[2J\\u{a}\\u{202e}b";
        assert_eq!(lines[1], format!("stream \"{plain}\" is forked (ESTALE)"));
        assert_eq!(lines[2], format!("  look at \"{plain}\""));
        assert_eq!(lines[3], "and 7 more conflicts: see forks/, or braidfs forks");
        let read = Receipt::parse(&receipt.to_bytes()).unwrap();
        assert_eq!((&read, read.more_conflicts), (&receipt, 7));
    }
}
