//! What is told of drafts, and for how long.

use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use super::Release;
use super::model_tests::table::{LINE, OTHER};
use super::receipt::{Attempt, Receipt, sha256_hex};
use super::staging_tests::{Desk, ME, NEW};
use crate::disk::Op;
use crate::model::Errno;

/// Longer than a draft has to rest.
const LATER: Duration = Duration::from_secs(11);

#[test]
fn a_draft_that_looks_finished_is_told_until_it_goes() {
    let desk = Desk::new();
    for name in ["my events.jsonl", "foo", ".hidden", "x.tmp", "x.jsonl~"] {
        desk.drop_file(name, LINE).unwrap();
    }
    let (mv_foo, mv_my) = ("mv staging/foo staging/foo.jsonl", "mv staging/'my events.jsonl' staging/my-events.jsonl");
    assert!(desk.told(Duration::ZERO).is_empty(), "it may be on its way to a name");
    assert_eq!(desk.told(LATER), [mv_foo, mv_my]);
    desk.rename("foo", "foo.jsonl").unwrap();
    assert_eq!(desk.told_by_itself(), [mv_my; 0], "it has been used just now, as far as the clock says");
    assert_eq!(desk.told(LATER), [mv_my]);
    desk.fs.unlink(desk.directory("staging"), "my events.jsonl", ME).unwrap();
    assert_eq!(desk.told_by_itself(), [""; 0]);
}

#[test]
fn a_draft_that_is_open_or_empty_is_not_told() {
    let mut desk = Desk::new();
    desk.drop_file("empty.txt", b"").unwrap();
    let handle = desk.open("x.txt", NEW).unwrap();
    desk.fs.write(handle, 0, b"[\n").unwrap();
    assert_eq!(desk.told(LATER), [""; 0]);
    desk.close(handle).unwrap();
    assert_eq!(desk.told(LATER), ["mv staging/x.txt staging/x.json"]);
    let handle = desk.open("x.txt", libc::O_WRONLY).unwrap();
    assert_eq!(desk.told_by_itself(), [""; 0], "somebody is at it");
    desk.close(handle).unwrap();
    desk.restart();
    assert_eq!(desk.told(LATER), ["mv staging/x.txt staging/x.json"]);
}

#[test]
fn the_words_about_a_draft_that_was_refused_go_with_it() {
    let mut desk = Desk::new();
    let staging = desk.directory("staging");
    let refused = |desk: &Desk, name: &str| {
        desk.drop_file(name, b"nonsense").unwrap();
        assert_eq!(desk.rename(name, "c.jsonl"), Err(Errno::EINVAL));
        assert_eq!(desk.list("staging"), [name, "c.jsonl.error"]);
        assert_eq!(desk.receipt("c.jsonl")["draft"], name);
    };
    refused(&desk, ".c");
    desk.fs.unlink(staging, ".c", ME).unwrap();
    assert!(desk.list("staging").is_empty());
    assert_eq!(desk.text("staging", "c.jsonl.error"), Err(Errno::ENOENT));
    assert_eq!(desk.receipt("c.jsonl")["state"], "refused", "the receipt stays");
    desk.drop_file(".c", LINE).unwrap();
    assert_eq!(desk.list("staging"), [".c"], "this is another draft");
    desk.fs.unlink(staging, ".c", ME).unwrap();
    refused(&desk, ".d");
    desk.restart();
    assert_eq!(desk.list("staging"), [".d", "c.jsonl.error"]);
    desk.rename(".d", ".e").unwrap();
    assert_eq!(desk.list("staging"), [".e"]);
    refused_twice(&desk);
}

/// A file and a draft that were both refused under one name: the words stay as long as either is there.
fn refused_twice(desk: &Desk) {
    let staging = desk.directory("staging");
    assert!(desk.drop_file("z.jsonl", b"{}\n").is_err());
    assert_eq!(desk.rename(".e", "z.jsonl"), Err(Errno::EINVAL));
    desk.fs.unlink(staging, ".e", ME).unwrap();
    assert_eq!(desk.list("staging"), ["z.jsonl", "z.jsonl.error"]);
    desk.fs.unlink(staging, "z.jsonl", ME).unwrap();
    assert!(desk.list("staging").is_empty());
}

