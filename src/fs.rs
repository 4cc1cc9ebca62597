//! The file system in plain Rust: inodes, listings, staging and receipts over published trees.
//!
//! No kernel is needed to test it: the row `mount` unpacks requests, calls here and replies.

mod again;
mod attr;
mod checkpoints;
mod concerned;
mod decisions;
mod learned;
mod ledger;
mod listing;
mod locks;
mod names;
mod nodes;
mod own;
mod publish;
mod real;
mod receipt;
mod refuse;
mod source;
mod staging;
mod views;
mod writes;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::SystemTime;

pub use attr::{Attr, Found, Ttl};
pub use checkpoints::Checkpoints;
pub use listing::{Child, KEPT};
pub use locks::{Lock, LockKind};
pub use nodes::ROOT;
pub use publish::{Again, Notice};
pub use refuse::Caller;
pub use source::{Content, Slow, Tree};
pub use staging::{Release, Staging, Unfinished, commit_kind};
pub use writes::{Changes, Opened};

use again::LookedUpAgain;
use decisions::Decisions;
use learned::Learned;
use listing::Listings;
use locks::Locks;
use nodes::Nodes;

use crate::format::time::nanos;
use crate::model::Errno;

/// How a file system is shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// Without staging, `append` and receipts; stateless by inode.
    pub read_only: bool,
    /// The user who mounts: the only one besides root who may append.
    pub uid: u32,
    /// The group of the user who mounts.
    pub gid: u32,
    /// Whether the kernel is to keep nothing of what it is answered.
    pub uncached: bool,
}

/// One mounted file system.
pub struct Fs {
    manner: Manner,
    staging: Option<Staging>,
    begun_ns: i128,
    shown: RwLock<Shown>,
    nodes: Mutex<Nodes>,
    listings: Mutex<Listings>,
    locks: Mutex<Locks>,
    checkpoints: Option<Arc<Checkpoints>>,
    decisions: Decisions,
    learned: Mutex<Learned>,
    looked_up_again: Mutex<LookedUpAgain>,
    /// The newest inode when the tree before this one was published.
    newest: AtomicU64,
}

/// What is shown at a moment. While a publication is on its way the bytes are already those of the next tree.
#[derive(Clone)]
struct Shown {
    serial: u64,
    sizes: Arc<dyn Tree>,
    bytes: Arc<dyn Tree>,
}

impl Fs {
    /// A file system that shows a tree; a read-only one is given no staging area.
    #[must_use]
    pub fn new(manner: Manner, tree: Arc<dyn Tree>, staging: Option<Staging>) -> Self {
        Self {
            manner,
            staging,
            begun_ns: nanos(SystemTime::now()),
            shown: RwLock::new(Shown { serial: 1, sizes: Arc::clone(&tree), bytes: tree }),
            nodes: Mutex::default(),
            listings: Mutex::default(),
            locks: Mutex::default(),
            checkpoints: None,
            decisions: Decisions::default(),
            learned: Mutex::default(),
            looked_up_again: Mutex::default(),
            newest: AtomicU64::new(0),
        }
    }

    /// The same with checkpoints that can be written and locked.
    #[must_use]
    pub fn with_checkpoints(mut self, checkpoints: Arc<Checkpoints>) -> Self {
        self.checkpoints = Some(checkpoints);
        self
    }

    /// How it is shown.
    #[must_use]
    pub fn manner(&self) -> Manner {
        self.manner
    }

    /// Whether every view is whole: the index has caught up.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.shown().sizes.is_ready()
    }

    /// Whether nobody waits for the index: it has caught up, or its reading of the files has failed.
    fn is_settled(&self) -> bool {
        let sizes = self.shown().sizes;
        sizes.is_ready() || sizes.is_failed()
    }

    /// Whether what a path of the views shows can be known.
    ///
    /// # Errors
    /// `EIO` where the reading of the files that it is made of has failed.
    fn known(&self, path: &str) -> Result<(), Errno> {
        if self.shown().sizes.is_failed() && !writes::is_at_once(path) { Err(Errno::EIO) } else { Ok(()) }
    }

    fn shown(&self) -> Shown {
        self.shown.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Locks although a holder may have panicked: what these locks guard is whole between any two statements.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The path of a name in a directory.
fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

/// The directory and the name of a path; none for the root.
fn split(path: &str) -> Option<(&str, &str)> {
    match path.rsplit_once('/') {
        Some(parts) => Some(parts),
        None if path.is_empty() => None,
        None => Some(("", path)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod drafts_tests;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod memory;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod model_tests;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod pages_tests;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod publish_tests;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod refused_tests;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod staging_tests;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod views_tests;
