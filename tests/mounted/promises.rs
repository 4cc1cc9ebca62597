//! Promises of "Reading" and "Appending" that are no tool's: facts, replaced names, keys, forks, full disks.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::support::draft::{close, errno, event};
use crate::support::mount::{Mount, is_root};
use crate::support::run::{bash, braidfs, run};
use crate::support::store::TestStore;
use crate::support::wait::eventually;

fn append(mount: &Mount, text: &str) -> i32 {
    errno(mount.append(text))
}

#[test]
fn the_facts_of_a_view_are_plausible() {
    let (mut store, ids) = TestStore::forked();
    let eventless = store.transaction().parents([ids.root]).write();
    let mount = Mount::start(&store.path());
    let last = mount.read_lines("log.jsonl").pop().unwrap()["created_at"].as_str().unwrap().to_owned();
    let last_seconds: i64 = run("date", ["-d", &last, "+%s"]).ok().out.trim().parse().unwrap();
    for name in ["log.jsonl", "feed.jsonl", "streams/audit.jsonl", "streams"] {
        let facts = fs::metadata(mount.join(name)).unwrap();
        assert_eq!((facts.mtime(), facts.nlink()), (last_seconds, 1), "{name}");
        assert_eq!(facts.blocks(), facts.len().div_ceil(512), "{name}");
    }
    // Of a transaction too, with events or without, whenever its file was written here.
    for (id, time) in [(ids.root, "2026-09-01T00:00:00.000000001Z"), (eventless, "2026-09-01T00:00:04.000000001Z")] {
        let facts = fs::metadata(mount.join(format!("transactions/{id}.jsonl"))).unwrap();
        let seconds: i64 = run("date", ["-d", time, "+%s"]).ok().out.trim().parse().unwrap();
        assert_eq!((facts.mtime(), facts.mtime_nsec()), (seconds, 1), "{id}");
    }
    let room = nix::sys::statvfs::statvfs(mount.path()).unwrap();
    let below = nix::sys::statvfs::statvfs(&store.path()).unwrap();
    assert_eq!((room.blocks(), room.files()), (below.blocks(), below.files()));
    mount.unmount();
}

/// Story: after an event of a stream that has no category, the directory of the categories was as old as before.
#[test]
fn the_directories_of_the_root_are_as_old_as_the_last_event() {
    let mut store = TestStore::new();
    store.transaction().event("a-1", "T", json!(1)).write();
    let mount = Mount::start(&store.path());
    let times = || ["streams", "types", "categories", "transactions", "forks"].map(|name| fs::metadata(mount.join(name)).unwrap().mtime());
    let before = times();
    assert_eq!(append(&mount, "{\"stream\":\"one\",\"type\":\"T\",\"data\":1}\n"), 0);
    let after = times();
    assert!(after[0] > before[0] && after.iter().all(|time| *time == after[0]), "{before:?} {after:?}");
    mount.unmount();
}

/// Story: behind the year 2262, where 64 bits of nanoseconds end, a view had the time of the store.
#[test]
fn a_view_has_the_time_of_its_last_event_whatever_the_clock_of_who_wrote_it_said() {
    let mut store = TestStore::new();
    let times = [
        ("1969-12-31T23:59:59.000000001+00:00", -1),
        ("2300-01-01T00:00:00+00:00", 10_413_792_000),
        ("9000-01-01T00:00:00+00:00", 221_845_392_000),
    ];
    let ids = times.map(|(time, _)| store.transaction().created_at(time).event(&time[..4], "T", json!(1)).write());
    let mount = Mount::start(&store.path());
    for (id, (time, seconds)) in ids.into_iter().zip(times) {
        for name in [format!("transactions/{id}.jsonl"), format!("streams/{}.jsonl", &time[..4])] {
            assert_eq!(fs::metadata(mount.join(&name)).unwrap().mtime(), seconds, "{name}");
        }
    }
    mount.unmount();
}

