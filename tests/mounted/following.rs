//! `tail -f` and `tail -F`, and readers while things change.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::draft::event;
use crate::support::mount::{Mount, User};
use crate::support::run::{bash_as_nobody, braidfs, braidfs_command, run, run_with};
use crate::support::store::TestStore;
use crate::support::wait::{DEADLINE, eventually, eventually_some, within};

/// A program that prints what comes, until the test is over.
struct Follower {
    child: Child,
    lines: Receiver<String>,
}

impl Follower {
    fn tail(mount: &Mount, arguments: &[&str]) -> Self {
        Self::start(Command::new("tail").args(arguments).args(["-n", "+1", "-s", "0.05"]).current_dir(mount.path()))
    }

    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (sender, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || output.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok()));
        Self { child, lines }
    }

    #[track_caller]
    fn next(&self) -> serde_json::Value {
        serde_json::from_str(&self.lines.recv_timeout(DEADLINE).unwrap()).unwrap()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn tail_f_of_the_feed_shows_every_event_once() {
    let mut store = TestStore::new();
    store.transaction().event("a", "T", json!(0)).write();
    let mount = Mount::start(&store.path());
    let tail = Follower::tail(&mount, &["-f", "feed.jsonl"]);
    for n in 1..20 {
        assert_eq!(tail.next()["seq_nr"], n);
        if n % 2 == 0 {
            store.transaction().event("a", "T", json!(n)).write();
        } else {
            fs::write(mount.join(format!("staging/x{n}.jsonl")), format!("{{\"stream\":\"b\",\"type\":\"T\",\"data\":{n}}}\n")).unwrap();
        }
    }
    drop(tail);
    mount.unmount();
}

/// Git takes events away and brings them back: in a file that was open before they stay as they were shown, and come once more.
#[test]
fn tail_f_of_the_feed_goes_on_over_events_that_leave_and_return() {
    for mode in ["--log-file=/dev/null", "--no-cache"] {
        let mut store = TestStore::new();
        let files: Vec<String> = (0..3).map(|n| format!("{}.jsonl", store.transaction().event("a", "T", json!(n)).write())).collect();
        let (events, away) = (store.events_dir(), store.home().join("away"));
        let mount = Mount::options(&store.path()).arg(mode).start();
        let (whole, tails) = (Follower::tail(&mount, &["-f", "feed.jsonl"]), Follower::tail(&mount, &["-f", "feed/after/1.jsonl"]));
        let follows = |numbers: std::ops::RangeInclusive<u64>| {
            for n in numbers {
                for tail in [&whole, &tails].into_iter().filter(|_| n > 1).chain((n == 1).then_some(&whole)) {
                    let line = tail.next();
                    assert_eq!((&line["seq_nr"], &line["event_type"]), (&json!(n), &json!("T")), "{mode:?}");
                }
            }
        };
        follows(1..=3);
        let gone = || mount.read("feed.jsonl").matches("\"gone\":true").count();
        for round in 0..3 {
            let before = gone();
            fs::rename(events.join(&files[1]), &away).unwrap();
            eventually("it is gone", || gone() > before);
            fs::rename(&away, events.join(&files[1])).unwrap();
            follows(4 + 2 * round..=4 + 2 * round);
            store.transaction().event("b", "T", json!(round)).write();
            follows(5 + 2 * round..=5 + 2 * round);
        }
        // Something comes while something goes.
        fs::rename(events.join(&files[1]), &away).unwrap();
        store.transaction().event("b", "T", json!(9)).write();
        follows(10..=10);
        drop((whole, tails));
        assert!(mount.unmount().success());
    }
}

/// A file system of which the kernel sees a part only, as of another machine: a watch of it succeeds and hears nothing.
#[test]
fn what_comes_unseen_by_the_kernel_is_found_by_looking() {
    let mut store = TestStore::new();
    store.transaction().event("a", "T", json!(0)).write();
    let bound = Bound::to(&store);
    let mount = Mount::start(&bound.0);
    let told = || mount.read_json("status.json")["findings"].to_string();
    eventually("it is told", || told().contains("gives no hints of changes"));
    store.transaction().event("b", "T", json!(1)).write();
    eventually("it is shown", || mount.count("log.jsonl") == 2);
    // A commit looks before it is made.
    store.transaction().event("c", "T", json!(1)).write();
    let refused = mount.append("{\"expect\":{\"c\":\"none\"},\"events\":[{\"stream\":\"c\",\"type\":\"T\",\"data\":2}]}");
    assert!(refused.is_err());
    mount.unmount();
}

/// A store as another file system shows it.
struct Bound(PathBuf);

impl Bound {
    fn to(store: &TestStore) -> Self {
        let bound = Self(store.home().join("bound"));
        fs::create_dir(&bound.0).unwrap();
        run("bindfs", [store.path().as_os_str(), bound.0.as_os_str()]).ok();
        bound
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        drop(Command::new("fusermount3").args(["-q", "-u", "-z"]).arg(&self.0).status());
    }
}

#[test]
fn tail_capital_f_begins_anew_when_the_order_changes_and_never_shows_a_mix() {
    let (mut store, ids) = TestStore::forked();
    let mount = Mount::start(&store.path());
    eventually("the log is there", || mount.read("log.jsonl").lines().count() == 7);
    let tail = Follower::tail(&mount, &["-F", "log.jsonl"]);
    for position in 1..=7 {
        assert_eq!(tail.next()["position"], position);
    }
    // It comes before what two others wrote: every later position shifts.
    store.transaction().replica(3).parents([ids.root]).created_at("2026-01-01T00:00:00+00:00").event("early", "T", json!(1)).write();
    for position in 1..=8 {
        assert_eq!(tail.next()["position"], position);
    }
    drop(tail);
    mount.unmount();
}

#[test]
fn tail_says_that_a_canonical_view_was_replaced_and_tail_f_ends_there() {
    let (mut store, ids) = TestStore::forked();
    let mount = Mount::start(&store.path());
    eventually("the log is there", || mount.read("log.jsonl").lines().count() == 7);
    let told = store.home().join("told");
    let mut named = Command::new("tail")
        .args(["-F", "-s", "0.05", "log.jsonl"])
        .env("LC_ALL", "C")
        .current_dir(mount.path())
        .stdout(Stdio::null())
        .stderr(fs::File::create(&told).unwrap())
        .spawn()
        .unwrap();
    let open = Follower::tail(&mount, &["-f", "log.jsonl"]);
    for position in 1..=7 {
        assert_eq!(open.next()["position"], position);
    }
    store.transaction().replica(3).parents([ids.root]).created_at("2026-01-01T00:00:00+00:00").event("early", "T", json!(1)).write();
    eventually("tail -F tells", || fs::read_to_string(&told).unwrap().contains("has been replaced"));
    fs::write(mount.join("append"), "{\"stream\":\"b\",\"type\":\"T\",\"data\":1}\n").unwrap();
    assert_eq!(mount.read("log.jsonl").lines().count(), 9);
    drop((named.kill(), named.wait()));
    assert!(open.lines.try_recv().is_err(), "what was open has no further line");
    drop(open);
    mount.unmount();
}

#[test]
fn a_reader_never_meets_zeros_where_a_file_grows() {
    let store = TestStore::new();
    let mount = Mount::start(&store.path());
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut file = fs::File::open(mount.join("log.jsonl")).unwrap();
                let mut text = String::new();
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    std::io::Read::read_to_string(&mut file, &mut text).unwrap();
                    assert!(!text.contains('\0'), "zeros at {:?}", text.find('\0'));
                    std::thread::yield_now();
                }
                std::io::Read::read_to_string(&mut file, &mut text).unwrap();
                assert_eq!(text, mount.read("log.jsonl"));
            });
        }
        for n in 0..40 {
            fs::write(mount.join(format!("staging/x{n}.jsonl")), format!("{{\"stream\":\"b\",\"type\":\"T\",\"data\":{n}}}\n")).unwrap();
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    mount.unmount();
}

