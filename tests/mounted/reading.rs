//! "Reading": sizes, inodes, listings, refusals.

use std::fs;
use std::os::unix::fs::MetadataExt;

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::support::draft::event;
use crate::support::mount::Mount;
use crate::support::run::{bash, run};
use crate::support::store::{REAL_HISTORY_EVENTS, TestStore};
use crate::support::wait::eventually;

/// Waits for the index, as `stat` of a view does by itself.
fn mounted(store: &TestStore, arguments: &[&str]) -> Mount {
    let options = arguments.iter().fold(Mount::options(&store.path()), |options, argument| options.arg(argument));
    options.start()
}

/// Every file below a directory: path and bytes.
fn files(mount: &Mount, directory: &str) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for name in mount.list(&directory) {
            let path = format!("{directory}/{name}");
            let facts = fs::symlink_metadata(mount.join(&path)).unwrap();
            if facts.is_dir() {
                open.push(path);
            } else {
                found.push((path, facts.len()));
            }
        }
    }
    found
}

#[test]
fn every_view_has_exactly_the_size_that_stat_says() {
    let store = TestStore::real_history();
    let mount = mounted(&store, &[]);
    let mut lines = 0;
    for (path, size) in files(&mount, ".") {
        let bytes = fs::read(mount.join(&path)).unwrap();
        if !path.ends_with("/status.json") && !path.ends_with("/metrics") {
            assert_eq!(bytes.len() as u64, size, "{path}");
        }
        if path.starts_with("./streams/") {
            lines += bytes.iter().filter(|byte| **byte == b'\n').count();
        }
    }
    assert_eq!(lines, REAL_HISTORY_EVENTS);
    assert_eq!(mount.read("log.jsonl").lines().count(), REAL_HISTORY_EVENTS);
    let counted = bash(mount.path(), "wc -lc < log.jsonl; cat log.jsonl | wc -lc; tail -c 100 log.jsonl | wc -c").ok();
    let counted = counted.lines();
    assert_eq!(counted[0].split_whitespace().collect::<Vec<_>>(), counted[1].split_whitespace().collect::<Vec<_>>());
    assert_eq!(counted[2].trim(), "100");
    mount.unmount();
}

#[test]
fn a_read_only_mount_shows_the_same_bytes_and_has_no_staging() {
    let store = TestStore::real_history();
    let writable = mounted(&store, &[]);
    let read_only = Mount::options(&store.path()).at(&store.home().join("ro")).arg("--read-only").start();
    for name in ["log.jsonl", "README.md"] {
        assert_eq!(writable.read(name), read_only.read(name), "{name}");
    }
    let feed = writable.read("feed.jsonl");
    assert_eq!(feed.lines().count(), REAL_HISTORY_EVENTS);
    eventually("the numbers that the other daemon gives are followed", || read_only.read("feed.jsonl") == feed);
    let streams = |mount: &Mount| bash(mount.path(), "find streams types categories -type f | sort | xargs cat | sha256sum").ok().out;
    assert_eq!(streams(&writable), streams(&read_only));
    let names = read_only.list("");
    for absent in ["append", "staging", "receipts"] {
        assert!(!names.contains(&absent.to_owned()), "{absent} in {names:?}");
    }
    let refused = bash(read_only.path(), "echo x > log.jsonl; touch streams/new; mkdir d");
    assert_eq!(refused.err.matches("Read-only file system").count(), 3, "{}", refused.err);
    read_only.unmount();
    writable.unmount();
}

#[test]
fn a_name_keeps_its_inode_over_a_remount() {
    let store = TestStore::real_history();
    let inodes = |mount: &Mount| -> Vec<u64> {
        let streams = mount.list("streams");
        streams.iter().map(|name| fs::metadata(mount.join(format!("streams/{name}"))).unwrap().ino()).collect()
    };
    let first = mounted(&store, &[]);
    let before = inodes(&first);
    first.unmount();
    let second = mounted(&store, &[]);
    assert_eq!(before, inodes(&second));
    second.unmount();
}

