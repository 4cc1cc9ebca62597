//! A drop-in for the public crate `eventcore-fs` 2.1: the same names and methods, on our store.
//!
//! An application changes one import line, `eventcore_fs` to `braidfs::eventcore`, and its store can then be mounted
//! while it runs. What differs, and never on disk:
//!
//! - `.lock` is held for a commit, not for the life of the process, so several processes (and a mount) may have one
//!   store open. [`FsEventStoreError::StoreLocked`] says that a program which holds it for life has it open.
//! - Everything is durable, whatever [`FsyncPolicy`] says.
//! - Files that cannot be read do not keep the store from opening; [`StoreStatus::integrity_failures`] names them.
//! - One [`FileEventStore::reconcile`] is one transaction with all heads as parents, however many forks it closes.
//! - Of what a page of events may hold, an event that cannot be decoded takes no place.
//!
//! [`FileEventStore::detect_forks`] keeps that crate's notion of forks, concurrent transactions on equal bases, and its
//! error where a replica id is used twice; [`crate::braid`] knows forks as `docs/FORMAT.md` defines them.
//!
//! ```
//! use braidfs::eventcore::FileEventStore;
//! use eventcore_types::{EventStore, StreamId, StreamVersion, StreamWrites};
//! # use serde::{Deserialize, Serialize};
//! #
//! # #[derive(Clone, Serialize, Deserialize)]
//! # struct Opened { account: StreamId }
//! #
//! # impl eventcore_types::Event for Opened {
//! #     fn stream_id(&self) -> &StreamId { &self.account }
//! #     fn event_type_name() -> &'static str { "Opened" }
//! # }
//! #
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! let store = FileEventStore::open(dir.path())?;
//! let account = StreamId::try_new("account-1")?;
//! let writes = StreamWrites::new().register_stream(account.clone(), StreamVersion::new(0))?.append(Opened { account })?;
//! futures::executor::block_on(store.append_events(writes))?;
//! assert!(store.status()?.is_clean());
//! # Ok(())
//! # }
//! ```

mod config;
mod coordination;
mod detect;
mod draft;
mod error;
mod merge;
mod reading;
mod reconcile;
mod snapshots;
mod store;
mod thread;

pub use config::{FsConfig, FsyncPolicy};
pub use coordination::{FileCheckpointStore, FileLeadershipGuard, FileProjectorCoordinator};
pub use error::{FsCheckpointError, FsCoordinationError, FsEventStoreError};
pub use merge::{
    BranchView, DanglingTransaction, Fork, ForkContext, IntegrityFailure, ReconcileReport, ResolutionOutcome, StoreStatus, TransactionId,
};
pub use store::FileEventStore;
