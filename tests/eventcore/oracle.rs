//! Forks as eventcore-fs reports them, on stores that it wrote on several replicas.

use std::fs;
use std::path::Path;

use braidfs::eventcore::{FileEventStore, FsEventStoreError};

/// A store of the test data, unpacked by the crate's rule: a header begins a file.
fn unpack(text: &str, dir: &Path) {
    fs::create_dir_all(dir.join("events")).unwrap();
    let mut starts: Vec<usize> = text.match_indices("{\"record\":\"header\"").map(|(at, _)| at).collect();
    starts.push(text.len());
    for ends in starts.windows(2) {
        let file = &text[ends[0]..ends[1]];
        let header: serde_json::Value = serde_json::from_str(file.lines().next().unwrap()).unwrap();
        fs::write(dir.join(format!("events/{}.jsonl", header["transaction_id"].as_str().unwrap())), file).unwrap();
    }
}

/// What a store says of itself, in words that both programs' types come to.
macro_rules! told {
    ($store:expr) => {{
        let store = $store;
        let status = store.status().unwrap();
        let forks = status.forks().iter().map(|fork| {
            let transactions = fork.transactions().iter().map(|id| id.to_string()).collect::<Vec<_>>();
            format!("{} {} {}", fork.stream_id(), fork.base_version(), transactions.join(" "))
        });
        let dangling = status.dangling().iter().map(|dangling| {
            let parents = dangling.missing_parents().iter().map(|id| id.to_string()).collect::<std::collections::BTreeSet<_>>();
            format!("{} {parents:?}", dangling.transaction_id())
        });
        let generation = store.topology_generation().unwrap();
        (forks.collect::<Vec<_>>(), dangling.collect::<Vec<_>>(), status.integrity_failures().len(), generation)
    }};
}

#[test]
fn forks_are_those_of_eventcore_fs() {
    for text in [include_str!("../data/oracle/case-11.jsonl"), include_str!("../data/oracle/case-12.jsonl")] {
        let dir = tempfile::tempdir().unwrap();
        unpack(text, dir.path());
        let theirs = told!(eventcore_fs::FileEventStore::open(dir.path()).unwrap());
        assert!(!theirs.0.is_empty());
        assert_eq!(told!(FileEventStore::open(dir.path()).unwrap()), theirs);
    }
}

#[test]
fn missing_parents_are_told_as_eventcore_fs_tells_them() {
    let dir = tempfile::tempdir().unwrap();
    unpack(include_str!("../data/oracle/case-11.jsonl"), dir.path());
    let mut files: Vec<_> = fs::read_dir(dir.path().join("events")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files.iter().step_by(5) {
        fs::remove_file(file).unwrap();
    }
    let theirs = eventcore_fs::FileEventStore::open(dir.path()).unwrap().status();
    let ours = FileEventStore::open(dir.path()).unwrap();
    match theirs {
        // What is cut apart may look like one replica in two places; then neither tells more.
        Err(eventcore_fs::FsEventStoreError::ReplicaIdentityConflict { replica_id, .. }) => {
            let told = ours.status();
            assert!(
                matches!(told, Err(FsEventStoreError::ReplicaIdentityConflict { replica_id: other, .. }) if other == replica_id),
                "{told:?}"
            );
        }
        _ => {
            drop(theirs);
            assert_eq!(told!(ours), told!(eventcore_fs::FileEventStore::open(dir.path()).unwrap()));
        }
    }
}

#[test]
fn streams_that_one_writer_only_reads_are_not_forked() {
    use eventcore_types::{EventStore as _, StreamId, StreamVersion, StreamWrites};
    let dir = tempfile::tempdir().unwrap();
    let store = FileEventStore::open(dir.path()).unwrap();
    let [rates, account] = ["rates", "account"].map(|stream| StreamId::try_new(stream).unwrap());
    for seen in 0..3 {
        let writes = StreamWrites::new()
            .register_stream(rates.clone(), StreamVersion::new(0))
            .and_then(|writes| writes.register_stream(account.clone(), StreamVersion::new(seen)))
            .and_then(|writes| writes.append(crate::beside::Noted::new(&account, "read the rates")))
            .unwrap();
        futures::executor::block_on(store.append_events(writes)).unwrap();
    }
    assert!(store.status().unwrap().is_clean());
}
