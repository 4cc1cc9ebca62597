//! The signals that end a daemon, as something to wait for.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::disk::ignores_hangup;
use crate::mount::Error;

/// SIGINT, SIGTERM and, unless it is ignored, SIGHUP, held back from every thread that is started after this.
pub struct Signals {
    set: SigSet,
    waiting: SignalFd,
}

impl Signals {
    /// Holds them back; to be called before any thread is started.
    pub fn hold() -> Result<Self, Error> {
        let mut set = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM] {
            set.add(signal);
        }
        // A terminal that is closed takes what stays in its foreground with it, unless that was asked to stay.
        if !ignores_hangup() {
            set.add(Signal::SIGHUP);
        }
        let failed = |errno: nix::errno::Errno| Error::new(format!("signals cannot be held: {}", errno.desc()), "");
        set.thread_block().map_err(failed)?;
        let waiting = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC).map_err(failed)?;
        Ok(Self { set, waiting })
    }

    /// Takes one that has come; false if none has.
    pub fn take(&self) -> bool {
        matches!(self.waiting.read_signal(), Ok(Some(_)))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.waiting.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // What is still pending then has its usual effect.
        let _ = self.set.thread_unblock();
    }
}
