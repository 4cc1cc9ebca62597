//! Reading: whole files, parts, facts, directories.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirEntryExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat};
use nix::unistd::{AccessFlags, eaccess};

use crate::format::time::at_nanos;

use super::error::Context as _;
use super::{Disk, Error, Op, Result};

/// The most that is reserved for a file's content before any of it has been read: sizes can lie.
const RESERVED_BYTES_MAX: usize = 256 << 20;

/// What kind of thing a directory entry is; links are not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Link,
    /// A device, a socket or a pipe.
    Other,
}

/// A directory entry, all of it from `readdir`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name as [`super::shown_name`] gives it.
    pub name: String,
    /// The inode number.
    pub inode: u64,
    /// What it is.
    pub kind: EntryKind,
}

/// The facts of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stat {
    /// The device that it is on.
    pub device: u64,
    /// The inode number.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// Last change of the content, nanoseconds since 1970.
    pub mtime_ns: i128,
    /// What it is.
    pub kind: EntryKind,
}

impl Stat {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            mtime_ns: i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec()),
            kind: kind_of(metadata.file_type()),
        }
    }

    fn of_raw(stat: &FileStat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mtime_ns: i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec),
            kind: match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
                SFlag::S_IFREG => EntryKind::File,
                SFlag::S_IFDIR => EntryKind::Dir,
                SFlag::S_IFLNK => EntryKind::Link,
                _ => EntryKind::Other,
            },
        }
    }

    /// The last change of the content.
    #[must_use]
    pub fn modified(&self) -> SystemTime {
        at_nanos(self.mtime_ns)
    }
}

fn kind_of(kind: fs::FileType) -> EntryKind {
    match kind {
        kind if kind.is_file() => EntryKind::File,
        kind if kind.is_dir() => EntryKind::Dir,
        kind if kind.is_symlink() => EntryKind::Link,
        _ => EntryKind::Other,
    }
}

impl Disk {
    /// The bytes of a file.
    pub fn read(&self, path: &Path) -> Result<Vec<u8>> {
        self.read_with_stat(path).map(|(bytes, _)| bytes)
    }

    /// The bytes of a file with its facts as of the moment it was opened.
    pub fn read_with_stat(&self, path: &Path) -> Result<(Vec<u8>, Stat)> {
        self.admit(Op::Read, path)?;
        let mut bytes = Vec::new();
        let stat = open_any(path).and_then(|file| read_whole(file, &mut bytes)).context(Op::Read, path)?;
        Ok((bytes, stat))
    }

    /// Replaces what is in `bytes` by as many bytes of a regular file as its size says, and by none where the path leads to something
    /// else or the size is above `size_max`; answers its facts as of the moment it was opened.
    pub fn read_into(&self, path: &Path, bytes: &mut Vec<u8>, size_max: u64) -> Result<Stat> {
        self.admit(Op::Read, path)?;
        open_any(path).and_then(|file| read_sized(file, bytes, size_max)).context(Op::Read, path)
    }

    /// Opens a directory whose files are read by name, which spares the kernel the way there for each of them, or whose names are to
    /// be made durable: who has no descriptor left then fails before there are any.
    pub fn open_dir(&self, path: &Path) -> Result<OpenDir> {
        self.admit(Op::Read, path)?;
        let handle = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(path).context(Op::Read, path)?;
        Ok(OpenDir { disk: self.clone(), path: path.to_path_buf(), handle, are_ours: AtomicBool::new(true) })
    }

