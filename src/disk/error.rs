//! Errors of the disk: what was tried on which path, and why it failed.

use std::io;
use std::path::{Path, PathBuf};

use super::cure;
use crate::format::text::quoted_path;
use crate::model::Errno;

/// A kind of operation; the twin counts and fails operations by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Opening or reading a file.
    Read,
    /// Listing a directory.
    List,
    /// Asking for a file's facts.
    Stat,
    /// Mapping a file.
    Map,
    /// Taking an advisory lock.
    Lock,
    /// Watching a directory.
    Watch,
    /// Creating a file.
    Create,
    /// Writing bytes.
    Write,
    /// Cutting or extending a file.
    Truncate,
    /// Syncing a file.
    Sync,
    /// Syncing a directory.
    SyncDir,
    /// Syncing a whole file system.
    SyncFilesystem,
    /// Renaming.
    Rename,
    /// Removing a file or a directory.
    Remove,
    /// Creating a directory.
    CreateDir,
    /// Making or removing names in a directory, which is only asked for.
    ChangeDir,
    /// Setting a file's times.
    SetTime,
}

impl Op {
    /// Whether the operation changes what is on the disk, or makes it durable.
    #[must_use]
    pub fn is_mutating(self) -> bool {
        !matches!(self, Self::Read | Self::List | Self::Stat | Self::Map | Self::Lock | Self::Watch | Self::ChangeDir)
    }

    /// Whether the operation makes something durable.
    #[must_use]
    pub fn is_sync(self) -> bool {
        matches!(self, Self::Sync | Self::SyncDir | Self::SyncFilesystem)
    }

    fn participle(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::List => "listed",
            Self::Stat => "looked at",
            Self::Map => "mapped",
            Self::Lock => "locked",
            Self::Watch => "watched",
            Self::Create => "created",
            Self::Write | Self::ChangeDir => "written",
            Self::Truncate => "truncated",
            Self::Sync | Self::SyncDir | Self::SyncFilesystem => "synced",
            Self::Rename => "renamed",
            Self::Remove => "removed",
            Self::CreateDir => "created as a directory",
            Self::SetTime => "given a time",
        }
    }
}

/// What helps where a file system is read-only.
pub const READ_ONLY_CURE: &str = "the file system is read-only: see why (findmnt), and mount it writable";

/// What helps who may open no more files.
pub const NO_FILES_CURE: &str = "let it have more files open: ulimit -n";

/// What helps where the system gives no thread or no process more.
pub const NO_THREAD_CURE: &str =
    "let this user run more: ulimit -u, or end some programs (and of a container or service: its limit of tasks)";

/// A failed operation.
#[derive(Debug, thiserror::Error)]
#[error("\"{}\" cannot be {}: {source}", path.display(), op.participle())]
pub struct Error {
    /// What was tried.
    pub op: Op,
    /// On which path.
    pub path: PathBuf,
    /// Why it failed.
    pub source: io::Error,
}

/// What an operation of the disk answers.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// What an operation on a path answered.
    pub fn new(op: Op, path: &Path, source: impl Into<io::Error>) -> Self {
        Self { op, path: path.to_path_buf(), source: source.into() }
    }

    /// The error number that a system call reports for it.
    #[must_use]
    pub fn errno(&self) -> Errno {
        Errno::from(&self.source)
    }

    /// What helps, in words for people.
    #[must_use]
    pub fn hint(&self) -> String {
        let what = match self.errno() {
            _ if self.is_misplaced() => {
                return format!("something else lies there: see what (ls -ld), and move it away: {}", quoted_path(&self.path));
            }
            Errno::EACCES => return self.cure_of_denied(),
            Errno::EPERM => "run it as the user whom it belongs to, or let this one at it: ls -ld, lsattr -d",
            Errno::EIO => "the disk fails: see what the kernel says (dmesg), and copy what can still be read elsewhere",
            Errno::ENOSPC if self.op == Op::Watch => "let users watch more: sysctl fs.inotify.max_user_watches",
            Errno::ENOSPC => "make room: df, df -i",
            Errno::EDQUOT => "make room",
            Errno::EMFILE if self.op == Op::Watch => "let users watch more: ulimit -n, sysctl fs.inotify.max_user_instances",
            Errno::EMFILE => NO_FILES_CURE,
            Errno::ENFILE => "the system has too many files open: close some programs",
            Errno::ENOMEM => "the system has no memory left: close some programs",
            Errno::EROFS => READ_ONLY_CURE,
            Errno::EFBIG => "let it write larger files: ulimit -f",
            Errno::ENOTDIR => "something on the way there is no directory: move it away (ls -ld tells what it is)",
            Errno::ELOOP => "symbolic links on the way there lead in a circle: remove the one that should be none (ls -ld tells which)",
            Errno::EXDEV => "it lies on another file system than the store: see findmnt, and umount what lies over it",
            _ => "check the directory's permissions and its disk",
        };
        what.to_owned()
    }

    /// What lets this user do it: a name is written to its directory.
    fn cure_of_denied(&self) -> String {
        let (path, mode) = match self.op {
            Op::Create | Op::Rename | Op::Remove | Op::CreateDir => (self.path.parent().unwrap_or(&self.path), "wx"),
            Op::ChangeDir => (&*self.path, "wx"),
            Op::List | Op::Watch => (&*self.path, "rx"),
            Op::Read | Op::Map => (&*self.path, "r"),
            _ => (&*self.path, "rw"),
        };
        if let Some(cure) = cure::of_roots(path) {
            return cure;
        }
        // Whoever may not even go there gets no answer about it.
        let (path, mode) = cure::closed_directory(path).map_or((path, mode), |closed| (closed, "x"));
        let (shown, class) = (quoted_path(path), cure::class_of_this_user(path));
        if class == 'u' {
            return format!("chmod u+{mode} {shown}   # or run it as the user whom it belongs to: ls -ld {shown}");
        }
        format!("ls -ld {shown}   # run it as the user whom it belongs to, or let that one run: chmod {class}+{mode} {shown}")
    }

    /// Whether it was the process or the system that lacked something for a moment, which tells nothing of what lies at the path.
    #[must_use]
    pub fn is_shortage(&self) -> bool {
        matches!(self.errno(), Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::EINTR)
    }

    /// Whether what lies at the path is no file, where one was to be.
    #[must_use]
    pub fn is_misplaced(&self) -> bool {
        let is_irregular = self.source.raw_os_error().is_none() && self.source.kind() == io::ErrorKind::InvalidInput;
        is_irregular || matches!(self.errno(), Errno::EISDIR | Errno::ENXIO)
    }

    /// Whether nothing lies at the path.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }

    /// Whether the path leads to nothing: no link on the way does either, or only in a circle.
    #[must_use]
    pub fn leads_nowhere(&self) -> bool {
        self.is_not_found() || matches!(self.errno(), Errno::ELOOP | Errno::ENOTDIR | Errno::ENAMETOOLONG)
    }

    /// Whether something lies at the path already.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.source.kind() == io::ErrorKind::AlreadyExists
    }
}

/// Attaches the operation and the path to a failure.
pub(super) trait Context<T> {
    fn context(self, op: Op, path: &Path) -> Result<T>;
}

impl<T, E: Into<io::Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, op: Op, path: &Path) -> Result<T> {
        self.map_err(|source| Error::new(op, path, source))
    }
}
