//! A checkout of twenty thousand files below a mount: no reader ever sees half of anything.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use braidfs::epoch::Epoch;
use braidfs::model::TransactionId;
use sha2::{Digest as _, Sha256};

use crate::stage::repository;
use crate::support::git::{git, git_command};
use crate::support::run::run_with;
use crate::support::wait::within;

const FILES: usize = 20_000;
/// Taking them in is a matter of seconds, of more where several tests share a core.
const PATIENCE: Duration = Duration::from_secs(100);
/// So many chains beside each other, whose ids are spread over the directory.
const CHAINS: usize = 8;
/// A chain's transaction writes one of so many streams.
const STREAMS: usize = 100;

fn id(n: usize) -> uuid::Uuid {
    // Names that do not sort as history goes, so that git checks children out before their parents.
    let spread: [u8; 32] = Sha256::digest(n.to_be_bytes()).into();
    uuid::Builder::from_random_bytes(spread[..16].try_into().unwrap()).into_uuid()
}

/// One commit with every file, through `git fast-import`.
fn import(dir: &Path) {
    let mut stream =
        String::from("commit refs/heads/many\ncommitter Ada <ada@example.org> 1790000000 +0000\ndata 4\nmany\nfrom refs/heads/main\n");
    for n in 0..FILES {
        let event = format!(
            "{{\"record\":\"event\",\"event_id\":\"{}\",\"stream_id\":\"s-{}\",\"stream_version\":1,\"event_type\":\"Counted\",\"event_data\":{{\"n\":{n}}},\"metadata\":{{}}}}\n",
            id(n + FILES),
            n % STREAMS
        );
        let hash: String = Sha256::digest(&event).iter().map(|byte| format!("{byte:02x}")).collect();
        let parents: Vec<String> = n.checked_sub(CHAINS).map(|parent| format!("\"{}\"", id(parent))).into_iter().collect();
        let file = format!(
            "{{\"record\":\"header\",\"format_version\":2,\"transaction_id\":\"{}\",\"replica_id\":\"{}\",\"parent_transaction_ids\":[{}],\"created_at\":\"2026-09-01T00:00:{:02}+00:00\",\"stream_bases\":{{}},\"content_hash\":\"{hash}\"}}\n{event}",
            id(n),
            id(2 * FILES + n % CHAINS),
            parents.join(","),
            n % 60
        );
        write!(stream, "M 100644 inline events/{}.jsonl\ndata {}\n{file}\n", id(n), file.len()).unwrap();
    }
    run_with(git_command(dir).args(["fast-import", "--quiet"]), stream.as_bytes()).ok();
}

/// Every parent that is not there must be known as missing: an epoch never shows a child and hides that it knows half.
fn assert_closed(epoch: &Epoch) {
    let transactions = &epoch.index.transactions;
    let missing: BTreeSet<(TransactionId, u32)> = transactions
        .missing()
        .iter()
        .flat_map(|(&parent, children)| children.iter().map(move |&child| (transactions.id(parent), child)))
        .collect();
    for tx in epoch.index.order.iter_from(0) {
        for parent in transactions.listed(tx).map(|parent| transactions.id(parent)) {
            let is_there = transactions.find_valid(parent).is_some();
            assert!(is_there != missing.contains(&(parent, tx)), "{parent} of {}", transactions.id(tx));
        }
    }
}

#[test]
fn a_checkout_of_twenty_thousand_files_shows_nothing_half_done() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    let copy = repository(&dir).mounted();
    import(&dir);
    let epochs: Arc<Mutex<Vec<Arc<Epoch>>>> = Arc::default();
    let seen = Arc::clone(&epochs);
    copy.braid.on_publish(Box::new(move |_, epoch| seen.lock().unwrap().push(Arc::clone(epoch))));
    let mount = copy.mount();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut lengths = Vec::new();
            while !done.load(Ordering::Relaxed) {
                let text = mount.read("log.jsonl");
                assert!(text.is_empty() || text.ends_with('\n'));
                for (position, line) in (1..).zip(text.lines()) {
                    assert!(line.starts_with(&format!("{{\"position\":{position},")), "{line}");
                }
                lengths.push(text.len());
            }
            lengths
        });
        git(&dir, ["switch", "-q", "many"]);
        within(PATIENCE, "the library has taken them in", || (copy.count() == FILES).then_some(()));
        within(PATIENCE, "the mount has", || (mount.read_json("status.json")["events"] == FILES).then_some(()));
        done.store(true, Ordering::Relaxed);
        let lengths = reader.join().unwrap();
        assert!(lengths.is_sorted(), "what was there stays: {lengths:?}");
    });
    let taken: Vec<Arc<Epoch>> = std::mem::take(&mut epochs.lock().unwrap());
    let counts: Vec<u32> = taken.iter().map(|epoch| epoch.index.transactions.valid_count()).collect();
    assert!(counts.is_sorted(), "{counts:?}");
    taken.iter().for_each(|epoch| assert_closed(epoch));
    assert!(taken.last().unwrap().index.transactions.missing().is_empty());
    assert_eq!(mount.read("log.jsonl"), copy.text("log.jsonl"));
    assert_eq!(mount.list("streams").len(), STREAMS);
    assert_eq!(mount.read_json("status.json")["heads"].as_array().unwrap().len(), CHAINS);

    git(&dir, ["switch", "-q", "main"]);
    within(PATIENCE, "they are gone from the library", || (copy.count() == 0).then_some(()));
    within(PATIENCE, "they are gone from the mount", || mount.read("log.jsonl").is_empty().then_some(()));
    assert_eq!(mount.list("streams"), [""; 0]);
    epochs.lock().unwrap().iter().for_each(|epoch| assert_closed(epoch));
    // What the branch had is still in the past.
    assert_eq!(mount.read("at/many/log.jsonl").lines().count(), FILES);
    assert!(fs::read_dir(dir.join("events")).map_or(true, |mut entries| entries.next().is_none()));
}
