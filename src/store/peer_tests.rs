//! One store, two programs: eventcore-fs on what we write, and we on what it writes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use eventcore_fs::{FileCheckpointStore, FileEventStore, FileProjectorCoordinator, FsEventStoreError};
use eventcore_types::{
    CheckpointStore as _, Event, EventStore as _, ProjectorCoordinator as _, StreamId, StreamPosition, StreamVersion, StreamWrites,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::*;
use crate::disk::Disk;
use crate::model::{EventId, ReplicaId, TransactionId};

const WAIT: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Noted {
    stream_id: StreamId,
}

impl Event for Noted {
    fn stream_id(&self) -> &StreamId {
        &self.stream_id
    }

    fn event_type_name() -> &'static str {
        "Noted"
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn append_by_peer(peer: &FileEventStore, seen: usize) {
    let stream_id = StreamId::try_new("notes").unwrap();
    let writes = StreamWrites::new().register_stream(stream_id.clone(), StreamVersion::new(seen)).unwrap();
    let writes = writes.append(Noted { stream_id }).unwrap();
    run(peer.append_events(writes)).unwrap();
}

fn version_by_peer(peer: &FileEventStore) -> usize {
    run(async {
        let stream = peer.read_stream::<Noted>(StreamId::try_new("notes").unwrap()).await.unwrap();
        eventcore_types::collect_events(stream).await.unwrap().len()
    })
}

/// A transaction of one event as another row would render it.
fn transaction(id: TransactionId, replica: ReplicaId, parent: Option<TransactionId>, event: EventId, version: u64) -> Vec<u8> {
    let payload = format!(
        "{{\"record\":\"event\",\"event_id\":\"{event}\",\"stream_id\":\"notes\",\"stream_version\":{version},\"event_type\":\"Noted\",\
         \"event_data\":{{\"stream_id\":\"notes\"}},\"metadata\":{{}}}}\n"
    );
    let hash: String = Sha256::digest(&payload).iter().map(|byte| format!("{byte:02x}")).collect();
    let parents = parent.map_or(String::new(), |id| format!("\"{id}\""));
    format!(
        "{{\"record\":\"header\",\"format_version\":2,\"transaction_id\":\"{id}\",\"replica_id\":\"{replica}\",\
         \"parent_transaction_ids\":[{parents}],\"created_at\":\"2026-01-01T00:00:0{version}+00:00\",\
         \"stream_bases\":{{\"notes\":{}}},\"content_hash\":\"{hash}\"}}\n{payload}",
        version - 1
    )
    .into_bytes()
}

fn ours(dir: &Path) -> Store {
    Store::open(dir, &Disk::real(), Mode::Writable).unwrap()
}

#[test]
fn the_lock_excludes_either_program_while_the_other_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::init(dir.path(), &Disk::real()).unwrap();
    let lock = store.lock(WAIT).unwrap();
    assert!(matches!(FileEventStore::open(dir.path()), Err(FsEventStoreError::StoreLocked { .. })));
    drop(lock);
    let peer = FileEventStore::open(dir.path()).unwrap();
    assert!(matches!(store.lock(Duration::ZERO), Err(LockError::Busy { holder: Some(_), .. })));
    let since = store.lock_changed().unwrap();
    assert!(since.elapsed().is_ok_and(|age| age < Duration::from_secs(3600)));
    drop(peer);
    store.lock(WAIT).unwrap();
}

#[test]
fn the_peer_opens_and_continues_what_we_write_and_we_what_it_writes() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::init(dir.path(), &Disk::real()).unwrap();
    let lock = store.lock(WAIT).unwrap();
    let (replica, first, event) = (ReplicaId(Uuid::now_v7()), TransactionId(Uuid::now_v7()), EventId(Uuid::now_v7()));
    let mut identity = store.identity().unwrap();
    store.mint(&lock, &mut identity, MintReason::First, replica).unwrap();
    store.publish(&lock, &[(format!("{first}.jsonl"), transaction(first, replica, None, event, 1))]).unwrap();
    store.remember(&lock, &mut identity, first).unwrap();
    let mut log = IngestionLog::read(&store).unwrap();
    log.append(&lock, &[event]).unwrap();
    drop(lock);

    let peer = FileEventStore::open(dir.path()).unwrap();
    assert_eq!(peer.replica_id(), replica.0);
    assert_eq!(version_by_peer(&peer), 1);
    append_by_peer(&peer, 1);
    assert_eq!(store.list().unwrap().len(), 2);
    assert_eq!(log.refresh().unwrap(), Refreshed::Grew(2));
    log.sync().unwrap();
    assert_eq!((log.ids()[0], log.latest_seq_nr(), log.synced_seq_nr()), (event, 2, 2));
    drop(peer);

    // The same working copy still: neither program makes the other mint.
    assert_eq!(ours(dir.path()).identity().unwrap().must_mint(|_| true), None);
    let listed = store.list().unwrap().into_iter().map(|listed| listed.name).find(|name| !name.contains(&first.to_string()));
    let second = listed.unwrap().trim_end_matches(".jsonl").parse().unwrap();
    let (third, event) = (TransactionId(Uuid::now_v7()), EventId(Uuid::now_v7()));
    let lock = store.lock(WAIT).unwrap();
    store.publish(&lock, &[(format!("{third}.jsonl"), transaction(third, replica, Some(second), event, 3))]).unwrap();
    assert_eq!(log.append(&lock, &[event]).unwrap(), 3);
    drop(lock);
    let peer = FileEventStore::open(dir.path()).unwrap();
    assert_eq!(version_by_peer(&peer), 3);
    assert!(peer.status().unwrap().forks().is_empty());
    assert_eq!(peer.replica_id(), replica.0);
    append_by_peer(&peer, 3);
    assert_eq!(log.refresh().unwrap(), Refreshed::Grew(4));
}