/// What the kernel has of a file's size, without asking the daemon.
fn kept_size(file: &fs::File) -> u64 {
    use std::os::fd::AsRawFd as _;
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
    let mut facts = std::mem::MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: the descriptor is open, the path ends with a zero, and all of the facts are valid as zeros.
    #[allow(unsafe_code)]
    let facts = unsafe {
        assert_eq!(libc::statx(file.as_raw_fd(), c"".as_ptr(), flags, libc::STATX_SIZE, facts.as_mut_ptr()), 0);
        facts.assume_init()
    };
    facts.stx_size
}

/// The kernel declares an answer valid before it takes the size from it. Who had been told the new size by an answer that overlapped a
/// notice, and is not kept, then saw the old one once more: about once in some million calls, which `tail -F` takes for a truncation.
#[test]
fn the_kernel_has_the_new_size_before_anybody_is_told_it() {
    let store = TestStore::new();
    let mount = Mount::start(&store.path());
    let append = |n: usize| fs::write(mount.join("append"), event("b", n)).unwrap();
    append(0);
    let views = ["log.jsonl", "feed.jsonl", "streams/b.jsonl", "types/T.jsonl"];
    let open = views.map(|view| fs::File::open(mount.join(view)).unwrap());
    let before = open.each_ref().map(|file| file.metadata().unwrap().len());
    for n in 1..20 {
        append(n);
        let kept = open.each_ref().map(kept_size);
        let asked = open.each_ref().map(|file| file.metadata().unwrap().len());
        assert!(kept == asked && kept != before, "{kept:?} {asked:?}");
    }
    for (file, view) in open.iter().zip(views) {
        assert_eq!(std::io::read_to_string(file).unwrap(), mount.read(view));
    }
    drop(open);
    mount.unmount();
}

