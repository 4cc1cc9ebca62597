//! What is known of one transaction, beside the columns.

use crate::format::binary::{Binary, Input, binary_fields};
use crate::model::{ReplicaId, TransactionId};

/// Bits that say what a transaction is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u8);

impl Binary for Flags {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }

    fn take(from: &mut Input<'_>) -> Option<Self> {
        u8::take(from).map(Self)
    }
}

impl Flags {
    /// Its file is here and valid: it is in every view.
    pub const VALID: Self = Self(1);
    /// It stands in or behind a cycle of parents.
    pub const CYCLIC: Self = Self(2);
    /// A merge without events, bases and `resolves`: it closes every fork that it descends from.
    pub const CLOSES_ALL: Self = Self(4);
    /// It lists more than one parent.
    pub const MERGE: Self = Self(8);
    /// Its file is here, valid in itself.
    pub const PRESENT: Self = Self(16);

    /// Whether all bits of `other` are set.
    #[must_use]
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These bits, with `other` set or cleared.
    #[must_use]
    pub fn with(self, other: Self, on: bool) -> Self {
        Self(if on { self.0 | other.0 } else { self.0 & !other.0 })
    }
}

/// What few transactions have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// The key of its draft.
    pub key: Option<Box<str>>,
    /// The streams whose forks it closes, by number.
    pub resolves: Vec<u32>,
    /// Streams that were read and not written, by number, with the versions seen.
    pub reads: Vec<(u32, u64)>,
    /// The name of its file where it is not `<id>.jsonl`.
    pub file: Option<Box<str>>,
}
binary_fields!(Details { key, resolves, reads, file });

/// What a new or returning transaction brings besides its id.
pub(crate) struct Facts<'a> {
    pub(crate) created_at: &'a str,
    pub(crate) replica: ReplicaId,
    pub(crate) parents: &'a [TransactionId],
    pub(crate) first_event: u32,
    pub(crate) event_count: u32,
    pub(crate) inode: u64,
    pub(crate) stamp: u32,
    pub(crate) header_sum: u32,
    pub(crate) closes_all: bool,
    pub(crate) details: Details,
}
