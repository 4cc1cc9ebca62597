#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use tempfile::TempDir;

use super::*;
use crate::disk::Disk;

struct Bench {
    dir: TempDir,
    disk: Disk,
    twin: Arc<Twin>,
}

impl Bench {
    /// A directory with `a/old` in it.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a")).unwrap();
        fs::create_dir_all(dir.path().join("b")).unwrap();
        fs::write(dir.path().join("a/old"), "old").unwrap();
        let (disk, twin) = Disk::faulty(dir.path()).unwrap();
        Self { dir, disk, twin }
    }

    fn path(&self, name: &str) -> PathBuf {
        fs::canonicalize(self.dir.path()).unwrap().join(name)
    }

    fn after(&self, names_kept: usize, data: Data) -> BTreeMap<String, String> {
        let into = tempfile::tempdir().unwrap();
        self.twin.rebuild(into.path(), Loss { names_kept, data }).unwrap();
        let mut found = BTreeMap::new();
        for dir in ["a", "b"] {
            for entry in fs::read_dir(into.path().join(dir)).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(into.path()).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
        found
    }
}

fn map<const N: usize>(files: [(&str, &str); N]) -> BTreeMap<String, String> {
    files.iter().map(|(name, content)| ((*name).to_owned(), (*content).to_owned())).collect()
}

#[test]
fn what_was_not_synced_may_be_lost_torn_zeroed_or_kept() {
    let bench = Bench::new();
    bench.disk.open_file(&bench.path("a/old")).unwrap().append(b"1234").unwrap();
    assert_eq!(bench.after(0, Data::Lost), map([("a/old", "old")]));
    assert_eq!(bench.after(0, Data::Torn), map([("a/old", "old12")]));
    assert_eq!(bench.after(0, Data::Zeroed), map([("a/old", "old\0\0\0\0")]));
    assert_eq!(bench.after(0, Data::Kept), map([("a/old", "old1234")]));
}

#[test]
fn a_synced_file_without_a_synced_name_may_be_gone() {
    let bench = Bench::new();
    bench.disk.write_new(&bench.path("a/new"), b"new").unwrap().sync().unwrap();
    assert_eq!(bench.after(0, Data::Lost), map([("a/old", "old")]));
    assert_eq!(bench.after(1, Data::Lost), map([("a/old", "old"), ("a/new", "new")]));
    bench.disk.sync_dir(&bench.path("a")).unwrap();
    assert_eq!(bench.after(0, Data::Lost), map([("a/old", "old"), ("a/new", "new")]));
}

#[test]
fn a_rename_is_undone_or_done_and_never_both() {
    let bench = Bench::new();
    let mut file = bench.disk.open_file(&bench.path("a/old")).unwrap();
    bench.disk.rename(&bench.path("a/old"), &bench.path("b/new")).unwrap();
    file.append(b"!").unwrap();
    file.sync().unwrap();
    assert_eq!(bench.after(0, Data::Lost), map([("a/old", "old!")]));
    assert_eq!(bench.after(1, Data::Lost), map([("b/new", "old!")]));
    bench.disk.sync_dir(&bench.path("a")).unwrap();
    assert_eq!(bench.after(0, Data::Lost), map([("a/old", "old!")]));
    bench.disk.sync_dir(&bench.path("b")).unwrap();
    assert_eq!(bench.after(0, Data::Lost), map([("b/new", "old!")]));
}

#[test]
fn a_synced_rename_leaves_no_way_back_for_the_old_name() {
    let bench = Bench::new();
    bench.disk.write_new(&bench.path("a/tmp"), b"x").unwrap().sync().unwrap();
    bench.disk.rename_noreplace(&bench.path("a/tmp"), &bench.path("b/x")).unwrap();
    bench.disk.sync_dir(&bench.path("b")).unwrap();
    for loss in bench.twin.losses() {
        assert_eq!(bench.after(loss.names_kept, loss.data), map([("a/old", "old"), ("b/x", "x")]));
    }
}

