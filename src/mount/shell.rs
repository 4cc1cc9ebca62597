//! How a request is served: at once, on a thread that may wait, or once no commit is being decided.

use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fuser::{INodeNo, Request};

use crate::disk::mishap;
use crate::fs::{Found, Fs, Slow};
use crate::model::Errno;
use crate::mount::arrivals::Arrivals;
use crate::mount::home::Home;
use crate::mount::notify::Queue;
use crate::mount::park::Parking;
use crate::mount::verdicts::Verdicts;
use crate::mount::waits::Waits;

/// For how long an answer to a commit waits for the notices of its views.
pub(super) const SETTLE_LIMIT: Duration = Duration::from_secs(5);

/// For how long a thread that serves the kernel waits for notices, which may need that it serves.
pub(super) const TOLD_SOON: Duration = Duration::from_millis(50);

/// What the kernel's requests reach.
pub struct Shell {
    pub(super) fs: Arc<Fs>,
    pub(super) queue: Arc<Queue>,
    pub(super) parking: Arc<Parking>,
    pub(super) waiting: Arc<Parking>,
    pub(super) verdicts: Arc<Verdicts>,
    pub(super) working: Arc<Parking>,
    pub(super) waits: Waits,
    pub(super) folding: Arc<Parking>,
    pub(super) travelling: Arc<Parking>,
    pub(super) store: PathBuf,
    pub(super) home: Home,
    pub(super) arrivals: Arrivals,
    /// Closed with the shell, when the last request has been served.
    pub(super) _alive: OwnedFd,
}

/// Runs a handler; a panic drops its reply, which answers EIO, and the rest goes on.
pub(super) fn guarded(what: &'static str, handler: impl FnOnce()) {
    let _span = tracing::debug_span!("fuse", request = what).entered();
    tracing::debug!("asked");
    let handled = catch_unwind(AssertUnwindSafe(|| {
        mishap::at(what);
        handler();
    }));
    if handled.is_err() {
        tracing::error!(request = what, "a request failed: this is a bug in braidfs");
    }
}

impl Shell {
    /// Whether the kernel may open and list by itself: nothing depends on who has what open, and it may keep what it is given.
    pub(super) fn is_stateless(&self) -> bool {
        let manner = self.fs.manner();
        manner.read_only && !manner.uncached
    }

    /// Notes that a request has begun.
    pub(super) fn begin(&self, request: &Request) {
        self.arrivals.begun(request.unique().0);
    }

    /// The same for one that shows views: while a file may have been closed for the last time, it begins after what came before it.
    pub(super) fn begin_in_turn(&self, request: &Request) {
        self.fs.note_asked(request.pid());
        self.begin(request);
        if self.fs.is_closing() {
            self.arrivals.wait_before(request.unique().0);
        }
    }

    /// Runs what may wait for a commit away from the threads that serve the kernel, then answers once the kernel knows the views.
    pub(super) fn commit(&self, what: &'static str, work: impl FnOnce(&Fs, &Queue) + Send + 'static) {
        self.run_in(&self.parking, what, work);
    }

    /// Runs what takes a moment and waits for nobody: apart from what waits for a commit, behind which it would wait as well.
    pub(super) fn work(&self, what: &'static str, work: impl FnOnce(&Fs, &Queue) + Send + 'static) {
        self.run_in(&self.working, what, work);
    }

    /// Runs what waits for a verdict: apart from the commits, which it must not keep from being done.
    pub(super) fn wait(&self, what: &'static str, work: impl FnOnce(&Fs, &Queue) + Send + 'static) {
        self.run_in(&self.waiting, what, work);
    }

    fn run_in(&self, pool: &Arc<Parking>, what: &'static str, work: impl FnOnce(&Fs, &Queue) + Send + 'static) {
        let (fs, queue) = (Arc::clone(&self.fs), Arc::clone(&self.queue));
        pool.run(Box::new(move || guarded(what, || work(&fs, &queue))));
    }

    /// Where what may take as long as a fold, or as a remote of git, is answered: apart from everything else, and from each other.
    pub(super) fn apart(&self, ino: INodeNo) -> Option<Arc<Parking>> {
        self.pool_of(self.fs.slow(ino.0))
    }

