//! Whose turn it is to change the store: the keeper's thread, or a writer who is alone and so needs no thread woken for its commit.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

/// The keeper, and who may use it now.
pub(in crate::braid) struct Desk<Keeper> {
    keeper: Mutex<Keeper>,
    /// How many wait for their turn: a lock alone is not fair to them.
    waiting: AtomicUsize,
    /// Whether writers queue: the files were not yet looked at, or several were seen together, who share their syncs.
    queues: AtomicBool,
}

impl<Keeper> Desk<Keeper> {
    /// A desk at which writers queue until the keeper's thread says otherwise.
    pub(in crate::braid) fn new(keeper: Keeper) -> Self {
        Self { keeper: Mutex::new(keeper), waiting: AtomicUsize::new(0), queues: AtomicBool::new(true) }
    }

    /// Waits for the keeper.
    pub(in crate::braid) fn turn(&self) -> MutexGuard<'_, Keeper> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        keeper
    }

    /// The keeper for a writer who is alone; none where it has to queue.
    pub(in crate::braid) fn alone(&self) -> Option<MutexGuard<'_, Keeper>> {
        if self.queues.load(Ordering::SeqCst) || self.waiting.load(Ordering::SeqCst) > 0 {
            return None;
        }
        match self.keeper.try_lock() {
            Ok(keeper) => Some(keeper),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Whether writers are to queue from now on.
    pub(super) fn set_queues(&self, queues: bool) {
        self.queues.store(queues, Ordering::SeqCst);
    }
}

/// How long the keeper's thread rests unless it is told of something.
///
/// It looks by itself after what it knows of. Told of it again by each commit, as long as the saved index is written, say, it would be at
/// the desk when the next writer comes.
#[derive(Default)]
pub(super) struct Rest(Duration);

impl Rest {
    /// Begins one that lasts so long.
    pub(super) fn begin(&mut self, patience: Duration) -> Duration {
        self.0 = patience;
        patience
    }

    /// Whether the thread must be told that it is to look sooner; once it was, it is not told again.
    pub(super) fn is_too_long(&mut self, patience: Duration) -> bool {
        let is_too_long = patience < self.0;
        self.0 = self.0.min(patience);
        is_too_long
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::{Desk, Rest};

    #[test]
    fn who_rests_too_long_is_told_once() {
        let (short, long) = (Duration::from_millis(1), Duration::from_secs(1));
        let mut rest = Rest::default();
        assert_eq!(rest.begin(long), long);
        assert_eq!([long, short, short].map(|patience| rest.is_too_long(patience)), [false, true, false]);
        rest.begin(short);
        assert!(!rest.is_too_long(short), "it looks by itself");
        rest.begin(long);
        assert!(rest.is_too_long(short));
    }

    #[test]
    fn a_writer_goes_first_only_where_nobody_else_is() {
        let desk = Arc::new(Desk::new(0));
        assert!(desk.alone().is_none(), "the files were not looked at yet");
        desk.set_queues(false);
        let mut writer = desk.alone().unwrap();
        *writer += 1;
        assert!(desk.alone().is_none());
        let waiting = Arc::clone(&desk);
        let thread = std::thread::spawn(move || {
            *waiting.turn() += 1;
            std::thread::sleep(Duration::from_millis(20));
        });
        while desk.waiting.load(super::Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        drop(writer);
        // However often a writer comes back: whoever waits is served.
        let seen = loop {
            match desk.alone() {
                Some(keeper) => break *keeper,
                None => std::thread::yield_now(),
            }
        };
        assert_eq!(seen, 2);
        thread.join().unwrap();
    }
}
