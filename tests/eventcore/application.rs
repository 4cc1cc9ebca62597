//! A bank with commands and a projection, on either crate by a type alias.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex};

use eventcore::{
    CommandError, CommandLogic, CommandStreams, Event, NewEvents, ProjectionConfig, Projector, RetryPolicy, StreamDeclarations, StreamId,
    StreamPosition, execute, run_projection,
};
use eventcore_types::{
    CheckpointStore, CommandStateSnapshot, CommandStateSnapshotId, EventFilter, EventPage, EventReader, EventStore, EventStoreError,
    EventStream, EventStreamSlice, ProjectorCoordinator, StreamVersion, StreamWrites,
};
use serde::{Deserialize, Serialize};

/// One store with its checkpoints and leadership, as `run_projection` wants them.
struct Bank<S, C, L> {
    store: S,
    checkpoints: C,
    coordinator: L,
}

type Theirs = Bank<eventcore_fs::FileEventStore, eventcore_fs::FileCheckpointStore, eventcore_fs::FileProjectorCoordinator>;
type Ours = Bank<braidfs::eventcore::FileEventStore, braidfs::eventcore::FileCheckpointStore, braidfs::eventcore::FileProjectorCoordinator>;

/// What the scenario needs of either.
trait Backend: EventStore + EventReader<Error = EventStoreError> + CheckpointStore + ProjectorCoordinator + Sized {
    fn open(dir: &Path) -> Self;
}

impl Backend for Theirs {
    fn open(dir: &Path) -> Self {
        use eventcore_fs::{FileCheckpointStore, FileEventStore, FileProjectorCoordinator};
        Self {
            store: FileEventStore::open(dir).unwrap(),
            checkpoints: FileCheckpointStore::open(dir).unwrap(),
            coordinator: FileProjectorCoordinator::open(dir).unwrap(),
        }
    }
}

impl Backend for Ours {
    fn open(dir: &Path) -> Self {
        use braidfs::eventcore::{FileCheckpointStore, FileEventStore, FileProjectorCoordinator};
        Self {
            store: FileEventStore::open(dir).unwrap(),
            checkpoints: FileCheckpointStore::open(dir).unwrap(),
            coordinator: FileProjectorCoordinator::open(dir).unwrap(),
        }
    }
}

impl<S: EventStore, C: Sync, L: Sync> EventStore for Bank<S, C, L> {
    async fn read_stream<E: Event>(&self, stream_id: StreamId) -> Result<EventStream<E>, EventStoreError> {
        self.store.read_stream(stream_id).await
    }

    async fn read_stream_after<E: Event>(&self, stream_id: StreamId, version: StreamVersion) -> Result<EventStream<E>, EventStoreError> {
        self.store.read_stream_after(stream_id, version).await
    }

    async fn append_events(&self, writes: StreamWrites) -> Result<EventStreamSlice, EventStoreError> {
        self.store.append_events(writes).await
    }

    async fn load_command_state_snapshot(&self, id: CommandStateSnapshotId) -> Result<Option<CommandStateSnapshot>, EventStoreError> {
        self.store.load_command_state_snapshot(id).await
    }

    async fn save_command_state_snapshot(&self, id: CommandStateSnapshotId, snapshot: CommandStateSnapshot) -> Result<(), EventStoreError> {
        self.store.save_command_state_snapshot(id, snapshot).await
    }
}

impl<S: EventReader + Sync, C: Sync, L: Sync> EventReader for Bank<S, C, L> {
    type Error = S::Error;

    async fn read_events<E: Event>(&self, filter: EventFilter, page: EventPage) -> Result<Vec<(E, StreamPosition)>, Self::Error> {
        self.store.read_events(filter, page).await
    }
}

impl<S: Send + Sync, C: CheckpointStore, L: Send + Sync> CheckpointStore for Bank<S, C, L> {
    type Error = C::Error;

    async fn load(&self, name: &str) -> Result<Option<StreamPosition>, Self::Error> {
        self.checkpoints.load(name).await
    }

    async fn save(&self, name: &str, position: StreamPosition) -> Result<(), Self::Error> {
        self.checkpoints.save(name, position).await
    }
}

impl<S: Sync, C: Sync, L: ProjectorCoordinator + Sync> ProjectorCoordinator for Bank<S, C, L> {
    type Error = L::Error;
    type Guard = L::Guard;

    async fn try_acquire(&self, subscription_name: &str) -> Result<Self::Guard, Self::Error> {
        self.coordinator.try_acquire(subscription_name).await
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Entry {
    Credited { account: StreamId, amount: i64 },
    Debited { account: StreamId, amount: i64 },
}

impl Entry {
    fn change(&self) -> i64 {
        match self {
            Self::Credited { amount, .. } => *amount,
            Self::Debited { amount, .. } => -amount,
        }
    }
}

impl Event for Entry {
    fn stream_id(&self) -> &StreamId {
        match self {
            Self::Credited { account, .. } | Self::Debited { account, .. } => account,
        }
    }

    fn event_type_name() -> &'static str {
        "Entry"
    }
}

#[derive(Clone)]
struct Deposit {
    account: StreamId,
    amount: i64,
}

impl CommandStreams for Deposit {
    fn stream_declarations(&self) -> StreamDeclarations {
        StreamDeclarations::single(self.account.clone())
    }
}

impl CommandLogic for Deposit {
    type Event = Entry;
    type State = i64;

