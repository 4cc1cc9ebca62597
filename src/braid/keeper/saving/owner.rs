//! Who owns the saved index, where that changes while the store is open.

use uuid::Uuid;

use crate::braid::keeper::Keeper;
use crate::index::saved;

impl Keeper {
    /// Gives up files that somebody deleted: another process may own others by now. They are taken up again if none does.
    pub(in crate::braid::keeper) fn leave_lost_saved(&mut self) {
        if !self.options.follow || self.saving.is_writing() || self.saving.saved.as_ref().is_none_or(saved::Saved::is_in_place) {
            return;
        }
        tracing::warn!("the saved index was deleted; it is made anew");
        self.saving.saved = None;
        self.index.pack.detach();
        self.saving.is_elsewhere = true;
    }

    /// Owns the files from now on, if whoever did has ended. A process that is about to end itself leaves them.
    pub(in crate::braid::keeper) fn take_up_saved(&mut self) {
        if !self.saving.is_elsewhere || !self.options.follow || !self.progress.ready {
            return;
        }
        match saved::take_up(&self.store, *Uuid::new_v4().as_bytes(), &mut self.index.pack) {
            Ok(None) => return,
            Ok(saved) => self.saving.saved = saved,
            Err(error) => tracing::warn!(%error, "the index that another process left cannot be taken up; the next start reads more files"),
        }
        self.saving.is_elsewhere = false;
        self.saving.base_due = self.saving.saved.is_some();
    }
}
