//! Bugs and deaths at chosen steps of the daemon, ordered by a file that only builds with debug assertions heed.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::draft::{close, errno, event};
use crate::support::mount::{Mount, MountOptions, is_root};
use crate::support::run::{bash, braidfs, braidfs_command, run, run_with};
use crate::support::store::TestStore;
use crate::support::wait::{eventually, eventually_some};

/// The file by which a daemon is told to fail.
struct Mishap(PathBuf);

impl Mishap {
    fn of(store: &TestStore) -> Self {
        Self(store.home().join("mishap"))
    }

    fn options(&self, store: &Path) -> MountOptions {
        Mount::options(store).env("BRAIDFS_MISHAP", self.0.to_str().unwrap())
    }

    /// Mounts, and waits until the store has been read.
    fn mount(&self, store: &Path) -> Mount {
        let mount = self.options(store).start();
        mount.read("log.jsonl");
        mount
    }

    /// Orders it, `spared` such steps from now.
    fn order(&self, how: &str, step: &str, spared: usize) {
        let whole = self.0.with_extension("new");
        fs::write(&whole, format!("{how} {step} {spared}")).unwrap();
        fs::rename(whole, &self.0).unwrap();
    }

    /// Whether it has not come to it; then it no longer will.
    fn take_back(&self) -> bool {
        fs::remove_file(&self.0).is_ok()
    }
}

/// The calls that a program makes on `staging/.draft`, by the request that each brings.
fn call(mount: &Mount, request: &str) -> io::Result<()> {
    let draft = mount.join("staging/.draft");
    let open = || OpenOptions::new().read(true).write(true).open(&draft);
    match request {
        "create" => File::create_new(mount.join("staging/.new")).and_then(|_| fs::remove_file(mount.join("staging/.new"))),
        "unlink" => fs::write(mount.join("staging/.gone"), "").and_then(|()| fs::remove_file(mount.join("staging/.gone"))),
        "rename" => fs::rename(&draft, mount.join("staging/.other")).and_then(|()| fs::rename(mount.join("staging/.other"), &draft)),
        "getattr" => open()?.metadata().map(drop),
        "open" => open().map(drop),
        "read" => open()?.read(&mut [0; 8]).map(drop),
        "write" => open()?.write_all(b"bytes"),
        "flush" => close(open()?),
        "fsync" => open()?.sync_all(),
        "setattr" => open()?.set_len(7),
        "fallocate" => nix::fcntl::posix_fallocate(&open()?, 0, 9).map_err(io::Error::from),
        "setlk" => open()?.lock(),
        "access" => nix::unistd::access(&draft, nix::unistd::AccessFlags::R_OK).map_err(io::Error::from),
        "mkdir" => fs::create_dir(mount.join("staging/directory")),
        "rmdir" => fs::remove_dir(mount.join("streams")),
        "link" => fs::hard_link(&draft, mount.join("staging/.link")),
        "symlink" => std::os::unix::fs::symlink("x", mount.join("staging/.link")),
        "lookup" => fs::metadata(mount.join("streams/never.jsonl")).map(drop),
        "opendir" => fs::read_dir(mount.join("streams")).map(drop),
        "readdirplus" => fs::read_dir(mount.join("staging"))?.try_for_each(|entry| entry.map(drop)),
        "statfs" => nix::sys::statvfs::statvfs(mount.path()).map(drop).map_err(io::Error::from),
        "getxattr" => xattr(["-n", "user.braidfs.stream_id"], mount),
        "listxattr" => xattr(["-m", "-"], mount),
        "append" => mount.append(&event("a", 1)),
        other => panic!("no call for {other}"),
    }
}

fn xattr(arguments: [&str; 2], mount: &Mount) -> io::Result<()> {
    let file = mount.join("streams/a.jsonl");
    let ran = run("getfattr", arguments.into_iter().chain(["--absolute-names", file.to_str().unwrap()]));
    if ran.err.contains("Input/output error") { Err(io::Error::from_raw_os_error(libc::EIO)) } else { Ok(()) }
}

