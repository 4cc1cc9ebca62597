//! The daemon: how it starts, refuses, recovers and ends.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::draft::{errno, save};
use crate::support::mount::{Mount, User, is_mounted, is_root};
use crate::support::run::{bash, bash_as_nobody, braidfs, braidfs_command, run, run_with};
use crate::support::store::TestStore;
use crate::support::wait::{eventually, eventually_some};

const EVENT: &str = "{\"stream\":\"a\",\"type\":\"T\",\"data\":1}\n";

/// A mount in the background that is taken away however the test ends.
struct Background<'a>(&'a Path);

impl Drop for Background<'_> {
    fn drop(&mut self) {
        while is_mounted(self.0) && run("umount", [Path::new("-l"), self.0]).code == 0 {}
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn the_command_returns_once_the_mount_answers() {
    let (store, _) = TestStore::forked();
    let point = store.home().join("mnt");
    fs::create_dir(&point).unwrap();
    let _end = Background(&point);
    let log = store.home().join("log");
    braidfs(["mount", text(&store.path()), text(&point), "--log-file", text(&log)]).ok();
    assert_eq!(fs::read_to_string(point.join("log.jsonl")).unwrap().lines().count(), 7);
    fs::write(point.join("staging/x.jsonl"), EVENT).unwrap();
    let again = braidfs(["mount", text(&store.path()), text(&point)]).code(1);
    assert!(again.err.contains("already shows the store"), "{}", again.err);
    braidfs(["umount", text(&point)]).ok();
    assert!(!is_mounted(&point));
    assert_eq!(fs::read_dir(store.events_dir()).unwrap().count(), 5);
    eventually("the log tells the end", || fs::read_to_string(&log).unwrap().contains("unmounted"));
    assert!(braidfs(["umount", text(&point)]).code(1).err.contains("nothing of braidfs"));
}

/// Story: `( flock 9; braidfs mount ) 9>lock` held that lock as long as the mount was there, and a pipe of the caller never ended.
#[test]
fn the_daemon_keeps_nothing_that_its_caller_had_open() {
    let store = TestStore::new();
    let point = store.home().join("mnt");
    fs::create_dir(&point).unwrap();
    let _end = Background(&point);
    let mount = format!("{} mount store mnt", env!("CARGO_BIN_EXE_braidfs"));
    bash(store.home(), &format!("( flock 9; {mount} ) 9>lock && flock -n lock true")).ok();
    braidfs(["umount", text(&point)]).ok();
    // A command in the place of a file is opened in time.
    bash(store.home(), &format!("{{ timeout 60 {mount} --log-file >(cat >log 2>&1 3>&-); }} 3>&1 >/dev/null | cat")).ok();
    assert!(is_mounted(&point));
    braidfs(["umount", text(&point)]).ok();
    eventually("the log has it", || fs::read_to_string(store.home().join("log")).is_ok_and(|log| log.contains("unmounted")));
}

/// As where systemd has the standard error of a service go to the journal.
#[test]
fn a_log_may_be_a_socket_that_the_daemon_was_given() {
    let store = TestStore::new();
    let point = store.home().join("mnt");
    fs::create_dir(&point).unwrap();
    let _end = Background(&point);
    let (told, log) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut command = braidfs_command();
    command.args(["mount", "--foreground", "--log-file", "/dev/stderr"]).args([store.path(), point.clone()]);
    let mut daemon = command.stderr(std::os::fd::OwnedFd::from(log)).spawn().unwrap();
    drop(command);
    eventually("it is mounted", || is_mounted(&point));
    braidfs(["umount", text(&point)]).ok();
    assert!(daemon.wait().unwrap().success());
    assert!(std::io::read_to_string(told).unwrap().contains("unmounted"));
}

#[test]
fn a_log_that_nobody_reads_is_not_waited_for() {
    let store = TestStore::new();
    let point = store.home().join("mnt");
    fs::create_dir(&point).unwrap();
    let told =
        bash(store.home(), &format!("mkfifo log; timeout 60 {} mount store mnt --log-file log", env!("CARGO_BIN_EXE_braidfs"))).code(4);
    assert!(told.err.contains("log' cannot be written: it is a pipe that nobody reads"), "{}", told.err);
    assert!(!is_mounted(&point));
}

/// Also where nothing waits to be written.
#[test]
fn who_holds_the_lock_is_told_while_it_is_held() {
    let store = TestStore::new();
    let mount = Mount::start(&store.path());
    fs::write(mount.join("staging/x.jsonl"), EVENT).unwrap();
    let state = || mount.read_json("status.json")["writer"].clone();
    assert_eq!(state()["state"], "ready");
    let lock = store.path().join(".lock");
    let mut holder = std::process::Command::new("flock").args([text(&lock), "sleep", "60"]).spawn().unwrap();
    eventually("the holder is told", || {
        state()["lock_held_by"].as_str().is_some_and(|by| by.contains(&format!("process {}", holder.id())))
    });
    assert_eq!(state()["state"], "locked");
    run("pkill", ["-P", &holder.id().to_string()]).ok();
    holder.wait().unwrap();
    eventually("nobody holds it", || state()["state"] == "ready");
    mount.unmount();
}

#[test]
fn a_mount_that_does_not_answer_is_told_of_by_the_next_one() {
    let store = TestStore::new();
    let mount = Mount::start(&store.path());
    mount.signal("STOP");
    let refused = braidfs(["mount", text(&store.path()), text(mount.path())]);
    mount.signal("CONT");
    assert_eq!(refused.code, 3, "{}", refused.err);
    assert!(refused.err.contains("and does not answer") && refused.err.contains("braidfs umount --force"), "{}", refused.err);
    mount.unmount();
}

/// Story: it ended with 0 while the daemon still had the store, and did not end at all while the store's disk hung.
#[test]
fn an_unmount_says_that_the_daemon_has_not_ended() {
    let store = TestStore::new();
    let mut mount = Mount::start(&store.path());
    // Before that a child of the daemon looks at it, which would wait for the daemon.
    eventually("it has begun", || mount.log().contains(" mounted "));
    mount.signal("STOP");
    // Who has looked at it just now may use it for a moment more.
    let told = eventually_some("it is unmounted", || {
        let told = braidfs(["umount", text(mount.path())]);
        (!is_mounted(mount.path())).then_some(told)
    });
    mount.signal("CONT");
    assert!(mount.wait_for_end().success());
    assert_eq!(told.code, 3, "{}", told.err);
    assert!(told.err.contains("is unmounted, but its daemon has not ended yet") && told.err.contains("kill -CONT"), "{}", told.err);
}

/// Story: whoever looked for the holder asked each file that any process had open, in this mount and in one that had stopped, and hung.
#[test]
fn a_lock_that_was_handed_on_is_told_of_while_another_mount_hangs() {
    let (store, other) = (TestStore::new(), TestStore::new());
    let (mount, hung) = (Mount::start(&store.path()), Mount::start(&other.path()));
    hung.append(EVENT).unwrap();
    let open = fs::File::open(hung.join("log.jsonl")).unwrap();
    // The kernel no longer knows what it is like.
    hung.append(EVENT).unwrap();
    hung.signal("STOP");
    // Who took the lock has ended, and its child holds it.
    let heir = bash(&store.path(), "exec 9<>.lock; flock 9; sleep 60 >/dev/null 2>&1 & echo $!").ok().out.trim().to_owned();
    eventually("the heir is told", || {
        let by = mount.read_json("status.json")["writer"]["lock_held_by"].clone();
        by.as_str().is_some_and(|by| by.contains(&format!("process {heir} ")))
    });
    run("kill", [&heir]).ok();
    mount.append(EVENT).unwrap();
    hung.signal("CONT");
    drop(open);
    mount.unmount();
    hung.unmount();
}

/// A writer who waits for the lock kept everybody waiting who asked the keeper, and what arrived was shown when he was done.
#[test]
fn who_waits_for_the_lock_keeps_no_reader_waiting() {
    let mut store = TestStore::new();
    let mount = Mount::start(&store.path());
    mount.append(EVENT).unwrap();
    fs::write(mount.join("checkpoints/c"), "1\n").unwrap();
    for writers in [1, 4] {
        let lock = fs::File::open(store.path().join(".lock")).unwrap();
        lock.lock().unwrap();
        let refused: Vec<_> = (0..writers)
            .map(|_| {
                let point = mount.join("append");
                std::thread::spawn(move || fs::write(point, EVENT).is_err())
            })
            .collect();
        std::thread::sleep(Duration::from_millis(300));
        let begun = Instant::now();
        let shown = mount.count("log.jsonl");
        store.transaction().event("b", "T", 1.into()).write();
        eventually("it is shown", || mount.count("log.jsonl") > shown);
        assert_eq!(mount.read("checkpoints/c"), "1\n");
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        assert!(refused.into_iter().all(|writer| writer.join().unwrap()), "after five seconds");
        drop(lock);
        mount.append(EVENT).unwrap();
    }
    mount.unmount();
}

/// A bind mount is another way to the same directory.
#[test]
fn a_mount_point_that_overlaps_its_store_by_another_way_is_refused() {
    if !is_root() {
        return;
    }
    let store = TestStore::new();
    let way = store.home().join("way");
    fs::create_dir(&way).unwrap();
    let refused = |point: &Path| braidfs(["mount", text(&store.path()), text(point)]).code(1).err;
    for (of, point, words) in [
        (store.path(), way.clone(), "is the store itself"),
        (store.path(), way.join("events"), "lies in its store"),
        (store.path().parent().unwrap().to_owned(), way.clone(), "would hide its store"),
    ] {
        run("mount", ["--bind", text(&of), text(&way)]).ok();
        let _ended = Background(&point);
        let said = refused(&point);
        run("umount", [text(&way)]).ok();
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn a_mount_that_cannot_be_says_why() {
    let store = TestStore::new();
    let refused = |store: &Path, point: &Path| braidfs(["mount", text(store), text(point)]).code(1).err;
    let point = store.home().join("mnt");
    assert!(refused(&store.path(), &point).contains("mnt"), "a mount point that is not there");
    fs::create_dir(&point).unwrap();
    assert!(refused(&store.path(), &store.path()).contains("is the store itself"));
    assert!(refused(&store.path(), &store.events_dir()).contains("lies in its store"));
    assert!(refused(&store.path(), store.home()).contains("would hide its store"));
    let link = store.home().join("link");
    std::os::unix::fs::symlink(store.events_dir(), &link).unwrap();
    assert!(refused(&store.path(), &link).contains("lies in its store"));
    assert!(refused(&store.home().join("nowhere"), &point).contains("nowhere"));
    assert!(refused(&point, &store.path()).contains("braidfs init"), "no store");
    let file = store.home().join("file");
    fs::write(&file, "").unwrap();
    assert!(refused(&store.path(), &file).contains("is not a directory"));
    let log = braidfs(["mount", text(&store.path()), text(&point), "--log-file", "/nonexistent/log"]).code(4);
    assert!(log.err.contains("'/nonexistent/log' cannot be written"), "{}", log.err);
    assert!(!is_mounted(&point));
}

#[test]
fn a_second_writable_daemon_is_refused_and_a_read_only_one_is_not() {
    let store = TestStore::new();
    let first = Mount::start(&store.path());
    let point = store.home().join("second");
    fs::create_dir(&point).unwrap();
    let refused = braidfs(["mount", text(&store.path()), text(&point)]).code(3);
    let place = format!("is mounted writable at '{}' by process {} (\"braidfs\")\n", text(first.path()), first.pid());
    assert!(refused.err.contains(&place), "{}", refused.err);
    assert!(refused.err.contains(&format!("hint: braidfs umount {}   # or add --read-only", text(first.path()))), "{}", refused.err);
    let beside = Mount::options(&store.path()).at(&point).arg("--read-only").start();
    fs::write(first.join("staging/x.jsonl"), EVENT).unwrap();
    eventually("the other mount follows", || beside.read("log.jsonl").lines().count() == 1);
    beside.unmount();
    first.unmount();
    Mount::start(&store.path()).unmount();
}

/// Nobody outside can unmount what lies in a mount namespace of its own, so the process is named.
#[test]
fn a_daemon_in_a_namespace_of_its_own_is_named_by_its_process() {
    /// Is ended however the test ends.
    struct Daemon(String);
    impl Drop for Daemon {
        fn drop(&mut self) {
            run("kill", [&self.0]);
            eventually("the daemon ends", || !Path::new("/proc").join(&self.0).exists());
        }
    }
    let store = TestStore::new();
    let (point, second) = (store.home().join("inside"), store.home().join("second"));
    fs::create_dir(&point).unwrap();
    fs::create_dir(&second).unwrap();
    let command = format!("{} mount {} {}", env!("CARGO_BIN_EXE_braidfs"), text(&store.path()), text(&point));
    bash(store.home(), &format!("exec unshare -m {command}")).ok();
    let daemon = Daemon(run("pgrep", ["-f", &command]).ok().out.trim().to_owned());
    assert!(!is_mounted(&point));
    let refused = braidfs(["mount", text(&store.path()), text(&second)]).code(3);
    let pid = &daemon.0;
    assert!(refused.err.contains(&format!("at '{}' by process {pid} (\"braidfs\")\n", text(&point))), "{}", refused.err);
    assert!(
        refused.err.contains(&format!("hint: kill {pid}   # it ends cleanly, a stopped one after kill -CONT {pid}; or add --read-only")),
        "{}",
        refused.err
    );
}

/// It was told to be no store, with the advice to make one there.
#[test]
fn a_mount_is_no_store_and_says_of_which_store_it_is() {
    let store = TestStore::new();
    let mount = Mount::start(&store.path());
    let point = store.home().join("second");
    fs::create_dir(&point).unwrap();
    for of in [mount.path().to_path_buf(), mount.join("streams")] {
        let refused = braidfs(["mount", "--read-only", text(&of), text(&point)]).code(1);
        let (dir, point) = (store.path(), text(&point));
        let dir = text(&dir);
        assert!(refused.err.contains(&format!("lies in a mount of the store '{dir}'\n")), "{}", refused.err);
        assert!(
            refused.err.contains(&format!("hint: braidfs mount {dir} {point}   # beside a writable mount: --read-only")),
            "{}",
            refused.err
        );
    }
    mount.unmount();
}

/// The mount ended where no lock could be had, though reading needs none.
#[test]
fn a_store_on_a_file_system_without_locks_can_be_read() {
    let store = TestStore::new();
    let before = Mount::start(&store.path());
    fs::write(before.join("append"), EVENT).unwrap();
    before.unmount();
    let trace = store.home().join("trace");
    let mount = Mount::options(&store.path()).traced("flock", &trace).injected("flock:error=ENOLCK").start();
    assert_eq!(mount.read("log.jsonl").lines().count(), 1);
    assert_eq!(fs::write(mount.join("append"), EVENT).unwrap_err().raw_os_error(), Some(libc::EROFS));
    let told = || mount.read_json("status.json")["findings"].as_array().unwrap().iter().map(ToString::to_string).collect::<String>();
    eventually("it is told", || told().contains("has no advisory locks: No locks available"));
    assert!(told().contains("nothing can be committed"), "{}", told());
    mount.unmount();
}

#[test]
fn a_mount_point_that_a_crash_left_dead_is_recovered() {
    let store = TestStore::new();
    let mut mount = Mount::start(&store.path());
    fs::write(mount.join("append"), EVENT).unwrap();
    mount.crash();
    let dead = fs::metadata(mount.path()).unwrap_err();
    assert_eq!(dead.raw_os_error(), Some(libc::ENOTCONN));
    let mut again = Mount::start(&store.path());
    assert_eq!(again.read("log.jsonl").lines().count(), 1);
    // Who starts it anew does not wait until the kernel has taken the dead one's files.
    for _ in 0..15 {
        again.signal("KILL");
        braidfs(["mount", text(&store.path()), text(again.path())]).ok();
        again.wait_for_end();
        run("umount", [again.path()]).ok();
        again = Mount::start(&store.path());
    }
    again.unmount();
}

/// Story: it asked its own mount something as it began, was killed, and waited for its own answer: nothing ended it, and it kept its locks.
#[test]
fn who_is_killed_as_soon_as_the_kernel_knows_the_mount_ends() {
    let store = TestStore::new();
    for _ in 0..100 {
        let mut mount = Mount::options(&store.path()).spawn();
        while !is_mounted(mount.path()) {
            std::thread::yield_now();
        }
        mount.signal("KILL");
        assert!(!mount.wait_for_end().success());
        let unmounts = || Command::new("umount").arg(mount.path()).stderr(Stdio::null()).status().unwrap().success();
        // Its child may look at it for a moment more.
        eventually("it is unmounted", unmounts);
    }
}

#[test]
fn signals_and_unmounts_end_it_cleanly() {
    for signal in ["TERM", "INT", "HUP"] {
        let store = TestStore::new();
        let mut mount = Mount::start(&store.path());
        fs::write(mount.join("staging/x.jsonl"), EVENT).unwrap();
        mount.signal(signal);
        assert!(mount.wait_for_end().success(), "{signal}: {}", mount.log());
        assert!(!is_mounted(mount.path()));
        assert_eq!(fs::read_dir(store.events_dir()).unwrap().count(), 1);
    }
}

#[test]
fn a_mount_in_use_is_busy_and_ends_by_force() {
    let store = TestStore::new();
    let mut mount = Mount::start(&store.path());
    let held = fs::File::open(mount.join("README.md")).unwrap();
    assert!(run("umount", [mount.path()]).err.contains("busy"));
    let refused = braidfs(["umount", text(mount.path())]).code(3);
    assert!(refused.err.contains("in use") && refused.err.contains("--force"), "{}", refused.err);
    // Also for who stands in it, and names it from there.
    for (below, named) in [("", "."), ("streams", ".."), ("streams", "../streams/..")] {
        let refused = run_with(braidfs_command().args(["umount", named]).current_dir(mount.join(below)), b"").code(3);
        assert!(refused.err.contains("in use"), "{named}: {}", refused.err);
    }
    assert!(is_mounted(mount.path()));
    braidfs(["umount", "--force", text(mount.path())]).ok();
    assert!(!is_mounted(mount.path()));
    // Who has something open is cut off, so that the store can be mounted again.
    assert!(mount.wait_for_end().success());
    let again = Mount::start(&store.path());
    drop(held);
    again.unmount();
}

#[test]
fn a_signal_ends_a_mount_that_stays_in_use() {
    let store = TestStore::new();
    let mut mount = Mount::start(&store.path());
    let held = fs::File::open(mount.join("README.md")).unwrap();
    mount.signal("TERM");
    assert!(mount.wait_for_end().success());
    assert!(!is_mounted(mount.path()));
    drop(held);
}

#[test]
fn what_lies_beneath_a_mount_point_stays_mounted() {
    let store = TestStore::new();
    let point = store.home().join("mnt");
    fs::create_dir(&point).unwrap();
    run("mount", ["-t", "tmpfs", "below", text(&point)]).ok();
    let below = Background(&point);
    let mount = Mount::options(&store.path()).start();
    assert_eq!(mount.read("append"), "");
    run("umount", [text(&point)]).ok();
    let mut mount = mount;
    assert!(mount.wait_for_end().success());
    assert!(is_mounted(&point), "only ours was unmounted");
    drop(below);
}

#[test]
fn an_ordinary_user_mounts_through_the_helper() {
    // Distributions open the device to everyone; some containers do not.
    fs::set_permissions("/dev/fuse", fs::Permissions::from_mode(0o666)).unwrap();
    let store = TestStore::new();
    let mount = Mount::options(&store.path()).user(User::Nobody).start();
    let closed = fs::read_dir(mount.path()).unwrap_err();
    assert_eq!(closed.kind(), std::io::ErrorKind::PermissionDenied, "others do not enter, not even root");
    let script = format!("printf '%s' '{}' > staging/x.jsonl && wc -l < log.jsonl", EVENT.trim_end());
    let ran = bash_as_nobody(mount.path(), &script).ok();
    assert_eq!(ran.out.trim(), "1");
    mount.unmount();
}

/// Story: what failed after the mount for want of a thread left a dead mount point, and no process could be had to take it away.
#[test]
fn a_mount_that_gets_no_more_threads_leaves_nothing_mounted() {
    fs::set_permissions("/dev/fuse", fs::Permissions::from_mode(0o666)).unwrap();
    let store = TestStore::new();
    fs::copy(env!("CARGO_BIN_EXE_braidfs"), store.home().join("braidfs")).unwrap();
    fs::set_permissions(store.home(), fs::Permissions::from_mode(0o755)).unwrap();
    let point = store.home().join("mnt");
    bash(store.home(), "mkdir -p mnt && chown -R nobody .").ok();
    let _gone_at_the_end = Background(&point);
    for limit in 9..24 {
        let script = format!("ulimit -u {limit}; exec ./braidfs mount '{}' '{}'", store.path().display(), point.display());
        let ran = bash_as_nobody(store.home(), &script);
        if ran.code == 0 {
            bash_as_nobody(store.home(), &format!("./braidfs umount '{}'", point.display())).ok();
        } else {
            assert!(ran.code == 4 && ran.err.contains("ulimit -u"), "{limit}: {}", ran.err);
        }
        assert!(!is_mounted(&point), "{limit}: {}", ran.err);
    }
}

/// Story: every append was refused, and `status.json` had nothing to tell.
#[test]
fn what_root_left_in_the_store_is_told_until_it_is_cured() {
    fs::set_permissions("/dev/fuse", fs::Permissions::from_mode(0o666)).unwrap();
    let store = TestStore::new();
    let mount = Mount::options(&store.path()).user(User::Nobody).start();
    let append = || bash_as_nobody(mount.path(), &format!("printf '%s\\n' '{}' > append", EVENT.trim_end()));
    let told = || {
        let status: serde_json::Value = serde_json::from_str(&bash_as_nobody(mount.path(), "cat status.json").ok().out).unwrap();
        status["findings"].as_array().unwrap().iter().find(|finding| finding["kind"] == "storage-lacks").cloned()
    };
    append().ok();
    bash(&store.path(), "chown -R 0:0 .lock index").ok();
    assert!(append().err.contains("Permission denied"));
    let found = eventually_some("it is told", told);
    assert_eq!(found["severity"], "error");
    let cure = found["hint"].as_str().unwrap().strip_prefix("sudo ").unwrap().split_once('#').unwrap().0;
    bash(&store.path(), cure).ok();
    append().ok();
    eventually("it is told no more", || told().is_none());
    mount.unmount();
}

#[test]
fn with_allow_other_everyone_reads_and_only_the_owner_appends() {
    let store = TestStore::new();
    fs::set_permissions(store.home(), fs::Permissions::from_mode(0o755)).unwrap();
    let mount = Mount::options(&store.path()).arg("--allow-other").start();
    fs::write(mount.join("staging/x.jsonl"), EVENT).unwrap();
    let other = |script: &str| bash_as_nobody(mount.path(), script);
    assert_eq!(other("wc -l < log.jsonl").ok().out.trim(), "1");
    for script in ["echo x > staging/y", "echo x > append", "rm receipts/x.jsonl.json"] {
        let refused = other(script);
        assert!(refused.code != 0 && refused.err.contains("Permission denied"), "{script}: {}", refused.err);
    }
    assert!(other("echo x > log.jsonl").err.contains("Read-only file system"));
    bash(mount.path(), &format!("printf '%s\\n' '{}' > append", EVENT.trim_end())).ok();
    mount.unmount();
}

/// Story: the mount was asked by the path of its mount point, which not everybody may go to who is in it.
#[test]
fn a_command_works_in_a_mount_the_way_to_which_is_closed() {
    if !is_root() {
        return;
    }
    let mut store = TestStore::new();
    store.transaction().event("a", "T", 1.into()).write();
    let (closed, own) = (store.home().join("closed"), store.home().join("braidfs"));
    fs::copy(env!("CARGO_BIN_EXE_braidfs"), &own).unwrap();
    fs::create_dir(&closed).unwrap();
    let mount = Mount::options(&store.path()).at(&closed.join("mnt")).arg("--allow-other").start();
    for (path, mode) in [(store.home(), 0o755), (&closed, 0o700)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let other = |command: &str| bash(mount.path(), &format!("setpriv --reuid 65534 --regid 65534 --clear-groups {command}"));
    assert_ne!(other(&format!("ls {}", text(mount.path()))).code, 0);
    let counted = other(&format!("{} log --format json", text(&own))).ok().out;
    assert_eq!(counted.lines().count(), 1, "{counted}");
    mount.unmount();
}

#[test]
fn everything_else_answers_while_a_request_cannot() {
    let store = TestStore::new();
    let mount = Mount::start(&store.path());
    // Another program holds the store: commits wait, readers do not.
    let lock = fs::File::create(store.path().join(".lock")).unwrap();
    lock.lock().unwrap();
    let root = mount.path().to_owned();
    let commit = std::thread::spawn(move || {
        fs::OpenOptions::new()
            .append(true)
            .open(root.join("append"))
            .and_then(|mut append| std::io::Write::write_all(&mut append, EVENT.as_bytes()))
    });
    for _ in 0..20 {
        assert_eq!(mount.read("log.jsonl"), "");
        assert!(mount.list("staging").is_empty());
    }
    let refused = commit.join().unwrap().unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EBUSY));
    drop(lock);
    fs::write(mount.join("staging/x.jsonl"), EVENT).unwrap();
    assert_eq!(mount.read("log.jsonl").lines().count(), 1);
    mount.unmount();
}

/// Story: the kernel lets one at a time write to `append` or rename in a directory, and the fourth was refused after 20 s.
#[test]
fn who_queues_behind_one_who_is_refused_is_refused_with_him() {
    let store = TestStore::new();
    let mount = Mount::start(&store.path());
    let renames: Vec<_> = (0..4).map(|n| (mount.join(format!("staging/.{n}")), mount.join(format!("staging/{n}.jsonl")))).collect();
    renames.iter().for_each(|(from, _)| fs::write(from, EVENT).unwrap());
    let lock = fs::File::create(store.path().join(".lock")).unwrap();
    lock.lock().unwrap();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for (from, to) in &renames {
            scope.spawn(|| assert_eq!(mount.append(EVENT).unwrap_err().raw_os_error(), Some(libc::EBUSY)));
            scope.spawn(move || assert_eq!(fs::rename(from, to).unwrap_err().raw_os_error(), Some(libc::EBUSY)));
        }
    });
    let took = begun.elapsed();
    assert!((Duration::from_secs(5)..Duration::from_secs(11)).contains(&took), "{took:?}");
    drop(lock);
    assert!(renames.iter().all(|(from, _)| from.exists()), "what was refused lies where it lay");
    mount.append(EVENT).unwrap();
    mount.unmount();
}