/// Found by the model on a busy machine: what was saved while the kernel was told of the commit before was taken for that one, and lost.
#[test]
fn what_is_saved_while_the_kernel_is_told_of_a_commit_has_a_verdict_of_its_own() {
    let desk = Desk::new();
    let handle = desk.open("x.jsonl", NEW).unwrap();
    desk.fs.write(handle, 0, LINE).unwrap();
    desk.fs.flush(handle).1.unwrap();
    let Release::Commit(file) = desk.fs.release(handle) else { panic!("it was the last close") };
    let again = Cell::new(0);
    desk.fs.decide(
        handle,
        &file,
        || (),
        || {
            again.set(desk.open("x.jsonl", NEW).unwrap());
            desk.fs.write(again.get(), 0, b"{}\n").unwrap_err();
        },
    );
    desk.close(again.get()).unwrap_err();
    assert_eq!(desk.receipt("x.jsonl")["state"], "refused");
    assert_eq!(desk.text("staging", "x.jsonl").as_deref(), Ok("{}\n"));
    assert_eq!(desk.commits(), 1);
}

/// The same where it has even got its verdict by then.
#[test]
fn what_is_decided_while_the_kernel_is_told_of_a_commit_stays_decided() {
    let desk = Desk::new();
    let handle = desk.open("x.jsonl", NEW).unwrap();
    desk.fs.write(handle, 0, LINE).unwrap();
    let Release::Commit(file) = desk.fs.release(handle) else { panic!("it was the last close") };
    desk.fs.decide(handle, &file, || (), || assert!(desk.drop_file("x.jsonl", b"{}\n").is_err()));
    assert_eq!(desk.receipt("x.jsonl")["state"], "refused");
    assert_eq!(desk.list("staging"), ["x.jsonl", "x.jsonl.error"]);
    // And where the next is on its way: the kernel has told of its last close, and nobody has decided yet.
    let handle = desk.open("y.jsonl", NEW).unwrap();
    desk.fs.write(handle, 0, LINE).unwrap();
    let Release::Commit(file) = desk.fs.release(handle) else { panic!("it was the last close") };
    let next = Cell::new(None);
    desk.fs.decide(
        handle,
        &file,
        || (),
        || {
            let handle = desk.open("y.jsonl", NEW).unwrap();
            desk.fs.write(handle, 0, b"{}\n").unwrap_err();
            let Release::Commit(file) = desk.fs.release(handle) else { panic!("it was the last close") };
            next.set(Some((handle, file)));
        },
    );
    let (handle, file) = next.take().unwrap();
    assert!(file.is_deciding());
    desk.fs.decide(handle, &file, || (), || ());
    assert_eq!(desk.receipt("y.jsonl")["state"], "refused");
    assert_eq!(desk.list("staging").len(), 4);
}

/// Story: a machine without a clock of its own began in 1970. Once it had the time, what was written before that went at once: drafts, and the
/// receipts that tell a second save.
#[test]
fn a_clock_that_is_set_ahead_removes_nothing() {
    let mut desk = Desk::new();
    desk.drop_file(".draft", b"x").unwrap();
    desk.drop_file("x.jsonl", LINE).unwrap();
    for file in ["receipts/x.jsonl", "staging/.draft"] {
        let file = std::fs::File::options().write(true).open(desk.home.path().join("tmp").join(file)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(100)).unwrap();
    }
    desk.restart();
    let listed = |desk: &Desk| ["staging", "receipts"].map(|directory| desk.list(directory).join(" "));
    let minutes = |minutes: u64| Instant::now() + Duration::from_secs(minutes * 60);
    let tend = |desk: &Desk, at: Instant| desk.fs.staging.as_ref().unwrap().tend(at);
    tend(&desk, minutes(59));
    assert_eq!(listed(&desk), [".draft", "x.jsonl.json"], "a daemon that has just begun does not know when it was set");
    desk.fs.staging.as_mut().unwrap().begin_at(SystemTime::UNIX_EPOCH + Duration::from_secs(200));
    tend(&desk, minutes(23 * 60));
    assert_eq!(listed(&desk), [".draft", "x.jsonl.json"], "it was set while this daemon ran");
    tend(&desk, minutes(25 * 60));
    assert_eq!(listed(&desk), ["", "x.jsonl.json"]);
}

