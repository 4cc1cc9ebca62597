//! Making transactions durable: the one way in which a file comes into `events/`.

use std::path::{Path, PathBuf};

use crate::disk;
use crate::model::Errno;
use crate::store::{CommitLock, Store};

/// From this many files on, one sync of the whole file system is cheaper than a sync each, unless others have written much to it.
const SYNCFS_FILES_MIN: usize = 3;

/// What a failed [`Store::publish`] left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// The first so many of the files are durable in `events/`; of the others nothing is there.
    First(usize),
    /// The first so many of the files are in `events/`, each whole, and may be gone after a loss of power.
    Uncertain(usize),
}

/// Why transactions were not published.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A write or a rename failed; it can be tried again.
    #[error("{source}; {}", .source.hint())]
    Failed {
        /// What failed.
        #[source]
        source: disk::Error,
        /// What is in `events/`.
        published: Published,
    },
    /// A sync failed: what the kernel then holds is unknown, so nothing may be written until the program is started anew.
    #[error("{source}; writing stops until a restart")]
    SyncFailed {
        /// What failed.
        #[source]
        source: disk::Error,
        /// What is in `events/`.
        published: Published,
    },
}

impl WriteError {
    /// What is in `events/` nevertheless.
    #[must_use]
    pub fn published(&self) -> Published {
        match self {
            Self::Failed { published, .. } | Self::SyncFailed { published, .. } => *published,
        }
    }

    /// The error number that a system call reports for it.
    #[must_use]
    pub fn errno(&self) -> Errno {
        match self {
            Self::Failed { source, .. } => source.errno(),
            Self::SyncFailed { .. } => Errno::EROFS,
        }
    }

    fn of(source: disk::Error, published: Published) -> Self {
        if source.op.is_sync() { Self::SyncFailed { source, published } } else { Self::Failed { source, published } }
    }
}

/// A file on its way: its name in `tmp/` and in `events/`.
struct Passage {
    from: PathBuf,
    to: PathBuf,
}

impl Store {
    /// Publishes transaction files, in order, as one group: none has its name before all are durable.
    ///
    /// `files` are names in `events/` with their bytes. One file costs two syncs and one rename, a group the same renames
    /// and two or three syncs in all, or one for each file where other programs have much to be written. Errors with `EEXIST`
    /// when a name is taken. An error says what is there; `tmp/` is clean.
    pub fn publish(&self, _lock: &CommitLock, files: &[(String, Vec<u8>)]) -> Result<(), WriteError> {
        let events = self.layout().events();
        let passages = self.passages(files, &events);
        let mut renamed = 0;
        let moved = self.write_group(files, &passages, &events).and_then(|()| {
            passages.iter().try_for_each(|passage| {
                self.disk().rename_noreplace(&passage.from, &passage.to)?;
                renamed += 1;
                Ok(())
            })
        });
        if moved.is_err() {
            for passage in passages.iter().skip(renamed) {
                // What cannot be removed now is a stale temporary file, and harmless.
                let _ = self.disk().remove_if_present(&passage.from);
            }
        }
        if renamed > 0 {
            self.disk().sync_dir(&events).map_err(|error| WriteError::of(error, Published::Uncertain(renamed)))?;
        }
        moved.map_err(|error| WriteError::of(error, Published::First(renamed)))
    }

    /// Gives a file in `events/` other bytes, durably: only for one that is not what its writer wrote.
    ///
    /// # Errors
    /// What the disk answered; the file is then as it was.
    pub fn replace(&self, _lock: &CommitLock, name: &str, bytes: &[u8]) -> disk::Result<()> {
        let temporary = self.temporary("mended")?;
        self.disk().replace_durably(&disk::Disk::entry_path(&self.layout().events(), name), &temporary, bytes)
    }

    fn passages(&self, files: &[(String, Vec<u8>)], events: &Path) -> Vec<Passage> {
        let tmp = self.layout().tmp();
        files.iter().map(|(name, _)| Passage { from: tmp.join(format!("{name}.tmp")), to: events.join(name) }).collect()
    }

    fn write_group(&self, files: &[(String, Vec<u8>)], passages: &[Passage], events: &Path) -> disk::Result<()> {
        self.ensure_dir(events)?;
        let tmp = self.layout().tmp();
        self.disk().create_dir(&tmp)?;
        // Opened before the writes: a failure of the kernel to write back is reported to those who were there.
        let at_once = files.len() >= SYNCFS_FILES_MIN && self.disk().owes_little();
        let filesystem = if at_once { Some(self.disk().open_filesystem(&tmp)?) } else { None };
        for ((_, bytes), passage) in files.iter().zip(passages) {
            let file = self.disk().write_new(&passage.from, bytes)?;
            if filesystem.is_none() {
                file.sync()?;
            }
        }
        filesystem.map_or(Ok(()), |filesystem| filesystem.sync())
    }
}

#[cfg(test)]
mod tests;
