//! What a commit costs, who writes together, and why nothing can be written.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::*;
use crate::braid::PAUSE;
use crate::braid::keeper::commit::LOCK_WAIT;
use crate::disk::{Disk, Op};
use crate::model::{Payload, SnapshotRequest};

#[test]
fn writers_that_wait_together_are_one_group_and_none_is_lost() {
    let (_temp, dir) = store();
    let braid = open(&dir, true);
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let braid = braid.clone();
            scope.spawn(move || {
                for n in 0..5 {
                    append(&braid, &event(&format!("w-{writer}"), n));
                }
            });
        }
    });
    let epoch = braid.epoch();
    assert_eq!(epoch.index.log.events.len(), 40);
    assert_eq!(epoch.feed_shown, 40);
    assert_eq!(epoch.index.transactions.heads().len(), 1);
    let before = everything(&braid.tree());
    drop((braid, epoch));
    assert_eq!(everything(&open(&dir, false).tree()), before);
}

#[test]
fn a_writer_who_is_alone_wakes_nobody_for_a_commit() {
    let (_temp, dir) = store();
    let braid = open(&dir, true);
    let publishers = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&publishers);
    braid.on_publish(Box::new(move |_, _| noted.lock().unwrap().push(std::thread::current().id())));
    for n in 0..40 {
        append(&braid, &event("a", n));
    }
    let own = publishers.lock().unwrap().iter().filter(|&&thread| thread == std::thread::current().id()).count();
    // The keeper's thread may be at it when a hint of the watch comes.
    assert!(own > 20, "{own}");
}

/// What a commit asks of the disk once everything is open: kinds of changes, in order.
fn ops_of_a_commit(transactions: u32) -> Vec<String> {
    let (_temp, dir) = store();
    let (disk, twin) = crate::disk::Disk::faulty(&dir).unwrap();
    let braid = Braid::open(&dir, &OpenOptions { follow: true, disk, ..OpenOptions::default() }).unwrap();
    braid.wait_ready().unwrap();
    for n in 0..transactions {
        append(&braid, &event("s", n));
    }
    twin.forget_ops();
    append(&braid, &event("s", transactions));
    let place = |path: &Path| match path.strip_prefix(dir.canonicalize().unwrap()) {
        Ok(rest) => rest.iter().next().map_or(String::new(), |first| first.to_string_lossy().into_owned()),
        Err(_) => String::new(),
    };
    twin.ops().iter().map(|(op, path)| format!("{op:?} {}", place(path))).collect()
}

#[test]
fn a_commit_syncs_twice_and_renames_once_whatever_the_size_of_the_store() {
    let ops = ops_of_a_commit(3);
    let count = |what: &str| ops.iter().filter(|op| op.starts_with(what)).count();
    assert_eq!((count("Sync"), count("Rename"), count("Create")), (2, 1, 1), "{ops:?}");
    let durable = ops.iter().position(|op| op == "SyncDir events").unwrap_or_else(|| panic!("{ops:?}"));
    let renamed = ops.iter().position(|op| op.starts_with("Rename")).unwrap();
    let synced = ops.iter().position(|op| op.starts_with("Sync")).unwrap();
    assert!(synced < renamed && renamed < durable, "{ops:?}");
    // Behind the durable point: the log's line, the last transaction, the pack, the table. The pack comes with its group.
    assert!(ops.len() <= 9, "{ops:?}");
    assert_eq!(ops_of_a_commit(60), ops);
}

#[test]
fn a_group_of_commits_syncs_as_often_as_one() {
    let (_temp, dir) = store();
    let (disk, twin) = crate::disk::Disk::faulty(&dir).unwrap();
    let braid = Braid::open(&dir, &OpenOptions { disk, ..OpenOptions::default() }).unwrap();
    braid.wait_ready().unwrap();
    append(&braid, &event("s", 0));
    // While somebody holds the lock for a moment, the drafts gather.
    let lock = braid.store().lock(Duration::ZERO).unwrap();
    std::thread::scope(|scope| {
        for n in 0..16 {
            let braid = braid.clone();
            scope.spawn(move || append(&braid, &event("s", n)));
        }
        std::thread::sleep(Duration::from_millis(300));
        twin.forget_ops();
        drop(lock);
    });
    let ops = twin.ops();
    let syncs = ops.iter().filter(|(op, _)| op.is_sync()).count();
    let renames = ops.iter().filter(|(op, _)| *op == crate::disk::Op::Rename).count();
    assert_eq!(renames, 16, "{ops:?}");
    // The first draft was taken alone; what came after it is one group, or two where a thread was late.
    assert!(syncs <= 2 + 3 * 3, "{syncs} syncs of 16 commits: {ops:?}");
}