#[test]
fn views_refuse_every_change_with_erofs() {
    let (store, _) = TestStore::forked();
    let mount = mounted(&store, &[]);
    let attempts = [
        "echo x >> log.jsonl",
        "echo x > streams/account-0.jsonl",
        "truncate -s 0 log.jsonl",
        "rm -f log.jsonl",
        "rm -f streams/account-0.jsonl",
        "mv log.jsonl log2.jsonl",
        "mv streams/account-0.jsonl streams/x.jsonl",
        "mkdir streams/new",
        "rmdir streams",
        "ln -s log.jsonl link",
        "ln log.jsonl streams/link",
        "touch new",
        "chmod 600 log.jsonl",
        "chown 0 log.jsonl",
        "touch -d yesterday log.jsonl",
        "setfattr -n user.x -v y log.jsonl",
        "mkfifo pipe",
    ];
    for attempt in attempts {
        let ran = bash(mount.path(), &format!("LC_ALL=C {attempt}"));
        assert_ne!(ran.code, 0, "{attempt}");
        assert!(ran.err.contains("Read-only file system"), "{attempt}: {}", ran.err);
    }
    assert_eq!(mount.read("log.jsonl").lines().count(), 7);
    mount.unmount();
}

#[test]
fn no_call_on_the_mount_answers_that_it_is_not_there() {
    use std::os::fd::AsRawFd;
    let (store, _) = TestStore::forked();
    let mount = mounted(&store, &[]);
    let log = fs::File::open(mount.join("log.jsonl")).unwrap();
    log.sync_all().unwrap();
    log.sync_data().unwrap();
    let directory = fs::File::open(mount.join("streams")).unwrap();
    directory.sync_all().unwrap();
    let draft = fs::File::create(mount.join("staging/.x")).unwrap();
    let not_there = |what: &str, failed: bool| {
        let errno = std::io::Error::last_os_error().raw_os_error();
        assert!(!failed || errno != Some(libc::ENOSYS), "{what} answers ENOSYS");
    };
    // SAFETY: every call gets open descriptors and, where it takes a pointer, one that is valid or null as it allows.
    #[allow(unsafe_code)]
    unsafe {
        let fd = draft.as_raw_fd();
        not_there("fallocate", libc::fallocate(fd, 0, 0, 100) != 0);
        not_there("punch", libc::fallocate(fd, libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE, 0, 10) != 0);
        not_there("lseek", libc::lseek(log.as_raw_fd(), 0, libc::SEEK_HOLE) < 0);
        not_there("flock", libc::flock(fd, libc::LOCK_EX | libc::LOCK_NB) != 0);
        not_there("ioctl", libc::ioctl(fd, libc::FIONREAD, &mut 0i32) != 0);
        let copied = libc::copy_file_range(log.as_raw_fd(), std::ptr::null_mut(), fd, std::ptr::null_mut(), 100, 0);
        not_there("copy_file_range", copied < 0);
        not_there("fsync", libc::fsync(fd) != 0);
        let mut file_system: libc::statvfs = std::mem::zeroed();
        assert_eq!(libc::fstatvfs(fd, &mut file_system), 0);
        assert!(file_system.f_blocks > 0 && file_system.f_namemax >= 255);
    }
    drop((draft, log, directory));
    let listed = run("getfattr", ["-d", "--absolute-names", mount.join("streams/account-0.jsonl").to_str().unwrap()]).ok();
    assert!(listed.out.contains("user.braidfs.stream_id=\"account-0\""), "{}", listed.out);
    assert!(listed.out.contains("user.braidfs.stream_version=\"4\""), "{}", listed.out);
    mount.unmount();
}

#[test]
fn what_comes_and_goes_in_events_is_followed_by_all_views() {
    let (mut store, ids) = TestStore::forked();
    let mount = mounted(&store, &[]);
    assert_eq!(mount.read_lines("streams/account-0.jsonl").len(), 4);
    let before = fs::metadata(mount.join("log.jsonl")).unwrap().ino();
    store.transaction().event("account-0", "Closed", json!({})).event("new-1", "Opened", json!({})).write();
    eventually("the new event is in its stream", || mount.read_lines("streams/account-0.jsonl").len() == 5);
    assert_eq!(mount.read_lines("log.jsonl").len(), 9);
    assert_eq!(mount.read_lines("streams/new-1.jsonl").len(), 1);
    assert!(mount.list("streams").contains(&"new-1.jsonl".to_owned()));
    assert_eq!(fs::metadata(mount.join("log.jsonl")).unwrap().ino(), before, "it only grew");
    let gone = ids.theirs[1];
    let held = fs::File::open(mount.join("streams/audit.jsonl")).unwrap();
    fs::remove_file(store.events_dir().join(format!("{gone}.jsonl"))).unwrap();
    eventually("its events leave the views", || !mount.join("streams/audit.jsonl").exists());
    assert_eq!(mount.read_lines("log.jsonl").len(), 6);
    assert_ne!(fs::metadata(mount.join("log.jsonl")).unwrap().ino(), before, "the name stands for a new file");
    let whole = std::io::read_to_string(held).unwrap();
    assert_eq!(whole.lines().count(), 1, "what was open stays whole");
    mount.unmount();
}

