//! "Appending": the three ways, their outcomes and their errno.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt as _};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::Value;

use crate::support::draft::{errno, event, save};
use crate::support::mount::{Mount, User};
use crate::support::run::{bash, bash_as_nobody, braidfs_command, run_with};
use crate::support::store::TestStore;
use crate::support::wait::{eventually, eventually_eq};

fn receipt(mount: &Mount, name: &str) -> Value {
    mount.read_json(&format!("receipts/{name}.json"))
}

#[test]
fn what_was_committed_is_seen_by_the_very_next_call() {
    let store = TestStore::new();
    let mount = Mount::start(&store.path());
    let mut expected = 0;
    for n in 0..30 {
        let name = format!("x{n}.jsonl");
        match n % 3 {
            0 => fs::write(mount.join("staging").join(&name), event("a", n)).unwrap(),
            1 => {
                fs::write(mount.join("staging/.draft"), event("a", n)).unwrap();
                fs::rename(mount.join("staging/.draft"), mount.join("staging").join(&name)).unwrap();
            }
            _ => fs::OpenOptions::new().append(true).open(mount.join("append")).unwrap().write_all(event("a", n).as_bytes()).unwrap(),
        }
        expected += 1;
        match n % 4 {
            0 => assert_eq!(mount.count("log.jsonl"), expected, "{name}"),
            1 => assert_eq!(mount.read("streams/a.jsonl").lines().count(), expected, "{name}"),
            2 => assert_eq!(fs::metadata(mount.join("log.jsonl")).unwrap().len(), mount.read("log.jsonl").len() as u64),
            _ => assert_eq!(mount.read_json("status.json")["events"], expected, "{name}"),
        }
    }
    for n in 0..10 {
        fs::write(mount.join(format!("staging/new{n}.jsonl")), event(&format!("fresh-{n}"), n)).unwrap();
        assert_eq!(mount.read(&format!("streams/fresh-{n}.jsonl")).lines().count(), 1, "a stream that was not there");
    }
    assert!(mount.list("staging").is_empty());
    mount.unmount();
}

#[test]
fn errors_reach_the_writer_and_the_receipt() {
    let store = TestStore::new();
    let mount = Mount::start(&store.path());
    let staging = mount.join("staging");
    assert_eq!(errno(save(&staging.join("good.jsonl"), event("a", 1).as_bytes())), 0);
    assert_eq!(receipt(&mount, "good.jsonl")["state"], "committed");
    assert_eq!(errno(save(&staging.join("bad.jsonl"), b"nonsense\n")), libc::EINVAL);
    let stale = format!("{{\"expect\":{{\"a\":7}}}}\n{}", event("a", 2));
    assert_eq!(errno(save(&staging.join("stale.jsonl"), stale.as_bytes())), libc::ESTALE);
    assert_eq!(errno(save(&staging.join("good.jsonl"), event("a", 1).as_bytes())), libc::EEXIST);
    assert_eq!(errno(save(&staging.join("half.jsonl"), &event("a", 3).as_bytes()[..9])), 0, "only its receipt can tell");
    for (name, why) in [("bad.jsonl", "EINVAL"), ("stale.jsonl", "ESTALE"), ("half.jsonl", "EINVAL")] {
        let receipt = receipt(&mount, name);
        assert_eq!((&receipt["state"], &receipt["reasons"][0]["errno"]), (&Value::from("refused"), &Value::from(why)), "{name}");
        assert!(mount.read(&format!("staging/{name}.error")).contains(why));
    }
    assert_eq!(mount.read("staging/bad.jsonl"), "nonsense\n");
    assert_eq!(mount.list("staging").len(), 6);
    assert_eq!(mount.count("log.jsonl"), 1);
    mount.unmount();
}

