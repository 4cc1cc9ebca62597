//! Moving in and out: `import jsonl`, `append --session`, `export`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use braidfs::braid::{Braid, OpenOptions};
use braidfs::format::draft::{DraftKind, parse_draft};
use braidfs::format::legacy;
use serde_json::Value;

use crate::support::mount::Mount;
use crate::support::run::{braidfs_command, braidfs_on, run_with};
use crate::support::store::TestStore;

fn log(store: &TestStore) -> Vec<Value> {
    braidfs_on(&store.path(), &["log", "--format", "json"], "").ok().out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A source with so many events in each of two sessions and three corrupt lines; gives their number.
fn source(store: &TestStore, events: usize) -> (PathBuf, usize) {
    let dir = store.home().join("legacy");
    let line = |session: &str, n: usize| {
        format!(
            "{{\"schema_version\":1,\"id\":\"{session}-{n}\",\"type\":\"step.taken\",\"timestamp\":\"2026-03-0{}T10:00:00.{:06}Z\",\"data\":{{\"n\":{n}}},\"session_id\":\"{session}\",\"seq_nr\":{n}}}\n",
            1 + n % 2,
            n
        )
    };
    for session in ["s1", "s2"] {
        fs::create_dir_all(dir.join(session)).unwrap();
        for day in 1..=2 {
            let mut text: String = (0..events).filter(|n| 1 + n % 2 == day).map(|n| line(session, n)).collect();
            text += "not json\n";
            fs::write(dir.join(session).join(format!("2026-03-0{day}.jsonl")), text).unwrap();
        }
    }
    fs::write(dir.join("notes.txt"), "not a log").unwrap();
    (dir, events * 2)
}

fn import(dir: &Path) -> [&str; 5] {
    ["import", "jsonl", dir.to_str().unwrap(), "--aggregate-type", "wave"]
}

/// The legacy events in canonical order, and how many cutovers there are.
fn moved(store: &TestStore) -> (Vec<(String, u64)>, usize) {
    let (legacy, cutovers): (Vec<Value>, Vec<Value>) = log(store).into_iter().partition(|event| event["event_type"] != "system.cutover");
    let legacy = legacy.iter().map(|event| {
        let session = event["metadata"]["session_id"].as_str().unwrap().to_owned();
        assert_eq!(event["stream_id"], format!("wave-{session}"));
        (session, event["event_data"]["n"].as_u64().unwrap())
    });
    (legacy.collect(), cutovers.len())
}

fn assert_moved(store: &TestStore, count: usize) {
    let (events, cutovers) = moved(store);
    assert_eq!((events.len(), cutovers), (count, 1));
    assert_eq!(events.iter().cloned().collect::<BTreeSet<_>>().len(), count, "each is there once");
    assert_eq!(log(store).last().unwrap()["event_type"], "system.cutover");
    let status = braidfs_on(&store.path(), &["status", "--format", "json"], "").json();
    assert_eq!(status["findings"].as_array().unwrap().iter().filter(|found| found["kind"] == "duplicate-event").count(), 0);
}

#[test]
fn a_log_moves_in_once() {
    let store = TestStore::new();
    let (dir, count) = source(&store, 20);
    let ran = braidfs_on(&store.path(), &[&import(&dir)[..], &["--start-seq", "500", "--format", "json"]].concat(), "").ok().json();
    assert_eq!((&ran["events"], &ran["written"], &ran["cut_over"]), (&count.into(), &count.into(), &true.into()));
    assert_eq!(ran["corrupt_lines"].as_array().unwrap().len(), 4);
    assert_moved(&store, count);
    let cutover = log(&store).pop().unwrap();
    assert_eq!(cutover["stream_id"], "system-wave");
    let data = &cutover["event_data"];
    assert_eq!((&data["pre_cutover_event_count"], &data["start_seq_nr"]), (&count.into(), &500.into()));
    assert_eq!((&data["corrupt_line_count"], &data["corrupt_lines"][0]["text"]), (&4.into(), &"not json".into()));
    let event = &log(&store)[0];
    assert_eq!((&event["metadata"]["legacy_id"], &event["metadata"]["legacy_seq_nr"]), (&"s1-0".into(), &0.into()));
    let saved: Vec<String> = snapshot_files(&store).iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    assert_eq!(saved.len(), 1);
    assert!(saved[0].lines().nth(1).unwrap().starts_with("{\"$braidfs.sentinel\":"), "{}", saved[0]);

    let again = braidfs_on(&store.path(), &import(&dir), "").ok();
    assert!(again.out.contains("0 events") && again.out.contains("the cutover was done before"), "{}", again.out);
    assert!(again.err.contains("s1/2026-03-01.jsonl:11: "), "{}", again.err);
    fs::write(dir.join("2026-03-09.jsonl"), "{\"type\":\"late\"}\n").unwrap();
    let late = braidfs_on(&store.path(), &[&import(&dir)[..], &["--format", "json"]].concat(), "").ok().json();
    assert_eq!((&late["late"], &late["written"], &late["already_present"]), (&1.into(), &0.into(), &count.into()));
    assert_moved(&store, count);
    assert_eq!(snapshot_files(&store).len(), 1);
}

fn snapshot_files(store: &TestStore) -> Vec<PathBuf> {
    let dirs = fs::read_dir(store.path().join(".eventcore/braidfs/snapshots")).unwrap();
    dirs.flat_map(|dir| fs::read_dir(dir.unwrap().path()).unwrap().map(|file| file.unwrap().path())).collect()
}

#[test]
fn an_empty_source_writes_nothing() {
    let store = TestStore::new();
    let dir = store.home().join("legacy");
    braidfs_on(&store.path(), &import(&dir), "").code(1);
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("2026-03-01.jsonl"), "\n").unwrap();
    let ran = braidfs_on(&store.path(), &[&import(&dir)[..], &["--format", "json"]].concat(), "").ok().json();
    assert_eq!(ran["fresh_install"], true);
    let names: Vec<_> = fs::read_dir(store.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["events"]);
    assert_eq!(fs::read_dir(store.events_dir()).unwrap().count(), 0);
}