#[test]
fn writers_who_came_together_queue_until_one_comes_alone() {
    let (_temp, dir) = store();
    let braid = open(&dir, false);
    // The keeper's thread may be at it for a moment.
    let goes_first = || {
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(50) {
            if braid.inner.desk.alone().is_some() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        false
    };
    // A thread that is late comes alone: then they come together once more.
    let queued = (0..20).any(|round| {
        let lock = braid.store().lock(Duration::from_secs(5)).unwrap();
        std::thread::scope(|scope| {
            for n in 0..8 {
                let braid = braid.clone();
                // Who had the keeper while the lock was held comes a little later than those who waited for him.
                scope.spawn(move || (0..4).for_each(|k| drop(append(&braid, &event("s", (round * 8 + n) * 4 + k)))));
            }
            std::thread::sleep(Duration::from_millis(100));
            drop(lock);
        });
        !goes_first()
    });
    assert!(queued);
    append(&braid, &event("s", 1000));
    assert!((0..100).any(|_| goes_first()));
}

/// Story: who waited alone for `.lock` and then had to queue, since somebody else asked for something, began to wait anew: 9 s instead of 5.
#[test]
fn who_waits_for_another_program_waits_once_through_whatever_hands_the_draft_goes() {
    let (_temp, dir) = store();
    let braid = open(&dir, false);
    append(&braid, &event("s", 0));
    let _lock = braid.store().lock(Duration::from_secs(5)).unwrap();
    let (asks, begun) = (braid.clone(), Instant::now());
    let asked = std::thread::spawn(move || {
        std::thread::sleep(LOCK_WAIT * 3 / 4);
        // For longer than the writer leaves it alone.
        let keeper = asks.inner.desk.turn();
        std::thread::sleep(PAUSE * 50);
        drop(keeper);
    });
    let busy = braid.append(draft(&event("s", 1))).unwrap_err();
    let took = begun.elapsed();
    asked.join().unwrap();
    assert_eq!(busy.errno(), Errno::EBUSY, "{busy}");
    assert!((LOCK_WAIT..LOCK_WAIT * 3 / 2).contains(&took), "{took:?}");
}

/// As where another user owns the store, or git was run by root: the system says no, and whoever appends is told which directory that is about.
#[test]
fn a_store_that_may_not_be_written_says_so_and_how_that_is_cured() {
    let refused: [(Op, Errno, &str); 4] = [
        (Op::Rename, Errno::EACCES, "; chmod u+wx DIR/events   # or run it as the user whom it belongs to: ls -ld DIR/events"),
        (Op::Create, Errno::EACCES, "; chmod u+wx DIR/tmp   # or run it as the user whom it belongs to: ls -ld DIR/tmp"),
        (Op::List, Errno::EACCES, "; chmod u+rx DIR/events   # or run it as the user whom it belongs to: ls -ld DIR/events"),
        (Op::Rename, Errno::EROFS, "; the file system is read-only: see why (findmnt), and mount it writable"),
    ];
    let (_temp, dir) = store();
    let dir = dir.canonicalize().unwrap();
    let (disk, twin) = Disk::faulty(&dir).unwrap();
    let braid = Braid::open(&dir, &OpenOptions { disk, ..OpenOptions::default() }).unwrap();
    append(&braid, &event("s", 0));
    for (op, errno, cure) in refused {
        twin.fail(op, 0, None, errno);
        let error = braid.append(draft(&event("s", 1))).unwrap_err();
        assert_eq!(error.errno(), errno, "{error}");
        assert!(error.to_string().ends_with(&cure.replace("DIR", dir.to_str().unwrap())), "{error}");
        twin.heal();
        append(&braid, &event("s", 2));
    }
}

/// A draft that was put together, changed after it was read, or built by a resolver was written as it was: the crate could not open the store.
#[test]
fn what_is_put_together_is_held_to_the_limits_of_a_draft_file() {
    let (_temp, dir) = store();
    let braid = open(&dir, false);
    let mut good = draft(&event("s", 1));
    let mut bad = good.clone();
    bad.events[0].stream_id = "a*".to_owned();
    good.key = Some(String::new());
    let state = |name: &str| SnapshotRequest { name: name.to_owned(), seq_nr: Some(0), versions: Vec::new(), state: Payload::default() };
    let saved = Draft { snapshot: Some(state("sum")), ..good.clone() };
    let refused = [
        braid.append(good),
        braid.append(bad.clone()),
        braid.record("session", bad),
        braid.append(saved),
        braid.save_snapshot(state("")).map(|_| panic!("a state without a name was saved")),
    ];
    for refused in refused {
        assert!(matches!(&refused, Err(AppendError::Rejected(rejection)) if rejection.errno() == Errno::EINVAL), "{refused:?}");
    }
    assert_eq!(fs::read_dir(dir.join("events")).unwrap().count(), 0);
}