#[test]
fn whatever_is_in_a_mount_tells_which_directory_it_is_over() {
    let (store, _) = TestStore::forked();
    let facts = fs::metadata(store.path()).unwrap();
    for options in [&[][..], &["--read-only"], &["--no-cache"]] {
        let mount = options.iter().fold(Mount::options(&store.path()), |mount, option| mount.arg(option)).start();
        for name in [".", "streams", "streams/audit.jsonl", "at/position:1", "status.json"] {
            let ask = |command: &str| format!("fcntl.ioctl(os.open(\"{name}\", 0), {command}, bytes(16))");
            let told = format!("python3 -c 'import fcntl, os, struct; print(*struct.unpack(\"QQ\", {}))'", ask("0x80106201"));
            assert_eq!(bash(mount.path(), &told).ok().out, format!("{} {}\n", facts.dev(), facts.ino()), "{name} {options:?}");
            let other = format!("python3 -c 'import fcntl, os; {}'", ask("0x80106202"));
            assert!(bash(mount.path(), &other).code(1).err.contains("[Errno 25]"), "{name} {options:?}");
        }
        mount.unmount();
    }
}

#[test]
fn what_is_no_list_of_lines_is_replaced_whenever_it_changes() {
    let store = TestStore::new();
    let mount = Mount::start(&store.path());
    assert_eq!(append(&mount, &event("a", 1)), 0);
    for name in ["status.json", "graph.txt", "metrics"] {
        let before = mount.read(name);
        let mut held = File::open(mount.join(name)).unwrap();
        assert_eq!(append(&mount, &event("a", 2)), 0);
        let mut still = String::new();
        held.read_to_string(&mut still).unwrap();
        assert_ne!(mount.read(name), before, "{name}");
        assert_ne!(held.metadata().unwrap().ino(), fs::metadata(mount.join(name)).unwrap().ino(), "{name}");
        // Metrics count what was asked meanwhile, also in the file that is open.
        assert!(name == "metrics" || still == before, "{name}: {still}");
    }
    mount.unmount();
}

#[test]
fn what_is_open_or_mapped_stays_whole_when_a_merge_replaces_the_name() {
    let (mut store, ids) = TestStore::forked();
    let mount = Mount::start(&store.path());
    let before = mount.read("log.jsonl");
    let mut held = File::open(mount.join("log.jsonl")).unwrap();
    // SAFETY: the file is a view, whose bytes never change.
    #[allow(unsafe_code)]
    let mapped = unsafe { memmap2::Mmap::map(&held) }.unwrap();
    store.transaction().replica(3).parents([ids.root]).created_at("2026-01-01T00:00:00+00:00").event("early", "T", json!(1)).write();
    eventually("the merge shows", || mount.count("log.jsonl") == 8);
    assert_eq!(std::str::from_utf8(&mapped).unwrap(), before);
    let mut still = String::new();
    held.read_to_string(&mut still).unwrap();
    assert_eq!(still, before);
    assert_eq!(held.metadata().unwrap().len(), before.len() as u64);
    drop((held, mapped));
    mount.unmount();
}

#[test]
fn keys_and_event_ids_make_a_retry_safe() {
    let store = TestStore::new();
    let mount = Mount::start(&store.path());
    let keyed = |data: usize| format!("{{\"key\":\"k\",\"events\":[{}]}}\n", event("a", data).trim_end());
    assert_eq!([append(&mount, &keyed(1)), append(&mount, &keyed(1)), append(&mount, &keyed(2))], [0, 0, libc::EEXIST]);
    let id = "01a2197d-cfaa-76e3-9118-c7296b990777";
    let named = |data: usize| format!("{{\"stream\":\"a\",\"type\":\"T\",\"data\":{data},\"event_id\":\"{id}\"}}\n");
    assert_eq!([append(&mount, &named(1)), append(&mount, &named(1)), append(&mount, &named(2))], [0, 0, libc::EEXIST]);
    assert_eq!(mount.count("log.jsonl"), 2);
    let first = mount.read_lines("log.jsonl")[0]["transaction_id"].clone();
    fs::write(mount.join("staging/retry.json"), keyed(1)).unwrap();
    let receipt = mount.read_json("receipts/retry.json.json");
    assert_eq!((&receipt["state"], &receipt["transaction_id"]), (&Value::from("committed"), &first), "the first one's");
    assert_eq!(mount.count("log.jsonl"), 2);
    mount.unmount();
}

