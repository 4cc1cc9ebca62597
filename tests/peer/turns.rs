//! Two programs on one store in turn: eventcore-fs and ours write, files travel between clones, both read the same.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use braidfs::format::draft::{DraftKind, parse_draft};
use eventcore_fs::FileEventStore;
use eventcore_types::{
    BatchSize, Event, EventFilter, EventPage, EventReader as _, EventStore as _, StreamId, StreamVersion, StreamWrites, collect_events,
};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::reading::{lines, open};

/// More than any history here has.
const PAGE: usize = 10_000;
const STREAMS: [&str; 3] = ["account-0", "account-1", "order/2026/7"];
const CLONES: usize = 3;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Noted {
    stream_id: StreamId,
    text: String,
}

impl Event for Noted {
    fn stream_id(&self) -> &StreamId {
        &self.stream_id
    }

    fn event_type_name() -> &'static str {
        "Noted"
    }
}

/// One step of a history.
#[derive(Clone, Debug)]
enum Step {
    /// eventcore-fs appends to these streams in one transaction, as an author who has read them.
    Peer { clone: usize, streams: Vec<usize> },
    /// We do.
    Ours { clone: usize, streams: Vec<usize> },
    /// The files of one clone are brought to another, as `git merge` brings them.
    Union { from: usize, to: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let streams = || prop::collection::vec(0..STREAMS.len(), 1..4);
    let step = prop_oneof![
        3 => (0..CLONES, streams()).prop_map(|(clone, streams)| Step::Peer { clone, streams }),
        3 => (0..CLONES, streams()).prop_map(|(clone, streams)| Step::Ours { clone, streams }),
        2 => (0..CLONES, 0..CLONES).prop_map(|(from, to)| Step::Union { from, to }),
    ];
    prop::collection::vec(step, 1..16)
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn stream_id(stream: &str) -> StreamId {
    StreamId::try_new(stream).unwrap()
}

fn texts_by_peer(peer: &FileEventStore, stream: &str) -> Vec<String> {
    let events = run(async { collect_events(peer.read_stream::<Noted>(stream_id(stream)).await.unwrap()).await.unwrap() });
    events.into_iter().map(|event| event.text).collect()
}

pub(super) fn append_by_peer(dir: &Path, streams: &[usize], text: &str) {
    let peer = FileEventStore::open(dir).unwrap();
    let mut writes = StreamWrites::new();
    for &stream in streams {
        let version = texts_by_peer(&peer, STREAMS[stream]).len();
        writes = writes.register_stream(stream_id(STREAMS[stream]), StreamVersion::new(version)).unwrap();
    }
    for (nth, &stream) in streams.iter().enumerate() {
        writes = writes.append(Noted { stream_id: stream_id(STREAMS[stream]), text: format!("{text}.{nth}") }).unwrap();
    }
    run(peer.append_events(writes)).unwrap();
}

fn append_by_us(dir: &Path, streams: &[usize], text: &str) {
    let braid = open(dir);
    let versions: BTreeMap<&str, u64> =
        streams.iter().map(|&stream| (STREAMS[stream], braid.epoch().index.stream_version(STREAMS[stream]))).collect();
    let events = streams.iter().enumerate().map(|(nth, &stream)| {
        let data = json!({"stream_id": STREAMS[stream], "text": format!("{text}.{nth}")});
        json!({"stream_id": STREAMS[stream], "event_type": "Noted", "event_data": data}).to_string()
    });
    let draft: Vec<String> = std::iter::once(json!({ "expect": versions }).to_string()).chain(events).collect();
    braid.append(parse_draft(draft.join("\n").as_bytes(), DraftKind::Lines).unwrap()).unwrap();
}

fn union(from: &Path, to: &Path) {
    for entry in fs::read_dir(from.join("events")).unwrap() {
        let name = entry.unwrap().file_name();
        if !to.join("events").join(&name).exists() {
            fs::copy(from.join("events").join(&name), to.join("events").join(&name)).unwrap();
        }
    }
}

/// Texts of a view of ours, in its order.
fn texts_of(tree: &braidfs::view::Tree, path: &str) -> Vec<String> {
    lines(tree, path).iter().map(|line| line["event_data"]["text"].as_str().unwrap().to_owned()).collect()
}

/// What eventcore-fs and we read of one store.
fn compare(dir: &Path) {
    // Ours first and last: whoever meets an event first numbers it, the other one follows.
    let before = open(dir).epoch().feed_shown;
    let peer = FileEventStore::open(dir).unwrap();
    let status = peer.status().unwrap();
    assert!(status.integrity_failures().is_empty() && status.dangling().is_empty());
    let page = EventPage::first(BatchSize::new(PAGE));
    let feed: Vec<String> =
        run(peer.read_events::<Noted>(EventFilter::all(), page)).unwrap().into_iter().map(|(event, _)| event.text).collect();
    let streams: Vec<Vec<String>> = STREAMS.iter().map(|stream| texts_by_peer(&peer, stream)).collect();
    let merges = peer.topology_generation().unwrap();
    drop(peer);

    let braid = open(dir);
    let epoch = braid.epoch();
    let tree = braid.tree();
    for (stream, expected) in STREAMS.iter().zip(&streams) {
        assert_eq!(&texts_of(&tree, &format!("streams/{stream}.jsonl")), expected, "{stream}");
    }
    assert_eq!(texts_of(&tree, "feed.jsonl"), feed);
    assert!(before <= feed.len() as u64);
    assert_eq!(epoch.index.transactions.merge_count() as usize, merges);
    assert_eq!(*epoch.quarantined, Vec::new());
    let refused: Vec<_> = epoch.findings.iter().filter(|finding| finding.severity > braidfs::model::Severity::Info).collect();
    assert!(refused.is_empty(), "{refused:?}");
}

fn play(steps: &[Step]) {
    let home = tempfile::tempdir().unwrap();
    let clones: Vec<PathBuf> = (0..CLONES).map(|n| home.path().join(format!("clone-{n}"))).collect();
    for clone in &clones {
        braidfs::braid::Braid::init(clone).unwrap();
    }
    for (nth, step) in steps.iter().enumerate() {
        match step {
            Step::Peer { clone, streams } => append_by_peer(&clones[*clone], streams, &format!("peer-{nth}")),
            Step::Ours { clone, streams } => append_by_us(&clones[*clone], streams, &format!("ours-{nth}")),
            Step::Union { from, to } => union(&clones[*from], &clones[*to]),
        }
    }
    for clone in &clones {
        compare(clone);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, rng_seed: RngSeed::Fixed(4), failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn both_programs_read_the_same_from_what_both_wrote(steps in steps()) {
        play(&steps);
    }
}

#[test]
fn turns_on_one_store_with_a_fork_between() {
    let clone = |clone, streams: &[usize]| (clone, streams.to_vec());
    let peer = |(clone, streams)| Step::Peer { clone, streams };
    let ours = |(clone, streams)| Step::Ours { clone, streams };
    play(&[
        peer(clone(0, &[0])),
        ours(clone(0, &[0, 1])),
        Step::Union { from: 0, to: 1 },
        peer(clone(0, &[0])),
        ours(clone(1, &[0, 0])),
        Step::Union { from: 1, to: 0 },
        ours(clone(0, &[0])),
        peer(clone(0, &[1])),
        Step::Union { from: 0, to: 1 },
        peer(clone(1, &[0])),
    ]);
}

/// Story: a log that was copied without its last line end gave its last number to another event than eventcore-fs does.
#[test]
fn a_log_whose_last_line_lacks_its_end_gives_the_same_numbers_to_both() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    braidfs::braid::Braid::init(&dir).unwrap();
    (0..3).for_each(|n| append_by_us(&dir, &[0], &format!("e{n}")));
    let log = dir.join("index/ingestion.log");
    let ids: Vec<String> = fs::read_to_string(&log).unwrap().lines().map(|line| line[13..49].to_owned()).collect();
    // Another order than the canonical one, by which a lost number is given.
    let turned: Vec<String> = [2, 0, 1].iter().zip(1..).map(|(&n, seq)| json!({"event_id": ids[n], "seq": seq}).to_string()).collect();
    let without = |lines: usize| {
        fs::remove_dir_all(dir.join("index")).unwrap();
        fs::create_dir(dir.join("index")).unwrap();
        fs::write(&log, turned[..lines].join("\n")).unwrap();
    };
    for lines in [1, 3] {
        without(lines);
        let peer = FileEventStore::open(&dir).unwrap();
        let page = EventPage::first(BatchSize::new(PAGE));
        let read = run(peer.read_events::<Noted>(EventFilter::all(), page)).unwrap();
        let feed: Vec<String> = read.into_iter().map(|(event, _)| event.text).collect();
        drop(peer);
        without(lines);
        assert_eq!(texts_of(&open(&dir).tree(), "feed.jsonl"), feed, "{lines}");
        let now = fs::read_to_string(&log).unwrap();
        assert!(now.starts_with(&turned[..lines].join("\n")) && now.ends_with('\n') && now.lines().count() == 3, "{now}");
        compare(&dir);
    }
}
