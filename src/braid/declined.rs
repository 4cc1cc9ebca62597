//! What was declined is remembered in this working copy as long as the conflict is open, so that it says so.

use std::sync::Arc;

use crate::braid::Shared;
use crate::braid::keeper::Keeper;
use crate::braid::keeper::commit::storage;
use crate::braid::{AppendError, Braid};
use crate::format::time::created_at;
use crate::model::{Declined, Errno};
use crate::store::Mode;

impl Braid {
    /// Remembers why conflicts were declined; forgets the reasons of conflicts that are not open any more.
    pub(super) fn remember_declined(&self, declined: Vec<(String, String)>) -> Result<(), AppendError> {
        if declined.is_empty() || self.inner.store.mode() == Mode::ReadOnly {
            return Ok(());
        }
        let closed = AppendError::Storage { errno: Errno::EIO, message: "the store was closed".to_owned(), hint: String::new() };
        self.at_keeper(move |keeper, shared| keeper.remember_declined(declined, shared)).unwrap_or(Err(closed))
    }
}

impl Keeper {
    fn remember_declined(&mut self, declined: Vec<(String, String)>, shared: &Shared) -> Result<(), AppendError> {
        let lock = self.enter_quietly(shared)?;
        let mut all = self.store.declined().map_err(|error| storage(&error))?;
        let at = created_at(self.options.clock.now());
        all.extend(declined.into_iter().map(|(id, reason)| (id, Declined { reason, at: at.clone() })));
        all.retain(|id, _| self.index.forks().find(id).is_some());
        self.store.keep_declined(&lock, &all).map_err(|error| storage(&error))?;
        drop(lock);
        self.follow_declined();
        self.publish_if_dirty(shared);
        Ok(())
    }

    /// Looks whether something was declined, here or by another process; costs one look at a file's facts.
    pub(super) fn follow_declined(&mut self) {
        let Ok(stat) = self.store.declined_stat() else { return };
        if self.memory.declined_seen.replace(stat) == Some(stat) {
            return;
        }
        let declined = self.store.declined().unwrap_or_default();
        if declined != *self.memory.declined {
            self.memory.declined = Arc::new(declined);
            self.mark_dirty();
        }
    }
}