#[test]
fn a_directory_of_many_names_lists_each_once_while_names_come() {
    let mut store = TestStore::new();
    for n in 0..40 {
        let mut transaction = store.transaction();
        for m in 0..50 {
            transaction = transaction.event(&format!("s{n:02}{m:02}"), "T", json!({}));
        }
        transaction.write();
    }
    let mount = mounted(&store, &[]);
    let mut listing = fs::read_dir(mount.join("streams")).unwrap();
    let mut seen: Vec<String> = listing.by_ref().take(10).map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let mut transaction = store.transaction();
    for m in 0..50 {
        transaction = transaction.event(&format!("r{m:02}"), "T", json!({}));
    }
    transaction.write();
    eventually("the new names are there", || mount.join("streams/r49.jsonl").exists());
    seen.extend(listing.map(|entry| entry.unwrap().file_name().into_string().unwrap()));
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), count, "no name twice");
    assert!((0..40).all(|n| (0..50).all(|m| seen.binary_search(&format!("s{n:02}{m:02}.jsonl")).is_ok())), "none is missing");
    assert_eq!(mount.list("streams").len(), 2050);
    mount.unmount();
}

#[test]
fn who_reads_as_soon_as_the_mount_answers_reads_every_view_whole() {
    const TRANSACTIONS: usize = 400;
    let mut store = TestStore::new();
    for n in 0..TRANSACTIONS {
        store.transaction().event("a", "T", json!({"n": n})).event(&format!("b{n}"), "T", json!({"n": n})).write();
    }
    for arguments in [&["--read-only"][..], &[]] {
        for (name, lines) in [("log.jsonl", 2 * TRANSACTIONS), ("streams/a.jsonl", TRANSACTIONS), ("types/T.jsonl", 2 * TRANSACTIONS)] {
            // Nothing was saved, so that every file is read again.
            fs::remove_dir_all(store.path().join("index")).unwrap_or_default();
            let mount = mounted(&store, arguments);
            // `wc -l` opens and reads; it does not ask for the size first.
            let counted = bash(mount.path(), &format!("wc -l {name}")).ok();
            assert_eq!(counted.out.trim(), format!("{lines} {name}"), "{arguments:?}");
            mount.unmount();
        }
    }
}

#[test]
fn refused_files_are_shown_whatever_their_names_and_reasons_are() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let mut store = TestStore::new();
    let ids = [1u128, 2].map(|n| uuid::Uuid::from_u128(n << 64 | 7 << 76 | 2 << 62));
    for (id, parent) in [(ids[0], ids[1]), (ids[1], ids[0])] {
        store.transaction().id(id).parents([parent]).event("a", "T", json!(1)).write();
    }
    fs::write(store.events_dir().join(OsStr::from_bytes(b"odd\xff%41.jsonl")), "junk").unwrap();
    store.write_raw("odd%FF%41.jsonl", "junk too");
    let mount = mounted(&store, &[]);
    let mut names = vec!["odd%25FF%2541.jsonl".to_owned(), "odd%FF%2541.jsonl".to_owned()];
    names.extend(ids.map(|id| format!("{id}.jsonl")));
    names.extend(names.clone().into_iter().map(|name| name + ".reason"));
    names.sort();
    // What has just been written may still be.
    eventually("every refused file is listed", || mount.list("quarantine") == names);
    assert_eq!(mount.read("quarantine/odd%FF%2541.jsonl"), "junk");
    assert_eq!(mount.read("quarantine/odd%25FF%2541.jsonl"), "junk too");
    for name in ids.map(|id| format!("{id}.jsonl")) {
        let shown = mount.join("quarantine").join(&name);
        let bytes = fs::read(store.events_dir().join(name)).unwrap();
        assert_eq!(fs::metadata(&shown).unwrap().len(), bytes.len() as u64);
        assert_eq!(fs::read(&shown).unwrap(), bytes);
    }
    // What is no text leads nowhere else either.
    assert!(!mount.join(OsStr::from_bytes(b"quarantine/odd\xff%41.jsonl")).exists());
    mount.unmount();
}

