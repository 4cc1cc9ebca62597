//! Whether we may write: who holds the store's lock while we do not, and since when, and whether writing has stopped.

use std::time::{Duration, Instant, SystemTime};

use crate::braid::keeper::trouble::Trouble;
use crate::disk::{self, Holder};
use crate::epoch::WriterState;
use crate::format::time::created_at;
use crate::store::{LockError, Mode, Store};

/// Who asks so soon after somebody was refused is refused as well: the kernel lets one in at a time at `append`, or renames in one directory, and each
/// of those who queue there would wait as long again. On a busy machine the next one comes late. Whoever tries again and again is to wait as well.
const QUEUE: Duration = Duration::from_secs(1);

/// What is known of who may write.
pub(super) struct Locking {
    writer: WriterState,
    /// Whether the next epoch says something else of that than the newest one.
    is_changed: bool,
    /// Whoever held the lock when it was last looked; the kernel may not tell who that is.
    holder: Option<Option<Holder>>,
    /// Whether we had it before: then it is held since it was first seen to be.
    was_ours: bool,
    /// Who was first seen to hold it, and when that was.
    since: Option<(Option<Holder>, SystemTime)>,
    /// Why it could not be asked for.
    trouble: Trouble,
    /// When somebody was last refused who had waited as long as anybody does, if nobody has entered since.
    gave_up: Option<Instant>,
}

impl Locking {
    pub(super) fn new(store: &Store) -> Self {
        let writer = if store.mode() == Mode::ReadOnly { WriterState::ReadOnly } else { WriterState::Ready };
        Self { writer, is_changed: false, holder: None, was_ours: false, since: None, trouble: Trouble::default(), gave_up: None }
    }

    /// Whether anything can be written, and why not.
    pub(super) fn writer(&self) -> &WriterState {
        &self.writer
    }

    /// Whether nothing is ever written.
    pub(super) fn is_read_only(&self) -> bool {
        self.writer == WriterState::ReadOnly
    }

    /// Whether the lock cannot even be asked for.
    pub(super) fn has_trouble(&self) -> bool {
        self.trouble.lasts()
    }

    /// Whether the next epoch says something else of who may write than the newest one.
    pub(super) fn is_changed(&self) -> bool {
        self.is_changed
    }

