//! Rejections: the author's fault, every reason at once.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::model::{ConflictReport, Errno};

/// Why a draft is refused, at which place of it, and what helps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// The error that a system call reports for it.
    #[serde(serialize_with = "by_name")]
    pub errno: Errno,
    /// Line of the draft, from 1; none if it is about the whole.
    pub line: Option<u64>,
    /// Column in bytes, from 1.
    pub column: Option<u64>,
    /// Subject first, values in quotes, limit and actual.
    pub message: String,
    /// The cure; may be empty.
    pub hint: String,
}

/// A draft that is refused with all its reasons; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The reasons in the order of the draft's lines.
    pub reasons: Vec<Reason>,
    /// Where the draft was to resolve conflicts that are not open, or writes streams that are forked: what is open instead, as it
    /// stands now, those of the draft's streams first; of many a few.
    pub conflicts: Vec<ConflictReport>,
    /// How many more there are, without their reports.
    pub more_conflicts: usize,
}

impl Rejection {
    /// A rejection for these reasons.
    #[must_use]
    pub fn of(reasons: Vec<Reason>) -> Self {
        Self { reasons, conflicts: Vec::new(), more_conflicts: 0 }
    }

    /// A rejection for one reason that is about the whole draft.
    #[must_use]
    pub fn whole(errno: Errno, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::of(vec![Reason { errno, line: None, column: None, message: message.into(), hint: hint.into() }])
    }

    /// The same, of a text that had `len` bytes of one line put in at a place: what is wrong with these is about the whole, and what lies behind
    /// them stands where its author wrote it.
    #[must_use]
    pub fn without_inserted(mut self, (line, column): (u64, u64), len: u64) -> Self {
        for reason in &mut self.reasons {
            match reason.column.filter(|at| reason.line == Some(line) && *at >= column) {
                Some(at) if at < column + len => (reason.line, reason.column) = (None, None),
                Some(at) => reason.column = Some(at - len),
                None => {}
            }
        }
        self
    }

    /// The errno that a system call reports: that of the first reason.
    #[must_use]
    pub fn errno(&self) -> Errno {
        self.reasons.first().map_or(Errno::EINVAL, |reason| reason.errno)
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // Serde asks so.
fn by_name<S: Serializer>(errno: &Errno, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(errno.name())
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.column) {
            (Some(line), Some(column)) => write!(f, "line {line}, column {column}: {}", self.message),
            (Some(line), None) => write!(f, "line {line}: {}", self.message),
            _ => f.write_str(&self.message),
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, reason) in self.reasons.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            reason.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Rejection {}
