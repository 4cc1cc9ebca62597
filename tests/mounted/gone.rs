//! Names that go away, on both kinds of mounts: nobody finds them any more, and who had them open goes on.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

use serde_json::json;

use crate::support::draft::errno;
use crate::support::mount::Mount;
use crate::support::run::bash;
use crate::support::store::TestStore;
use crate::support::wait::eventually;

/// A writable mount of a store and a read-only one beside it, both complete.
fn both(store: &TestStore) -> [Mount; 2] {
    let at = |name: &str| Mount::options(&store.path()).at(&store.home().join(name));
    let mounts = [at("rw").start(), at("ro").arg("--read-only").start()];
    for mount in &mounts {
        // Until a view is there answers hold for a moment only.
        mount.read("log.jsonl");
    }
    mounts
}

fn is_listed(path: &Path) -> bool {
    let Ok(names) = fs::read_dir(path.parent().unwrap()) else { return false };
    names.map(|name| name.unwrap().path()).any(|name| name == path)
}

/// Looks at a name in every way, so that the kernel keeps all that it may.
fn look(mount: &Mount, name: &str) {
    let path = mount.join(name);
    for _ in 0..2 {
        // Whoever lists reads the names that come with their inodes first.
        assert!(is_listed(&path) || name.starts_with("categories/a-"), "{name}");
        if !fs::metadata(&path).unwrap_or_else(|error| panic!("{name}: {error}")).is_dir() {
            fs::read(&path).unwrap();
        }
    }
}

/// What still finds a name that is gone.
fn found(mount: &Mount, name: &str) -> Vec<&'static str> {
    let path = mount.join(name);
    let is_found = |error: i32| error != libc::ENOENT;
    let access = nix::unistd::access(&path, nix::unistd::AccessFlags::F_OK);
    let looks = [
        ("listing", is_listed(&path)),
        ("access", is_found(access.err().map_or(0, |error| error as i32))),
        ("stat", is_found(errno(fs::metadata(&path).map(|_| ())))),
        ("open", is_found(errno(File::open(&path).map(|_| ())))),
    ];
    looks.into_iter().filter(|(_, found)| *found).map(|(look, _)| look).collect()
}

