//! Cursors: pages of the feed, checkpoints, and leadership of a subscription.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Instant;

use crate::braid::keeper::commit::LOCK_WAIT;
use crate::braid::keeper::{Keeper, Request};
use crate::braid::{Braid, PAUSE, Shared};
use crate::disk::{Holder, LockGuard};
use crate::model::{Errno, Finding, FindingKind, Severity};
use crate::store::{Checkpoint, CheckpointError, Mode, Standing};
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
        self.at_keeper_for(name, |keeper, _, name| {
            keeper.follow_checkpoints();
            let forgotten = keeper.store.forget_checkpoint(name);
            keeper.note_checkpoint(name, None);
            forgotten
        })
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

impl Keeper {
    /// Looks whether checkpoints came or changed without us.
    pub(super) fn follow_checkpoints(&mut self) {
        if self.checkpoints_mark() != self.checkpoints_seen {
            self.look_at_checkpoints();
        }
    }

    fn save_checkpoint(&mut self, name: &str, seq_nr: u64, force: bool, shared: &Shared) -> Result<(), CheckpointError> {
        self.follow_checkpoints();
        let latest = self.ingestion.log().latest_seq_nr();
        if seq_nr > latest && seq_nr <= latest + self.ingestion.waiting_events(&self.index) && self.store.mode() != Mode::ReadOnly {
            // Who enters gives the numbers that could not be given so far.
            self.enter_briefly(shared).map_err(|error| CheckpointError::Unnumbered {
                name: name.to_owned(),
                seq_nr,
                errno: error.errno(),
                why: error.to_string(),
            })?;
        }
        let saved = self.store.save_checkpoint(name, seq_nr, self.ingestion.log(), force);
        self.note_checkpoint(name, saved.is_ok().then_some(seq_nr));
        saved
    }

    /// We saved a checkpoint at a number, or forgot or failed to save it; the others are as they were.
    fn note_checkpoint(&mut self, name: &str, saved_at: Option<u64>) {
        let Some(seq_nr) = saved_at else { return self.follow_checkpoints() };
        self.checkpoints_seen = self.checkpoints_mark();
        let all = Arc::make_mut(&mut self.checkpoints);
        all.retain(|checkpoint| checkpoint.name != name);
        let at = all.partition_point(|checkpoint| (checkpoint.seq_nr, checkpoint.name.as_str()) < (seq_nr, name));
        all.insert(at, Checkpoint { name: name.to_owned(), seq_nr, standing: Standing::Belongs });
        self.mark_dirty();
    }

    fn checkpoints_mark(&self) -> Option<(u64, i128)> {
        let stat = self.store.disk().stat_if_present(&self.store.layout().checkpoints()).ok().flatten();
        stat.map(|stat| (stat.inode, stat.mtime_ns))
    }

    /// Finds the checkpoints that belong to another ingestion log; costs one pass over the log if there is any checkpoint.
    fn look_at_checkpoints(&mut self) {
        self.checkpoints_seen = self.checkpoints_mark();
        let (read, unread) = match self.store.checkpoints(self.ingestion.log()) {
            Ok(all) => all,
            Err(error) => {
                tracing::warn!(%error, "the checkpoints cannot be read");
                return;
            }
        };
        // That a file may be read again is not seen by the directory.
        if unread.iter().any(|(_, error)| matches!(error, CheckpointError::Disk(_))) {
            self.checkpoints_seen = None;
        }
        let unread: Vec<Finding> = unread.iter().map(|(name, error)| unread_finding(name, error)).collect();
        if read != *self.checkpoints || unread != self.checkpoints_unread {
            self.checkpoints = Arc::new(read);
            self.checkpoints_unread = unread;
            self.mark_dirty();
        }
    }

    /// The checkpoints that belong to another ingestion log, or cannot be read.
    pub(super) fn checkpoint_findings(&self) -> Vec<Finding> {
        let orphaned = self.checkpoints.iter().filter(|checkpoint| checkpoint.standing == Standing::Orphaned);
        orphaned.map(orphaned_finding).chain(self.checkpoints_unread.iter().cloned()).collect()
    }
}

fn unread_finding(name: &str, error: &CheckpointError) -> Finding {
    let hint = match error {
        CheckpointError::Disk(error) => error.hint(),
        _ => forget_it(name),
    };
    finding(error.to_string(), hint)
}

fn orphaned_finding(checkpoint: &Checkpoint) -> Finding {
    let Checkpoint { name, seq_nr, .. } = checkpoint;
    finding(format!("checkpoint \"{name}\" at {seq_nr} belongs to another ingestion log and is refused"), forget_it(name))
}

fn forget_it(name: &str) -> String {
    format!("braidfs checkpoint forget {}   # then that subscription reads from the start", crate::format::text::quoted(name))
}

fn finding(message: String, hint: String) -> Finding {
    Finding { kind: FindingKind::OrphanedCheckpoint, severity: Severity::Warning, file: None, transaction_id: None, message, hint }
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
