//! Changing what is on the disk, each step visible to the twin.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use super::error::Context as _;
use super::{Disk, DiskFile, Error, Op, Result};

impl Disk {
    /// Creates a file that does not exist yet and opens it for reading and writing.
    ///
    /// Errors with `EEXIST` when something has the name.
    pub fn create_new(&self, path: &Path) -> Result<DiskFile> {
        self.admit(Op::Create, path)?;
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path).context(Op::Create, path)?;
        self.hand_over(&file);
        #[cfg(test)]
        self.note(|model| model.create(path));
        Ok(DiskFile::new(self.clone(), path, file))
    }

    /// Opens a file for reading and writing, and creates it if it does not exist.
    pub fn open_or_create(&self, path: &Path) -> Result<DiskFile> {
        match self.open_file(path) {
            Err(error) if error.is_not_found() => match self.create_new(path) {
                // Somebody else was faster.
                Err(error) if error.is_taken() => self.open_file(path),
                created => created,
            },
            opened => opened,
        }
    }

    /// Opens an existing file for reading and writing.
    pub fn open_file(&self, path: &Path) -> Result<DiskFile> {
        self.admit(Op::Read, path)?;
        let file = OpenOptions::new().read(true).write(true).open(path).context(Op::Write, path)?;
        Ok(DiskFile::new(self.clone(), path, file))
    }

    /// Writes a new file; nothing of it is durable yet.
    ///
    /// Errors with `EEXIST` when something has the name.
    pub fn write_new(&self, path: &Path, bytes: &[u8]) -> Result<DiskFile> {
        let mut file = self.create_new(path)?;
        file.write_at(0, bytes)?;
        Ok(file)
    }

    /// Replaces a file as a whole and durably: writes `temporary`, syncs it, renames it, syncs the directory.
    ///
    /// After an error the old file is still whole, or the new one is whole; what is left of `temporary` is removed.
    pub fn replace_durably(&self, path: &Path, temporary: &Path, bytes: &[u8]) -> Result<()> {
        self.replace(path, temporary, &[bytes], true)
    }

    /// Replaces a file as a whole, but without a sync: after a loss of power it may be the old one, or torn.
    pub fn replace_loosely(&self, path: &Path, temporary: &Path, bytes: &[u8]) -> Result<()> {
        self.replace(path, temporary, &[bytes], false)
    }

    /// The same with pieces that follow each other, so that much need not be put together first.
    pub fn replace_loosely_with(&self, path: &Path, temporary: &Path, pieces: &[&[u8]]) -> Result<()> {
        self.replace(path, temporary, pieces, false)
    }

    fn replace(&self, path: &Path, temporary: &Path, pieces: &[&[u8]], durably: bool) -> Result<()> {
        self.remove_if_present(temporary)?;
        let written = self.create_new(temporary).and_then(|mut file| {
            pieces.iter().try_for_each(|piece| file.append(piece).map(|_| ()))?;
            if durably { file.sync() } else { Ok(()) }
        });
        if let Err(error) = written.and_then(|()| self.rename(temporary, path)) {
            // The first error is the one to tell.
            let _ = self.remove_if_present(temporary);
            return Err(error);
        }
        match path.parent() {
            Some(dir) if durably => self.sync_dir(dir),
            _ => Ok(()),
        }
    }

    /// Renames; what had the name `to` is replaced.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.admit(Op::Rename, to)?;
        fs::rename(from, to).context(Op::Rename, to)?;
        #[cfg(test)]
        self.note(|model| model.rename(from, to));
        Ok(())
    }

    /// Renames if the name `to` is free.
    ///
    /// Errors with `EEXIST` when it is taken. Where the file system cannot rename without replacing, a hard link to the
    /// new name and the removal of the old one do the same; where it has no hard links either, the name is looked for
    /// first, which is safe only under a lock.
    pub fn rename_noreplace(&self, from: &Path, to: &Path) -> Result<()> {
        self.admit(Op::Rename, to)?;
        match renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE) {
            Ok(()) => {}
            Err(nix::Error::EINVAL | nix::Error::ENOSYS | nix::Error::EOPNOTSUPP) => rename_by_link(from, to).context(Op::Rename, to)?,
            Err(errno) => return Err(Error::new(Op::Rename, to, errno)),
        }
        #[cfg(test)]
        self.note(|model| model.rename(from, to));
        Ok(())
    }

    /// Whether the file system of `from` renames without replacing by itself; renames if so.
    pub fn tries_rename_noreplace(&self, from: &Path, to: &Path) -> Result<bool> {
        self.admit(Op::Rename, to)?;
        match renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE) {
            Ok(()) => {
                #[cfg(test)]
                self.note(|model| model.rename(from, to));
                Ok(true)
            }
            Err(nix::Error::EINVAL | nix::Error::ENOSYS | nix::Error::EOPNOTSUPP) => Ok(false),
            Err(errno) => Err(Error::new(Op::Rename, to, errno)),
        }
    }

    /// Makes the names in a directory durable. One that cannot be opened is no failed sync: nothing was lost.
    pub fn sync_dir(&self, dir: &Path) -> Result<()> {
        self.open_dir(dir)?.sync()
    }

    /// Opens the file system of `path`, so that all that is written to it from now on can be synced at once.
    pub fn open_filesystem(&self, path: &Path) -> Result<Filesystem> {
        self.admit(Op::Read, path)?;
        let handle = File::open(path).context(Op::Read, path)?;
        Ok(Filesystem { disk: self.clone(), path: path.to_path_buf(), handle })
    }

    /// Removes a file or a link.
    pub fn remove(&self, path: &Path) -> Result<()> {
        self.admit(Op::Remove, path)?;
        fs::remove_file(path).context(Op::Remove, path)?;
        #[cfg(test)]
        self.note(|model| model.remove(path));
        Ok(())
    }

    /// Removes a file or a link; none is fine too.
    pub fn remove_if_present(&self, path: &Path) -> Result<()> {
        // Asked first: a removal that finds nothing is no change and is not counted as one.
        match self.stat_link(path) {
            Ok(_) => match self.remove(path) {
                Err(error) if error.is_not_found() => Ok(()),
                removed => removed,
            },
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes an empty directory.
    pub fn remove_dir(&self, path: &Path) -> Result<()> {
        self.admit(Op::Remove, path)?;
        fs::remove_dir(path).context(Op::Remove, path)?;
        #[cfg(test)]
        self.note(|model| model.remove(path));
        Ok(())
    }

    /// Removes a directory with all that is in it; none is fine too.
    pub fn remove_dir_all(&self, path: &Path) -> Result<()> {
        self.admit(Op::Remove, path)?;
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => {
                #[cfg(test)]
                self.note(|model| model.remove_tree(path));
                removed.context(Op::Remove, path)
            }
        }
    }

    /// Creates a directory and those above it; existing ones are fine.
    pub fn create_dir(&self, path: &Path) -> Result<()> {
        if path.is_dir() {
            return self.admit(Op::Stat, path);
        }
        self.admit(Op::CreateDir, path)?;
        self.may_make(Op::CreateDir, path)?;
        let missing: Vec<&Path> = path.ancestors().take_while(|above| !above.exists()).collect();
        fs::create_dir_all(path).context(Op::CreateDir, path)?;
        missing.into_iter().for_each(|made| self.hand_over_dir(made));
        #[cfg(test)]
        self.note(|model| model.create_dirs(path));
        Ok(())
    }

    /// Makes a change in a directory of ours; where the directory is gone (`git clean -fdx`), makes that and tries again.
    pub fn in_dir<T>(&self, dir: &Path, change: impl Fn() -> Result<T>) -> Result<T> {
        match change() {
            Err(error) if error.is_not_found() => self.create_dir(dir).and_then(|()| change()),
            changed => changed,
        }
    }

    /// Writes to one of the kernel's own files, which have no offsets.
    pub fn tell(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        self.admit(Op::Write, path)?;
        OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(bytes)).context(Op::Write, path)
    }

    /// Sets the time of a file's last change.
    pub fn set_modified(&self, path: &Path, time: SystemTime) -> Result<()> {
        self.admit(Op::SetTime, path)?;
        File::open(path).and_then(|file| file.set_modified(time)).context(Op::SetTime, path)
    }

    pub(super) fn admit_sync(&self, op: Op, path: &Path) -> Result<()> {
        let admitted = self.admit(op, path);
        #[cfg(test)]
        if admitted.is_err() {
            // A kernel that could not write a page back forgets that it was dirty: a second sync would succeed for nothing.
            self.note(|model| model.fail_sync(op));
        }
        admitted
    }
}

/// A file system, opened before something is written to it: a failed write since then is reported by [`Filesystem::sync`],
/// one from before the opening is not.
#[derive(Debug)]
pub struct Filesystem {
    disk: Disk,
    path: PathBuf,
    handle: File,
}

impl Filesystem {
    /// Makes everything durable that was written to the file system, by whomever (`syncfs`).
    pub fn sync(&self) -> Result<()> {
        self.disk.admit_sync(Op::SyncFilesystem, &self.path)?;
        self.disk.for_real(|| nix::unistd::syncfs(&self.handle).map_err(io::Error::from)).context(Op::SyncFilesystem, &self.path)?;
        #[cfg(test)]
        self.disk.note(super::twin::Model::sync_all);
        Ok(())
    }
}

fn rename_by_link(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => {
            // It has its new name: the old one, if it stays, is one that a killed program left.
            let _ = fs::remove_file(from);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        Err(_) if fs::symlink_metadata(to).is_ok() => Err(io::Error::from_raw_os_error(libc::EEXIST)),
        Err(_) => fs::rename(from, to),
    }
}