#[test]
fn a_store_of_the_peer_opens_with_its_identity_and_its_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let peer = FileEventStore::open(dir.path()).unwrap();
    for seen in 0..3 {
        append_by_peer(&peer, seen);
    }
    let store = ours(dir.path());
    assert_eq!(store.list().unwrap().len(), 3);
    let log = IngestionLog::read(&store).unwrap();
    assert_eq!((log.latest_seq_nr(), log.is_torn(), log.problems().len()), (3, false, 0));
    let identity = store.identity().unwrap();
    assert_eq!(identity.replica_id, Some(ReplicaId(peer.replica_id())));
    assert_eq!(identity.must_mint(|_| false), None);
}

#[test]
fn checkpoints_and_leadership_are_shared() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::init(dir.path(), &Disk::real()).unwrap();
    let mut log = IngestionLog::read(&store).unwrap();
    log.append(&store.lock(WAIT).unwrap(), &[1, 2, 3].map(|n| EventId(Uuid::from_u128(n)))).unwrap();
    let peer = FileCheckpointStore::open(dir.path()).unwrap();
    store.save_checkpoint("mail", 2, &mut log, false).unwrap();
    // It reads on from the number, whatever stands behind it: what it compares is larger than 2 and smaller than 3.
    let position = run(peer.load("mail")).unwrap().unwrap().into_inner();
    assert!((position_of_seq_nr(2)..position_of_seq_nr(3)).contains(&position), "{position}");
    run(peer.save("mail", StreamPosition::new(position_of_seq_nr(3)))).unwrap();
    let checkpoint = store.checkpoint("mail", &mut log).unwrap().unwrap();
    assert_eq!((checkpoint.seq_nr, checkpoint.standing), (3, Standing::Foreign));

    let coordinator = FileProjectorCoordinator::open(dir.path()).unwrap();
    let ours = store.lead("mail").unwrap().unwrap();
    assert!(run(coordinator.try_acquire("mail")).is_err());
    drop(ours);
    let theirs = run(coordinator.try_acquire("mail")).unwrap();
    assert!(store.lead("mail").unwrap().is_none());
    drop(theirs);
    assert!(store.lead("mail").unwrap().is_some());
    assert!(fs::metadata(dir.path().join("locks/6d61696c.lock")).is_ok());
}

/// What `events/` may hold under a name `*.jsonl` that is no regular file: each is a finding, for this.
#[test]
fn eventcore_fs_opens_no_store_with_something_that_is_no_regular_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events/0.jsonl");
    drop(FileEventStore::open(dir.path()).unwrap());
    let make: [fn(&Path); 5] = [
        |path| fs::create_dir(path).unwrap(),
        |path| std::os::unix::fs::symlink("nowhere", path).unwrap(),
        |path| std::os::unix::fs::symlink(".", path).unwrap(),
        |path| std::os::unix::fs::symlink("/dev/null", path).unwrap(),
        |path| drop(std::os::unix::net::UnixListener::bind(path).unwrap()),
    ];
    for make in make {
        make(&path);
        assert!(FileEventStore::open(dir.path()).is_err(), "{:?}", fs::symlink_metadata(&path));
        fs::remove_file(&path).or_else(|_| fs::remove_dir(&path)).unwrap();
    }
    // A pipe it opens and waits for: only then can somebody else open it to write without waiting.
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let store = dir.path().to_path_buf();
    let peer = std::thread::spawn(move || FileEventStore::open(store).is_err());
    let begun = std::time::Instant::now();
    let wake = || fs::File::options().write(true).custom_flags(libc::O_NONBLOCK).open(&path);
    let is_read = std::iter::repeat_with(wake).take_while(|_| begun.elapsed() < WAIT).any(|opened| opened.is_ok());
    assert!(is_read && peer.join().unwrap());
}
