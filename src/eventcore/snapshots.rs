//! States of commands, saved so that the next command need not fold a stream from its start.
//!
//! `.eventcore/snapshots/<sha256 of the id>.json` is eventcore-fs's file.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::PoisonError;
use std::time::Duration;

use eventcore_types::{CommandStateSnapshot, CommandStateSnapshotId, EventStoreError, Operation};
use sha2::{Digest as _, Sha256};

use crate::disk::LockGuard;
use crate::eventcore::store::{FileEventStore, Shared, failure};
use crate::eventcore::thread;

/// How long one saving waits for that of another process.
const SAVE_WAIT: Duration = Duration::from_secs(5);

impl FileEventStore {
    pub(super) async fn load_snapshot(&self, id: CommandStateSnapshotId) -> Result<Option<CommandStateSnapshot>, EventStoreError> {
        let shared = self.shared.clone();
        let load = move || shared.load_snapshot(&shared.snapshot_path(&id));
        thread::run(load).await.flatten().ok_or_else(|| failure(Operation::ReadStream))
    }

    pub(super) async fn save_snapshot(&self, id: CommandStateSnapshotId, snapshot: CommandStateSnapshot) -> Result<(), EventStoreError> {
        let shared = self.shared.clone();
        let save = move || shared.save_snapshot(&id, &snapshot);
        thread::run(save).await.flatten().ok_or_else(|| failure(Operation::AppendEvents))
    }
}

impl Shared {
    fn snapshot_path(&self, id: &CommandStateSnapshotId) -> PathBuf {
        let digest = Sha256::digest(id.as_ref().as_bytes());
        let name = digest.iter().fold(String::with_capacity(69), |mut name, byte| {
            // Writing to a string does not fail.
            let _ = write!(name, "{byte:02x}");
            name
        });
        self.braid.store().layout().eventcore().join("snapshots").join(name + ".json")
    }

    /// A saved state, if there is one; none at all if it cannot be read.
    #[allow(clippy::option_option)]
    fn load_snapshot(&self, path: &std::path::Path) -> Option<Option<CommandStateSnapshot>> {
        let bytes =
            self.braid.store().disk().read_if_present(path).map_err(|error| tracing::warn!(%error, "a state cannot be read")).ok()?;
        let Some(bytes) = bytes else { return Some(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| tracing::warn!(%error, path = %path.display(), "no saved state")).ok()
    }

    /// Saves a state unless a newer one is saved; none if that failed.
    fn save_snapshot(&self, id: &CommandStateSnapshotId, snapshot: &CommandStateSnapshot) -> Option<()> {
        let _turn = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        let disk = self.braid.store().disk();
        let path = self.snapshot_path(id);
        disk.create_dir(path.parent()?).ok()?;
        let _lock = self.lock_snapshots()?;
        if self.load_snapshot(&path)?.is_some_and(|saved| !snapshot.covers(&saved)) {
            return Some(());
        }
        let bytes = serde_json::to_vec(snapshot).ok()?;
        let written = disk.replace_durably(&path, &path.with_extension("json.tmp"), &bytes);
        written.map_err(|error| tracing::warn!(%error, "a state cannot be saved")).ok()
    }

    /// One saving at a time, also between processes: what is compared is what is replaced.
    fn lock_snapshots(&self) -> Option<LockGuard> {
        let path = self.braid.store().layout().eventcore().join("snapshots/.lock");
        let locked = self.braid.store().disk().lock_within(&path, SAVE_WAIT);
        locked.map_err(|error| tracing::warn!(%error, "states cannot be saved")).ok()?
    }
}
