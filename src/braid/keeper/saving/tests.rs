//! Starts from what was saved show what a start from the files shows, whatever happened to either in between.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::braid::keeper::intake::Look;
use crate::braid::keeper::saving::Packed;
use crate::braid::tests::{append, event, everything, store, text};
use crate::braid::{Braid, OpenOptions};
use crate::disk::{Disk, Op};
use crate::epoch::Epoch;
use crate::model::{Errno, FindingKind};
use crate::store::{Mode, Store};
use crate::view::Tree;

/// What a start goes through at most for a transaction of one event; how much of it follows the base in the table is a matter of time.
const BYTES_MAX: u64 = 288;

fn open(dir: &Path) -> Braid {
    let braid = Braid::open(dir, &OpenOptions { save_after: 1, ..OpenOptions::default() }).unwrap();
    braid.wait_ready().unwrap();
    braid
}

/// Everything that a start shows that believes nothing which was saved.
fn from_scratch(dir: &Path) -> Vec<(String, String)> {
    let braid = Braid::open(dir, &OpenOptions { read_only: true, from_scratch: true, ..OpenOptions::default() }).unwrap();
    braid.wait_ready().unwrap();
    everything(&braid.tree())
}

fn saved(dir: &Path, name: &str) -> PathBuf {
    dir.join("index").join(name)
}

fn log_of(epoch: Arc<Epoch>) -> String {
    text(&Tree::of(epoch), "log.jsonl")
}

fn events(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir.join("events")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// A store whose base holds forty transactions, and whose table three more.
fn based() -> (tempfile::TempDir, PathBuf) {
    let (temp, dir) = store();
    let braid = open(&dir);
    for n in 0..40 {
        append(&braid, &format!("{}{}", event(&format!("a/{}", n % 5), n), event("all", n)));
    }
    drop(braid);
    assert!(saved(&dir, "braidfs.base").exists());
    let braid = Braid::open(&dir, &OpenOptions::default()).unwrap();
    braid.wait_ready().unwrap();
    for n in 40..43 {
        append(&braid, &event("all", n));
    }
    drop(braid);
    assert!(fs::metadata(saved(&dir, "braidfs.table")).unwrap().len() > 100);
    (temp, dir)
}

#[test]
fn a_base_and_its_table_are_believed_and_no_file_is_read() {
    let (_temp, dir) = based();
    let views = |mut files: Vec<(String, String)>| {
        files.retain(|(path, _)| !path.starts_with("transactions/"));
        files
    };
    let expected = views(from_scratch(&dir));
    // Every file holds other bytes under the same inode, of the same size and time.
    for path in events(&dir) {
        let mtime = fs::metadata(&path).unwrap().modified().unwrap();
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, bytes.iter().rev().copied().collect::<Vec<u8>>()).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(mtime).unwrap();
    }
    for _ in 0..2 {
        assert_eq!(views(everything(&open(&dir).tree())), expected);
    }
}

/// What a start looks at before it is ready, sorted, by path below the store, with the bytes of the saved files that it goes through; no
/// file of `events/` can be reached meanwhile.
fn looks_of_a_start(transactions: u32, read_only: bool) -> (Vec<(Op, String)>, u64) {
    let (_temp, dir) = store();
    let braid = open(&dir);
    for n in 0..transactions {
        append(&braid, &event(&format!("a/{}", n % 5), n));
    }
    drop(braid);
    // This one writes the base, which holds them all.
    drop(open(&dir));
    let views = |braid: &Braid| ["log.jsonl", "feed.jsonl", "streams/a/3.jsonl"].map(|path| text(&braid.tree(), path));
    let expected = views(&open(&dir));

    let (disk, twin) = Disk::faulty(&dir).unwrap();
    let root = dir.canonicalize().unwrap();
    twin.hold(&root.join("events"));
    let braid = Braid::open(&root, &OpenOptions { read_only, disk, ..OpenOptions::default() }).unwrap();
    let ready = braid.wait(|epoch| epoch.progress.ready, Duration::from_secs(30)).is_some();
    let shown = views(&braid);
    let looks = twin.looks();
    twin.let_go();
    assert!(ready, "a file of events/ was asked for before the store was ready");
    assert_eq!(shown, expected);
    let name = |path: &Path| path.strip_prefix(&root).unwrap().display().to_string();
    let mut looks: Vec<(Op, String)> = looks.iter().map(|(op, path)| (*op, name(path))).collect();
    // Whether the store is where it was is asked at every look.
    looks.retain(|look| *look != (Op::Stat, String::new()));
    // The files are listed while the rest is read.
    looks.sort_by_key(|(op, name)| (name.clone(), format!("{op:?}")));
    let bytes = ["braidfs.base", "braidfs.table", "ingestion.log"].map(|name| fs::metadata(saved(&dir, name)).unwrap().len());
    (looks, bytes.iter().sum())
}

