//! Two clones of one store, as git's union of their files leaves them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::braid::keeper::forked;
use crate::braid::{AppendError, Braid, Committed, OpenConflict, OpenOptions, ReconcileOptions, Reconciled, Resolution};
use crate::format::draft::{DraftKind, parse_draft};
use crate::index::forks::ClosedConflicts;
use crate::model::{ConflictState, Draft, DraftEvent, Errno, FindingKind};
use crate::view::{Node, Tree};

fn draft(text: &str) -> Draft {
    parse_draft(text.as_bytes(), DraftKind::Lines).unwrap()
}

fn event(stream: &str, n: u32) -> String {
    format!("{{\"stream_id\":\"{stream}\",\"event_type\":\"Counted\",\"event_data\":{{\"n\":{n}}}}}\n")
}

/// Clones of one store; each is opened when it is used, so any program could have been between.
struct Clones {
    _home: tempfile::TempDir,
    dirs: Vec<PathBuf>,
}

impl Clones {
    fn new(count: usize) -> Self {
        let home = tempfile::tempdir().unwrap();
        let dirs: Vec<PathBuf> = (0..count).map(|n| home.path().join(format!("clone-{n}"))).collect();
        dirs.iter().for_each(|dir| Braid::init(dir).unwrap());
        Self { _home: home, dirs }
    }

    fn open(&self, clone: usize) -> Braid {
        let braid = Braid::open(&self.dirs[clone], &OpenOptions::default()).unwrap();
        braid.wait_ready().unwrap();
        braid
    }

