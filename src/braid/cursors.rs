//! Cursors: pages of the feed, checkpoints, and leadership of a subscription.

use std::sync::mpsc::channel;
use std::time::Instant;

use crate::braid::keeper::commit::LOCK_WAIT;
use crate::braid::keeper::{Keeper, Request};
use crate::braid::{Braid, PAUSE, Shared};
use crate::disk::{Holder, LockGuard};
use crate::model::Errno;
use crate::store::{Checkpoint, CheckpointError, Standing};
use crate::view::{FeedFilter, FeedPage};

/// The leadership of a subscription, held until it is dropped or the process ends.
#[derive(Debug)]
pub struct Leadership {
    _guard: LockGuard,
}

impl Braid {
    /// Reads the feed behind a number, as of the newest epoch; [`FeedPage::next_seq`] is where to read on.
    #[must_use]
    pub fn feed_after(&self, seq_nr: u64, filter: &FeedFilter) -> FeedPage {
        self.tree().feed_page(seq_nr, filter)
    }

    /// The largest number of the feed that may be shown, as of the newest epoch.
    #[must_use]
    pub fn latest_seq_nr(&self) -> u64 {
        self.epoch().feed_shown
    }

    /// A subscription's checkpoint, or none; with whether it belongs to this store's ingestion log.
    ///
    /// # Errors
    /// If the name can be none, or the file holds no number.
    pub fn checkpoint(&self, name: &str) -> Result<Option<Checkpoint>, CheckpointError> {
        self.at_keeper_for(name, |keeper, _, name| keeper.store.checkpoint(name, keeper.ingestion.log()))
    }

    /// The number from which a subscription reads on: its checkpoint, or 0.
    ///
    /// # Errors
    /// As [`Braid::checkpoint`], and [`CheckpointError::Orphaned`] for one that belongs to another log.
    pub fn cursor(&self, name: &str) -> Result<u64, CheckpointError> {
        match self.checkpoint(name)? {
            None => Ok(0),
            Some(Checkpoint { name, seq_nr: saved, standing: Standing::Orphaned }) => Err(CheckpointError::Orphaned { name, saved }),
            Some(checkpoint) => Ok(checkpoint.seq_nr),
        }
    }

    /// Every checkpoint, by its number; the findings tell of those that hold none.
    ///
    /// # Errors
    /// What the disk answered.
    pub fn checkpoints(&self) -> Result<Vec<Checkpoint>, CheckpointError> {
        self.at_keeper_for("", |keeper, _, _| {
            let (read, unread) = keeper.store.checkpoints(keeper.ingestion.log())?;
            match unread.into_iter().find(|(_, error)| matches!(error, CheckpointError::Disk(_))) {
                Some((_, error)) => Err(error),
                None => Ok(read),
            }
        })
    }

    /// Saves a subscription's checkpoint: durable, and its number certain, when this returns.
    ///
    /// # Errors
    /// [`CheckpointError::Beyond`] the latest number, or [`CheckpointError::Unnumbered`] where the events behind it cannot have theirs;
    /// unless forced [`CheckpointError::Behind`] the saved one, or that one [`CheckpointError::Orphaned`].
    pub fn save_checkpoint(&self, name: &str, seq_nr: u64, force: bool) -> Result<(), CheckpointError> {
        self.when_numbered(|| self.at_keeper_for(name, move |keeper, shared, name| keeper.save_checkpoint(name, seq_nr, force, shared)))
    }

    /// Saves that a subscription has handled a page: as [`Braid::save_checkpoint`], up to [`FeedPage::next_seq`].
    ///
    /// # Errors
    /// Those, and [`CheckpointError::Orphaned`] where the numbers were given anew since the page was read: they stand for other events.
    pub fn save_page(&self, name: &str, page: &FeedPage) -> Result<(), CheckpointError> {
        let (seq_nr, numbering) = (page.next_seq, page.numbering);
        let save = move |keeper: &mut Keeper, shared: &Shared, name: &str| {
            keeper.follow_log();
            if keeper.index.feed.numbering() != numbering {
                return Err(CheckpointError::Orphaned { name: name.to_owned(), saved: seq_nr });
            }
            keeper.save_checkpoint(name, seq_nr, false, shared)
        };
        self.when_numbered(|| self.at_keeper_for(name, save))
    }

    /// Tries until the numbers can be given, for as long as a commit waits for the lock. Others have their turn in between.
    fn when_numbered(&self, save: impl Fn() -> Result<(), CheckpointError>) -> Result<(), CheckpointError> {
        let begun = Instant::now();
        loop {
            match save() {
                Err(CheckpointError::Unnumbered { errno: Errno::EBUSY, .. }) if begun.elapsed() < LOCK_WAIT => std::thread::sleep(PAUSE),
                saved => return saved,
            }
        }
    }

    /// Forgets a subscription's checkpoint durably; false if there was none.
    ///
    /// # Errors
    /// What the disk answered.
    pub fn forget_checkpoint(&self, name: &str) -> Result<bool, CheckpointError> {
        self.at_keeper_for(name, |keeper, _, name| keeper.forget_checkpoint(name))
    }

    /// Takes the leadership of a subscription, which programs that use eventcore-fs respect; none if somebody has it.
    ///
    /// # Errors
    /// If the name can be none, or the store is open for reading only.
    pub fn lead(&self, name: &str) -> Result<Option<Leadership>, CheckpointError> {
        Ok(self.store().lead(name)?.map(|guard| Leadership { _guard: guard }))
    }

    /// Who leads a subscription now.
    ///
    /// # Errors
    /// If the name can be none.
    pub fn leader(&self, name: &str) -> Result<Option<Holder>, CheckpointError> {
        self.store().leader(name)
    }

    fn at_keeper_for<T: Send + 'static>(
        &self,
        name: &str,
        job: impl FnOnce(&mut Keeper, &Shared, &str) -> Result<T, CheckpointError> + Send + 'static,
    ) -> Result<T, CheckpointError> {
        let name = name.to_owned();
        let closed = CheckpointError::Closed(name.clone());
        let done = self.at_keeper(move |keeper, shared| {
            keeper.follow_log();
            let result = job(keeper, shared, &name);
            keeper.publish_if_dirty(shared);
            result
        });
        done.unwrap_or(Err(closed))
    }

    /// Has the keeper do something; none if the store was closed.
    pub(super) fn at_keeper<T: Send + 'static>(&self, job: impl FnOnce(&mut Keeper, &Shared) -> T + Send + 'static) -> Option<T> {
        let (reply, answer) = channel();
        let job = Box::new(move |keeper: &mut Keeper, shared: &Shared| {
            // Whoever asked may be gone.
            let _ = reply.send(job(keeper, shared));
        });
        self.inner.requests.send(Request::Job(job)).ok()?;
        answer.recv().ok()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod interleavings;
#[cfg(test)]
pub(super) use interleavings::Dice;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod power;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests;
