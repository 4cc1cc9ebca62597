//! How the keeper begins: it looks at what is there, and not while git is at it.

use std::sync::PoisonError;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use tracing::field::Empty;

use crate::braid::keeper::commit::LOCK_WAIT;
use crate::braid::keeper::desk::Desk;
use crate::braid::keeper::{Keeper, Request, heap};
use crate::braid::spans::{count, micros};
use crate::braid::{Failure, Shared};
use crate::model::Errno;

/// How soon it is looked again whether git is done.
const PAUSE: Duration = Duration::from_millis(10);

impl Keeper {
    /// Whether git is changing the files right now. It may have begun before they were watched.
    pub(super) fn is_held(&mut self) -> bool {
        if self.watching.is_on() && self.progress.ready { self.hold.holds() } else { self.hold.holds_unwatched() }
    }

    /// Waits before anything is read until git is done, and gives what was asked meanwhile, and whether git is not done yet; none if it is to
    /// stop.
    ///
    /// Who follows the store waits for as long as git works: its readers wait as for an index. All others do for some seconds, and are
    /// refused by the first look.
    pub(super) fn wait_for_git(desk: &Desk<Self>, inbox: &Receiver<Request>) -> Option<(Vec<Request>, bool)> {
        let begun = Instant::now();
        let mut early = Vec::new();
        loop {
            let (is_held, is_late) = {
                let mut keeper = desk.turn();
                (keeper.hold.holds_unwatched(), !keeper.options.follow && begun.elapsed() > LOCK_WAIT)
            };
            if !is_held || is_late {
                return Some((early.into_iter().map(|(_, request)| request).collect(), is_held));
            }
            match inbox.recv_timeout(PAUSE) {
                Ok(Request::Stop) | Err(RecvTimeoutError::Disconnected) => return None,
                Ok(request) => early.push((Instant::now(), request)),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let (late, waiting) = early.into_iter().partition(|(asked, request)| asked.elapsed() > LOCK_WAIT && request.is_append());
            early = waiting;
            for (_, request) in late {
                request.refuse(&git_is_busy().into());
            }
        }
    }

    /// Waits until git is done, for so long from `begun` on.
    pub(super) fn sit_git_out(&mut self, begun: Instant, patience: Duration) -> Result<(), Failure> {
        while self.is_held() {
            if begun.elapsed() > patience {
                return Err(git_is_busy());
            }
            std::thread::sleep(PAUSE);
            self.drain_hints();
        }
        Ok(())
    }

    pub(super) fn begin_serving(&mut self, shared: &Shared, to_self: Sender<Request>, is_git_late: bool) {
        if self.options.follow || self.options.hinted {
            self.watching.begin(&self.store, to_self);
        } else {
            drop(to_self);
        }
        self.survive(shared, |keeper| keeper.first_look(shared, is_git_late));
    }

    fn first_look(&mut self, shared: &Shared, is_git_late: bool) {
        let begun = Instant::now();
        let span = tracing::info_span!("load", transactions = Empty, events = Empty, duration_us = Empty).entered();
        self.hold.forget_changes();
        if self.options.follow {
            self.suspect_disk();
            self.probe_disk();
            self.look_at_git_lock();
        }
        let taken_in = if is_git_late { Err(git_is_busy()) } else { self.first_take_in(shared) };
        let is_whole = match taken_in {
            Ok(is_whole) => is_whole,
            Err(failure) => return self.nothing_is_read(failure, shared),
        };
        self.counters.load.add(begun.elapsed());
        span.record("transactions", count(self.index.transactions.valid_count()));
        span.record("events", count(self.index.log.events.len()));
        span.record("duration_us", micros(begun));
        if !is_whole {
            // What waits is looked at as soon as git is done, and then shown.
            return tracing::info!("git is changing the store");
        }
        self.progress.ordered = true;
        self.publish(shared);
        // A start needs several times what stays: the rest goes back to the system.
        heap::give_back();
        self.mark_dirty();
        if let Err(failure) = self.look(shared, true) {
            tracing::error!(%failure, "the store could not be read");
        }
        if !self.progress.ready {
            self.progress.finish();
            self.publish(shared);
        }
        self.keep_base();
    }

    fn nothing_is_read(&mut self, failure: Failure, shared: &Shared) {
        self.is_hurt = true;
        let why = if failure.errno == Errno::EBUSY {
            tracing::warn!(%failure, "nothing was read; it is tried again");
            failure
        } else {
            tracing::error!(%failure, "the store could not be read; it is tried again");
            Failure { message: format!("the store's files cannot be read: {failure}"), ..failure }
        };
        self.note_out_of_reach(&why);
        *shared.unread.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        self.give_up_waiting(shared);
    }

    /// What was saved is taken over where a name and its inode are still there; the rest is read. Gives whether that is all, and not
    /// what lies there in the middle of a checkout.
    fn first_take_in(&mut self, shared: &Shared) -> Result<bool, Failure> {
        let before = Some(self.seen());
        let (came, went) = self.begin(self.options.from_scratch)?;
        self.take_in_these(came, went, Some(shared))?;
        let is_whole = if self.options.follow {
            self.take_in_whole(shared, before)?
        } else {
            self.take_in_all(shared, before, Instant::now(), LOCK_WAIT)?;
            true
        };
        self.chain.find_last(&self.index);
        self.look_for_left_out();
        self.mark_dirty();
        Ok(is_whole)
    }
}

pub(super) fn git_is_busy() -> Failure {
    Failure::busy(
        format!("git is changing the store for over {} s", LOCK_WAIT.as_secs()),
        "try again when it is done; braidfs doctor tells of a lock that git has left behind",
    )
}