#[test]
fn a_draft_that_is_renamed_is_committed_or_stays() {
    let store = TestStore::new();
    let mount = Mount::start(&store.path());
    let staging = mount.join("staging");
    fs::write(staging.join(".x"), "nonsense").unwrap();
    assert_eq!(errno(fs::rename(staging.join(".x"), staging.join("x.jsonl"))), libc::EINVAL);
    assert_eq!(mount.list("staging"), [".x", "x.jsonl.error"]);
    fs::write(staging.join(".x"), format!("{{\"expect\":{{\"a\":1}}}}\n{}", event("a", 1))).unwrap();
    assert_eq!(errno(fs::rename(staging.join(".x"), staging.join("x.jsonl"))), libc::ESTALE);
    fs::write(staging.join(".x"), event("a", 1)).unwrap();
    assert_eq!(errno(fs::rename(staging.join(".x"), staging.join("x.jsonl"))), 0);
    assert!(mount.list("staging").is_empty());
    assert_eq!(receipt(&mount, "x.jsonl")["events"][0]["stream_version"], 1);
    fs::write(staging.join(".y"), event("b", 1)).unwrap();
    assert_eq!(errno(fs::rename(staging.join(".y"), mount.join("y"))), libc::EXDEV);
    assert_eq!(errno(fs::rename(mount.join("log.jsonl"), staging.join("y"))), libc::EXDEV);
    assert_eq!(errno(fs::create_dir(staging.join("d"))), libc::EPERM);
    assert_eq!(errno(std::os::unix::fs::symlink("x", staging.join("l"))), libc::EPERM);
    assert_eq!(errno(fs::hard_link(staging.join(".y"), staging.join("l"))), libc::EPERM);
    let exclusive = fs::OpenOptions::new().write(true).create_new(true).open(staging.join(".y"));
    assert_eq!(errno(exclusive.map(drop)), libc::EEXIST);
    mount.unmount();
}

#[test]
fn a_write_to_append_is_exactly_one_line() {
    let store = TestStore::new();
    let mount = Mount::start(&store.path());
    let append = |bytes: &[u8]| errno(fs::OpenOptions::new().append(true).open(mount.join("append")).unwrap().write_all(bytes));
    assert_eq!(append(event("a", 1).as_bytes()), 0);
    assert_eq!(append((event("a", 1) + &event("a", 2)).as_bytes()), libc::EINVAL);
    assert_eq!(append(event("a", 2).trim_end().as_bytes()), libc::EINVAL);
    let array = format!("[{},{}]\n", event("a", 2).trim_end(), event("b", 1).trim_end());
    assert_eq!(append(array.as_bytes()), 0);
    assert_eq!(append(format!("{{\"expect\":{{\"a\":1}},\"events\":[{}]}}\n", event("a", 3).trim_end()).as_bytes()), libc::ESTALE);
    let large = |len: usize| format!("{{\"stream\":\"big\",\"type\":\"T\",\"data\":\"{}\"}}\n", "x".repeat(len - 38));
    let limit = (1 << 20) - 4096;
    assert_eq!(large(limit).len(), limit);
    assert_eq!(append(large(limit).as_bytes()), 0);
    assert_eq!(append(large(limit + 1).as_bytes()), libc::EFBIG);
    assert_eq!(append(large(limit + 100_000).as_bytes()), libc::EFBIG);
    assert_eq!(mount.count("log.jsonl"), 4);
    assert_eq!(mount.read("append"), "");
    bash(mount.path(), "echo '{\"stream\":\"a\",\"type\":\"T\",\"data\":4}' > append").ok();
    assert_eq!(mount.count("log.jsonl"), 5);
    mount.unmount();
}

#[test]
fn a_shell_that_holds_a_file_open_makes_one_transaction() {
    let store = TestStore::new();
    let mount = Mount::start(&store.path());
    let script = r#"exec 3> staging/x.jsonl
        echo '{"stream":"a","type":"T","data":1}' >&3
        /bin/echo '{"stream":"a","type":"T","data":2}' >&3
        ls staging; cat log.jsonl | wc -l
        exec 3>&-
        cat log.jsonl | wc -l
        { echo '{"stream":"b","type":"T","data":1}'; /bin/echo '{"stream":"b","type":"T","data":2}'; } > staging/y.jsonl
        cat log.jsonl | wc -l"#;
    let ran = bash(mount.path(), script).ok();
    assert_eq!(ran.lines().iter().map(|line| line.trim()).collect::<Vec<_>>(), ["x.jsonl", "0", "2", "4"]);
    assert_eq!(mount.list("transactions").len(), 2);
    mount.unmount();
}

