//! Why a file in `events/` does not count.

use thiserror::Error;

use crate::format::text::shorten;

/// Why a file is quarantined: `eventcore-fs` could not read it either.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The bytes are not UTF-8.
    #[error("file is not UTF-8: the byte at offset {at} begins no character")]
    NotUtf8 {
        /// Offset of the first bad byte, from 0.
        at: u64,
    },
    /// A line is not what the format has there.
    #[error("line {line}, column {column}: {message}")]
    NotThisFormat {
        /// Line of the file, from 1.
        line: u64,
        /// Column in bytes, from 1.
        column: u64,
        /// What was found, and what was expected.
        message: String,
    },
    /// The payload is not the one that the header was written for.
    #[error("content hash differs: the header says \"{expected}\", the payload has \"{actual}\"")]
    HashDiffers {
        /// What the header says, as it stands there.
        expected: String,
        /// What the payload has, in hex.
        actual: String,
    },
}

impl Refusal {
    /// What serde_json says about one line of a file.
    pub(super) fn of_line(line: u64, error: &serde_json::Error) -> Self {
        let text = error.to_string();
        let message = shorten(text.split(" at line ").next().unwrap_or_default().to_owned());
        Self::NotThisFormat { line, column: (error.column() as u64).max(1), message }
    }

    /// A fault of a whole line.
    pub(super) fn line(line: u64, message: impl Into<String>) -> Self {
        Self::NotThisFormat { line, column: 1, message: shorten(message.into()) }
    }
}
