//! Hints of the disk that something in `events/` has changed, and who passes them on to the keeper.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::braid::keeper::arrival::Hinted;
use crate::braid::keeper::{Keeper, Request, SOON};
use crate::disk::{Change, Watch, is_remote};

/// How long hints gather after one that was followed at once: where a thousand files come, a look costs for all that came.
const PACE: Duration = Duration::from_millis(20);

/// How long hints wait at most for a writer who takes them with his next commit.
const STEP: Duration = Duration::from_millis(5);

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
                        // Perhaps it may be read now; what could be read says the same as before, and is shown as another file.
                        Change::Attributes(of, name) if of == dir && self.is_known(&name) => self.pending.add(name),
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
        let (weak, drains) = (Arc::downgrade(&watch), watch.drains());
        drop(watch);
        let started = std::thread::Builder::new().name("watch".to_owned()).spawn(move || forward_hints(&weak, &drains, &to_self));
        if let Err(error) = started {
            tracing::warn!(%error, "no thread to watch with; the directory is listed instead");
            self.watch = None;
        }
    }
}

/// Tells the keeper of hints until the keeper is gone.
///
/// Each commit takes the hints that are there, the one of the commit before among them. As long as that goes on the keeper is not told:
/// it would be at the desk when the next writer comes, who then has to queue.
fn forward_hints(watch: &Weak<Watch>, drains: &AtomicUsize, keeper: &Sender<Request>) {
    // A keeper that is gone is noticed at the next wake-up.
    const WAKE_UP: Duration = Duration::from_millis(250);
    let drained = || drains.load(Ordering::Relaxed);
    let mut others_take = false;
    loop {
        let Some(watch) = watch.upgrade() else { return };
        let (start, before) = (Instant::now(), drained());
        match watch.has_hints(WAKE_UP) {
            Ok(true) if others_take => {
                std::thread::sleep(STEP);
                others_take = drained() != before;
            }
            Ok(true) => {
                drop(watch);
                let (taken, wait) = channel();
                if keeper.send(Request::Look { taken }).is_err() || wait.recv().is_err() {
                    return;
                }
                let before = drained();
                std::thread::sleep(PACE);
                others_take = drained() != before;
            }
            Ok(false) if start.elapsed() < Duration::from_millis(1) => std::thread::sleep(SOON),
            Ok(false) => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::sync::mpsc::Receiver;
    use std::thread;

    use super::*;
    use crate::disk::Disk;

    /// Story: each commit's own hint brought the keeper's thread to the desk, and every fiftieth writer had to queue behind it.
    #[test]
    fn who_takes_the_hints_himself_is_left_alone_and_what_nobody_takes_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let watch = Arc::new(Disk::real().watch().unwrap());
        watch.add(dir.path()).unwrap();
        let (weak, drains) = (Arc::downgrade(&watch), watch.drains());
        let (keeper, inbox) = channel();
        let forwarder = thread::spawn(move || forward_hints(&weak, &drains, &keeper));
        let touch = || std::fs::write(dir.path().join("x"), "").unwrap();
        let answer = |inbox: &Receiver<Request>, patience: Duration| match inbox.recv_timeout(patience) {
            Ok(Request::Look { taken }) => {
                watch.drain().unwrap();
                taken.send(()).unwrap();
                true
            }
            _ => false,
        };
        touch();
        assert!(answer(&inbox, Duration::from_secs(10)), "the first hint is told at once");
        let is_over = AtomicBool::new(false);
        let told = thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    touch();
                    watch.drain().unwrap();
                }
            });
            let begun = Instant::now();
            let mut told = 0;
            while begun.elapsed() < PACE * 20 {
                told += u32::from(answer(&inbox, PACE));
            }
            is_over.store(true, Ordering::Relaxed);
            told
        });
        // On a busy machine the writer may not come to it for a while.
        assert!(told < 10, "told {told} times in 20 of its paces");
        touch();
        assert!(answer(&inbox, Duration::from_secs(10)), "and what nobody takes");
        drop((watch, inbox));
        forwarder.join().unwrap();
    }
}