/// A drop is checked while it is written, but what it expected when it was committed no longer holds and need not.
#[test]
fn a_committed_draft_is_a_success_when_it_is_dropped_again() {
    let (store, _) = TestStore::forked();
    let mount = Mount::start(&store.path());
    let conflict = mount.list("forks")[0].clone();
    let id = "01a2197d-cfaa-76e3-9118-c7296b990778";
    let drafts = [
        format!("{{\"expect\":{{\"new\":\"none\"}},\"key\":\"k\"}}\n{}{}", event("new", 1), event("new", 2)),
        format!("{{\"expect\":{{\"named\":0}}}}\n{{\"stream\":\"named\",\"type\":\"T\",\"data\":1,\"event_id\":\"{id}\"}}\n"),
        format!("{{\"resolve\":\"{conflict}\",\"key\":\"r\"}}\n{}", event("account-0", 9)),
    ];
    let dropped = |name: &str, text: &str| {
        let answer = errno(fs::write(mount.join("staging").join(name), text));
        let receipt = mount.read_json(&format!("receipts/{name}.json"));
        (answer, receipt["state"].as_str().unwrap().to_owned(), receipt["transaction_id"].clone())
    };
    for (n, draft) in drafts.iter().enumerate() {
        let first = dropped(&format!("first-{n}.jsonl"), draft);
        assert_eq!((first.0, &*first.1), (0, "committed"), "{draft}");
        assert_eq!(dropped(&format!("again-{n}.jsonl"), draft), first, "{draft}");
    }
    assert_eq!(mount.list("forks"), [""; 0]);
    let other = format!("{{\"key\":\"k\"}}\n{}", event("new", 3));
    assert_eq!(dropped("other.jsonl", &other), (libc::EEXIST, "refused".to_owned(), Value::Null));
    let longer = format!("{}{}", drafts[0], event("new", 3));
    assert_eq!(dropped("longer.jsonl", &longer), (libc::EEXIST, "refused".to_owned(), Value::Null));
    mount.unmount();
}

#[test]
fn expectations_say_none_exists_any_or_a_version() {
    let store = TestStore::new();
    let mount = Mount::start(&store.path());
    let expecting = |what: &str| {
        let text = format!("{{\"expect\":{{\"a\":{what}}},\"events\":[{}]}}\n", event("a", 1).trim_end());
        append(&mount, &text)
    };
    let answers = ["\"exists\"", "1", "0", "\"none\"", "\"exists\"", "\"any\"", "3", "3", "\"some\"", "-1"].map(expecting);
    let (stale, wrong) = (libc::ESTALE, libc::EINVAL);
    assert_eq!(answers, [stale, stale, 0, stale, 0, 0, 0, stale, wrong, wrong]);
    mount.unmount();
}

