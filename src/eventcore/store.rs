//! The store: opening it, appending to it, and what it says of itself.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventcore_types::{
    CommandStateSnapshot, CommandStateSnapshotId, Event, EventStore, EventStoreError, EventStream, EventStreamSlice, Operation, StreamId,
    StreamVersion, StreamWrites,
};
use uuid::Uuid;

use crate::braid::{AppendError, Braid, Committed, Failure, OpenOptions};
use crate::disk::Disk;
use crate::eventcore::config::FsConfig;
use crate::eventcore::draft::{NewEvent, draft_of};
use crate::eventcore::error::FsEventStoreError;
use crate::eventcore::thread;
use crate::format::time::new_uuid;
use crate::model::{Draft, Errno, ReplicaId, TransactionId};
use crate::store::{IngestionLog, OpenError, Store};

/// How long opening waits for a program that holds the lock for one commit.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// How often an append is tried whose versions hold again when they are looked at.
const ATTEMPTS_MAX: usize = 8;

/// The versions that a transaction states of the streams that it wrote or read.
pub(super) type Bases = [(Box<str>, u64)];

pub(super) struct Shared {
    pub(super) root: PathBuf,
    pub(super) braid: Braid,
    /// The bases of transactions, as far as they were needed.
    pub(super) bases: Mutex<HashMap<TransactionId, Arc<Bases>>>,
    /// One saving of a command's state at a time.
    pub(super) saving: Mutex<()>,
}

/// An event store that is a directory of files in git.
#[derive(Clone)]
pub struct FileEventStore {
    pub(super) shared: Arc<Shared>,
}

impl std::fmt::Debug for FileEventStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileEventStore").field("root", &self.shared.root).finish_non_exhaustive()
    }
}

impl FileEventStore {
    /// Opens the store in a directory, and makes it if there is none.
    ///
    /// # Errors
    /// If the directory cannot be used, or another program holds the store for its own.
    pub fn open(root: impl AsRef<Path>) -> Result<Self, FsEventStoreError> {
        Self::open_with_config(FsConfig::new(root.as_ref()))
    }

    /// Opens a store as `config` says, and makes it if there is none; every file is read when this returns.
    ///
    /// # Errors
    /// As [`FileEventStore::open`].
    pub fn open_with_config(config: FsConfig) -> Result<Self, FsEventStoreError> {
        let root = config.root;
        let failed = |failure: Failure| FsEventStoreError::of_failure(&root, failure);
        let store = Store::init(&root, &Disk::real()).map_err(|error| match error {
            OpenError::Disk(error) => FsEventStoreError::of_disk(&error),
            other => failed(other.into()),
        })?;
        ensure_identity(&store, config.replica_id.is_some())?;
        let options = OpenOptions { follow: true, verify: true, replica_id: config.replica_id.map(ReplicaId), ..OpenOptions::default() };
        let braid = Braid::open(&root, &options).map_err(failed)?;
        braid.wait_ready().map_err(failed)?;
        Ok(Self { shared: Arc::new(Shared { root, braid, bases: Mutex::default(), saving: Mutex::default() }) })
    }

    /// The replica id under which the next transaction is written.
    #[must_use]
    pub fn replica_id(&self) -> Uuid {
        self.shared.braid.epoch().replica_id.map_or(Uuid::nil(), |id| id.0)
    }

    /// How many transactions with two or more parents there are: it rises when events may have come in between others.
    ///
    /// # Errors
    /// None; the crate that this stands in for has some.
    pub fn topology_generation(&self) -> Result<usize, FsEventStoreError> {
        Ok(self.shared.braid.epoch().index.transactions.merge_count() as usize)
    }

    /// Commits a draft without holding up who polls; commits that wait together share their syncs.
    pub(super) async fn commit(&self, draft: Draft) -> Result<Committed, AppendError> {
        let braid = self.shared.braid.clone();
        let none = || AppendError::Storage { errno: Errno::EAGAIN, message: "no thread could be started".to_owned(), hint: String::new() };
        thread::run(move || braid.append(draft)).await.unwrap_or_else(|| Err(none()))
    }

