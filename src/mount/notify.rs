//! The one thread that tells the kernel what to drop; it holds no lock while it does.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use fuser::{INodeNo, Notifier};

use crate::fs::{Again, Fs, Notice, Tree};
use crate::mount::convert::os_name;

/// After this the replies that were on their way when a tree was published have reached the kernel.
const ECHO: Duration = Duration::from_millis(50);

/// After this who learned a size right before a tree was published has made use of it.
const LEARNED: Duration = Duration::from_millis(100);

/// What the thread has to do; handed in by any thread, never waited for under a lock.
#[derive(Default)]
pub struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    /// Set before the first request is served.
    notifier: OnceLock<Notifier>,
    /// Whether a tree is on its way: its bytes may be read, and its sizes are not shown.
    coming: AtomicBool,
    /// Whether a tree is on its way, or shown and not yet told of in whole.
    telling: AtomicBool,
}

#[derive(Default)]
struct State {
    tree: Option<Arc<dyn Tree>>,
    /// What that tree and those that it replaced have changed.
    changed: Vec<String>,
    was_ready: bool,
    notices: VecDeque<Notice>,
    echoes: VecDeque<(Instant, Vec<Notice>)>,
    ends: VecDeque<(Instant, Vec<Notice>)>,
    asked: u64,
    /// Up to which everything has been shown.
    shown: u64,
    /// Up to which everything has been told.
    done: u64,
    ended: bool,
}

impl State {
    fn repeat(&mut self, again: Again) {
        for (queue, notices, pause) in [(&mut self.echoes, again.arrived, ECHO), (&mut self.ends, again.learned, LEARNED)] {
            if !notices.is_empty() {
                queue.push_back((Instant::now() + pause, notices));
            }
        }
    }

    /// When something is due to be told once more.
    fn due(&self) -> Option<Instant> {
        self.echoes.front().into_iter().chain(self.ends.front()).map(|(due, _)| *due).min()
    }

    /// What is due first.
    fn take_due(&mut self) -> Vec<Notice> {
        let first = self.due();
        let queue = if self.echoes.front().map(|(due, _)| *due) == first { &mut self.echoes } else { &mut self.ends };
        queue.pop_front().map(|(_, notices)| notices).unwrap_or_default()
    }
}

enum Work {
    Publish(Arc<dyn Tree>, Vec<String>),
    Tell(Vec<Notice>),
    End,
}

impl Queue {
    /// Says how the kernel is told.
    pub fn attach(&self, notifier: Notifier) {
        self.notifier.get_or_init(|| notifier);
    }

    /// Hands in the tree to be shown next; one that was not yet shown is skipped.
    pub fn publish(&self, tree: Arc<dyn Tree>) {
        // Before the first whole tree the kernel holds nothing that it would name, and it would name everything.
        let was_ready = std::mem::replace(&mut self.lock().was_ready, tree.is_ready());
        let changed = if was_ready { tree.changed() } else { Vec::new() };
        let mut state = self.lock();
        state.changed.extend(changed);
        state.tree = Some(tree);
        state.asked += 1;
        self.changed.notify_all();
    }

    /// Hands in notices.
    pub fn tell(&self, notices: impl IntoIterator<Item = Notice>) {
        let mut state = self.lock();
        let before = state.notices.len();
        state.notices.extend(notices);
        if state.notices.len() > before {
            state.asked += 1;
            self.changed.notify_all();
        }
    }

    /// Tells the kernel here and now that attributes are in doubt. Without bytes a notice takes no page's lock, so it waits for nobody,
    /// and in which order it comes among others does not matter.
    pub fn doubt(&self, fs: &Fs, attributes: &[Notice]) {
        if let Some(notifier) = self.notifier.get() {
            attributes.iter().for_each(|notice| send(fs, notifier, notice));
        }
    }

    /// Waits until the tree that was handed in last is shown, for `limit` at most; the kernel may not yet know.
    pub fn wait_shown(&self, limit: Duration) {
        let state = self.lock();
        let ticket = state.asked;
        drop(
            self.changed.wait_timeout_while(state, limit, |state| {
                (state.tree.is_some() || self.is_coming()) && state.shown < ticket && !state.ended
            }),
        );
    }

    /// Whether some views may be known anew to the kernel and others not yet.
    pub fn is_telling(&self) -> bool {
        self.telling.load(Ordering::SeqCst)
    }

    /// Waits until the kernel has been told of all that is shown, for `limit` at most: who learns a view's new size before may find the
    /// others as they were.
    pub fn wait_told(&self, limit: Duration) {
        drop(self.changed.wait_timeout_while(self.lock(), limit, |state| self.is_telling() && !state.ended));
    }

    /// What is found once the kernel has been told of the tree (`serial`) that it was found in, for `limit` at most; at once what does not
    /// change together with other views.
    ///
    /// The flag is up before there are new sizes: what was found while it was down is old, or known to the kernel. Who has waited has not
    /// yet found anything: the next tree may be shown by then.
    pub fn once_told<T>(&self, limit: Duration, serial: impl Fn() -> u64, changes_together: impl Fn() -> bool, find: impl Fn() -> T) -> T {
        let until = Instant::now() + limit;
        loop {
            let before = serial();
            let found = find();
            let is_told = !self.is_telling() && serial() == before;
            let left = until.saturating_duration_since(Instant::now());
            if is_told || left.is_zero() || !changes_together() {
                return found;
            }
            self.wait_told(left);
        }
    }