#[test]
fn a_start_from_a_base_looks_at_the_same_few_files_whatever_the_size_of_the_store() {
    const MORE: u32 = 200;
    for read_only in [false, true] {
        let (looks, few) = looks_of_a_start(20, read_only);
        let (more, many) = looks_of_a_start(20 + MORE, read_only);
        assert_eq!(more, looks);
        // Two of them open a directory to sync it.
        assert!(looks.len() <= 40, "{looks:?}");
        assert!(looks.iter().all(|(_, name)| !name.starts_with("events/")), "{looks:?}");
        let is_listing = |look: &&(Op, String)| **look == (Op::List, "events".to_owned());
        assert_eq!(looks.iter().filter(is_listing).count(), 1, "{looks:?}");
        assert!(many - few <= BYTES_MAX * u64::from(MORE), "{} bytes for {MORE} transactions of one event", many - few);
    }
}

#[test]
fn whatever_is_damaged_the_files_are_read_instead() {
    type Change = fn(&mut Vec<u8>);
    let damage: [(&str, Change); 6] = [
        ("bent", |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }),
        ("cut", |bytes| bytes.truncate(bytes.len() - 3)),
        ("cut short", |bytes| bytes.truncate(30)),
        ("empty", Vec::clear),
        ("zeros", |bytes| bytes.fill(0)),
        ("of another", |bytes| bytes[20] ^= 1),
    ];
    for file in ["braidfs.base", "braidfs.table", "braidfs.pack"] {
        for (how, change) in damage {
            // A bent line of the pack under a base is found in the background: the next test.
            if (file, how) == ("braidfs.pack", "bent") || (file, how) == ("braidfs.pack", "zeros") {
                continue;
            }
            let (_temp, dir) = based();
            let expected = from_scratch(&dir);
            let mut bytes = fs::read(saved(&dir, file)).unwrap();
            change(&mut bytes);
            fs::write(saved(&dir, file), bytes).unwrap();
            for _ in 0..2 {
                assert_eq!(everything(&open(&dir).tree()), expected, "{file} {how}");
            }
        }
    }
}

#[test]
fn a_bent_line_of_the_pack_is_never_shown() {
    for follow in [true, false] {
        let (_temp, dir) = based();
        let scratch = OpenOptions { read_only: true, from_scratch: true, ..OpenOptions::default() };
        let expected = log_of(Braid::open(&dir, &scratch).unwrap().wait_ready().unwrap());
        let mut bytes = fs::read(saved(&dir, "braidfs.pack")).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(saved(&dir, "braidfs.pack"), bytes).unwrap();
        for _ in 0..2 {
            let braid = Braid::open(&dir, &OpenOptions { follow, ..OpenOptions::default() }).unwrap();
            assert_eq!(log_of(braid.wait_ready().unwrap()), expected);
        }
    }
}

/// Story: a base that was written while a line was bent said that this line was right.
#[test]
fn a_base_vouches_for_lines_as_they_were_written() {
    let (_temp, dir) = based();
    let expected = log_of(open(&dir).epoch());
    let braid = open(&dir);
    let bytes = fs::read(saved(&dir, "braidfs.pack")).unwrap();
    let middle = bytes.len() / 2;
    // Where it lies: a file that is cut and written anew is noticed at once.
    let pack = fs::OpenOptions::new().write(true).open(saved(&dir, "braidfs.pack")).unwrap();
    pack.write_at(&[bytes[middle] ^ 1], middle as u64).unwrap();
    let base = fs::metadata(saved(&dir, "braidfs.base")).unwrap().modified().unwrap();
    for n in 0..50 {
        append(&braid, &event("later", n));
    }
    drop(braid);
    assert_ne!(fs::metadata(saved(&dir, "braidfs.base")).unwrap().modified().unwrap(), base);
    assert!(log_of(open(&dir).epoch()).starts_with(&expected));
}

