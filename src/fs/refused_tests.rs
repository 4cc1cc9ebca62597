//! What is left of a draft, and what its receipt says, where a system call has already refused it.

use std::sync::mpsc::channel;

use serde_json::Value;

use super::model_tests::table::{LINE, OTHER};
use super::staging_tests::{Desk, ME, NEW};
use crate::disk::Op;
use crate::disk::twin::Twin;
use crate::format::draft::DRAFT_LEN_MAX;
use crate::fs::{Changes, Release};
use crate::model::Errno;

/// Longer than [`OTHER`], which begins otherwise.
const LARGE: &[u8] = b"{\"stream\":\"large\",\"type\":\"T\",\"data\":\"0123456789012345678901234567890123456789\"}\n";
const STALE: &[u8] = b"{\"expect\":{\"a\":3}}\n";

fn reasons(desk: &Desk, name: &str) -> Vec<(String, u64)> {
    let receipt = desk.receipt(name);
    let reasons = receipt["reasons"].as_array().unwrap();
    let brief = |reason: &Value| (reason["errno"].as_str().unwrap().to_owned(), reason["line"].as_u64().unwrap_or(0));
    reasons.iter().map(brief).collect()
}

#[test]
fn the_receipt_says_what_the_writer_was_told_and_nothing_of_where_he_stopped() {
    let desk = Desk::new();
    // As cp of a large file does it: the first piece ends within a line.
    assert_eq!(desk.drop_file("x.jsonl", &[STALE, LINE, &LINE[..10]].concat()), Err(Errno::ESTALE));
    assert_eq!(reasons(&desk, "x.jsonl"), [("ESTALE".to_owned(), 0)]);
    assert_eq!(desk.drop_file("y.jsonl", STALE), Err(Errno::ESTALE));
    assert_eq!(reasons(&desk, "y.jsonl"), [("ESTALE".to_owned(), 0)], "not that there is no event");
    assert_eq!(desk.drop_file("z.jsonl", &[b"[\n{}\n", &LINE[..10]].concat()), Err(Errno::EINVAL));
    assert!(reasons(&desk, "z.jsonl").iter().all(|(_, line)| *line < 3), "{:?}", reasons(&desk, "z.jsonl"));
}

#[test]
fn who_writes_on_after_a_refusal_overwrites_nothing() {
    let desk = Desk::new();
    let handle = desk.open("x.jsonl", NEW).unwrap();
    // The kernel takes a refused write as not done: the next one has the same offset.
    for piece in [STALE, LINE, b"nonsense\n"] {
        assert_eq!(desk.fs.write(handle, 0, piece), Err(Errno::ESTALE));
    }
    desk.close(handle).unwrap_err();
    assert_eq!(desk.text("staging", "x.jsonl").unwrap().as_bytes(), [STALE, LINE, b"nonsense\n"].concat());
    assert_eq!(reasons(&desk, "x.jsonl"), [("ESTALE".to_owned(), 0), ("EINVAL".to_owned(), 3)]);
}

#[test]
fn who_tries_again_after_a_refusal_writes_nothing_twice() {
    let desk = Desk::new();
    let handle = desk.open("x.jsonl", NEW).unwrap();
    let whole = [STALE, LINE].concat();
    // A buffer that is kept where it could not be written, and then has more.
    for piece in [STALE, &whole, &whole, &STALE[..5]] {
        assert_eq!(desk.fs.write(handle, 0, piece), Err(Errno::ESTALE));
    }
    desk.close(handle).unwrap_err();
    assert_eq!(desk.text("staging", "x.jsonl").unwrap().as_bytes(), whole);
}

#[test]
fn lines_that_take_turns_are_no_other_attempts() {
    let desk = Desk::new();
    let handle = desk.open("x.jsonl", NEW).unwrap();
    for piece in [STALE, LINE, STALE, LINE, LINE] {
        assert_eq!(desk.fs.write(handle, 0, piece), Err(Errno::ESTALE));
    }
    desk.close(handle).unwrap_err();
    let kept = [STALE, LINE, STALE, LINE].concat();
    assert_eq!(desk.text("staging", "x.jsonl").unwrap().as_bytes(), kept, "only the same again at once is");
}

/// A desk, an open file with a line, behind which the disk has not taken [`LARGE`]; the pieces are written behind that line.
fn write_behind_a_loss(name: &str, flags: i32, pieces: &[(usize, &[u8])]) -> (Desk, u64) {
    let (desk, twin) = Desk::on_faulty_disk();
    let handle = desk.open(name, flags).unwrap();
    desk.fs.write(handle, 0, LINE).unwrap();
    twin.fail(Op::Write, 0, Some(1), Errno::ENOSPC);
    assert_eq!(desk.fs.write(handle, LINE.len() as u64, LARGE), Err(Errno::ENOSPC));
    for (at, piece) in pieces {
        desk.fs.write(handle, (LINE.len() + at) as u64, piece).unwrap();
    }
    (desk, handle)
}

