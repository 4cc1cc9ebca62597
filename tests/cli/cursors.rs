//! The commands of subscriptions and saved states: `feed`, `watch`, `checkpoint`, `snapshot`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::run::{Ran, braidfs, braidfs_command, run_with};
use crate::support::wait::eventually;

/// A store with these streams, an event each, by the command itself.
fn store_of(streams: &[&str]) -> (tempfile::TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    braidfs(["init", dir.to_str().unwrap()]).ok();
    for stream in streams {
        append(&dir, stream);
    }
    (home, dir)
}

fn append(dir: &Path, stream: &str) {
    let line = format!("{{\"stream\":\"{stream}\",\"type\":\"T\",\"data\":1}}\n");
    run_with(braidfs_command().arg("--store").arg(dir).arg("append"), line.as_bytes()).ok();
}

fn on_with(dir: &Path, arguments: &[&str], input: &[u8]) -> Ran {
    run_with(braidfs_command().arg("--store").arg(dir).args(arguments), input)
}

fn on(dir: &Path, arguments: &[&str]) -> Ran {
    on_with(dir, arguments, b"")
}

fn seqs(text: &str) -> Vec<u64> {
    text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["seq_nr"].as_u64().unwrap()).collect()
}

#[test]
fn the_feed_is_chosen_by_prefix_and_says_where_to_go_on() {
    let (_home, dir) = store_of(&["a-1", "b-1", "a-2", "b-2"]);
    let json = |arguments: &[&str]| on(&dir, &[&["feed", "--format", "json"], arguments].concat()).ok().out;
    assert_eq!(seqs(&json(&["--stream-prefix", "a-"])), [1, 3]);
    assert_eq!(seqs(&json(&["--stream", "?-2", "--after", "3"])), [4]);
    assert_eq!(seqs(&json(&["--after", "1", "--limit", "2"])), [2, 3]);
    let lines = json(&["--stream-prefix", "a-", "--cursor"]);
    assert_eq!(lines.lines().last(), Some("{\"next_seq\":4}"));
    let lines = json(&["--stream-prefix", "a-", "--limit", "1", "--cursor"]);
    assert_eq!(lines.lines().last(), Some("{\"next_seq\":1}"));
}

#[test]
fn a_checkpoint_is_set_got_listed_and_forgotten() {
    let (_home, dir) = store_of(&["a", "b"]);
    assert!(on(&dir, &["checkpoint", "get", "mail"]).code(1).err.contains("does not exist"));
    on(&dir, &["checkpoint", "set", "mail", "2"]).ok();
    assert_eq!(on(&dir, &["checkpoint", "get", "mail"]).ok().out, "2\n");
    assert!(on(&dir, &["checkpoint", "set", "mail", "1"]).code(1).err.contains("add --force"));
    assert!(on(&dir, &["checkpoint", "set", "mail", "3"]).code(1).err.contains("beyond the latest number 2"));
    on(&dir, &["checkpoint", "set", "mail", "1", "--force"]).ok();
    on(&dir, &["checkpoint", "set", "a/b", "0"]).ok();
    let listed = on(&dir, &["checkpoint", "list", "--format", "json"]).ok().out;
    assert_eq!(seqs(&listed), [0, 1], "{listed}");
    on(&dir, &["checkpoint", "forget", "mail"]).ok();
    on(&dir, &["checkpoint", "forget", "mail"]).code(1);
    let (_other_home, other) = store_of(&["c"]);
    fs::copy(dir.join("checkpoints/612f62.json"), other.join("612f62.json")).unwrap();
    on(&other, &["checkpoint", "set", "a/b", "1"]).ok();
    fs::copy(other.join("checkpoints/612f62.json"), dir.join("checkpoints/612f62.json")).unwrap();
    assert!(on(&dir, &["checkpoint", "get", "a/b"]).code(1).err.contains("another ingestion log"));
    assert!(on(&dir, &["watch", "a/b", "--once"]).code(1).err.contains("another ingestion log"));
    assert!(on(&dir, &["checkpoint", "list"]).ok().out.contains("orphaned"));
}

