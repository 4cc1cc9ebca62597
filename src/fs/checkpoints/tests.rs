//! Checkpoints as files, over a real store and without a kernel.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::*;
use crate::braid::OpenOptions;
use crate::format::draft::{DraftKind, parse_draft};

const PATIENCE: Duration = Duration::from_secs(30);

struct Fixture {
    _temp: tempfile::TempDir,
    dir: PathBuf,
    checkpoints: Arc<Checkpoints>,
}

fn braid(dir: &std::path::Path) -> Braid {
    let braid = Braid::open(dir, &OpenOptions::default()).unwrap();
    braid.wait_ready().unwrap();
    braid
}

fn fixture(events: u32) -> Fixture {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("store");
    Braid::init(&dir).unwrap();
    let braid = braid(&dir);
    for _ in 0..events {
        let draft = parse_draft(br#"{"stream_id":"s","event_type":"T","event_data":1}"#, DraftKind::Lines).unwrap();
        braid.append(draft).unwrap();
    }
    Fixture { _temp: temp, dir, checkpoints: Checkpoints::new(Arc::new(braid)) }
}

/// What `printf TEXT > FILE` does.
fn put(checkpoints: &Checkpoints, file: &str, text: &str) -> Result<(), Errno> {
    let handle = checkpoints.open(file, libc::O_WRONLY | libc::O_TRUNC, true)?;
    let written = checkpoints.write(handle, 0, text.as_bytes());
    checkpoints.release(handle);
    written
}

fn cat(checkpoints: &Checkpoints, file: &str) -> Result<String, Errno> {
    let handle = checkpoints.open(file, libc::O_RDONLY, false)?;
    let bytes = checkpoints.read(handle, 0, 4096)?;
    checkpoints.release(handle);
    assert_eq!(bytes.len() as u64, checkpoints.size(file)?);
    Ok(String::from_utf8(bytes).unwrap())
}

#[test]
fn a_number_is_written_read_listed_and_removed() {
    let fixture = fixture(5);
    let checkpoints = &fixture.checkpoints;
    assert_eq!(cat(checkpoints, "mail"), Err(Errno::ENOENT));
    put(checkpoints, "mail", "2\n").unwrap();
    put(checkpoints, "mail", "3").unwrap();
    assert_eq!(cat(checkpoints, "mail").unwrap(), "3\n");
    put(checkpoints, "a%2Fb", "1\n").unwrap();
    assert_eq!(checkpoints.list(), ["a%2Fb", "mail"]);
    for text in ["2\n", "6\n", "x\n", "-1\n", "1 2\n", "99999999999999999999999\n", &"1".repeat(65)] {
        assert_eq!(put(checkpoints, "mail", text), Err(Errno::EINVAL), "{text}");
    }
    assert_eq!(cat(checkpoints, "mail").unwrap(), "3\n");
    checkpoints.unlink("mail").unwrap();
    assert_eq!(checkpoints.unlink("mail"), Err(Errno::ENOENT));
    assert_eq!(checkpoints.list(), ["a%2Fb"]);
}

#[test]
fn one_open_file_takes_several_numbers_and_an_empty_one_is_nothing() {
    let fixture = fixture(3);
    let checkpoints = &fixture.checkpoints;
    let handle = checkpoints.open("mail", libc::O_RDWR, true).unwrap();
    // It is there for as long as it is open, to be locked.
    assert_eq!((checkpoints.list(), checkpoints.size("mail")), (vec!["mail".to_owned()], Ok(0)));
    checkpoints.write(handle, 0, b"1\n").unwrap();
    checkpoints.write(handle, 2, b"2\n").unwrap();
    checkpoints.write(handle, 4, b"").unwrap();
    checkpoints.write(handle, 4, b"3").unwrap();
    checkpoints.release(handle);
    assert_eq!(cat(checkpoints, "mail").unwrap(), "3\n");
    let handle = checkpoints.open("other", libc::O_WRONLY, true).unwrap();
    checkpoints.release(handle);
    assert_eq!(checkpoints.list(), ["mail"]);
    assert_eq!(checkpoints.open(".mail.swp", libc::O_WRONLY, true), Err(Errno::EINVAL));
}

#[test]
fn an_orphaned_number_is_seen_and_removed_but_neither_read_nor_moved() {
    let (one, two) = (fixture(3), fixture(3));
    put(&one.checkpoints, "s", "2\n").unwrap();
    put(&two.checkpoints, "t", "1\n").unwrap();
    std::fs::copy(one.dir.join("checkpoints/73.json"), two.dir.join("checkpoints/73.json")).unwrap();
    assert_eq!(two.checkpoints.list(), ["s", "t"]);
    assert_eq!(cat(&two.checkpoints, "s"), Err(Errno::ESTALE));
    assert_eq!(put(&two.checkpoints, "s", "3\n"), Err(Errno::ESTALE));
    two.checkpoints.unlink("s").unwrap();
    put(&two.checkpoints, "s", "3\n").unwrap();
}

fn lock(checkpoints: &Arc<Checkpoints>, owner: u64, wait: bool) -> Receiver<Result<(), Errno>> {
    let (told, answer) = channel();
    let granted = Box::new(move |result| told.send(result).unwrap_or(()));
    checkpoints.lock("mail", owner, Lock { kind: LockKind::Exclusive, pid: 1 }, wait, granted);
    answer
}

#[test]
fn a_lock_is_the_leadership_that_other_programs_see() {
    let fixture = fixture(0);
    let checkpoints = &fixture.checkpoints;
    let other = braid(&fixture.dir);
    assert_eq!(lock(checkpoints, 1, false).recv(), Ok(Ok(())));
    assert!(Braid::lead(&other, "mail").unwrap().is_none());
    assert_eq!(lock(checkpoints, 2, false).recv(), Ok(Err(Errno::EAGAIN)));
    let waiting = lock(checkpoints, 2, true);
    checkpoints.unlock("mail", 1);
    assert_eq!(waiting.recv_timeout(PATIENCE), Ok(Ok(())));
    checkpoints.unlock("mail", 2);
    let theirs = Braid::lead(&other, "mail").unwrap().unwrap();
    assert_eq!(lock(checkpoints, 3, false).recv(), Ok(Err(Errno::EAGAIN)));
    let (waiting, cancelled) = (lock(checkpoints, 3, true), lock(checkpoints, 4, true));
    checkpoints.unlock("mail", 4);
    assert_eq!(cancelled.recv_timeout(PATIENCE), Ok(Err(Errno::EINTR)));
    drop(theirs);
    assert_eq!(waiting.recv_timeout(PATIENCE), Ok(Ok(())));
    assert!(Braid::lead(&other, "mail").unwrap().is_none());
    checkpoints.unlock("mail", 3);
    assert!(Braid::lead(&other, "mail").unwrap().is_some());
}
