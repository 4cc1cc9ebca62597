//! The text of a fold: `projections/<NAME>.jq`.
//!
//! A program in the jq language that any jq can run (`jq --argjson event …`), with the fold's settings in comments
//! that begin with `#:`, before the program:
//!
//! ```text
//! #: init: {"balance":0}
//! #: per: stream
//! #: streams: account-*
//! # How much is in each account.
//! if $event.event_type == "Deposited" then .balance += $event.event_data.amount else . end
//! ```

mod parse;

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::error::FoldError;
use super::glob::glob_matches;

/// Longest text of a definition: programs are written by hand.
pub const TEXT_BYTES_MAX: usize = 64 << 10;

/// Longest name of a fold, in characters.
pub const NAME_CHARS_MAX: usize = 100;

/// What has a state of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Per {
    /// All events together: `views/<NAME>.json`.
    #[default]
    All,
    /// Each stream: `views/<NAME>/<stream>.json`.
    Stream,
    /// Each event type: `views/<NAME>/<type>.json`.
    Type,
}

impl Per {
    /// The word in the definition's text.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Stream => "stream",
            Self::Type => "type",
        }
    }

    /// The value with that word, or none.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::All, Self::Stream, Self::Type].into_iter().find(|per| per.name() == name)
    }
}

/// A user-defined fold, as its file in `projections/` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Its name: that of the file without `.jq`.
    pub name: String,
    /// The state before the first event: JSON, as it stands in the text.
    pub init: String,
    /// What has a state of its own.
    pub per: Per,
    /// The streams whose events it folds; `*` by default.
    pub streams: String,
    /// The whole text, without a byte order mark: the settings are comments of the program.
    pub text: String,
}

impl Definition {
    /// Parses the text of a definition.
    ///
    /// The step itself is compiled elsewhere ([`super::Worker::check`]).
    ///
    /// # Errors
    ///
    /// With line and column: a name or a text outside its limits, an unknown, repeated or misplaced setting, a value
    /// that is none, a text without a program or an initial state.
    pub fn parse(name: &str, text: &str) -> Result<Self, FoldError> {
        parse::parse_definition(name, text)
    }

    /// The text of a definition with these settings and this program, as `projection add` writes it.
    ///
    /// # Errors
    ///
    /// As [`Definition::parse`]: what comes back is what a reader of the text would get.
    pub fn compose(name: &str, init: &str, per: Per, streams: &str, step: &str) -> Result<Self, FoldError> {
        // One line, whatever line ends the author put between the values; within strings JSON has none.
        let init: String = init.chars().map(|c| if c == '\n' || c == '\r' { ' ' } else { c }).collect();
        let mut text = String::new();
        let _ = writeln!(text, "#: init: {}", init.trim());
        let _ = writeln!(text, "#: per: {}", per.name());
        let _ = writeln!(text, "#: streams: {}", streams.trim());
        text.push_str(step.trim_end());
        text.push('\n');
        Self::parse(name, &text)
    }

    /// Which state an event belongs to: its key (empty for [`Per::All`]), or none if the fold passes it over.
    #[must_use]
    pub fn find_key<'e>(&self, stream_id: &'e str, event_type: &'e str) -> Option<&'e str> {
        glob_matches(&self.streams, stream_id).then_some(match self.per {
            Per::All => "",
            Per::Stream => stream_id,
            Per::Type => event_type,
        })
    }

    /// SHA-256 of the text: a state that was saved under another digest belongs to another fold.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.text.as_bytes()).into()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_composed_definition_reads_back() {
        let composed = Definition::compose("balance", "{\"a\":\n 0}\n", Per::Stream, "account-*", ".a += 1\n\n").unwrap();
        assert_eq!(composed.text, "#: init: {\"a\":  0}\n#: per: stream\n#: streams: account-*\n.a += 1\n");
        assert_eq!(composed.per, Per::Stream);
        assert_eq!(composed.init, "{\"a\":  0}");
        assert_eq!(Definition::parse("balance", &composed.text).unwrap(), composed);
    }

    #[test]
    fn an_event_belongs_to_one_state() {
        let definition = |per| Definition::compose("x", "0", per, "account-*", ".").unwrap();
        assert_eq!(definition(Per::All).find_key("account-1", "Opened"), Some(""));
        assert_eq!(definition(Per::Stream).find_key("account-1", "Opened"), Some("account-1"));
        assert_eq!(definition(Per::Type).find_key("account-1", "Opened"), Some("Opened"));
        assert_eq!(definition(Per::Type).find_key("order-1", "Opened"), None);
    }

    #[test]
    fn another_text_has_another_digest() {
        let digest = |step| Definition::compose("x", "0", Per::All, "*", step).unwrap().digest();
        assert_eq!(digest("."), digest(". \n"));
        assert_ne!(digest("."), digest(". + 1"));
    }
}