/// A draft on a forked stream is told so by write(2) or close(2), whatever its form, and not only after the commit.
#[test]
fn an_append_to_a_forked_stream_is_refused_as_early_as_it_can_be() {
    let (store, _) = TestStore::forked();
    let mount = Mount::start(&store.path());
    assert_eq!(mount.count("log.jsonl"), 7);
    let unaware = event("account-0", 1);
    let write = |name: &str, text: &str| {
        let mut file = File::create(mount.join("staging").join(name)).unwrap();
        let written = errno(file.write_all(text.as_bytes()));
        let closed = errno(close(file));
        (written, closed)
    };
    assert_eq!(write("lines.jsonl", &unaware), (libc::ESTALE, libc::ESTALE));
    assert_eq!(write("endless.jsonl", unaware.trim_end()), (0, libc::ESTALE), "a last line without its end is whole");
    assert_eq!(write("document.json", &format!("[\n{}\n]", unaware.trim_end())), (0, libc::ESTALE));
    assert_eq!(append(&mount, &unaware), libc::ESTALE);
    fs::write(mount.join("staging/.x"), &unaware).unwrap();
    assert_eq!(errno(fs::rename(mount.join("staging/.x"), mount.join("staging/renamed.jsonl"))), libc::ESTALE);
    assert_eq!(mount.read("staging/.x"), unaware, "the draft is still there");
    let id = mount.list("forks")[0].clone();
    let of_another_day = mount.read(&format!("forks/{id}/resolution.json")).replace(&id, "0123456789ab");
    assert_eq!(write("resolve.json", &of_another_day), (0, libc::ESTALE), "a resolution of what is not open");
    for name in ["lines.jsonl", "endless.jsonl", "document.json", "renamed.jsonl", "resolve.json"] {
        let words = mount.read(&format!("staging/{name}.error"));
        assert!(words.contains(&format!("\nconflict {id} (open)\n  account-0: 1 event in common, then ")), "{words}");
        assert_eq!(mount.read_json(&format!("receipts/{name}.json"))["reasons"][0]["errno"], "ESTALE", "{name}");
        let report = mount.read_json(&format!("forks/{id}/report.json"));
        assert_eq!(mount.read_json(&format!("receipts/{name}.json"))["conflicts"], Value::from(vec![report]), "{name}");
    }
    assert_eq!(mount.count("log.jsonl"), 7);
    let aware = format!("{{\"expect\":{{\"account-0\":4}}}}\n{unaware}");
    assert_eq!(write("lines.jsonl", &aware), (0, 0), "who has seen both sides may");
    assert_eq!(mount.count("log.jsonl"), 8);
    mount.unmount();
}

#[test]
fn a_second_save_by_rename_keeps_the_draft_and_a_forgotten_receipt_allows_it() {
    let store = TestStore::new();
    let mount = Mount::start(&store.path());
    let save = || {
        fs::write(mount.join("staging/.x"), event("a", 1)).unwrap();
        errno(fs::rename(mount.join("staging/.x"), mount.join("staging/x.jsonl")))
    };
    assert_eq!([save(), save()], [0, libc::EEXIST]);
    assert_eq!(mount.list("staging"), [".x"]);
    fs::remove_file(mount.join("receipts/x.jsonl.json")).unwrap();
    assert_eq!(save(), 0);
    assert_eq!((mount.count("log.jsonl"), mount.list("staging").len()), (2, 0));
    mount.unmount();
}

#[test]
fn a_staged_file_takes_what_changes_nothing_and_refuses_what_would() {
    let store = TestStore::new();
    let mount = Mount::start(&store.path());
    fs::write(mount.join("staging/.x"), "draft").unwrap();
    bash(&mount.join("staging"), "chmod 600 .x && chown 1:1 .x && touch -d yesterday .x && touch .x").ok();
    let refused = |script: &str, why: &str| {
        let ran = bash(&mount.join("staging"), &format!("LC_ALL=C {script}"));
        assert!(ran.code != 0 && ran.err.contains(why), "{script}: {}", ran.err);
    };
    refused("setfattr -n user.x -v y .x", "Operation not supported");
    refused("mkfifo pipe", "Operation not permitted");
    refused("ln .x hard", "Operation not permitted");
    bash(&mount.join("staging"), "touch taken.txt && mv -n .x taken.txt; test -e .x").ok();
    let mut rest: BTreeSet<String> = mount.list("staging").into_iter().collect();
    for name in ["ü.jsonl", "-x.jsonl", "a b.jsonl", "x.JSONL", ".hidden.jsonl", "x.jsonl.tmp"] {
        fs::write(mount.join("staging").join(name), event("a", 1)).unwrap();
        rest.insert(name.to_owned());
    }
    assert_eq!(mount.list("staging").into_iter().collect::<BTreeSet<_>>(), rest, "no name that is committed");
    assert!(mount.list("receipts").is_empty());
    mount.unmount();
}

