//! The only door to the operating system's files: reading, durable writing, locks, watching, mapping.
//!
//! A [`Disk`] is cheap to clone. [`Disk::real`] is what programs use; tests have a twin of it (`Disk::faulty`), of which programs know
//! nothing: it works on a real directory too, but counts what changes it, fails or crashes where it is told, and knows what a loss of
//! power would leave.

mod child;
mod cure;
mod error;
mod file;
mod lock;
mod map;
pub(crate) mod mishap;
mod name;
mod owner;
mod proc;
mod read;
mod torn;
#[cfg(test)]
pub mod twin;
mod watch;
mod write;

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use child::{Said, ask_by_child, ask_ioctl_by_child};
pub use error::{Error, NO_FILES_CURE, NO_THREAD_CURE, Op, READ_ONLY_CURE, Result};
pub use file::DiskFile;
pub use lock::LockGuard;
pub use map::Mapping;
pub use name::{os_name, quoted_name, shown_name};
pub use proc::{Holder, cpu_time, has_signal, ignores_hangup, is_dying, is_remote, machine_id};
pub use read::{Entry, EntryKind, OpenDir, Stat};
pub use watch::{Change, Watch, WatchedDir};
pub use write::Filesystem;

#[cfg(test)]
use twin::Twin;

/// The door.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    #[cfg(test)]
    twin: Option<Arc<Twin>>,
    /// The store that it is for.
    ground: Option<Arc<Ground>>,
}

/// A directory below which others are made, and what it was when it was found.
#[derive(Debug)]
struct Ground {
    root: PathBuf,
    device: u64,
    inode: u64,
    /// The user and the group to whom belongs what is made below it, where that is not whoever makes it.
    heir: Option<(u32, u32)>,
}

impl Ground {
    fn is_there(&self) -> bool {
        std::fs::metadata(&self.root).is_ok_and(|found| (found.dev(), found.ino()) == (self.device, self.inode))
    }
}

impl Disk {
    /// The disk as it is.
    #[must_use]
    pub fn real() -> Self {
        Self::default()
    }

    /// The same disk for one directory: once that is moved away, or what it lies on is unmounted, none is made in its place. What root
    /// makes below it belongs to its owner.
    ///
    /// Errors when there is no such directory now.
    pub fn within(&self, root: &Path) -> Result<Self> {
        let Stat { device, inode, .. } = self.stat(root)?;
        let heir = std::fs::metadata(root).ok().as_ref().and_then(owner::heir);
        Ok(Self {
            #[cfg(test)]
            twin: self.twin.clone(),
            ground: Some(Arc::new(Ground { root: root.to_path_buf(), device, inode, heir })),
        })
    }

    /// Refuses to make what would lie in another directory than the one that it is for.
    fn may_make(&self, op: Op, path: &Path) -> Result<()> {
        if self.ground.as_ref().is_none_or(|ground| !path.starts_with(&ground.root) || ground.is_there()) {
            return Ok(());
        }
        let gone = std::io::Error::new(std::io::ErrorKind::NotFound, "the store's directory is gone, or another one is in its place");
        Err(Error::new(op, path, gone))
    }

    /// Whether the directory that it is for is still where it was.
    #[must_use]
    pub fn is_at_home(&self) -> bool {
        self.ground.as_ref().is_none_or(|ground| ground.is_there())
    }

    /// The same. Errors where that cannot be told: its disk does not answer, say.
    pub fn finds_home(&self) -> Result<bool> {
        let Some(ground) = &self.ground else { return Ok(true) };
        let found = self.stat_if_present(&ground.root)?;
        Ok(found.is_some_and(|found| (found.device, found.inode) == (ground.device, ground.inode)))
    }

    /// The twin for tests: what lies under `root` now counts as durable, and what happens there is judged by the [`Twin`].
    ///
    /// Errors when `root` cannot be read.
    #[cfg(test)]
    pub fn faulty(root: &Path) -> Result<(Self, Arc<Twin>)> {
        let twin = Arc::new(Twin::new(root)?);
        Ok((Self { twin: Some(Arc::clone(&twin)), ground: None }, twin))
    }

    /// Asks whether the operation may happen, where a test has a say in that.
    fn admit(&self, op: Op, path: &Path) -> Result<()> {
        let fails = (op.is_mutating() && mishap::at("disk")) || (op.is_sync() && mishap::at("sync"));
        if fails {
            return Err(Error::new(op, path, std::io::Error::from_raw_os_error(libc::EIO)));
        }
        #[cfg(test)]
        if let Some(twin) = &self.twin {
            twin.admit(op, path)?;
        }
        Ok(())
    }

    /// Syncs, but on the twin: its model is what counts there, and a test that crashes at every step would wait for ever.
    fn for_real(&self, sync: impl FnOnce() -> std::io::Result<()>) -> std::io::Result<()> {
        if self.has_twin() { Ok(()) } else { sync() }
    }

    fn has_twin(&self) -> bool {
        #[cfg(test)]
        if self.twin.is_some() {
            return true;
        }
        false
    }

    /// Tells the twin, if there is one, what has happened.
    #[cfg(test)]
    fn note(&self, change: impl FnOnce(&mut twin::Model)) {
        if let Some(twin) = &self.twin {
            twin.note(change);
        }
    }
}

#[cfg(test)]
mod tests;
