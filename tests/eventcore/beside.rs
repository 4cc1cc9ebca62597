//! A store that an application has open beside other programs.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use braidfs::eventcore::{FileCheckpointStore, FileEventStore, FsCheckpointError, FsConfig, FsEventStoreError, FsyncPolicy};
use eventcore_types::{
    BatchSize, CheckpointStore as _, Event, EventFilter, EventPage, EventReader as _, EventStore as _, EventStoreError, StreamId,
    StreamPosition, StreamVersion, StreamWrites, collect_events,
};
use futures::executor::block_on;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noted {
    stream_id: StreamId,
    text: String,
}

impl Noted {
    pub fn new(stream_id: &StreamId, text: &str) -> Self {
        Self { stream_id: stream_id.clone(), text: text.to_owned() }
    }
}

impl Event for Noted {
    fn stream_id(&self) -> &StreamId {
        &self.stream_id
    }

    fn event_type_name() -> &'static str {
        "Noted"
    }
}

fn notes() -> StreamId {
    StreamId::try_new("notes").unwrap()
}

fn append(store: &FileEventStore, seen: usize, text: &str) -> Result<(), EventStoreError> {
    let writes = StreamWrites::new().register_stream(notes(), StreamVersion::new(seen)).unwrap();
    let writes = writes.append(Noted::new(&notes(), text)).unwrap();
    block_on(store.append_events(writes)).map(|_| ())
}

fn texts(store: &FileEventStore) -> Vec<String> {
    let events = block_on(async { collect_events(store.read_stream::<Noted>(notes()).await.unwrap()).await.unwrap() });
    events.into_iter().map(|event| event.text).collect()
}

/// Another process appends by the command line.
fn append_by_command(dir: &Path, text: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_braidfs"));
    let mut child = command.arg("--store").arg(dir).args(["append", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let event = serde_json::json!({"stream": "notes", "type": "Noted", "data": {"stream_id": "notes", "text": text}});
    writeln!(child.stdin.take().unwrap(), "{event}").unwrap();
    assert!(child.wait().unwrap().success());
}

fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_another_process_appends_is_read_and_conflicts() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileEventStore::open(dir.path()).unwrap();
    append(&store, 0, "ours").unwrap();
    append_by_command(dir.path(), "theirs");
    // Whether or not it has been noticed yet, the version of before holds no more.
    let refused = append(&store, 1, "late").unwrap_err();
    let (expected, actual) = (StreamVersion::new(1), StreamVersion::new(2));
    assert_eq!(refused, EventStoreError::VersionConflict { stream_id: notes(), expected, actual });
    assert_eq!(texts(&store), ["ours", "theirs"]);
    append(&store, 2, "again").unwrap();
    append_by_command(dir.path(), "last");
    let page = EventPage::first(BatchSize::new(10));
    let read = || block_on(store.read_events::<Noted>(EventFilter::all(), page)).unwrap();
    wait_until("an event of another process is read", || read().len() == 4);
    assert_eq!(texts(&store).len(), 4);
    assert_eq!(read().into_iter().map(|(event, _)| event.text).collect::<Vec<_>>(), ["ours", "theirs", "again", "last"]);
}

#[test]
fn two_handles_write_one_chain_under_one_replica_id() {
    let dir = tempfile::tempdir().unwrap();
    let first = FileEventStore::open(dir.path()).unwrap();
    let second = FileEventStore::open(dir.path()).unwrap();
    for round in 0..4 {
        append(&first, round * 2, "first").unwrap();
        wait_until("the other handle's event is read", || texts(&second).len() == round * 2 + 1);
        append(&second, round * 2 + 1, "second").unwrap();
        wait_until("the other handle's event is read", || texts(&first).len() == round * 2 + 2);
    }
    assert_eq!(first.replica_id(), second.replica_id());
    assert!(first.status().unwrap().is_clean());
    assert_eq!(first.topology_generation().unwrap(), 0);
    drop((first, second));
    let peer = eventcore_fs::FileEventStore::open(dir.path()).unwrap();
    assert!(peer.status().unwrap().is_clean());
}

#[test]
fn a_store_that_a_program_has_for_its_own_is_locked() {
    let dir = tempfile::tempdir().unwrap();
    let _peer = eventcore_fs::FileEventStore::open(dir.path()).unwrap();
    let refused = FileEventStore::open(dir.path());
    assert!(matches!(refused, Err(FsEventStoreError::StoreLocked { .. })), "{refused:?}");
}

#[test]
fn a_given_replica_id_is_written_and_the_own_one_stays() {
    let dir = tempfile::tempdir().unwrap();
    let own = FileEventStore::open(dir.path()).unwrap().replica_id();
    let given = Uuid::now_v7();
    let config = FsConfig::new(dir.path()).with_replica_id(given).with_fsync(FsyncPolicy::None);
    let store = FileEventStore::open_with_config(config).unwrap();
    assert_eq!(store.replica_id(), given);
    append(&store, 0, "under another id").unwrap();
    drop(store);
    let file = fs::read_dir(dir.path().join("events")).unwrap().next().unwrap().unwrap().path();
    assert!(fs::read_to_string(file).unwrap().contains(&format!("\"replica_id\":\"{given}\"")));
    assert_eq!(FileEventStore::open(dir.path()).unwrap().replica_id(), own);
}

#[test]
fn a_checkpoint_of_another_log_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileEventStore::open(dir.path()).unwrap();
    append(&store, 0, "first").unwrap();
    append(&store, 1, "second").unwrap();
    let page = EventPage::first(BatchSize::new(10));
    let (_, last) = block_on(store.read_events::<Noted>(EventFilter::all(), page)).unwrap().pop().unwrap();
    let checkpoints = FileCheckpointStore::open(dir.path()).unwrap();
    block_on(checkpoints.save("mail", last)).unwrap();
    assert_eq!(block_on(checkpoints.load("mail")).unwrap(), Some(last));
    let seq = |n: u64| StreamPosition::new(Uuid::from_u64_pair(n, 0));
    assert_eq!(last, seq(2));
    drop(store);

    // `git clean` took the log; what is there is numbered anew, in another order than before.
    let log = dir.path().join("index/ingestion.log");
    let lines = fs::read_to_string(&log).unwrap();
    let ids: Vec<&str> = lines.lines().rev().map(|line| line.split('"').nth(3).unwrap()).collect();
    fs::write(&log, format!("{{\"event_id\":\"{}\",\"seq\":1}}\n{{\"event_id\":\"{}\",\"seq\":2}}\n", ids[0], ids[1])).unwrap();
    let checkpoints = FileCheckpointStore::open(dir.path()).unwrap();
    block_on(checkpoints.save("mail", seq(1))).unwrap();
    fs::write(&log, lines).unwrap();
    let checkpoints = FileCheckpointStore::open(dir.path()).unwrap();
    let refused = block_on(checkpoints.load("mail"));
    assert!(matches!(refused, Err(FsCheckpointError::Corrupted { .. })), "{refused:?}");
    // Whoever saves anew goes on from there.
    block_on(checkpoints.save("mail", seq(2))).unwrap();
    assert_eq!(block_on(checkpoints.load("mail")).unwrap(), Some(seq(2)));
}