    fn append(&self, clone: usize, text: &str) -> Committed {
        self.open(clone).append(draft(text)).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// What `git pull` does to the files.
    fn pull(&self, to: usize, from: usize) {
        for entry in fs::read_dir(self.dirs[from].join("events")).unwrap() {
            let name = entry.unwrap().file_name();
            let path = self.dirs[to].join("events").join(&name);
            if !path.exists() {
                fs::copy(self.dirs[from].join("events").join(&name), path).unwrap();
            }
        }
    }

    fn meet(&self, a: usize, b: usize) {
        self.pull(a, b);
        self.pull(b, a);
    }

    /// Nothing is open, there is one head, and two clones show the same.
    fn are_one(&self) {
        let (one, two) = (self.open(0), self.open(1));
        for clone in [&one, &two] {
            assert!(clone.forks().is_empty());
            assert_eq!(clone.epoch().index.transactions.heads().len(), 1);
        }
        assert_eq!(read(&one.tree(), "log.jsonl"), read(&two.tree(), "log.jsonl"));
    }

    fn reconcile(&self, clone: usize, resolver: impl FnMut(&OpenConflict) -> Resolution) -> Reconciled {
        self.open(clone).reconcile(resolver, &ReconcileOptions::default()).unwrap()
    }

    /// Settles as eventcore-fs does: a merge of the heads that says nothing of what it resolves.
    fn write_merge(&self, clone: usize, has_event: bool) {
        let braid = self.open(clone);
        let parents: Vec<String> = braid.epoch().index.transactions.heads().iter().map(ToString::to_string).collect();
        let (id, replica, event) = (uuid::Uuid::now_v7(), uuid::Uuid::new_v4(), uuid::Uuid::now_v7());
        let bases = if has_event { r#"{"s":4}"# } else { "{}" };
        let header = format!(
            r#"{{"record":"header","format_version":1,"transaction_id":"{id}","replica_id":"{replica}","parent_transaction_ids":{parents:?},"created_at":"2026-11-28T10:00:00+00:00","stream_bases":{bases}}}"#
        );
        let line = format!(
            r#"{{"record":"event","event_id":"{event}","stream_id":"s","stream_version":5,"event_type":"Counted","event_data":{{"n":9}},"metadata":{{}}}}"#
        );
        let text = format!("{header}\n{}\n", if has_event { &line } else { "" });
        fs::write(self.dirs[clone].join(format!("events/{id}.jsonl")), text).unwrap();
    }

    /// One stream with one event here and two there, met in both clones.
    fn forked() -> Self {
        let clones = Self::new(2);
        clones.append(0, &event("s", 0));
        clones.pull(1, 0);
        clones.append(0, &event("s", 1));
        clones.append(1, &event("s", 2));
        clones.append(1, &event("s", 3));
        clones.meet(0, 1);
        clones
    }
}

fn read(tree: &Tree, path: &str) -> String {
    let file = tree.find(path).and_then(Node::into_file).unwrap_or_else(|| panic!("{path} is a file"));
    String::from_utf8(file.read_all().unwrap()).unwrap()
}

fn names(tree: &Tree, path: &str) -> Vec<String> {
    let mut names: Vec<String> =
        tree.list(path).unwrap_or_else(|| panic!("{path} is a directory")).into_iter().map(|entry| entry.name).collect();
    names.sort();
    names
}

/// Every file below a directory of the tree.
fn everything(tree: &Tree, top: &str) -> Vec<(String, String)> {
    let (mut files, mut waiting) = (Vec::new(), vec![top.to_owned()]);
    while let Some(directory) = waiting.pop() {
        for entry in tree.list(&directory).unwrap() {
            let path = format!("{directory}/{}", entry.name);
            if entry.directory {
                assert!(matches!(tree.find(&path), Some(Node::Directory { .. })), "{path}");
                waiting.push(path);
            } else {
                files.push((path.clone(), read(tree, &path)));
            }
        }
    }
    files.sort();
    files
}

fn settle(_: &OpenConflict) -> Resolution {
    Resolution::Events(Vec::new())
}

fn settle_with(n: u32) -> impl FnMut(&OpenConflict) -> Resolution {
    move |conflict| {
        let events = conflict.streams.iter().map(|fork| draft(&event(&fork.stream_id, n)).events.remove(0));
        Resolution::Events(events.collect::<Vec<DraftEvent>>())
    }
}

fn refusal(result: Result<Committed, AppendError>) -> crate::model::Rejection {
    match result {
        Err(AppendError::Rejected(rejection)) => rejection,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_fork_is_shown_with_both_sides_and_equal_on_every_clone() {
    let clones = Clones::forked();
    let (one, two) = (clones.open(0), clones.open(1));
    let shown = everything(&one.tree(), "forks");
    assert_eq!(shown, everything(&two.tree(), "forks"));
    let forks = one.forks();
    assert_eq!((forks.len(), forks[0].state, forks[0].heads.len()), (1, ConflictState::Open, 2));
    let (id, fork) = (&forks[0].conflict, &forks[0].streams[0]);
    assert_eq!((fork.stream_id.as_str(), fork.path.as_str(), fork.base_version), ("s", "streams/s", 1));
    assert_eq!(names(&one.tree(), "forks"), [id.as_str()]);
    assert_eq!(names(&one.tree(), &format!("forks/{id}")), ["README.md", "report.json", "resolution.json", "streams"]);
    assert_eq!(names(&one.tree(), &format!("forks/{id}/streams/s")).len(), 3);
    let n = |name: &str| -> Vec<serde_json::Value> {
        let text = read(&one.tree(), &format!("forks/{id}/streams/s/{name}.jsonl"));
        text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["event_data"]["n"].clone()).collect()
    };
    assert_eq!(n("base"), [0]);
    let mut sides: Vec<_> = fork.branches.iter().map(|branch| n(&branch.name)).collect();
    sides.sort_by_key(Vec::len);
    assert_eq!(sides, [vec![1], vec![2, 3]]);
    let report: serde_json::Value = serde_json::from_str(&read(&one.tree(), &format!("forks/{id}/report.json"))).unwrap();
    assert_eq!(report, serde_json::to_value(&forks[0]).unwrap());
    assert!(read(&one.tree(), &format!("forks/{id}/README.md")).contains(&format!("mv staging/.{id} staging/resolve-{id}.json")));
    assert!(read(&one.tree(), "status.json").contains("\"open\": 1"));
    assert!(read(&one.tree(), "metrics").contains("\nbraidfs_forked_streams 1\n"));
    let graph = read(&one.tree(), "graph.txt");
    assert_eq!(graph.matches(&format!("head, fork {id}")).count(), 2, "{graph}");
}

#[test]
fn an_append_to_a_forked_stream_must_say_that_it_knows_both_sides() {
    let clones = Clones::forked();
    let braid = clones.open(0);
    let id = &braid.forks()[0].conflict;
    let refused = refusal(braid.append(draft(&event("s", 9))));
    assert_eq!(refused.errno(), Errno::ESTALE);
    assert!(
        refused.reasons[0].message.contains(&format!("conflict \"{id}\"")) && refused.reasons[0].hint.contains(&format!("forks/{id}/")),
        "{refused}"
    );
    assert_eq!(refusal(braid.append(draft(&format!("{{\"expect\":{{\"s\":\"exists\"}}}}\n{}", event("s", 9))))).errno(), Errno::ESTALE);
    assert!(braid.check(&draft(&event("s", 9))).is_err());
    braid.append(draft(&event("t", 9))).unwrap();
    assert_eq!(braid.forks().len(), 1, "an append to another stream changes nothing");
    braid.append(draft(&format!("{{\"expect\":{{\"s\":4}}}}\n{}", event("s", 9)))).unwrap();
    assert!(braid.forks().is_empty());
    assert_eq!(names(&braid.tree(), "forks"), [""; 0]);
    let epoch = braid.epoch();
    let stream = epoch.index.find_stream("s").unwrap();
    let closed = ClosedConflicts::of(&epoch.index).forks(stream, |_| Some(4));
    assert_eq!(closed.iter().map(|fork| fork.closing).collect::<Vec<_>>(), [crate::dag::Closing::Joined]);
}

#[test]
fn a_draft_that_resolves_closes_the_conflict_on_every_clone() {
    let clones = Clones::forked();
    let braid = clones.open(0);
    let id = braid.forks()[0].conflict.clone();
    let resolution = read(&braid.tree(), &format!("forks/{id}/resolution.json"));
    let as_it_is = parse_draft(resolution.as_bytes(), DraftKind::Document).unwrap();
    let committed = braid.append(as_it_is.clone()).unwrap();
    assert!(braid.forks().is_empty() && committed.events.is_empty());
    assert_eq!(braid.epoch().index.transactions.heads(), [committed.transaction_id]);
    let file = read(&braid.tree(), &format!("transactions/{}.jsonl", committed.transaction_id));
    assert!(file.contains("\"resolves\":[\"s\"]"), "{file}");
    let again = refusal(braid.append(as_it_is));
    assert_eq!(again.errno(), Errno::ESTALE);
    assert!(again.reasons[0].message.contains("nothing is open"), "{again}");
    clones.meet(0, 1);
    let other = clones.open(1);
    assert!(other.forks().is_empty());
    for path in ["log.jsonl", "streams/s.jsonl"] {
        assert_eq!(read(&braid.tree(), path), read(&other.tree(), path));
    }
}

#[test]
fn a_resolvers_events_are_held_to_the_limits_of_a_draft_file() {
    let clones = Clones::forked();
    let braid = clones.open(0);
    let resolver = |_: &OpenConflict| {
        let event = draft(&event("s", 9)).events.remove(0);
        Resolution::Events(vec![DraftEvent { event_type: String::new(), ..event }])
    };
    let refused = braid.reconcile(resolver, &ReconcileOptions::default()).unwrap_err();
    assert_eq!(refused.to_string(), "line 1: event_type \"\" is empty");
    assert_eq!((refused.errno(), braid.forks().len()), (Errno::EINVAL, 1));
}

#[test]
fn a_conflict_that_has_changed_is_refused_with_what_is_open_instead() {
    let clones = Clones::forked();
    let braid = clones.open(0);
    let old = braid.forks()[0].conflict.clone();
    clones.append(1, &format!("{{\"expect\":{{\"t\":\"none\"}}}}\n{}", event("t", 1)));
    let third = Clones::new(1);
    third.append(0, &event("s", 7));
    fs::read_dir(third.dirs[0].join("events")).unwrap().for_each(|entry| {
        let entry = entry.unwrap();
        fs::copy(entry.path(), clones.dirs[0].join("events").join(entry.file_name())).unwrap();
    });
    let refused = refusal(braid.append(draft(&format!("{{\"resolve\":\"{old}\"}}\n"))));
    let now = braid.forks()[0].conflict.clone();
    assert_ne!(now, old);
    assert!(refused.reasons[0].message.contains(&now), "{refused}");
    assert_eq!(refused.conflicts, braid.forks(), "with the new report");
    assert_eq!(refusal(braid.append(draft(&event("s", 9)))).conflicts, braid.forks());
    let early = braid.check(&draft(&event("s", 9))).unwrap_err();
    assert_eq!(early.conflicts, braid.forks());
    let behind = braid.check(&draft(&format!("{{\"expect\":{{\"u\":7}}}}\n{}", event("u", 9)))).unwrap_err();
    assert!(behind.conflicts.is_empty(), "what has nothing to do with forks tells of none");
}

#[test]
fn a_refusal_reports_the_conflicts_of_the_drafts_streams_first_and_of_many_a_few() {
    let clones = Clones::new(2);
    for clone in [0, 1] {
        for n in 0..8 {
            clones.append(clone, &event(&format!("s{n}"), n));
        }
    }
    clones.meet(0, 1);
    clones.meet(1, 0);
    let braid = clones.open(0);
    let open = braid.forks();
    assert_eq!(open.len(), 8);
    let refused = refusal(braid.append(draft(&format!("{{\"resolve\":\"0123456789ab\"}}\n{}", event("s7", 9)))));
    let reported: Vec<&str> = refused.conflicts.iter().map(|report| report.streams[0].stream_id.as_str()).collect();
    assert_eq!((reported.len(), reported[0]), (forked::NAMED_MAX, "s7"));
    assert_eq!(reported[1..], ["s6", "s5", "s4", "s3"], "then what came last");
    assert_eq!(refused.more_conflicts, 3);
    assert_eq!(refusal(braid.append(draft(&event("s7", 9)))).more_conflicts, 0, "the others are not in its way");
}

#[test]
fn who_resolves_a_conflict_of_another_day_is_told_what_it_has_become() {
    let clones = Clones::new(3);
    for clone in [0, 1] {
        for n in 0..12 {
            clones.append(clone, &event(&format!("s{n}"), n));
        }
    }
    clones.meet(0, 1);
    let braid = clones.open(0);
    let old: Vec<(String, String)> =
        braid.forks().into_iter().map(|report| (report.streams[0].stream_id.clone(), report.conflict)).collect();
    assert_eq!(old.len(), 12);
    let closed = old.iter().find(|(stream, _)| stream == "s11").unwrap().1.clone();
    braid.append(draft(&format!("{{\"resolve\":\"{closed}\"}}\n"))).unwrap();
    for n in 0..7 {
        clones.append(2, &event(&format!("s{n}"), 100 + n));
    }
    clones.pull(0, 2);
    braid.refresh().unwrap();
    for (stream, id) in &old {
        let resolve = draft(&format!("{{\"resolve\":\"{id}\"}}\n"));
        let now: Vec<_> = braid.forks().into_iter().filter(|report| report.streams[0].stream_id == *stream).collect();
        match now.as_slice() {
            [same] if same.conflict == *id => assert!(braid.check(&resolve).is_ok(), "{stream}"),
            [changed] => {
                let refused = braid.check(&resolve).unwrap_err();
                assert_eq!((refused.conflicts.as_slice(), refused.more_conflicts), (&now[..], 0), "{stream}");
                let why = format!("it has changed; open now: \"{}\" (streams \"{stream}\")", changed.conflict);
                assert!(refused.reasons[0].message.ends_with(&why), "{refused}");
            }
            _ => {
                let refused = braid.check(&resolve).unwrap_err();
                assert!(refused.reasons[0].message.contains("\" is not open: it is closed; open now: "), "{refused}");
            }
        }
    }
}

#[test]
fn a_report_that_is_too_long_is_counted_instead() {
    let clones = Clones::new(2);
    let all: String = (0..10_001).map(|n| event(&format!("s{n}"), n)).collect();
    clones.append(0, &all);
    clones.append(1, &all);
    clones.meet(0, 1);
    let braid = clones.open(0);
    let refused = refusal(braid.append(draft(&event("s7", 9))));
    assert_eq!((refused.conflicts.len(), refused.more_conflicts), (0, 1));
}

#[test]
fn what_resolves_may_write_the_streams_that_it_resolves() {
    let clones = Clones::forked();
    let pass = clones.reconcile(0, settle_with(9));
    assert_eq!((pass.resolved.len(), pass.committed.unwrap().events[0].stream_version), (1, 5));
    assert!(clones.open(0).forks().is_empty());
}

#[test]
fn all_forks_of_a_pass_end_in_one_transaction_and_declined_ones_stay() {
    let clones = Clones::new(2);
    for clone in [0, 1] {
        for stream in ["a", "b", "c"] {
            clones.append(clone, &event(stream, clone as u32));
        }
    }
    clones.meet(0, 1);
    let before = fs::read_dir(clones.dirs[0].join("events")).unwrap().count();
    let decline_b = |conflict: &OpenConflict| match conflict.streams[0].stream_id.as_str() {
        "b" => Resolution::Unresolvable("nobody knows".to_owned()),
        _ => Resolution::Events(Vec::new()),
    };
    let pass = clones.reconcile(0, decline_b);
    assert_eq!((pass.resolved.len(), pass.declined.len()), (2, 1));
    assert_eq!(pass.declined[0].1, "nobody knows");
    assert_eq!(fs::read_dir(clones.dirs[0].join("events")).unwrap().count(), before + 1);
    let left = clones.open(0).forks();
    assert_eq!(left.iter().map(|conflict| conflict.streams[0].stream_id.as_str()).collect::<Vec<_>>(), ["b"]);
    assert_eq!(left[0].declined.as_ref().map(|declined| declined.reason.as_str()), Some("nobody knows"));
    let readme = read(&clones.open(0).tree(), &format!("forks/{}/README.md", left[0].conflict));
    assert!(readme.contains("declined to settle it: \"nobody knows\""), "{readme}");
    assert_eq!(clones.open(1).forks().iter().find(|other| other.conflict == left[0].conflict).unwrap().declined, None);
}

#[test]
fn resolved_on_two_clones_at_once_without_events_it_is_over_when_they_have_met() {
    let clones = Clones::forked();
    clones.reconcile(0, settle);
    clones.reconcile(1, settle);
    clones.meet(0, 1);
    let (one, two) = (clones.open(0), clones.open(1));
    assert!(one.forks().is_empty() && two.forks().is_empty());
    assert_eq!(read(&one.tree(), "log.jsonl"), read(&two.tree(), "log.jsonl"));
    // Both are heads until somebody writes on, or joins them.
    assert_eq!(two.epoch().index.transactions.heads().len(), 2);
    drop((one, two));
    clones.append(1, &event("s", 9));
    clones.meet(0, 1);
    clones.are_one();
}

#[test]
fn resolutions_that_met_are_joined_by_a_transaction_that_names_their_streams() {
    let clones = Clones::new(2);
    for clone in [0, 1] {
        for stream in ["a", "b"] {
            clones.append(clone, &event(stream, clone as u32));
        }
    }
    clones.meet(0, 1);
    let only = |stream: &'static str| {
        move |conflict: &OpenConflict| match conflict.streams[0].stream_id == stream {
            true => Resolution::Events(Vec::new()),
            false => Resolution::Unresolvable("the other side does".to_owned()),
        }
    };
    clones.reconcile(0, only("a"));
    clones.reconcile(1, only("b"));
    assert_eq!(clones.open(0).join_resolutions().unwrap(), None, "something is open and there is one head");
    clones.meet(0, 1);
    let braid = clones.open(0);
    let met = braid.epoch().index.transactions.heads();
    let joined = braid.join_resolutions().unwrap().expect("two heads are joined").transaction_id;
    let bytes = fs::read_to_string(clones.dirs[0].join(format!("events/{joined}.jsonl"))).unwrap();
    let header: serde_json::Value = serde_json::from_str(bytes.lines().next().unwrap()).unwrap();
    assert_eq!(header["resolves"], serde_json::json!(["a", "b"]));
    assert_eq!(header["parent_transaction_ids"], serde_json::json!(met.iter().map(ToString::to_string).collect::<Vec<_>>()));
    assert_eq!(braid.join_resolutions().unwrap(), None, "one head is enough");
    drop(braid);
    clones.meet(0, 1);
    clones.are_one();
}

/// Story: what eventcore-fs's own `reconcile` writes was taken for no resolution, and two heads stayed in every clone.
#[test]
fn resolutions_of_eventcore_fs_are_joined_too() {
    type Settle = fn(&Clones, usize);
    let theirs: [Settle; 2] = [|clones, clone| clones.write_merge(clone, false), |clones, clone| clones.write_merge(clone, true)];
    let ours: [Settle; 2] =
        [|clones, clone| drop(clones.reconcile(clone, settle)), |clones, clone| drop(clones.reconcile(clone, settle_with(10)))];
    for their in theirs {
        for other in theirs.into_iter().chain(ours) {
            let clones = Clones::forked();
            their(&clones, 0);
            other(&clones, 1);
            clones.meet(0, 1);
            let braid = clones.open(0);
            if !braid.forks().is_empty() {
                // Both have an event.
                assert_eq!(braid.join_resolutions().unwrap(), None, "a fork is open");
                continue;
            }
            assert_eq!(braid.epoch().index.transactions.heads().len(), 2);
            braid.join_resolutions().unwrap().expect("two heads are joined");
            drop(braid);
            clones.meet(0, 1);
            clones.are_one();
        }
    }
}

#[test]
fn heads_that_settle_nothing_and_open_forks_are_left_to_who_writes_next() {
    let clones = Clones::forked();
    clones.append(1, &event("t", 1));
    assert_eq!(clones.open(0).join_resolutions().unwrap(), None, "a fork is open");
    clones.reconcile(0, settle);
    clones.meet(0, 1);
    let braid = clones.open(0);
    assert_eq!((braid.forks().len(), braid.epoch().index.transactions.heads().len()), (0, 2));
    assert_eq!(braid.join_resolutions().unwrap(), None, "one head settles nothing");
}

#[test]
fn one_clone_settles_with_events_and_another_without_and_they_are_joined() {
    let clones = Clones::forked();
    clones.reconcile(0, settle);
    clones.reconcile(1, settle_with(10));
    clones.meet(0, 1);
    assert_eq!(clones.open(1).epoch().index.transactions.heads().len(), 2);
    clones.open(1).join_resolutions().unwrap().expect("two heads are joined");
    clones.meet(0, 1);
    clones.are_one();
}

#[test]
fn resolved_on_two_clones_at_once_with_events_it_is_a_fork_that_ends() {
    let clones = Clones::forked();
    clones.reconcile(0, settle_with(10));
    clones.reconcile(1, settle_with(11));
    clones.meet(0, 1);
    let forks = clones.open(0).forks();
    assert_eq!((forks.len(), forks[0].streams[0].base_version), (1, 4), "the two resolutions are a fork themselves");
    clones.reconcile(0, settle_with(12));
    clones.pull(1, 0);
    clones.reconcile(1, settle_with(13));
    clones.meet(0, 1);
    clones.are_one();
}

#[test]
fn a_key_is_of_one_resolution_and_of_no_other_conflicts() {
    let clones = Clones::new(2);
    for clone in [0, 1] {
        for stream in ["a", "b"] {
            clones.append(clone, &event(stream, clone as u32));
        }
    }
    clones.meet(0, 1);
    let braid = clones.open(0);
    let ids: Vec<String> = braid.forks().into_iter().map(|conflict| conflict.conflict).collect();
    let resolve = |n: usize| draft(&format!("{{\"resolve\":\"{}\",\"key\":\"k\"}}\n", ids[n]));
    let first = braid.append(resolve(0)).unwrap();
    let again = braid.append(resolve(0)).unwrap();
    assert_eq!((again.transaction_id, again.repeated), (first.transaction_id, true));
    let other = refusal(braid.append(resolve(1)));
    assert_eq!(other.errno(), Errno::EEXIST, "{other}");
    assert_eq!(braid.check(&resolve(1)).unwrap_err().errno(), Errno::EEXIST);
    assert_eq!(braid.check(&resolve(0)), Ok(()));
    assert_eq!(braid.forks().len(), 1);
    // Nor is a plain draft of the same events the same.
    let settled = format!("{{\"resolve\":\"{}\",\"key\":\"e\"}}\n{}", ids[1], event("b", 7));
    braid.append(draft(&settled)).unwrap();
    assert!(braid.append(draft(&settled)).unwrap().repeated);
    let plain = refusal(braid.append(draft(&format!("{{\"key\":\"e\"}}\n{}", event("b", 7)))));
    assert_eq!(plain.errno(), Errno::EEXIST, "{plain}");
}

#[test]
fn a_fork_with_a_missing_parent_is_provisional_and_needs_force() {
    let clones = Clones::new(2);
    let first = clones.append(0, &event("s", 0));
    clones.pull(1, 0);
    clones.append(0, &event("s", 1));
    clones.append(1, &event("s", 2));
    clones.meet(0, 1);
    fs::remove_file(clones.dirs[0].join(format!("events/{}.jsonl", first.transaction_id))).unwrap();
    let braid = clones.open(0);
    let forks = braid.forks();
    assert_eq!((forks.len(), forks[0].state), (1, ConflictState::Provisional));
    assert!(read(&braid.tree(), "status.json").contains("\"provisional\": 1"));
    assert_eq!(read(&braid.tree(), "graph.txt").matches("dangling").count(), 2);
    let resolve = format!("{{\"resolve\":\"{}\"}}\n", forks[0].conflict);
    assert_eq!(refusal(braid.append(draft(&resolve))).errno(), Errno::ESTALE);
    let pass = braid.reconcile(settle, &ReconcileOptions::default()).unwrap();
    assert_eq!((pass.committed, pass.declined.len()), (None, 1));
    let forced = braid.reconcile(settle, &ReconcileOptions { force: true, ..ReconcileOptions::default() }).unwrap();
    assert_eq!(forced.resolved.len(), 1);
    assert!(braid.forks().is_empty());
}

#[test]
fn an_append_to_a_provisional_fork_is_taken() {
    let clones = Clones::new(2);
    let first = clones.append(0, &event("s", 0));
    clones.pull(1, 0);
    clones.append(0, &event("s", 1));
    clones.append(1, &event("s", 2));
    clones.meet(0, 1);
    fs::remove_file(clones.dirs[0].join(format!("events/{}.jsonl", first.transaction_id))).unwrap();
    clones.append(0, &event("s", 3));
}

#[test]
fn a_read_of_what_another_wrote_at_the_same_time_is_a_finding_and_no_fork() {
    let clones = Clones::new(2);
    clones.append(0, &event("price", 1));
    clones.pull(1, 0);
    clones.append(0, &event("price", 2));
    let reader = clones.append(1, &format!("{{\"expect\":{{\"price\":1}}}}\n{}", event("order", 1)));
    clones.meet(0, 1);
    let braid = clones.open(0);
    assert!(braid.forks().is_empty());
    let findings = braid.epoch().findings.clone();
    let stale: Vec<_> = findings.iter().filter(|finding| finding.kind == FindingKind::StaleRead).collect();
    assert_eq!(stale.iter().map(|finding| finding.transaction_id).collect::<Vec<_>>(), [Some(reader.transaction_id)]);
}

#[test]
fn streams_in_directories_lie_in_directories() {
    let clones = Clones::new(2);
    for clone in [0, 1] {
        clones.append(clone, &format!("{}{}{}", event("a", 1), event("a/b/$(x) 'y'", 1), event("a/b", 1)));
    }
    clones.meet(0, 1);
    let tree = clones.open(0).tree();
    let id = clones.open(0).forks()[0].conflict.clone();
    let all: Vec<String> = everything(&tree, "forks").into_iter().map(|(path, _)| path).collect();
    assert_eq!(all.iter().filter(|path| path.ends_with("/base.jsonl")).count(), 3, "{all:?}");
    assert!(tree.find(&format!("forks/{id}/streams/a/b/$(x) 'y'/base.jsonl")).is_some());
    assert!(tree.find(&format!("forks/{id}/streams/a/c")).is_none() && tree.list(&format!("forks/{id}/stream")).is_none());
    assert!(read(&tree, &format!("forks/{id}/README.md")).contains("'streams/a/b/$(x) '\\''y'\\''/"));
}

/// A clone may be asked from outside; the path is what a test needs of it.
#[test]
fn a_reader_sees_forks_too() {
    let clones = Clones::forked();
    let open = |dir: &Path| Braid::open(dir, &OpenOptions { read_only: true, ..OpenOptions::default() }).unwrap();
    let reader = open(&clones.dirs[0]);
    reader.wait_ready().unwrap();
    assert_eq!(reader.forks().len(), 1);
    let error = reader.reconcile(settle, &ReconcileOptions::default()).unwrap_err();
    assert_eq!(error.errno(), Errno::EROFS);
}

#[test]
fn a_conflict_that_is_named_twice_is_decided_once() {
    let clones = Clones::forked();
    let braid = clones.open(0);
    let id = braid.forks()[0].conflict.clone();
    let options = ReconcileOptions { only: Some(vec![id.clone(), id.clone()]), ..ReconcileOptions::default() };
    let pass = braid.reconcile(settle_with(7), &options).unwrap();
    assert_eq!((pass.resolved, pass.committed.unwrap().events.len()), (vec![id], 1));
}

/// Story: whoever had looked at the forks of 300 streams made each append thirty times as slow, since a publication looked through all of them.
#[test]
fn the_number_of_the_forks_rises_with_what_they_show_and_with_nothing_else() {
    let clones = Clones::forked();
    let braid = clones.open(0);
    let shown = || {
        let (tree, mut files) = (braid.tree(), everything(&braid.tree(), "forks"));
        files.retain(|(path, _)| !path.ends_with("/report.json"));
        let time = |path: &str| match tree.find(path).unwrap() {
            Node::File(file) => file.mtime_ns(),
            Node::Directory { mtime_ns } => mtime_ns,
        };
        // Of each file, and of the directory that it is in.
        let timed = files.into_iter().map(|(path, text)| (time(&path), time(path.rsplit_once('/').unwrap().0), path, text));
        (braid.epoch().forks_number, timed.collect::<Vec<_>>())
    };
    let first = shown();
    braid.append(draft(&event("elsewhere", 1))).unwrap();
    assert_eq!(shown(), first);

    // What all sides have in common is none of the conflict's branches. No hash covers the first line.
    let base = braid.epoch().index.transactions.file_name(0);
    let path = clones.dirs[0].join("events").join(base);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(clones.dirs[0].join("new"), text.replacen("\"created_at\":\"2", "\"created_at\":\"1", 1)).unwrap();
    fs::rename(clones.dirs[0].join("new"), &path).unwrap();
    braid.refresh().unwrap();
    let edited = shown();
    assert!(edited.0 > first.0 && edited.1 != first.1, "{edited:?}");

    braid.reconcile(|_: &OpenConflict| Resolution::Unresolvable("later".to_owned()), &ReconcileOptions::default()).unwrap();
    let declined = shown();
    assert!(declined.0 > edited.0 && declined.1 != edited.1, "{declined:?}");
    braid.reconcile(settle, &ReconcileOptions::default()).unwrap();
    assert!(shown().0 > declined.0 && shown().1.is_empty());
}
