#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant, SystemTime};

use super::*;
use crate::model::Errno;

#[test]
fn facts_and_parts_of_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, path) = (Disk::real(), dir.path().join("x"));
    assert!(disk.read(&path).unwrap_err().is_not_found());
    assert_eq!((disk.read_if_present(&path).unwrap(), disk.stat_if_present(&path).unwrap()), (None, None));
    disk.write_new(&path, b"0123456789").unwrap();
    assert_eq!(disk.read_at(&path, 3, 4).unwrap(), b"3456");
    assert_eq!(disk.read_at(&path, 8, usize::MAX).unwrap(), b"89");
    assert_eq!(disk.read_at(&path, 99, 4).unwrap(), b"");
    let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(1_234_567_890_123_456_789);
    disk.set_modified(&path, time).unwrap();
    let (bytes, stat) = disk.read_with_stat(&path).unwrap();
    assert_eq!((bytes.len() as u64, stat.modified(), stat.kind), (stat.size, time, EntryKind::File));
    assert_eq!(stat, disk.stat(&path).unwrap());
    symlink("x", dir.path().join("link")).unwrap();
    assert_eq!(disk.stat(&dir.path().join("link")).unwrap().inode, stat.inode);
    assert_eq!(disk.stat_link(&dir.path().join("link")).unwrap().kind, EntryKind::Link);
}

#[test]
fn a_pipe_is_waited_for_by_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, path) = (Disk::real(), dir.path().join("pipe"));
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    symlink("pipe", dir.path().join("link")).unwrap();
    let (done, answer) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for path in [path, dir.path().join("link")] {
            assert_eq!(disk.read(&path).unwrap(), b"");
            assert!(disk.read_at(&path, 0, 1).unwrap_err().to_string().contains("it is no regular file"));
            assert!(disk.map(&path).is_err() && disk.try_lock(&path).is_err());
            done.send(()).unwrap();
        }
    });
    (0..2).for_each(|_| answer.recv_timeout(Duration::from_secs(20)).unwrap());
}

/// Else the first reading of every new file would write its inode.
#[test]
fn an_entry_that_is_read_keeps_its_times() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::real();
    let path = dir.path().join("x");
    disk.write_new(&path, b"0123456789").unwrap();
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    fs::File::open(&path).unwrap().set_times(fs::FileTimes::new().set_accessed(long_ago)).unwrap();
    let open = disk.open_dir(dir.path()).unwrap();
    let mut bytes = Vec::new();
    let stat = open.read_into("x", &mut bytes, 10).unwrap();
    assert_eq!(bytes, b"0123456789");
    assert_eq!(fs::metadata(&path).unwrap().accessed().unwrap(), long_ago);
    assert_eq!(open.stat_if_present("x").unwrap(), Some(stat));
    assert_eq!(stat, disk.stat(&path).unwrap());
    assert_eq!(open.stat_if_present("y").unwrap(), None);
    for (name, kind) in [("d", EntryKind::Dir), ("p", EntryKind::Other)] {
        match kind {
            EntryKind::Dir => disk.create_dir(&dir.path().join(name)).unwrap(),
            _ => nix::unistd::mkfifo(&dir.path().join(name), nix::sys::stat::Mode::S_IRWXU).unwrap(),
        }
        assert_eq!(open.stat_if_present(name).unwrap().map(|stat| stat.kind), Some(kind));
    }
}

#[test]
fn a_directory_is_listed_with_inodes_and_kinds() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::real();
    disk.write_new(&dir.path().join("f"), b"").unwrap();
    disk.create_dir(&dir.path().join("d")).unwrap();
    symlink("f", dir.path().join("l")).unwrap();
    let mut entries = disk.list(dir.path()).unwrap();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let inode = |name: &str| disk.stat_link(&dir.path().join(name)).unwrap().inode;
    let expected = [("d", EntryKind::Dir), ("f", EntryKind::File), ("l", EntryKind::Link)];
    assert_eq!(entries, expected.map(|(name, kind)| Entry { name: name.into(), inode: inode(name), kind }));
    assert_eq!(disk.list_if_present(&dir.path().join("none")).unwrap(), []);
}