    async fn append(&self, draft: Draft, expected: &BTreeMap<String, u64>) -> Result<(), EventStoreError> {
        for _ in 0..ATTEMPTS_MAX {
            match self.commit(draft.clone()).await {
                Ok(_) => return Ok(()),
                Err(AppendError::Rejected(rejection)) if rejection.errno() == Errno::ESTALE => {
                    // What it was refused for is in the newest epoch; that it holds again by now is a reason to try again.
                    if let Some(conflict) = self.conflict(expected) {
                        return Err(conflict);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "events could not be appended");
                    return Err(failure(Operation::AppendEvents));
                }
            }
        }
        Err(failure(Operation::AppendEvents))
    }

    /// The first stream that has another version than was expected.
    fn conflict(&self, expected: &BTreeMap<String, u64>) -> Option<EventStoreError> {
        let epoch = self.shared.braid.epoch();
        expected.iter().find_map(|(stream, &expected)| {
            let actual = epoch.index.stream_version(stream);
            if actual == expected {
                return None;
            }
            let [expected, actual] = [expected, actual].map(|version| StreamVersion::new(version as usize));
            Some(EventStoreError::VersionConflict { stream_id: StreamId::try_new(stream.as_str()).ok()?, expected, actual })
        })
    }
}

impl EventStore for FileEventStore {
    async fn read_stream<E: Event>(&self, stream_id: StreamId) -> Result<EventStream<E>, EventStoreError> {
        Ok(self.stream_after(stream_id, 0))
    }

    async fn read_stream_after<E: Event>(
        &self,
        stream_id: StreamId,
        exclusive_version: StreamVersion,
    ) -> Result<EventStream<E>, EventStoreError> {
        Ok(self.stream_after(stream_id, usize::from(exclusive_version) as u64))
    }

    async fn append_events(&self, writes: StreamWrites) -> Result<EventStreamSlice, EventStoreError> {
        let versions = writes.expected_versions().iter();
        let expected: BTreeMap<String, u64> =
            versions.map(|(stream, version)| (stream.as_ref().to_owned(), usize::from(*version) as u64)).collect();
        let entries = writes.into_entries().into_iter();
        let events: Vec<NewEvent> = entries
            .map(|entry| NewEvent {
                stream_id: entry.stream_id.as_ref().to_owned(),
                event_type: entry.event_type,
                event_data: entry.event_data,
            })
            .collect();
        if events.is_empty() {
            return Ok(EventStreamSlice);
        }
        let draft = draft_of(&expected, &events).map_err(|rejection| {
            tracing::warn!(%rejection, "events cannot be stored");
            failure(Operation::AppendEvents)
        })?;
        self.append(draft, &expected).await.map(|()| EventStreamSlice)
    }

    async fn load_command_state_snapshot(
        &self,
        snapshot_id: CommandStateSnapshotId,
    ) -> Result<Option<CommandStateSnapshot>, EventStoreError> {
        self.load_snapshot(snapshot_id).await
    }

    async fn save_command_state_snapshot(
        &self,
        snapshot_id: CommandStateSnapshotId,
        snapshot: CommandStateSnapshot,
    ) -> Result<(), EventStoreError> {
        self.save_snapshot(snapshot_id, snapshot).await
    }
}

pub(super) fn failure(operation: Operation) -> EventStoreError {
    EventStoreError::StoreFailure { operation }
}

/// Makes sure that nobody has the store for its own and, unless one is given, that there is a replica id to tell.
fn ensure_identity(store: &Store, is_given: bool) -> Result<(), FsEventStoreError> {
    let path = store.layout().lock();
    let lock = store.lock(LOCK_WAIT).map_err(|error| FsEventStoreError::of_lock(&path, &error))?;
    if is_given {
        return Ok(());
    }
    let disk_failed = |error: crate::disk::Error| FsEventStoreError::of_disk(&error);
    let mut identity = store.identity().map_err(disk_failed)?;
    if let Some(reason) = identity.must_mint(|_| true) {
        IngestionLog::read(store).and_then(|mut log| log.sync()).map_err(disk_failed)?;
        store.mint(&lock, &mut identity, reason, ReplicaId(new_uuid())).map_err(disk_failed)?;
    }
    Ok(())
}
