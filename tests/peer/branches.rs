//! Branches of git in one clone: whatever is checked out when we write, eventcore-fs opens the store and its status answers.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use braidfs::braid::{AppendError, Braid, OpenConflict, ReconcileOptions, Resolution};
use braidfs::format::draft::{DraftKind, parse_draft};
use braidfs::model::Errno;
use eventcore_fs::FileEventStore;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};
use serde_json::Value;

use super::reading::{lines, open};
use super::support::git::git;
use super::turns::append_by_peer;

const HISTORIES: u32 = 40;
const BRANCHES: usize = 3;
const STREAMS: [&str; 3] = ["account-0", "account-1", "order/2026/7"];

/// One step of a history in a clone.
#[derive(Clone, Debug)]
enum Step {
    /// Appends an event to each of these streams and commits it to git.
    Append(BTreeSet<usize>),
    /// eventcore-fs does, unseen by us. Only stories have it: on a branch without the last transaction it contradicts itself.
    Theirs(usize),
    /// Somebody reads the feed, and whatever is gone is recorded as that.
    Read,
    /// Checks a branch out, made of the present one if it is not there yet.
    Switch(usize),
    /// Merges a branch, if there is one.
    Merge(usize),
    /// Settles every fork, with events or without.
    Reconcile(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => prop::collection::btree_set(0..STREAMS.len(), 1..3).prop_map(Step::Append),
        3 => (0..BRANCHES).prop_map(Step::Switch),
        2 => (0..BRANCHES).prop_map(Step::Merge),
        1 => any::<bool>().prop_map(Step::Reconcile),
    ];
    prop::collection::vec(step, 4..14)
}

fn event(stream: &str) -> String {
    format!("{{\"stream_id\":\"{stream}\",\"event_type\":\"Noted\",\"event_data\":{{}}}}\n")
}

/// Appends as an author who has seen both sides, where a stream is forked.
fn append(braid: &Braid, streams: &BTreeSet<usize>) {
    let events: String = streams.iter().map(|&stream| event(STREAMS[stream])).collect();
    let draft = |text: &str| parse_draft(text.as_bytes(), DraftKind::Lines).unwrap();
    match braid.append(draft(&events)) {
        Err(AppendError::Rejected(rejection)) if rejection.errno() == Errno::ESTALE => {
            let versions = streams.iter().map(|&stream| (STREAMS[stream], braid.epoch().index.stream_version(STREAMS[stream])));
            let expect: Vec<String> =
                versions.filter(|(_, version)| *version > 0).map(|(s, version)| format!("\"{s}\":{version}")).collect();
            braid.append(draft(&format!("{{\"expect\":{{{}}}}}\n{events}", expect.join(",")))).unwrap();
        }
        result => drop(result.unwrap()),
    }
}

fn reconcile(braid: &Braid, with_events: bool) {
    let settle = |conflict: &OpenConflict| {
        let streams = conflict.streams.iter().filter(|_| with_events).map(|fork| event(&fork.stream_id));
        let parsed = streams.map(|line| parse_draft(line.as_bytes(), DraftKind::Lines).unwrap().events.remove(0));
        Resolution::Events(parsed.collect())
    };
    braid.reconcile(settle, &ReconcileOptions::default()).unwrap();
    assert!(braid.forks().is_empty());
}

/// What eventcore-fs says of what lies there now.
fn asked(dir: &Path, story: &[Step]) {
    let peer = FileEventStore::open(dir).unwrap_or_else(|error| panic!("{error} after {story:?}"));
    let status = peer.status().unwrap_or_else(|error| panic!("{error} after {story:?}"));
    assert!(status.dangling().is_empty() && status.integrity_failures().is_empty(), "after {story:?}");
}

