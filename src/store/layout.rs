//! Where everything lies below a store's directory (FORMAT.md, "Layout").

use std::path::{Path, PathBuf};

/// The paths of one store.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The paths below `root`.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The store's directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `events/`: one immutable file a transaction.
    #[must_use]
    pub fn events(&self) -> PathBuf {
        self.root.join("events")
    }

    /// `projections/`: user-defined folds.
    #[must_use]
    pub fn projections(&self) -> PathBuf {
        self.root.join("projections")
    }

    /// `index/`: derived, and the ingestion log.
    #[must_use]
    pub fn index(&self) -> PathBuf {
        self.root.join("index")
    }

    /// `index/ingestion.log`.
    #[must_use]
    pub fn ingestion_log(&self) -> PathBuf {
        self.root.join("index/ingestion.log")
    }

    /// `tmp/`: what is not finished, staged files, receipts.
    #[must_use]
    pub fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// `.eventcore/`: this working copy's identity.
    #[must_use]
    pub fn eventcore(&self) -> PathBuf {
        self.root.join(".eventcore")
    }

    /// `.eventcore/replica_id`.
    #[must_use]
    pub fn replica_id(&self) -> PathBuf {
        self.root.join(".eventcore/replica_id")
    }

    /// `.eventcore/replica_fingerprint`.
    #[must_use]
    pub fn replica_fingerprint(&self) -> PathBuf {
        self.root.join(".eventcore/replica_fingerprint")
    }

    /// `.eventcore/braidfs/`: what is ours alone.
    #[must_use]
    pub fn private(&self) -> PathBuf {
        self.root.join(".eventcore/braidfs")
    }

    /// `.eventcore/braidfs/last_transaction`: written by each commit, behind its file.
    #[must_use]
    pub fn last_transaction(&self) -> PathBuf {
        self.root.join(".eventcore/braidfs/last_transaction")
    }

    /// `checkpoints/`: subscriptions' cursors.
    #[must_use]
    pub fn checkpoints(&self) -> PathBuf {
        self.root.join("checkpoints")
    }

    /// `locks/`: one a subscription.
    #[must_use]
    pub fn locks(&self) -> PathBuf {
        self.root.join("locks")
    }

    /// `.lock`.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.root.join(".lock")
    }
}