#[test]
fn a_bug_in_one_request_is_an_error_of_that_request_only() {
    let store = TestStore::new();
    let mishap = Mishap::of(&store);
    let mount = mishap.mount(&store.path());
    mount.append(&event("a", 0)).unwrap();
    fs::write(mount.join("staging/.draft"), "a draft").unwrap();
    let requests = [
        "lookup",
        "getattr",
        "open",
        "read",
        "write",
        "flush",
        "fsync",
        "setattr",
        "fallocate",
        "setlk",
        "access",
        "create",
        "unlink",
        "rename",
        "mkdir",
        "rmdir",
        "link",
        "symlink",
        "opendir",
        "readdirplus",
        "statfs",
        "getxattr",
        "listxattr",
        "append",
    ];
    for (at, request) in requests.into_iter().enumerate() {
        let before = errno(call(&mount, request));
        mishap.order("panic", request, 0);
        let failed = errno(call(&mount, request));
        assert!(!mishap.take_back(), "{request} was not asked");
        assert_eq!(failed, libc::EIO, "{request}");
        assert_eq!(errno(call(&mount, request)), before, "{request} afterwards");
        eventually("the bug is told", || mount.log().matches("this is a bug in braidfs").count() == at + 1);
        assert!(mount.log().contains(&format!("a test ordered this at '{request}'")), "{}", mount.log());
        assert_eq!(mount.read("streams/a.jsonl").lines().count(), mount.read("feed.jsonl").lines().count());
    }
    assert_eq!(mount.read("streams/a.jsonl").lines().count(), 3, "the failed append was none");
    assert_eq!(mount.list("staging"), [".draft"]);
    assert!(mount.unmount().success());
}

/// How a commit is asked for, under a number that is also its event's data.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// A finished draft is renamed to its name.
    Rename,
    /// A file is written under its name.
    Drop,
    /// One write to `append`.
    Append,
    /// `braidfs append`, beside the daemon.
    CommandLine,
}

impl Way {
    fn name(number: usize) -> String {
        format!("x-{number}.jsonl")
    }

    /// Asks; true if the commit was answered.
    fn ask(self, mount: &Mount, number: usize) -> bool {
        let text = event("s", number);
        let name = mount.join("staging").join(Self::name(number));
        match self {
            Self::Append => mount.append(&text).is_ok(),
            Self::Drop => fs::write(name, text).is_ok() && state(mount, number).is_some_and(|state| state == "committed"),
            Self::Rename => {
                let draft = mount.join(format!("staging/.x-{number}"));
                fs::write(&draft, text).is_ok() && fs::rename(draft, name).is_ok()
            }
            Self::CommandLine => {
                let answered = from_command_line(mount.store(), &text, None);
                let shown = format!("\"event_data\":{number},");
                eventually("the daemon takes it in, or dies", || {
                    fs::read_to_string(mount.join("log.jsonl")).map_or(true, |log| log.contains(&shown))
                });
                answered
            }
        }
    }
}

fn from_command_line(store: &Path, text: &str, mishap: Option<&Mishap>) -> bool {
    let mut command = braidfs_command();
    command.arg("--store").arg(store).arg("append");
    command.envs(mishap.map(|mishap| ("BRAIDFS_MISHAP", &mishap.0)));
    run_with(&mut command, text.as_bytes()).code == 0
}

/// What the receipt says, as soon as it is decided; none without one.
fn state(mount: &Mount, number: usize) -> Option<String> {
    let receipt = mount.join("receipts").join(format!("{}.json", Way::name(number)));
    let mut state = None;
    eventually("the receipt is decided", || {
        state = fs::read(&receipt).ok().map(|text| {
            let receipt: serde_json::Value = serde_json::from_slice(&text).unwrap();
            receipt["state"].as_str().unwrap().to_owned()
        });
        state.as_deref() != Some("pending")
    });
    state
}

/// How often each number is in the log, which must say the same as the feed, every line whole.
fn counts(mount: &Mount) -> BTreeMap<u64, usize> {
    let count = |name: &str| {
        mount.read_lines(name).into_iter().fold(BTreeMap::new(), |mut counts: BTreeMap<u64, usize>, line| {
            *counts.entry(line["event_data"].as_u64().unwrap()).or_default() += 1;
            counts
        })
    };
    // Numbers are given to what came by other means as soon as the lock is free.
    eventually("every event has its number", || count("feed.jsonl") == count("log.jsonl"));
    count("log.jsonl")
}