/// Story: a daemon that is started anew each day never saw a day without use, and all drafts and receipts lived for ever.
#[test]
fn what_is_old_goes_also_where_no_daemon_runs_for_a_day() {
    let mut desk = Desk::new();
    desk.drop_file(".draft", b"x").unwrap();
    desk.drop_file(".young", b"x").unwrap();
    desk.drop_file("x.jsonl", LINE).unwrap();
    for (file, hours) in [("receipts/x.jsonl", 31 * 24), ("staging/.draft", 25), ("staging/.young", 20)] {
        let file = std::fs::File::options().write(true).open(desk.home.path().join("tmp").join(file)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(hours * 3600)).unwrap();
    }
    desk.restart();
    desk.fs.staging.as_ref().unwrap().tend(Instant::now() + Duration::from_secs(3601));
    assert_eq!((desk.list("staging"), desk.list("receipts")), (vec![".young".to_owned()], Vec::new()));
}

/// Story: two drafts were renamed to one name within two seconds, and the daemon was killed before the second verdict. The next one found the
/// bytes of the first under the name, and nothing that said that they were committed: touched, as it was told, they were once more.
#[test]
fn what_is_renamed_over_a_committed_name_leaves_nothing_to_be_committed_again() {
    let desk = Desk::new();
    desk.drop_file(".x", LINE).unwrap();
    desk.rename(".x", "n.jsonl").unwrap();
    desk.drop_file(".y", OTHER).unwrap();
    let killed = tempfile::tempdir().unwrap();
    let (from, to) = (desk.home.path().to_owned(), killed.path().to_owned());
    desk.when_durable(move || copy(&from, &to));
    desk.rename(".y", "n.jsonl").unwrap();
    let desk = desk.at(killed);
    assert_eq!((desk.commits(), desk.list("staging")), (2, vec![]));
    assert_eq!(desk.receipt("n.jsonl")["state"], "committed");
}

/// Story: a rename was answered, and there was no room for its receipt. The next daemon looked for the bytes under the name of the draft.
#[test]
fn a_draft_that_was_renamed_and_whose_receipt_found_no_room_is_finished_where_it_lies() {
    let (mut desk, twin) = Desk::on_faulty_disk();
    desk.drop_file(".x", LINE).unwrap();
    twin.fail(Op::Create, 1, None, Errno::ENOSPC);
    desk.rename(".x", "n.jsonl").unwrap();
    twin.heal();
    desk.restart();
    assert_eq!((desk.commits(), desk.list("staging")), (1, vec![]));
    assert_eq!(desk.receipt("n.jsonl")["state"], "committed");
}

/// Who has read that a file was committed may save its name again before that is written: what is begun then has ids that the next daemon needs.
#[test]
fn a_receipt_that_is_written_late_overtakes_none_that_was_begun_or_forgotten() {
    let desk = Desk::new();
    desk.drop_file("x.jsonl", LINE).unwrap();
    let staging = desk.fs.staging.as_ref().unwrap();
    let on_disk = || std::fs::read_to_string(desk.home.path().join("tmp/receipts/x.jsonl")).ok();
    let committed = Receipt::parse(on_disk().unwrap().as_bytes()).unwrap();
    let attempt = Attempt { from: "x.jsonl".to_owned(), event_ids: vec!["id".to_owned()] };
    let pending = Receipt { attempt: Some(attempt), ..Receipt::pending("x.jsonl", 1, sha256_hex(b"2"), None) };
    staging.hold(&committed);
    staging.save(&pending).unwrap();
    staging.save_held("x.jsonl").unwrap();
    assert_eq!(on_disk().unwrap().as_bytes(), pending.to_bytes());
    assert_eq!(staging.forget_receipt("x.jsonl"), Err(Errno::EBUSY), "the one before is shown, and this one is on disk");
    staging.hold(&committed);
    staging.forget_receipt("x.jsonl").unwrap();
    staging.save_held("x.jsonl").unwrap();
    assert_eq!(on_disk(), None);
    staging.hold(&committed);
    staging.save_held("x.jsonl").unwrap();
    assert_eq!(on_disk().unwrap().as_bytes(), committed.to_bytes());
}

/// Copies files and directories.
fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir_all(&to).unwrap();
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}