/// Story: a longer one was ENOENT, since only categories that are listed were asked for it.
#[test]
fn a_category_with_a_long_name_is_found_whether_it_is_listed_or_not() {
    let mut store = TestStore::new();
    let (listed, unlisted) = ("é".repeat(130), "%/".repeat(60) + "%");
    for stream in [format!("{listed}-x"), format!("{unlisted}/x"), format!("{unlisted}/y")] {
        store.transaction().event(&stream, "T", json!(1)).write();
    }
    let mount = mounted(&store, &[]);
    let cut = mount.list("categories").into_iter().find(|name| name.contains("%~")).unwrap();
    let hash: String = Sha256::digest(unlisted.as_bytes()).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    // 213 bytes: an escape more would be 216.
    let name = "%25%2F".repeat(35) + "%25%~" + &hash + ".jsonl";
    for (name, category, lines) in [(cut, listed, 1), (name, unlisted, 2)] {
        let name = format!("categories/{name}");
        assert_eq!(mount.count(&name), lines);
        let shown = run("getfattr", ["-n", "user.braidfs.category", "--only-values", mount.join(&name).to_str().unwrap()]).ok();
        assert_eq!(shown.out.trim_end(), category);
    }
    mount.unmount();
}

#[test]
fn categories_of_every_length_grow_and_are_other_files_once_the_order_is_another_one() {
    let mut store = TestStore::new();
    let first = store.transaction().event("a/b:c-1", "T", json!(1)).write();
    let mount = mounted(&store, &[]);
    let long = "%/".repeat(60) + "%";
    mount.append(&event(&format!("{long}/x"), 1)).unwrap();
    let hash: String = Sha256::digest(long.as_bytes()).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let cut = "%25%2F".repeat(35) + "%25%~" + &hash;
    let names = ["a", "a%2Fb", "a%2Fb:c", &cut].map(|name| format!("categories/{name}.jsonl"));
    let counts =
        || names.each_ref().map(|name| (mount.count(name), fs::metadata(mount.join(name)).unwrap().len() == mount.read(name).len() as u64));
    assert_eq!(counts(), [(1, true); 4]);
    mount.append(&event("a/b:c-1", 2)).unwrap();
    assert_eq!(counts().map(|(lines, _)| lines), [2, 2, 2, 1]);
    mount.append(&event("a/b:d", 3)).unwrap();
    mount.append(&event(&format!("{long}/y"), 4)).unwrap();
    assert_eq!(counts(), [(3, true), (3, true), (2, true), (2, true)]);
    let before = names.each_ref().map(|name| mount.read(name));
    // Before what was committed since, and of another stream.
    store.transaction().parents([first]).event("elsewhere", "T", json!(5)).write();
    eventually("it is in the views", || mount.count("log.jsonl") == 6);
    assert_eq!(names.each_ref().map(|name| mount.read(name)), before);
    mount.unmount();
}

/// Story: with every byte written as three, or with `.reason` behind it, a name was longer than any file system takes.
#[test]
fn a_refused_file_with_a_long_name_can_be_copied_with_its_reason() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let store = TestStore::new();
    let long = |bytes: &[u8], count: usize| [&bytes.repeat(count), &b".jsonl"[..]].concat();
    // The third is the longest that is not cut.
    let names = [long(b"\xff", 249), long(b"x", 249), long(b"y", 242), long(b"z", 243)];
    for name in &names {
        fs::write(store.events_dir().join(OsStr::from_bytes(name)), "junk").unwrap();
    }
    let mount = mounted(&store, &[]);
    eventually("every refused file is listed", || mount.list("quarantine").len() == 2 * names.len());
    let copy = store.home().join("copy");
    run("cp", ["-r", mount.join("quarantine").to_str().unwrap(), copy.to_str().unwrap()]).ok();
    let listed = mount.list("quarantine");
    let cut = listed.iter().filter(|name| name.contains("%~")).count();
    assert_eq!(cut, 6, "{listed:?}");
    let mut exact: Vec<String> = Vec::new();
    for name in listed.iter().filter(|name| name.ends_with(".jsonl")) {
        assert_eq!(fs::read_to_string(copy.join(name)).unwrap(), "junk");
        let reason = format!("{name}.reason");
        assert!(listed.contains(&reason) && reason.len() <= 255);
        let value = |of: &str| {
            let path = mount.join("quarantine").join(of);
            run("getfattr", ["-e", "hex", "-n", "user.braidfs.file", "--only-values", path.to_str().unwrap()]).ok().out
        };
        assert_eq!(value(name), value(&reason));
        let told = fs::read_to_string(copy.join(&reason)).unwrap();
        assert_eq!(told.contains("its name in events/"), name.contains("%~"), "{told}");
        exact.push(value(name));
    }
    exact.sort();
    let mut expected: Vec<String> = names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    expected.sort();
    assert_eq!(exact, expected);
    mount.unmount();
}