/// Kills the daemon at every step of a commit in turn, until a commit and the unmount behind it have no further step.
fn killed_at_every_step(way: Way, steps_min: usize) {
    let store = TestStore::new();
    let mishap = Mishap::of(&store);
    let mut mount = mishap.mount(&store.path());
    fs::write(mount.join("staging/.kept"), "a draft").unwrap();
    for step in 0.. {
        mishap.order("kill", "disk", step);
        let answered = way.ask(&mount, step);
        mount.unmount();
        let was_killed = !mishap.take_back();
        mount = mishap.mount(&store.path());
        // What was begun is finished; who opens the receipt waits for that.
        let told = state(&mount, step);
        let committed = counts(&mount).get(&(step as u64)).copied().unwrap_or_default();
        assert!(committed <= 1 && (committed == 1 || !answered), "killed at step {step}: answered {answered}, there {committed} times");
        assert_eq!(mount.read("staging/.kept"), "a draft");
        check_staged(way, &mount, step, told.as_deref(), committed == 1);
        if !was_killed {
            assert!(answered && step >= steps_min, "a commit has only {step} steps");
            break;
        }
    }
    let committed = counts(&mount).len();
    assert_eq!(fs::read_dir(store.events_dir()).unwrap().count(), committed);
    assert!(mount.unmount().success());
    braidfs(["verify", store.path().to_str().unwrap()]).ok();
}

/// After the restart the receipt tells the truth, and what was not committed is still there.
fn check_staged(way: Way, mount: &Mount, step: usize, told: Option<&str>, committed: bool) {
    let staged = mount.list("staging");
    let is_there = |name: &str| staged.iter().any(|staged| staged == name);
    match way {
        Way::Append | Way::CommandLine => assert_eq!(told, None),
        Way::Drop | Way::Rename if committed => {
            assert_eq!(told, Some("committed"), "step {step}");
            assert!(!is_there(&Way::name(step)), "step {step}: {staged:?}");
        }
        Way::Drop => {
            let kept = fs::read_to_string(mount.join("staging").join(Way::name(step))).unwrap_or_default();
            assert!(event("s", step).starts_with(&kept), "step {step}: {kept}");
            assert_eq!(told, if kept.is_empty() { None } else { Some("refused") }, "step {step}: {staged:?}");
        }
        Way::Rename => {
            assert_ne!(told, Some("committed"), "step {step}");
            let kept = fs::read_to_string(mount.join(format!("staging/.x-{step}"))).unwrap_or_default();
            assert!(event("s", step).starts_with(&kept), "step {step}: {kept}");
        }
    }
}

#[test]
fn killed_at_every_step_of_a_rename() {
    killed_at_every_step(Way::Rename, 8);
}

#[test]
fn killed_at_every_step_of_a_drop() {
    killed_at_every_step(Way::Drop, 8);
}

#[test]
fn killed_at_every_step_of_an_append() {
    killed_at_every_step(Way::Append, 4);
}

#[test]
fn killed_at_every_step_of_taking_in_what_the_command_line_commits() {
    killed_at_every_step(Way::CommandLine, 1);
}

/// The command line commits beside a daemon, and is killed at every step.
#[test]
fn the_command_line_is_killed_at_every_step() {
    let store = TestStore::new();
    let mishap = Mishap::of(&store);
    let mount = Mount::start(&store.path());
    for step in 0.. {
        mishap.order("kill", "disk", step);
        let answered = from_command_line(&store.path(), &event("s", step), Some(&mishap));
        let was_killed = !mishap.take_back();
        let files = fs::read_dir(store.events_dir()).unwrap().count();
        eventually("the mount shows what is there", || mount.list("transactions").len() == files);
        let committed = counts(&mount).get(&(step as u64)).copied().unwrap_or_default();
        assert!(committed <= 1 && (committed == 1 || !answered), "killed at step {step}: answered {answered}, there {committed} times");
        if !was_killed {
            assert!(answered && step >= 4, "a commit has only {step} steps");
            break;
        }
    }
    assert!(mount.unmount().success());
    braidfs(["verify", store.path().to_str().unwrap()]).ok();
}