#[test]
fn watch_reads_from_the_checkpoint_and_moves_it_only_when_told() {
    let (_home, dir) = store_of(&["a-1", "b-1", "a-2"]);
    assert_eq!(seqs(&on(&dir, &["watch", "s", "--once"]).ok().out), [1, 2, 3]);
    assert_eq!(seqs(&on(&dir, &["watch", "s", "--once", "--save", "--stream-prefix", "b"]).ok().out), [2]);
    assert_eq!(on(&dir, &["checkpoint", "get", "s"]).ok().out, "3\n");
    assert_eq!(on(&dir, &["watch", "s", "--once"]).ok().out, "");
    append(&dir, "c");
    assert_eq!(seqs(&on(&dir, &["watch", "s", "--once"]).ok().out), [4]);
}

#[test]
fn a_program_gets_each_batch_and_moves_the_checkpoint_only_by_success() {
    let (home, dir) = store_of(&["a", "b", "c"]);
    let seen = home.path().join("seen");
    let script = format!("cat >> '{0}'; test $(wc -l < '{0}') -lt 3", seen.display());
    let watch = ["watch", "s", "--once", "--batch", "2", "--exec", "sh", "--", "-c", script.as_str()];
    let ran = on(&dir, &watch).code(1);
    assert!(ran.err.contains("on the events 3 to 3"), "{}", ran.err);
    assert_eq!(seqs(&fs::read_to_string(&seen).unwrap()), [1, 2, 3]);
    assert_eq!(on(&dir, &["checkpoint", "get", "s"]).ok().out, "2\n");
    // The program succeeds without reading its input: that is its own business.
    on(&dir, &["watch", "s", "--once", "--exec", "true"]).ok();
    assert_eq!(on(&dir, &["checkpoint", "get", "s"]).ok().out, "3\n");
    assert!(on(&dir, &["watch", "t", "--once", "--exec", "/no/such/program"]).code(1).err.contains("cannot be started"));
}

/// A process that is killed at the latest when the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn start(dir: &Path, arguments: &[&str]) -> Self {
        let mut command = braidfs_command();
        command.arg("--store").arg(dir).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id().try_into().unwrap()), signal).unwrap();
    }
}

#[test]
fn watch_follows_alone_and_ends_cleanly_by_a_signal() {
    let (_home, dir) = store_of(&["a"]);
    let mut watch = Running::start(&dir, &["watch", "s", "--save"]);
    let mut lines = BufReader::new(watch.0.stdout.take().unwrap()).lines();
    assert_eq!(seqs(&lines.next().unwrap().unwrap()), [1]);
    append(&dir, "b");
    assert_eq!(seqs(&lines.next().unwrap().unwrap()), [2]);
    assert!(on(&dir, &["watch", "s", "--once"]).code(3).err.contains("is led by process"));
    on(&dir, &["checkpoint", "lead", "s", "--", "true"]).code(3);
    // Another subscription is another matter.
    assert_eq!(seqs(&on(&dir, &["watch", "t", "--once"]).ok().out), [1, 2]);
    eventually("the checkpoint of both", || on(&dir, &["checkpoint", "get", "s"]).out == "2\n");
    watch.signal(Signal::SIGTERM);
    assert!(lines.next().is_none());
    assert_eq!(watch.0.wait().unwrap().code(), Some(0));
    on(&dir, &["checkpoint", "lead", "s", "--", "true"]).ok();
    on(&dir, &["checkpoint", "lead", "s", "--", "false"]).code(1);
}

