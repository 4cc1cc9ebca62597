//! The truth: what lies in a store's directory, and the only code that changes it.
//!
//! Everything here works on files and bytes; what they mean is settled above. Whatever changes something that other
//! programs see takes a [`CommitLock`] as proof that `.lock` is held.

mod checkpoint;
mod declined;
mod exchange;
pub mod git;
mod gone;
mod identity;
mod ingestion;
mod layout;
mod lock;
mod open;
mod probe;
mod projections;
mod publish;
mod receipts;
mod scan;
mod snapshot;
mod staging;
mod temporary;

pub use checkpoint::{CHECKPOINT_NAME_BYTES_MAX, Checkpoint, CheckpointError, Standing};
pub use identity::{Followed, Identity, MintReason};
pub use ingestion::{IngestionLog, LogError, LogProblem, Refreshed, Repaired, position_of_seq_nr, seq_nr_of_position};
pub use layout::Layout;
pub use lock::{CommitLock, LockError};
pub use open::{AS_THEY_ARE, ATTRIBUTES, LackingLines, Mode, OpenError, Store, is_fresh_clone};
pub use probe::Probe;
pub use publish::{Group, Published, WriteError};
pub use receipts::{RECEIPT_AGE_MAX, RECEIPTS_MAX, Receipts};
pub use scan::{FILE_BYTES_MAX, Listed, ListedKind};
pub use snapshot::{Coverage, FoundSnapshot, NewSnapshot, SNAPSHOTS_KEPT, Snapshot, SnapshotError, SnapshotMeta};
pub use staging::{StagedName, Staging};
pub use temporary::{STALE_AGE, Stale};

#[cfg(test)]
mod peer_tests;
