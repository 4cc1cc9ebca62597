//! The fixtures themselves: what they write must be what `docs/FORMAT.md` says.

use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::git::{git, git_at};
use crate::support::run::{bash, run_with};
use crate::support::store::{REAL_HISTORY_EVENTS, REAL_HISTORY_ORDER_SHA256, REAL_HISTORY_TRANSACTIONS, TestStore, real_history_files};
use crate::support::wait::eventually;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Header and events of every file of a store.
fn read(store: &TestStore) -> Vec<(Value, Vec<Value>)> {
    let mut read = Vec::new();
    for entry in std::fs::read_dir(store.events_dir()).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let (header, payload) = text.split_once('\n').unwrap();
        let header: Value = serde_json::from_str(header).unwrap();
        assert_eq!(header["content_hash"], hex(&Sha256::digest(payload.as_bytes())), "{text}");
        assert!(payload.ends_with('\n'));
        read.push((header, payload.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str(line).unwrap()).collect()));
    }
    read
}

#[test]
fn the_forked_history_is_whole() {
    let (store, forked) = TestStore::forked();
    let files = read(&store);
    assert_eq!(files.len(), 4);
    assert_eq!(files.iter().map(|(_, events)| events.len()).sum::<usize>(), 7);
    let mut heads = vec![forked.ours, forked.theirs[1]];
    heads.sort();
    assert_eq!(store.heads(), heads);
    let (header, events) = files.iter().find(|(h, _)| h["transaction_id"] == forked.theirs[1].to_string()).unwrap();
    assert_eq!(header["stream_bases"]["account-0"], 2);
    assert_eq!(header["parent_transaction_ids"], serde_json::json!([forked.theirs[0].to_string()]));
    assert_eq!(events[0]["stream_version"], 3);
}

/// The order of the real history, straight from the definition.
#[test]
fn the_real_history_has_the_recorded_order() {
    let files = read(&TestStore::real_history());
    assert_eq!(files.len(), REAL_HISTORY_TRANSACTIONS);
    assert_eq!(files.len(), real_history_files().len());
    let id = |value: &Value| uuid::Uuid::parse_str(value.as_str().unwrap()).unwrap();
    let parents: BTreeMap<_, Vec<_>> = files
        .iter()
        .map(|(h, _)| (id(&h["transaction_id"]), h["parent_transaction_ids"].as_array().unwrap().iter().map(id).collect()))
        .collect();
    let mut depth = BTreeMap::new();
    while depth.len() < parents.len() {
        for (id, parents) in &parents {
            if let Some(deepest) =
                parents.iter().map(|parent| depth.get(parent).copied()).try_fold(0, |most: u32, d| Some(most.max(d? + 1)))
            {
                depth.insert(*id, deepest);
            }
        }
    }
    let mut order: Vec<_> = files.iter().collect();
    order.sort_by_key(|(h, _)| {
        let own = id(&h["transaction_id"]);
        (depth[&own], h["created_at"].as_str().unwrap().to_owned(), id(&h["replica_id"]), own)
    });
    let ids: Vec<String> =
        order.iter().flat_map(|(_, events)| events).map(|event| event["event_id"].as_str().unwrap().to_owned() + "\n").collect();
    assert_eq!(ids.len(), REAL_HISTORY_EVENTS);
    assert_eq!(hex(&Sha256::digest(ids.concat().as_bytes())), REAL_HISTORY_ORDER_SHA256);
}

#[test]
fn programs_are_run_and_heard() {
    let home = tempfile::tempdir().unwrap();
    let ran = bash(home.path(), "cat; echo out; echo err >&2; exit 3").code(3);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("out\n", "err\n"));
    let big = vec![b'x'; 1 << 20];
    assert_eq!(run_with(&mut std::process::Command::new("cat"), &big).ok().out.len(), big.len());
    let mut tries = 0;
    eventually("three tries", || {
        tries += 1;
        tries == 3
    });
}

#[test]
fn git_writes_the_same_commit_everywhere() {
    let commit = || {
        let home = tempfile::tempdir().unwrap();
        git(home.path(), ["init", "-q"]);
        git_at(home.path(), 1_700_000_000, ["commit", "-q", "--allow-empty", "-m", "first"]);
        git(home.path(), ["rev-parse", "HEAD"]).out
    };
    assert_eq!(commit(), commit());
}
