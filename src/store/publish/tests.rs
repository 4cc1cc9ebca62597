#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::disk::twin::Twin;
use crate::disk::{Disk, Op};

fn files(names: &[&str]) -> Vec<(String, Vec<u8>)> {
    names.iter().map(|name| ((*name).to_owned(), format!("content of {name}\n").repeat(300).into_bytes())).collect()
}

fn faulty(dir: &Path) -> (Store, Arc<Twin>) {
    fs::create_dir(dir.join("events")).unwrap();
    fs::create_dir(dir.join("tmp")).unwrap();
    let (disk, twin) = Disk::faulty(dir).unwrap();
    (Store::open(dir, &disk, crate::store::Mode::Writable).unwrap(), twin)
}

fn publish(store: &Store, files: &[(String, Vec<u8>)]) -> Result<(), WriteError> {
    store.publish(&store.lock(Duration::from_secs(30)).unwrap(), files)
}

fn listed(store: &Store) -> Vec<String> {
    let mut names: Vec<_> = store.list().unwrap().into_iter().map(|listed| listed.name).collect();
    names.sort();
    names
}

fn tmp_is_empty(store: &Store) -> bool {
    fs::read_dir(store.layout().tmp()).unwrap().next().is_none()
}

#[test]
fn one_file_costs_two_syncs_and_one_rename() {
    let dir = tempfile::tempdir().unwrap();
    let (store, twin) = faulty(dir.path());
    publish(&store, &files(&["a.jsonl"])).unwrap();
    let ops: Vec<Op> = twin.ops().into_iter().map(|(op, _)| op).collect();
    assert_eq!(ops, [Op::Create, Op::Write, Op::Sync, Op::Rename, Op::SyncDir]);
    assert_eq!(store.load("a.jsonl").unwrap().0, files(&["a.jsonl"])[0].1);
    assert!(tmp_is_empty(&store));
}

#[test]
fn a_group_is_durable_before_its_first_name() {
    let dir = tempfile::tempdir().unwrap();
    let (store, twin) = faulty(dir.path());
    publish(&store, &files(&["a.jsonl", "b.jsonl", "c.jsonl", "d.jsonl"])).unwrap();
    let ops: Vec<Op> = twin.ops().into_iter().map(|(op, _)| op).filter(|op| !matches!(op, Op::Create | Op::Write)).collect();
    assert_eq!(ops, [Op::SyncFilesystem, Op::Rename, Op::Rename, Op::Rename, Op::Rename, Op::SyncDir]);
}

#[test]
fn a_taken_name_is_refused_and_what_came_before_it_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = faulty(dir.path());
    publish(&store, &files(&["b.jsonl"])).unwrap();
    let error = publish(&store, &files(&["a.jsonl", "b.jsonl", "c.jsonl"])).unwrap_err();
    assert_eq!((error.errno(), error.published()), (Errno::EEXIST, Published::First(1)));
    assert_eq!(listed(&store), ["a.jsonl", "b.jsonl"]);
    assert!(tmp_is_empty(&store));
}

#[test]
fn a_full_disk_leaves_nothing_behind_and_can_be_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let (store, twin) = faulty(dir.path());
    for op in [Op::Create, Op::Write, Op::Rename] {
        twin.fail(op, 1, None, Errno::ENOSPC);
        let error = publish(&store, &files(&["a.jsonl", "b.jsonl"])).unwrap_err();
        assert!(matches!(error, WriteError::Failed { .. }), "{op:?}");
        assert_eq!(error.errno(), Errno::ENOSPC);
        assert!(tmp_is_empty(&store), "{op:?}");
        twin.heal();
        let there = if op == Op::Rename { vec!["a.jsonl"] } else { vec![] };
        assert_eq!(listed(&store), there, "{op:?}");
        assert_eq!(error.published(), Published::First(there.len()));
    }
}

#[test]
fn what_a_group_does_not_publish_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let (store, twin) = faulty(dir.path());
    let lock = store.lock(Duration::from_secs(30)).unwrap();
    let mut group = store.group(&lock, 3).unwrap();
    group.write("a.jsonl", b"a").unwrap();
    twin.fail(Op::Write, 0, Some(1), Errno::ENOSPC);
    assert_eq!(group.write("b.jsonl", b"b").unwrap_err().errno(), Errno::ENOSPC);
    group.write("c.jsonl", b"c").unwrap();
    group.take_back();
    group.publish().unwrap();
    assert_eq!(listed(&store), ["a.jsonl"]);
    assert!(tmp_is_empty(&store));
    let mut group = store.group(&lock, 1).unwrap();
    group.write("d.jsonl", b"d").unwrap();
    assert!(!tmp_is_empty(&store));
    drop(group);
    assert_eq!(listed(&store), ["a.jsonl"]);
    assert!(tmp_is_empty(&store));
}