    /// Whether the sizes of a tree are not yet shown that can be read.
    pub fn is_coming(&self) -> bool {
        self.coming.load(Ordering::SeqCst)
    }

    /// Waits until sizes and bytes are of one tree, for `limit` at most. A size of before that the kernel learns meanwhile would make zeros
    /// of what it has read behind it.
    pub fn wait_come(&self, limit: Duration) {
        drop(self.changed.wait_timeout_while(self.lock(), limit, |state| self.is_coming() && !state.ended));
    }

    /// Waits until everything handed in before is out, for `limit` at most; says whether it is.
    pub fn settle(&self, limit: Duration) -> bool {
        let state = self.lock();
        let ticket = state.asked;
        let waited = self.changed.wait_timeout_while(state, limit, |state| state.done < ticket && !state.ended);
        waited.unwrap_or_else(PoisonError::into_inner).0.done >= ticket
    }

    /// Ends the thread.
    pub fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// Publishes and tells until [`Queue::end`].
    pub fn run(&self, fs: &Fs) {
        let Some(notifier) = self.notifier.get() else { return };
        loop {
            let (work, ticket) = self.next();
            match work {
                Work::End => return,
                Work::Tell(notices) => notices.iter().for_each(|notice| send(fs, notifier, notice)),
                Work::Publish(tree, changed) => {
                    let again = fs.publish(tree, &changed, &|notice| send(fs, notifier, notice), &|| {
                        let mut state = self.lock();
                        self.coming.store(false, Ordering::SeqCst);
                        state.shown = ticket;
                        self.changed.notify_all();
                    });
                    self.lock().repeat(again);
                }
            }
            let mut state = self.lock();
            self.telling.store(false, Ordering::SeqCst);
            state.done = state.done.max(ticket);
            self.changed.notify_all();
        }
    }

    fn next(&self) -> (Work, u64) {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            if state.ended {
                return (Work::End, state.asked);
            }
            if !state.notices.is_empty() {
                // What a tree brings is not yet done, so neither is the ticket.
                let ticket = if state.tree.is_some() { state.done } else { state.asked };
                return (Work::Tell(state.notices.drain(..).collect()), ticket);
            }
            if let Some(tree) = state.tree.take() {
                self.coming.store(true, Ordering::SeqCst);
                self.telling.store(true, Ordering::SeqCst);
                return (Work::Publish(tree, std::mem::take(&mut state.changed)), state.asked);
            }
            match state.due() {
                Some(due) if due <= now => return (Work::Tell(state.take_due()), state.done),
                Some(due) => {
                    let waited = self.changed.wait_timeout(state, due - now);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends one notice. An error means that the kernel no longer holds it, or that the mount has ended: nothing is left to drop.
fn send(fs: &Fs, notifier: &Notifier, notice: &Notice) {
    let sent = match notice {
        Notice::Bytes { ino, from } => notifier.inval_inode(INodeNo(*ino), page_of(*from), 0),
        // A file of lines ends like that, if it has any.
        Notice::End { ino, size } => notifier.store(INodeNo(*ino), size.saturating_sub(1), b"\n"),
        Notice::Listing { ino } if fs.may_drop_listing(*ino) => notifier.inval_inode(INodeNo(*ino), 0, 0),
        Notice::Attributes { ino } | Notice::Listing { ino } => notifier.inval_inode(INodeNo(*ino), -1, 0),
        Notice::Name { parent, name } => notifier.inval_entry(INodeNo(*parent), &os_name(name)),
    };
    if let Err(error) = sent {
        tracing::debug!(%error, ?notice, "the kernel did not take a notice");
    }
}

/// The start of the page that holds a byte.
fn page_of(offset: u64) -> i64 {
    const PAGE: u64 = 4096;
    i64::try_from(offset / PAGE * PAGE).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);
    const SHORT: Duration = Duration::from_millis(20);

    impl Queue {
        fn show(&self, is_told: bool) {
            let _state = self.lock();
            self.telling.store(!is_told, Ordering::SeqCst);
            self.changed.notify_all();
        }
    }

    #[test]
    fn what_is_found_in_a_tree_that_comes_after_a_wait_is_kept_back_too() {
        let queue = Queue::default();
        let serial = Cell::new(1);
        let found = std::thread::scope(|scope| {
            queue.once_told(
                LONG,
                || serial.get(),
                || true,
                || {
                    // A tree comes each time right before it is looked, and the kernel is told of it a moment later.
                    let shown = serial.get() + 1;
                    if shown < 5 {
                        serial.set(shown);
                        queue.show(false);
                        scope.spawn(|| {
                            std::thread::sleep(SHORT);
                            queue.show(true);
                        });
                    }
                    (serial.get(), queue.is_telling())
                },
            )
        });
        assert_eq!(found, (4, false));
    }

    #[test]
    fn who_looks_does_not_wait_for_ever_nor_for_what_changes_alone() {
        let queue = Queue::default();
        queue.show(false);
        assert_eq!(queue.once_told(LONG, || 1, || false, || 7), 7);
        assert_eq!(queue.once_told(SHORT, || 1, || true, || 7), 7);
        assert!(queue.is_telling());
    }
}