    /// The bytes of a file, or none if there is no such file.
    pub fn read_if_present(&self, path: &Path) -> Result<Option<Vec<u8>>> {
        match self.read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// At most the first `len_max` bytes, also of what has no size: a pipe, a device.
    pub fn read_up_to(&self, path: &Path, len_max: usize) -> Result<Vec<u8>> {
        self.admit(Op::Read, path)?;
        let mut bytes = Vec::new();
        let file = File::open(path).context(Op::Read, path)?;
        file.take(len_max as u64).read_to_end(&mut bytes).context(Op::Read, path)?;
        Ok(bytes)
    }

    /// At most `len` bytes from `offset` on; fewer at the end of the file. What is no regular file is an error.
    pub fn read_at(&self, path: &Path, offset: u64, len: usize) -> Result<Vec<u8>> {
        self.admit(Op::Read, path)?;
        let file = open_at_once(path).context(Op::Read, path)?;
        read_range(&file, offset, len).context(Op::Read, path)
    }

    /// The facts of what the path leads to; links are followed.
    pub fn stat(&self, path: &Path) -> Result<Stat> {
        self.admit(Op::Stat, path)?;
        fs::metadata(path).map(|metadata| Stat::of(&metadata)).context(Op::Stat, path)
    }

    /// The facts of the path itself; links are not followed.
    pub fn stat_link(&self, path: &Path) -> Result<Stat> {
        self.admit(Op::Stat, path)?;
        fs::symlink_metadata(path).map(|metadata| Stat::of(&metadata)).context(Op::Stat, path)
    }

    /// The facts of what the path leads to, or none if there is nothing.
    pub fn stat_if_present(&self, path: &Path) -> Result<Option<Stat>> {
        match self.stat(path) {
            Ok(stat) => Ok(Some(stat)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks whether what lies at a path is a file or a directory as it is to be, where anything does.
    ///
    /// Errors with what keeps it from being used as such.
    pub fn must_be(&self, kind: EntryKind, path: &Path) -> Result<()> {
        let found = self.stat_if_present(path)?.map_or(kind, |found| found.kind);
        if found == kind {
            return Ok(());
        }
        let source = if kind == EntryKind::Dir { Errno::ENOTDIR.into() } else { irregular() };
        Err(Error::new(Op::Read, path, source))
    }

    /// Whether the path leads to something.
    #[must_use]
    pub fn exists(&self, path: &Path) -> bool {
        self.stat(path).is_ok()
    }

    /// Whether this user may read what the path leads to.
    #[must_use]
    pub fn may_read(&self, path: &Path) -> bool {
        self.admit(Op::Read, path).is_ok() && eaccess(path, AccessFlags::R_OK).is_ok()
    }

    /// When the file was made, if its file system remembers.
    pub fn birth_time(&self, path: &Path) -> Result<Option<SystemTime>> {
        self.admit(Op::Stat, path)?;
        Ok(fs::metadata(path).context(Op::Stat, path)?.created().ok())
    }

    /// The entries of a directory, in its own order, without a `stat` for any of them.
    pub fn list(&self, dir: &Path) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        self.list_each(dir, |entry| entries.push(entry))?;
        Ok(entries)
    }

    /// Gives each entry of a directory as soon as it is known, in the directory's order.
    pub fn list_each(&self, dir: &Path, mut give: impl FnMut(Entry)) -> Result<()> {
        self.admit(Op::List, dir)?;
        for entry in fs::read_dir(dir).context(Op::List, dir)? {
            let entry = entry.context(Op::List, dir)?;
            let kind = match entry.file_type() {
                Ok(kind) => kind_of(kind),
                // Gone since it was listed, on a file system whose directories know no types.
                Err(_) => continue,
            };
            give(Entry { name: super::shown_name(&entry.file_name()), inode: entry.ino(), kind });
        }
        Ok(())
    }

    /// The entries of a directory, or none if there is no such directory.
    pub fn list_if_present(&self, dir: &Path) -> Result<Vec<Entry>> {
        match self.list(dir) {
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            listed => listed,
        }
    }

    /// The path with every link resolved.
    pub fn canonical(&self, path: &Path) -> Result<PathBuf> {
        self.admit(Op::Stat, path)?;
        fs::canonicalize(path).context(Op::Stat, path)
    }

    /// What a link says, as it stands there; none for anything else, a mount that does not answer included.
    #[must_use]
    pub fn link_target(&self, path: &Path) -> Option<PathBuf> {
        self.admit(Op::Stat, path).and_then(|()| fs::read_link(path).context(Op::Stat, path)).ok()
    }

    /// The path of an entry that [`Disk::list`] gave.
    #[must_use]
    pub fn entry_path(dir: &Path, shown: &str) -> PathBuf {
        by_name(shown, |name| dir.join(name))
    }
}

/// Opens whatever is there for reading; a pipe would be waited for.
fn open_any(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)
}

/// Opens a file for reading; a pipe, which would be waited for, and whatever else has no bytes of its own, is refused.
pub(super) fn open_at_once(path: &Path) -> std::io::Result<File> {
    let file = open_any(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() || kind.is_dir() {
        return Ok(file);
    }
    Err(irregular())
}

fn irregular() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidInput, "it is no regular file")
}

/// Whether an open file is what has the name `path`, and not one that was removed or replaced meanwhile.
pub(super) fn is_named(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(held), Ok(named)) => (held.dev(), held.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

/// An open directory.
#[derive(Debug)]
pub struct OpenDir {
    disk: Disk,
    path: PathBuf,
    handle: File,
    /// Whether no file was met yet that belongs to somebody else.
    are_ours: AtomicBool,
}

impl OpenDir {
    /// Makes the names in it durable.
    pub fn sync(&self) -> Result<()> {
        self.disk.admit_sync(Op::SyncDir, &self.path)?;
        self.disk.for_real(|| self.handle.sync_all()).context(Op::SyncDir, &self.path)?;
        #[cfg(test)]
        self.disk.note(|model| model.sync_dir(&self.path));
        Ok(())
    }

    /// Whether it still has the name by which it was opened.
    #[must_use]
    pub fn is_named(&self) -> bool {
        is_named(&self.handle, &self.path)
    }

    /// As [`Disk::read_into`], of an entry that [`Disk::list`] gave.
    pub fn read_into(&self, shown: &str, bytes: &mut Vec<u8>, size_max: u64) -> Result<Stat> {
        if self.disk.has_twin() {
            self.disk.admit(Op::Read, &Disk::entry_path(&self.path, shown))?;
        }
        let opened = by_name(shown, |name| self.open(name));
        let read = opened.map_err(std::io::Error::from).and_then(|fd| read_sized(File::from(fd), bytes, size_max));
        read.map_err(|error| Error::new(Op::Read, &Disk::entry_path(&self.path, shown), error))
    }

    /// Opens a file without a note of the time, if it is ours: else the first reading of each new file would write its inode.
    fn open(&self, name: &OsStr) -> nix::Result<OwnedFd> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let open = |more: OFlag| openat(&self.handle, name, flags | more, Mode::empty());
        if self.are_ours.load(Ordering::Relaxed) {
            match open(OFlag::O_NOATIME) {
                Err(Errno::EPERM) => self.are_ours.store(false, Ordering::Relaxed),
                opened => return opened,
            }
        }
        open(OFlag::empty())
    }

    /// The facts of what an entry leads to, or none if there is nothing; links are followed.
    pub fn stat_if_present(&self, shown: &str) -> Result<Option<Stat>> {
        if self.disk.has_twin() {
            self.disk.admit(Op::Stat, &Disk::entry_path(&self.path, shown))?;
        }
        match by_name(shown, |name| fstatat(&self.handle, name, AtFlags::empty())) {
            Ok(stat) => Ok(Some(Stat::of_raw(&stat))),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(Error::new(Op::Stat, &Disk::entry_path(&self.path, shown), errno)),
        }
    }
}

/// Gives a call the name that is shown so.
fn by_name<T>(shown: &str, call: impl FnOnce(&OsStr) -> T) -> T {
    // Nearly every name is plain and needs no decoding.
    if shown.contains('/') { call(&super::os_name(shown)) } else { call(OsStr::new(shown)) }
}

/// Reads a file from its beginning to its end, also one that has no size: those of the kernel. What is no file is not read.
fn read_whole(mut file: File, bytes: &mut Vec<u8>) -> std::io::Result<Stat> {
    let stat = Stat::of(&file.metadata()?);
    if stat.kind == EntryKind::File {
        bytes.reserve(usize::try_from(stat.size).unwrap_or(usize::MAX).saturating_add(1).min(RESERVED_BYTES_MAX));
        file.read_to_end(bytes)?;
    }
    Ok(stat)
}

/// Reads as many bytes as the size says, and one more where it grows meanwhile: one call does. Who says that it is empty is not asked: a
/// file of the kernel's might make a reader wait, or have no end. Neither is one above `size_max`, nor what is no file.
fn read_sized(mut file: File, bytes: &mut Vec<u8>, size_max: u64) -> std::io::Result<Stat> {
    let stat = Stat::of(&file.metadata()?);
    bytes.clear();
    if stat.kind != EntryKind::File || stat.size == 0 || stat.size > size_max {
        return Ok(stat);
    }
    let size = usize::try_from(stat.size).unwrap_or(usize::MAX);
    bytes.resize(size.saturating_add(1), 0);
    let mut filled = 0;
    while filled < size {
        match file.read(bytes.get_mut(filled..).unwrap_or_default()) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(stat)
}

pub(super) fn read_range(file: &File, offset: u64, len: usize) -> std::io::Result<Vec<u8>> {
    // No more than the file holds is ever reserved, however much is asked for.
    let left = file.metadata()?.len().saturating_sub(offset);
    let mut bytes = vec![0; len.min(usize::try_from(left).unwrap_or(usize::MAX))];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + filled as u64)? {
            0 => break,
            n => filled += n,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
