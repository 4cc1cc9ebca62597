//! What a read and an append allocate, counted: bounded whatever the size of the store. No clock is asked, so that no busy machine decides.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/all.rs"]
mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::time::Duration;

use braidfs::braid::{Braid, OpenOptions};
use braidfs::format::draft::{DraftKind, parse_draft};
use braidfs::index::{Arrival, ArrivalEvent, Index};
use braidfs::model::{EventId, FindingKind, Header, ReplicaId, TransactionId};
use braidfs::view::{File, Node, Tree};
use serde_json::json;
use uuid::Uuid;

use support::store::TestStore;

/// What a thread has asked of the allocator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cost {
    allocations: usize,
    bytes: usize,
}

thread_local!(static COST: Cell<Cost> = const { Cell::new(Cost { allocations: 0, bytes: 0 }) });

/// The system's allocator, counting for each thread by itself.
struct Counting;

fn count(bytes: usize) {
    let Cost { allocations, bytes: before } = COST.get();
    COST.set(Cost { allocations: allocations + 1, bytes: before + bytes });
}

// SAFETY: every call is handed on as it is; counting allocates nothing.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What some work allocates on this thread, with what it gives.
fn cost<T>(work: impl FnOnce() -> T) -> (Cost, T) {
    let before = COST.get();
    let given = work();
    let after = COST.get();
    (Cost { allocations: after.allocations - before.allocations, bytes: after.bytes - before.bytes }, given)
}

#[test]
fn the_allocator_counts() {
    assert_eq!(cost(|| vec![0u8; 1_000]).0, Cost { allocations: 1, bytes: 1_000 });
    assert_eq!(cost(|| Vec::<u8>::with_capacity(10).reserve_exact(100)).0, Cost { allocations: 2, bytes: 110 });
    assert_eq!(cost(|| ()).0, Cost::default());
}

/// What the kernel asks for at once.
const PAGE: usize = 128 << 10;

/// An open store of so many events, a fifth of them in the stream `long`.
fn opened(events: usize) -> (TestStore, Braid) {
    let mut store = TestStore::new();
    for first in (0..events).step_by(200) {
        let mut transaction = store.transaction();
        for n in first..first + 200 {
            let stream = if n % 5 == 0 { "long".to_owned() } else { format!("short-{n}") };
            transaction = transaction.event(&stream, "Counted", json!({"n": n, "text": "x".repeat(600)}));
        }
        transaction.write();
    }
    let braid = Braid::open(&store.path(), &OpenOptions::default()).unwrap();
    braid.wait_ready().unwrap();
    (store, braid)
}

fn file(tree: &Tree, path: &str) -> File {
    tree.find(path).and_then(Node::into_file).unwrap()
}

/// What finding a view and reading a page of it costs: at its beginning, in its middle, at its end.
fn reads(tree: &Tree, path: &str) -> Vec<(Cost, Cost)> {
    let size = file(tree, path).size();
    assert!(size > 3 * PAGE as u64, "{path} has {size} bytes");
    let offsets = [0, size / 2, size - PAGE as u64];
    let read = |offset| {
        let (finding, file) = cost(|| file(tree, path));
        let (reading, bytes) = cost(|| file.read(offset, PAGE).unwrap());
        assert_eq!(bytes.len(), PAGE);
        (finding, reading)
    };
    offsets.map(read).to_vec()
}

#[test]
fn reading_a_page_of_a_view_allocates_as_little_whatever_the_size_of_the_store() {
    // One line of a page is cut at its beginning, one at its end.
    const LINES_BYTES: usize = 4 << 10;
    let (_small, small) = opened(4_000);
    let (_large, large) = opened(16_000);
    for path in ["log.jsonl", "streams/long.jsonl", "types/Counted.jsonl", "categories/short.jsonl", "feed.jsonl"] {
        for (finding, reading) in [small.tree(), large.tree()].iter().flat_map(|tree| reads(tree, path)) {
            assert!(finding.allocations <= 24 && finding.bytes <= 1 << 10, "{path}: {finding:?}");
            assert!(reading.allocations <= 6 && reading.bytes <= PAGE + LINES_BYTES, "{path}: {reading:?}");
        }
    }
}

/// Story: a line of 64 MiB was put together anew for each page of it that was read, so reading it took longer than a minute.
#[test]
fn reading_a_page_of_a_long_line_costs_no_more_than_the_page() {
    let mut store = TestStore::new();
    store.transaction().event("long", "Counted", json!("x".repeat(4 << 20))).event("long", "Counted", json!(1)).write();
    let braid = Braid::open(&store.path(), &OpenOptions::default()).unwrap();
    braid.wait_ready().unwrap();
    for path in ["log.jsonl", "streams/long.jsonl", "feed.jsonl"] {
        for (_, reading) in reads(&braid.tree(), path) {
            assert!(reading.bytes <= PAGE + (1 << 10), "{path}: {reading:?}");
        }
        let whole = file(&braid.tree(), path).read_all().unwrap();
        let found: Vec<u8> =
            (0..whole.len()).step_by(PAGE).flat_map(|at| file(&braid.tree(), path).read(at as u64, PAGE).unwrap()).collect();
        assert!(found == whole, "{path}");
        for (from, len) in [(0, 1), (1, 40), (30, 20), (whole.len() - 100, 60), (whole.len() - 10, 10)] {
            assert_eq!(file(&braid.tree(), path).read(from as u64, len).unwrap(), whole[from..from + len], "{path} from {from}");
        }
    }
}

