//! Why a fold has no state.

use std::fmt;

use crate::model::EventId;

/// Longest message that an error carries, in bytes: jq's own texts repeat the whole value they are about.
const MESSAGE_BYTES_MAX: usize = 600;

/// Whose fault an error of a fold is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoldErrorKind {
    /// The definition or its program is not valid: nothing can be folded until it is mended.
    Program,
    /// The step failed on an event: the state is broken until the program or the history changes.
    Step,
    /// The step took more time or memory than it may.
    Limit,
    /// The machine's or our own: worth another try, and never to be saved as the fold's outcome.
    Machine,
}

/// Why a fold has no state, with the event that broke it or the place in its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoldError {
    /// Whose fault it is.
    pub kind: FoldErrorKind,
    /// The event that broke it, if one did and its line names its id.
    pub event_id: Option<EventId>,
    /// Line of the definition's text, from 1.
    pub line: Option<u64>,
    /// Column in bytes, from 1.
    pub column: Option<u64>,
    /// Subject first, values in quotes, limit and actual.
    pub message: String,
}

impl FoldError {
    /// An error that is about no event and no place; its message is cut to a length that a view can show.
    #[must_use]
    pub fn new(kind: FoldErrorKind, message: impl Into<String>) -> Self {
        Self { kind, event_id: None, line: None, column: None, message: shorten(message.into()) }
    }

    /// The same error about the place `offset` bytes into `text`.
    #[must_use]
    pub fn at_offset(mut self, text: &str, offset: usize) -> Self {
        let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
        let line_start = memchr::memrchr(b'\n', before).map_or(0, |end| end + 1);
        self.line = Some(memchr::memchr_iter(b'\n', before).count() as u64 + 1);
        self.column = Some((before.len() - line_start) as u64 + 1);
        self
    }

    /// The same error with the event that broke the fold.
    #[must_use]
    pub fn with_event(mut self, event_id: Option<EventId>) -> Self {
        self.event_id = event_id;
        self
    }

    pub(super) fn too_long(state_bytes_max: usize) -> Self {
        Self::new(FoldErrorKind::Limit, format!("the state is longer than {state_bytes_max} bytes"))
    }

    pub(super) fn program(message: impl Into<String>) -> Self {
        Self::new(FoldErrorKind::Program, message)
    }

    pub(super) fn step(message: impl Into<String>) -> Self {
        Self::new(FoldErrorKind::Step, message)
    }
}

impl fmt::Display for FoldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, "line {line}, column {column}: ")?;
        }
        if let Some(event_id) = self.event_id {
            write!(f, "event \"{event_id}\": ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for FoldError {}

fn shorten(mut message: String) -> String {
    if message.len() > MESSAGE_BYTES_MAX {
        let cut = (0..=MESSAGE_BYTES_MAX).rev().find(|at| message.is_char_boundary(*at));
        message.truncate(cut.unwrap_or_default());
        message.push('…');
    }
    message
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_becomes_a_line_and_a_column() {
        let text = "ab\ncd\n";
        let place = |offset| {
            let error = FoldError::program("x").at_offset(text, offset);
            (error.line.unwrap(), error.column.unwrap())
        };
        assert_eq!(place(0), (1, 1));
        assert_eq!(place(2), (1, 3));
        assert_eq!(place(3), (2, 1));
        assert_eq!(place(6), (3, 1));
        assert_eq!(place(99), (3, 1));
    }

    #[test]
    fn a_long_message_is_cut_at_a_whole_character() {
        assert_eq!(FoldError::step("ä".repeat(300)).message.len(), MESSAGE_BYTES_MAX);
        let cut = FoldError::step("xä".repeat(300)).message;
        assert!(cut.ends_with("x…") || cut.ends_with("ä…"));
        assert!(cut.len() <= MESSAGE_BYTES_MAX + '…'.len_utf8());
    }
}