    /// The same for finding or listing names in a directory.
    pub(super) fn apart_in(&self, directory: INodeNo) -> Option<Arc<Parking>> {
        self.pool_of(self.fs.slow_in(directory.0))
    }

    /// The same, of what is known to take long.
    pub(super) fn pool_of(&self, slow: Option<Slow>) -> Option<Arc<Parking>> {
        slow.map(|slow| match slow {
            Slow::Fold => Arc::clone(&self.folding),
            Slow::Past => Arc::clone(&self.travelling),
        })
    }

    /// Runs a handler there, once no commit is being decided.
    pub(super) fn run_apart(&self, pool: &Arc<Parking>, what: &'static str, work: impl FnOnce(&Fs, &Queue) + Send + 'static) {
        let closes = self.fs.closes();
        self.run_in(pool, what, move |fs, queue| {
            fs.wait_decided(closes);
            work(fs, queue);
        });
    }

    /// Runs a handler that reads views; while a commit is being decided it is parked.
    pub(super) fn reading(&self, what: &'static str, ino: INodeNo, work: impl FnOnce(&Fs, &Queue) + Send + 'static) {
        if let Some(pool) = self.apart(ino) {
            return self.run_apart(&pool, what, work);
        }
        if self.fs.waits(ino.0) { self.park(what, work) } else { guarded(what, || work(&self.fs, &self.queue)) }
    }

    /// Whether names of a directory of views are to be answered by a thread that may wait, since sizes are about to change: those that
    /// serve the kernel may be needed for that.
    pub(super) fn must_wait_in(&self, directory: INodeNo) -> bool {
        self.queue.is_coming() && (directory == INodeNo::ROOT || self.fs.changes_together(directory.0))
    }

    /// Runs a handler that lists a directory from an offset on. Who goes on there has waited when he began: a page names some twenty files, and
    /// each would wait for the commits that had begun meanwhile.
    pub(super) fn listing(&self, what: &'static str, ino: INodeNo, offset: u64, work: impl FnOnce(&Fs, &Queue) + Send + 'static) {
        if let Some(pool) = self.apart_in(ino) {
            return self.run_apart(&pool, what, work);
        }
        if offset > 0 || !self.fs.waits_in(ino.0, None) {
            return guarded(what, || work(&self.fs, &self.queue));
        }
        self.after_wait(what, ino, work);
    }

    /// Runs a handler once nothing is on its way that a listing of this directory would show.
    pub(super) fn after_wait(&self, what: &'static str, ino: INodeNo, work: impl FnOnce(&Fs, &Queue) + Send + 'static) {
        if self.fs.needs_index(ino.0) {
            return self.park(what, work);
        }
        let closes = self.fs.closes();
        self.wait(what, move |fs, queue| {
            fs.wait_for(ino.0, closes);
            work(fs, queue);
        });
    }

    /// Runs a handler once no commit is being decided and the index has caught up.
    pub(super) fn park(&self, what: &'static str, work: impl FnOnce(&Fs, &Queue) + Send + 'static) {
        let (fs, queue) = (Arc::clone(&self.fs), Arc::clone(&self.queue));
        self.parking.park(self.fs.closes(), Box::new(move || guarded(what, || work(&fs, &queue))));
    }
}

/// What has a name, with a size that fits the bytes that can be read.
pub(super) fn look_up(fs: &Fs, queue: &Queue, parent: INodeNo, child: &str) -> Result<(Found, u64), Errno> {
    let found = fs.look_up(parent.0, child);
    if !queue.is_coming() || fs.is_own(parent.0) {
        return found;
    }
    if let Ok((found, _)) = &found {
        fs.forget(found.attr.ino, 1);
    }
    queue.wait_come(TOLD_SOON);
    fs.look_up(parent.0, child)
}

/// Returns once the kernel knows what was published before.
pub(super) fn settle(queue: &Queue) {
    if !queue.settle(SETTLE_LIMIT) {
        tracing::warn!("the kernel did not take the notices in time");
    }
}