/// Story: where the disk knows whole seconds only (ext2, FAT, small inodes of ext4), a file that was edited in the second of its write, of the
/// same size, went on as what it had said, and `doctor` said that nothing was wrong.
#[test]
fn an_edit_in_the_second_of_the_write_is_told_where_times_are_whole_seconds() {
    let (_temp, dir) = based();
    let path = events(&dir)[20].clone();
    let second = UNIX_EPOCH + Duration::from_secs(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs());
    let write = |text: &str| {
        let mut file = fs::OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.set_modified(second).unwrap();
    };
    let first = fs::read_to_string(&path).unwrap();
    write(&first);
    let verified = OpenOptions { verify: true, ..OpenOptions::default() };
    let look = || Braid::open(&dir, &verified).unwrap().wait_ready().unwrap();
    let refused = || look().quarantined.len();
    assert_eq!(refused(), 0);
    write(&first.replacen("Counted", "counted", 1));
    assert_eq!(refused(), 1);
    write(&first);
    assert_eq!(refused(), 0);
}

#[test]
fn a_table_of_another_base_is_not_gone_through() {
    let (_temp, dir) = based();
    let table = fs::read(saved(&dir, "braidfs.table")).unwrap();
    // The next start writes a new base, which holds the table.
    drop(open(&dir));
    assert_ne!(fs::read(saved(&dir, "braidfs.table")).unwrap(), table);
    fs::write(saved(&dir, "braidfs.table"), table).unwrap();
    let expected = from_scratch(&dir);
    assert_eq!(everything(&open(&dir).tree()), expected);
}

#[test]
fn what_happened_while_nobody_looked_is_seen() {
    let (_temp, dir) = based();
    let files = events(&dir);
    let held = fs::read(&files[3]).unwrap();
    fs::remove_file(&files[3]).unwrap();
    // Rewritten as git does it, and a second name.
    let bytes = fs::read(&files[7]).unwrap();
    fs::remove_file(&files[7]).unwrap();
    fs::write(&files[7], &bytes).unwrap();
    fs::write(dir.join("events/copy.jsonl"), bytes).unwrap();
    let gone = open(&dir);
    assert!(gone.epoch().findings.iter().any(|finding| finding.kind == FindingKind::Dangling));
    assert!(gone.epoch().findings.iter().any(|finding| finding.kind == FindingKind::Duplicate));
    drop(gone);
    assert_eq!(everything(&open(&dir).tree()), from_scratch(&dir));
    fs::write(&files[3], held).unwrap();
    let back = everything(&open(&dir).tree());
    assert_eq!(back, from_scratch(&dir));
    // It was passed as gone: it has a fresh number now, also for who starts from the base.
    assert!(back.iter().any(|(path, text)| path == "feed.jsonl" && text.contains("\"gone\":true")));
}

#[test]
fn a_log_that_is_another_one_now_is_read_anew() {
    let (_temp, dir) = based();
    fs::remove_file(saved(&dir, "ingestion.log")).unwrap();
    let braid = open(&dir);
    assert_eq!(braid.epoch().index.feed.latest(), 83);
    drop(braid);
    assert_eq!(everything(&open(&dir).tree()), from_scratch(&dir));
}

#[test]
fn what_a_file_has_to_report_is_reported_at_every_start() {
    let (_temp, dir) = based();
    let files = events(&dir);
    let text = fs::read_to_string(&files[5]).unwrap();
    fs::write(&files[5], text.replace('\n', "\r\n")).unwrap();
    fs::rename(&files[9], dir.join("events/another-name.jsonl")).unwrap();
    for _ in 0..3 {
        let braid = Braid::open(&dir, &OpenOptions { save_after: 1, verify: true, ..OpenOptions::default() }).unwrap();
        let kinds: Vec<FindingKind> = braid.wait_ready().unwrap().findings.iter().map(|finding| finding.kind).collect();
        assert!(kinds.contains(&FindingKind::Healed) && kinds.contains(&FindingKind::Misnamed), "{kinds:?}");
    }
    // Also where the listing fails after the rest was taken over.
    let (disk, twin) = Disk::faulty(&dir).unwrap();
    twin.fail(Op::List, 0, None, Errno::EIO);
    let braid = Braid::open(&dir, &OpenOptions { save_after: 1, disk, ..OpenOptions::default() }).unwrap();
    braid.wait_ready().unwrap_err();
    twin.heal();
    let epoch = braid.wait(|epoch| epoch.progress.ready, Duration::from_secs(60)).unwrap();
    assert!(epoch.findings.iter().any(|finding| finding.kind == FindingKind::Healed), "{:?}", epoch.findings);
    drop((epoch, braid));
    assert_eq!(everything(&open(&dir).tree()), from_scratch(&dir));
}