#[test]
fn one_who_waits_for_a_lock_can_be_killed() {
    let store = TestStore::new();
    let mount = Mount::start(&store.path());
    let file = mount.join("staging/.lock");
    fs::write(&file, "").unwrap();
    let mut holder = std::process::Command::new("flock").args(["--no-fork", text(&file), "sleep", "600"]).spawn().unwrap();
    eventually("the lock is held", || run("flock", ["-n", text(&file), "true"]).code == 1);
    run("timeout", ["-s", "KILL", "0.2", "flock", text(&file), "true"]).code(137);
    holder.kill().unwrap();
    holder.wait().unwrap();
    run("flock", [text(&file), "true"]).ok();
    mount.unmount();
}

/// A fold's process inherited the pipe that tells the daemon of the mount's end, so the daemon never ended.
#[test]
fn an_unmount_ends_the_daemon_though_a_fold_is_at_work() {
    let mut store = TestStore::new();
    store.transaction().event("a", "T", 2.into()).event("a", "T", 3.into()).write();
    fs::create_dir_all(store.path().join("projections")).unwrap();
    fs::write(store.path().join("projections/sum.jq"), "#: init: 0\n#: per: all\n. + $event.event_data\n").unwrap();
    let mount = Mount::start(&store.path());
    eventually("the fold is shown", || fs::read_to_string(mount.join("views/sum.json")).is_ok_and(|sum| sum == "5\n"));
    assert!(mount.unmount().success());
}

