//! Findings: what is worth a report while reads go on.

use serde::{Serialize, Serializer};

use crate::model::TransactionId;

macro_rules! kinds {
    ($($name:ident $text:literal)*) => {
        /// What kind of thing was found; `status.json` spells it as [`FindingKind::name`] does.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum FindingKind {
            $(#[doc = concat!("`", $text, "`")] $name,)*
        }

        impl FindingKind {
            /// Every kind, in the order of `docs/SEMANTICS.md`.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The kind as `status.json` spells it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }

        impl Serialize for FindingKind {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }
    };
}

kinds! {
    OutOfReach "out-of-reach"
    Quarantined "quarantined"
    Healed "healed"
    Dangling "dangling"
    Vanished "vanished"
    Edited "edited"
    Misnamed "misnamed"
    Duplicate "duplicate"
    DeliveredTwice "delivered-twice"
    DuplicateEvent "duplicate-event"
    OddHeader "odd-header"
    IdentityCollision "identity-collision"
    UnreadableByEventcore "unreadable-by-eventcore"
    Uncommitted "uncommitted"
    GitLock "git-lock"
    StaleTemporary "stale-temporary"
    StaleRead "stale-read"
    StorageLacks "storage-lacks"
    BrokenProjection "broken-projection"
    OrphanedCheckpoint "orphaned-checkpoint"
    StaleSnapshot "stale-snapshot"
    GitSetup "git-setup"
    FeedWaits "feed-waits"
    IdleDraft "idle-draft"
}

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing; nothing is wrong.
    Info,
    /// Something should be mended; every view is still right.
    Warning,
    /// Something is missing from the views until it is mended.
    Error,
}

impl Severity {
    /// The severity as `status.json` spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl Serialize for Severity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Something to report, and how `status.json` shows it: what, where, and the command or advice that mends it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// What kind of thing it is.
    pub kind: FindingKind,
    /// How grave it is.
    pub severity: Severity,
    /// The name in `events/` that it is about.
    pub file: Option<String>,
    /// The transaction that it is about.
    pub transaction_id: Option<TransactionId>,
    /// One sentence: subject first, values in quotes.
    pub message: String,
    /// The cure: a command, or advice where no command can mend it.
    pub hint: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_tell_of_every_kind_in_this_order() {
        let text = include_str!("../../docs/SEMANTICS.md");
        let rows = text.lines().skip_while(|line| *line != "| kind | what was found |").skip(2).take_while(|line| line.starts_with('|'));
        let told: Vec<&str> = rows.filter_map(|row| row.split('|').nth(1)).map(str::trim).collect();
        assert_eq!(told, FindingKind::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>());
    }
}
