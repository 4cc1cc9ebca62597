//! `mount` and `umount`, and every other command while a store is mounted.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::mount::{Mount, PointGuard, is_mounted, is_root};
use crate::support::run::{Ran, bash, braidfs, braidfs_command, braidfs_on, run, run_with};
use crate::support::store::TestStore;
use crate::support::wait::{eventually, eventually_eq};

#[test]
fn mount_returns_when_the_mount_answers_and_umount_ends_it() {
    let (store, _) = TestStore::forked();
    let point = store.home().canonicalize().unwrap().join("mnt");
    fs::create_dir(&point).unwrap();
    let _guard = PointGuard::new(&point);
    let (from, to) = (store.path(), point.to_str().unwrap().to_owned());
    let ran = braidfs(["mount", from.to_str().unwrap(), &to]).ok();
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("", ""));
    assert_eq!(fs::read_to_string(point.join("log.jsonl")).unwrap(), braidfs_on(&store.path(), &["log", "--format", "json"], "").ok().out);

    let again = braidfs(["mount", from.to_str().unwrap(), &to]).code(1);
    assert!(again.err.contains("hint: "), "{}", again.err);
    braidfs(["umount", &to]).ok();
    eventually("the mount point is free", || !is_mounted(&point));
    let refused = braidfs(["umount", &to]).code(1).err;
    assert!(refused.contains("nothing of braidfs is mounted") && refused.contains("hint: findmnt -t fuse.braidfs"), "{refused}");
    for (arguments, state) in [(&["mount", from.to_str().unwrap(), &to][..], "mounted"), (&["umount", &to], "unmounted")] {
        let told = braidfs([arguments, &["--format", "json"]].concat()).ok().json();
        assert_eq!(told, serde_json::json!({"mount": to, "state": state}));
    }
}

/// Story: `mount` followed the link, and `umount` found nothing of ours there.
#[test]
fn what_was_mounted_by_a_links_name_is_unmounted_by_it() {
    let (store, _) = TestStore::forked();
    let home = store.home().canonicalize().unwrap();
    let (point, link) = (home.join("real/d"), home.join("link"));
    fs::create_dir_all(&point).unwrap();
    std::os::unix::fs::symlink("real/d/", home.join("first")).unwrap();
    std::os::unix::fs::symlink("first", &link).unwrap();
    let _guard = PointGuard::new(&point);
    let umount = |force: &[&str]| {
        run_with(braidfs_command().arg("umount").args(force).arg("link").current_dir(&home), b"").ok();
        eventually("the mount point is free", || !is_mounted(&point));
    };
    for force in [&[][..], &["--force"]] {
        braidfs([Path::new("mount"), &store.path(), &link]).ok();
        assert!(is_mounted(&point));
        umount(force);
    }
    // One that a crash left dead cannot be resolved.
    let mut mount = Mount::options(&store.path()).at(&point).start();
    mount.crash();
    assert!(is_mounted(&point));
    umount(&[]);
}

#[test]
fn a_mount_that_would_hide_its_store_is_refused() {
    let (store, _) = TestStore::forked();
    let inside = store.path().join("mnt");
    fs::create_dir(&inside).unwrap();
    let path = store.path().to_str().unwrap().to_owned();
    for point in [inside.to_str().unwrap(), path.as_str(), store.home().to_str().unwrap()] {
        let ran = braidfs(["mount", &path, point]).code(1);
        assert!(ran.err.contains("mount point") && ran.err.contains("hint: "), "{}", ran.err);
    }
    assert!(braidfs(["mount", &path, "/nonexistent/mnt"]).code(1).err.contains("hint: "));
    assert!(braidfs(["mount", "/nonexistent/store", inside.to_str().unwrap()]).code(1).err.contains("hint: "));
}

#[test]
fn every_command_works_while_the_store_is_mounted() {
    let (store, forked) = TestStore::forked();
    let mount = Mount::start(&store.path());
    let committed =
        braidfs_on(&store.path(), &["append", "--format", "json"], "{\"stream\":\"fresh\",\"type\":\"T\",\"data\":1}\n").ok().json();
    eventually("the mount shows it", || mount.join("streams/fresh.jsonl").exists() && mount.read_json("status.json")["latest_seq_nr"] == 8);
    let id = committed["transaction_id"].as_str().unwrap();
    for (arguments, view) in [
        (&["log"][..], "log.jsonl".to_owned()),
        (&["feed"], "feed.jsonl".to_owned()),
        (&["feed", "--after", "3"], "feed/after/3.jsonl".to_owned()),
        (&["stream", "account-0"], "streams/account-0.jsonl".to_owned()),
        (&["stream", "account/2"], "streams/account/2.jsonl".to_owned()),
        (&["show", id], format!("transactions/{id}.jsonl")),
        (&["show", &forked.root.to_string()], format!("transactions/{}.jsonl", forked.root)),
    ] {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--format", "json"]).collect();
        assert_eq!(braidfs_on(&store.path(), &arguments, "").ok().out, mount.read(&view), "{arguments:?}");
    }
    let status = braidfs_on(&store.path(), &["status", "--format", "json"], "").ok().json();
    let shown = mount.read_json("status.json");
    for key in ["transactions", "events", "streams", "heads", "replica_id", "latest_seq_nr"] {
        assert_eq!(status[key], shown[key], "{key}");
    }
    braidfs_on(&store.path(), &["verify"], "").ok();
    braidfs_on(&store.path(), &["draft", "fresh"], "").ok();
    assert_eq!(mount.unmount().code(), Some(0));
}