#[test]
fn a_removal_and_a_cut_are_not_durable_either() {
    let bench = Bench::new();
    bench.disk.open_file(&bench.path("a/old")).unwrap().truncate(1).unwrap();
    bench.disk.remove(&bench.path("a/old")).unwrap();
    assert_eq!(bench.after(0, Data::Lost), map([("a/old", "old")]));
    assert_eq!(bench.after(0, Data::Kept), map([("a/old", "o")]));
    assert_eq!(bench.after(1, Data::Lost), map([]));
}

#[test]
fn a_file_in_a_directory_that_is_lost_is_lost() {
    let bench = Bench::new();
    bench.disk.create_dir(&bench.path("a/deep/er")).unwrap();
    bench.disk.write_new(&bench.path("a/deep/er/x"), b"x").unwrap().sync().unwrap();
    bench.disk.sync_dir(&bench.path("a/deep/er")).unwrap();
    assert_eq!(bench.after(0, Data::Lost), map([("a/old", "old")]));
}

#[test]
fn after_a_failed_sync_a_second_one_promises_nothing() {
    let bench = Bench::new();
    let mut file = bench.disk.open_file(&bench.path("a/old")).unwrap();
    file.append(b"1").unwrap();
    bench.twin.fail(Op::Sync, 0, Some(1), Errno::EIO);
    assert_eq!(file.sync().unwrap_err().errno(), Errno::EIO);
    file.sync().unwrap();
    assert_eq!(bench.after(0, Data::Kept), map([("a/old", "old")]));
}

#[test]
fn a_sync_of_the_file_system_makes_all_durable() {
    let bench = Bench::new();
    let filesystem = bench.disk.open_filesystem(&bench.path("a")).unwrap();
    bench.disk.write_new(&bench.path("b/x"), b"x").unwrap();
    filesystem.sync().unwrap();
    assert_eq!(bench.after(0, Data::Lost), map([("a/old", "old"), ("b/x", "x")]));
    bench.disk.write_new(&bench.path("b/y"), b"y").unwrap();
    bench.twin.fail(Op::SyncFilesystem, 0, Some(1), Errno::EIO);
    assert_eq!(filesystem.sync().unwrap_err().op, Op::SyncFilesystem);
    filesystem.sync().unwrap();
    assert_eq!(bench.after(0, Data::Kept), map([("a/old", "old"), ("b/x", "x"), ("b/y", "")]));
}

#[test]
fn after_a_crash_nothing_works_and_the_operation_did_not_happen() {
    let bench = Bench::new();
    bench.twin.crash_after(1);
    bench.disk.write_new(&bench.path("a/x"), b"").unwrap_err();
    assert!(bench.twin.has_crashed());
    assert_eq!(bench.disk.read(&bench.path("a/old")).unwrap_err().errno(), Errno::EIO);
    assert_eq!(fs::read(bench.path("a/x")).unwrap(), b"");
    assert_eq!(bench.twin.ops().len(), 1);
}

#[test]
fn faults_strike_where_and_as_often_as_told() {
    let bench = Bench::new();
    let mut file = bench.disk.open_file(&bench.path("a/old")).unwrap();
    bench.twin.fail(Op::Write, 1, Some(2), Errno::ENOSPC);
    let errors: Vec<Option<Errno>> = (0..4).map(|_| file.append(b"x").err().map(|error| error.errno())).collect();
    assert_eq!(errors, [None, Some(Errno::ENOSPC), Some(Errno::ENOSPC), None]);
    bench.twin.fail(Op::Write, 0, None, Errno::EROFS);
    assert_eq!(file.append(b"x").unwrap_err().errno(), Errno::EROFS);
    bench.twin.heal();
    file.append(b"x").unwrap();
    assert_eq!(fs::read(bench.path("a/old")).unwrap(), b"oldxxx");
}