#[test]
fn a_killed_leader_loses_the_lead_and_no_event_is_passed_over() {
    let (home, dir) = store_of(&["a", "b", "c", "d"]);
    let seen = home.path().join("seen");
    // Each batch is written down before it is acknowledged, and takes a moment to be killed in.
    let script = format!("cat >> '{}'; sleep 0.02", seen.display());
    for round in 0..6u64 {
        let mut one = Running::start(&dir, &["watch", "s", "--batch", "1", "--exec", "sh", "--", "-c", &script]);
        let mut two = Running::start(&dir, &["watch", "s", "--batch", "1", "--exec", "sh", "--", "-c", &script]);
        std::thread::sleep(std::time::Duration::from_millis(round * 25));
        for watch in [&mut one, &mut two] {
            let _ = watch.0.kill();
            watch.0.wait().unwrap();
        }
    }
    // The program of the last one that was killed leads on until it ends.
    eventually("the rest is read", || {
        match on(&dir, &["watch", "s", "--once", "--batch", "1", "--exec", "sh", "--", "-c", &script]).code {
            3 => false,
            code => code == 0 || panic!("ended with {code}"),
        }
    });
    assert_eq!(on(&dir, &["checkpoint", "get", "s"]).ok().out, "4\n");
    let mut seen: Vec<u64> = seqs(&fs::read_to_string(&seen).unwrap());
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, [1, 2, 3, 4]);
}

/// Waits until a program has written its process id to a file, as a line.
fn pid_in(file: &Path) -> u32 {
    let read = || fs::read_to_string(file).ok().filter(|text| text.ends_with('\n'))?.trim().parse().ok();
    eventually("the program runs", || read().is_some());
    read().unwrap()
}

/// Once, the program of a leader that was killed went on while a second one led beside it.
#[test]
fn a_program_keeps_the_lead_that_it_was_started_with_when_the_leader_is_killed() {
    let (home, dir) = store_of(&["a"]);
    let pid = home.path().join("pid");
    // `cat` ends as soon as the leader, and with it the other end of a pipe, is gone; what follows goes on.
    let script = format!("cat > /dev/null; echo $$ > '{0}.new'; mv '{0}.new' '{0}'; exec sleep 60", pid.display());
    for leads in [&["checkpoint", "lead", "s", "--", "sh", "-c", &script][..], &["watch", "s", "--exec", "sh", "--", "-c", &script]] {
        let mut leader = Running::start(&dir, leads);
        let program = pid_in(&pid);
        let _ = leader.0.kill();
        leader.0.wait().unwrap();
        for second in [&["checkpoint", "lead", "s", "--", "true"][..], &["watch", "s", "--once", "--exec", "true"]] {
            let refused = on(&dir, second).code(3);
            assert!(refused.err.contains(&format!("is led by process {program}\n")), "{}", refused.err);
        }
        kill(Pid::from_raw(program.try_into().unwrap()), Signal::SIGKILL).unwrap();
        eventually("the lead is free", || on(&dir, &["checkpoint", "lead", "s", "--", "true"]).code == 0);
        fs::remove_file(&pid).unwrap();
    }
    assert_eq!(on(&dir, &["watch", "s", "--once"]).ok().out.lines().count(), 1, "the checkpoint did not move");
}

