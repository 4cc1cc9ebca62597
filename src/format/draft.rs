//! Drafts: what an author hands in, checked with every reason at once (SEMANTICS.md, "The content").

mod build;
mod check;
mod checker;
mod event;
mod fault;
mod header;
mod keys;
mod render;
mod source;

#[cfg(test)]
#[path = "draft/check_tests.rs"]
mod check_tests;
#[cfg(test)]
#[path = "draft/draft_tests.rs"]
mod draft_tests;
#[cfg(test)]
#[path = "draft/limit_tests.rs"]
mod limit_tests;

use crate::model::{Draft, Rejection};

pub use check::{check_draft, check_snapshot};
pub use checker::LineChecker;
pub use fault::no_event;
pub use header::{CONFLICT_LEN, is_conflict_id};
pub use render::{render_document, render_draft};

/// The most bytes of one line, its end not counted, and of one event of a document.
pub const LINE_LEN_MAX: usize = 16 << 20;

/// The most bytes of a draft, so that a transaction fits in memory several times.
pub const DRAFT_LEN_MAX: usize = 64 << 20;

/// The most events of a draft.
pub const EVENTS_MAX: usize = 100_000;

/// The most bytes of one write to `append`: what the kernel hands over in one piece.
pub const APPEND_LEN_MAX: usize = (1 << 20) - (4 << 10);

/// The most characters of a `key`.
pub const KEY_CHARS_MAX: usize = 128;

/// The most characters of a snapshot's name.
pub const SNAPSHOT_NAME_CHARS_MAX: usize = 255;

/// The deepest nesting of a payload: one less than `eventcore-fs` reads, whose line is a level of its own.
pub const NESTING_MAX: usize = 126;

/// The most reasons that are told; the rest is counted.
pub const REASONS_MAX: usize = 100;

/// In which form a draft comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DraftKind {
    /// `*.jsonl`: one JSON object a line; blank lines are ignored.
    Lines,
    /// `*.json`: one JSON document, an object or an array of them, over as many lines as it likes.
    Document,
    /// One write to `append`: exactly one line with its end.
    AppendWrite,
}

impl DraftKind {
    /// The kind that a name in `staging/` asks for, or none if its ending is another.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        match name.rsplit_once('.')?.1 {
            "jsonl" => Some(Self::Lines),
            "json" => Some(Self::Document),
            _ => None,
        }
    }
}

/// Reads a whole draft; of no bytes at all it is an empty one.
///
/// # Errors
/// Every reason against it, in the order of its lines, at most [`REASONS_MAX`] and a count of the rest.
pub fn parse_draft(bytes: &[u8], kind: DraftKind) -> Result<Draft, Rejection> {
    let mut checker = LineChecker::new(kind);
    // What is refused here is refused by `finish` with whatever follows.
    let _ = checker.push(bytes);
    checker.finish()
}

/// Tells whether a draft is nothing at all, as an empty file is.
#[must_use]
pub fn is_nothing(draft: &Draft) -> bool {
    *draft == Draft::default()
}
