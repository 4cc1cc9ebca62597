//! The ids of transactions, events and replicas.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use uuid::Uuid;

macro_rules! id {
    ($name:ident, $what:literal) => {
        #[doc = concat!("The id of ", $what, ": a UUID, ordered by its 16 bytes.")]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub struct $name(pub Uuid);

        impl $name {
            /// The 16 bytes that order this id.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

id!(TransactionId, "a transaction");
id!(EventId, "an event");
id!(ReplicaId, "a replica (one working copy of a store)");

impl TransactionId {
    /// Whether a file of this name in `events/` is named as that of this transaction should be.
    #[must_use]
    pub fn is_file_name(self, name: &str) -> bool {
        name.strip_suffix(".jsonl") == Some(self.0.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
    }

    /// The transaction whose id a file's name is, in whatever way that is written.
    #[must_use]
    pub fn of_file_name(name: &str) -> Option<Self> {
        name.strip_suffix(".jsonl")?.parse().ok()
    }
}
