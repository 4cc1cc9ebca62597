//! An end for a git that waits for a remote which never answers: who reads an old file in a mount cannot be interrupted meanwhile.

use std::io;
use std::process::Child;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// Ends a child, with all that it started, once it has answered nothing for too long.
pub(super) struct Watchdog {
    answers: Sender<()>,
    thread: JoinHandle<bool>,
}

impl Watchdog {
    /// Watches a child that leads a process group of its own.
    pub(super) fn over(child: &Child, patience: Duration) -> io::Result<Self> {
        let group = i32::try_from(child.id()).map(Pid::from_raw).map_err(io::Error::other)?;
        let (answers, heard) = channel();
        let watch = move || {
            loop {
                match heard.recv_timeout(patience) {
                    Ok(()) => {}
                    Err(RecvTimeoutError::Disconnected) => return false,
                    // It may have ended just now.
                    Err(RecvTimeoutError::Timeout) => return killpg(group, Signal::SIGKILL).is_ok(),
                }
            }
        };
        Ok(Self { answers, thread: thread::Builder::new().spawn(watch)? })
    }

    /// There was an answer.
    pub(super) fn heard(&self) {
        // Whoever has ended the child listens no more.
        let _ = self.answers.send(());
    }

    /// Watches no longer; gives whether the child was ended.
    pub(super) fn end(self) -> bool {
        drop(self.answers);
        self.thread.join().unwrap_or(false)
    }
}