#[test]
fn any_history_of_starts_shows_what_the_files_say() {
    for seed in 0..6u64 {
        let (_temp, dir) = store();
        let away = dir.with_file_name("away");
        fs::create_dir_all(&away).unwrap();
        let mut state = seed;
        let mut next = move |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        let mut braid = open(&dir);
        for step in 0..60u32 {
            match next(6) {
                0 | 1 => {
                    append(&braid, &event(&format!("s{}", next(3)), step));
                }
                2 => {
                    let save_after = if next(2) == 0 { 1 } else { 1_000 };
                    drop(braid);
                    braid = Braid::open(&dir, &OpenOptions { save_after, ..OpenOptions::default() }).unwrap();
                    braid.wait_ready().unwrap();
                    assert_eq!(everything(&braid.tree()), from_scratch(&dir), "seed {seed}, step {step}");
                }
                3 => {
                    let files = events(&dir);
                    if let Some(file) = files.get(next(files.len().max(1))) {
                        fs::rename(file, away.join(file.file_name().unwrap())).unwrap();
                        if next(2) == 0 {
                            braid.refresh().unwrap();
                        }
                    }
                }
                4 => {
                    for entry in fs::read_dir(&away).unwrap().map(Result::unwrap) {
                        fs::rename(entry.path(), dir.join("events").join(entry.file_name())).unwrap();
                    }
                }
                _ => {
                    braid.refresh().unwrap();
                }
            }
        }
    }
}

/// No hash covers the first line: what it says of forks must be followed like any other change, and told.
#[test]
fn an_edit_of_the_first_line_alone_is_followed_and_told_as_long_as_it_is_true() {
    let edits = [
        ("\"stream_bases\"", "\"resolves\":[\"all\"],\"stream_bases\"", true),
        ("\"stream_bases\":{", "\"stream_bases\":{\"read\":3,", true),
        ("\"stream_bases\"", "\"note\":1,\"stream_bases\"", false),
    ];
    for (from, to, is_in_views) in edits {
        let (_temp, dir) = based();
        let path = &events(&dir)[20];
        let first = fs::read_to_string(path).unwrap();
        let facts = |braid: &Braid| {
            let epoch = braid.epoch();
            let (id, transactions) = (path.file_stem().unwrap().to_str().unwrap().parse().unwrap(), &epoch.index.transactions);
            transactions.details(transactions.find(id).unwrap()).cloned()
        };
        let is_told = |braid: &Braid| braid.epoch().findings.iter().any(|finding| finding.kind == FindingKind::Edited);
        let braid = open(&dir);
        let before = facts(&braid);
        let numbers = braid.epoch().index.feed.latest();
        // As git and most editors do it.
        fs::write(dir.join("new"), first.replacen(from, to, 1)).unwrap();
        fs::rename(dir.join("new"), path).unwrap();
        braid.refresh().unwrap();
        assert!(is_told(&braid));
        let after = facts(&braid);
        assert_eq!(after != before, is_in_views);
        // What no view shows takes no event away and gives none a new number.
        assert_eq!(braid.epoch().index.feed.latest() > numbers, is_in_views);
        drop(braid);
        for _ in 0..3 {
            let again = open(&dir);
            assert!(is_told(&again), "{to}");
            assert_eq!(facts(&again), after);
            drop(again);
            assert_eq!(everything(&open(&dir).tree()), from_scratch(&dir));
        }
        fs::write(path, &first).unwrap();
        let verified = OpenOptions { save_after: 1, verify: true, ..OpenOptions::default() };
        let braid = Braid::open(&dir, &verified).unwrap();
        braid.wait_ready().unwrap();
        assert!(!is_told(&braid), "{to}");
        assert_eq!(facts(&braid), before);
        drop(braid);
        assert!(!is_told(&open(&dir)));
    }
}

