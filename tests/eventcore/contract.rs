//! The contract suite that every store of the eventcore family runs, on our types.

use braidfs::eventcore::{FileCheckpointStore, FileEventStore, FileProjectorCoordinator};
use eventcore_testing::contract::backend_contract_tests;
use eventcore_types::{
    CheckpointStore, CommandStateSnapshot, CommandStateSnapshotId, Event, EventFilter, EventPage, EventReader, EventStore, EventStoreError,
    EventStream, EventStreamSlice, ProjectorCoordinator, StreamId, StreamPosition, StreamVersion, StreamWrites,
};
use tempfile::TempDir;

/// A thing in a directory that goes with it.
pub struct InTemp<T> {
    inner: T,
    _dir: TempDir,
}

impl<T> InTemp<T> {
    fn new<E: std::fmt::Debug>(open: impl FnOnce(&std::path::Path) -> Result<T, E>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { inner: open(dir.path()).unwrap(), _dir: dir }
    }
}

impl<T: EventStore> EventStore for InTemp<T> {
    async fn read_stream<E: Event>(&self, stream_id: StreamId) -> Result<EventStream<E>, EventStoreError> {
        self.inner.read_stream(stream_id).await
    }

    async fn read_stream_after<E: Event>(
        &self,
        stream_id: StreamId,
        exclusive_version: StreamVersion,
    ) -> Result<EventStream<E>, EventStoreError> {
        self.inner.read_stream_after(stream_id, exclusive_version).await
    }

    async fn append_events(&self, writes: StreamWrites) -> Result<EventStreamSlice, EventStoreError> {
        self.inner.append_events(writes).await
    }

    async fn load_command_state_snapshot(&self, id: CommandStateSnapshotId) -> Result<Option<CommandStateSnapshot>, EventStoreError> {
        self.inner.load_command_state_snapshot(id).await
    }

    async fn save_command_state_snapshot(&self, id: CommandStateSnapshotId, snapshot: CommandStateSnapshot) -> Result<(), EventStoreError> {
        self.inner.save_command_state_snapshot(id, snapshot).await
    }
}

impl<T: EventReader + Sync> EventReader for InTemp<T> {
    type Error = T::Error;

    async fn read_events<E: Event>(&self, filter: EventFilter, page: EventPage) -> Result<Vec<(E, StreamPosition)>, Self::Error> {
        self.inner.read_events(filter, page).await
    }
}

impl<T: CheckpointStore> CheckpointStore for InTemp<T> {
    type Error = T::Error;

    async fn load(&self, name: &str) -> Result<Option<StreamPosition>, Self::Error> {
        self.inner.load(name).await
    }

    async fn save(&self, name: &str, position: StreamPosition) -> Result<(), Self::Error> {
        self.inner.save(name, position).await
    }
}

impl<T: ProjectorCoordinator + Sync> ProjectorCoordinator for InTemp<T> {
    type Error = T::Error;
    type Guard = T::Guard;

    async fn try_acquire(&self, subscription_name: &str) -> Result<Self::Guard, Self::Error> {
        self.inner.try_acquire(subscription_name).await
    }
}

pub fn make_store() -> InTemp<FileEventStore> {
    InTemp::new(|dir| FileEventStore::open(dir))
}

pub fn make_checkpoint_store() -> InTemp<FileCheckpointStore> {
    InTemp::new(|dir| FileCheckpointStore::open(dir))
}

pub fn make_coordinator() -> InTemp<FileProjectorCoordinator> {
    InTemp::new(|dir| FileProjectorCoordinator::open(dir))
}

backend_contract_tests! {
    suite = suite,
    make_store = || { crate::contract::make_store() },
    make_checkpoint_store = || { crate::contract::make_checkpoint_store() },
    make_coordinator = || { crate::contract::make_coordinator() },
}
