//! What is left of a draft, and what its receipt says, where a system call has already refused it.

use serde_json::Value;

use super::model_tests::table::{LINE, OTHER};
use super::staging_tests::{Desk, NEW};
use crate::format::draft::DRAFT_LEN_MAX;
use crate::model::Errno;

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