/// A bug at any step of a commit costs at most that commit: it is there whole or not at all, and the next one is made as ever.
#[test]
fn a_bug_at_any_step_of_a_commit_costs_that_commit_only() {
    let store = TestStore::new();
    let mishap = Mishap::of(&store);
    let mount = mishap.mount(&store.path());
    for way in [Way::Append, Way::Rename, Way::Drop] {
        for step in 0.. {
            let number = 1000 * (way as usize) + 2 * step;
            mishap.order("panic", "disk", step);
            let answered = way.ask(&mount, number);
            let is_over = mishap.take_back();
            assert!(way.ask(&mount, number + 1), "{way:?} after a bug at step {step}: {}", mount.log());
            let counts = counts(&mount);
            let committed = counts.get(&(number as u64)).copied().unwrap_or_default();
            assert!(committed <= 1 && (committed == 1 || !answered), "{way:?}, step {step}: answered {answered}, there {committed} times");
            assert_eq!(counts.get(&(number as u64 + 1)), Some(&1), "{way:?}, step {step}");
            if way != Way::Append {
                // Whether the first attempt committed or not, the next one under its name commits nothing twice.
                way.ask(&mount, number);
                assert_eq!(self::counts(&mount).get(&(number as u64)), Some(&1), "{way:?} again after a bug at step {step}");
            }
            if is_over {
                assert!(answered && step >= 4, "{way:?} has only {step} steps");
                break;
            }
        }
    }
    let shown = counts(&mount);
    assert!(mount.unmount().success());
    let again = Mount::start(&store.path());
    assert_eq!(counts(&again), shown);
    again.unmount();
    braidfs(["verify", store.path().to_str().unwrap()]).ok();
}

/// While the index catches up what needs no order answers at once, and the rest waits for an exact size.
#[test]
fn a_mount_answers_at_once_and_each_view_waits_for_what_it_needs() {
    let (mut store, _) = TestStore::forked();
    let odd = store.transaction().event("odd", "T", 1.into()).write();
    fs::rename(store.events_dir().join(format!("{odd}.jsonl")), store.events_dir().join("odd.jsonl")).unwrap();
    store.write_raw("00000000-0000-7000-8000-000000000000.jsonl", "no transaction\n");
    let mishap = Mishap::of(&store);
    mishap.order("hold", "load", 0);
    let mount = mishap.options(&store.path()).start();
    assert!(mount.list("").contains(&"log.jsonl".to_owned()));
    assert!(mount.read("README.md").contains("staging/"));
    assert_eq!(mount.read_json("status.json")["index"]["state"], "building");
    let early = mount.list("transactions");
    assert!(!early.is_empty());
    for name in &early {
        assert_eq!(mount.read(&format!("transactions/{name}")), fs::read_to_string(store.events_dir().join(name)).unwrap());
    }
    fs::write(mount.join("staging/.draft"), "a draft").unwrap();
    assert_eq!(mount.list("staging"), [".draft"]);
    // Closed once and not for the last time: whether it is committed is not known yet.
    let kept = File::options().write(true).open(mount.join("staging/.draft")).unwrap();
    drop(kept.try_clone().unwrap());
    assert_eq!(mount.list("staging"), [".draft"]);
    drop(kept);
    let waits = |name: &str| {
        let path = mount.join(name);
        std::thread::spawn(move || fs::metadata(path).map(|metadata| metadata.len()))
    };
    let misnamed = format!("transactions/{odd}.jsonl");
    let needing_all = ["log.jsonl", "feed.jsonl", "streams/odd.jsonl", &misnamed];
    let waiting = needing_all.map(waits);
    fs::write(mount.join("staging/.draft"), "still answers").unwrap();
    assert!(waiting.iter().all(|thread| !thread.is_finished()));
    assert!(mishap.take_back());
    for (thread, name) in waiting.into_iter().zip(needing_all) {
        assert_eq!(thread.join().unwrap().unwrap(), mount.read(name).len() as u64, "{name}");
    }
    let mut all = [early, vec![format!("{odd}.jsonl")]].concat();
    all.sort();
    assert_eq!(mount.list("transactions"), all);
    assert!(mount.unmount().success());
}

/// A bug while the store is read for the first time ends nothing: it is read once more.
#[test]
fn a_bug_in_the_first_load_is_survived() {
    let (store, _) = TestStore::forked();
    let shown = |mount: &Mount| mount.read("log.jsonl");
    let sound = Mount::start(&store.path());
    let expected = shown(&sound);
    assert!(sound.unmount().success());
    fs::remove_dir_all(store.path().join("index")).unwrap();
    let mishap = Mishap::of(&store);
    mishap.order("panic", "load", 0);
    let mount = mishap.mount(&store.path());
    assert!(!mishap.take_back());
    assert_eq!(shown(&mount), expected);
    mount.append(&event("after", 0)).unwrap();
    assert_eq!(mount.count("streams/after.jsonl"), 1);
    assert!(mount.unmount().success());
}