/// How many heaps besides the first one a process has: glibc reserves 64 MiB for each, at an address that is a multiple of that.
fn further_heaps(pid: u32) -> usize {
    const RESERVED: u64 = 64 << 20;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let regions = maps.lines().filter_map(|line| {
        let (start, rest) = line.split_once('-')?;
        let (end, rest) = rest.split_once(' ')?;
        let bounds = (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
        rest.starts_with("---p").then_some(bounds)
    });
    // What is not yet used of a heap: its end is the end of what is reserved.
    regions.filter(|(start, end)| end % RESERVED == 0 && end - start > RESERVED / 2).count()
}

#[test]
fn the_daemons_threads_share_one_heap() {
    let mut store = TestStore::new();
    for n in 0..200 {
        store.transaction().event("a", "T", n.into()).write();
    }
    let mount = Mount::start(&store.path());
    assert_eq!(mount.count("log.jsonl"), 200);
    bash(mount.path(), "cat streams/* types/* status.json & grep -r nowhere . & ls -lR > /dev/null & wait").ok();
    let threads = fs::read_dir(format!("/proc/{}/task", mount.pid())).unwrap().count();
    assert!(threads > 6, "{threads}");
    assert_eq!(further_heaps(mount.pid()), 0);
    mount.unmount();
}

#[test]
fn a_store_that_was_moved_away_is_not_made_anew() {
    let store = TestStore::new();
    let (path, away) = (store.path(), store.home().join("away"));
    let mount = Mount::start(&path);
    mount.append(EVENT).unwrap();
    fs::rename(&path, &away).unwrap();
    mount.append(EVENT).unwrap_err();
    let _refused = fs::write(mount.join("staging/x.jsonl"), EVENT);
    assert!(!path.exists(), "{:?}", bash(&path, "find .").out);
    // What happens to it elsewhere takes nothing out of the views, and is not told on and on.
    let name = fs::read_dir(away.join("events")).unwrap().next().unwrap().unwrap().file_name();
    fs::copy(away.join("events").join(&name), away.join("events/x")).unwrap();
    fs::rename(away.join("events/x"), away.join("events").join(&name)).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(mount.count("log.jsonl"), 1);
    let told = || mount.read_json("status.json")["findings"].as_array().unwrap().clone();
    let moved =
        format!("store '{}' was moved away, or what it lies on is not mounted; the views show what was there before", path.display());
    let is_told = || told().iter().any(|finding| finding["kind"] == "out-of-reach" && finding["message"] == moved.as_str());
    assert!(is_told(), "{:?}", told());
    let warnings = mount.log().lines().filter(|line| line.contains(" WARN ")).count();
    assert!((1..10).contains(&warnings), "{}", mount.log());
    // Another disk, or none, where the store was.
    fs::create_dir(&path).unwrap();
    mount.append(EVENT).unwrap_err();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(fs::read_dir(&path).unwrap().count(), 0, "{}", bash(&path, "find .").out);
    fs::remove_dir(&path).unwrap();
    // Another store in its place.
    bash(store.home(), "cp -r away store").ok();
    mount.append(EVENT).unwrap_err();
    assert_eq!(fs::read_dir(path.join("events")).unwrap().count(), 1);
    let is_another = |finding: &serde_json::Value| {
        let says = |field: &str, text: &str| finding[field].as_str().is_some_and(|said| said.contains(text));
        says("message", "is another one than was opened") && says("hint", "mount it anew")
    };
    eventually("it is told that this is another one", || told().iter().any(is_another));
    fs::remove_dir_all(&path).unwrap();
    eventually("it is told that it is gone again", is_told);
    fs::rename(&away, &path).unwrap();
    eventually("it is back", || told().is_empty());
    mount.append(EVENT).unwrap();
    assert_eq!(fs::read_dir(store.events_dir()).unwrap().count(), 2, "it goes on where it was");
    fs::rename(&path, &away).unwrap();
    fs::create_dir(&path).unwrap();
    mount.unmount();
    assert_eq!(fs::read_dir(&path).unwrap().count(), 0, "{}", bash(&path, "find .").out);
}

/// Story: a container that was started meanwhile had a copy of the mount, and the daemon that lived on was said to be stopped.
#[test]
fn whoever_has_a_copy_of_a_mount_that_was_ended_is_named() {
    if !is_root() {
        return;
    }
    let store = TestStore::new();
    let mut mount = Mount::start(&store.path());
    let point = mount.path().to_owned();
    let second = store.home().join("second");
    fs::create_dir(&second).unwrap();
    run("mount", ["--bind", text(&point), text(&second)]).ok();
    let told = braidfs(["umount", text(&point)]).code(3).err;
    let cure = format!("umount {}", text(&second));
    assert!(told.contains(&format!("hint: {cure}   # it is mounted there as well")), "{told}");
    bash(store.home(), &cure).ok();
    mount.wait_for_end();

    let mut mount = Mount::start(&store.path());
    // Of all that is mounted it keeps this one alone: others are to end their mounts meanwhile.
    let let_go = "findmnt -rno TARGET -t fuse.braidfs | grep -vxF \"$0\" | xargs -r -n 1 umount -l; exec sleep 600";
    let mut container = Command::new("unshare").args(["-m", "bash", "-c", let_go, text(&point)]).spawn().unwrap();
    let proc = Path::new("/proc").join(container.id().to_string());
    eventually("it has mounts of its own", || fs::read_to_string(proc.join("comm")).is_ok_and(|name| name == "sleep\n"));
    let told = braidfs(["umount", text(&point)]).code(3).err;
    let cure = format!("nsenter -t {} -m umount {}", container.id(), text(&point));
    assert!(told.contains(&format!("hint: {cure}   # process {} (\"sleep\") has mounts", container.id())), "{told}");
    bash(store.home(), &cure).ok();
    mount.wait_for_end();
    container.kill().unwrap();
    container.wait().unwrap();
}

/// Story: where `fusermount3` was missing an own mount was said to be another user's, and where the kernel keeps a mount nothing helped.
#[test]
fn what_keeps_a_mount_from_being_ended_is_named() {
    if !is_root() {
        return;
    }
    let store = TestStore::new();
    let mount = Mount::options(&store.path()).user(User::Nobody).start();
    let umount = |what: &str| bash_as_nobody(store.home(), &format!("{what} '{}'", mount.path().display()));
    let told = umount("PATH=/nonexistent ./braidfs umount").code(4).err;
    assert!(
        told.contains("'fusermount3' cannot be run: ") && told.contains("hint: install the package fuse3, or unmount it as root"),
        "{told}"
    );
    for force in ["", "--force"] {
        let told = umount(&format!("unshare -Urm ./braidfs umount {force}")).code(1).err;
        assert!(told.contains("from within this user namespace\n  hint: unmount it outside"), "{told}");
    }
    umount("./braidfs umount").ok();
    mount.unmount();
}

/// A chroot may have neither: what was wrong there was told without a path, or not truly.
#[test]
fn what_a_chroot_lacks_is_named() {
    let store = TestStore::new();
    let point = store.home().join("mnt");
    fs::create_dir(&point).unwrap();
    let without = |what: &str, command: &str| {
        let command = format!("{what} && {} {command}", env!("CARGO_BIN_EXE_braidfs"));
        // In a mount namespace of its own, which ends with the shell.
        run("unshare", ["-m", "bash", "-c", &command]).code(4).err
    };
    let umount = without("umount -l /proc", &format!("umount {}", text(&point)));
    assert!(umount.contains("\"/proc/self/mountinfo\" cannot be read: No such file or directory"), "{umount}");
    assert!(umount.contains("hint: mount -t proc proc /proc"), "{umount}");
    let mount = without("mount -t tmpfs none /dev", &format!("mount {} {}", text(&store.path()), text(&point)));
    assert!(mount.contains("'/dev/null' cannot be opened: No such file or directory"), "{mount}");
    assert!(!is_mounted(&point));
}

/// Story: one draft beyond `ulimit -f` ended the daemon by a signal, and everybody else lost the mount.
#[test]
fn a_draft_beyond_the_limit_of_files_is_refused_and_the_daemon_goes_on() {
    let (store, _) = TestStore::forked();
    let mount = Mount::start(&store.path());
    let limit = |bytes: &str| run("prlimit", ["--pid", &mount.pid().to_string(), &format!("--fsize={bytes}")]).ok();
    let large = format!("{{\"stream\":\"l\",\"type\":\"T\",\"data\":\"{}\"}}\n", "x".repeat(100_000));
    limit("8192:unlimited");
    assert_eq!(errno(save(&mount.join("staging/large.jsonl"), large.as_bytes())), nix::libc::EFBIG);
    let receipt = mount.read_json("receipts/large.jsonl.json");
    let reason = &receipt["reasons"][0];
    assert_eq!((receipt["state"].as_str(), reason["errno"].as_str()), (Some("refused"), Some("EFBIG")));
    assert!(reason["hint"].as_str().unwrap().contains("ulimit -f"), "{reason}");
    mount.append(EVENT).unwrap();
    limit("unlimited:unlimited");
    mount.append(&large).unwrap();
    assert_eq!(mount.count("log.jsonl"), 9);
}

/// In a namespace of its own, with a `/dev` that has a log: the real one is not to be written to.
#[test]
fn a_daemon_without_a_terminal_or_a_log_file_logs_to_the_system() {
    if !is_root() {
        return;
    }
    let store = TestStore::new();
    let log = store.home().join("syslog");
    fs::create_dir(store.home().join("point")).unwrap();
    let listen = "import socket, sys; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind('/dev/log'); print(flush=True)\n\
                  while True: print(s.recv(65536).decode(), flush=True)";
    fs::write(store.home().join("listen.py"), listen).unwrap();
    let script = format!(
        "mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && mknod -m 666 /dev/fuse c 10 229 && mkdir /dev/shm\n\
         python3 listen.py > syslog & trap \"kill $!\" EXIT\n\
         until [ -s syslog ]; do sleep 0.01; done\n\
         {braidfs} mount store point && {braidfs} umount point",
        braidfs = env!("CARGO_BIN_EXE_braidfs")
    );
    let ran = run_with(Command::new("unshare").args(["-m", "bash", "-c", &script]).current_dir(store.home()), b"").ok();
    let told = fs::read_to_string(log).unwrap();
    assert!(told.lines().any(|line| line.starts_with("<30>") && line.contains("braidfs: ")), "{told}{ran:?}");
}
