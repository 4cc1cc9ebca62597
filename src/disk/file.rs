//! An open file.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::error::Context as _;
use super::read::read_range;
#[cfg(test)]
use super::twin::{FileKey, Model};
use super::{Disk, Op, Result, Stat};

/// A file that is open for reading and writing; it stays the same file when its name is changed.
#[derive(Debug)]
pub struct DiskFile {
    disk: Disk,
    path: PathBuf,
    file: File,
    #[cfg(test)]
    key: Option<FileKey>,
}

impl DiskFile {
    pub(super) fn new(disk: Disk, path: &Path, file: File) -> Self {
        Self {
            #[cfg(test)]
            key: disk.twin.as_ref().and_then(|twin| twin.key_of(path)),
            disk,
            path: path.to_path_buf(),
            file,
        }
    }

    pub(super) fn disk(&self) -> &Disk {
        &self.disk
    }

    pub(super) fn raw(&self) -> &File {
        &self.file
    }

    /// The path that it was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The facts of the open file, whatever has its name now.
    pub fn stat(&self) -> Result<Stat> {
        self.disk.admit(Op::Stat, &self.path)?;
        self.file.metadata().map(|metadata| Stat::of(&metadata)).context(Op::Stat, &self.path)
    }

    /// At most `len` bytes from `offset` on; fewer at the end of the file.
    pub fn read_at(&self, offset: u64, len: usize) -> Result<Vec<u8>> {
        self.disk.admit(Op::Read, &self.path)?;
        read_range(&self.file, offset, len).context(Op::Read, &self.path)
    }

    /// Writes all of `bytes` at `offset`.
    pub fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.disk.admit(Op::Write, &self.path)?;
        self.file.write_all_at(bytes, offset).context(Op::Write, &self.path)?;
        #[cfg(test)]
        self.note(|model, key| model.write(key, offset, bytes));
        Ok(())
    }

    /// Writes all of `bytes` at the end; answers the offset where they begin.
    pub fn append(&mut self, bytes: &[u8]) -> Result<u64> {
        let end = self.stat()?.size;
        self.write_at(end, bytes)?;
        Ok(end)
    }

    /// Cuts or extends the file to `size` bytes.
    pub fn truncate(&mut self, size: u64) -> Result<()> {
        self.disk.admit(Op::Truncate, &self.path)?;
        self.file.set_len(size).context(Op::Truncate, &self.path)?;
        #[cfg(test)]
        self.note(|model, key| model.truncate(key, size));
        Ok(())
    }

    /// Lets the disk begin to write the content, so that a sync waits the less for it (`sync_file_range`). Nothing is promised; what fails
    /// is told by that sync.
    pub fn begin_writing(&self) {
        let begin = || {
            // SAFETY: the descriptor is that of an open file, and no memory is passed.
            #[allow(unsafe_code)]
            let _ = unsafe { libc::sync_file_range(self.file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
            Ok(())
        };
        // Not every file system can; the sync writes it then.
        let _ = self.disk.for_real(begin);
    }

    /// Makes content and facts durable (`fsync`); the name needs [`Disk::sync_dir`].
    pub fn sync(&self) -> Result<()> {
        self.admit_sync()?;
        self.disk.for_real(|| self.file.sync_all()).context(Op::Sync, &self.path)?;
        #[cfg(test)]
        self.note(|model, key| model.sync(key));
        Ok(())
    }

    /// Makes content and size durable (`fdatasync`).
    pub fn sync_data(&self) -> Result<()> {
        self.admit_sync()?;
        self.disk.for_real(|| self.file.sync_data()).context(Op::Sync, &self.path)?;
        #[cfg(test)]
        self.note(|model, key| model.sync(key));
        Ok(())
    }

    fn admit_sync(&self) -> Result<()> {
        let admitted = self.disk.admit(Op::Sync, &self.path);
        #[cfg(test)]
        if admitted.is_err() {
            self.note(|model, key| model.fail_sync_of(key));
        }
        admitted
    }

    #[cfg(test)]
    fn note(&self, change: impl FnOnce(&mut Model, FileKey)) {
        if let Some(key) = self.key {
            self.disk.note(|model| change(model, key));
        }
    }
}