#[test]
fn a_store_on_a_disk_that_takes_no_writes_is_read_and_says_why_it_takes_nothing() {
    let store = TestStore::new();
    let path = store.home().join("disk");
    fs::create_dir(&path).unwrap();
    run("mount", ["-t", "tmpfs", "-o", "size=1m", "disk", path.to_str().unwrap()]).ok();
    let inner = path.join("store");
    let at = inner.to_str().unwrap();
    braidfs(["init", at]).ok();
    let draft = store.home().join("draft.jsonl");
    fs::write(&draft, event("a", 1)).unwrap();
    let append = || braidfs(["--store", at, "append", draft.to_str().unwrap()]);
    append().ok();
    run("mount", ["-o", "remount,ro", path.to_str().unwrap()]).ok();
    let refused = append().code(4);
    assert!(refused.err.contains("Read-only file system") && !refused.err.contains("sync failed"), "{}", refused.err);
    let point = store.home().join("mnt");
    fs::create_dir(&point).unwrap();
    let refused = braidfs(["mount", at, point.to_str().unwrap()]).code(4);
    assert!(refused.err.contains("or add --read-only"), "{}", refused.err);
    let mount = Mount::options(&inner).at(&point).arg("--read-only").start();
    assert_eq!(mount.count("feed.jsonl"), 1);
    mount.unmount();
    run("umount", [path.to_str().unwrap()]).ok();
}

/// Story: where the disk had given up writing, a refused draft could not be read either, and its receipt said that it could not.
#[test]
fn a_draft_that_nobody_may_write_any_more_can_be_read() {
    if !is_root() {
        return;
    }
    let store = TestStore::new();
    let mount = Mount::start(&store.path());
    let staged = mount.join("staging/draft.jsonl");
    let text = event("a", 1).replace("\"a\"", "7");
    let mut writer = fs::File::create(&staged).unwrap();
    writer.write_all(text.as_bytes()).unwrap_err();
    close(writer).unwrap_err();
    let kept = store.path().join("tmp/staging/draft.jsonl");
    run("chattr", ["+i", kept.to_str().unwrap()]).ok();
    let (read, write) = (fs::read_to_string(&staged), fs::OpenOptions::new().append(true).open(&staged));
    // A touch asks for another attempt.
    let again = fs::File::open(&staged).and_then(|file| file.set_modified(SystemTime::now()));
    let receipt = mount.read_json("receipts/draft.jsonl.json");
    run("chattr", ["-i", kept.to_str().unwrap()]).ok();
    assert_eq!(read.unwrap(), text);
    assert_eq!(errno(write), libc::EPERM);
    drop(again);
    let sha256 = run("sha256sum", [staged.to_str().unwrap()]).ok().out;
    assert_eq!(receipt["sha256"].as_str(), sha256.split(' ').next());
    mount.unmount();
}

