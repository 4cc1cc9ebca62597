//! What is put together and not read is refused for the reasons of a file that says the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use super::DraftKind::{Document, Lines};
use super::*;
use crate::model::{DraftEvent, Errno, EventId, Expectation, Payload, ResolveRequest, SnapshotRequest};

fn event() -> DraftEvent {
    parse_draft(br#"{"stream":"s","type":"T","data":1}"#, Lines).unwrap().events.remove(0)
}

fn with(change: impl FnOnce(&mut Draft)) -> Draft {
    let mut draft = Draft { events: vec![event()], ..Draft::default() };
    change(&mut draft);
    draft
}

fn reasons(checked: Result<(), Rejection>) -> Vec<(Errno, String, String)> {
    let rejection = checked.unwrap_err();
    rejection.reasons.into_iter().map(|reason| (reason.errno, reason.message, reason.hint)).collect()
}

#[test]
fn a_draft_is_refused_for_the_reasons_of_its_file() {
    let id = EventId(uuid::Uuid::from_u128(7));
    let state = || SnapshotRequest { name: "sum".to_owned(), seq_nr: Some(1), versions: Vec::new(), state: Payload::default() };
    let named = |name: &str| {
        with(|draft| (draft.events, draft.snapshot) = (Vec::new(), Some(SnapshotRequest { name: name.to_owned(), ..state() })))
    };
    let streams = ["", " a", "a*", &"x".repeat(256)];
    let written = streams.map(|stream| with(|draft| stream.clone_into(&mut draft.events[0].stream_id)));
    let stated = streams.map(|stream| with(|draft| draft.expect.push((stream.to_owned(), Expectation::Exists))));
    let keys = ["", &"k".repeat(KEY_CHARS_MAX + 1)].map(|key| with(|draft| draft.key = Some(key.to_owned())));
    let counts = [0, 2, 7].map(|count| with(|draft| draft.count = Some(count)));
    let states = [
        named(""),
        named(&"n".repeat(SNAPSHOT_NAME_CHARS_MAX + 1)),
        with(|draft| draft.snapshot = Some(state())),
        with(|draft| (draft.events, draft.snapshot, draft.key) = (Vec::new(), Some(state()), Some("k".to_owned()))),
        with(|draft| {
            draft.events.clear();
            draft.snapshot =
                Some(SnapshotRequest { seq_nr: None, versions: ["s", "s", "t*"].map(|stream| (stream.to_owned(), 1)).into(), ..state() });
        }),
    ];
    let others = [
        with(|draft| draft.events[0].event_type.clear()),
        with(|draft| draft.events.push(DraftEvent { stream_id: String::new(), line: 3, ..event() })),
        with(|draft| draft.events = vec![DraftEvent { event_id: Some(id), ..event() }; 2]),
        with(|draft| draft.events[0].event_data = format!("\"{}\"", "x".repeat(LINE_LEN_MAX)).parse().unwrap()),
        with(|draft| draft.events = vec![event(); EVENTS_MAX + 1]),
        with(|draft| draft.expect = ["s", "s"].map(|stream| (stream.to_owned(), Expectation::Any)).into()),
        with(|draft| (draft.events, draft.key) = (Vec::new(), Some("k".to_owned()))),
        with(|draft| draft.resolve = Some(ResolveRequest { conflict: "12".to_owned() })),
    ];
    for draft in written.into_iter().chain(stated).chain(keys).chain(counts).chain(states).chain(others) {
        // As a document, a state goes without events.
        let has_state = draft.snapshot.is_some();
        let (text, kind) = if has_state { (render_draft(&draft), Lines) } else { (render_document(&draft), Document) };
        let read = parse_draft(text.as_bytes(), kind).map(drop);
        assert_eq!(reasons(check_draft(&draft)), reasons(read), "{:?}", (draft.expect, draft.key, draft.snapshot));
    }
}

#[test]
fn a_whole_draft_has_its_limit_and_what_is_read_passes() {
    let large = format!("\"{}\"", "x".repeat(LINE_LEN_MAX - 100));
    let draft = |events| with(|draft| draft.events = vec![DraftEvent { event_data: large.parse().unwrap(), ..event() }; events]);
    check_draft(&draft(4)).unwrap();
    assert_eq!(check_draft(&draft(5)).unwrap_err().errno(), Errno::EFBIG);
    // A merge without events has nothing to say.
    check_draft(&Draft::default()).unwrap();
    let read = r#"{"expect":{"s":"any"},"key":"k","count":1,"resolve":"0123456789ab","events":[{"stream":"s","type":"T","data":[1]}]}"#;
    check_draft(&parse_draft(read.as_bytes(), Document).unwrap()).unwrap();
    let state = r#"{"snapshot":{"name":"s","versions":{}},"state":1}"#;
    check_draft(&parse_draft(state.as_bytes(), Document).unwrap()).unwrap();
}

#[test]
fn a_payload_is_one_json_value_that_can_be_read_back() {
    let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let refused = |text: &str| text.parse::<Payload>().unwrap_err().to_string();
    assert_eq!(refused("[1,\n 1e999]"), "line 2, column 2: number is too large for a 64-bit float");
    let reserved = "[{\"$serde_json::private::RawValue\":\"1\"}]";
    assert_eq!(refused(reserved), "line 1, column 2: first key of an object is one that serde_json keeps for itself");
    assert_eq!(refused("\"\\ud800\""), "line 1, column 2: escape is half of a surrogate pair");
    assert_eq!(refused(&deep(127)), "line 1, column 127: nesting is deeper than 126");
    for none in ["", " ", "not json", "1 2", "1},\"x\":{\"a\":2", "{", "\u{feff}1"] {
        assert!(none.parse::<Payload>().is_err(), "{none}");
    }
    assert_eq!(" {\r\n \"a\" : 1.50 }\n".parse::<Payload>().unwrap(), "{\"a\":1.50}");
    assert_eq!("{ \"a\" : 1.50 }".parse::<Payload>().unwrap(), "{ \"a\" : 1.50 }");
    deep(126).parse::<Payload>().unwrap();
}