/// Two files that differ in their first line alone claim one id with different bytes.
#[test]
fn a_second_file_of_other_bytes_is_no_duplicate_though_it_says_the_same() {
    let (_temp, dir) = based();
    let braid = open(&dir);
    let text = fs::read_to_string(&events(&dir)[4]).unwrap();
    fs::write(dir.join("events/copy.jsonl"), text.replacen("{\"record\"", "{ \"record\"", 1)).unwrap();
    braid.refresh().unwrap();
    let kinds: Vec<FindingKind> = braid.epoch().findings.iter().map(|finding| finding.kind).collect();
    assert!(kinds.contains(&FindingKind::Quarantined) && !kinds.contains(&FindingKind::Duplicate), "{kinds:?}");
    // Its claim is looked at anew as soon as it says something else.
    for (text, refused) in [(text.replacen("{\"record\"", "{  \"record\"", 1), 2), (text, 0)] {
        fs::write(dir.join("new"), text).unwrap();
        fs::rename(dir.join("new"), dir.join("events/copy.jsonl")).unwrap();
        braid.refresh().unwrap();
        assert_eq!(braid.epoch().quarantined.len(), refused);
    }
    let kinds: Vec<FindingKind> = braid.epoch().findings.iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, [FindingKind::Duplicate]);
}

/// The mount of a store on which somebody else was at work when it began.
#[test]
fn who_follows_takes_the_files_up_when_their_owner_ends() {
    for with_base in [true, false] {
        let (_temp, dir) = if with_base { based() } else { store() };
        let owner = open(&dir);
        append(&owner, &event("all", 50));
        let options = OpenOptions { follow: true, save_after: 1, ..OpenOptions::default() };
        let braid = Braid::open(&dir, &options).unwrap();
        braid.wait_ready().unwrap();
        (51..54).for_each(|n| drop(append(&braid, &event("all", n))));
        let now = |braid: &Braid| braid.refresh().unwrap().name;
        let of_reader = || {
            let options = OpenOptions { read_only: true, ..OpenOptions::default() };
            Braid::open(&dir, &options).unwrap().wait_ready().unwrap().name
        };
        assert_ne!(of_reader(), now(&braid), "the owner has not looked yet");
        drop(owner);
        let is_taken_up = |_| {
            std::thread::sleep(Duration::from_millis(20));
            of_reader() == now(&braid)
        };
        assert!((0..500).any(is_taken_up), "its numbers are everyone's");
        (54..57).for_each(|n| drop(append(&braid, &event("all", n))));
        let name = now(&braid);
        assert_eq!(of_reader(), name);
        drop(braid);
        let again = open(&dir);
        assert_eq!(again.epoch().name, name);
        assert_eq!(everything(&again.tree()), from_scratch(&dir));
    }
}

/// Story: the mount kept its lock on a deleted file, a command made another, and their numbers never met again.
#[test]
fn who_follows_makes_a_deleted_index_anew_and_its_numbers_are_everyones_again() {
    for (deleted, is_used) in [("braidfs.", true), ("braidfs.", false), ("braidfs.pack", false), ("braidfs.base", false)] {
        let (_temp, dir) = based();
        let options = OpenOptions { follow: true, save_after: 1, ..OpenOptions::default() };
        let braid = Braid::open(&dir, &options).unwrap();
        braid.wait_ready().unwrap();
        (50..53).for_each(|n| drop(append(&braid, &event("all", n))));
        let before = braid.refresh().unwrap().name;
        for entry in fs::read_dir(dir.join("index")).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name().to_string_lossy().starts_with(deleted) {
                fs::remove_file(entry.path()).unwrap();
            }
        }
        if is_used {
            append(&open(&dir), &event("all", 53));
        }
        let of_reader = || {
            let options = OpenOptions { read_only: true, ..OpenOptions::default() };
            Braid::open(&dir, &options).unwrap().wait_ready().unwrap().name
        };
        let is_again = |_| {
            std::thread::sleep(Duration::from_millis(20));
            of_reader() == braid.refresh().unwrap().name
        };
        assert!((0..500).any(is_again), "{deleted} {is_used}");
        assert!(braid.epoch().name >= before);
        append(&braid, &event("all", 54));
        let name = braid.epoch().name;
        assert_eq!(of_reader(), name);
        drop(braid);
        let again = open(&dir);
        assert_eq!((again.epoch().name, everything(&again.tree())), (name, from_scratch(&dir)), "{deleted} {is_used}");
    }
}