#[test]
fn a_full_disk_refuses_the_writer_and_harms_nothing() {
    let store = TestStore::new();
    let path = store.home().join("small");
    fs::create_dir(&path).unwrap();
    run("mount", ["-t", "tmpfs", "-o", "size=1m", "small", path.to_str().unwrap()]).ok();
    let inner = path.join("store");
    braidfs(["init", inner.to_str().unwrap()]).ok();
    let mount = Mount::options(&inner).at(&store.home().join("mnt")).start();
    assert_eq!(append(&mount, &event("a", 1)), 0);
    let large = event("a", 2).replace("2}", &format!("\"{}\"}}", "x".repeat(2 << 20)));
    assert_eq!(errno(fs::write(mount.join("staging/large.jsonl"), &large)), libc::ENOSPC);
    assert_eq!(mount.count("log.jsonl"), 1);
    fs::remove_file(mount.join("staging/large.jsonl")).unwrap();
    assert_eq!(append(&mount, &event("a", 3)), 0, "with room again it goes on");
    // A file is a transaction or none, also where what fits is whole lines.
    let mut part = fs::File::create(mount.join("staging/part.jsonl")).unwrap();
    part.write_all(event("a", 4).as_bytes()).unwrap();
    assert_eq!(errno(part.write_all(large.as_bytes())), libc::ENOSPC);
    drop(part);
    assert_eq!(mount.read_json("receipts/part.jsonl.json")["reasons"][0]["errno"], "ENOSPC");
    assert_eq!(mount.read("staging/part.jsonl"), event("a", 4));
    assert_eq!(mount.count("log.jsonl"), 2);
    // Nor where a shorter line has room in its place, nor under another name.
    let mut gap = fs::File::create(mount.join("staging/gap.jsonl")).unwrap();
    gap.write_all(event("a", 4).as_bytes()).unwrap();
    assert_eq!(errno(gap.write_all(large.as_bytes())), libc::ENOSPC);
    gap.write_all(event("b", 4).as_bytes()).unwrap();
    assert_eq!(errno(close(gap)), libc::ENOSPC);
    assert_eq!(mount.read_json("receipts/gap.jsonl.json")["reasons"][0]["errno"], "ENOSPC");
    let mut draft = fs::File::create(mount.join("staging/.gap")).unwrap();
    draft.write_all(event("a", 4).as_bytes()).unwrap();
    assert_eq!(errno(draft.write_all(large.as_bytes())), libc::ENOSPC);
    close(draft).unwrap();
    for gap in ["gap.jsonl", ".gap"].map(|name| mount.join("staging").join(name)) {
        assert_eq!(errno(fs::rename(&gap, mount.join("staging/moved.jsonl"))), libc::ENOSPC);
        fs::remove_file(gap).unwrap();
    }
    assert_eq!(mount.read_json("receipts/moved.jsonl.json")["reasons"][0]["errno"], "ENOSPC");
    assert_eq!(mount.count("log.jsonl"), 2);
    // Who tries the same again when there is room has saved it whole.
    let mut again = fs::File::create(mount.join("staging/again.jsonl")).unwrap();
    again.write_all(event("a", 5).as_bytes()).unwrap();
    let fill = path.join("fill");
    fs::write(&fill, vec![0; 2 << 20]).unwrap_err();
    let page = event("a", 6).replace("6}", &format!("\"{}\"}}", "x".repeat(9000)));
    assert_eq!(errno(again.write_all(page.as_bytes())), libc::ENOSPC);
    fs::remove_file(&fill).unwrap();
    again.write_all(page.as_bytes()).unwrap();
    drop(again);
    assert_eq!(mount.read_json("receipts/again.jsonl.json")["state"], "committed");
    assert_eq!(mount.count("log.jsonl"), 4);
    mount.unmount();
    braidfs(["verify", inner.to_str().unwrap()]).ok();
    run("umount", [path.to_str().unwrap()]).ok();
}

/// Fields may be added; none is renamed or goes.
#[test]
fn what_programs_read_has_its_fields() {
    let (store, _) = TestStore::forked();
    store.write_raw("bad.jsonl", "no transaction\n");
    let mount = Mount::start(&store.path());
    assert_eq!(append(&mount, &event("b", 1)), 0);
    let has = |value: &Value, fields: &str| {
        for field in fields.split(' ') {
            assert!(value.get(field).is_some(), "{field} is missing in {value}");
        }
    };
    // A file that was written a moment ago is given time to become whole.
    eventually("the bad file is found", || !mount.read_json("status.json")["findings"].as_array().unwrap().is_empty());
    let status = mount.read_json("status.json");
    has(
        &status,
        "epoch transactions events streams heads topology_generation latest_seq_nr replica_id forks findings index writer version",
    );
    has(&status["forks"], "open provisional");
    has(&status["index"], "state done of");
    has(&status["writer"], "state lock_held_by");
    has(&status["findings"][0], "kind severity file transaction_id message hint");
    fs::write(mount.join("staging/good.jsonl"), event("b", 2)).unwrap();
    let _refused = fs::write(mount.join("staging/bad.jsonl"), "nonsense\n").unwrap_err();
    for name in ["good", "bad"] {
        let receipt = mount.read_json(&format!("receipts/{name}.jsonl.json"));
        has(&receipt, "name state transaction_id events reasons bytes sha256 at");
    }
    let good = mount.read_json("receipts/good.jsonl.json");
    has(&good["events"][0], "event_id stream_id stream_version position seq_nr");
    let bad = mount.read_json("receipts/bad.jsonl.json");
    has(&bad["reasons"][0], "errno line column message hint");
    assert_eq!((&bad["transaction_id"], &bad["events"], &bad["reasons"][0]["errno"]), (&Value::Null, &json!([]), &json!("EINVAL")));
    let conflict = mount.list("forks")[0].clone();
    let report = mount.read_json(&format!("forks/{conflict}/report.json"));
    has(&report, "conflict state heads streams");
    has(&report["streams"][0], "stream_id path base_version fork_point branches");
    has(&report["streams"][0]["branches"][0], "name tip replica_id transactions events");
    assert_eq!(mount.read_json(&format!("forks/{conflict}/resolution.json")), json!({"resolve": conflict, "events": []}));
    mount.unmount();
}

