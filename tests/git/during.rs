//! Who begins while git is at work sees all of it or nothing, and never writes onto a part.

use std::fs;
use std::path::Path;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::stage::repository;
use crate::support::git::{git, git_command};
use crate::support::mount::Mount;
use crate::support::run::{bash, braidfs_on};
use crate::support::wait::eventually;

/// A repository whose checkouts write a file each `pause` seconds: `main` has one transaction, `many` so many more.
fn slow_repository(dir: &Path, files: u64, pause: &str) {
    let copy = repository(dir);
    copy.commit("s", 0);
    copy.on_branch("many", |copy| {
        for n in 1..=files {
            copy.append("s", n);
        }
        copy.save("many");
    });
    fs::write(dir.join(".git/info/attributes"), "events/*.jsonl -text merge=binary filter=slow\n").unwrap();
    git(dir, ["config", "filter.slow.smudge", &format!("sleep {pause}; cat")]);
    git(dir, ["config", "filter.slow.clean", "cat"]);
}

/// A checkout of `many` that has begun and is not done.
struct Checkout {
    git: Child,
    watcher: JoinHandle<Duration>,
    is_over: Arc<AtomicBool>,
}

impl Checkout {
    fn begin(dir: &Path) -> Self {
        let before = files(dir);
        let git = git_command(dir).args(["checkout", "-q", "many"]).spawn().unwrap();
        eventually("some files are there", || files(dir) > before + 1);
        let is_over = Arc::new(AtomicBool::new(false));
        let (dir, over) = (dir.to_owned(), Arc::clone(&is_over));
        let watcher = std::thread::spawn(move || {
            let (mut count, mut since, mut longest) = (files(&dir), Instant::now(), Duration::ZERO);
            while !over.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
                longest = longest.max(since.elapsed());
                if files(&dir) != count {
                    (count, since) = (files(&dir), Instant::now());
                }
            }
            longest
        });
        Self { git, watcher, is_over }
    }

    /// Waits for its end; gives whether no pause in it was so long that it may be taken for the end, as on a machine that is too busy.
    fn end(mut self) -> bool {
        assert!(self.git.wait().unwrap().success());
        self.is_over.store(true, Ordering::SeqCst);
        self.watcher.join().unwrap() < Duration::from_millis(250)
    }
}

fn files(dir: &Path) -> usize {
    fs::read_dir(dir.join("events")).map_or(0, Iterator::count)
}

#[test]
fn commands_that_begin_during_a_checkout_wait_until_it_is_whole() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    slow_repository(&dir, 20, "0.03");
    let checkout = Checkout::begin(&dir);
    let log = braidfs_on(&dir, &["log"], "").ok();
    let is_steady = checkout.end();
    assert!(!is_steady || log.out.lines().count() == 21, "{}", log.out);
    git(&dir, ["checkout", "-q", "main"]);
    let checkout = Checkout::begin(&dir);
    let line = "{\"stream\":\"s\",\"type\":\"Counted\",\"data\":{\"n\":99}}\n";
    let committed = braidfs_on(&dir, &["append"], line).ok();
    if checkout.end() {
        assert!(committed.out.contains("s v22"), "{}", committed.out);
        assert_eq!(braidfs_on(&dir, &["forks"], "").ok().out, "no stream is forked\n");
    }
}

/// Story: of nothing that was known to be there yet, everything seemed to be read: the bar was full from the start.
#[test]
fn progress_is_not_full_before_anything_is_known() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    slow_repository(&dir, 20, "0.03");
    let checkout = Checkout::begin(&dir);
    let shown = bash(&dir, &format!("TERM=xterm script -qec '{} status' /dev/null", env!("CARGO_BIN_EXE_braidfs"))).ok().out;
    if checkout.end() {
        assert!(shown.contains("reading transactions") && !shown.contains("0/0"), "{shown}");
    }
}

#[test]
fn a_mount_that_begins_during_a_checkout_answers_and_shows_it_once_it_is_whole() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    slow_repository(&dir, 20, "0.03");
    for option in ["--no-cache", "--read-only"] {
        let checkout = Checkout::begin(&dir);
        let mount = Mount::options(&dir).arg(option).start();
        // The root is there at once; a view waits.
        assert!(mount.list("").contains(&"log.jsonl".to_owned()));
        let seen = mount.count("log.jsonl");
        let is_steady = checkout.end();
        assert!(!is_steady || seen == 21, "{option}: {seen}");
        mount.unmount();
        git(&dir, ["checkout", "-q", "main"]);
    }
}

/// Story: a transaction whose file git had taken already was left out of the listing, though the views still showed its events.
#[test]
fn transactions_are_listed_as_the_views_show_them_while_git_takes_their_files() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    slow_repository(&dir, 20, "0.03");
    git(&dir, ["checkout", "-q", "-b", "few"]);
    for n in 1..=5 {
        braidfs_on(&dir, &["append"], &format!("{{\"stream\":\"few\",\"type\":\"T\",\"data\":{n}}}\n")).ok();
    }
    git(&dir, ["add", "-A"]);
    git(&dir, ["commit", "-q", "-m", "few"]);
    for option in ["--no-cache", "--allow-other"] {
        let mount = Mount::options(&dir).arg(option).start();
        assert_eq!(mount.count("log.jsonl"), 6);
        let checkout = Checkout::begin(&dir);
        let mut listed = Vec::new();
        while files(&dir) < 21 {
            listed.push((mount.list("transactions").len(), mount.list("streams").len()));
        }
        let is_steady = checkout.end();
        // The last one may have met the end.
        listed.pop();
        assert!(!is_steady || listed.iter().all(|listed| *listed == (6, 2)), "{option}: {listed:?}");
        mount.unmount();
        git(&dir, ["checkout", "-q", "few"]);
    }
}

/// For five seconds; a mount waits on.
#[test]
fn a_checkout_that_takes_long_is_busy_for_commands_and_not_shown_by_a_mount_before_its_end() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    slow_repository(&dir, 150, "0.04");
    let checkout = Checkout::begin(&dir);
    let mount = Mount::options(&dir).start();
    let refused = braidfs_on(&dir, &["status"], "");
    let seen = mount.count("log.jsonl");
    if checkout.end() {
        let refused = refused.code(3);
        assert!(refused.err.contains("git is changing the store for over 5 s") && refused.err.contains("try again"), "{}", refused.err);
        assert_eq!(seen, 151);
    }
    eventually("the mount follows", || mount.count("log.jsonl") == 151);
    mount.append("{\"stream\":\"s\",\"type\":\"Counted\",\"data\":{\"n\":99}}\n").unwrap();
    assert_eq!(mount.count("log.jsonl"), 152);
    mount.unmount();
}

/// Killed in the middle, git leaves its lock: what it wrote is shown, with the finding about the lock once that is old.
#[test]
fn a_lock_that_a_killed_git_left_holds_nothing_up() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    slow_repository(&dir, 20, "0.03");
    let mut checkout = Checkout::begin(&dir);
    checkout.git.kill().unwrap();
    checkout.git.wait().unwrap();
    checkout.is_over.store(true, Ordering::SeqCst);
    checkout.watcher.join().unwrap();
    assert!(dir.join(".git/index.lock").exists());
    let there = files(&dir);
    // The last one may be there in part.
    let shown = braidfs_on(&dir, &["log"], "").ok().out.lines().count();
    assert!(shown == there || shown + 1 == there, "{shown} of {there}");
    braidfs_on(&dir, &["append"], "{\"stream\":\"t\",\"type\":\"Counted\",\"data\":{\"n\":1}}\n").ok();
}
