//! Saved states of a library user, and how the tree shows them.

use std::fs;

use crate::braid::tests::{self, open, store};
use crate::braid::{AppendError, Braid, OpenOptions};
use crate::disk::Disk;
use crate::model::{Errno, FindingKind, Payload, SnapshotRequest};
use crate::store::Coverage;
use crate::view::{Node, counted};

fn append(braid: &Braid, stream: &str) -> String {
    let text = format!("{{\"stream_id\":\"{stream}\",\"event_type\":\"T\",\"event_data\":1}}");
    tests::append(braid, &text).transaction_id.to_string()
}

/// Saves whatever bytes, as a state is that was saved before they were looked at.
fn save(braid: &Braid, seq_nr: u64, state: &str) -> Result<u64, Errno> {
    let request =
        SnapshotRequest { name: "sum".to_owned(), seq_nr: Some(seq_nr), versions: Vec::new(), state: Payload::checked(state.to_owned()) };
    braid.save_snapshot(request).map(|meta| meta.ordinal).map_err(|error| error.errno())
}

fn text(braid: &Braid, path: &str) -> Option<String> {
    let file = braid.tree().find(path)?.into_file()?;
    Some(String::from_utf8(file.read_all().unwrap()).unwrap())
}

fn names(braid: &Braid, path: &str) -> Vec<String> {
    braid.tree().list(path).unwrap().into_iter().map(|entry| entry.name).collect()
}

