//! First open and reopen, beside bare reading and beside the peer.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use braidfs::braid::{Braid, OpenOptions};
use sha2::{Digest, Sha256};

use crate::Plan;
use crate::data::{Shape, chain};
use crate::measure::{drop_caches, median, middle_of, paired, seconds};
use crate::report::{Report, Row};

/// The stack of the peer for a chain of 100,000; only what is used of it is memory.
const PEER_STACK_BYTES: usize = 1 << 30;

fn names(dir: &Path) -> Vec<std::path::PathBuf> {
    fs::read_dir(dir.join("events")).expect("a store").map(|entry| entry.expect("an entry").path()).collect()
}

/// Opens, reads and closes every file on some threads, and hashes it if asked.
pub fn bare(dir: &Path, threads: usize, hash: bool) {
    let names = names(dir);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let bytes = fs::read(name).expect("a file");
                    if hash {
                        std::hint::black_box(Sha256::digest(&bytes));
                    }
                }
            });
        }
    });
}

/// Seconds from the opening of a store to the last line of its log; what is saved behind that, and the closing, is not in them.
pub fn open_to_last_line(dir: &Path) -> f64 {
    let begun = std::time::Instant::now();
    let braid = Braid::open(dir, &OpenOptions::default()).expect("a store");
    braid.wait_ordered().expect("it opens");
    let log = braid.tree().find("log.jsonl").and_then(braidfs::view::Node::into_file).expect("the log");
    let tail = log.read(log.size().saturating_sub(4096), 4096).expect("bytes");
    let time = begun.elapsed().as_secs_f64();
    assert!(tail.ends_with(b"\n"));
    drop(braid);
    time
}

fn forget_index(dir: &Path) {
    let _ = fs::remove_dir_all(dir.join("index"));
}

pub fn measure(plan: &Plan, report: &mut Report) {
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    for transactions in [1_000, 10_000, 100_000] {
        let dir = chain(&plan.scratch.join(format!("open-{transactions}")), Shape { transactions, streams: 1_000 });
        bare(&dir, threads, false);
        let (limit, ours) = paired(
            plan.runs,
            || seconds(|| bare(&dir, threads, false)),
            || {
                forget_index(&dir);
                open_to_last_line(&dir)
            },
        );
        let hashed = median(plan.runs, || (), |()| bare(&dir, threads, true));
        let reopen = middle_of(plan.runs, || open_to_last_line(&dir));
        report.point("first open", transactions, ours);
        report.point("reopen", transactions, reopen);
        let what = format!("first open, {transactions} transactions, warm");
        report.add(Row::ratio(&what, "open + read + close of the files", ours / limit, (transactions == 100_000).then_some(1.7), ours));
        if transactions == 100_000 {
            report.add(Row::ratio(&what, "the same with hashing", ours / hashed, Some(2.0), ours));
            report.add(Row::seconds(&format!("reopen, {transactions} transactions, warm"), reopen, Some(0.15)));
            cold(plan, report, &dir, threads);
        }
        let peer = {
            let runs = if transactions > 10_000 { 1 } else { plan.runs.min(3) };
            median(
                runs,
                || forget_index(&dir),
                |()| {
                    // It goes from a child to its parent by recursion, from wherever a hash table begins: a chain may need all of it.
                    let open = || drop(eventcore_fs::FileEventStore::open(&dir).expect("the peer opens it"));
                    std::thread::scope(|scope| {
                        let peer = std::thread::Builder::new().stack_size(PEER_STACK_BYTES).spawn_scoped(scope, open).expect("a thread");
                        peer.join().expect("the peer opens it");
                    });
                },
            )
        };
        let goal = (transactions == 100_000).then_some(4.0);
        report.add(Row::faster(&what, "eventcore-fs", peer / ours, goal, ours));
    }
}

fn cold(plan: &Plan, report: &mut Report, dir: &Path, _threads: usize) {
    if !drop_caches() {
        return;
    }
    let limit = median(plan.runs, drop_caches, |_| bare(dir, 32, false));
    let ours = middle_of(plan.runs, || {
        forget_index(dir);
        drop_caches();
        open_to_last_line(dir)
    });
    let reopen = middle_of(plan.runs, || {
        drop_caches();
        open_to_last_line(dir)
    });
    report.add(Row::ratio("first open, 100000 transactions, cold", "32 readers", ours / limit, Some(1.5), ours));
    report.add(Row::seconds("reopen, 100000 transactions, cold", reopen, Some(0.3)));
}
