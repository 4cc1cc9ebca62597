//! The truth: what lies in a store's directory, and the only code that changes it.
//!
//! Everything here works on files and bytes; what they mean is settled above. Whatever changes something that other
//! programs see takes a [`CommitLock`] as proof that `.lock` is held.

mod identity;
mod ingestion;
mod layout;
mod lock;
mod open;
mod publish;
mod scan;

pub use identity::{Identity, MintReason};
pub use ingestion::{IngestionLog, LogError, LogProblem, Refreshed, position_of_seq_nr, seq_nr_of_position};
pub use layout::Layout;
pub use lock::{CommitLock, LockError};
pub use open::{Mode, OpenError, Store};
pub use publish::{Published, WriteError};
pub use scan::{Listed, ListedKind};