/// What was left goes when what follows it is whole, and not before.
#[test]
fn a_disk_that_fills_up_while_the_files_are_taken_up_costs_no_saved_index() {
    let mut is_new = false;
    for spared in 0.. {
        let (_temp, dir) = based();
        // Before anybody is at work there: it lists what is there.
        let (disk, twin) = Disk::faulty(&dir).unwrap();
        let owner = open(&dir);
        let options = OpenOptions { follow: true, save_after: 1, disk, ..OpenOptions::default() };
        let braid = Braid::open(&dir, &options).unwrap();
        braid.wait_ready().unwrap();
        let left = fs::read(saved(&dir, "braidfs.pack")).unwrap();
        twin.forget_ops();
        twin.fail(Op::Write, spared, None, Errno::ENOSPC);
        drop(owner);
        let begins = |_| {
            std::thread::sleep(Duration::from_millis(20));
            twin.ops().iter().any(|(op, path)| *op == Op::Write && path.to_string_lossy().contains("braidfs"))
        };
        assert!((0..500).any(begins), "the files are taken up");
        drop(braid);
        is_new |= fs::read(saved(&dir, "braidfs.pack")).unwrap() != left;
        let found = crate::index::saved::read(&Store::open(&dir, &Disk::real(), Mode::ReadOnly).unwrap()).unwrap();
        assert!(found.base.is_some_and(|(index, _)| index.transactions.len() >= 40), "after {spared} writes");
        assert!(!saved(&dir, "braidfs.new").exists());
        assert_eq!(everything(&open(&dir).tree()), from_scratch(&dir));
        if is_new {
            assert!(spared > 3, "{:?}", twin.ops());
            return;
        }
    }
}

#[test]
fn what_a_killed_process_left_of_new_files_is_removed() {
    let (_temp, dir) = based();
    fs::create_dir(saved(&dir, "braidfs.new")).unwrap();
    fs::write(saved(&dir, "braidfs.new/braidfs.pack"), "half").unwrap();
    drop(open(&dir));
    assert!(!saved(&dir, "braidfs.new").exists());
}

/// Story: a backup was copied over a mounted store, `cp` cut the mapped file, and the kernel ended the daemon.
#[test]
fn packed_lines_that_another_program_cuts_or_overwrites_are_read_from_the_files_again() {
    let (_other_temp, other) = store();
    let longer = open(&other);
    (0..300).for_each(|n| drop(append(&longer, &event("other", n))));
    drop(longer);
    type Harm = fn(&Path, &Path);
    let harms: [(&str, Harm); 3] = [
        ("cut to nothing", |pack, _| fs::File::options().write(true).open(pack).unwrap().set_len(0).unwrap()),
        ("cut a little", |pack, _| {
            let file = fs::File::options().write(true).open(pack).unwrap();
            file.set_len(file.metadata().unwrap().len() - 10).unwrap();
        }),
        ("overwritten by one that went on otherwise", |pack, other| {
            // As a copy of this store that went on otherwise.
            let mut bytes = fs::read(saved(other, "braidfs.pack")).unwrap();
            bytes[..24].copy_from_slice(&fs::read(pack).unwrap()[..24]);
            assert!(bytes.len() as u64 > fs::metadata(pack).unwrap().len());
            fs::write(pack, bytes).unwrap();
        }),
    ];
    for (how, harm) in harms {
        for read_only in [false, true] {
            let (_temp, dir) = store();
            let writer = Braid::open(&dir, &OpenOptions { follow: true, ..OpenOptions::default() }).unwrap();
            (0..200).for_each(|n| drop(append(&writer, &event("s", n))));
            let before = everything(&writer.tree());
            let braid = if read_only {
                drop(writer);
                Braid::open(&dir, &OpenOptions { follow: true, read_only, ..OpenOptions::default() }).unwrap()
            } else {
                writer
            };
            braid.wait_ready().unwrap();
            let incarnation = |epoch: &Epoch| epoch.index.log.incarnation;
            let first = incarnation(&braid.epoch());
            harm(&saved(&dir, "braidfs.pack"), &other);
            let view = braid.tree().find("log.jsonl").and_then(crate::view::Node::into_file).unwrap();
            if how == "cut to nothing" {
                assert!(view.read_all().is_err());
            }
            assert!(braid.wait(|epoch| incarnation(epoch) > first, Duration::from_secs(60)).is_some(), "{how} {read_only}");
            assert_eq!(everything(&braid.tree()), before, "{how} {read_only}");
            if !read_only {
                append(&braid, &event("s", 200));
                let after = everything(&braid.tree());
                drop(braid);
                assert_eq!((everything(&open(&dir).tree()), from_scratch(&dir)), (after.clone(), after), "{how}");
            }
        }
    }
}

