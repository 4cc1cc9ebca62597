//! Asking a file system by a child process: whoever serves it may never answer, and who waits for an answer may not be able to end.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{ForkResult, fork, pipe2};

/// What a file system says of itself: two numbers, which mean what it likes.
pub type Said = [u64; 2];

/// Has a child process ask a path's file system what it is like, for `patience` at most; none if no answer came.
///
/// It asks for everything that statx(2) tells, which may come from a cache, and then for what comes from none. Who serves a file system must
/// not ask it anything: killed meanwhile, it would wait for its own answer and never end. Nor must who cannot know that it is served.
pub fn ask_by_child(path: &Path, patience: Duration) -> io::Result<Option<Result<(), Errno>>> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let ask = |_: &mut Said| {
        // SAFETY: the structures are plain data that the kernel fills.
        #[allow(unsafe_code)]
        unsafe {
            let mut facts: libc::statx = std::mem::zeroed();
            let all = libc::STATX_BASIC_STATS | libc::STATX_BTIME;
            let mut room: libc::statfs = std::mem::zeroed();
            libc::statx(libc::AT_FDCWD, path.as_ptr(), 0, all, &raw mut facts) == 0 && libc::statfs(path.as_ptr(), &raw mut room) == 0
        }
    };
    Ok(answer_of_child(patience, ask)?.map(|answer| answer.map(|_| ())))
}

/// Has a child process ask the file system of a directory for what that says on `command` of ioctl(2), for `patience` at most; none if no
/// answer came.
pub fn ask_ioctl_by_child(directory: &Path, command: u32, patience: Duration) -> io::Result<Option<Result<Said, Errno>>> {
    let path = CString::new(directory.as_os_str().as_bytes())?;
    // SAFETY: the command has the size of what it fills.
    #[allow(unsafe_code)]
    let ask = |said: &mut Said| unsafe {
        let opened = libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY);
        opened >= 0 && libc::ioctl(opened, command as libc::Ioctl, said.as_mut_ptr()) == 0
    };
    answer_of_child(patience, ask)
}

/// Has a child process ask by system calls alone, which fills in what was said and tells whether they succeeded.
fn answer_of_child(patience: Duration, ask: impl FnOnce(&mut Said) -> bool) -> io::Result<Option<Result<Said, Errno>>> {
    let (answer, told) = pipe2(OFlag::O_CLOEXEC)?;
    // SAFETY: between fork and its end the child makes system calls alone, and allocates nothing.
    #[allow(unsafe_code)]
    let child = match unsafe { fork() }? {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            // SAFETY: as above.
            #[allow(unsafe_code)]
            unsafe {
                // With the descriptor of the connection it would keep that alive itself.
                libc::dup2(told.as_raw_fd(), 0);
                libc::syscall(libc::SYS_close_range, 1, libc::c_uint::MAX, 0);
                let mut said = Said::default();
                let errno = if ask(&mut said) { 0 } else { *libc::__errno_location() };
                let words = [u64::from(errno.unsigned_abs()), said[0], said[1]];
                libc::write(0, words.as_ptr().cast(), size_of_val(&words));
                libc::_exit(0)
            }
        }
    };
    drop(told);
    let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
    let mut words = [[0; size_of::<u64>()]; 3];
    let is_answered = poll(&mut [PollFd::new(answer.as_fd(), PollFlags::POLLIN)], timeout)? > 0
        && File::from(answer).read_exact(words.as_flattened_mut()).is_ok();
    if !is_answered {
        // It goes when it can: what it has asked may hold it until the connection is cut.
        let _ = kill(child, Signal::SIGKILL);
    }
    // Where nobody wants to know of children the kernel has taken it away already.
    let _ = waitpid(child, if is_answered { None } else { Some(WaitPidFlag::WNOHANG) });
    let [errno, first, second] = words.map(u64::from_ne_bytes);
    let errno = i32::try_from(errno).unwrap_or_default();
    Ok(is_answered.then_some(if errno == 0 { Ok([first, second]) } else { Err(Errno::from_raw(errno)) }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn what_a_child_is_told_is_known_also_where_nobody_waits_for_children() {
        const ALONE: &str = "BRAIDFS_TEST_ALONE";
        if std::env::var_os(ALONE).is_none() {
            // In a process of its own: other tests in this one wait for their children.
            let name = "disk::child::tests::what_a_child_is_told_is_known_also_where_nobody_waits_for_children";
            let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
            let told = alone.args(["--exact", name]).env(ALONE, "1").output().unwrap();
            assert!(told.status.success() && String::from_utf8_lossy(&told.stdout).contains("1 passed"), "{told:?}");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let ask = |path: &Path| ask_by_child(path, Duration::from_secs(20)).unwrap();
        let answers = || {
            assert_eq!(ask(dir.path()), Some(Ok(())));
            assert_eq!(ask(&dir.path().join("nothing")), Some(Err(Errno::ENOENT)));
        };
        answers();
        // SAFETY: sets what happens on a signal that this test's process alone may get.
        #[allow(unsafe_code)]
        unsafe {
            libc::signal(libc::SIGCHLD, libc::SIG_IGN);
        }
        answers();
    }
}