#[test]
fn renaming_without_replacing_refuses_a_taken_name() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::real();
    let [a, b, c] = ["a", "b", "c"].map(|name| dir.path().join(name));
    disk.write_new(&a, b"a").unwrap();
    disk.write_new(&b, b"b").unwrap();
    assert!(disk.write_new(&b, b"").unwrap_err().is_taken());
    let error = disk.rename_noreplace(&a, &b).unwrap_err();
    assert_eq!((error.errno(), error.is_taken()), (Errno::EEXIST, true));
    disk.rename_noreplace(&a, &c).unwrap();
    assert_eq!((disk.read(&c).unwrap(), disk.read(&b).unwrap(), disk.exists(&a)), (b"a".to_vec(), b"b".to_vec(), false));
}

#[test]
fn a_replaced_file_is_the_old_one_until_it_is_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let [path, temporary] = ["x", "x.tmp"].map(|name| dir.path().join(name));
    fs::write(&path, "old").unwrap();
    let (disk, twin) = Disk::faulty(dir.path()).unwrap();
    for op in [Op::Create, Op::Write, Op::Sync, Op::Rename] {
        twin.fail(op, 0, Some(1), Errno::ENOSPC);
        disk.replace_durably(&path, &temporary, b"new").unwrap_err();
        assert_eq!((fs::read(&path).unwrap(), temporary.exists()), (b"old".to_vec(), false), "{op:?}");
    }
    disk.replace_durably(&path, &temporary, b"new").unwrap();
    assert_eq!((fs::read(&path).unwrap(), temporary.exists()), (b"new".to_vec(), false));
}

#[test]
fn a_mapping_shows_what_the_file_held_and_an_empty_file_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, path) = (Disk::real(), dir.path().join("x"));
    let mut file = disk.create_new(&path).unwrap();
    assert!(disk.map(&path).unwrap().is_empty());
    file.append(b"abc").unwrap();
    let map = disk.map(&path).unwrap();
    file.append(b"def").unwrap();
    assert_eq!((&*map, &*disk.map(&path).unwrap()), (&b"abc"[..], &b"abcdef"[..]));
}

#[test]
fn an_error_names_the_path_and_what_was_tried() {
    let error = Disk::real().read(Path::new("/nowhere/x")).unwrap_err();
    assert_eq!(error.to_string(), "\"/nowhere/x\" cannot be read: No such file or directory (os error 2)");
    assert_eq!(error.errno(), Errno::ENOENT);
}

/// Whatever else one odd file answers is its own affair: the store goes on without it.
#[test]
fn only_what_the_machine_lacks_is_a_shortage() {
    let is_shortage = |&raw: &i32| Error::new(Op::Read, Path::new("x"), std::io::Error::from_raw_os_error(raw)).is_shortage();
    let short: Vec<i32> = (1..=133).filter(is_shortage).collect();
    assert_eq!(short, [libc::EINTR, libc::ENOMEM, libc::ENFILE, libc::EMFILE]);
}

/// Files of the kernel's say that they are empty, and may have no end.
#[test]
fn of_a_file_no_more_is_read_than_its_size_and_nothing_above_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, path) = (Disk::real(), dir.path().join("x"));
    disk.write_new(&path, b"0123456789").unwrap();
    symlink("/proc/self/environ", dir.path().join("endless")).unwrap();
    let open = disk.open_dir(dir.path()).unwrap();
    let mut bytes = Vec::new();
    for (name, size_max, expected) in [("x", 10, &b"0123456789"[..]), ("x", 9, b""), ("endless", 10, b"")] {
        let stat = open.read_into(name, &mut bytes, size_max).unwrap();
        assert_eq!((bytes.as_slice(), stat.kind), (expected, EntryKind::File));
        assert_eq!(disk.read_into(&dir.path().join(name), &mut bytes, size_max).unwrap(), stat);
        assert_eq!(bytes, expected);
    }
    // Whoever asks for all of it gets it.
    assert!(!disk.read(&dir.path().join("endless")).unwrap().is_empty());
}

#[test]
fn a_lock_is_waited_for_and_not_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, path) = (Disk::real(), dir.path().join("lock"));
    let held = disk.lock_within(&path, Duration::ZERO).unwrap().unwrap();
    let begun = Instant::now();
    assert!(disk.lock_within(&path, Duration::from_millis(30)).unwrap().is_none());
    assert!(begun.elapsed() >= Duration::from_millis(30));
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| disk.lock_within(&path, Duration::from_secs(60)).unwrap().is_some());
        drop(held);
        assert!(waits.join().unwrap());
    });
}
