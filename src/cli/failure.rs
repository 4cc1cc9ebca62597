//! How a command ends when it cannot do what was asked: a kind, which is the exit code, a cause and a hint.

use std::error::Error;
use std::fmt;
use std::io;

use super::harmless::harmless;
use crate::format::text::counted;
use crate::model::Rejection;

/// So many streams of a conflict are shown to people.
const STREAMS_SHOWN_MAX: usize = 20;

/// What a command returns.
pub(crate) type Result<T = ()> = std::result::Result<T, Failure>;

/// Why a command did not do what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The answer is no: refused, not found, or something should be mended.
    Refused,
    /// The command line makes no sense.
    Usage,
    /// Another program has the store; trying again helps.
    Busy,
    /// The machine or the store failed.
    Failed,
    /// Whoever read our output has gone; that is success.
    Closed,
}

impl Kind {
    /// The exit code, as `docs/CLI.md` and `braidfs --help` say.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::Refused => 1,
            Self::Usage => 2,
            Self::Busy => 3,
            Self::Failed => 4,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Refused => "refused",
            Self::Usage => "usage",
            Self::Busy => "busy",
            Self::Failed => "failed",
        }
    }
}

/// A command's failure, with all that a person needs to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    /// What could not be done; empty if the output has said it already.
    pub(crate) message: String,
    pub(crate) causes: Vec<String>,
    pub(crate) hints: Vec<String>,
    /// Where a draft is refused: its reasons, of which causes and hints are made, and what is open where forks are among them.
    pub(crate) rejection: Option<Box<Rejection>>,
}

impl Failure {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), causes: Vec::new(), hints: Vec::new(), rejection: None }
    }

    /// With the causes of an error, from the outermost.
    pub(crate) fn because(mut self, error: &dyn Error) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            let text = error.to_string();
            if !self.causes.iter().any(|cause| cause.contains(&text)) {
                self.causes.push(text);
            }
            next = error.source();
        }
        self
    }

    /// With its subject in front; what is refused is just that, and its causes say why.
    pub(crate) fn about(mut self, subject: &str) -> Self {
        self.message = if self.rejection.is_some() { format!("{subject} is refused") } else { format!("{subject}: {}", self.message) };
        self
    }

    /// With advice; an empty one is left out.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        let hint = hint.into();
        if !hint.is_empty() && !self.hints.contains(&hint) {
            self.hints.push(hint);
        }
        self
    }

    /// The failure as one JSON object.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        let mut error = serde_json::json!({
            "kind": self.kind.name(), "message": self.message, "causes": self.causes, "hints": self.hints,
        });
        if let (Some(fields), Some(rejection)) = (error.as_object_mut(), &self.rejection) {
            fields.insert("reasons".to_owned(), serde_json::json!(rejection.reasons));
            if !rejection.conflicts.is_empty() || rejection.more_conflicts > 0 {
                fields.insert("conflicts".to_owned(), serde_json::json!(rejection.conflicts));
            }
            if rejection.more_conflicts > 0 {
                fields.insert("more_conflicts".to_owned(), serde_json::json!(rejection.more_conflicts));
            }
        }
        serde_json::json!({"error": error})
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "braidfs: {}", harmless(&self.message))?;
        let (conflicts, more) = self.rejection.as_ref().map_or((&[][..], 0), |refused| (&refused.conflicts, refused.more_conflicts));
        let more = (more > 0).then(|| format!("{}: braidfs forks", counted(more, "more conflict")));
        let reports: Vec<String> = conflicts.iter().map(|conflict| conflict.to_text(STREAMS_SHOWN_MAX)).chain(more).collect();
        for (label, texts) in [("cause", &self.causes), ("open", &reports), ("hint", &self.hints)] {
            // What git says has tabs and empty lines.
            for line in texts.iter().flat_map(|text| text.lines()).map(str::trim).filter(|line| !line.is_empty()) {
                write!(f, "\n  {label}: {}", harmless(&line.replace('\t', " ")))?;
            }
        }
        Ok(())
    }
}

/// Errors of standard output: a closed pipe is how `head` says that it has enough.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new(Kind::Closed, ""),
            _ => Self::new(Kind::Failed, "standard output cannot be written").because(&error),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_cause_and_hint_on_lines_of_their_own() {
        let error = io::Error::other("disk on fire\u{1b}");
        let failure = Failure::new(Kind::Failed, "store 'x' cannot be opened").because(&error).hint("call for help").hint("");
        assert_eq!(failure.to_string(), "braidfs: store 'x' cannot be opened\n  cause: disk on fire\\u{1b}\n  hint: call for help");
        assert_eq!(failure.to_json()["error"]["kind"], "failed");
    }

    #[test]
    fn what_others_said_in_paragraphs_is_as_many_lines_as_it_has_words_in() {
        let failure = Failure::new(Kind::Failed, "no").because(&io::Error::other("fatal: no\n\nTry:\n\n\tgit config\tx\n"));
        assert_eq!(failure.to_string(), "braidfs: no\n  cause: fatal: no\n  cause: Try:\n  cause: git config x");
    }

    #[test]
    fn a_closed_pipe_is_success() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(failure.kind.exit_code(), 0);
        assert_eq!(Failure::from(io::Error::from(io::ErrorKind::StorageFull)).kind.exit_code(), 4);
    }
}
