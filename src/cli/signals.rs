//! SIGINT and SIGTERM as a wish to end, for commands that follow; SIGXFSZ as an error; SIGCHLD as ever.

use std::process::{Child, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::unistd::Pid;

use super::failure::{Failure, Kind, Result};

/// How soon the end of a child or a signal is noticed.
const LOOK: Duration = Duration::from_millis(5);

static COME: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_: libc::c_int) {
    COME.store(true, Ordering::Relaxed);
}

extern "C" fn pass(_: libc::c_int) {}

/// Lets a write beyond the limit of `ulimit -f` fail with `EFBIG`, by which who wrote it is told, in place of ending the process. A handler
/// and not `SIG_IGN`: programs that are started from here then have the signal as ever.
pub(super) fn outlive_large_writes() {
    let action = SigAction::new(SigHandler::Handler(pass), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler does nothing, which is safe at any moment.
    #[allow(unsafe_code)]
    // There is such a signal, and it may be caught.
    let _ = unsafe { sigaction(Signal::SIGXFSZ, &action) };
}

/// Lets children be waited for, whoever started us: where SIGCHLD is ignored, as by a parent that wants to hear of none, the kernel forgets
/// how they ended.
pub(super) fn wait_for_children() {
    let action = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: no handler is set.
    #[allow(unsafe_code)]
    // There is such a signal, and it may be set so.
    let _ = unsafe { sigaction(Signal::SIGCHLD, &action) };
}

/// Proof that the two signals no longer end the process by themselves; children get them as ever.
#[derive(Clone, Copy)]
pub(super) struct Ending(());

impl Ending {
    /// From now on the signals are only noted.
    pub(super) fn catch() -> Result<Self> {
        let action = SigAction::new(SigHandler::Handler(note), SaFlags::SA_RESTART, SigSet::empty());
        for signal in [Signal::SIGINT, Signal::SIGTERM] {
            // SAFETY: the handler only stores to an atomic, which is safe at any moment.
            #[allow(unsafe_code)]
            let caught = unsafe { sigaction(signal, &action) };
            caught.map_err(|errno| Failure::new(Kind::Failed, "signals cannot be caught").because(&errno))?;
        }
        Ok(Self(()))
    }

    /// Whether one of them has come.
    pub(super) fn has_come(self) -> bool {
        COME.load(Ordering::Relaxed)
    }

    /// Waits for a child; a signal that comes meanwhile is passed on to it.
    pub(super) fn wait_for(self, child: &mut Child) -> Result<ExitStatus> {
        let mut told = false;
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) => {}
                Err(error) => return Err(Failure::new(Kind::Failed, "program cannot be waited for").because(&error)),
            }
            if self.has_come() && !told {
                told = true;
                // One that has just ended is noticed in the next round.
                let _ = i32::try_from(child.id()).map(|pid| kill(Pid::from_raw(pid), Signal::SIGTERM));
            }
            std::thread::sleep(LOOK);
        }
    }
}