/// Waits until no name is found any more, in any way.
fn all_gone(mounts: &[Mount], names: &[String]) {
    let mut left = BTreeMap::new();
    let mut gone = || {
        for (n, mount) in mounts.iter().enumerate() {
            for name in names {
                left.insert((n, name.clone()), found(mount, name));
            }
        }
        left.retain(|_, looks| !looks.is_empty());
        left.is_empty()
    };
    for _ in 0..600 {
        if gone() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("by mount and name: {left:#?}");
}

#[test]
fn no_kind_of_name_that_goes_away_is_found_any_more() {
    let (mut store, ids) = TestStore::forked();
    let last = store.transaction().event("gone/deep/stream", "Gone", json!(1)).event("a-b-c", "T", json!(1)).write();
    let alone = store.transaction().replica(4).parents([]).created_at("2026-01-01T00:00:00+00:00").event("alone", "T", json!(1)).write();
    let eventless = store.transaction().replica(3).parents([ids.root]).write();
    store.write_raw("bad.jsonl", "bad");
    fs::create_dir_all(store.path().join("projections")).unwrap();
    fs::write(store.path().join("projections/sum.jq"), "#: init: 0\n. + 1\n").unwrap();
    let dir = store.path();
    let command = |words: &str| bash(&dir, &format!("echo 1 | {} --store . {words}", env!("CARGO_BIN_EXE_braidfs"))).ok();
    command("checkpoint set mail 3");
    command("snapshot save sum --seq-nr 2");
    let mounts = both(&store);
    fs::write(mounts[0].join("staging/x.jsonl"), "{\"stream\":\"b\",\"type\":\"T\",\"data\":7}\n").unwrap();
    let conflict = mounts[0].list("forks").remove(0);
    let names = |names: &[&str]| -> Vec<String> { names.iter().map(|&name| name.to_owned()).collect() };
    let mut by_files = names(&[
        "streams/gone/deep/stream.jsonl",
        "streams/gone/deep",
        "streams/gone",
        "types/Gone.jsonl",
        "categories/gone.jsonl",
        "categories/a-b.jsonl",
        "quarantine/bad.jsonl",
        "quarantine/bad.jsonl.reason",
    ]);
    by_files.extend([last, eventless, ids.theirs[1], ids.theirs[0]].map(|id| format!("transactions/{id}.jsonl")));
    by_files.extend(["", "/report.json", "/streams/account-0/base.jsonl", "/streams"].map(|name| format!("forks/{conflict}{name}")));
    let mut by_commands = names(&[
        "checkpoints/mail",
        "snapshots/sum",
        "snapshots/sum/2.json",
        "snapshots/sum/latest.json",
        "snapshots/sum/recovery.jsonl",
        "views/sum.json",
    ]);
    for mount in &mounts {
        eventually("the bad file is told of", || is_listed(&mount.join("quarantine/bad.jsonl")));
        by_files.iter().chain(&by_commands).for_each(|name| look(mount, name));
    }
    let alone = names(&[&format!("transactions/{alone}.jsonl"), "streams/alone.jsonl"]);
    mounts.iter().for_each(|mount| alone.iter().for_each(|name| look(mount, name)));
    look(&mounts[0], "receipts/x.jsonl.json");

    // By this no directory's newest event becomes another one.
    fs::remove_file(store.path().join(alone[0].replace("transactions", "events"))).unwrap();
    all_gone(&mounts, &alone);
    for id in [last, eventless, ids.theirs[1], ids.theirs[0]] {
        fs::remove_file(store.events_dir().join(format!("{id}.jsonl"))).unwrap();
    }
    fs::remove_file(store.events_dir().join("bad.jsonl")).unwrap();
    all_gone(&mounts, &by_files);
    command("checkpoint forget mail");
    command("snapshot forget sum");
    command("projection remove sum");
    by_commands.retain(|name| !name.ends_with("recovery.jsonl"));
    all_gone(&mounts, &by_commands);
    fs::remove_file(mounts[0].join("receipts/x.jsonl.json")).unwrap();
    all_gone(&mounts[..1], &names(&["receipts/x.jsonl.json"]));
    mounts.into_iter().for_each(|mount| assert!(mount.unmount().success()));
}

/// The name of a transaction stays while its file becomes another one, with other bytes or the same.
#[test]
fn a_transaction_that_is_written_anew_is_read_as_it_is() {
    let mut store = TestStore::new();
    let file = |store: &mut TestStore| store.transaction().parents([]).event("s", "T", json!("x".repeat(50_000))).write();
    let ids: [uuid::Uuid; 5] = std::array::from_fn(|_| file(&mut store));
    let path = |n: usize| store.events_dir().join(format!("{}.jsonl", ids[n]));
    let mounts = both(&store);
    let name = |n: usize| format!("transactions/{}.jsonl", ids[n]);
    let read = 0..ids.len() - 1;
    for mount in &mounts {
        read.clone().for_each(|n| look(mount, &name(n)));
        // What the kernel keeps of a file that was read hides that another one is there.
        fs::metadata(mount.join(name(4))).unwrap();
    }
    let before: Vec<String> = (0..ids.len()).map(|n| fs::read_to_string(path(n)).unwrap()).collect();
    let mut held: Vec<(usize, File)> =
        mounts.iter().flat_map(|mount| read.clone().map(|n| (n, File::open(mount.join(name(n))).unwrap()))).collect();
    let numbers = |n: usize| -> Vec<u64> { mounts.iter().map(|mount| fs::metadata(mount.join(name(n))).unwrap().ino()).collect() };
    let first = numbers(0);

    let longer = before[0].replacen(",\"content_hash\"", ",\"more\":1,\"content_hash\"", 1);
    fs::write(path(0), &longer).unwrap();
    fs::write(path(1), &before[1][..30_000]).unwrap();
    let times = fs::FileTimes::new().set_accessed(SystemTime::UNIX_EPOCH).set_modified(SystemTime::UNIX_EPOCH);
    // As a checkout that goes and comes back, a copy of a backup, and `rsync` that sets a time.
    fs::remove_file(path(2)).unwrap();
    fs::write(path(2), &before[2]).unwrap();
    fs::write(store.home().join("new"), &before[3]).unwrap();
    fs::rename(store.home().join("new"), path(3)).unwrap();
    File::open(path(4)).unwrap().set_times(times).unwrap();

    for mount in &mounts {
        for (n, text) in [(0, &longer), (2, &before[2]), (3, &before[3]), (4, &before[4])] {
            eventually(&format!("file {n} is read as it is"), || fs::read_to_string(mount.join(name(n))).is_ok_and(|read| read == *text));
            let facts = fs::metadata(mount.join(name(n))).unwrap();
            assert_eq!(facts.len(), text.len() as u64);
        }
    }
    assert!(numbers(0).iter().zip(&first).all(|(new, old)| new != old));
    all_gone(&mounts, &[name(1)]);
    for (n, file) in &mut held {
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert!(text == before[*n], "what was read is whole");
    }
    drop(held);
    mounts.into_iter().for_each(|mount| assert!(mount.unmount().success()));
}
