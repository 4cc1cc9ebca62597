//! Making transactions durable: the one way in which a file comes into `events/`.

use std::path::{Path, PathBuf};

use crate::disk::{self, DiskFile, Filesystem, Stat};
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
    #[error("{source}")]
    Failed {
        /// What failed.
        #[source]
        source: disk::Error,
        /// What is in `events/`.
        published: Published,
    },
    /// A sync failed: what the kernel then holds is unknown, so nothing may be written until the program is started anew.
    #[error("{source}; {}; this process writes nothing more until it is started anew", .source.hint())]
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

    /// What helps, where the text does not say it; may be empty.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Failed { source, .. } => source.hint(),
            Self::SyncFailed { .. } => String::new(),
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
    /// Open as long as it has to be synced by itself. Closed before it gets its name, or whoever watches `events/` is told twice.
    file: Option<DiskFile>,
}

/// Transaction files that come into `events/` together; what of them did not get there is removed with this.
pub struct Group<'a> {
    store: &'a Store,
    events: PathBuf,
    tmp: PathBuf,
    /// Set where all are synced at once.
    filesystem: Option<Filesystem>,
    passages: Vec<Passage>,
    renamed: usize,
}

impl Store {
    /// Publishes transaction files, in order, as one group ([`Group`]).
    pub fn publish(&self, lock: &CommitLock, files: &[(String, Vec<u8>)]) -> Result<(), WriteError> {
        let failed = |error| WriteError::of(error, Published::First(0));
        let mut group = self.group(lock, files.len()).map_err(failed)?;
        files.iter().try_for_each(|(name, bytes)| group.write(name, bytes).map(|_| ())).map_err(failed)?;
        group.publish()
    }

    /// A group that is going to have so many files at most.
    pub fn group<'a>(&'a self, _lock: &'a CommitLock, files_max: usize) -> disk::Result<Group<'a>> {
        let (events, tmp) = (self.layout().events(), self.layout().tmp());
        // Opened before the writes: a failure of the kernel to write back is reported to those who were there.
        let at_once = files_max >= SYNCFS_FILES_MIN && self.disk().owes_little();
        let filesystem = if at_once { Some(self.disk().in_dir(&tmp, || self.disk().open_filesystem(&tmp))?) } else { None };
        Ok(Group { store: self, events, tmp, filesystem, passages: Vec::with_capacity(files_max), renamed: 0 })
    }

    /// Gives a file in `events/` other bytes, durably: only for one that is not what its writer wrote.
    ///
    /// # Errors
    /// What the disk answered; the file is then as it was.
    pub fn replace(&self, _lock: &CommitLock, name: &str, bytes: &[u8]) -> disk::Result<()> {
        let temporary = self.temporary("mended")?;
        self.disk().replace_durably(&disk::Disk::entry_path(&self.layout().events(), name), &temporary, bytes)
    }
}

impl Group<'_> {
    /// Writes the next file, `name` in `events/` once the group is published. The disk may work on it from now on; nothing is durable yet.
    ///
    /// # Errors
    /// What the disk answered; the files before are still there to be published.
    pub fn write(&mut self, name: &str, bytes: &[u8]) -> disk::Result<Stat> {
        let from = self.tmp.join(format!("{name}.tmp"));
        let disk = self.store.disk();
        let write = || disk.in_dir(&self.tmp, || disk.write_new(&from, bytes));
        let written = match write() {
            // Who holds the lock is alone: it was left by a killed program that made the same transaction, as an import does.
            Err(error) if error.is_taken() && !self.passages.iter().any(|passage| passage.from == from) => {
                disk.remove_if_present(&from).and_then(|()| write())
            }
            written => written,
        };
        let written = written.and_then(|file| {
            // Many small files are written together in less time.
            if self.filesystem.is_none() {
                file.begin_writing();
            }
            Ok((file.stat()?, file))
        });
        match written {
            Ok((stat, file)) => {
                let file = Some(file).filter(|_| self.filesystem.is_none());
                self.passages.push(Passage { from, to: self.events.join(name), file });
                Ok(stat)
            }
            Err(error) => {
                self.remove(&from);
                Err(error)
            }
        }
    }

    /// Removes the file that was written last.
    pub fn take_back(&mut self) {
        if let Some(passage) = self.passages.pop() {
            self.remove(&passage.from);
        }
    }

    /// Publishes what was written, in order: none has its name before all are durable.
    ///
    /// One file costs two syncs and one rename, a group the same renames and two or three syncs in all, or one for each file where other
    /// programs have much to be written.
    ///
    /// # Errors
    /// `EEXIST` when a name is taken. An error says what is there; `tmp/` is clean.
    pub fn publish(mut self) -> Result<(), WriteError> {
        let disk = self.store.disk();
        let directory =
            disk.in_dir(&self.events, || disk.open_dir(&self.events)).map_err(|error| WriteError::of(error, Published::First(0)))?;
        let moved = self.sync().and_then(|()| self.rename());
        if self.renamed > 0 {
            // Git may have removed it, and the files got their names in the one that was made in its place.
            let synced = directory.sync().and_then(|()| if directory.is_named() { Ok(()) } else { disk.sync_dir(&self.events) });
            synced.map_err(|error| WriteError::of(error, Published::Uncertain(self.renamed)))?;
        }
        moved.map_err(|error| WriteError::of(error, Published::First(self.renamed)))
    }

    fn sync(&mut self) -> disk::Result<()> {
        if let Some(filesystem) = &self.filesystem {
            return filesystem.sync();
        }
        self.passages.iter_mut().filter_map(|passage| passage.file.take()).try_for_each(|file| file.sync())
    }

    fn rename(&mut self) -> disk::Result<()> {
        for passage in &self.passages {
            let rename = || self.store.disk().rename_noreplace(&passage.from, &passage.to);
            match rename() {
                // Git removes a directory that it has emptied.
                Err(error) if error.is_not_found() => self.store.ensure_dir(&self.events).and_then(|()| rename())?,
                renamed => renamed?,
            }
            self.renamed += 1;
        }
        Ok(())
    }

    fn remove(&self, from: &Path) {
        // What cannot be removed now is a stale temporary file, and harmless.
        let _ = self.store.disk().remove_if_present(from);
    }
}

impl Drop for Group<'_> {
    fn drop(&mut self) {
        self.passages.iter().skip(self.renamed).for_each(|passage| self.remove(&passage.from));
    }
}

#[cfg(test)]
mod tests;