    fn apply(&self, balance: i64, entry: &Entry) -> i64 {
        balance + entry.change()
    }

    fn handle(&self, _balance: i64) -> Result<NewEvents<Entry>, CommandError> {
        Ok(vec![Entry::Credited { account: self.account.clone(), amount: self.amount }].into())
    }

    fn command_state_snapshot_id(&self) -> Option<CommandStateSnapshotId> {
        CommandStateSnapshotId::try_new(format!("balance of {}", self.account)).ok()
    }

    fn serialize_command_state_snapshot(&self, balance: &i64) -> Result<serde_json::Value, CommandError> {
        Ok((*balance).into())
    }

    fn deserialize_command_state_snapshot(&self, balance: serde_json::Value) -> Result<i64, CommandError> {
        balance.as_i64().ok_or_else(|| CommandError::ValidationError("the balance is no number".to_owned()))
    }
}

#[derive(Clone)]
struct Transfer {
    from: StreamId,
    to: StreamId,
    amount: i64,
}

impl CommandStreams for Transfer {
    fn stream_declarations(&self) -> StreamDeclarations {
        StreamDeclarations::try_from_streams([self.from.clone(), self.to.clone()]).unwrap()
    }
}

impl CommandLogic for Transfer {
    type Event = Entry;
    type State = i64;

    fn apply(&self, available: i64, entry: &Entry) -> i64 {
        if *entry.stream_id() == self.from { available + entry.change() } else { available }
    }

    fn handle(&self, available: i64) -> Result<NewEvents<Entry>, CommandError> {
        if available < self.amount {
            return Err(CommandError::ValidationError(format!("{} has {available}, {} are asked for", self.from, self.amount)));
        }
        let debited = Entry::Debited { account: self.from.clone(), amount: self.amount };
        Ok(vec![debited, Entry::Credited { account: self.to.clone(), amount: self.amount }].into())
    }
}

#[derive(Clone, Default)]
struct Balances(Arc<Mutex<(usize, BTreeMap<String, i64>)>>);

impl Projector for Balances {
    type Event = Entry;
    type Error = Infallible;
    type Context = ();

    fn apply(&mut self, entry: Entry, _position: StreamPosition, _context: &mut ()) -> Result<(), Infallible> {
        let mut seen = self.0.lock().unwrap();
        seen.0 += 1;
        *seen.1.entry(entry.stream_id().to_string()).or_default() += entry.change();
        Ok(())
    }

    fn name(&self) -> &str {
        "balances"
    }
}

fn account(name: &str) -> StreamId {
    StreamId::try_new(format!("account-{name}")).unwrap()
}

/// Deposits, a transfer that holds and one that is refused.
async fn a_day(bank: &impl Backend) {
    for amount in 1..=5 {
        execute(bank, Deposit { account: account("ada"), amount }, RetryPolicy::new()).await.unwrap();
    }
    let transfer = |amount| Transfer { from: account("ada"), to: account("bo"), amount };
    execute(bank, transfer(7), RetryPolicy::new()).await.unwrap();
    let refused = execute(bank, transfer(1_000), RetryPolicy::new()).await;
    assert!(matches!(refused, Err(CommandError::ValidationError(_))));
}

/// How many entries the projection was given since the last time, and what they came to.
async fn project(bank: &impl Backend) -> (usize, BTreeMap<String, i64>) {
    let balances = Balances::default();
    run_projection(balances.clone(), bank, ProjectionConfig::default()).await.unwrap();
    let seen = balances.0.lock().unwrap();
    seen.clone()
}

fn day() -> (usize, BTreeMap<String, i64>) {
    (7, BTreeMap::from([("account-ada".to_owned(), 8), ("account-bo".to_owned(), 7)]))
}

async fn scenario<B: Backend>() {
    let dir = tempfile::tempdir().unwrap();
    let bank = B::open(dir.path());
    a_day(&bank).await;
    assert_eq!(project(&bank).await, day());
    assert_eq!(project(&bank).await, (0, BTreeMap::new()));
    drop(bank);
    let bank = B::open(dir.path());
    a_day(&bank).await;
    assert_eq!(project(&bank).await, day());
}

#[tokio::test]
async fn the_application_runs_on_eventcore_fs() {
    scenario::<Theirs>().await;
}

#[tokio::test]
async fn the_application_runs_on_ours_by_another_alias() {
    scenario::<Ours>().await;
}

#[tokio::test]
async fn the_application_moves_from_one_to_the_other_and_back() {
    let dir = tempfile::tempdir().unwrap();
    for turn in 0..4 {
        if turn % 2 == 0 {
            let bank = Theirs::open(dir.path());
            a_day(&bank).await;
            assert_eq!(project(&bank).await, day());
        } else {
            let bank = Ours::open(dir.path());
            a_day(&bank).await;
            assert_eq!(project(&bank).await, day());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_commands_of_two_handles_all_hold() {
    let dir = tempfile::tempdir().unwrap();
    let banks = [Ours::open(dir.path()), Ours::open(dir.path())].map(Arc::new);
    let policy = || RetryPolicy::new().max_retries(1_000);
    let tasks = (0..8).map(|n| {
        let bank = banks[n % 2].clone();
        tokio::spawn(async move {
            for _ in 0..5 {
                execute(&*bank, Deposit { account: account("ada"), amount: 1 }, policy()).await.unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let bank = Ours::open(dir.path());
    assert_eq!(project(&bank).await, (40, BTreeMap::from([("account-ada".to_owned(), 40)])));
}