/// A subscription's `watch` is no part of a mount: mounts end, crash and come back, and it goes on.
#[test]
fn watch_goes_on_over_mounts_that_end_and_come_back() {
    const EVENT: &str = "{\"stream\":\"a\",\"type\":\"T\",\"data\":1}\n";
    let store = TestStore::new();
    let dir = store.path();
    let dir = dir.to_str().unwrap();
    let mut mount = Mount::start(&store.path());
    // Started inside the mount, and knowing nothing else.
    let watch = Follower::start(braidfs_command().args(["watch", "s", "--save"]).current_dir(mount.path()).stdin(Stdio::null()));
    let mut crashed = Vec::new();
    let mut numbers = 1..;
    let mut met = |what: &str| assert_eq!(watch.next()["seq_nr"], numbers.next().unwrap(), "{what}");
    for crash in [false, true, false, true] {
        fs::write(mount.join("append"), EVENT).unwrap();
        met("by the mount");
        if crash {
            mount.crash();
            crashed.push(mount);
        } else {
            assert!(mount.unmount().success(), "whoever watches does not use the mount");
        }
        run_with(braidfs_command().args(["--store", dir, "append"]), EVENT.as_bytes()).ok();
        met("between mounts");
        mount = Mount::start(&store.path());
    }
    fs::write(mount.join("append"), EVENT).unwrap();
    met("at last");
    eventually("it has acknowledged the last one", || braidfs(["--store", dir, "checkpoint", "get", "s"]).out == "9\n");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(watch.child.id() as i32), nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(watch.lines.recv_timeout(DEADLINE).is_err(), "nothing came twice");
    mount.unmount();
}

/// Longer may be waited for what comes by chance.
fn within_seconds(seconds: u64, what: &str, condition: impl Fn() -> bool) {
    within(Duration::from_secs(seconds), what, || condition().then_some(()));
}

/// They touch no view, and are told of all the same: one that is its own parent, and what stands behind it.
#[test]
fn what_stands_in_a_cycle_of_parents_is_told_of_when_it_comes_alone() {
    let mut store = TestStore::new();
    store.transaction().event("a", "T", json!(0)).write();
    let mount = Mount::start(&store.path());
    assert_eq!(mount.count("log.jsonl"), 1);
    // Nothing else is left to be published, which would bring it along.
    std::thread::sleep(Duration::from_secs(3));
    let own_parent = uuid::Uuid::now_v7();
    store.transaction().id(own_parent).parents([own_parent]).event("a", "T", json!(1)).write();
    within_seconds(3, "it is refused", || mount.list("quarantine").contains(&format!("{own_parent}.jsonl")));
    let behind = store.transaction().parents([own_parent]).event("a", "T", json!(2)).write();
    within_seconds(3, "what is behind it as well", || mount.list("quarantine").contains(&format!("{behind}.jsonl")));
    assert_eq!(mount.read_json("status.json")["findings"].as_array().map(Vec::len), Some(2));
    assert_eq!(mount.count("log.jsonl"), 1);
    mount.unmount();
}

