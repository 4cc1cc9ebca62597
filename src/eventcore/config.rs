//! How a store is opened.

use std::path::PathBuf;

use uuid::Uuid;

/// Whether what is written is synced; kept for its callers, everything is synced here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FsyncPolicy {
    /// Every append is durable when it returns.
    #[default]
    Full,
    /// Durability is not asked for.
    None,
}

/// Which store is opened, and how.
#[derive(Debug, Clone)]
pub struct FsConfig {
    pub(super) root: PathBuf,
    pub(super) replica_id: Option<Uuid>,
}

impl FsConfig {
    /// The store in a directory.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), replica_id: None }
    }

    /// Takes note that durability is not needed; it is given all the same.
    #[must_use]
    pub fn with_fsync(self, _policy: FsyncPolicy) -> Self {
        self
    }

    /// Writes under this replica id instead of the working copy's own; whoever gives it must give each writer another one.
    #[must_use]
    pub fn with_replica_id(mut self, replica_id: Uuid) -> Self {
        self.replica_id = Some(replica_id);
        self
    }
}