/// Story: what was wrong with a draft by itself was never counted, a rename twice, and nothing of it before the next commit.
#[test]
fn every_refusal_is_counted_once_and_shown_without_a_commit() {
    const WRONG: &str = "{\"stream\":\"z\",\"type\":\"T\"}\n";
    const LATE: &str = "{\"expect\":{\"z\":5}}\n{\"stream\":\"z\",\"type\":\"T\",\"data\":1}\n";
    let store = TestStore::new();
    let mount = Mount::start(&store.path());
    let counted = || {
        let metrics = mount.read("metrics");
        let line = metrics.lines().find(|line| line.starts_with("braidfs_refused_drafts_total ")).unwrap();
        line.split(' ').nth(1).unwrap().parse::<u64>().unwrap()
    };
    let rename = |text: &str, n: u64| {
        let draft = mount.join("staging/.draft");
        fs::write(&draft, text).unwrap();
        fs::rename(&draft, mount.join(format!("staging/renamed-{n}.jsonl"))).unwrap_err();
    };
    let drop_file = |text: &str, n: u64| drop(fs::write(mount.join(format!("staging/dropped-{n}.jsonl")), text));
    for n in 0..3 {
        drop(mount.append(WRONG).unwrap_err());
        drop(mount.append("{\"expect\":{\"z\":5},\"events\":[{\"stream\":\"z\",\"type\":\"T\",\"data\":1}]}").unwrap_err());
        rename(WRONG, 2 * n);
        rename(LATE, 2 * n + 1);
        drop_file(WRONG, 2 * n);
        drop_file(LATE, 2 * n + 1);
        // The kernel asks again on some refusals of what is named by its path.
        for dropped in [2 * n, 2 * n + 1] {
            let touched = run("touch", [Path::new("-c"), &mount.join(format!("staging/dropped-{dropped}.jsonl"))]);
            assert_ne!(touched.code, 0);
        }
    }
    eventually("all are counted", || counted() == 24);
    mount.append("{\"stream\":\"z\",\"type\":\"T\",\"data\":1}\n").unwrap();
    assert_eq!(counted(), 24);
    mount.unmount();
}

/// Story: truncate(2) by its path made a refused draft of a name that had just been committed, and of its receipt a refusal.
#[test]
fn a_name_that_was_committed_is_not_cut_by_its_path() {
    let store = TestStore::new();
    let mount = Mount::start(&store.path());
    for n in 0..20 {
        let path = mount.join(format!("staging/{n}.jsonl"));
        fs::write(&path, event("a", n)).unwrap();
        // At once it waits for the verdict.
        for size in [n as i64 % 2 * 5, 0] {
            assert_eq!(nix::unistd::truncate(&path, size), Err(nix::errno::Errno::EEXIST), "{n} to {size}");
        }
        assert_eq!(mount.read_json(&format!("receipts/{n}.jsonl.json"))["state"], "committed");
        assert!(mount.list("staging").is_empty());
    }
    assert_eq!(mount.count("log.jsonl"), 20);
    mount.unmount();
}
