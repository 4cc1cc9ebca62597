//! Who holds the store's lock while we do not, and since when.

use std::time::{Duration, SystemTime};

use crate::braid::keeper::Keeper;
use crate::braid::keeper::trouble::Trouble;
use crate::disk::{self, Holder};
use crate::epoch::WriterState;
use crate::format::time::created_at;
use crate::store::LockError;

/// What was seen of the lock.
#[derive(Default)]
pub(super) struct Locking {
    /// Whoever held it when it was last looked; the kernel may not tell who that is.
    holder: Option<Option<Holder>>,
    /// Whether we had it before: then it is held since it was first seen to be.
    was_ours: bool,
    /// Who was first seen to hold it, and when that was.
    since: Option<(Option<Holder>, SystemTime)>,
    /// Why it could not be asked for.
    trouble: Trouble,
}

impl Locking {
    /// Whether it cannot even be asked for.
    pub(super) fn has_trouble(&self) -> bool {
        self.trouble.lasts()
    }
}

impl Keeper {
    /// Looks who holds the lock where nothing is to be written; whoever holds it for a moment only is not told of.
    ///
    /// It is tried before the kernel is asked for the holder: reading `/proc/locks` takes some ten milliseconds, and keeps everybody on
    /// the machine from locking anything meanwhile.
    pub(super) fn look_at_lock(&mut self) {
        let holder = match self.store.lock(Duration::ZERO) {
            Err(LockError::Busy { holder, .. }) => Some(holder),
            Ok(_) => {
                (self.locking.was_ours, self.locking.since) = (true, None);
                None
            }
            Err(_) => return,
        };
        match &holder {
            None if matches!(self.writer, WriterState::Locked(_)) => self.set_writer(WriterState::Ready),
            None => {}
            Some(now) => {
                self.locked_since(now);
                if holder == self.locking.holder {
                    self.note_lock_error(&LockError::Busy { store: self.store.dir().display().to_string(), holder: now.clone() });
                }
            }
        }
        self.locking.holder = holder;
    }

    /// Says in the next epoch why nothing can be written, or that it can again.
    pub(super) fn set_writer(&mut self, state: WriterState) {
        if self.writer != state && !matches!(self.writer, WriterState::Failed(_)) {
            self.writer = state;
            self.mark_dirty();
        }
    }

    /// Writing stops for good where what was to be durable may not be.
    pub(super) fn stop_if_failed(&mut self, made_durable: disk::Result<()>) {
        if let Err(error) = made_durable {
            self.set_writer(WriterState::Failed(error.to_string()));
        }
    }

    /// We have the lock.
    pub(super) fn note_lock_taken(&mut self) {
        self.locking.trouble.end();
        (self.locking.was_ours, self.locking.since) = (true, None);
        self.set_writer(WriterState::Ready);
    }

    pub(super) fn note_lock_error(&mut self, error: &LockError) {
        match error {
            LockError::Busy { holder, .. } => {
                let since = self.locked_since(holder).map_or(String::new(), |since| format!(" since {}", created_at(since)));
                self.set_writer(WriterState::Locked(format!("{error}{since}")));
            }
            LockError::ReadOnly(_) => {}
            LockError::Disk(error) => self.locking.trouble.meet("the lock cannot be taken", error),
        }
    }

    /// Since when whoever holds the lock now holds it: who came before us has changed its file as he took it, if he uses eventcore-fs.
    fn locked_since(&mut self, holder: &Option<Holder>) -> Option<SystemTime> {
        if let Some((_, since)) = self.locking.since.as_ref().filter(|(seen, _)| seen == holder) {
            return Some(*since);
        }
        let is_new = self.locking.was_ours || self.locking.since.is_some();
        let since = if is_new { Some(SystemTime::now()) } else { self.store.lock_changed() };
        self.locking.since = since.map(|since| (holder.clone(), since));
        since
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::braid::tests::{append, event, open, store};
    use crate::disk::Disk;

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
