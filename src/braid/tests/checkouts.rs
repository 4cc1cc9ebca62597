//! Checkouts of git under an open store: what is shown is what git has brought, whole.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{append, event, fs, open, store};
use crate::braid::{Braid, OpenOptions};
use crate::disk::twin::Twin;
use crate::disk::{Disk, Op};
use crate::model::Errno;

/// The files of transactions of one replica, one after the other, an event each.
fn files(streams: &[&str]) -> Vec<(String, Vec<u8>)> {
    let (_temp, dir) = store();
    let braid = open(&dir, false);
    streams.iter().for_each(|stream| drop(append(&braid, &event(stream, 1))));
    let entries = fs::read_dir(dir.join("events")).unwrap().map(Result::unwrap);
    let read = |entry: fs::DirEntry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap());
    let mut files: Vec<_> = entries.map(read).collect();
    files.sort();
    files
}

fn bring(dir: &Path, files: &[(String, Vec<u8>)]) {
    files.iter().for_each(|(name, bytes)| fs::write(dir.join("events").join(name), bytes).unwrap());
}

fn take_away(dir: &Path, files: &[(String, Vec<u8>)]) {
    files.iter().for_each(|(name, _)| fs::remove_file(dir.join("events").join(name)).unwrap());
}

/// Git goes on bringing files until something has happened: if it does nothing for long it is taken for one that has ended.
fn at_work(dir: &Path, files: &[(String, Vec<u8>)], has_happened: impl Fn() -> bool) {
    let begun = Instant::now();
    while !has_happened() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it did not happen");
        bring(dir, files);
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn streams(braid: &Braid) -> Vec<String> {
    let mut streams: Vec<String> = super::everything(&braid.tree()).into_iter().map(|(path, _)| path).collect();
    streams.retain(|path| path.starts_with("streams/"));
    streams
}

fn shows(braid: &Braid, count: u32) -> bool {
    braid.wait(|epoch| epoch.index.transactions.valid_count() == count, Duration::from_secs(10)).is_some()
}

/// Story: while one checkout was read the next one began, and what it had left of the first was shown until it was done.
#[test]
fn a_checkout_that_begins_while_the_one_before_is_read_is_not_half_shown() {
    shows_no_half_checkout(|_| {});
}

#[test]
fn nor_is_it_where_the_disk_gives_no_hints() {
    shows_no_half_checkout(|twin| twin.fail(Op::Watch, 0, None, Errno::ENOSPC));
}

fn shows_no_half_checkout(prepare: impl FnOnce(&Twin)) {
    let (_temp, dir) = store();
    let dir = dir.canonicalize().unwrap();
    assert!(Command::new("git").args(["init", "-q"]).current_dir(&dir).status().unwrap().success());
    let (first, second) = (files(&["a", "b", "c"]), files(&["d", "e"]));
    let (disk, twin) = Disk::faulty(&dir).unwrap();
    prepare(&twin);
    let braid = Braid::open(&dir, &OpenOptions { follow: true, disk, ..OpenOptions::default() }).unwrap();
    braid.wait_ready().unwrap();

    // The first one is over when its files are read.
    twin.hold(&dir.join("events"));
    bring(&dir, &first);
    twin.wait_held();
    // Now the next one begins, and takes some of them away.
    let lock = dir.join(".git/index.lock");
    fs::write(&lock, "").unwrap();
    take_away(&dir, &first[..1]);
    twin.forget_ops();
    twin.let_go();
    // It is read, and git is found to be at it again: who asks for that once more has shown nothing when it was first found.
    at_work(&dir, &first[2..], || twin.looks().iter().filter(|look| look.1 == lock).count() > 3);
    assert_eq!(streams(&braid), [""; 0], "a part of the first is shown");
    take_away(&dir, &first[1..]);
    bring(&dir, &second);
    fs::remove_file(&lock).unwrap();
    assert!(shows(&braid, 2));
    assert_eq!(streams(&braid), ["streams/d.jsonl", "streams/e.jsonl"]);

    // A writer who comes in between does not write onto a part either.
    twin.hold(&dir.join("events"));
    take_away(&dir, &second);
    bring(&dir, &first);
    twin.wait_held();
    fs::write(&lock, "").unwrap();
    take_away(&dir, &first[2..]);
    twin.forget_ops();
    std::thread::scope(|scope| {
        let committed = scope.spawn(|| append(&braid, &event("f", 1)));
        twin.let_go();
        at_work(&dir, &first[..1], || twin.looks().iter().filter(|look| look.1 == lock).count() > 3);
        assert!(!committed.is_finished());
        bring(&dir, &first[2..]);
        fs::remove_file(&lock).unwrap();
        let committed = committed.join().unwrap();
        let file = super::text(&braid.tree(), &format!("transactions/{}.jsonl", committed.transaction_id));
        let last = first[2].0.trim_end_matches(".jsonl");
        assert!(file.contains(&format!("\"parent_transaction_ids\":[\"{last}\"]")), "{last} is no parent of {file}");
    });
}

/// A store in a repository, with the files in it, whose opening for a command is held while it reads the first of them: what it listed is all.
fn held_opening(there: &[(String, Vec<u8>)]) -> (tempfile::TempDir, std::path::PathBuf, std::sync::Arc<Twin>, Braid) {
    let (temp, dir) = store();
    let dir = dir.canonicalize().unwrap();
    assert!(Command::new("git").args(["init", "-q"]).current_dir(&dir).status().unwrap().success());
    fs::write(dir.join(".git/index"), "before").unwrap();
    bring(&dir, there);
    let (disk, twin) = Disk::faulty(&dir).unwrap();
    twin.hold(&dir.join("events"));
    let braid = Braid::open(&dir, &OpenOptions { read_only: true, disk, ..OpenOptions::default() }).unwrap();
    twin.wait_held();
    (temp, dir, twin, braid)
}

/// Story: a command that began just before a checkout printed a part of it. A checkout that begins and ends while files are read leaves no lock,
/// and where the clock ticks slowly not even another time of the directory.
#[test]
fn a_command_sees_the_whole_of_a_checkout_that_fits_into_its_reading() {
    let (first, second) = (files(&["a", "b", "c"]), files(&["d", "e"]));
    let (_temp, dir, twin, braid) = held_opening(&first);
    let events = fs::File::open(dir.join("events")).unwrap();
    let time = events.metadata().unwrap().modified().unwrap();
    let lock = dir.join(".git/index.lock");
    fs::write(&lock, "after").unwrap();
    take_away(&dir, &first[1..]);
    bring(&dir, &second);
    fs::rename(&lock, dir.join(".git/index")).unwrap();
    events.set_modified(time).unwrap();
    twin.let_go();
    braid.wait_ready().unwrap();
    assert_eq!(streams(&braid), ["streams/a.jsonl", "streams/d.jsonl", "streams/e.jsonl"]);
}

/// Story: git took its lock and the first file away after the one was looked for and before the other was, and came to nothing more until all
/// was read. A file that it had made and not written yet was refused, and not read again, since it was still the same file.
#[test]
fn a_command_that_lists_in_the_middle_of_a_checkout_waits_for_its_end() {
    let brought = files(&["a", "b", "c"]);
    for _ in 0..20 {
        let begun = Instant::now();
        let half = brought[1].1[..20].to_vec();
        let (_temp, dir, twin, braid) = held_opening(&[(brought[1].0.clone(), half), brought[2].clone()]);
        let lock = dir.join(".git/index.lock");
        fs::write(&lock, "after").unwrap();
        twin.forget_ops();
        twin.let_go();
        twin.wait_looks(|looks| braid.epoch().progress.ready || looks.iter().any(|look| look.1 == lock));
        // One that does nothing for longer is taken for one that has ended.
        let is_steady = begun.elapsed() < Duration::from_millis(250);
        bring(&dir, &brought[..2]);
        fs::rename(&lock, dir.join(".git/index")).unwrap();
        braid.wait_ready().unwrap();
        if is_steady {
            return assert_eq!(streams(&braid), ["streams/a.jsonl", "streams/b.jsonl", "streams/c.jsonl"]);
        }
    }
    unreachable!("no try was quick enough");
}

/// The events' ids in lines of a view, of a file of `events/` or of the ingestion log, in their order.
fn ids(text: &str) -> Vec<String> {
    text.lines().filter_map(|line| Some(line.split_once("\"event_id\":\"")?.1.get(..36)?.to_owned())).collect()
}

/// Story: git began again while a start still read. A line that another program added then got the number where the saved feed ended, for the
/// lines between had not been taken up; what was shown so was saved, and believed at every later start.
#[test]
fn a_start_between_two_checkouts_gives_every_event_the_number_of_its_line() {
    for writes_first in [false, true] {
        let (_temp, dir) = store();
        let dir = dir.canonicalize().unwrap();
        assert!(Command::new("git").args(["init", "-q"]).current_dir(&dir).status().unwrap().success());
        let saving = |save_after| Braid::open(&dir, &OpenOptions { save_after, ..OpenOptions::default() }).unwrap();
        append(&saving(0), &event("s", 1));
        drop(saving(0).wait_ready().unwrap());
        // The base has the feed up to here; the log goes on.
        (2..5).for_each(|n| drop(append(&saving(1000), &event("s", n))));

        let brought = files(&["a", "b", "c"]);
        bring(&dir, &brought[..1]);
        let (disk, twin) = Disk::faulty(&dir).unwrap();
        twin.hold(&dir.join("events"));
        let braid = Braid::open(&dir, &OpenOptions { follow: true, save_after: 0, disk, ..OpenOptions::default() }).unwrap();
        twin.wait_held();
        // The log has been read. Another program numbers what has come, and git begins again.
        let log = || fs::read_to_string(dir.join("index/ingestion.log")).unwrap();
        let id = &ids(&String::from_utf8(brought[0].1.clone()).unwrap())[0];
        fs::write(dir.join("index/ingestion.log"), format!("{}{{\"event_id\":\"{id}\",\"seq\":5}}\n", log())).unwrap();
        let lock = dir.join(".git/index.lock");
        fs::write(&lock, "").unwrap();
        bring(&dir, &brought[1..]);
        twin.forget_ops();
        twin.let_go();
        at_work(&dir, &brought[1..], || twin.looks().iter().filter(|look| look.1 == lock).count() > 3);
        fs::remove_file(&lock).unwrap();
        if writes_first {
            append(&braid, &event("s", 9));
        }
        braid.refresh().unwrap();
        let shown = |braid: &Braid| ids(&super::text(&braid.tree(), "feed.jsonl"));
        assert_eq!(shown(&braid), ids(&log()), "writes first: {writes_first}");
        assert_eq!((log().lines().count(), shown(&braid).get(4)), (7 + usize::from(writes_first), Some(id)));
        drop(braid);
        assert_eq!(shown(&open(&dir, false)), ids(&log()));
    }
}
