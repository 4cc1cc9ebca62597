//! Hints of the disk that something in `events/` has changed, and who passes them on to the keeper.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use crate::braid::keeper::arrival::Hinted;
use crate::braid::keeper::{Keeper, Request};
use crate::disk::{Change, Stat, Watch, WatchedDir, is_remote};
use crate::store::Store;

/// How long hints gather after one that was followed at once: where a thousand files come, a look costs for all that came.
const PACE: Duration = Duration::from_millis(20);

/// How long hints wait at most for a writer who takes them with his next commit.
const STEP: Duration = Duration::from_millis(5);

/// The watch over `events/`.
#[derive(Default)]
pub(super) struct Watching {
    watch: Option<(Arc<Watch>, WatchedDir)>,
    /// Whether `events/` itself went, so that nothing is watched until it is back.
    is_lost: bool,
    /// What we wrote a moment ago and were not given the hint of yet.
    written: HashMap<String, Stat>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.end();
    }
}

impl Watching {
    /// Watches nothing any more.
    fn end(&mut self) {
        if let Some((watch, _)) = self.watch.take() {
            watch.end();
        }
    }

    /// Whether changes are noticed without a listing.
    pub(super) fn is_on(&self) -> bool {
        self.watch.is_some()
    }

    /// Whether `events/` itself went, so that nothing is watched until it is back.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// We wrote a file, the hint of which tells nothing new.
    pub(super) fn note_written(&mut self, name: &str, stat: Stat) {
        if self.is_on() {
            self.written.insert(name.to_owned(), stat);
        }
    }

    /// From now on what we wrote is hinted at like everything else.
    pub(super) fn forget_written(&mut self) {
        self.written.clear();
    }

    /// The hints that are there, of `events/` and not of what we wrote ourselves.
    fn drain(&mut self, store: &Store) -> Vec<Change> {
        let Some((watch, dir)) = self.watch.clone() else { return Vec::new() };
        let mut changes = watch.drain().unwrap_or_else(|error| {
            tracing::warn!(%error, "changes can no longer be watched; the directory is listed instead");
            self.end();
            Vec::new()
        });
        changes.retain(|change| match change {
            Change::Came(of, name) => *of == dir && !self.is_own(store, name),
            Change::Went(of, _) | Change::Attributes(of, _) => *of == dir,
            Change::Rescan => {
                self.forget_written();
                self.begin_again(store);
                true
            }
        });
        changes
    }

    /// Whether a hint is the one of our own rename, and what has the name is still what we wrote.
    fn is_own(&mut self, store: &Store, name: &str) -> bool {
        // The kernel makes one hint of two renames to one name if nobody takes the first in time.
        self.written.remove(name).is_some_and(|written| store.stat(name).is_ok_and(|stat| stat == written))
    }

    /// Watches `events/` again, which may be another directory by now; gives whether it is there.
    pub(super) fn begin_again(&mut self, store: &Store) -> bool {
        if let Some((watch, dir)) = &mut self.watch {
            match watch.add(&store.layout().events()) {
                Ok(again) => (*dir, self.is_lost) = (again, false),
                // Git removes a directory that it has emptied, and makes it again.
                Err(_) => self.is_lost = true,
            }
        }
        !self.is_lost
    }

    /// Begins to watch, and to tell the keeper of hints; where that cannot be, the directory is listed.
    pub(super) fn begin(&mut self, store: &Store, to_self: Sender<Request>) {
        // The kernel watches there all the same, and hears of nothing that comes another way.
        if is_remote(store.dir()) {
            tracing::warn!("the store's file system gives no hints of changes; the directory is listed instead");
            return;
        }
        let watching = store.disk().watch().map(Arc::new).and_then(|watch| {
            let dir = watch.add(&store.layout().events())?;
            Ok((watch, dir))
        });
        let (watch, dir) = match watching {
            Ok(watching) => watching,
            Err(error) => {
                tracing::warn!(%error, "changes cannot be watched; the directory is listed instead");
                return;
            }
        };
        let watched = Arc::clone(&watch);
        let started = std::thread::Builder::new().name("watch".to_owned()).spawn(move || forward_hints(&watched, &to_self));
        match started {
            Ok(_) => self.watch = Some((watch, dir)),
            Err(error) => tracing::warn!(%error, "no thread to watch with; the directory is listed instead"),
        }
    }
}

impl Keeper {
    /// Takes the hints that are there; also under the lock, right before a commit.
    pub(super) fn drain_hints(&mut self) {
        if !self.watching.is_on() {
            return;
        }
        let begun = self.pending.is_empty().then(Hinted::now).flatten();
        for change in self.watching.drain(&self.store) {
            match change {
                Change::Came(_, name) | Change::Went(_, name) => {
                    if name.ends_with(".jsonl") {
                        self.hold.note_change();
                        self.pending.add(name);
                    }
                }
                // Perhaps it may be read now; what could be read says the same as before, and is shown as another file.
                Change::Attributes(_, name) if self.is_known(&name) => self.pending.add(name),
                Change::Attributes(..) => {}
                Change::Rescan => {
                    self.hold.note_change();
                    self.pending.add_everything();
                }
            }
        }
        if begun.is_some() && !self.pending.is_empty() {
            self.hinted = begun;
        }
    }
}

/// Tells the keeper of hints until the watch ends or the keeper is gone.
///
/// Each commit takes the hints that are there, the one of the commit before among them. As long as that goes on the keeper is not told:
/// it would be at the desk when the next writer comes, who then has to queue.
fn forward_hints(watch: &Watch, keeper: &Sender<Request>) {
    let mut others_take = false;
    loop {
        let before = watch.drains();
        match watch.has_hints() {
            Ok(true) if others_take => {
                std::thread::sleep(STEP);
                others_take = watch.drains() != before;
            }
            Ok(true) => {
                let (taken, wait) = channel();
                if keeper.send(Request::Look { taken }).is_err() || wait.recv().is_err() {
                    return;
                }
                let before = watch.drains();
                std::thread::sleep(PACE);
                others_take = watch.drains() != before;
            }
            Ok(false) | Err(_) => return,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc::{Receiver, RecvTimeoutError};
    use std::thread;
    use std::time::Instant;

    use super::*;
    use crate::braid::tests::store;
    use crate::disk::Disk;
    use crate::store::Mode;

    /// Story: each commit's own hint brought the keeper's thread to the desk, and every fiftieth writer had to queue behind it.
    #[test]
    fn who_takes_the_hints_himself_is_left_alone_and_what_nobody_takes_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let watch = Arc::new(Disk::real().watch().unwrap());
        watch.add(dir.path()).unwrap();
        let watched = Arc::clone(&watch);
        let (keeper, inbox) = channel();
        let forwarder = thread::spawn(move || forward_hints(&watched, &keeper));
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
        watch.end();
        forwarder.join().unwrap();
    }

    #[test]
    fn a_watch_that_is_over_leaves_no_thread() {
        let (_temp, dir) = store();
        let store = Store::open(&dir, &Disk::real(), Mode::Writable).unwrap();
        let (keeper, inbox) = channel();
        let mut watching = Watching::default();
        watching.begin(&store, keeper);
        assert!(watching.is_on());
        drop(watching);
        assert!(matches!(inbox.recv_timeout(Duration::from_secs(30)), Err(RecvTimeoutError::Disconnected)), "the thread had the other end");
    }
}