#[test]
fn a_state_is_saved_shown_listed_and_forgotten() {
    let (_home, dir) = store_of(&["a", "b", "c"]);
    on_with(&dir, &["snapshot", "save", "sum", "--seq-nr", "1"], b"{\"n\": 1}\n").ok();
    on_with(&dir, &["snapshot", "save", "sum", "--seq-nr", "2"], b"{\"n\": 2.0}").ok();
    assert!(
        on_with(&dir, &["snapshot", "save", "sum", "--seq-nr", "1"], b"0")
            .code(1)
            .err
            .contains("older than the saved state 2, which covers the feed up to 2")
    );
    assert!(on_with(&dir, &["snapshot", "save", "sum", "--seq-nr", "9"], b"0").code(1).err.contains("beyond the latest number 3"));
    on_with(&dir, &["snapshot", "save", "sum", "--seq-nr", "3"], b"{").code(1);
    // Half a surrogate pair: where it is wrong is told as of the state that was handed in.
    let refused = on_with(&dir, &["snapshot", "save", "sum", "--seq-nr", "3", "--format", "json"], b"\n  \"\\ud800\"\n").code(1).err;
    let refused: serde_json::Value = serde_json::from_str(&refused).unwrap();
    assert_eq!(refused["error"]["message"], "state of snapshot 'sum' is refused");
    let reason = &refused["error"]["reasons"][0];
    assert_eq!((&reason["line"], &reason["column"]), (&2.into(), &4.into()), "{refused}");
    // What the command line said stands nowhere in the state.
    let refused = on_with(&dir, &["snapshot", "save", "", "--seq-nr", "3", "--format", "json"], b"0").code(1).err;
    let refused: serde_json::Value = serde_json::from_str(&refused).unwrap();
    assert!(refused["error"]["reasons"][0]["line"].is_null(), "{refused}");
    let either = on_with(&dir, &["snapshot", "save", "sum"], b"0").code(2).err;
    assert!(either.contains("--seq-nr <N>|--covers <STREAM=VERSION>"), "{either}");
    on_with(&dir, &["snapshot", "save", "sum", "--seq-nr", "3", "--covers", "a=1"], b"0").code(2);
    on_with(&dir, &["snapshot", "save", "a", "--covers", "a=1", "--covers", "b=1"], b"[]").ok();
    let shown = on(&dir, &["snapshot", "show", "sum"]).ok().json();
    assert_eq!((&shown["snapshot"]["seq_nr"], &shown["stale"]), (&Value::from(2), &Value::from(false)));
    assert_eq!(on(&dir, &["snapshot", "show", "sum", "--state"]).ok().out, "{\"n\": 2.0}\n");
    assert_eq!(on(&dir, &["snapshot", "show", "sum", "--seq-nr", "1", "--state"]).ok().out, "{\"n\": 1}\n");
    assert_eq!(seqs(&on(&dir, &["snapshot", "after", "sum"]).ok().out), [3]);
    let both = on(&dir, &["snapshot", "after", "sum", "--with-state"]).ok();
    let both = both.lines();
    assert!(both.len() == 2 && both[0].ends_with("\"state\":{\"n\": 2.0}}") && both[1].starts_with("{\"seq_nr\":3,"), "{both:?}");
    assert_eq!(on(&dir, &["snapshot", "list"]).ok().lines().len(), 3);
    // Story: of a state that covers streams, the list told nothing of what it covers.
    for (name, key) in [("sum", "seq_nr"), ("a", "versions")] {
        let listed = on(&dir, &["snapshot", "list", name, "--format", "json"]).ok().out;
        let listed: Value = serde_json::from_str(listed.lines().last().unwrap()).unwrap();
        let shown = on(&dir, &["snapshot", "show", name]).ok().json();
        assert!(listed[key] == shown["snapshot"][key] && !listed[key].is_null(), "{listed}");
        assert_eq!(listed.as_object().unwrap().keys().filter(|key| ["seq_nr", "versions"].contains(&key.as_str())).count(), 1);
    }
    assert_eq!(on(&dir, &["snapshot", "list", "sum"]).ok().lines().len(), 2);
    let large = format!("\"{}\"", "x".repeat(64 << 20));
    let refused = on_with(&dir, &["snapshot", "save", "sum", "--seq-nr", "3"], large.as_bytes()).code(1).err;
    assert!(refused.contains("state is longer than 67108864 bytes"), "{refused}");
    let path = dir.join(".eventcore/braidfs/snapshots/73756d/2");
    fs::write(&path, fs::read_to_string(&path).unwrap().replace("2.0", "9.0")).unwrap();
    assert_eq!(on(&dir, &["snapshot", "show", "sum", "--state"]).ok().out, "{\"n\": 1}\n");
    assert_eq!(seqs(&on(&dir, &["snapshot", "after", "sum"]).ok().out), [2, 3]);
    assert!(on(&dir, &["snapshot", "show", "sum", "--seq-nr", "2"]).code(1).err.contains("has a damaged state at 2"));
    assert!(on(&dir, &["snapshot", "show", "sum", "--seq-nr", "2", "--state"]).code(1).err.contains("has a damaged state at 2"));
    assert!(on(&dir, &["snapshot", "list", "sum"]).ok().lines()[1].ends_with("  damaged: its file does not say what was saved"));
    for command in ["doctor", "verify"] {
        let told = on(&dir, &[command]);
        let told = format!("{}{}", told.out, told.err);
        assert!(told.contains("state 2 of snapshot \"sum\" is damaged") && told.contains("rm -rf "), "{command}: {told}");
    }
    fs::write(&path, "").unwrap();
    assert!(on(&dir, &["snapshot", "list", "sum"]).ok().lines()[1].ends_with("  damaged: what it covers cannot be read"));
    on(&dir, &["snapshot", "forget", "sum"]).ok();
    assert!(on(&dir, &["snapshot", "show", "sum"]).code(1).err.contains("does not exist"));
    // The same by a draft.
    let draft = b"{\"snapshot\":{\"name\":\"sum\",\"seq_nr\":3},\"state\":7}";
    assert!(on_with(&dir, &["append"], draft).ok().out.contains("saved state 1 of snapshot sum"));
    assert_eq!(on(&dir, &["snapshot", "show", "sum", "--state"]).ok().out, "7\n");
}

