//! Whose files are: what root makes in somebody's store is that user's, who could not go on in it otherwise.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, faccessat, geteuid};

use super::error::Context as _;
use super::{Disk, Error, Op, Result};

/// What a file system gives a file at least.
const BLOCK: usize = 4096;

/// To whom what is made in a directory is handed over: to its owner, by root, whom others' files obey.
pub(super) fn heir(directory: &Metadata) -> Option<(u32, u32)> {
    let is_foreign = geteuid().is_root() && directory.uid() != 0;
    is_foreign.then(|| (directory.uid(), directory.gid()))
}

impl Disk {
    /// Gives a file that was just made to the owner of the directory that this disk is for.
    ///
    /// Only what really lies there: a link that its owner put in the way must not make somebody else's directory his.
    pub(super) fn hand_over(&self, made: &File) {
        let Some((ground, (uid, gid))) = self.ground.as_ref().and_then(|ground| Some((ground, ground.heir?))) else { return };
        let place = fs::read_link(format!("/proc/self/fd/{}", made.as_raw_fd()));
        let handed = place.and_then(|place| if place.starts_with(&ground.root) { fchown(made, Some(uid), Some(gid)) } else { Ok(()) });
        if let Err(error) = handed {
            tracing::debug!(%error, "what was made in another user's store stays root's");
        }
    }

    /// The same for a directory.
    pub(super) fn hand_over_dir(&self, made: &Path) {
        if self.ground.as_ref().is_none_or(|ground| ground.heir.is_none()) {
            return;
        }
        let opened = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW).open(made);
        if let Ok(directory) = opened {
            self.hand_over(&directory);
        }
    }

    /// Asks whether this process may change what lies at a path: write to a file, or make and remove names in a directory.
    ///
    /// Errors with what an attempt would answer; nothing is changed.
    pub fn may_change(&self, path: &Path) -> Result<()> {
        self.admit(Op::Stat, path)?;
        let is_dir = path.is_dir();
        let (op, wanted) = if is_dir { (Op::ChangeDir, AccessFlags::W_OK | AccessFlags::X_OK) } else { (Op::Write, AccessFlags::W_OK) };
        faccessat(AT_FDCWD, path, wanted, AtFlags::AT_EACCESS).map_err(io::Error::from).context(op, path)
    }

    /// What whoever writes a file in a directory is told, where its file system takes none: it is full, beyond a quota, or gave up writing
    /// after an error without saying that it did. Tried with a file that has no name, so nothing is left; where there are none such, the
    /// file system is asked whether it has a block and an inode left.
    #[must_use]
    pub fn takes_no_file(&self, dir: &Path) -> Option<Error> {
        let nameless = OpenOptions::new().write(true).custom_flags(libc::O_TMPFILE).open(dir);
        match nameless.and_then(|mut file| file.write_all(&[0; BLOCK])) {
            Ok(()) => None,
            // What some file systems, and old kernels, say of such a file itself.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR | libc::ENOENT | libc::EINVAL)) => {
                self.is_full(dir).then(|| Error::new(Op::Write, dir, Errno::ENOSPC))
            }
            // What this process is short of says nothing of the file system.
            Err(error) => Some(Error::new(Op::Write, dir, error)).filter(|error| !error.is_shortage()),
        }
    }

    fn is_full(&self, path: &Path) -> bool {
        let Ok(room) = statvfs(path) else { return false };
        // What is kept back for root is no help to others. Some file systems count no blocks, or no inodes.
        let is_root = geteuid().is_root();
        let left = |available: u64, free: u64| if is_root { free } else { available };
        (room.blocks() > 0 && left(room.blocks_available(), room.blocks_free()) == 0)
            || (room.files() > 0 && left(room.files_available(), room.files_free()) == 0)
    }

    /// Whether a path is of the user whom this process runs for.
    #[must_use]
    pub fn is_own(&self, path: &Path) -> bool {
        fs::metadata(path).is_ok_and(|found| found.uid() == geteuid().as_raw())
    }
}