#[test]
fn directories_that_were_removed_are_made_again() {
    for names in [&["a.jsonl"][..], &["a.jsonl", "b.jsonl", "c.jsonl"]] {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = faulty(dir.path());
        fs::remove_dir(dir.path().join("events")).unwrap();
        fs::remove_dir(dir.path().join("tmp")).unwrap();
        publish(&store, &files(names)).unwrap();
        assert_eq!(listed(&store), names);
    }
}

/// A moment without descriptors loses nothing, and nothing has its name yet.
#[test]
fn a_directory_that_cannot_be_opened_is_no_failed_sync() {
    let dir = tempfile::tempdir().unwrap();
    let (store, twin) = faulty(dir.path());
    twin.fail(Op::Read, 0, Some(1), Errno::EMFILE);
    let error = publish(&store, &files(&["a.jsonl"])).unwrap_err();
    assert!(matches!(error, WriteError::Failed { published: Published::First(0), .. }), "{error}");
    assert_eq!(error.errno(), Errno::EMFILE);
    assert_eq!(error.hint(), "let it have more files open: ulimit -n");
    assert!(listed(&store).is_empty() && tmp_is_empty(&store));
    publish(&store, &files(&["a.jsonl"])).unwrap();
}

#[test]
fn a_failed_sync_is_told_apart() {
    for (op, published, names) in [
        (Op::Sync, Published::First(0), &["a.jsonl"][..]),
        (Op::SyncFilesystem, Published::First(0), &["a.jsonl", "b.jsonl", "c.jsonl"]),
        (Op::SyncDir, Published::Uncertain(1), &["a.jsonl"]),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (store, twin) = faulty(dir.path());
        twin.fail(op, 0, Some(1), Errno::EIO);
        let error = publish(&store, &files(names)).unwrap_err();
        assert!(matches!(error, WriteError::SyncFailed { .. }), "{op:?}");
        assert_eq!((error.published(), error.errno()), (published, Errno::EROFS));
        assert!(tmp_is_empty(&store));
    }
}

#[test]
fn after_a_loss_of_power_an_answered_commit_is_there_and_an_unanswered_one_whole_or_absent() {
    for names in [&["a.jsonl"][..], &["a.jsonl", "b.jsonl"], &["a.jsonl", "b.jsonl", "c.jsonl"]] {
        let files = files(names);
        let mut spared = 0;
        loop {
            let dir = tempfile::tempdir().unwrap();
            let (store, twin) = faulty(dir.path());
            twin.crash_after(spared);
            let answered = publish(&store, &files).is_ok();
            assert_ne!(answered, twin.has_crashed());
            for loss in twin.losses() {
                let after = tempfile::tempdir().unwrap();
                twin.rebuild(after.path(), loss).unwrap();
                let there = names.iter().filter(|name| after.path().join("events").join(name).exists()).count();
                assert!(!answered || there == names.len(), "{spared} {loss:?}");
                for (name, bytes) in files.iter().take(there) {
                    assert_eq!(&fs::read(after.path().join("events").join(name)).unwrap(), bytes, "{spared} {loss:?}");
                }
            }
            if answered {
                break;
            }
            spared += 1;
        }
        assert!(spared >= 5);
    }
}

/// Whose transactions have the same ids again, as those of an import, could never be written after a kill.
#[test]
fn what_a_killed_program_left_of_the_same_file_is_replaced() {
    for names in [&["a.jsonl"][..], &["a.jsonl", "b.jsonl", "c.jsonl"]] {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = faulty(dir.path());
        for name in names {
            fs::write(store.layout().tmp().join(format!("{name}.tmp")), "half of i").unwrap();
        }
        publish(&store, &files(names)).unwrap();
        assert_eq!(listed(&store), names);
        assert_eq!(store.load("a.jsonl").unwrap().0, files(names)[0].1);
        assert!(tmp_is_empty(&store));
    }
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = faulty(dir.path());
    assert_eq!(publish(&store, &files(&["a.jsonl", "a.jsonl"])).unwrap_err().errno(), Errno::EEXIST, "one group has a name once");
    assert!(listed(&store).is_empty() && tmp_is_empty(&store));
}