#[test]
fn a_directory_in_a_mount_lies_in_its_store() {
    let (store, _) = TestStore::forked();
    let mount = Mount::start(&store.path());
    for inside in ["", "streams", "staging"] {
        let ran = run_with(braidfs_command().arg("streams").current_dir(mount.join(inside)), b"").ok();
        assert_eq!(ran.out, braidfs_on(&store.path(), &["streams"], "").ok().out);
    }
    // Story: the one command that takes it as an argument made nothing of it.
    let verified = braidfs([Path::new("verify"), mount.path()]).ok();
    assert_eq!(verified.out, braidfs_on(&store.path(), &["verify"], "").ok().out);
}

const BRAIDFS: &str = env!("CARGO_BIN_EXE_braidfs");
const DRAFT: &str = "{\"stream\":\"mine\",\"type\":\"T\",\"data\":1}\n";

/// Each command that a mount's directories are given, as it ended.
fn commands_in(mount: &Mount) -> Vec<Ran> {
    let inside = ["", "streams", "at/position:1/streams"].map(|inside| mount.join(inside));
    let commands = [&["log"][..], &["append"], &["status"]];
    let run = |inside, arguments| run_with(braidfs_command().args(arguments).current_dir(inside), DRAFT.as_bytes());
    let mut ran: Vec<Ran> = inside.iter().flat_map(|inside| commands.map(|arguments| run(inside, arguments))).collect();
    ran.extend(commands.map(|arguments| braidfs_on(&inside[1], arguments, DRAFT)));
    ran.push(braidfs([Path::new("verify"), mount.path()]));
    ran
}

/// Story: a command in a mount read, and wrote to, whatever lay at the path of its store: another one that was put there.
#[test]
fn a_command_in_a_mount_works_on_no_other_store() {
    for options in [&[][..], &["--read-only"]] {
        let ((store, _), other) = (TestStore::forked(), TestStore::new());
        let (path, moved) = (store.path(), store.home().join("moved"));
        let mount = options.iter().fold(Mount::options(&path), |mount, option| mount.arg(option)).start();
        // What git takes away and makes again is of the same store.
        bash(&path, "mv events ../events && cp -a ../events events").ok();
        commands_in(&mount).into_iter().for_each(|ran| assert_eq!(ran.code, 0, "{}", ran.err));

        fs::rename(&path, &moved).unwrap();
        let refuse = || {
            for ran in commands_in(&mount) {
                let told = ran.code(1).err;
                let (point, path) = (mount.path().display(), path.display());
                let expected = format!("braidfs: mount '{point}' shows a store that does not lie at '{path}'\n  hint: name the directory");
                assert!(told.starts_with(&expected), "{told}");
            }
        };
        refuse();
        run("cp", [Path::new("-a"), &other.path(), &path]).ok();
        refuse();
        assert_eq!(braidfs_on(&path, &["log"], "").ok().out, "");
    }
}

/// Story: it ended the daemon of the store that had come to lie where its own had lain.
#[test]
fn an_unmount_by_force_ends_no_mount_of_another_store() {
    let (store, other) = (TestStore::new(), TestStore::new());
    let path = store.path();
    let mount = Mount::start(&path);
    fs::rename(&path, store.home().join("moved")).unwrap();
    run("cp", [Path::new("-a"), &other.path(), &path]).ok();
    let second = Mount::options(&path).at(&store.home().join("second")).start();
    braidfs([Path::new("umount"), Path::new("--force"), mount.path()]).ok();
    eventually("it is unmounted", || !is_mounted(mount.path()));
    second.append(DRAFT).unwrap();
    assert_eq!(second.unmount().code(), Some(0));
}

/// Story: whoever took away a mount point that a crash had left dead ended the mount of the same store that he had made since.
#[test]
fn an_unmount_by_force_of_a_dead_mount_ends_no_living_one() {
    let store = TestStore::new();
    let mut dead = Mount::start(&store.path());
    dead.crash();
    let living = Mount::options(&store.path()).at(&store.home().join("living")).start();
    braidfs([Path::new("umount"), Path::new("--force"), dead.path()]).ok();
    assert!(!is_mounted(dead.path()));
    living.append(DRAFT).unwrap();
    assert_eq!(living.unmount().code(), Some(0));
}