#[test]
fn the_newest_states_are_kept_as_many_as_asked_for() {
    let (_home, dir) = store_of(&["a"; 8]);
    let covered = || -> Vec<u64> {
        let listed = on(&dir, &["--format", "json", "snapshot", "list", "sum"]).ok();
        listed.lines().iter().map(|line| serde_json::from_str::<Value>(line).unwrap()["seq_nr"].as_u64().unwrap()).collect()
    };
    for seq_nr in 1..=6 {
        on_with(&dir, &["snapshot", "save", "sum", "--seq-nr", &seq_nr.to_string()], b"0").ok();
    }
    assert_eq!(covered(), [2, 3, 4, 5, 6], "five where nobody says otherwise");
    on_with(&dir, &["snapshot", "save", "sum", "--seq-nr", "7", "--keep", "2"], b"0").ok();
    assert_eq!(covered(), [6, 7]);
    on_with(&dir, &["snapshot", "save", "sum", "--seq-nr", "8", "--keep", "1"], b"0").ok();
    assert_eq!(covered(), [8]);
    assert!(on_with(&dir, &["snapshot", "save", "sum", "--seq-nr", "8", "--keep", "0"], b"0").code(2).err.contains("no number from 1"));
}

#[test]
fn of_saves_at_once_the_largest_that_was_acknowledged_stands() {
    let streams: Vec<String> = (0..8).map(|n| format!("s-{n}")).collect();
    let (home, dir) = store_of(&streams.iter().map(String::as_str).collect::<Vec<_>>());
    let state = home.path().join("state");
    fs::write(&state, "0").unwrap();
    for round in 0..3u64 {
        let mut running: Vec<(u64, bool, Running)> = Vec::new();
        for seq_nr in 1..=8u64 {
            let number = seq_nr.to_string();
            let checkpoint = Running::start(&dir, &["checkpoint", "set", "s", &number]);
            let snapshot = Running::start(&dir, &["snapshot", "save", "s", state.to_str().unwrap(), "--seq-nr", &number]);
            running.push((seq_nr, true, checkpoint));
            running.push((seq_nr, false, snapshot));
        }
        std::thread::sleep(std::time::Duration::from_millis(10 + round * 15));
        let (mut saved, mut stated) = (0, 0);
        for (n, (seq_nr, is_checkpoint, mut process)) in running.into_iter().enumerate() {
            if n % 3 == 0 {
                process.signal(Signal::SIGKILL);
            }
            // Refused: a larger one was faster, or the lock was busy.
            if process.0.wait().unwrap().success() {
                let largest = if is_checkpoint { &mut saved } else { &mut stated };
                *largest = seq_nr.max(*largest);
            }
        }
        let number = on(&dir, &["checkpoint", "get", "s"]);
        assert!(saved == 0 || number.ok().out.trim().parse::<u64>().unwrap() >= saved);
        let shown = on(&dir, &["snapshot", "show", "s"]);
        assert!(stated == 0 || shown.ok().json()["snapshot"]["seq_nr"].as_u64().unwrap() >= stated);
    }
}