#[test]
fn a_state_is_saved_by_a_draft_and_served_with_what_comes_after() {
    let (_temp, dir) = store();
    let braid = open(&dir, false);
    for n in 0..3 {
        append(&braid, &format!("a-{n}"));
    }
    let committed = tests::append(&braid, r#"{"snapshot":{"name":"sum","seq_nr":2},"state":{"total": 2.50}}"#);
    assert_eq!(committed.snapshot.unwrap().coverage, Coverage::SeqNr(2));
    assert_eq!(names(&braid, "snapshots"), ["sum"]);
    assert_eq!(names(&braid, "snapshots/sum"), ["2.json", "latest.json", "after.jsonl", "recovery.jsonl"]);
    let latest = text(&braid, "snapshots/sum/latest.json").unwrap();
    assert!(latest.starts_with(r#"{"snapshot":{"name":"sum","seq_nr":2},"#), "{latest}");
    assert!(latest.ends_with("\"stale\":false,\"state\":{\"total\": 2.50}}\n"), "{latest}");
    assert_eq!(text(&braid, "snapshots/sum/after.jsonl"), text(&braid, "feed/after/2.jsonl"));
    drop(braid);
    let braid = open(&dir, false);
    assert_eq!(text(&braid, "snapshots/sum/2.json"), Some(latest));
    assert_eq!(braid.snapshot("sum").unwrap().unwrap().state, br#"{"total": 2.50}"#);
    assert!(braid.forget_snapshots("sum").unwrap() && !braid.forget_snapshots("sum").unwrap());
    assert!(names(&braid, "snapshots").is_empty() && text(&braid, "snapshots/sum/latest.json").is_none());
}

#[test]
fn an_older_state_never_replaces_a_newer_and_the_last_five_are_kept() {
    let (_temp, dir) = store();
    let braid = open(&dir, false);
    for n in 0..7 {
        append(&braid, &format!("a-{n}"));
    }
    for seq_nr in 1..7 {
        save(&braid, seq_nr, "0").unwrap();
    }
    assert_eq!(save(&braid, 5, "0"), Err(Errno::ESTALE));
    assert_eq!(save(&braid, 8, "0"), Err(Errno::EINVAL));
    assert_eq!(
        names(&braid, "snapshots/sum"),
        ["2.json", "3.json", "4.json", "5.json", "6.json", "latest.json", "after.jsonl", "recovery.jsonl"]
    );
    let error =
        braid.save_snapshot(SnapshotRequest { name: String::new(), seq_nr: Some(1), versions: Vec::new(), state: "0".parse().unwrap() });
    assert!(matches!(error, Err(AppendError::Rejected(_))), "{error:?}");
}

#[test]
fn a_state_whose_event_has_gone_is_stale_and_the_older_one_is_served() {
    let (_temp, dir) = store();
    let braid = open(&dir, false);
    append(&braid, "a");
    let second = append(&braid, "b");
    save(&braid, 1, "1").unwrap();
    save(&braid, 2, "2").unwrap();
    let (file, away) = (dir.join(format!("events/{second}.jsonl")), dir.join("away"));
    fs::rename(&file, &away).unwrap();
    let epoch = braid.refresh().unwrap();
    let stale = epoch.findings.iter().find(|finding| finding.kind == FindingKind::StaleSnapshot).unwrap();
    assert!(stale.hint.starts_with("braidfs snapshot after sum   # "), "{stale:?}");
    assert!(text(&braid, "snapshots/sum/latest.json").unwrap().ends_with("\"state\":1}\n"));
    assert!(text(&braid, "snapshots/sum/2.json").unwrap().contains("\"stale\":true"));
    assert_eq!(text(&braid, "snapshots/sum/after.jsonl"), text(&braid, "feed/after/1.jsonl"));
    // Back it has a fresh number, and the state that had it already would count it twice.
    fs::rename(&away, &file).unwrap();
    braid.refresh().unwrap();
    assert!(text(&braid, "snapshots/sum/latest.json").unwrap().ends_with("\"state\":1}\n"));
    // A stale one holds nobody up.
    save(&braid, 1, "again").unwrap();
}

fn eventually(is_so: impl Fn() -> bool) {
    for _ in 0..1_000 {
        if is_so() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("not within 10 s");
}

#[test]
fn recovery_is_the_state_in_one_line_and_what_comes_after_it() {
    let (_temp, dir) = store();
    let braid = open(&dir, false);
    (0..4).for_each(|n| drop(append(&braid, &format!("a-{n}"))));
    save(&braid, 1, "{\"total\": 2.50}").unwrap();
    let recovery = || braid.tree().find("snapshots/sum/recovery.jsonl").and_then(Node::into_file).unwrap();
    let after = |seq_nr: u64| text(&braid, &format!("feed/after/{seq_nr}.jsonl")).unwrap();
    let first = text(&braid, "snapshots/sum/recovery.jsonl").unwrap();
    assert_eq!(first, text(&braid, "snapshots/sum/latest.json").unwrap() + &after(1));
    let file = recovery();
    assert!(file.grows());
    assert_eq!(file.size(), first.len() as u64);
    for (offset, len) in (0..first.len() + 2).flat_map(|offset| [1, 7, 200, 5_000].map(|len| (offset, len))) {
        let expected = &first.as_bytes()[offset.min(first.len())..(offset + len).min(first.len())];
        assert_eq!(file.read(offset as u64, len).unwrap(), expected, "{offset} {len}");
    }
    append(&braid, "b");
    assert_eq!(recovery().incarnation(), file.incarnation());
    let grown = text(&braid, "snapshots/sum/recovery.jsonl").unwrap();
    assert!(grown.starts_with(&first) && grown.ends_with(&after(5)) && grown.lines().count() == 5);
    assert_eq!(file.read_all().unwrap(), first.as_bytes());
    // A state of several lines is one, and says the same.
    save(&braid, 2, "{\n  \"a\\\" \\\\\": 1.50e+3,\r\n\t\"b c\": [ \" \", -0.0 ]\n}\n").unwrap();
    assert_ne!(recovery().incarnation(), file.incarnation());
    let second = text(&braid, "snapshots/sum/recovery.jsonl").unwrap();
    let (line, rest) = second.split_once('\n').unwrap();
    assert!(line.ends_with(",\"state\":{\"a\\\" \\\\\":1.50e+3,\"b c\":[\" \",-0.0]}}"), "{line}");
    assert_eq!(rest, after(2));
    assert!(text(&braid, "snapshots/sum/latest.json").unwrap().contains("{\n  \"a\\\""));
    // The same state saved once more is another one.
    let twice = recovery().incarnation();
    save(&braid, 2, "0").unwrap();
    save(&braid, 2, "0").unwrap();
    assert_ne!(recovery().incarnation(), twice);
}

#[test]
fn without_a_state_that_holds_recovery_is_everything() {
    let (_temp, dir) = store();
    let braid = open(&dir, false);
    let first = append(&braid, "a");
    append(&braid, "b");
    save(&braid, 2, "1").unwrap();
    let file = || braid.tree().find("snapshots/sum/recovery.jsonl").and_then(Node::into_file).unwrap();
    let before = file().incarnation();
    fs::remove_file(dir.join(format!("events/{first}.jsonl"))).unwrap();
    braid.refresh().unwrap();
    assert_eq!(text(&braid, "snapshots/sum/recovery.jsonl"), text(&braid, "feed.jsonl"));
    assert_ne!(file().incarnation(), before);
    // The same where it covers streams.
    let versions = vec![("a".to_owned(), 0), ("b".to_owned(), 1)];
    braid.save_snapshot(SnapshotRequest { name: "of".to_owned(), seq_nr: None, versions, state: "[1]".parse().unwrap() }).unwrap();
    append(&braid, "b");
    let [latest, after, both] =
        ["latest.json", "after.jsonl", "recovery.jsonl"].map(|name| text(&braid, &format!("snapshots/of/{name}")).unwrap());
    assert_eq!(both, latest + &after);
    assert_eq!(both.lines().count(), 2);
}

/// Replaces the file of a state of "sum".
fn damage(dir: &std::path::Path, ordinal: u64, change: impl Fn(Vec<u8>) -> Vec<u8>) {
    let path = dir.join(format!(".eventcore/braidfs/snapshots/73756d/{ordinal}"));
    let bytes = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, change(bytes)).unwrap();
}

fn damaged(braid: &Braid) -> Vec<String> {
    let epoch = braid.epoch();
    let findings = epoch.findings.iter().filter(|finding| finding.kind == FindingKind::StaleSnapshot);
    findings.map(|finding| finding.message.clone()).collect()
}

#[test]
fn a_damaged_state_is_never_the_latest_and_what_comes_after_goes_with_the_one_that_is() {
    let cut = |mut bytes: Vec<u8>| {
        bytes.pop();
        bytes
    };
    let another = |mut bytes: Vec<u8>| {
        *bytes.last_mut().unwrap() = b'9';
        bytes
    };
    let changes: [&dyn Fn(Vec<u8>) -> Vec<u8>; 3] = [&cut, &another, &|_| Vec::new()];
    for (follow, change) in [true, false].into_iter().flat_map(|follow| changes.map(|change| (follow, change))) {
        let (_temp, dir) = store();
        let braid = open(&dir, follow);
        (0..4).for_each(|n| drop(append(&braid, &format!("a-{n}"))));
        for n in 1..=3 {
            save(&braid, n, &n.to_string()).unwrap();
        }
        assert!(text(&braid, "snapshots/sum/latest.json").unwrap().ends_with("\"state\":3}\n"));
        damage(&dir, 3, change);
        if follow {
            eventually(|| damaged(&braid).len() == 1);
            let finding = braid.epoch().findings.iter().find(|finding| finding.kind == FindingKind::StaleSnapshot).cloned().unwrap();
            assert!(finding.message.starts_with("state 3 of snapshot \"sum\" is damaged"), "{finding:?}");
            assert!(finding.hint.starts_with("rm -rf ") && finding.hint.contains("/snapshots/73756d/3   # "), "{finding:?}");
        } else {
            braid.refresh().unwrap();
        }
        let check = |braid: &Braid| {
            assert!(text(braid, "snapshots/sum/latest.json").unwrap().ends_with("\"state\":2}\n"));
            assert_eq!(text(braid, "snapshots/sum/after.jsonl"), text(braid, "feed/after/2.jsonl"));
            assert_eq!(text(braid, "snapshots/sum/3.json"), None);
            assert_eq!(names(braid, "snapshots/sum"), ["1.json", "2.json", "latest.json", "after.jsonl", "recovery.jsonl"]);
            assert_eq!(braid.snapshot("sum").unwrap().unwrap().state, b"2");
        };
        check(&braid);
        drop(braid);
        let braid = open(&dir, false);
        check(&braid);
        // It holds nobody up.
        save(&braid, 2, "again").unwrap();
        assert!(text(&braid, "snapshots/sum/latest.json").unwrap().ends_with("\"state\":again}\n"));
    }
}

#[test]
fn the_cure_of_a_damaged_state_is_to_remove_it() {
    let (_temp, dir) = store();
    let braid = open(&dir, true);
    append(&braid, "a");
    save(&braid, 1, "1").unwrap();
    damage(&dir, 1, |_| b"{\n".to_vec());
    eventually(|| damaged(&braid).len() == 1);
    assert_eq!(names(&braid, "snapshots"), [""; 0]);
    fs::remove_file(dir.join(".eventcore/braidfs/snapshots/73756d/1")).unwrap();
    eventually(|| damaged(&braid).is_empty());
    save(&braid, 1, "1").unwrap();
    assert!(text(&braid, "snapshots/sum/latest.json").is_some());
}

#[test]
fn a_merge_that_inserts_into_what_is_covered_makes_it_stale() {
    let (_temp, dir) = store();
    let (_other_temp, other_dir) = store();
    let (braid, other) = (open(&dir, false), open(&other_dir, false));
    let other_ids = [append(&other, "s"), append(&other, "t")];
    for _ in 0..3 {
        append(&braid, "s");
    }
    let versions = |version| vec![("s".to_owned(), version)];
    let request = |version, state: &str| SnapshotRequest {
        name: "a/../b".to_owned(),
        seq_nr: None,
        versions: versions(version),
        state: state.parse().unwrap(),
    };
    assert_eq!(braid.save_snapshot(request(4, "4")).unwrap_err().errno(), Errno::EINVAL);
    braid.save_snapshot(request(0, "0")).unwrap();
    braid.save_snapshot(request(2, "2")).unwrap();
    let directory = "snapshots/a%2F..%2Fb";
    assert_eq!(text(&braid, &format!("{directory}/after.jsonl")).unwrap().lines().count(), 1);
    append(&braid, "s");
    assert!(text(&braid, &format!("{directory}/latest.json")).unwrap().contains("\"versions\":{\"s\":2}"));
    assert_eq!(text(&braid, &format!("{directory}/after.jsonl")).unwrap().lines().count(), 2);
    // Of another stream: nothing that is covered changes.
    fs::copy(other_dir.join(format!("events/{}.jsonl", other_ids[1])), dir.join(format!("events/{}.jsonl", other_ids[1]))).unwrap();
    braid.refresh().unwrap();
    assert!(text(&braid, &format!("{directory}/v2.json")).unwrap().contains("\"stale\":false"));
    // Older than all of ours and without a parent: it comes first.
    fs::copy(other_dir.join(format!("events/{}.jsonl", other_ids[0])), dir.join(format!("events/{}.jsonl", other_ids[0]))).unwrap();
    braid.refresh().unwrap();
    assert!(text(&braid, &format!("{directory}/v2.json")).unwrap().contains("\"stale\":true"));
    assert!(text(&braid, &format!("{directory}/latest.json")).unwrap().ends_with("\"state\":0}\n"));
    assert_eq!(text(&braid, &format!("{directory}/after.jsonl")), text(&braid, "streams/s.jsonl"));
    drop(braid);
    assert!(text(&open(&dir, false), &format!("{directory}/v2.json")).unwrap().contains("\"stale\":true"));
}

#[test]
fn what_comes_after_a_state_costs_the_same_whatever_lies_before() {
    let cost = |covered: u64, versions: Vec<(String, u64)>| {
        let (_temp, dir) = store();
        let braid = open(&dir, false);
        tests::append(&braid, &tests::event("a", 1).repeat(usize::try_from(covered).unwrap()));
        let seq_nr = versions.is_empty().then_some(covered);
        braid.save_snapshot(SnapshotRequest { name: "sum".to_owned(), seq_nr, versions, state: "{}".parse().unwrap() }).unwrap();
        tests::append(&braid, &tests::event("a", 2).repeat(10));
        let tree = braid.tree();
        counted::cost(|| {
            let after = tree.find("snapshots/sum/after.jsonl").and_then(Node::into_file).unwrap();
            assert_eq!(after.read_all().unwrap().iter().filter(|byte| **byte == b'\n').count(), 10);
        })
    };
    for of_streams in [false, true] {
        let [small, large] =
            [100, 5_000].map(|covered| cost(covered, if of_streams { vec![("a".to_owned(), covered)] } else { Vec::new() }));
        assert_eq!((small.rendered, large.rendered), (10, 10));
        // A place is found within one piece of the list, however long the list is.
        assert!(large.weighed <= small.weighed + 1_024, "{large:?} after {small:?}");
    }
}

/// Story: each save looked at every state of every name, four times.
#[test]
fn a_save_looks_at_the_states_of_its_name_alone() {
    let looks = |names: u32| {
        let (_temp, dir) = store();
        let (disk, twin) = Disk::faulty(&dir).unwrap();
        let root = dir.canonicalize().unwrap();
        let braid = Braid::open(&root, &OpenOptions { disk, follow: false, ..OpenOptions::default() }).unwrap();
        append(&braid, "a");
        let save = |name: String, state: &str| {
            let request = SnapshotRequest { name, seq_nr: Some(1), versions: Vec::new(), state: state.parse().unwrap() };
            braid.save_snapshot(request).unwrap()
        };
        (0..names).for_each(|n| drop(save(n.to_string(), "0")));
        twin.forget_ops();
        for state in 1..=6 {
            save("0".to_owned(), &state.to_string());
        }
        assert!(text(&braid, "snapshots/0/latest.json").unwrap().ends_with("\"state\":6}\n"));
        assert_eq!(braid.snapshots().len(), names as usize + 4, "five are kept of one");
        twin.looks().into_iter().filter(|(_, path)| path.starts_with(root.join(".eventcore/braidfs/snapshots"))).count()
    };
    assert_eq!(looks(2), looks(40));
}

/// What others do is seen by whoever looks, whichever name it is of.
#[test]
fn what_another_program_saves_rewrites_and_forgets_is_followed_name_by_name() {
    let (_temp, dir) = store();
    let (ours, theirs) = (open(&dir, false), open(&dir, false));
    append(&ours, "a");
    theirs.refresh().unwrap();
    let save = |braid: &Braid, name: &str| {
        let request = SnapshotRequest { name: name.to_owned(), seq_nr: Some(1), versions: Vec::new(), state: "1".parse().unwrap() };
        braid.save_snapshot(request).unwrap()
    };
    let shown = |braid: &Braid| {
        braid.refresh().unwrap();
        let told = braid.snapshots().iter().map(|saved| format!("{}{}", saved.meta.name, saved.meta.ordinal)).collect::<Vec<_>>();
        told.join(" ")
    };
    save(&theirs, "x");
    save(&ours, "y");
    save(&theirs, "z");
    assert_eq!([shown(&ours), shown(&theirs)], ["x1 y1 z1"; 2]);
    save(&theirs, "y");
    assert_eq!(save(&ours, "y").ordinal, 3);
    assert_eq!([shown(&ours), shown(&theirs)], ["x1 y1 y2 y3 z1"; 2]);
    fs::write(dir.join(".eventcore/braidfs/snapshots/78/1"), "nonsense").unwrap();
    theirs.forget_snapshots("z").unwrap();
    assert_eq!([shown(&ours), shown(&theirs)], ["y1 y2 y3"; 2]);
    let damaged = |braid: &Braid| braid.epoch().findings.iter().filter(|finding| finding.kind == FindingKind::StaleSnapshot).count();
    assert_eq!([damaged(&ours), damaged(&theirs)], [1; 2]);
    fs::remove_dir_all(dir.join(".eventcore/braidfs/snapshots/78")).unwrap();
    save(&theirs, "z");
    assert_eq!([shown(&ours), shown(&theirs)], ["y1 y2 y3 z1"; 2]);
    assert_eq!([damaged(&ours), damaged(&theirs)], [0; 2]);
}

/// Story: a state of streams still held after another payload had been put into a file of the first version, which has no hash.
#[test]
fn a_state_is_stale_while_a_covered_event_says_something_else() {
    let (_temp, dir) = store();
    let braid = open(&dir, false);
    let path = dir.join("events").join(format!("{}.jsonl", append(&braid, "a")));
    let (header, payload) = fs::read_to_string(&path).unwrap().split_once('\n').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let mut header: serde_json::Value = serde_json::from_str(&header).unwrap();
    header["format_version"] = 1.into();
    header.as_object_mut().unwrap().remove("content_hash");
    let write = |data: &str| fs::write(&path, format!("{header}\n{}", payload.replace("\"event_data\":1", data))).unwrap();
    write("\"event_data\":1");
    braid.refresh().unwrap();
    let request = SnapshotRequest { name: "v".to_owned(), seq_nr: None, versions: vec![("a".to_owned(), 1)], state: "1".parse().unwrap() };
    braid.save_snapshot(request).unwrap();
    let is_stale = |braid: &Braid| {
        let name = names(braid, "snapshots/v").into_iter().next().unwrap();
        text(braid, &format!("snapshots/v/{name}")).unwrap().contains("\"stale\":true")
    };
    assert!(!is_stale(&braid));
    write("\"event_data\":100");
    braid.refresh().unwrap();
    assert!(is_stale(&braid) && is_stale(&open(&dir, false)));
    write("\"event_data\":1");
    braid.refresh().unwrap();
    assert!(!is_stale(&braid) && !is_stale(&open(&dir, false)));
}
