//! Hints of the disk that something in `events/` has changed, and who passes them on to the keeper.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::braid::keeper::arrival::Hinted;
use crate::braid::keeper::{Keeper, Request, SOON};
use crate::disk::{Change, Watch, is_remote};

/// How long hints gather after one that was followed at once: where a thousand files come, a look costs for all that came.
const PACE: Duration = Duration::from_millis(20);

impl Keeper {
    /// Takes the hints that are there; also under the lock, right before a commit.
    pub(super) fn drain_hints(&mut self) {
        let Some((watch, dir)) = self.watch.clone() else {
            return;
        };
        let begun = self.pending.is_empty().then(Hinted::now).flatten();
        match watch.drain() {
            Ok(changes) => {
                for change in changes {
                    match change {
                        Change::Came(of, name) if of == dir && self.is_own(&name) => {}
                        Change::Came(of, name) | Change::Went(of, name) if of == dir => {
                            if name.ends_with(".jsonl") {
                                self.hold.note_change();
                                self.pending.add(name);
                            }
                        }
                        // Perhaps it may be read now; what could be read says the same as before.
                        Change::Attributes(of, name) if of == dir && self.roster.odd.contains_key(&name) => self.pending.add(name),
                        Change::Came(..) | Change::Went(..) | Change::Attributes(..) => {}
                        Change::Rescan => {
                            self.hold.note_change();
                            self.pending.add_everything();
                            self.roster.written.clear();
                            self.watch_again();
                        }
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%error, "changes can no longer be watched; the directory is listed instead");
                self.watch = None;
            }
        }
        if begun.is_some() && !self.pending.is_empty() {
            self.hinted = begun;
        }
    }

    /// Whether a hint is the one of our own rename, and what has the name is still what we wrote.
    fn is_own(&mut self, name: &str) -> bool {
        // The kernel makes one hint of two renames to one name if nobody takes the first in time.
        self.roster.written.remove(name).is_some_and(|written| self.store.stat(name).is_ok_and(|stat| stat == written))
    }

    /// Whether changes are noticed without a listing.
    pub(super) fn is_watching(&self) -> bool {
        self.watch.is_some()
    }

    pub(super) fn watch_again(&mut self) {
        let events = self.store.layout().events();
        if let Some((watch, dir)) = &mut self.watch {
            match watch.add(&events) {
                Ok(again) => (*dir, self.is_watch_lost) = (again, false),
                // Git removes a directory that it has emptied, and makes it again.
                Err(_) => self.is_watch_lost = true,
            }
        }
    }

    pub(super) fn start_watching(&mut self, to_self: Sender<Request>) {
        // The kernel watches there all the same, and hears of nothing that comes another way.
        if is_remote(self.store.dir()) {
            tracing::warn!("the store's file system gives no hints of changes; the directory is listed instead");
            return;
        }
        let watch = match self.store.disk().watch() {
            Ok(watch) => Arc::new(watch),
            Err(error) => {
                tracing::warn!(%error, "changes cannot be watched; the directory is listed instead");
                return;
            }
        };
        match watch.add(&self.store.layout().events()) {
            Ok(dir) => self.watch = Some((Arc::clone(&watch), dir)),
            Err(error) => {
                tracing::warn!(%error, "changes cannot be watched; the directory is listed instead");
                return;
            }
        }
        let weak = Arc::downgrade(&watch);
        drop(watch);
        let started = std::thread::Builder::new().name("watch".to_owned()).spawn(move || forward_hints(&weak, &to_self));
        if let Err(error) = started {
            tracing::warn!(%error, "no thread to watch with; the directory is listed instead");
            self.watch = None;
        }
    }
}

/// Tells the keeper of hints until the keeper is gone.
fn forward_hints(watch: &Weak<Watch>, keeper: &Sender<Request>) {
    // A keeper that is gone is noticed at the next wake-up.
    const WAKE_UP: Duration = Duration::from_millis(250);
    loop {
        let Some(watch) = watch.upgrade() else { return };
        let start = Instant::now();
        match watch.has_hints(WAKE_UP) {
            Ok(true) => {
                drop(watch);
                let (taken, wait) = channel();
                if keeper.send(Request::Look { taken }).is_err() || wait.recv().is_err() {
                    return;
                }
                std::thread::sleep(PACE);
            }
            Ok(false) if start.elapsed() < Duration::from_millis(1) => std::thread::sleep(SOON),
            Ok(false) => {}
            Err(_) => return,
        }
    }
}