#[test]
fn nothing_is_committed_without_what_the_disk_did_not_take() {
    for pieces in [&[][..], &[(0, OTHER)], &[(0, &LARGE[..20])], &[(0, OTHER), (OTHER.len(), LARGE)], &[(LARGE.len(), OTHER)]] {
        let (desk, handle) = write_behind_a_loss("x.jsonl", NEW, pieces);
        assert_eq!(desk.close(handle), Err(Errno::ENOSPC), "{pieces:?}");
        assert_eq!(reasons(&desk, "x.jsonl")[0].0, "ENOSPC", "{pieces:?}");
        assert_eq!((desk.commits(), desk.list("staging")), (0, vec!["x.jsonl".to_owned(), "x.jsonl.error".to_owned()]), "{pieces:?}");
        // Neither a touch nor another name makes it whole.
        desk.close(desk.open("x.jsonl", libc::O_WRONLY).unwrap()).unwrap();
        assert_eq!(desk.rename("x.jsonl", "y.jsonl"), Err(Errno::ENOSPC), "{pieces:?}");
        assert_eq!(desk.commits(), 0, "{pieces:?}");
        assert_eq!(desk.drop_file("x.jsonl", &[LINE, LARGE].concat()), Ok(()), "saved again, whole");
        assert_eq!(desk.commits(), 1);
    }
}

#[test]
fn what_the_disk_took_at_another_attempt_is_not_missing() {
    let more = [LARGE, OTHER].concat();
    for pieces in [&[(0, LARGE)][..], &[(0, &more)], &[(0, &LARGE[..20]), (20, &more[20..])], &[(20, &LARGE[20..]), (0, &LARGE[..20])]] {
        for flags in [NEW, NEW | libc::O_APPEND] {
            if flags != NEW && pieces[0].0 > 0 {
                continue;
            }
            let (desk, handle) = write_behind_a_loss("x.jsonl", flags, pieces);
            assert_eq!(desk.close(handle), Ok(()), "{pieces:?}");
            assert_eq!((desk.commits(), &desk.receipt("x.jsonl")["state"]), (1, &Value::from("committed")), "{pieces:?}");
        }
    }
}

#[test]
fn each_of_several_losses_has_to_be_made_good() {
    let lose = |desk: &Desk, twin: &Twin, handle: u64, bytes: &[u8]| {
        twin.fail(Op::Write, 0, Some(1), Errno::ENOSPC);
        assert_eq!(desk.fs.write(handle, 0, bytes), Err(Errno::ENOSPC));
    };
    // The second attempt succeeds, and the first was something else.
    let (desk, twin) = Desk::on_faulty_disk();
    let handle = desk.open("x.jsonl", NEW).unwrap();
    lose(&desk, &twin, handle, LARGE);
    lose(&desk, &twin, handle, OTHER);
    desk.fs.write(handle, 0, OTHER).unwrap();
    assert_eq!(desk.close(handle), Err(Errno::ENOSPC));
    assert_eq!(desk.commits(), 0);
    // A buffer that grows while there is no room is one thing.
    let (desk, twin) = Desk::on_faulty_disk();
    let handle = desk.open("x.jsonl", NEW).unwrap();
    let buffer = LINE.repeat(40);
    (1..=40).for_each(|lines| lose(&desk, &twin, handle, &buffer[..LINE.len() * lines]));
    desk.fs.write(handle, 0, &buffer).unwrap();
    assert_eq!((desk.close(handle), desk.commits()), (Ok(()), 1));
    // More than can be kept apart is not forgotten.
    let (desk, twin) = Desk::on_faulty_disk();
    let handle = desk.open(".x", NEW).unwrap();
    (1..=40).for_each(|cut| lose(&desk, &twin, handle, &buffer[cut..]));
    (0..=40).rev().for_each(|cut| desk.fs.write(handle, 0, &buffer[cut..]).unwrap());
    desk.close(handle).unwrap();
    assert_eq!((desk.rename(".x", "x.jsonl"), desk.commits()), (Err(Errno::ENOSPC), 0));
}

#[test]
fn a_close_also_tells_what_a_refused_file_lacks() {
    let (desk, twin) = Desk::on_faulty_disk();
    desk.drop_file("x.jsonl", STALE).unwrap_err();
    let handle = desk.open("x.jsonl", libc::O_WRONLY | libc::O_APPEND).unwrap();
    twin.fail(Op::Write, 0, Some(1), Errno::ENOSPC);
    assert_eq!(desk.fs.write(handle, 0, LINE), Err(Errno::ENOSPC));
    assert_eq!(desk.close(handle), Err(Errno::ENOSPC));
    assert_eq!(reasons(&desk, "x.jsonl")[0].0, "ENOSPC");
}

#[test]
fn who_cuts_off_what_is_missing_misses_nothing() {
    let (desk, handle) = write_behind_a_loss("x.jsonl", NEW, &[]);
    let cut = |size: usize| {
        let (found, _) = desk.fs.look_up(desk.directory("staging"), "x.jsonl").unwrap();
        desk.fs.set_attributes(found.attr.ino, Changes { size: Some(size as u64), ..Changes::default() }, ME).unwrap();
    };
    cut(LINE.len() + 1);
    assert_eq!(desk.fs.flush(handle).1, Err(Errno::ENOSPC), "longer is not cut off");
    cut(LINE.len());
    assert_eq!((desk.close(handle), desk.commits()), (Ok(()), 1));
}

