//! Forks as eventcore-fs reports them and as we do: equal where each branch is one transaction on one base; and what else there is.

use braidfs::braid::{OpenConflict, ReconcileOptions, Resolution};
use eventcore_fs::{FileEventStore, FsEventStoreError, ResolutionOutcome};
use eventcore_types::{Event, StreamId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::reading::open;
use super::support::store::TestStore;

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

fn noted(stream: &str) -> Value {
    json!({"stream_id": stream})
}

/// Stream, base version and transactions of each fork.
type Forks = Vec<(String, u64, Vec<String>)>;

fn theirs(store: &TestStore) -> Forks {
    let peer = FileEventStore::open(store.path()).unwrap();
    let told = |fork: &eventcore_fs::Fork| {
        let transactions = fork.transactions().iter().map(|id| (*id).into_inner().to_string()).collect();
        (fork.stream_id().as_ref().to_owned(), u64::try_from(fork.base_version().into_inner()).unwrap(), transactions)
    };
    let mut forks: Forks = peer.detect_forks().unwrap().iter().map(told).collect();
    forks.sort();
    forks
}

fn ours(store: &TestStore) -> Forks {
    let mut forks: Forks = Vec::new();
    for fork in open(&store.path()).forks().into_iter().flat_map(|conflict| conflict.streams) {
        let mut transactions: Vec<String> = fork.branches.into_iter().flat_map(|branch| branch.transactions).collect();
        transactions.sort();
        forks.push((fork.stream_id, fork.base_version, transactions));
    }
    forks.sort();
    forks
}

/// A root that writes the streams `a` to `c`, and branches of one transaction each that write the streams of a bit mask.
fn branches(masks: &[u8]) -> (TestStore, Uuid) {
    let mut store = TestStore::new();
    let mut root = store.transaction();
    for stream in ["a", "b", "c"] {
        root = root.event(stream, "Noted", noted(stream));
    }
    let root = root.write();
    for (replica, mask) in (2..).zip(masks) {
        let mut branch = store.transaction().replica(replica).parents([root]);
        for (bit, stream) in ["a", "b", "c"].into_iter().enumerate().filter(|(bit, _)| mask >> bit & 1 == 1) {
            branch = (0..=bit).fold(branch, |branch, _| branch.event(stream, "Noted", noted(stream)));
        }
        branch.write();
    }
    (store, root)
}

#[test]
fn branches_of_one_transaction_on_one_base_are_the_same_forks() {
    for masks in [&[1u8, 1][..], &[1, 2], &[3, 5, 6], &[7, 7, 7], &[1, 1, 2, 2], &[4, 4, 1], &[7, 1, 2, 4]] {
        let (store, _) = branches(masks);
        assert_eq!(ours(&store), theirs(&store), "{masks:?}");
    }
}

/// Somebody appends to another stream after a merge: eventcore-fs takes the descendant for a resolution of every fork.
#[test]
fn an_unrelated_append_does_not_hide_a_fork() {
    let (mut store, _) = branches(&[1, 1]);
    store.transaction().replica(9).event("z", "Noted", noted("z")).write();
    assert_eq!((theirs(&store).len(), ours(&store).len()), (0, 1));
}

/// One side wrote the stream twice: eventcore-fs groups by equal bases, and its branch ends after the first.
#[test]
fn a_branch_of_two_transactions_is_told_whole() {
    let (mut store, _) = branches(&[1, 1]);
    let first = store.heads()[1];
    let second = store.transaction().replica(3).parents([first]).event("a", "Noted", noted("a")).write().to_string();
    assert!(!theirs(&store)[0].2.contains(&second));
    let told = &ours(&store)[0];
    assert_eq!((told.1, told.2.len(), told.2.contains(&second)), (1, 3, true));
}

/// Two working copies only read a stream, as a command does that decides on it: eventcore-fs calls that a fork of it.
#[test]
fn a_stream_that_was_only_read_is_not_forked() {
    let mut store = TestStore::new();
    let root = store.transaction().event("a", "Noted", noted("a")).write();
    for (replica, stream) in [(2, "x"), (3, "y")] {
        store.transaction().replica(replica).parents([root]).base("a", 1).event(stream, "Noted", noted(stream)).write();
    }
    assert_eq!((theirs(&store).len(), ours(&store).len()), (1, 0));
}

/// Two branches made in one clone have one replica id: eventcore-fs then answers nothing at all.
#[test]
fn two_branches_of_one_clone_are_still_reported() {
    let mut store = TestStore::new();
    let root = store.transaction().event("a", "Noted", noted("a")).write();
    for _ in 0..2 {
        store.transaction().replica(2).parents([root]).event("a", "Noted", noted("a")).write();
    }
    let peer = FileEventStore::open(store.path()).unwrap();
    assert!(matches!(peer.detect_forks(), Err(FsEventStoreError::ReplicaIdentityConflict { .. })));
    drop(peer);
    assert_eq!(ours(&store).len(), 1);
}

/// Two forks are settled in one pass: eventcore-fs writes two merges that do not know of each other, and its status fails for ever.
#[test]
fn two_forks_settled_in_one_pass_leave_a_store_that_answers() {
    let (store, _) = branches(&[1, 1, 2, 2]);
    let peer = FileEventStore::open(store.path()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let report = runtime.block_on(peer.reconcile::<Noted, _>(|_| ResolutionOutcome::Resolve(Vec::new()))).unwrap();
    assert_eq!(report.resolved_count(), 2);
    assert!(matches!(peer.status(), Err(FsEventStoreError::ReplicaIdentityConflict { .. })));
    let (store, _) = branches(&[1, 1, 2, 2]);
    let settle = |_: &OpenConflict| Resolution::Events(Vec::new());
    let pass = open(&store.path()).reconcile(settle, &ReconcileOptions::default()).unwrap();
    assert_eq!(pass.resolved.len(), 2);
    let peer = FileEventStore::open(store.path()).unwrap();
    assert!(peer.status().unwrap().is_clean());
    drop(peer);
    assert!(ours(&store).is_empty());
}
