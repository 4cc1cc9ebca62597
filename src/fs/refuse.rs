//! What is refused, and with which errno: the views to everyone, odd things in staging.

use crate::fs::names::{APPEND, CHECKPOINTS, RECEIPTS, STAGING};
use crate::fs::own::Own;
use crate::fs::{Fs, ROOT};
use crate::model::Errno;

/// Who asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The process.
    pub pid: u32,
}

impl Fs {
    /// Why a directory, link or device cannot be made in a directory.
    #[must_use]
    pub fn refuse_node(&self, parent: u64) -> Errno {
        match self.directory_path(parent) {
            Ok(path) if self.is_own_path(&path) => Errno::EPERM,
            Ok(_) => Errno::EROFS,
            Err(error) => error,
        }
    }

    /// Why a directory cannot be removed.
    #[must_use]
    pub fn refuse_rmdir(&self, parent: u64, _name: &str) -> Errno {
        match self.directory_path(parent) {
            Ok(path) if self.is_own_path(&path) => Errno::ENOTDIR,
            Ok(_) => Errno::EROFS,
            Err(error) => error,
        }
    }

    /// Why an extended attribute cannot be set.
    #[must_use]
    pub fn refuse_xattr(&self, ino: u64) -> Errno {
        match self.held(ino) {
            Ok(held) if self.is_own_path(&held.identity.path) => Errno::EOPNOTSUPP,
            Ok(_) => Errno::EROFS,
            Err(error) => error,
        }
    }

    /// Whether someone may do what access(2) asks.
    ///
    /// # Errors
    /// `EROFS` for writing to a view, `EACCES` for executing a file and for others than the mounting user and root.
    pub fn access(&self, ino: u64, mask: i32, caller: Caller) -> Result<(), Errno> {
        let held = self.held(ino)?;
        if mask & libc::W_OK != 0 {
            match self.own(ino)? {
                Some(Own::Append | Own::Staging | Own::Staged(_) | Own::Receipts | Own::Checkpoints | Own::Checkpoint(_)) => {
                    self.may_append(caller)?
                }
                _ => return Err(Errno::EROFS),
            }
        }
        if mask & libc::X_OK != 0 && !held.identity.directory {
            return Err(Errno::EACCES);
        }
        Ok(())
    }

    /// Whether a path is none of the views.
    pub(super) fn is_own_path(&self, path: &str) -> bool {
        let first = path.split_once('/').map_or(path, |(first, _)| first);
        self.staging.is_some() && matches!(first, APPEND | STAGING | RECEIPTS | CHECKPOINTS)
    }

    /// Only the mounting user and root may append.
    pub(super) fn may_append(&self, caller: Caller) -> Result<(), Errno> {
        if caller.uid == 0 || caller.uid == self.manner.uid { Ok(()) } else { Err(Errno::EACCES) }
    }

    /// The number of the directory above one.
    #[must_use]
    pub fn parent(&self, ino: u64) -> u64 {
        let path = self.directory_path(ino).unwrap_or_default();
        crate::fs::split(&path).map_or(ROOT, |(directory, _)| self.directory_number(directory))
    }

    /// Where data or a hole begins: every file is data up to its end.
    ///
    /// # Errors
    /// `ENXIO` for an offset at or behind the end, `EINVAL` for an unknown `whence`.
    pub fn seek(&self, ino: u64, offset: i64, whence: i32) -> Result<i64, Errno> {
        let size = i64::try_from(self.attributes(ino)?.0.size).map_err(|_| Errno::EFBIG)?;
        match whence {
            libc::SEEK_DATA if (0..size).contains(&offset) => Ok(offset),
            libc::SEEK_HOLE if (0..size).contains(&offset) => Ok(size),
            libc::SEEK_DATA | libc::SEEK_HOLE => Err(Errno::ENXIO),
            _ => Err(Errno::EINVAL),
        }
    }
}
