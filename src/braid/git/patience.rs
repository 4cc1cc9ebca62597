//! An end for a git that waits for a remote which never answers: who reads an old file in a mount cannot be interrupted meanwhile. One that
//! sends slowly is no such remote.

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
    /// Watches a child that leads a process group of its own. What it has `received`, in bytes, is asked where it has answered nothing.
    pub(super) fn over(child: &Child, patience: Duration, received: impl Fn() -> u64 + Send + 'static) -> io::Result<Self> {
        let group = i32::try_from(child.id()).map(Pid::from_raw).map_err(io::Error::other)?;
        let (answers, heard) = channel();
        let watch = move || {
            let mut before = 0;
            loop {
                match heard.recv_timeout(patience) {
                    Ok(()) => {}
                    Err(RecvTimeoutError::Disconnected) => return false,
                    Err(RecvTimeoutError::Timeout) => {
                        let now = received();
                        if now == before {
                            // It may have ended just now.
                            return killpg(group, Signal::SIGKILL).is_ok();
                        }
                        before = now;
                    }
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