    /// The same, as an epoch is made that says it.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.is_changed)
    }

    /// Looks who holds the lock where nothing is to be written; whoever holds it for a moment only is not told of.
    ///
    /// It is tried before the kernel is asked for the holder: reading `/proc/locks` takes some ten milliseconds, and keeps everybody on
    /// the machine from locking anything meanwhile.
    pub(super) fn look(&mut self, store: &Store) {
        let holder = match store.lock(Duration::ZERO) {
            Err(LockError::Busy { holder, .. }) => Some(holder),
            Ok(_) => {
                (self.was_ours, self.since) = (true, None);
                None
            }
            Err(_) => return,
        };
        match &holder {
            None if matches!(self.writer, WriterState::Locked(_)) => self.set(WriterState::Ready),
            None => {}
            Some(now) => {
                self.since(store, now);
                if holder == self.holder {
                    self.refused(store, &LockError::Busy { store: store.dir().display().to_string(), holder: now.clone() });
                }
            }
        }
        self.holder = holder;
    }

    /// We have the lock.
    pub(super) fn taken(&mut self) {
        self.trouble.end();
        (self.was_ours, self.since) = (true, None);
        self.set(WriterState::Ready);
    }

    /// We were not given it.
    pub(super) fn refused(&mut self, store: &Store, error: &LockError) {
        match error {
            LockError::Busy { holder, .. } => {
                let since = self.since(store, holder).map_or(String::new(), |since| format!(" since {}", created_at(since)));
                self.set(WriterState::Locked(format!("{error}{since}")));
            }
            LockError::ReadOnly(_) => {}
            LockError::Disk(error) => self.trouble.meet("the lock cannot be taken", error),
        }
    }

    /// Whether somebody for whom another program is in the way, since he asked, is to be refused: he has waited for `patience`, or has come
    /// soon after one who was refused.
    pub(super) fn gives_up(&mut self, asked: Instant, patience: Duration) -> bool {
        if asked.elapsed() < patience {
            return self.has_queued(asked);
        }
        self.gave_up = Some(Instant::now());
        true
    }

    /// Whether somebody who asked then may have waited with one who was refused.
    pub(super) fn has_queued(&self, asked: Instant) -> bool {
        self.gave_up.and_then(|refused| asked.checked_duration_since(refused)).is_some_and(|time| time < QUEUE)
    }

    /// Nobody is in the way any more.
    pub(super) fn entered(&mut self) {
        self.gave_up = None;
    }

    /// Writing stops for good: what was to be durable may not be.
    pub(super) fn stop(&mut self, why: &impl ToString) {
        self.set(WriterState::Failed(why.to_string()));
    }

    /// The same where something could not be made durable.
    pub(super) fn stop_if_failed(&mut self, made_durable: disk::Result<()>) {
        if let Err(error) = made_durable {
            self.stop(&error);
        }
    }

    fn set(&mut self, state: WriterState) {
        if self.writer != state && !matches!(self.writer, WriterState::Failed(_)) {
            self.writer = state;
            self.is_changed = true;
        }
    }

    /// Since when whoever holds the lock now holds it: who came before us has changed its file as he took it, if he uses eventcore-fs.
    fn since(&mut self, store: &Store, holder: &Option<Holder>) -> Option<SystemTime> {
        if let Some((_, since)) = self.since.as_ref().filter(|(seen, _)| seen == holder) {
            return Some(*since);
        }
        let is_new = self.was_ours || self.since.is_some();
        let since = if is_new { Some(SystemTime::now()) } else { store.lock_changed() };
        self.since = since.map(|since| (holder.clone(), since));
        since
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::braid::tests::{append, event, open, store};
    use crate::disk::Disk;

    #[test]
    fn who_comes_soon_after_one_who_gave_up_has_waited_with_him() {
        let (_temp, dir) = store();
        let mut locking = Locking::new(&Store::open(&dir, &Disk::real(), Mode::Writable).unwrap());
        let patience = Duration::from_secs(5);
        let long_ago = Instant::now().checked_sub(patience).unwrap();
        let before = Instant::now();
        assert!(!locking.gives_up(before, patience), "nobody has waited yet");
        assert!(locking.gives_up(long_ago, patience));
        assert!(!locking.gives_up(before, patience), "he waited beside, and waits on");
        let refused = locking.gave_up.unwrap();
        for behind in [Duration::ZERO, QUEUE / 2, QUEUE / 2] {
            assert!(locking.gives_up(refused + behind, patience), "he has queued");
        }
        assert!(!locking.gives_up(refused + QUEUE, patience), "whoever tries again and again is no queue");
        locking.entered();
        assert!(!locking.gives_up(refused, patience), "somebody else may be in the way now");
    }

    /// Story: the time of the empty file was told, which had been made months ago.
    #[test]
    fn who_holds_the_lock_is_told_with_the_time_since_when() {
        let (_temp, dir) = store();
        let braid = open(&dir, true);
        append(&braid, &event("s", 1));
        let path = dir.join(".lock");
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        let before = created_at(SystemTime::now());
        let lock = Disk::real().try_lock(&path).unwrap().unwrap();
        let is_locked = |state: &WriterState| matches!(state, WriterState::Locked(_));
        let epoch = braid.wait(|epoch| is_locked(&epoch.writer), Duration::from_secs(20)).unwrap();
        let WriterState::Locked(told) = &epoch.writer else { unreachable!() };
        let (_, since) = told.rsplit_once(" since ").unwrap();
        assert!(since >= before.as_str() && told.contains("is locked by process"), "{told}, not before {before}");
        drop(lock);
        braid.wait(|epoch| epoch.writer == WriterState::Ready, Duration::from_secs(20)).unwrap();
    }
}
