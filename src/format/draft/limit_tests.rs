//! Every limit, and one past it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use super::DraftKind::{AppendWrite, Document, Lines};
use super::*;
use crate::format::transaction::STREAM_ID_CHARS_MAX;
use crate::model::Errno;

fn event(stream: &str, data: &str) -> String {
    format!("{{\"stream\":\"{stream}\",\"type\":\"T\",\"data\":{data}}}")
}

/// An event of exactly that many bytes.
fn event_of_len(len: usize) -> String {
    event("a", &format!("\"{}\"", "x".repeat(len - event("a", "\"\"").len())))
}

fn errno(text: &str, kind: DraftKind) -> Option<Errno> {
    parse_draft(text.as_bytes(), kind).err().map(|rejection| rejection.errno())
}

#[test]
fn characters() {
    assert_eq!(errno(&event(&"é".repeat(STREAM_ID_CHARS_MAX), "1"), Lines), None);
    assert_eq!(errno(&event(&"é".repeat(STREAM_ID_CHARS_MAX + 1), "1"), Lines), Some(Errno::EINVAL));
    let with_key = |chars| format!("{{\"key\":\"{}\"}}\n{}", "é".repeat(chars), event("a", "1"));
    assert_eq!(errno(&with_key(KEY_CHARS_MAX), Lines), None);
    assert_eq!(errno(&with_key(KEY_CHARS_MAX + 1), Lines), Some(Errno::EINVAL));
    let snapshot = |chars| format!("{{\"snapshot\":{{\"name\":\"{}\",\"seq_nr\":1}},\"state\":1}}", "é".repeat(chars));
    assert_eq!(errno(&snapshot(SNAPSHOT_NAME_CHARS_MAX), Lines), None);
    assert_eq!(errno(&snapshot(SNAPSHOT_NAME_CHARS_MAX + 1), Lines), Some(Errno::EINVAL));
}

#[test]
fn nesting() {
    let deep = |n: usize| "[".repeat(n) + &"]".repeat(n);
    for (depth, refused) in [(NESTING_MAX, None), (NESTING_MAX + 1, Some(Errno::EINVAL)), (100_000, Some(Errno::EINVAL))] {
        assert_eq!(errno(&event("a", &deep(depth)), Lines), refused, "{depth}");
        assert_eq!(errno(&format!("[{}]", event("a", &deep(depth))), Document), refused, "{depth}");
        assert_eq!(errno(&format!("{{\"events\":[{}]}}", event("a", &deep(depth))), Document), refused, "{depth}");
        assert_eq!(
            errno(&format!("{{\"snapshot\":{{\"name\":\"s\",\"seq_nr\":1}},\"state\":{}}}", deep(depth)), Document),
            refused,
            "{depth}"
        );
    }
    assert_eq!(errno(&deep(100_000), Document), Some(Errno::EINVAL));
    assert_eq!(errno(&"[".repeat(100_000), Lines), Some(Errno::EINVAL));
}

#[test]
fn bytes_of_a_line() {
    let at_limit = event_of_len(LINE_LEN_MAX);
    assert_eq!(errno(&at_limit, Lines), None);
    assert_eq!(errno(&(at_limit + " \n"), Lines), Some(Errno::EFBIG));
}

#[test]
fn bytes_of_a_line_without_end() {
    let mut endless = LineChecker::new(Lines);
    endless.push(&vec![b' '; LINE_LEN_MAX]).unwrap();
    assert_eq!(endless.push(b" ").unwrap_err().errno(), Errno::EFBIG);
}

#[test]
fn bytes_of_an_event_in_a_document() {
    let data = |len: usize| format!("[\n{}\n]", event("a", &format!("\"{}\"", "x".repeat(len - 4))));
    assert_eq!(errno(&data(LINE_LEN_MAX), Document), None);
    assert_eq!(errno(&data(LINE_LEN_MAX + 1), Document), Some(Errno::EFBIG));
}

#[test]
fn bytes_of_a_draft() {
    let mut line = vec![b' '; 1 << 20];
    line[(1 << 20) - 1] = b'\n';
    for kind in [Lines, Document] {
        let mut checker = LineChecker::new(kind);
        for _ in 0..DRAFT_LEN_MAX >> 20 {
            checker.push(&line).unwrap();
        }
        assert_eq!(checker.push(b"\n").unwrap_err().errno(), Errno::EFBIG);
        assert!(checker.push(&line).is_err());
        let refused = checker.finish().unwrap_err();
        // More may come than was looked at, and staging/ has the same limit.
        assert_eq!(
            (refused.to_string().as_str(), refused.reasons[0].hint.as_str()),
            ("draft has more than 67108864 bytes", "cut it into several")
        );
    }
}

#[test]
fn bytes_of_an_append() {
    assert_eq!(errno(&(event_of_len(APPEND_LEN_MAX - 1) + "\n"), AppendWrite), None);
    assert_eq!(errno(&(event_of_len(APPEND_LEN_MAX) + "\n"), AppendWrite), Some(Errno::EFBIG));
}

#[test]
fn events() {
    let line = event("a", "1") + "\n";
    let mut checker = LineChecker::new(Lines);
    checker.push(line.repeat(EVENTS_MAX).as_bytes()).unwrap();
    assert_eq!(checker.draft().events.len(), EVENTS_MAX);
    assert_eq!(checker.push(line.as_bytes()).unwrap_err().errno(), Errno::EFBIG);
}

#[test]
fn count() {
    let count = |n: usize, count: usize| errno(&format!("{{\"count\":{count}}}\n{}", (event("a", "1") + "\n").repeat(n)), Lines);
    assert_eq!((count(2, 2), count(2, 3), count(3, 2)), (None, Some(Errno::EINVAL), Some(Errno::EINVAL)));
}

#[test]
fn keys_of_a_header() {
    let header = |streams: usize| {
        let expect: Vec<String> = (0..streams).map(|n| format!("\"{n}\":1")).collect();
        format!("{{\"expect\":{{{}}}}}\n{}", expect.join(","), event("a", "1"))
    };
    assert_eq!(errno(&header(EVENTS_MAX), Lines), None);
    assert_eq!(errno(&header(EVENTS_MAX + 1), Lines), Some(Errno::EFBIG));
}

#[test]
fn events_of_an_array() {
    let array = array_of(EVENTS_MAX);
    assert_eq!(parse_draft(array.as_bytes(), Document).unwrap().events.len(), EVENTS_MAX);
}

#[test]
fn too_many_events_of_an_array() {
    assert_eq!(errno(&array_of(EVENTS_MAX + 1), Document), Some(Errno::EFBIG));
}

fn array_of(events: usize) -> String {
    format!("[{{\"key\":\"k\"}}{}]", (",".to_owned() + &event("a", "1")).repeat(events))
}

#[test]
fn reasons() {
    let reasons = |n: usize| parse_draft("5\n".repeat(n).as_bytes(), Lines).unwrap_err().reasons;
    assert_eq!(reasons(REASONS_MAX).len(), REASONS_MAX);
    let more = reasons(REASONS_MAX + 3);
    assert_eq!((more.len(), more[REASONS_MAX].message.as_str()), (REASONS_MAX + 1, "and 3 more"));
}