/// Story: in a container whose own store has the same path, it was that one.
#[test]
fn a_command_in_a_mount_works_on_no_store_of_a_container() {
    if !is_root() {
        return;
    }
    let ((store, _), other) = (TestStore::forked(), TestStore::new());
    let mount = Mount::start(&store.path());
    let ([store, other], point) = ([&store, &other].map(TestStore::path), mount.path());
    let in_container = |seen: &Path| {
        let [seen, path, point] = [seen, &store, point].map(Path::display);
        let script = format!("mount --bind '{seen}' '{path}' && cd '{point}/streams' && echo '{}' | {BRAIDFS} append", DRAFT.trim_end());
        run("unshare", ["-m", "bash", "-c", &script])
    };
    in_container(&store).ok();
    let told = in_container(&other).code(1).err;
    assert!(told.contains(&format!("shows a store that does not lie at '{}'", store.display())), "{told}");
    assert_eq!(braidfs_on(&other, &["log"], "").ok().out, "");
}

/// Story: whoever is asked which store a mount shows may not answer.
#[test]
fn a_command_in_a_mount_whose_daemon_does_not_answer_says_so_and_ends() {
    let (store, _) = TestStore::forked();
    let mut mount = Mount::start(&store.path());
    let (point, pid) = (mount.path().display().to_string(), mount.pid());
    let after = |what: &str, code: i32, expected: &str| {
        let told = bash(store.home(), &format!("cd '{point}/streams' && {what}; {BRAIDFS} log")).code(code).err;
        assert!([expected, "--store DIR", "braidfs umount"].iter().all(|part| told.contains(part)), "{told}");
    };
    after(&format!("kill -STOP {pid}"), 3, &format!("mount '{point}' does not answer"));
    mount.signal("CONT");
    run_with(braidfs_command().arg("log").current_dir(mount.path()), b"").ok();
    let is_dead = format!("while stat '{point}/README.md'; do :; done >/dev/null 2>&1");
    after(&format!("kill -9 {pid} && {is_dead}"), 4, &format!("mount '{point}' is dead"));
    mount.crash();
}

/// Story: what nothing is understood of silenced the log without a word.
#[test]
fn a_mount_says_what_it_does_not_understand_of_what_is_to_be_logged() {
    let (store, _) = TestStore::forked();
    let (from, to) = (store.path(), store.home().join("mnt"));
    fs::create_dir(&to).unwrap();
    let _guard = PointGuard::new(&to);
    for wrong in ["verbose", "braidfs=nolevel", "x=[["] {
        let refused = run_with(braidfs_command().arg("mount").args([&from, &to]).env("BRAIDFS_LOG", wrong), b"").code(2);
        assert!(refused.err.contains(&format!("BRAIDFS_LOG is \"{wrong}\"")) && refused.err.contains("hint: "), "{}", refused.err);
    }
    for right in ["", "off", "debug", "WARN", "warn,braidfs::mount=trace"] {
        run_with(braidfs_command().arg("mount").args([&from, &to]).env("BRAIDFS_LOG", right), b"").ok();
        braidfs([Path::new("umount"), &to]).ok();
    }
}

#[test]
fn many_writers_by_the_command_line_lose_nothing() {
    let store = TestStore::new();
    let mount = Mount::start(&store.path());
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for n in 0..5 {
                    braidfs_on(&store.path(), &["append"], &format!("{{\"stream\":\"w{writer}\",\"type\":\"T\",\"data\":{n}}}\n")).ok();
                }
            });
        }
    });
    eventually_eq(&20, || mount.read_lines("log.jsonl").len());
    for writer in 0..4 {
        let data: Vec<Value> =
            mount.read_lines(&format!("streams/w{writer}.jsonl")).into_iter().map(|event| event["event_data"].clone()).collect();
        assert_eq!(data, [0, 1, 2, 3, 4]);
    }
    let mut numbers: Vec<u64> = Vec::new();
    eventually("the feed has every event", || {
        numbers = mount.read_lines("feed.jsonl").iter().map(|event| event["seq_nr"].as_u64().unwrap()).collect();
        numbers.len() >= 20
    });
    // Nothing has vanished: each event has one line, whoever gave it its number.
    assert_eq!(numbers, (1..=20).collect::<Vec<_>>());
    assert!(!mount.read("feed.jsonl").contains("\"gone\""));
}

/// Story: where only the mount point stood, `--store` was ignored and an argument was said to be missing.
#[test]
fn a_mount_shows_the_store_that_the_option_names() {
    let (store, _) = TestStore::forked();
    let point = store.home().join("mnt");
    fs::create_dir(&point).unwrap();
    let _guard = PointGuard::new(&point);
    let (store, point) = (store.path(), point.to_str().unwrap().to_owned());
    braidfs(["mount", &point, "--store", store.to_str().unwrap()]).ok();
    let shown = fs::read_dir(Path::new(&point).join("transactions")).map(Iterator::count);
    braidfs(["umount", &point]).ok();
    assert_eq!(shown.unwrap(), 4);
}