/// A bug that every attempt to read the store meets lets nobody wait: what needs the files is an error until they can be read.
#[test]
fn a_bug_in_every_load_is_an_error_and_no_wait() {
    let (store, _) = TestStore::forked();
    let mishap = Mishap::of(&store);
    mishap.order("broken", "load", 0);
    let mount = mishap.options(&store.path()).start();
    eventually("the reading of the files has failed", || mount.read_json("status.json")["index"]["state"] == "failed");
    let missing = "streams/never.jsonl";
    for name in ["log.jsonl", "feed.jsonl", "graph.txt", missing] {
        assert_eq!(errno(fs::read(mount.join(name)).map(drop)), libc::EIO, "{name}");
        assert_eq!(errno(fs::metadata(mount.join(name)).map(drop)), libc::EIO, "{name}");
    }
    assert_eq!(
        errno(fs::read_dir(mount.join("types")).and_then(|mut names| names.next().map_or(Ok(()), |name| name.map(drop)))),
        libc::EIO
    );
    assert_eq!(errno(mount.append(&event("a", 0))), libc::EIO);
    for name in mount.list("transactions") {
        assert_eq!(mount.read(&format!("transactions/{name}")), fs::read_to_string(store.events_dir().join(name)).unwrap());
    }
    assert!(!from_command_line(&store.path(), &event("a", 1), Some(&mishap)));
    assert!(mishap.take_back());
    eventually("the files are read after all", || fs::read(mount.join("log.jsonl")).is_ok_and(|log| !log.is_empty()));
    assert_eq!(mount.read_json("status.json")["index"]["state"], "ready");
    assert_eq!(errno(fs::read(mount.join(missing)).map(drop)), libc::ENOENT);
    mount.append(&event("a", 2)).unwrap();
    assert_eq!(mount.count("streams/a.jsonl"), 1);
    assert!(mount.unmount().success());
}

/// What the disk holds after a failed sync is not known: nothing is written until the daemon is started again, and all is read.
#[test]
fn a_failed_sync_ends_writing_and_not_reading() {
    let store = TestStore::new();
    let mishap = Mishap::of(&store);
    let mount = mishap.mount(&store.path());
    mount.append(&event("a", 0)).unwrap();
    mishap.order("fail", "sync", 0);
    assert_eq!(errno(mount.append(&event("a", 1))), libc::EROFS);
    assert!(!mishap.take_back());
    assert_eq!(errno(mount.append(&event("a", 2))), libc::EROFS, "and from then on");
    let writer = mount.read_json("status.json")["writer"].clone();
    assert_eq!(writer["state"], "failed");
    let why = writer["error"].as_str().unwrap();
    assert!(why.ends_with("; this process writes nothing more until it is started anew") && why.contains("dmesg"), "{why}");
    assert_eq!(mount.count("log.jsonl"), 1);
    mount.unmount();
    let again = mishap.mount(&store.path());
    again.append(&event("a", 3)).unwrap();
    assert_eq!(again.read_json("status.json")["writer"]["state"], "ready");
    again.unmount();
}

/// Found under load: the thread that had taken the last close did not get to run for a quarter of a second, and the next call was shown
/// what was before.
#[test]
fn the_next_call_sees_what_was_committed_however_late_the_daemon_comes_to_the_last_close() {
    const HELD: Duration = Duration::from_millis(600);
    let store = TestStore::new();
    let mishap = Mishap::of(&store);
    let mount = mishap.mount(&store.path());
    let mut longest = Duration::ZERO;
    for n in 0..6 {
        // The kernel has the names that were there before.
        (0..2).for_each(|_| assert_eq!(mount.list("transactions").len(), n));
        // What was read before is let go of first: that is the same request.
        std::thread::sleep(Duration::from_millis(50));
        mishap.order("hold", "release", 0);
        fs::write(mount.join(format!("staging/x{n}.jsonl")), event("a", n)).unwrap();
        let begun = Instant::now();
        let order = mishap.0.clone();
        let end = std::thread::spawn(move || {
            std::thread::sleep(HELD);
            fs::remove_file(order).unwrap();
        });
        match n % 3 {
            0 => assert_eq!(mount.count("log.jsonl"), n + 1),
            1 => assert_eq!(mount.read("streams/a.jsonl").lines().count(), n + 1),
            _ => assert_eq!(mount.list("transactions").len(), n + 1),
        }
        longest = longest.max(begun.elapsed());
        end.join().unwrap();
    }
    assert!(longest > HELD / 2, "no close was held");
    mount.unmount();
}

