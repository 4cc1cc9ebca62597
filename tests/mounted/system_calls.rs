//! What a commit and a start ask of the system, counted in the daemon itself. No clock is asked, so that no busy machine decides.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::json;

use crate::support::mount::Mount;
use crate::support::store::TestStore;

const COMMITS: usize = 12;

/// What makes, changes, names or syncs files.
const CALLS: &str = "open,openat,creat,write,writev,pwrite64,pwritev,ftruncate,rename,renameat,renameat2,link,linkat,unlink,unlinkat,\
                     mkdir,mkdirat,fsync,fdatasync,sync_file_range,syncfs,sync";

/// Whether it is one that gives a transaction its name.
fn is_commit(call: &str) -> bool {
    call.starts_with("rename") && call.contains("/events/")
}

/// The kind of a call; opening is told apart by whether anything can be written then.
fn kind_of(call: &str) -> &str {
    let can_write = ["O_WRONLY", "O_RDWR", "O_CREAT"].iter().any(|flag| call.contains(flag));
    match call.split('(').next().unwrap() {
        "open" | "openat" if can_write => "open to write",
        kind => kind,
    }
}

/// What the threads that commit ask of the store for one commit, by kind; the same for each but the first of a trace, which finds files
/// not yet open. A writer who is alone commits on the thread that serves his call.
fn calls_of_a_commit(trace: &str, store: &Path) -> BTreeMap<String, usize> {
    let store = store.to_str().unwrap();
    let calls = trace.lines().filter(|line| line.contains(store) && !line.contains(" resumed>"));
    let calls: Vec<(&str, &str)> =
        calls.filter_map(|line| line.split_once(' ')).map(|(thread, call)| (thread, call.trim_start())).collect();
    let threads: BTreeSet<&str> = calls.iter().filter(|(_, call)| is_commit(call)).map(|&(thread, _)| thread).collect();
    let calls: Vec<&str> = calls.into_iter().filter(|(thread, _)| threads.contains(thread)).map(|(_, call)| call).collect();
    let commits: Vec<usize> = (0..calls.len()).filter(|&at| is_commit(calls[at])).skip(1).collect();
    let counted = commits.windows(2).map(|pair| {
        let mut counts = BTreeMap::new();
        let (locks, others): (Vec<&str>, Vec<&str>) = calls[pair[0]..pair[1]].iter().partition(|call| call.contains("/.lock\""));
        // On a busy machine it is looked between two commits whether somebody else holds the lock.
        for call in others.into_iter().chain(locks.into_iter().take(1)) {
            *counts.entry(kind_of(call).to_owned()).or_default() += 1;
        }
        // Opening to read: the directory that is synced, and what is looked at between two commits.
        assert!(counts.remove("openat") >= Some(1), "{counts:?}");
        counts
    });
    let counted: Vec<BTreeMap<String, usize>> = counted.collect();
    assert_eq!(counted.len(), COMMITS - 2);
    for counts in &counted {
        assert_eq!(counts, &counted[0]);
    }
    counted[0].clone()
}

#[test]
fn a_commit_of_one_writer_costs_the_same_few_calls_whatever_the_size_of_the_store() {
    for before in [0, 60] {
        let mut store = TestStore::new();
        for n in 0..before {
            store.transaction().event("a", "T", json!({ "n": n })).write();
        }
        let trace = store.home().join("trace");
        let mount = Mount::options(&store.path()).traced(CALLS, &trace).start();
        for n in 0..COMMITS {
            mount.append(&format!("{{\"stream\":\"a\",\"type\":\"T\",\"data\":{n}}}\n")).unwrap();
        }
        assert_eq!(mount.count("log.jsonl"), before + COMMITS);
        mount.unmount();
        let counts = calls_of_a_commit(&fs::read_to_string(trace).unwrap(), &store.path().canonicalize().unwrap());
        // Opened: the lock, the file, the last transaction. Written: the file; behind the durable point the log's line, the last
        // transaction, the pack and the table. Synced: the file, which the disk begins to write before, and
        // its directory.
        let expected = [("fsync", 2), ("open to write", 3), ("pwrite64", 5), ("renameat2", 1), ("sync_file_range", 1)];
        assert_eq!(counts, expected.map(|(kind, count)| (kind.to_owned(), count)).into());
    }
}

#[test]
fn files_that_lie_in_memory_are_read_by_no_more_threads_than_there_are_processors() {
    let mut store = TestStore::new();
    // Enough to keep all readers busy that a cold disk may have.
    for n in 0..1_100 {
        store.transaction().event("a", "T", json!({ "n": n })).write();
    }
    let trace = store.home().join("trace");
    let mount = Mount::options(&store.path()).traced("clone,clone3", &trace).start();
    assert_eq!(mount.count("log.jsonl"), 1_100);
    mount.unmount();
    let trace = fs::read_to_string(trace).unwrap();
    let threads = trace.lines().filter(|line| line.contains("CLONE_THREAD")).count();
    let processors = std::thread::available_parallelism().unwrap().get();
    assert!(threads > 0 && threads < 20 + processors, "{threads} threads were started");
}
