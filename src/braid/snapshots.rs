//! Saved states, as a user of the library has them: [`crate::braid::keeper::shelf`] knows which hold.

use std::sync::Arc;

use crate::braid::keeper::commit::storage;
use crate::braid::{AppendError, Braid, Failure};
use crate::epoch::SavedSnapshot;
use crate::format::draft::check_snapshot;
use crate::model::{Errno, SnapshotRequest};
use crate::store::{Snapshot, SnapshotMeta};

impl Braid {
    /// Saves a state with what it covers; returns when it is durable and in the newest epoch. The last few of a name are kept.
    ///
    /// # Errors
    /// `ESTALE` if one that still holds covers more, `EINVAL` if the state covers what is not there.
    pub fn save_snapshot(&self, request: SnapshotRequest) -> Result<SnapshotMeta, AppendError> {
        self.save(request, false)
    }

    /// The same unless any state is saved under the name, by whomever; then nothing is done.
    pub(super) fn save_first_snapshot(&self, request: SnapshotRequest) -> Result<SnapshotMeta, AppendError> {
        self.save(request, true)
    }

    fn save(&self, request: SnapshotRequest, only_first: bool) -> Result<SnapshotMeta, AppendError> {
        check_snapshot(&request)?;
        let closed = AppendError::Storage { errno: Errno::EIO, message: "the store was closed".to_owned(), hint: String::new() };
        self.at_keeper(move |keeper, shared| keeper.save_snapshot(&request, only_first, shared)).unwrap_or(Err(closed))
    }

    /// Every saved state, by name and then in the order of saving, as of the newest epoch.
    #[must_use]
    pub fn snapshots(&self) -> Arc<Vec<SavedSnapshot>> {
        Arc::clone(&self.epoch().snapshots)
    }

    /// The newest state of a name that still holds, or none: then everything is to be replayed.
    ///
    /// # Errors
    /// What the disk answered.
    pub fn snapshot(&self, name: &str) -> Result<Option<Snapshot>, Failure> {
        let epoch = self.epoch();
        let newest = epoch.snapshots.iter().rev().find(|saved| saved.meta.name == name && saved.holds(self.store()));
        newest.map_or(Ok(None), |saved| Ok(self.store().snapshot(name, saved.meta.ordinal)?))
    }

    /// Forgets every state of a name; false if there was none.
    ///
    /// # Errors
    /// What the disk answered, or that the store is locked by another program.
    pub fn forget_snapshots(&self, name: &str) -> Result<bool, AppendError> {
        let name = name.to_owned();
        let closed = AppendError::Storage { errno: Errno::EIO, message: "the store was closed".to_owned(), hint: String::new() };
        let done = self.at_keeper(move |keeper, shared| {
            let lock = keeper.enter_quietly(shared)?;
            let was = keeper.store.found_snapshots().map_err(|error| storage(&error))?.iter().any(|found| found.name == name);
            keeper.store.forget_snapshots(&lock, &name).map_err(|error| storage(&error))?;
            drop(lock);
            keeper.follow_snapshots();
            keeper.publish_if_dirty(shared);
            Ok(was)
        });
        done.unwrap_or(Err(closed))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests;