/// A mount, and a reader who holds a directory while he waits for the daemon, which waits for the directory to tell of a name in it.
fn while_it_tells_of_a_name(mishap: &Mishap, store: &mut TestStore) -> (Mount, std::process::Child) {
    store.transaction().event("stays", "T", 1.into()).write();
    let gone = store.transaction().event("goes", "T", 1.into()).write();
    let mount = mishap.mount(&store.path());
    assert!(mount.join("streams/goes.jsonl").exists());
    mishap.order("hold", "readdirplus", 0);
    let mut reader = std::process::Command::new("ls");
    let reader = reader.arg(mount.join("streams")).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    eventually("the reader waits", || waits(reader.id(), "request_wait_answer"));
    fs::remove_file(store.events_dir().join(format!("{gone}.jsonl"))).unwrap();
    eventually("it tells of the name", || waits(mount.pid(), "fuse_reverse_inval_entry"));
    (mount, reader)
}

/// Whether a thread of a process waits there in the kernel.
fn waits(process: u32, at: &str) -> bool {
    let mut tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap().flatten();
    tasks.any(|task| fs::read_to_string(task.path().join("wchan")).is_ok_and(|wchan| wchan.contains(at)))
}

/// The process that guards a mount, which is started right after that answers.
fn guard_of(mount: &Mount) -> String {
    let is_guard = |child: &&str| fs::read_to_string(format!("/proc/{child}/comm")).is_ok_and(|name| name.trim_end() == "braidfs-guard");
    eventually_some("the mount is guarded", || {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children", pid = mount.pid())).unwrap();
        children.split_whitespace().find(is_guard).map(str::to_owned)
    })
}

/// Story: the thread that told the kernel of a name waited for the directory, which a reader held who waited for the daemon. Killed then, the
/// daemon kept its connection open for ever, and everybody who came waited as well until somebody mounted again.
#[test]
fn a_daemon_that_is_killed_while_it_tells_of_a_name_is_cut_off_by_its_guard() {
    if !is_root() {
        // Who is not root needs somebody to mount the kernel's control of connections for him.
        return;
    }
    let mut store = TestStore::new();
    let mishap = Mishap::of(&store);
    let (mut mount, mut reader) = while_it_tells_of_a_name(&mishap, &mut store);
    let guard = guard_of(&mount);
    // It is no part of what a terminal or a service manager ends.
    for signal in ["-TERM", "-INT", "-HUP"] {
        run("kill", [signal, &guard]).ok();
    }
    mount.signal("KILL");
    assert!(!mount.wait_for_end().success());
    assert!(!reader.wait().unwrap().success());
    assert_eq!(fs::read_dir(mount.path()).unwrap_err().raw_os_error(), Some(libc::ENOTCONN));
    eventually("the guard has ended", || !Path::new("/proc").join(&guard).exists());
    fs::remove_file(&mishap.0).unwrap();
}

#[test]
fn a_daemon_that_was_killed_while_it_told_of_a_name_is_cut_off_by_the_next_mount() {
    if !is_root() {
        return;
    }
    let mut store = TestStore::new();
    let mishap = Mishap::of(&store);
    let (mount, mut reader) = while_it_tells_of_a_name(&mishap, &mut store);
    run("kill", ["-KILL", &guard_of(&mount)]).ok();
    mount.signal("KILL");
    let status = || fs::read_to_string(format!("/proc/{}/status", mount.pid())).unwrap();
    eventually("it dies and does not end", || status().contains("(zombie)") && waits(mount.pid(), "fuse_reverse_inval_entry"));
    fs::remove_file(&mishap.0).unwrap();
    let again = Mount::options(&store.path()).start();
    assert_eq!(again.list("streams"), ["stays.jsonl"]);
    reader.wait().unwrap();
    again.unmount();
}