/// What divides the sizes of two indexes whose pieces are filled alike: the lengths of a column's chunk, and of a piece of the pack in lines.
const PERIOD: u128 = 4_096;

/// Transaction `n` of a chain, with one event.
fn enter(index: &mut Index, n: u128) -> u32 {
    let transaction = |n: u128| TransactionId(Uuid::from_u128(n + 1));
    let header = Header {
        format_version: 2,
        transaction_id: transaction(n),
        replica_id: ReplicaId(Uuid::from_u128(7)),
        parents: n.checked_sub(1).map(transaction).into_iter().collect(),
        created_at: "2026-01-01T00:00:00+00:00".to_owned(),
        stream_bases: Vec::new(),
        content_hash: None,
        resolves: Vec::new(),
        key: None,
    };
    let event_id = EventId(Uuid::from_u128(n + 1_000_000_000));
    let stream = format!("account-{}", n % 100);
    let line = format!("{:127}\n", format!("\"event_id\":\"{event_id}\",\"stream_id\":\"{stream}\"}}"));
    let event = ArrivalEvent { event_id, stream_id: &stream, event_type: "Paid", line_len: line.len() };
    index.enter(&Arrival { header: &header, odd_name: None, inode: 1, stamp: 0, header_sum: 0, events: vec![event] }, line.as_bytes())
}

/// What an append costs, on the average of many, in an index of which every state is held by a reader.
fn append(transactions: u128) -> Cost {
    const APPENDS: u128 = 256;
    let mut index = Index::default();
    let numbers: Vec<u32> = (0..transactions).map(|n| enter(&mut index, n)).collect();
    index.link(&numbers, &[]);
    let all = (transactions..transactions + APPENDS).map(|n| {
        let published = index.clone();
        let (cost, ()) = cost(|| {
            let number = enter(&mut index, n);
            index.link(&[number], &[]);
        });
        drop(published);
        cost
    });
    let sum = all.fold(Cost::default(), |sum, one| Cost { allocations: sum.allocations + one.allocations, bytes: sum.bytes + one.bytes });
    Cost { allocations: sum.allocations / APPENDS as usize, bytes: sum.bytes / APPENDS as usize }
}

#[test]
fn an_append_copies_a_bounded_part_of_the_index_whatever_its_size() {
    const SIZES: [u128; 2] = [PERIOD, 16 * PERIOD];
    let [small, large] = SIZES.map(append);
    assert!(small.allocations <= 160 && small.bytes <= 192 << 10, "{small:?}");
    // One chunk of a column or of a sequence each, however many there are.
    assert!(large.allocations <= small.allocations + 8, "{small:?}, {large:?}");
    // What is copied besides is one entry a chunk: less than a byte a transaction.
    let added = (SIZES[1] - SIZES[0]) as usize;
    assert!(large.bytes < small.bytes + added, "{small:?}, {large:?}");
}

/// What is worth a report.
const REPORTED: [FindingKind; 6] = [
    FindingKind::Quarantined,
    FindingKind::Dangling,
    FindingKind::DeliveredTwice,
    FindingKind::StaleRead,
    FindingKind::Edited,
    FindingKind::Vanished,
];

/// An open store in which so many of each of these are reported.
fn reporting(count: usize) -> (TestStore, Braid) {
    let mut store = TestStore::new();
    (0..count).for_each(|n| store.write_raw(&format!("refused-{n}.jsonl"), "no transaction\n"));
    let root = store.transaction().event("read", "Opened", json!(0)).write();
    store.transaction().parents([root]).event("read", "Counted", json!(1)).write();
    let mut last = root;
    for n in 0..count {
        last = store.transaction().parents([last]).base("read", 1).event("reads", "Counted", json!(n)).write();
    }
    for n in 0..2 * count {
        last =
            store.transaction().parents([last]).header("key", json!(format!("key-{}", n / 2))).event("twice", "Counted", json!(n)).write();
    }
    for n in 0..count {
        last = store.transaction().parents([last, Uuid::from_u128(n as u128 + 1)]).event("dangles", "Counted", json!(n)).write();
    }
    let mut chain = |stream: &str| -> Vec<Uuid> {
        let next = |n| {
            last = store.transaction().parents([last]).event(stream, "Counted", json!(n)).write();
            last
        };
        (0..count).map(next).collect()
    };
    let (edited, vanished) = (chain("edited"), chain("vanishes"));
    // Who follows does not list the files for each commit.
    let braid = Braid::open(&store.path(), &OpenOptions { follow: true, ..OpenOptions::default() }).unwrap();
    braid.wait_ready().unwrap();
    let path = |id: &Uuid| store.events_dir().join(format!("{id}.jsonl"));
    for path in edited.iter().map(path) {
        let text = fs::read_to_string(&path).unwrap();
        // As most editors do it, so that it has another inode.
        let new = store.home().join("new");
        fs::write(&new, text.replacen("\"stream_bases\"", "\"note\":1,\"stream_bases\"", 1)).unwrap();
        fs::rename(new, path).unwrap();
    }
    vanished.iter().map(path).for_each(|path| fs::remove_file(path).unwrap());
    let findings = braid.refresh().unwrap().findings.clone();
    for kind in REPORTED {
        let told = findings.iter().filter(|finding| finding.kind == kind).count();
        assert!(told > 100 && count > 100, "{kind:?}: {told}");
    }
    (store, braid)
}