/// Plays a history; gives how many replica ids wrote.
fn play(steps: &[Step]) -> usize {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("clone");
    Braid::init(&dir).unwrap();
    git(&dir, ["init", "-q"]);
    let save = || {
        git(&dir, ["add", "-A"]);
        git(&dir, ["commit", "-q", "--allow-empty", "-m", "work"]);
    };
    save();
    let mut branches: BTreeSet<usize> = BTreeSet::new();
    for (at, step) in steps.iter().enumerate() {
        match step {
            Step::Append(streams) => append(&open(&dir), streams),
            Step::Switch(branch) => {
                let name = format!("branch-{branch}");
                if branches.insert(*branch) {
                    git(&dir, ["switch", "-q", "-c", &name]);
                } else {
                    git(&dir, ["switch", "-q", &name]);
                }
            }
            Step::Merge(branch) if branches.contains(branch) => {
                git(&dir, ["merge", "-q", "--no-edit", &format!("branch-{branch}")]);
            }
            Step::Merge(_) => {}
            Step::Theirs(stream) => append_by_peer(&dir, &[*stream], "theirs"),
            Step::Read => drop(lines(&open(&dir).tree(), "feed.jsonl")),
            Step::Reconcile(with_events) => reconcile(&open(&dir), *with_events),
        }
        save();
        asked(&dir, &steps[..=at]);
    }
    // Git empties a directory away that a branch has nothing in.
    fs::create_dir_all(dir.join("events")).unwrap();
    let braid = open(&dir);
    let replicas: BTreeSet<String> =
        lines(&braid.tree(), "log.jsonl").iter().map(|line: &Value| line["replica_id"].as_str().unwrap().to_owned()).collect();
    replicas.len()
}

proptest! {
    #![proptest_config(Config { cases: HISTORIES, rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..Config::default() })]
    #[test]
    fn whatever_branch_we_write_on_eventcore_fs_answers(steps in steps()) {
        play(&steps);
    }
}

/// The random histories would prove nothing if the clone never wrote under another id.
#[test]
fn a_branch_without_our_last_transaction_is_written_under_a_new_id_and_eventcore_fs_answers() {
    let append = |stream: usize| Step::Append([stream].into());
    let on_both = [append(0), Step::Switch(0), append(0), Step::Switch(1), append(1), Step::Merge(0)];
    assert_eq!(play(&on_both), 1, "every branch had what was written before");
    let apart = [Step::Switch(0), append(0), Step::Switch(1), append(0), Step::Switch(0), append(0), Step::Merge(1), append(1)];
    assert_eq!(play(&apart), 2);
}

/// Story: what eventcore-fs had written under our id on another branch, unseen by us, was no reason for a new id, and from the merge on
/// its status answered nothing but a conflict of replica ids.
#[test]
fn a_branch_without_what_eventcore_fs_wrote_last_is_written_under_a_new_id() {
    let append = |stream: usize| Step::Append([stream].into());
    let on = |back: &[Step]| {
        let begun = [Step::Switch(0), append(0), Step::Switch(1), Step::Theirs(2), Step::Switch(0)];
        let rest = [append(0), append(1), Step::Merge(1), append(1)];
        play(&[&begun[..], back, &rest[..]].concat())
    };
    assert_eq!((on(&[]), on(&[Step::Read])), (2, 2));
}

/// Story: with that, every look at a colleague's branch cost a new id, one a round.
#[test]
fn a_look_at_a_colleagues_branch_is_no_reason_for_a_new_id() {
    let home = tempfile::tempdir().unwrap();
    let (dir, other) = (home.path().join("ours"), home.path().join("theirs"));
    Braid::init(&dir).unwrap();
    git(&dir, ["init", "-q", "-b", "main"]);
    let commit = |dir: &Path, stream: usize| {
        append(&open(dir), &[stream].into());
        git(dir, ["add", "-A"]);
        git(dir, ["commit", "-q", "-m", "work"]);
    };
    commit(&dir, 0);
    git(home.path(), ["clone", "-q", "ours", "theirs"]);
    git(&other, ["switch", "-q", "-c", "side"]);
    for _ in 0..3 {
        git(&other, ["pull", "-q", "--no-rebase", "--no-edit", "origin", "main"]);
        commit(&other, 1);
        git(&dir, ["fetch", "-q", "-f", "../theirs", "side:side"]);
        git(&dir, ["switch", "-q", "side"]);
        let seen = lines(&open(&dir).tree(), "feed.jsonl").len();
        git(&dir, ["switch", "-q", "main"]);
        commit(&dir, 0);
        assert!(lines(&open(&dir).tree(), "feed.jsonl").len() > seen, "the colleague's events have their numbers still");
    }
    let log = lines(&open(&dir).tree(), "log.jsonl");
    let replicas: BTreeSet<&str> = log.iter().map(|line| line["replica_id"].as_str().unwrap()).collect();
    assert_eq!(replicas.len(), 1);
}