fn start(store: &TestStore, dir: &Path) -> Child {
    let mut command = braidfs_command();
    command.arg("--store").arg(store.path()).args(import(dir)).args(["--format", "json"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn two_processes_move_one_log_in_together() {
    let store = TestStore::new();
    let (dir, count) = source(&store, 1200);
    let both = [start(&store, &dir), start(&store, &dir)];
    let mut winners = 0;
    for child in both {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(said["written"].as_u64().unwrap() + said["already_present"].as_u64().unwrap(), count as u64);
        winners += usize::from(said["cut_over"] == true);
    }
    assert_eq!(winners, 1);
    assert_moved(&store, count);
    assert_eq!(snapshot_files(&store).len(), 1);
}

/// Each looked for a sentinel in what it knew, found none, and saved one.
#[test]
fn a_process_that_does_not_know_yet_of_a_sentinel_leaves_no_second_one() {
    let store = TestStore::new();
    let both = [(); 2].map(|()| Braid::open(&store.path(), &OpenOptions::default()).unwrap());
    let log = "{\"type\":\"a\",\"session_id\":\"s\"}\nbroken\n";
    let plan = legacy::plan(&[(legacy::parse_file_path("2026-03-01.jsonl").unwrap(), log.as_bytes())], "wave");
    for (braid, cut) in both.iter().zip([true, false]) {
        braid.wait_ready().unwrap();
        let request = legacy::CutoverRequest { aggregate_type: "wave", start_seq_nr: None };
        assert_eq!(braid.cut_over(&plan, &request, |_| ()).unwrap().cut, cut);
        assert_eq!(snapshot_files(&store).len(), 1);
    }
}

#[test]
fn a_killed_move_goes_on_where_it_stopped() {
    let store = TestStore::new();
    let (dir, count) = source(&store, 1700);
    for pause_ms in [3, 10, 20, 30, 45, 60, 90, 140, 200, 280] {
        let mut child = start(&store, &dir);
        std::thread::sleep(Duration::from_millis(pause_ms));
        child.kill().unwrap();
        child.wait().unwrap();
        let (events, cutovers) = moved(&store);
        assert_eq!(events.iter().collect::<BTreeSet<_>>().len(), events.len());
        assert!(cutovers == 0 || events.len() == count, "a cutover comes last");
    }
    braidfs_on(&store.path(), &import(&dir), "").ok();
    assert_moved(&store, count);
    assert_eq!(snapshot_files(&store).len(), 1);
}

#[test]
fn a_recorded_session_is_a_chain() {
    let store = TestStore::new();
    let event = |n: u32| format!("{{\"stream\":\"a-{n}\",\"type\":\"T\",\"data\":{n}}}\n");
    braidfs_on(&store.path(), &["append", "--session", "one", "--key", "k"], &(event(1) + &event(2))).ok();
    braidfs_on(&store.path(), &["append", "--session", "two"], &event(3)).ok();
    braidfs_on(&store.path(), &["append", "--session", "one"], &event(4)).ok();
    let retry =
        braidfs_on(&store.path(), &["append", "--session", "one", "--key", "k", "--format", "json"], &(event(1) + &event(2))).ok().json();
    assert_eq!(retry["repeated"], true);
    let events = log(&store);
    assert_eq!(events.len(), 4);
    let cause = |n: usize| events[n]["metadata"]["causation_id"].clone();
    assert_eq!(cause(0), Value::Null);
    assert_eq!(cause(1), events[0]["event_id"]);
    assert_eq!(cause(2), Value::Null);
    assert_eq!(cause(3), events[1]["event_id"]);
    assert!(events.iter().all(|event| event["metadata"]["session_id"] == event["metadata"]["correlation_id"]));
    let other = "{\"stream\":\"a\",\"type\":\"T\",\"data\":1,\"metadata\":{\"session_id\":\"two\"}}\n";
    braidfs_on(&store.path(), &["append", "--session", "one"], other).code(1);
}

/// Every event of a session, in canonical order, follows the one before it; gives the numbers of the continued counter.
fn assert_chain(events: &[Value], session: &str) -> Vec<u64> {
    let chain: Vec<&Value> = events.iter().filter(|event| event["metadata"]["session_id"] == session).collect();
    let causes = std::iter::once(&Value::Null).chain(chain.iter().map(|event| &event["event_id"]));
    for (event, cause) in chain.iter().zip(causes) {
        assert_eq!(event["metadata"].get("causation_id").unwrap_or(&Value::Null), cause, "{event}");
    }
    chain.iter().filter_map(|event| event["metadata"]["seq_nr"].as_u64()).collect()
}

/// Two recorders each found the same last event of the session, and the chain had two ends.
#[test]
fn processes_that_record_one_session_at_once_make_one_chain() {
    let store = TestStore::new();
    let recorders: Vec<_> = (0..4)
        .map(|recorder| {
            let dir = store.path();
            std::thread::spawn(move || {
                for n in 0..5 {
                    let mut command = braidfs_command();
                    command.arg("--store").arg(&dir).args(["append", "--session", "one"]);
                    let event = |n: u32| format!("{{\"stream\":\"r-{recorder}\",\"type\":\"T\",\"data\":{n}}}\n");
                    run_with(&mut command, (event(n) + &event(n)).as_bytes()).ok();
                }
            })
        })
        .collect();
    recorders.into_iter().for_each(|recorder| recorder.join().unwrap());
    let events = log(&store);
    assert_eq!(events.len(), 40);
    assert!(assert_chain(&events, "one").is_empty(), "no counter is continued");
}

#[test]
fn a_foreign_counter_goes_on_from_the_cutover_and_gives_no_number_twice() {
    let store = TestStore::new();
    let (dir, count) = source(&store, 20);
    let refused = braidfs_on(&store.path(), &[&import(&dir)[..], &["--start-seq", "19"]].concat(), "").code(1);
    assert!(refused.err.contains("largest one in the source is 19") && refused.err.contains("--start-seq 20"), "{}", refused.err);
    assert!(log(&store).is_empty(), "what is refused has moved nothing");
    braidfs_on(&store.path(), &[&import(&dir)[..], &["--start-seq", "20"]].concat(), "").ok();
    assert_eq!(log(&store).last().unwrap()["metadata"]["seq_nr"], 20);
    // Once it is done the source may grow as it likes.
    braidfs_on(&store.path(), &[&import(&dir)[..], &["--start-seq", "1"]].concat(), "").ok();

    let event = "{\"stream\":\"a\",\"type\":\"T\",\"data\":{\"seq_nr\":900}}\n";
    braidfs_on(&store.path(), &["append", "--session", "one", "--key", "k"], &event.repeat(2)).ok();
    braidfs_on(&store.path(), &["append"], event).ok();
    let retry = braidfs_on(&store.path(), &["append", "--session", "one", "--key", "k", "--format", "json"], &event.repeat(2)).ok().json();
    assert_eq!(retry["repeated"], true);
    let own = "{\"stream\":\"a\",\"type\":\"T\",\"data\":1,\"metadata\":{\"seq_nr\":30}}\n";
    braidfs_on(&store.path(), &["append", "--session", "one"], own).ok();
    braidfs_on(&store.path(), &["append", "--session", "two"], event).ok();
    let events = log(&store);
    assert_eq!(assert_chain(&events, "one"), [21, 22, 30]);
    assert_eq!(assert_chain(&events, "two"), [31]);

    // Several threads of one process, whose commits are written together, and several processes.
    let braid = Braid::open(&store.path(), &OpenOptions::default()).unwrap();
    braid.wait_ready().unwrap();
    std::thread::scope(|scope| {
        for recorder in 0..6 {
            let (store, braid) = (&store, &braid);
            scope.spawn(move || {
                for _ in 0..5 {
                    if recorder < 4 {
                        braid.record("many", parse_draft(event.as_bytes(), DraftKind::Lines).unwrap()).unwrap();
                    } else {
                        braidfs_on(&store.path(), &["append", "--session", "many"], event).ok();
                    }
                }
            });
        }
    });
    drop(braid);
    let events = log(&store);
    assert_eq!(assert_chain(&events, "many"), (32..62).collect::<Vec<u64>>());
    assert_eq!(events.len(), count + 1 + 5 + 30);
    // Ours are as ever: from 1, one after the other.
    let feed = braidfs_on(&store.path(), &["feed", "--format", "json", "--limit", "1000"], "").ok().out;
    let numbers: Vec<u64> = feed.lines().filter_map(|line| serde_json::from_str::<Value>(line).unwrap()["seq_nr"].as_u64()).collect();
    assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>());
}

#[test]
fn what_is_exported_comes_back() {
    let (store, _) = TestStore::forked();
    let all = braidfs_on(&store.path(), &["export", "jsonl"], "").ok().out;
    assert_eq!(all, braidfs_on(&store.path(), &["log", "--format", "json"], "").ok().out);
    let chosen =
        braidfs_on(&store.path(), &["export", "jsonl", "--stream", "account-*", "--type", "With*", "--after", "1", "--limit", "1"], "")
            .ok()
            .out;
    assert_eq!(chosen.lines().count(), 1);
    assert!(all.contains(&chosen) && chosen.contains("Withdrawn"));
    let stream = braidfs_on(&store.path(), &["export", "jsonl", "streams/account/2.jsonl"], "").ok().out;
    assert_eq!(stream.lines().count(), 1);
    let hinted = |view: &str| braidfs_on(&store.path(), &["export", "csv", view], "").code(1).err;
    for (asked, meant) in [
        ("log", "log.jsonl"),
        ("/mnt/x/feed.jsonl", "feed.jsonl"),
        ("lgo.jsonl", "log.jsonl"),
        ("account-0", "streams/account-0.jsonl"),
        ("streams/acount-0", "streams/account-0.jsonl"),
        ("Opened", "types/Opened.jsonl"),
        ("types/Opend.jsonl", "types/Opened.jsonl"),
    ] {
        assert!(hinted(asked).contains(&format!("hint: did you mean {meant}?")), "{asked}: {}", hinted(asked));
    }
    assert!(hinted("streams").contains("is a directory") && !hinted("streams/none.jsonl").contains("did you mean"));
    let ran = braidfs_on(&store.path(), &["stream", "acount-0"], "").code(1);
    assert!(ran.err.contains("did you mean account-0?"), "{}", ran.err);
    braidfs_on(&store.path(), &["export", "csv", "status.json"], "").code(1);

    let table = braidfs_on(&store.path(), &["export", "csv", "feed.jsonl"], "").ok().out;
    let feed = braidfs_on(&store.path(), &["export", "jsonl", "feed.jsonl"], "").ok().out;
    let copy = TestStore::new();
    let mut drafts = String::new();
    let mut rows = csv::Reader::from_reader(table.as_bytes());
    for row in rows.records().map(Result::unwrap) {
        drafts += &format!(
            "{{\"event_id\":\"{}\",\"stream_id\":{},\"event_type\":{},\"event_data\":{},\"metadata\":{}}}\n",
            &row[3],
            Value::from(&row[4]),
            Value::from(&row[5]),
            &row[7],
            &row[8]
        );
    }
    braidfs_on(&copy.path(), &["append"], &drafts).ok();
    let keys = |text: &str| -> Vec<Value> {
        let events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        events.map(|event| serde_json::json!([event["event_id"], event["stream_id"], event["event_type"], event["event_data"]])).collect()
    };
    assert_eq!(keys(&braidfs_on(&copy.path(), &["export", "jsonl"], "").ok().out), keys(&feed));
}

/// `--after` began the view anew: the whole feed came.
#[test]
fn a_view_that_begins_later_is_exported_as_it_is_shown() {
    let store = TestStore::new();
    for n in 1..=5 {
        braidfs_on(&store.path(), &["append"], &format!("{{\"stream\":\"a\",\"type\":\"T\",\"data\":{n}}}\n")).ok();
    }
    braidfs_on(&store.path(), &["snapshot", "save", "sn", "--seq-nr", "3"], "0").ok();
    let mount = Mount::start(&store.path());
    for (view, count) in [("feed/after/3.jsonl", 2), ("snapshots/sn/after.jsonl", 2), ("feed/after/9.jsonl", 0)] {
        let shown = mount.read(view);
        assert_eq!(shown.lines().count(), count, "{view}");
        assert_eq!(braidfs_on(&store.path(), &["export", "jsonl", view], "").ok().out, shown, "{view}");
        let later: String = shown.split_inclusive('\n').skip(1).collect();
        assert_eq!(braidfs_on(&store.path(), &["export", "jsonl", view, "--after", "1"], "").ok().out, later, "{view}");
        let chosen = braidfs_on(&store.path(), &["export", "jsonl", view, "--type", "T"], "").ok().out;
        assert_eq!(chosen, shown, "{view}");
        assert_eq!(braidfs_on(&store.path(), &["export", "csv", view], "").ok().lines().len(), count + 1, "{view}");
    }
}

/// A table whose reader had enough was a failure.
#[test]
fn whoever_reads_only_the_first_lines_of_an_export_is_content() {
    let store = TestStore::new();
    let text = "x".repeat(1000);
    let drafts: String = (0..2000).map(|_| format!("{{\"stream\":\"a\",\"type\":\"T\",\"data\":\"{text}\"}}\n")).collect();
    braidfs_on(&store.path(), &["append"], &drafts).ok();
    for form in ["jsonl", "csv"] {
        let mut command = braidfs_command();
        command.arg("--store").arg(store.path()).args(["export", form]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let ended = child.wait_with_output().unwrap();
        assert_eq!((ended.status.code(), String::from_utf8_lossy(&ended.stderr).as_ref()), (Some(0), ""), "{form}");
    }
}
