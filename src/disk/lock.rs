//! Advisory locks of the kind that eventcore-fs takes: `flock`, exclusive, waited for by trying again.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use super::error::Context as _;
use super::read::is_named;
use super::{Disk, Error, Op, Result};

/// Times that a lock file may be replaced between opening and locking before it is an error.
const ATTEMPTS_MAX: u32 = 100;

/// The wait between two attempts at a lock that another holder has, at first and at last.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(20);

/// An exclusive advisory lock, held until it is dropped or the process ends, and by programs that it was handed on to.
#[derive(Debug)]
pub struct LockGuard {
    file: File,
}

impl LockGuard {
    /// Whether the lock is still on what has the name `path` (not on a file that was removed meanwhile).
    #[must_use]
    pub fn is_on(&self, path: &Path) -> bool {
        is_named(&self.file, path)
    }

    /// Hands the lock on to a program that is to be started, as flock(1) does: it is held as long as the guard, or the program, or what
    /// that starts and leaves running lives. So nobody else gets it while the program goes on because this process was killed.
    pub fn hand_on(&self, command: &mut Command) -> io::Result<()> {
        // Opened for this program alone: what another thread starts meanwhile does not get it.
        let file = self.file.try_clone()?;
        let keep = move || fcntl(&file, FcntlArg::F_SETFD(FdFlag::empty())).map(drop).map_err(io::Error::from);
        // SAFETY: between fork and exec it makes one system call, and allocates nothing.
        #[allow(unsafe_code)]
        unsafe {
            command.pre_exec(keep);
        }
        Ok(())
    }
}

impl Disk {
    /// Takes the exclusive lock on a file, which is created if absent; none if another holder has it.
    ///
    /// Two guards in one process exclude each other too.
    pub fn try_lock(&self, path: &Path) -> Result<Option<LockGuard>> {
        self.admit(Op::Lock, path)?;
        for _ in 0..ATTEMPTS_MAX {
            // Not waited for, if it is a pipe. Not truncated: the time of its last change tells when eventcore-fs opened it.
            let mut options = OpenOptions::new();
            options.truncate(false).write(true).custom_flags(libc::O_NONBLOCK);
            let file = match options.open(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.may_make(Op::Lock, path)?;
                    let made = options.create(true).open(path);
                    made.inspect(|made| self.hand_over(made))
                }
                opened => opened,
            }
            .context(Op::Lock, path)?;
            match fs4::FileExt::try_lock(&file) {
                Ok(()) => {}
                Err(fs4::TryLockError::WouldBlock) => return Ok(None),
                Err(fs4::TryLockError::Error(error)) => return Err(Error::new(Op::Lock, path, error)),
            }
            let guard = LockGuard { file };
            // `git clean -fdx` may have removed the file in between: such a lock excludes nobody.
            if guard.is_on(path) {
                return Ok(Some(guard));
            }
        }
        Err(Error::new(Op::Lock, path, io::Error::from_raw_os_error(libc::EBUSY)))
    }

    /// The same, waiting `patience` at most; none if another holder has it for longer.
    pub fn lock_within(&self, path: &Path, patience: Duration) -> Result<Option<LockGuard>> {
        let begun = Instant::now();
        let mut pause = PAUSE_MIN;
        loop {
            let guard = self.try_lock(path)?;
            let left = patience.saturating_sub(begun.elapsed());
            if guard.is_some() || left.is_zero() {
                return Ok(guard);
            }
            thread::sleep(pause.min(left));
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}