/// What a commit costs in such a store.
fn committing_beside(count: usize) -> Cost {
    let (_store, braid) = reporting(count);
    let commit = |n: u64| {
        let draft = format!("{{\"stream\":\"b\",\"type\":\"Counted\",\"data\":{n}}}\n");
        braid.append(parse_draft(draft.as_bytes(), DraftKind::Lines).unwrap()).unwrap()
    };
    // Not the first, which makes an identity, but the cheapest of some: now and then a column makes room for many. Of one that another thread
    // makes nothing is known.
    commit(0);
    let some = (1..200).filter_map(|n| {
        std::thread::sleep(Duration::from_millis(10));
        Some(cost(|| commit(n)).0).filter(|cost| cost.allocations > 100)
    });
    some.take(8).min_by_key(|cost| cost.allocations).expect("some are made on the caller's thread")
}

#[test]
fn a_commit_does_not_pay_for_what_there_is_to_report() {
    let [few, many] = [110, 330].map(committing_beside);
    // What is copied of an index with 1,320 more transactions is a few KiB; 220 more findings of each kind would be 600.
    assert!(many.allocations <= few.allocations + 16 && many.bytes <= few.bytes + (32 << 10), "{few:?}, {many:?}");
}

/// What finding every file in `quarantine/` and its reason costs a file, in a store with so many.
fn finding_refused(refused: usize) -> Cost {
    let mut store = TestStore::new();
    store.transaction().event("a", "Opened", json!(0)).write();
    // Each name is written otherwise there, so that whoever looks through them all allocates for each.
    (0..refused).for_each(|n| store.write_raw(&format!("50%-{n}.jsonl"), "no transaction\n"));
    let braid = Braid::open(&store.path(), &OpenOptions { read_only: true, ..OpenOptions::default() }).unwrap();
    braid.wait_ready().unwrap();
    let tree = braid.tree();
    let names = tree.list("quarantine").unwrap();
    assert_eq!(names.len(), 2 * refused);
    let paths: Vec<String> = names.iter().map(|entry| format!("quarantine/{}", entry.name)).collect();
    let (all, ()) = cost(|| assert!(paths.iter().all(|path| tree.find(path).is_some())));
    Cost { allocations: all.allocations / refused, bytes: all.bytes / refused }
}

#[test]
fn finding_a_refused_file_costs_as_little_whatever_their_number() {
    let (few, many) = (finding_refused(50), finding_refused(400));
    assert!(many.allocations <= few.allocations * 5 / 4 && many.bytes <= few.bytes * 5 / 4, "{few:?} {many:?}");
}

/// What `find forks/` costs in a store of one conflict of so many streams: every directory is listed, every name looked up.
fn finding_forks(streams: usize) -> Cost {
    let mut store = TestStore::new();
    let names: Vec<String> = (0..streams).map(|n| format!("group-{}/s-{n}", n % 7)).collect();
    let root = store.transaction().event("other", "Opened", json!(0)).write();
    for replica in [1, 2] {
        let all = |transaction, name: &String| support::store::TransactionBuilder::event(transaction, name, "Counted", json!(replica));
        names.iter().fold(store.transaction().replica(replica).parents([root]), all).write();
    }
    let braid = Braid::open(&store.path(), &OpenOptions { read_only: true, ..OpenOptions::default() }).unwrap();
    braid.wait_ready().unwrap();
    let tree = braid.tree();
    let conflict = tree.list("forks").unwrap().remove(0).name;
    let (all, found) = cost(|| {
        let (mut waiting, mut found) = (vec![format!("forks/{conflict}/streams")], 0);
        while let Some(directory) = waiting.pop() {
            for entry in tree.list(&directory).unwrap() {
                let path = format!("{directory}/{}", entry.name);
                let node = tree.find(&path).unwrap();
                assert_eq!(matches!(node, Node::Directory { .. }), entry.directory);
                found += 1;
                if entry.directory {
                    waiting.push(path);
                }
            }
        }
        found
    });
    assert_eq!(found, 7 + 4 * streams);
    Cost { allocations: all.allocations / streams, bytes: all.bytes / streams }
}

#[test]
fn finding_every_file_of_a_conflict_costs_as_little_a_file_whatever_the_number_of_its_streams() {
    let (few, many) = (finding_forks(50), finding_forks(400));
    assert!(many.allocations <= few.allocations * 5 / 4 && many.bytes <= few.bytes * 5 / 4, "{few:?} {many:?}");
}
