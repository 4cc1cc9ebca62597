//! Death at every step: two processes allocate, lock, save and move in at once, and one of them is killed before a change of the disk,
//! for every such change that it makes. Ordered by a mishap, of which only debug builds know.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use braidfs::braid::{Braid, OpenOptions};
use braidfs::store::{Coverage, Standing};
use braidfs::view::{FeedEvent, FeedFilter};
use serde_json::json;

use crate::support::run::{Ran, braidfs_command, run_with};
use crate::support::store::TestStore;

/// A store with two transactions of another replica, which nobody has numbered yet.
fn store() -> TestStore {
    let mut store = TestStore::new();
    store.transaction().replica(9).event("a", "T", json!(1)).write();
    store.transaction().replica(9).event("a", "T", json!(2)).event("b", "T", json!(3)).write();
    store
}

fn on(store: &TestStore, arguments: &[&str], input: &str) -> Ran {
    run_with(braidfs_command().arg("--store").arg(store.path()).args(arguments), input.as_bytes())
}

/// Starts a command whose input is a file; with `spared` it is killed in place of the change of the disk after so many.
fn start(store: &TestStore, arguments: &[&str], input: &Path, spared: Option<usize>) -> Child {
    let mut command = braidfs_command();
    command.arg("--store").arg(store.path()).args(arguments).env_remove("BRAIDFS_MISHAP");
    if let Some(spared) = spared {
        let order = store.home().join("mishap");
        fs::write(&order, format!("kill disk {spared}")).unwrap();
        command.env("BRAIDFS_MISHAP", order);
    }
    command.stdin(fs::File::open(input).unwrap()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Whether it was killed; nothing else may go wrong.
fn was_killed(child: Child) -> bool {
    let ended = child.wait_with_output().unwrap();
    let killed = ended.status.signal() == Some(9);
    assert!(killed || ended.status.success(), "{:?}: {}", ended.status, String::from_utf8_lossy(&ended.stderr));
    killed
}

/// Runs a command twice at once, in a store of its own for every step at which one of the two is killed. `check` gets the store, with
/// whether the one that was to be killed ended well.
fn at_every_step(prepare: impl Fn(&TestStore), arguments: &[&str], input: &str, check: impl Fn(&TestStore, bool, &str)) {
    for spared in 0.. {
        let store = store();
        prepare(&store);
        let file = store.home().join("input");
        fs::write(&file, input).unwrap();
        let (dying, other) = (start(&store, arguments, &file, Some(spared)), start(&store, arguments, &file, None));
        let killed = was_killed(dying);
        assert!(!was_killed(other));
        check(&store, !killed, &format!("killed before change {spared}"));
        if !killed {
            assert!(spared > 5, "it makes {spared} changes");
            return;
        }
    }
}

fn open(dir: &Path) -> Braid {
    let braid = Braid::open(dir, &OpenOptions { threads: 1, ..OpenOptions::default() }).unwrap();
    braid.wait_ready().unwrap();
    braid
}

fn feed(braid: &Braid) -> Vec<FeedEvent> {
    braid.feed_after(0, &FeedFilter { limit: u64::MAX, ..FeedFilter::default() }).events
}

/// Every event has one number, from 1, and the next one gets the next; gives the feed.
fn assert_numbered(dir: &Path, at: &str) -> Vec<FeedEvent> {
    let braid = open(dir);
    let before = feed(&braid);
    let epoch = braid.epoch();
    assert_eq!(before.len() as u64, epoch.index.log.events.len(), "{at}");
    assert!(before.iter().zip(1..).all(|(event, number)| event.seq_nr == number && !event.gone), "{at}: {before:?}");
    drop(braid);
    // Another process finds the same.
    assert_eq!(feed(&open(dir)), before, "{at}");
    before
}

#[test]
fn a_killed_append_is_whole_or_absent_and_takes_no_number_from_another() {
    let lines = "{\"stream\":\"c\",\"type\":\"T\",\"data\":1}\n{\"stream\":\"d\",\"type\":\"T\",\"data\":2}\n";
    at_every_step(
        |_| {},
        &["append"],
        lines,
        |store, ended, at| {
            let numbered = assert_numbered(&store.path(), at).len();
            assert!(numbered == 7 || (!ended && numbered == 5), "{at}: {numbered} events");
            on(store, &["append"], lines).ok();
            assert_eq!(assert_numbered(&store.path(), at).len(), numbered + 2, "{at}");
            let status = on(store, &["status", "--format", "json"], "").json();
            let findings: Vec<&str> = status["findings"].as_array().unwrap().iter().filter_map(|found| found["kind"].as_str()).collect();
            assert!(findings.iter().all(|kind| *kind == "uncommitted"), "{at}: {findings:?}");
            assert_eq!(status["forks"]["open"], 0, "{at}");
        },
    );
}

#[test]
fn a_checkpoint_that_somebody_saved_stands_whoever_is_killed() {
    let prepare = |store: &TestStore| drop(on(store, &["checkpoint", "set", "s", "1"], "").ok());
    at_every_step(prepare, &["checkpoint", "set", "s", "3"], "", |store, _, at| {
        let braid = open(&store.path());
        let saved = braid.checkpoint("s").unwrap().unwrap();
        assert_eq!((saved.seq_nr, saved.standing), (3, Standing::Belongs), "{at}");
        drop(braid);
        assert_eq!(assert_numbered(&store.path(), at).len(), 3, "{at}");
        on(store, &["checkpoint", "forget", "s"], "").ok();
    });
}

#[test]
fn a_state_that_somebody_saved_is_served_whoever_is_killed() {
    let prepare = |store: &TestStore| drop(on(store, &["snapshot", "save", "sum", "--seq-nr", "1"], "{\"sum\":1}").ok());
    at_every_step(prepare, &["snapshot", "save", "sum", "--seq-nr", "3"], "{\"sum\":6}", |store, ended, at| {
        let braid = open(&store.path());
        let latest = braid.snapshot("sum").unwrap().unwrap();
        assert_eq!((latest.meta.coverage, latest.state.as_slice()), (Coverage::SeqNr(3), &b"{\"sum\":6}"[..]), "{at}");
        let saved = braid.snapshots();
        assert!(saved.iter().all(|saved| saved.valid) && saved.len() <= 3 && (saved.len() == 3 || !ended), "{at}: {saved:?}");
        for saved in saved.iter() {
            assert!(braid.store().snapshot("sum", saved.meta.ordinal).unwrap().is_some(), "{at}");
        }
    });
}

/// Three events and a line that is none, as files of two days.
fn legacy(home: &Path) -> PathBuf {
    let dir = home.join("legacy");
    fs::create_dir(&dir).unwrap();
    fs::write(
        dir.join("2026-03-01.jsonl"),
        "{\"type\":\"x\",\"session_id\":\"s\",\"seq_nr\":1}\nnot json\n{\"type\":\"y\",\"seq_nr\":2}\n",
    )
    .unwrap();
    fs::write(dir.join("2026-03-02.jsonl"), "{\"type\":\"z\",\"session_id\":\"s\",\"seq_nr\":3}\n").unwrap();
    dir
}

/// How many legacy events, cutovers and saved states there are.
fn moved(store: &TestStore, at: &str) -> (usize, usize, usize) {
    let lines: Vec<u8> = assert_numbered(&store.path(), at).into_iter().flat_map(|event| event.line).collect();
    let lines = String::from_utf8(lines).unwrap();
    let sentinels = open(&store.path()).snapshots().len();
    (lines.matches("\"legacy_line\":").count(), lines.matches("\"system.cutover\"").count(), sentinels)
}

#[test]
fn a_move_is_whole_whoever_of_those_who_move_is_killed() {
    for spared in 0.. {
        let store = store();
        let dir = legacy(store.home());
        let arguments = ["import", "jsonl", dir.to_str().unwrap(), "--aggregate-type", "wave", "--start-seq", "4"];
        let none = Path::new("/dev/null");
        // Alone, so that a step in the middle is really the last that was taken.
        let killed = was_killed(start(&store, &arguments, none, Some(spared)));
        let at = format!("killed before change {spared}");
        let (events, cutovers, sentinels) = moved(&store, &at);
        assert!(events == 3 || cutovers == 0, "{at}: a cutover comes last");
        assert!(cutovers <= 1 && sentinels <= cutovers, "{at}");
        // Then two go on at once, one of which is killed somewhere else.
        let (dying, other) = (start(&store, &arguments, none, Some(spared / 2)), start(&store, &arguments, none, None));
        was_killed(dying);
        assert!(!was_killed(other));
        assert_eq!(moved(&store, &at), (3, 1, 1), "{at}");
        if !killed {
            assert!(spared > 20, "it makes {spared} changes");
            on(&store, &arguments, "").ok();
            assert_eq!(moved(&store, &at), (3, 1, 1), "again");
            return;
        }
    }
}