#[test]
fn what_a_killed_writer_left_is_refused_and_mended() {
    let store = TestStore::new();
    let mount = Mount::start(&store.path());
    let script =
        r#"bash -c 'exec 3> staging/x.jsonl; printf "{\"count\":2}\n{\"stream\":\"a\",\"type\":\"T\",\"data\":1}\n" >&3; kill -9 $$'"#;
    assert_ne!(bash(mount.path(), script).code, 0);
    eventually_eq(&Value::from("refused"), || receipt(&mount, "x.jsonl")["state"].clone());
    assert_eq!(mount.count("log.jsonl"), 0);
    bash(mount.path(), r#"echo '{"stream":"a","type":"T","data":2}' >> staging/x.jsonl"#).ok();
    assert_eq!(receipt(&mount, "x.jsonl")["state"], "committed");
    assert_eq!(mount.count("log.jsonl"), 2);
    mount.unmount();
}

#[test]
fn a_daemon_that_dies_keeps_drafts_and_refuses_what_was_not_closed() {
    let store = TestStore::new();
    let mut mount = Mount::start(&store.path());
    fs::write(mount.join("staging/.draft"), "half a dra").unwrap();
    fs::write(mount.join("staging/done.jsonl"), event("a", 1)).unwrap();
    assert_eq!(receipt(&mount, "done.jsonl")["state"], "committed");
    let mut open = fs::File::create(mount.join("staging/open.jsonl")).unwrap();
    open.write_all(event("a", 2).as_bytes()).unwrap();
    mount.crash();
    drop(open);
    drop(mount);
    let mount = Mount::start(&store.path());
    assert_eq!(mount.count("log.jsonl"), 1);
    assert_eq!(mount.list("staging"), [".draft", "open.jsonl", "open.jsonl.error"]);
    assert_eq!(mount.read("staging/.draft"), "half a dra");
    assert!(mount.read("staging/open.jsonl.error").contains("the daemon ended first"));
    bash(mount.path(), "touch staging/open.jsonl").ok();
    assert_eq!(receipt(&mount, "open.jsonl")["state"], "committed");
    assert_eq!(mount.count("log.jsonl"), 2);
    mount.unmount();
}

/// Story: what sets the time of a file without opening it said that it had done so, and the file stayed refused.
#[test]
fn a_touch_by_name_is_the_next_attempt_and_a_time_that_is_stated_is_none() {
    let store = TestStore::new();
    let mut mount = Mount::start(&store.path());
    let names = ["opened", "named", "python", "perl", "stated", "reference", "kept", "dated"];
    let open: Vec<fs::File> = names
        .iter()
        .enumerate()
        .map(|(n, name)| {
            let mut file = fs::File::create(mount.join(format!("staging/{name}.jsonl"))).unwrap();
            file.write_all(event("a", n).as_bytes()).unwrap();
            file
        })
        .collect();
    mount.crash();
    drop((open, mount));
    let mount = Mount::start(&store.path());
    let state = |name: &str| receipt(&mount, &format!("{name}.jsonl"))["state"].clone();
    bash(mount.path(), "touch -d 2020-01-01 -c staging/dated.jsonl && touch -r README.md -c staging/reference.jsonl").ok();
    bash(mount.path(), "python3 -c 'import os; os.utime(\"staging/stated.jsonl\", (1, 2))'").ok();
    bash(mount.path(), "chmod 600 staging/kept.jsonl && touch -a -c staging/kept.jsonl").ok();
    for name in ["stated", "reference", "kept", "dated"] {
        assert_eq!(state(name), "refused", "{name}");
    }
    for (n, (name, script)) in [
        ("opened", "touch staging/opened.jsonl"),
        ("named", "touch -c staging/named.jsonl"),
        ("python", "python3 -c 'import pathlib; pathlib.Path(\"staging/python.jsonl\").touch()'"),
        ("perl", "perl -e 'utime undef, undef, \"staging/perl.jsonl\" or die'"),
    ]
    .into_iter()
    .enumerate()
    {
        bash(mount.path(), script).ok();
        assert_eq!(mount.count("log.jsonl"), n + 1, "{name}: the next call sees it");
        assert_eq!(state(name), "committed", "{name}");
    }
    // What is refused once more says why, and what keeps a file's time after its last close tries nothing again.
    fs::write(mount.join("staging/bad.jsonl"), "{}\n").unwrap_err();
    let refused = bash(mount.path(), "touch -c staging/bad.jsonl").code(1);
    assert!(refused.err.contains("Invalid argument"), "{}", refused.err);
    fs::write(store.home().join("late.jsonl"), format!("{{\"count\":2}}\n{}", event("a", 9))).unwrap();
    bash(mount.path(), &format!("cp -p '{}' staging/", store.home().join("late.jsonl").display())).ok();
    let at = receipt(&mount, "late.jsonl")["at"].clone();
    bash(mount.path(), "touch -r README.md -c staging/late.jsonl").ok();
    assert_eq!(receipt(&mount, "late.jsonl")["at"], at, "it was judged once");
    mount.unmount();
}

#[test]
fn a_file_that_is_cut_by_its_name_is_tried_again() {
    let store = TestStore::new();
    let mount = Mount::start(&store.path());
    let cut = |name: &str, size: usize| bash(mount.path(), &format!("python3 -c 'import os; os.truncate(\"staging/{name}\", {size})'"));
    let good = event("a", 1);
    fs::write(mount.join("staging/x.jsonl"), format!("{good}nonsense\n")).unwrap_err();
    let told = cut("x.jsonl", good.len() + 3).code(1);
    assert!(told.err.contains("Invalid argument"), "{}", told.err);
    assert_eq!(receipt(&mount, "x.jsonl")["bytes"], good.len() + 3);
    cut("x.jsonl", good.len()).ok();
    assert_eq!(receipt(&mount, "x.jsonl")["state"], "committed");
    assert_eq!(mount.count("log.jsonl"), 1);
    assert!(mount.list("staging").is_empty());
    // By its handle it is the writer's, whose last close decides; a draft is never tried.
    let file = fs::File::create(mount.join("staging/y.jsonl")).unwrap();
    (&file).write_all(format!("{good}{}", event("a", 2)).as_bytes()).unwrap();
    file.set_len(good.len() as u64).unwrap();
    cut("y.jsonl", good.len()).ok();
    assert_eq!(mount.count("log.jsonl"), 1);
    drop(file);
    assert_eq!(receipt(&mount, "y.jsonl")["state"], "committed");
    fs::write(mount.join("staging/.draft"), "xyz").unwrap();
    cut(".draft", 1).ok();
    assert_eq!(mount.read("staging/.draft"), "x");
    mount.unmount();
}

#[test]
fn writers_of_every_kind_at_once_and_readers_that_check() {
    const ROUNDS: usize = 12;
    const WRITERS: usize = 8;
    let store = TestStore::new();
    let mount = Mount::start(&store.path());
    std::thread::scope(|scope| {
        let (root, dir) = (mount.path(), mount.store());
        for writer in 0..WRITERS {
            scope.spawn(move || {
                for n in 0..ROUNDS {
                    let pair = event(&format!("w{writer}"), n) + &event("shared", n);
                    match writer % 4 {
                        0 => fs::write(root.join(format!("staging/w{writer}-{n}.jsonl")), pair).unwrap(),
                        1 => {
                            let draft = root.join(format!("staging/.w{writer}"));
                            fs::write(&draft, pair).unwrap();
                            fs::rename(&draft, root.join(format!("staging/w{writer}-{n}.jsonl"))).unwrap();
                        }
                        2 => drop(run_with(braidfs_command().arg("--store").arg(dir).arg("append"), pair.as_bytes()).ok()),
                        _ => {
                            let array = format!("[{},{}]\n", event(&format!("w{writer}"), n).trim_end(), event("shared", n).trim_end());
                            let mut append = fs::OpenOptions::new().write(true).custom_flags(0).open(root.join("append")).unwrap();
                            append.write_all(array.as_bytes()).unwrap();
                        }
                    }
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(move || {
                let mut seen = String::new();
                let shared = || fs::read_to_string(root.join("streams/shared.jsonl")).map_or(0, |text| text.lines().count());
                while seen.lines().count() < WRITERS * ROUNDS * 2 {
                    let before = shared();
                    let log = fs::read_to_string(root.join("log.jsonl")).unwrap();
                    // All views come from one epoch to the next together.
                    let both = log.lines().count() / 2;
                    assert!(before <= both && both <= shared(), "a stream and the log are of different epochs");
                    assert!(log.starts_with(&seen), "a later read of the same file contradicts an earlier one");
                    assert_eq!(log.lines().count() % 2, 0, "half a transaction");
                    assert!(log.is_empty() || log.ends_with('\n'));
                    seen = log;
                }
            });
        }
    });
    assert_eq!(mount.read("streams/shared.jsonl").lines().count(), WRITERS * ROUNDS);
    eventually("every event has its number", || mount.read("feed.jsonl").lines().count() == WRITERS * ROUNDS * 2);
    assert_eq!(mount.list("transactions").len(), WRITERS * ROUNDS);
    eventually("every committed name has left", || mount.list("staging").is_empty());
    mount.unmount();
}

#[test]
fn the_cure_of_an_idle_draft_commits_it() {
    let store = TestStore::new();
    let staged = store.path().join("tmp/staging");
    fs::create_dir_all(&staged).unwrap();
    for name in ["my events.jsonl", ".hidden", "x.jsonl~"] {
        let file = fs::File::create(staged.join(name)).unwrap();
        (&file).write_all(event("a", 1).as_bytes()).unwrap();
        // As if nobody had had it open for a while.
        file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(11)).unwrap();
    }
    let mount = Mount::start(&store.path());
    let idle = || {
        let status = mount.read_json("status.json");
        let findings = status["findings"].as_array().unwrap().iter().filter(|finding| finding["kind"] == "idle-draft");
        findings.map(|finding| finding["hint"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    eventually_eq(&vec!["mv staging/'my events.jsonl' staging/my-events.jsonl".to_owned()], idle);
    bash(mount.path(), &idle()[0]).ok();
    assert_eq!(mount.count("log.jsonl"), 1);
    eventually("it is told no more", || idle().is_empty());
    assert_eq!(mount.list("staging"), [".hidden", "x.jsonl~"]);
    mount.unmount();
}

#[test]
fn nothing_is_left_of_a_draft_that_was_refused_and_removed() {
    let store = TestStore::new();
    let mount = Mount::start(&store.path());
    let script = "echo nonsense > staging/.c; mv staging/.c staging/c.jsonl; ls -A staging; rm staging/.c; ls -A staging; test ! -e staging/c.jsonl.error";
    assert_eq!(bash(mount.path(), script).ok().lines(), [".c", "c.jsonl.error"]);
    assert_eq!(receipt(&mount, "c.jsonl")["draft"], ".c");
    mount.unmount();
}

/// Story: it said `Invalid argument`, and the `sh` of Debian says something else.
#[test]
fn the_readme_tells_what_a_shell_says_of_a_refused_line() {
    let store = TestStore::new();
    let mount = Mount::start(&store.path());
    let readme = mount.read("README.md");
    for shell in ["bash", "dash"] {
        let refused = bash(mount.path(), &format!("LC_ALL=C {shell} -c 'echo nonsense > append'"));
        let said = refused.err.trim_end().rsplit(": ").next().unwrap();
        let told = [format!("{shell} says only `{said}`"), format!("{shell} `{said}`")];
        assert!(refused.code != 0 && told.iter().any(|told| readme.contains(told)), "{refused:?}");
    }
    mount.unmount();
}

/// Story: it answered that a handle which is open for writing is not.
#[test]
fn room_for_what_is_appended_is_always_there() {
    use nix::fcntl::{FallocateFlags, fallocate, posix_fallocate};
    let store = TestStore::new();
    let mount = Mount::start(&store.path());
    let mut append = fs::File::options().append(true).open(mount.join("append")).unwrap();
    for mode in [FallocateFlags::empty(), FallocateFlags::FALLOC_FL_KEEP_SIZE] {
        fallocate(&append, mode, 0, 10).unwrap();
    }
    posix_fallocate(&append, 4096, 4096).unwrap();
    assert_eq!(append.metadata().unwrap().len(), 0);
    append.write_all(event("a", 1).as_bytes()).unwrap();
    drop(append);
    assert_eq!(mount.count("log.jsonl"), 1);
    mount.unmount();
}

#[test]
fn a_draft_may_have_any_name() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let store = TestStore::new();
    let mount = Mount::start(&store.path());
    let draft = mount.join("staging").join(OsStr::from_bytes(b"\xe4nderung \xff.jsonl"));
    fs::write(&draft, event("a", 1)).unwrap();
    assert_eq!(fs::read_to_string(&draft).unwrap(), event("a", 1));
    let listed: Vec<_> = fs::read_dir(mount.join("staging")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(listed, std::slice::from_ref(&draft));
    let longest = mount.join("staging").join(OsStr::from_bytes(&[0xff; 255]));
    fs::rename(&draft, &longest).unwrap();
    let too_long = OsStr::from_bytes(&[0xff; 256]);
    assert_eq!(errno(fs::rename(&longest, mount.join("staging").join(too_long))), libc::ENAMETOOLONG);
    for directory in ["", "staging", "streams", "checkpoints", "transactions", "at", "forks"] {
        let path = mount.join(directory).join(too_long);
        assert_eq!(errno(fs::metadata(&path)), libc::ENAMETOOLONG, "{directory}");
        assert_eq!(errno(fs::File::open(path)), libc::ENAMETOOLONG, "{directory}");
    }
    assert_eq!(errno(fs::metadata(mount.join("receipts").join(too_long))), libc::ENOENT, "of a longer name there may be a receipt");
    fs::rename(&longest, mount.join("staging/x.jsonl")).unwrap();
    assert_eq!((mount.count("log.jsonl"), mount.list("staging").len()), (1, 0));
    assert_eq!(errno(fs::write(mount.join("streams").join(OsStr::from_bytes(b"a\xff")), "x")), libc::EROFS);
    mount.unmount();
}

/// The second attempt lists the files first, which says no where the directory may not even be read.
#[test]
fn a_store_that_may_not_be_written_says_so_and_names_the_cure() {
    fs::set_permissions("/dev/fuse", fs::Permissions::from_mode(0o666)).unwrap();
    let store = TestStore::new();
    let mount = Mount::options(&store.path()).user(User::Nobody).start();
    for (mode, cure) in [(0o555, "chmod u+wx "), (0o000, "chmod u+rx ")] {
        fs::set_permissions(store.events_dir(), fs::Permissions::from_mode(mode)).unwrap();
        let draft = event("a", 1);
        for _ in 0..2 {
            let refused = bash_as_nobody(mount.path(), &format!("echo '{}' > append", draft.trim_end()));
            assert!(refused.code != 0 && refused.err.contains("Permission denied"), "{mode:o}: {}", refused.err);
        }
        let script = format!("echo '{}' > staging/x.jsonl; cat receipts/x.jsonl.json; rm staging/x.jsonl", draft.trim_end());
        let receipt = bash_as_nobody(mount.path(), &script).ok().json();
        let reason = &receipt["reasons"][0];
        assert_eq!(reason["errno"], "EACCES", "{receipt}");
        let message = reason["message"].as_str().unwrap();
        let named = format!("{cure}{}", store.events_dir().canonicalize().unwrap().display());
        assert!(message.contains(&named), "{message}");
        fs::set_permissions(store.events_dir(), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let script = format!("echo '{}' > append && wc -l < log.jsonl", event("a", 1).trim_end());
    assert_eq!(bash_as_nobody(mount.path(), &script).ok().out.trim(), "1");
    mount.unmount();
}

/// Story: of several writers who closed one file after the other there was always one undecided, and nobody who read was answered before
/// they paused.
#[test]
fn readers_are_answered_while_writers_never_pause() {
    const DROPS_MAX: usize = 2_000;
    let store = TestStore::new();
    let mount = Mount::start(&store.path());
    let (dropped, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let (mount, dropped, is_over) = (&mount, &dropped, &is_over);
            scope.spawn(move || {
                while dropped.fetch_add(1, Ordering::SeqCst) < DROPS_MAX && !is_over.load(Ordering::SeqCst) {
                    let n = dropped.load(Ordering::SeqCst);
                    fs::write(mount.join(format!("staging/w{writer}-{n}.jsonl")), event(&format!("s{writer}-{n}"), n)).unwrap();
                }
            });
        }
        eventually("the writers are at it", || dropped.load(Ordering::SeqCst) > 20);
        let streams = mount.list("streams").len();
        assert!(mount.list("transactions").len() >= streams && fs::metadata(mount.join("log.jsonl")).unwrap().len() > 0);
        is_over.store(true, Ordering::SeqCst);
    });
    assert!(dropped.into_inner() < DROPS_MAX, "the readers were answered when the writers were done");
    mount.unmount();
}