#[test]
fn files_that_come_one_after_the_other_are_shown_in_a_few_steps() {
    const FILES: usize = 300;
    let mut store = TestStore::new();
    store.transaction().event("a", "T", json!(0)).write();
    let mount = Mount::options(&store.path()).env("BRAIDFS_LOG", "braidfs::braid::keeper::arrival=debug").start();
    let epoch = || -> u64 {
        let metrics = mount.read("metrics");
        let published = metrics.lines().find_map(|line| line.strip_prefix("braidfs_published_epochs_total "));
        published.unwrap().parse().unwrap()
    };
    assert_eq!(mount.count("log.jsonl"), 1);
    let (before, begun) = (epoch(), Instant::now());
    for n in 1..=FILES {
        store.transaction().event("a", "T", json!(n)).write();
        // Slow enough that each would be looked at by itself.
        std::thread::sleep(Duration::from_millis(1));
    }
    eventually("all are shown", || mount.count("log.jsonl") == FILES + 1);
    let steps = epoch() - before;
    // Hints gather for 20 ms. Twice as many: a look may be due to the clock as well.
    let most = 2 * (begun.elapsed().as_millis() as u64 / 20 + 1);
    // On a machine so busy that a file takes longer than that, each may have a step of its own.
    let is_busy = most >= FILES as u64;
    assert!(steps <= most.max(4) && (is_busy || steps < FILES as u64 / 2), "{steps} epochs, {most} at most");
    let told = |name: &str| {
        let log = mount.log();
        let arrivals = log.lines().filter(|line| line.contains("what came and went is taken in and shown"));
        arrivals.map(|line| line.split_once(name).unwrap().1.split_whitespace().next().unwrap().parse::<u64>().unwrap()).collect::<Vec<_>>()
    };
    // One that was met while it was written is looked at again.
    eventually("each is told of", || told(" came=").iter().sum::<u64>() >= FILES as u64);
    // An append of our own is no arrival.
    let before = told(" came=");
    mount.append(&event("a", FILES)).unwrap();
    assert_eq!(mount.count("log.jsonl"), FILES + 2);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(told(" came="), before);
    assert!(told(" cpu_us=").iter().zip(told(" duration_us=")).all(|(&cpu, wall)| cpu > 0 && wall > 0), "{}", mount.log());
    mount.unmount();
}

/// The finding's own cure, which changes nothing that a listing tells.
#[test]
fn a_file_that_may_be_read_again_is_shown_at_once() {
    fs::set_permissions("/dev/fuse", fs::Permissions::from_mode(0o666)).unwrap();
    let mut store = TestStore::new();
    let denied = store.transaction().event("a", "T", json!(0)).write();
    store.transaction().event("a", "T", json!(1)).write();
    let path = store.events_dir().join(format!("{denied}.jsonl"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    let mount = Mount::options(&store.path()).user(User::Nobody).start();
    let as_nobody = |directory: &Path, script: &str| bash_as_nobody(directory, script).ok().out;
    let refused = || {
        let status: serde_json::Value = serde_json::from_str(&as_nobody(mount.path(), "cat status.json")).unwrap();
        let findings = status["findings"].as_array().unwrap();
        findings.iter().find(|finding| finding["kind"] == "quarantined").map(|finding| finding["hint"].as_str().unwrap().to_owned())
    };
    let hint = eventually_some("it is refused", refused);
    assert!(hint.starts_with(&format!("chmod u+r events/{denied}.jsonl ")), "{hint}");
    assert_eq!(as_nobody(mount.path(), "wc -l < log.jsonl").trim(), "1");
    as_nobody(&store.path(), &hint);
    eventually("it is not refused any more", || refused().is_none());
    assert_eq!(as_nobody(mount.path(), "wc -l < log.jsonl").trim(), "2");
    mount.unmount();
}

/// The best of several: a busy machine may delay any of them.
#[test]
fn what_another_program_brings_is_shown_within_a_tenth_of_a_second() {
    let mut store = TestStore::new();
    store.transaction().event("a", "T", json!(0)).write();
    let mount = Mount::start(&store.path());
    let mut fastest = Duration::MAX;
    for n in 1..=20 {
        let begun = Instant::now();
        store.transaction().event("a", "T", json!(n)).write();
        while mount.count("log.jsonl") <= n {
            assert!(begun.elapsed() < DEADLINE);
        }
        fastest = fastest.min(begun.elapsed());
    }
    assert!(fastest < Duration::from_millis(100), "{fastest:?}");
    mount.unmount();
}
