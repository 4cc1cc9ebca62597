//! Going to the background: the command returns once the mount answers, or says why it does not.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::Path;

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::{ForkResult, fork, setsid};

use crate::disk::NO_THREAD_CURE;
use crate::mount::{Error, ErrorKind};

/// What the daemon answers when it is ready; else the kind of its error and the reason.
const READY: u8 = b'+';

/// What a daemon reads, and where what it would print goes.
const NULL: &str = "/dev/null";

/// Which of the two processes this is.
pub enum Side {
    /// The one that was called: what the daemon answered.
    Caller(Result<(), Error>),
    /// The daemon.
    Daemon(Readiness),
}

/// How the daemon answers its caller.
pub struct Readiness(Option<OwnedFd>);

impl Readiness {
    /// For a process that stays in the foreground: nobody waits.
    pub fn unheard() -> Self {
        Self(None)
    }

    /// Lets the caller return.
    pub fn tell(self, result: &Result<(), Error>) {
        let Some(pipe) = self.0 else { return };
        let message = match result {
            Ok(()) => vec![READY],
            Err(error) => [&[error.kind.to_byte()], error.message.as_bytes(), &[0], error.hint.as_bytes()].concat(),
        };
        // A caller that is gone needs no answer.
        let _ = nix::unistd::write(pipe.as_fd(), &message);
    }
}

/// Splits off a daemon: of its own session, without a terminal, at the root, and with no descriptor of its caller but one that is to be
/// `kept`. To be called before any thread is started and anything is opened.
pub fn split(kept: Option<RawFd>) -> Result<Side, Error> {
    let (answer, tell) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
    match fork_once()? {
        ForkResult::Parent { child } => {
            drop(tell);
            let result = heard(&answer);
            let _ = nix::sys::wait::waitpid(child, None);
            Ok(Side::Caller(result))
        }
        ForkResult::Child => {
            drop(answer);
            close_all_but([Some(tell.as_raw_fd()), kept]);
            let readiness = Readiness(Some(tell));
            match leave() {
                Ok(()) => Ok(Side::Daemon(readiness)),
                Err(error) => {
                    readiness.tell(&Err(error));
                    std::process::exit(1)
                }
            }
        }
    }
}

/// Closes what the caller had open: it would stay so as long as the daemon lives, a lock held or a pipe without its end.
pub fn close_all_but(kept: [Option<RawFd>; 2]) {
    let mut kept: Vec<libc::c_uint> = kept.into_iter().flatten().filter_map(|fd| fd.try_into().ok()).collect();
    kept.sort_unstable();
    let mut first = 3;
    for last in kept.into_iter().chain([libc::c_uint::MAX]) {
        if first < last {
            // SAFETY: nothing of ours is open yet but what is kept. Kernels before 5.9 do not know it, and close nothing.
            #[allow(unsafe_code)]
            unsafe {
                libc::syscall(libc::SYS_close_range, first, if last == libc::c_uint::MAX { last } else { last - 1 }, 0);
            }
        }
        first = first.max(last.saturating_add(1));
    }
}

fn leave() -> Result<(), Error> {
    setsid().map_err(failed)?;
    if let ForkResult::Parent { .. } = fork_once()? {
        std::process::exit(0);
    }
    nix::unistd::chdir(Path::new("/")).map_err(failed)?;
    let null = nix::fcntl::open(NULL, OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(|errno| Error::new(format!("'{NULL}' cannot be opened: {}", io::Error::from(errno)), "in a chroot: mount a /dev there"))?;
    nix::unistd::dup2_stdin(&null).map_err(failed)?;
    nix::unistd::dup2_stdout(&null).map_err(failed)?;
    nix::unistd::dup2_stderr(&null).map_err(failed)?;
    Ok(())
}

fn fork_once() -> Result<ForkResult, Error> {
    // SAFETY: no other thread has been started, so the child finds every lock free.
    #[allow(unsafe_code)]
    let forked = unsafe { fork() };
    forked.map_err(failed)
}

fn heard(answer: &OwnedFd) -> Result<(), Error> {
    let mut message = Vec::new();
    let mut buffer = [0u8; 1024];
    loop {
        match nix::unistd::read(answer.as_fd(), &mut buffer) {
            Ok(0) => break,
            Ok(read) => message.extend_from_slice(buffer.get(..read).unwrap_or_default()),
            Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
    match message.split_first() {
        Some((&READY, _)) => Ok(()),
        Some((&kind, reason)) => {
            let text = String::from_utf8_lossy(reason);
            let (message, hint) = text.split_once('\0').unwrap_or((&text, ""));
            Err(Error { kind: ErrorKind::of_byte(kind).unwrap_or(ErrorKind::Failed), ..Error::new(message, hint) })
        }
        None => Err(Error::new("the daemon ended before it was ready", "run it with --foreground to see why")),
    }
}

fn failed(errno: nix::errno::Errno) -> Error {
    let hint = if errno == nix::errno::Errno::EAGAIN { NO_THREAD_CURE } else { "" };
    Error::new(format!("the daemon cannot be started: {}", io::Error::from(errno)), hint)
}
