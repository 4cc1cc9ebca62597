//! flock(2) on what is mounted, on a read-only mount fcntl(2) too: shared and exclusive locks by owner, with those who wait for them.

use std::collections::{HashMap, VecDeque};

use crate::fs::names::CHECKPOINTS;
use crate::fs::{Fs, locked};
use crate::model::Errno;

/// How a file is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// Together with others.
    Shared,
    /// Alone.
    Exclusive,
}

/// A lock and the process that asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// How.
    pub kind: LockKind,
    /// The process.
    pub pid: u32,
}

/// What is called once a lock is granted or refused.
pub type Granted = Box<dyn FnOnce(Result<(), Errno>) + Send>;

/// The locks of every inode.
#[derive(Default)]
pub struct Locks {
    files: HashMap<u64, FileLocks>,
}

#[derive(Default)]
struct FileLocks {
    holders: HashMap<u64, Lock>,
    waiting: VecDeque<(u64, Lock, Granted)>,
}

impl FileLocks {
    fn conflict(&self, owner: u64, kind: LockKind) -> Option<Lock> {
        let others = self.holders.iter().filter(|(holder, _)| **holder != owner).map(|(_, lock)| *lock);
        others.into_iter().find(|lock| kind == LockKind::Exclusive || lock.kind == LockKind::Exclusive)
    }

    /// Takes those off the queue who have their lock now, in the order in which they came.
    fn promote(&mut self) -> Vec<Granted> {
        let mut granted = Vec::new();
        while let Some((owner, lock, _)) = self.waiting.front()
            && self.conflict(*owner, lock.kind).is_none()
        {
            if let Some((owner, lock, call)) = self.waiting.pop_front() {
                self.holders.insert(owner, lock);
                granted.push(call);
            }
        }
        granted
    }
}

/// The file in `checkpoints/` that a path names: its lock is the leadership of a subscription.
fn checkpoint_of(path: &str) -> Option<&str> {
    path.split_once('/').filter(|(directory, _)| *directory == CHECKPOINTS).map(|(_, file)| file)
}

impl Fs {
    /// Locks a file for an owner, or answers `EAGAIN`; one who waits is answered when its turn has come.
    pub fn lock(&self, ino: u64, owner: u64, lock: Lock, wait: bool, granted: Granted) {
        if let Ok(held) = self.held(ino)
            && let Some(file) = checkpoint_of(&held.identity.path)
        {
            return match &self.checkpoints {
                Some(checkpoints) => checkpoints.lock(file, owner, lock, wait, granted),
                None => granted(Err(Errno::ENOLCK)),
            };
        }
        if self.manner.read_only {
            // Nothing is released there, so nothing is counted: whoever asks has it.
            return granted(Ok(()));
        }
        let (own, others) = {
            let mut locks = locked(&self.locks);
            let file = locks.files.entry(ino).or_default();
            match file.conflict(owner, lock.kind) {
                None => {
                    file.holders.insert(owner, lock);
                    // One who turned an exclusive lock into a shared one lets others in.
                    (Some((granted, Ok(()))), file.promote())
                }
                Some(_) if wait => {
                    // Two who share and both wait to be alone would wait for ever: who waits holds nothing, as flock(2) says.
                    file.holders.remove(&owner);
                    file.waiting.push_back((owner, lock, granted));
                    (None, file.promote())
                }
                Some(_) => (Some((granted, Err(Errno::EAGAIN))), Vec::new()),
            }
        };
        if let Some((granted, result)) = own {
            granted(result);
        }
        others.into_iter().for_each(|call| call(Ok(())));
    }

    /// Gives up what an owner holds or waits for.
    pub fn unlock_all(&self, ino: u64, owner: u64) {
        if let Some(checkpoints) = &self.checkpoints
            && let Ok(held) = self.held(ino)
            && let Some(file) = checkpoint_of(&held.identity.path)
        {
            return checkpoints.unlock(file, owner);
        }
        let (cancelled, granted) = {
            let mut locks = locked(&self.locks);
            let Some(file) = locks.files.get_mut(&ino) else { return };
            file.holders.remove(&owner);
            let (cancelled, waiting): (VecDeque<_>, VecDeque<_>) = file.waiting.drain(..).partition(|(waiter, ..)| *waiter == owner);
            file.waiting = waiting;
            let granted = file.promote();
            if file.holders.is_empty() && file.waiting.is_empty() {
                locks.files.remove(&ino);
            }
            (cancelled, granted)
        };
        cancelled.into_iter().for_each(|(_, _, call)| call(Err(Errno::EINTR)));
        granted.into_iter().for_each(|call| call(Ok(())));
    }

    /// Who keeps an owner from locking a file.
    #[must_use]
    pub fn lock_holder(&self, ino: u64, owner: u64, kind: LockKind) -> Option<Lock> {
        locked(&self.locks).files.get(&ino).and_then(|file| file.conflict(owner, kind))
    }
}