/// Story: the lines were cut while files were compared with them. All of those seemed to be others, and came again under fresh numbers.
#[test]
fn files_that_are_compared_with_lines_that_another_program_cuts_are_no_others() {
    let (_temp, dir) = store();
    let braid = Braid::open(&dir, &OpenOptions { follow: true, ..OpenOptions::default() }).unwrap();
    let names: Vec<String> = (0..20).map(|n| format!("{}.jsonl", append(&braid, &event("s", n)).transaction_id)).collect();
    let before = everything(&braid.tree());
    let pack = saved(&dir, "braidfs.pack");
    let taken_in = braid.at_keeper(move |keeper, shared| {
        let mut look = Look::default();
        names.into_iter().for_each(|name| look.add(name));
        // After the keeper has looked whether they are whole.
        fs::File::options().write(true).open(pack).unwrap().set_len(0).unwrap();
        let taken_in = keeper.take_in_apart(look);
        keeper.publish_if_dirty(shared);
        taken_in
    });
    taken_in.unwrap().unwrap();
    assert_eq!(everything(&braid.tree()), before);
    assert_eq!(*braid.refresh().unwrap().findings, []);
}

/// Story: `cp` had just cut a file that was read for its lines. It seemed to be another one when it was whole again.
#[test]
fn a_file_that_is_copied_over_is_waited_for_where_its_lines_are_wanted() {
    let (_temp, dir) = store();
    let (disk, twin) = Disk::faulty(&dir).unwrap();
    let braid = Braid::open(&dir, &OpenOptions { disk, ..OpenOptions::default() }).unwrap();
    (0..3).for_each(|n| drop(append(&braid, &event("s", n))));
    let before = everything(&braid.tree());
    let (pack, file) = (saved(&dir, "braidfs.pack"), events(&dir.canonicalize().unwrap()).swap_remove(1));
    let whole = fs::read(&file).unwrap();
    twin.forget_ops();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let is_read = || twin.looks().contains(&(Op::Read, file.clone()));
            while !is_read() {
                std::thread::yield_now();
            }
            fs::write(&file, &whole).unwrap();
        });
        let file = file.clone();
        let kept = braid.at_keeper(move |keeper, shared| {
            fs::File::options().write(true).open(pack).unwrap().set_len(0).unwrap();
            fs::write(file, "").unwrap();
            keeper.keep_pack_whole();
            keeper.publish_if_dirty(shared);
        });
        kept.unwrap();
    });
    braid.refresh().unwrap();
    assert_eq!(everything(&braid.tree()), before);
}

/// Story: as long as a refused file went on being written, the store stood still.
#[test]
fn a_file_that_is_written_without_end_is_not_waited_for_without_end() {
    let (_temp, dir) = store();
    let braid = Braid::open(&dir, &OpenOptions::default()).unwrap();
    (0..3).for_each(|n| drop(append(&braid, &event("s", n))));
    let (pack, file) = (saved(&dir, "braidfs.pack"), events(&dir).swap_remove(1));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                fs::write(&file, "x").unwrap();
            }
        });
        let kept = braid.at_keeper(move |keeper, _| {
            fs::File::options().write(true).open(pack).unwrap().set_len(0).unwrap();
            keeper.keep_pack_whole()
        });
        is_over.store(true, Ordering::SeqCst);
        assert_eq!(kept.unwrap(), Packed::Mended);
    });
}

#[test]
fn a_few_large_transactions_are_saved_as_a_whole_as_many_small_ones_are() {
    for (transactions, events, is_due) in [(3, 1_000, true), (3, 10, false)] {
        let (_temp, dir) = store();
        let braid = Braid::open(&dir, &OpenOptions::default()).unwrap();
        braid.wait_ready().unwrap();
        for n in 0..transactions {
            append(&braid, &(0..events).map(|at| event("s", n * events + at)).collect::<String>());
        }
        drop(braid);
        assert_eq!(saved(&dir, "braidfs.base").exists(), is_due, "{transactions} of {events} events");
    }
}