#[test]
fn a_draft_that_lacks_what_the_disk_did_not_take_is_not_committed_by_a_rename() {
    let (desk, handle) = write_behind_a_loss(".y", NEW, &[]);
    desk.close(handle).unwrap();
    desk.rename(".y", ".z").unwrap();
    assert_eq!(desk.rename(".z", "y.jsonl"), Err(Errno::ENOSPC));
    assert_eq!((desk.commits(), desk.list("staging")), (0, vec![".z".to_owned(), "y.jsonl.error".to_owned()]));
    assert_eq!(reasons(&desk, "y.jsonl"), [("ENOSPC".to_owned(), 0)]);
    assert_eq!(desk.rename(".z", "y.jsonl"), Err(Errno::ENOSPC), "also the second time");
    // It goes on where it was made good, and where it is saved anew.
    let handle = desk.open(".z", libc::O_WRONLY).unwrap();
    desk.fs.write(handle, LINE.len() as u64, LARGE).unwrap();
    desk.close(handle).unwrap();
    assert_eq!((desk.rename(".z", "y.jsonl"), desk.commits()), (Ok(()), 1));
    let (desk, handle) = write_behind_a_loss(".y", NEW, &[]);
    desk.close(handle).unwrap();
    desk.drop_file(".y", OTHER).unwrap();
    assert_eq!((desk.rename(".y", "y.jsonl"), desk.commits()), (Ok(()), 1));
}

#[test]
fn a_draft_that_is_too_large_to_be_renamed_has_a_receipt() {
    let desk = Desk::new();
    let handle = desk.open(".x", NEW).unwrap();
    desk.fs.write(handle, DRAFT_LEN_MAX as u64, b"\n").unwrap();
    desk.close(handle).unwrap();
    assert_eq!(desk.rename(".x", "x.jsonl"), Err(Errno::EFBIG));
    assert_eq!(desk.list("staging"), [".x", "x.jsonl.error"]);
    assert_eq!(reasons(&desk, "x.jsonl"), [("EFBIG".to_owned(), 0)]);
    let receipt = desk.receipt("x.jsonl");
    assert_eq!((&receipt["bytes"], &receipt["draft"]), (&Value::from(DRAFT_LEN_MAX + 1), &Value::from(".x")));
    assert_eq!(desk.drop_file("x.jsonl", OTHER), Ok(()));
    assert_eq!(desk.receipt("x.jsonl")["state"], "committed");
}

/// On a full disk the answer to what was saved before stood as the answer to this.
#[test]
fn a_receipt_that_cannot_be_written_is_remembered_and_the_one_before_is_none() {
    let (desk, twin) = Desk::on_faulty_disk();
    assert_eq!(desk.drop_file("x.jsonl", b"{}\n"), Err(Errno::EINVAL));
    let before = desk.text("staging", "x.jsonl.error").unwrap();
    let full = || twin.fail(Op::Create, 0, None, Errno::ENOSPC);
    full();
    let handle = desk.open("x.jsonl", libc::O_WRONLY | libc::O_TRUNC).unwrap();
    desk.fs.write(handle, 0, LINE).unwrap();
    desk.close(handle).unwrap_or_default();
    let words = desk.text("staging", "x.jsonl.error").unwrap();
    assert_ne!(words, before);
    assert!(words.contains("receipt cannot be written (ENOSPC)") && words.contains("make room"), "{words}");
    assert_eq!(reasons(&desk, "x.jsonl"), [("ENOSPC".to_owned(), 0)]);
    twin.heal();
    assert!(desk.fs.unlink(desk.directory("receipts"), "x.jsonl.json", ME).is_ok(), "it can be removed like any other");
    assert_eq!(desk.drop_file("x.jsonl", LINE), Ok(()));
    assert_eq!(desk.receipt("x.jsonl")["state"], "committed");
}

/// Story: the kernel tells of the last close when close(2) has returned, and a touch that came before the verdict succeeded and did nothing.
#[test]
fn a_touch_while_the_attempt_before_is_decided_is_the_next_one() {
    let desk = Desk::new();
    let handle = desk.open("x.jsonl", NEW).unwrap();
    desk.fs.write(handle, 0, b"{}\n").unwrap_err();
    desk.fs.flush(handle).1.unwrap_err();
    let Release::Commit(file) = desk.fs.release(handle) else { panic!("it was the last close") };
    let ino = desk.fs.look_up(desk.directory("staging"), "x.jsonl").unwrap().0.attr.ino;
    let (begins, begun) = channel();
    std::thread::scope(|scope| {
        let touch = scope.spawn(|| {
            begins.send(()).unwrap();
            desk.fs.try_again(ino, Changes { touched: true, now: true, ..Changes::default() }, || (), || ())
        });
        begun.recv().unwrap();
        desk.fs.decide(handle, &file, || (), || ());
        assert_eq!(touch.join().unwrap(), Err(Errno::EINVAL));
    });
}