/// It is there as long as the daemon, holds nothing of its caller's, and ends with it.
#[test]
fn a_guard_ends_with_its_mount() {
    if !is_root() {
        return;
    }
    let store = TestStore::new();
    let mount = Mount::start(&store.path());
    let guard = guard_of(&mount);
    let process = Path::new("/proc").join(&guard);
    let held = fs::read_dir(process.join("fd")).unwrap().map(|fd| fd.unwrap().file_name().into_string().unwrap());
    assert_eq!(held.collect::<std::collections::BTreeSet<_>>(), ["0", "1", "2"].map(str::to_owned).into());
    assert_eq!(fs::read_link(process.join("cwd")).unwrap(), Path::new("/"));
    // Whoever sends it what the kernel would send cuts nothing.
    run("kill", ["-USR1", &guard]).ok();
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert!(process.exists() && mount.join("log.jsonl").exists());
    assert!(mount.unmount().success());
    assert!(!process.exists());
}

/// Story: `cp` writes over the mapped index in place, and the kernel ended the daemon.
#[test]
fn a_mount_outlives_a_backup_that_is_copied_over_its_store() {
    let mut store = TestStore::new();
    for n in 0..50 {
        store.transaction().event("a", "T", n.into()).write();
    }
    let mount = Mount::start(&store.path());
    assert_eq!(mount.read_lines("log.jsonl").len(), 50);
    bash(store.home(), "cp -a store backup").ok();
    for n in 50..60 {
        fs::write(mount.join("append"), format!("{{\"stream\":\"a\",\"type\":\"T\",\"data\":{n}}}\n")).unwrap();
    }
    let before = ["log.jsonl", "streams/a.jsonl", "feed.jsonl"].map(|view| mount.read(view));
    bash(store.home(), "cp -r backup/. store/").ok();
    fs::write(mount.join("append"), "{\"stream\":\"a\",\"type\":\"T\",\"data\":60}\n").unwrap();
    let grown = |view: &str, before: &str| {
        fs::read_to_string(mount.join(view)).is_ok_and(|now| now.starts_with(before) && now.lines().count() == 61)
    };
    eventually("every view is what it was, and one longer", || {
        ["log.jsonl", "streams/a.jsonl", "feed.jsonl"].iter().zip(&before).all(|(view, before)| grown(view, before))
    });
    assert!(mount.unmount().success());
    braidfs(["verify", store.path().to_str().unwrap()]).ok();
}

/// Story: a shell that lets children write flushes at the end of each, and a mount that was cut meanwhile had committed the first half of its
/// transaction, as one that was unmounted commits what was closed.
#[test]
fn what_is_open_while_the_connection_is_cut_is_not_committed() {
    let half = event("a", 1);
    let cuts = ["timeout 60 $BRAIDFS umount --force mnt", "umount -f mnt", "umount -f -l mnt"];
    for cut in cuts.into_iter().filter(|cut| is_root() || cut.contains("BRAIDFS")) {
        let store = TestStore::new();
        let mut mount = Mount::start(&store.path());
        let draft = mount.join("staging/two.jsonl");
        let script = format!("exec > {}; /bin/echo '{}'; exec sleep 600", draft.display(), half.trim_end());
        let mut writer = Command::new("bash").args(["-c", &script]).spawn().unwrap();
        eventually("the first half is written and flushed", || fs::read_to_string(&draft).is_ok_and(|draft| draft == half));
        eventually("its child has ended", || fs::read_to_string(format!("/proc/{}/comm", writer.id())).unwrap() == "sleep\n");
        bash(store.home(), &cut.replace("$BRAIDFS", env!("CARGO_BIN_EXE_braidfs")));
        mount.wait_for_end();
        assert_eq!(fs::read_dir(store.events_dir()).unwrap().count(), 0, "{cut}: the writer still has it open");
        writer.kill().unwrap();
        writer.wait().unwrap();
        drop(mount);
        let mount = Mount::start(&store.path());
        let receipt = mount.read_json("receipts/two.jsonl.json");
        assert_eq!(receipt["state"], "refused", "{cut}: {receipt}");
        assert_eq!(mount.read("staging/two.jsonl"), half, "{cut}");
        mount.unmount();
    }
}
