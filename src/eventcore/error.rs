//! The errors that applications match on.

use std::io;
use std::path::{Path, PathBuf};

use crate::braid::{AppendError, Failure};
use crate::disk;
use crate::store::LockError;

/// Why a store could not be opened or used.
#[derive(Debug, thiserror::Error)]
pub enum FsEventStoreError {
    /// The store's directory cannot be made, read or written.
    #[error("store \"{}\" cannot be used: {source}", path.display())]
    InitFailed {
        /// What cannot be used.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// Another program holds the store's lock.
    #[error("store lock \"{}\" is held by another program", path.display())]
    StoreLocked {
        /// The lock file.
        path: PathBuf,
    },
    /// A file holds something else than it should.
    #[error("file \"{}\" is corrupted: {detail}", path.display())]
    Corrupted {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// Two transactions of one replica id do not know of each other, so that it was used in two places.
    #[error("replica id \"{replica_id}\" was used in two places: transactions \"{first}\" and \"{second}\" are concurrent")]
    ReplicaIdentityConflict {
        /// One of the two transactions.
        first: uuid::Uuid,
        /// The other one.
        second: uuid::Uuid,
        /// The replica id of both.
        replica_id: uuid::Uuid,
    },
}

impl FsEventStoreError {
    pub(super) fn of_failure(path: &Path, failure: Failure) -> Self {
        Self::InitFailed { path: path.to_path_buf(), source: io::Error::other(failure.message) }
    }

    pub(super) fn of_disk(error: &disk::Error) -> Self {
        Self::InitFailed { path: error.path.clone(), source: from_disk(error) }
    }

    pub(super) fn of_lock(path: &Path, error: &LockError) -> Self {
        match error {
            LockError::Disk(error) => Self::of_disk(error),
            LockError::Busy { .. } | LockError::ReadOnly(_) => Self::StoreLocked { path: path.to_path_buf() },
        }
    }

    pub(super) fn of_append(root: &Path, error: &AppendError) -> Self {
        match error {
            AppendError::Busy { .. } => Self::StoreLocked { path: root.join(".lock") },
            AppendError::Rejected(rejection) => {
                let source = io::Error::new(io::ErrorKind::InvalidInput, rejection.to_string());
                Self::InitFailed { path: root.to_path_buf(), source }
            }
            AppendError::Storage { errno, .. } | AppendError::Uncertain { errno, .. } => {
                Self::InitFailed { path: root.to_path_buf(), source: io::Error::from_raw_os_error(errno.raw()) }
            }
        }
    }
}

/// Why a checkpoint was not read or saved.
#[derive(Debug, thiserror::Error)]
pub enum FsCheckpointError {
    /// The disk failed, or the name cannot be one.
    #[error("checkpoint cannot be used: {0}")]
    Io(#[from] io::Error),
    /// The file holds no position, or one of another ingestion log.
    #[error("checkpoint file \"{}\" is corrupted: {detail}", path.display())]
    Corrupted {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
}

/// Why the leadership of a subscription was not given.
#[derive(Debug, thiserror::Error)]
pub enum FsCoordinationError {
    /// Somebody else has it.
    #[error("leadership of subscription \"{subscription_name}\" is held by another instance")]
    LeadershipNotAcquired {
        /// The subscription.
        subscription_name: String,
    },
    /// The disk failed, or the name cannot be one.
    #[error("leadership cannot be taken: {0}")]
    Io(#[from] io::Error),
}

pub(super) fn from_disk(error: &disk::Error) -> io::Error {
    io::Error::from_raw_os_error(error.errno().raw())
}
