//! A bug in one piece of the keeper's work costs what was asked for, not the thread on which everything depends.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::braid::Shared;
use crate::braid::keeper::Keeper;
use crate::index::Touched;

impl Keeper {
    /// Does a piece of work. Where a bug ends it, the state that was published last is taken up again, and the files are read for
    /// what came since; whoever asked gets no answer. Where that ends in a bug too, it is tried again every second; if the files have
    /// never been read whole, readers are told so meanwhile.
    pub(super) fn survive(&mut self, shared: &Shared, work: impl FnOnce(&mut Self)) {
        self.is_hurt = false;
        if catch_unwind(AssertUnwindSafe(|| work(self))).is_ok() {
            return;
        }
        tracing::error!("the keeper's work was ended by a bug in braidfs; the last published state is taken up again");
        if catch_unwind(AssertUnwindSafe(|| self.take_up_again(shared))).is_err() {
            tracing::error!("the files could not be read anew after a bug in braidfs; they are tried again");
            self.is_hurt = true;
            if !self.progress.ready && catch_unwind(AssertUnwindSafe(|| self.give_up_waiting(shared))).is_err() {
                tracing::error!("readers could not be told that the files cannot be read");
            }
        }
    }

    /// Publishes that the views will not be whole until a later look at the files ends well.
    pub(super) fn give_up_waiting(&mut self, shared: &Shared) {
        self.take_back(shared);
        self.progress.failed = true;
        shared.publish(Arc::new(self.epoch()));
    }

    /// Takes up what was published last, and notes that everything is to be looked at.
    fn take_back(&mut self, shared: &Shared) {
        let epoch = shared.epoch();
        // Nobody holds what was entered since, so it may be entered once more in its place.
        let before = std::mem::replace(&mut self.index, epoch.index.clone());
        self.numbered.take_back(&before, &self.index);
        self.ingestion.take_back(&self.index, epoch.feed_shown);
        self.touched = Touched::default();
        self.delivered_twice.take_back(&self.index);
        self.progress.done = u64::from(self.index.transactions.valid_count());
        self.roster.begin_anew(&self.index);
        self.watching.forget_written();
        self.pending.add_everything();
        self.is_partial = false;
        self.mark_dirty();
    }

    fn take_up_again(&mut self, shared: &Shared) {
        self.take_back(shared);
        self.ingestion.read_again(&self.store);
        let look = std::mem::take(&mut self.pending);
        if let Err(failure) = self.take_in_apart(look) {
            tracing::warn!(%failure, "events could not be read; they are looked at again");
        } else if !self.is_partial {
            self.progress.finish();
        }
        self.take_up_log();
        self.publish(shared);
    }
}
