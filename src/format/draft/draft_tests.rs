#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use proptest::prelude::*;
use uuid::Uuid;

use super::DraftKind::{AppendWrite, Document, Lines};
use super::*;
use crate::model::{DraftEvent, Errno, EventId, Expectation, Payload, ResolveRequest, SnapshotRequest};

const EVENT: &str = r#"{"stream":"a-1","type":"Opened","data":{"n":1.50}}"#;

fn opened(line: u64) -> DraftEvent {
    DraftEvent {
        event_id: None,
        stream_id: "a-1".to_owned(),
        event_type: "Opened".to_owned(),
        event_data: Payload::checked("{\"n\":1.50}".to_owned()),
        metadata: Payload::default(),
        line,
    }
}

/// The reasons as a person reads them.
fn reasons(text: &str, kind: DraftKind) -> Vec<String> {
    let rejection = parse_draft(text.as_bytes(), kind).unwrap_err();
    assert!(rejection.reasons.iter().all(|reason| reason.errno == Errno::EINVAL));
    rejection.reasons.iter().map(ToString::to_string).collect()
}

fn only_reason(text: &str, kind: DraftKind) -> String {
    let reasons = reasons(text, kind);
    assert_eq!(reasons.len(), 1, "{text}: {reasons:?}");
    reasons[0].clone()
}

#[test]
fn short_and_long_names_say_the_same() {
    let long = r#"{"stream_id":"a-1","event_type":"Opened","event_data":{"n":1.50},"metadata":{}}"#;
    for text in [EVENT.to_owned(), long.to_owned(), format!("\n  \n{EVENT}\r\n"), format!("\u{feff}{EVENT}\n")] {
        let line = if text.starts_with('\n') { 3 } else { 1 };
        assert_eq!(parse_draft(text.as_bytes(), Lines).unwrap().events, [opened(line)], "{text}");
        assert_eq!(parse_draft(text.as_bytes(), Document).unwrap().events, [opened(line)], "{text}");
    }
}

#[test]
fn white_space_is_what_json_calls_so() {
    for kind in [Lines, Document] {
        let text = format!(" \t\r\n{EVENT} \t\r\n");
        assert_eq!(parse_draft(text.as_bytes(), kind).unwrap().events.len(), 1, "{kind:?}");
        for text in [format!("\u{c}{EVENT}\n"), format!("{EVENT}\u{c}\n"), format!("{EVENT}\n\u{c}\n")] {
            assert!(only_reason(&text, kind).contains("not JSON"), "{text:?}");
        }
    }
    assert!(only_reason(&format!("\u{c}{EVENT}\n"), AppendWrite).contains("not JSON"));
}

#[test]
fn a_header_comes_first() {
    let header = r#"{"expect":{"a":7,"b":"none","c":"exists","d":"any","e":0},"key":"k","count":1,"resolve":"0123456789ab"}"#;
    let expected = Draft {
        expect: [
            ("a", Expectation::Version(7)),
            ("b", Expectation::None),
            ("c", Expectation::Exists),
            ("d", Expectation::Any),
            ("e", Expectation::None),
        ]
        .map(|(stream, expectation)| (stream.to_owned(), expectation))
        .to_vec(),
        key: Some("k".to_owned()),
        count: Some(1),
        resolve: Some(ResolveRequest { conflict: "0123456789ab".to_owned() }),
        snapshot: None,
        unwritten: Vec::new(),
        events: vec![opened(2)],
    };
    assert_eq!(parse_draft(format!("{header}\n{EVENT}").as_bytes(), Lines).unwrap(), expected);
    assert_eq!(parse_draft(format!("[{header},\n{EVENT}]").as_bytes(), Document).unwrap(), expected);
    let with_events = header.replace("\"count\"", &format!("\"events\":\n[{EVENT}],\"count\""));
    assert_eq!(parse_draft(with_events.as_bytes(), Document).unwrap(), expected);
    let one_line = with_events.replace('\n', "") + "\n";
    let in_array = format!("[{header},{EVENT}]\n");
    for kind in [Document, AppendWrite] {
        assert_eq!(parse_draft(in_array.as_bytes(), kind).unwrap(), Draft { events: vec![opened(1)], ..expected.clone() });
    }
    assert_eq!(parse_draft(one_line.as_bytes(), AppendWrite).unwrap(), Draft { events: vec![opened(1)], ..expected });
    assert_eq!(only_reason(&format!("{EVENT}\n{{\"key\":\"k\"}}"), Lines), "line 2, column 1: header does not come first");
    assert_eq!(reasons("{\"key\":\"k\"}\n{\"key\":\"k\"}\n", Lines), ["line 2, column 1: header does not come first"]);
}

#[test]
fn a_pretty_document_becomes_lines_without_changed_tokens() {
    let text = "{\n  \"stream\": \"a\",\n  \"type\": \"T\",\n  \"data\": {\n    \"x y\": [ 1.50,\r\n 1E2 ],\n    \"s\": \"a  \\n\\\" b\"\n  },\n  \"metadata\": { \"kept\" : 1 }\n}\n";
    let draft = parse_draft(text.as_bytes(), Document).unwrap();
    assert_eq!(draft.events[0].event_data, r#"{"x y":[1.50,1E2],"s":"a  \n\" b"}"#);
    assert_eq!(draft.events[0].metadata, "{ \"kept\" : 1 }");
}

#[test]
fn a_snapshot_stands_alone() {
    let text = r#"{"snapshot":{"name":"s/1","versions":{"a":3}},"state":{ "kept" : 1.50 }}"#;
    let snapshot = SnapshotRequest {
        name: "s/1".to_owned(),
        seq_nr: None,
        versions: vec![("a".to_owned(), 3)],
        state: "{ \"kept\" : 1.50 }".parse().unwrap(),
    };
    assert_eq!(parse_draft(text.as_bytes(), Lines).unwrap().snapshot, Some(snapshot));
    let by_seq = text.replace("\"versions\":{\"a\":3}", "\"seq_nr\":9");
    assert_eq!(parse_draft(by_seq.as_bytes(), Document).unwrap().snapshot.unwrap().seq_nr, Some(9));
    assert_eq!(only_reason(&format!("{text}\n{EVENT}"), Lines), "draft has a snapshot and events");
    assert_eq!(only_reason(r#"{"snapshot":{"name":"s","seq_nr":1}}"#, Lines), "line 1, column 13: snapshot has no \"state\" beside it");
    assert_eq!(reasons(r#"{"state":1}"#, Lines)[0], "line 1, column 10: state has no \"snapshot\" beside it");
    assert_eq!(only_reason(r#"{"snapshot":{"name":"s"},"state":1}"#, Lines), "line 1, column 13: snapshot does not say what it covers");
    assert_eq!(
        reasons(r#"{"snapshot":{"name":"","seq_nr":1,"seq_nr":2,"of":3},"state":1,"key":"k"}"#, Lines),
        [
            "line 1, column 13: snapshot stands with other keys than \"state\"",
            "line 1, column 13: snapshot's name has 0 characters, 1 to 255 are allowed",
            "line 1, column 35: key \"seq_nr\" stands in the snapshot twice",
            "line 1, column 46: key \"of\" is not known",
        ]
    );
}

#[test]
fn nothing_is_an_empty_draft() {
    for kind in [Lines, Document] {
        assert!(is_nothing(&parse_draft(b"", kind).unwrap()));
        for text in ["\n", " \r\n\t\n", "\u{feff}"] {
            assert_eq!(only_reason(text, kind), "draft holds no event", "{text:?}");
            // More may follow.
            let mut checker = LineChecker::new(kind);
            checker.push(text.as_bytes()).unwrap();
            checker.check().unwrap();
        }
    }
    assert!(!is_nothing(&parse_draft(EVENT.as_bytes(), Lines).unwrap()));
    assert!(!is_nothing(&parse_draft(br#"{"resolve":"0123456789ab","events":[]}"#, Document).unwrap()));
    assert_eq!(only_reason("[]", Document), "line 1, column 1: array is empty");
    assert_eq!(only_reason(r#"{"expect":{"a":1}}"#, Lines), "draft has a header and no event");
}

#[test]
fn every_reason_is_told_at_once() {
    let text = [
        r#"{"expect":{"a":-1,"a*":1,"b":1,"b":2},"key":"","count":"2","resolve":"x","more":1}"#,
        r#"{"stream":" a","stream_id":"b","type":"","position":3,"data":1e999,"event_id":"1","colour":2,"key":"k"}"#,
        r#"{"metadata":"\ud800"}"#,
        "[1]",
        "{\"a\":1,}",
        "7",
        "{\"a\":",
    ];
    assert_eq!(
        reasons(&text.join("\n"), Lines),
        [
            "line 1, column 16: expectation of stream \"a\" is not known",
            "line 1, column 19: stream id \"a*\" contains \"*\", none of \"* ? [ ]\" is allowed",
            "line 1, column 32: stream \"b\" is named twice",
            "line 1, column 45: key has 0 characters, 1 to 128 are allowed",
            "line 1, column 56: \"count\" is not a whole number from 0",
            "line 1, column 70: \"resolve\" \"x\" is not the id of a conflict",
            "line 1, column 74: key \"more\" is not known",
            "line 2, column 11: stream id \" a\" begins or ends with white space",
            "line 2, column 16: key \"stream_id\" gives \"stream_id\" a second time",
            "line 2, column 39: event_type \"\" is empty",
            "line 2, column 42: key \"position\" is given by the store",
            "line 2, column 62: number is too large for a 64-bit float",
            "line 2, column 79: event_id \"1\" is not a UUID",
            "line 2, column 83: key \"colour\" is not known",
            "line 2, column 94: key \"key\" belongs in a header",
            "line 3, column 1: event has no \"stream_id\"",
            "line 3, column 1: event has no \"event_type\"",
            "line 3, column 1: event has no \"event_data\"",
            "line 3, column 14: escape is half of a surrogate pair",
            "line 4, column 1: line is an array, one JSON object a line is expected",
            "line 5, column 8: not JSON: key must be a string",
            "line 6, column 1: value is neither an event nor a header",
            "line 7, column 5: JSON is unfinished",
        ]
    );
}

#[test]
fn places_in_a_document_are_its_lines() {
    let text = format!("[\n {EVENT},\n 5,\n {{\"stream\":\"b\",\"type\":\"T\",\n\"data\":\n  1e999 }}\n]");
    assert_eq!(
        reasons(&text, Document),
        ["line 3, column 2: element is neither an event nor a header", "line 6, column 3: number is too large for a 64-bit float"]
    );
    assert_eq!(only_reason("{\n\"a\" 1}", Document), "line 2, column 5: not JSON: expected `:`");
    assert_eq!(only_reason(&format!("{EVENT}\n{EVENT}"), Document), "line 2, column 1: not JSON: trailing characters");
    let rejection = parse_draft(b"{}\n{\"a\":\"\xff\"}\n", Lines).unwrap_err();
    assert_eq!(rejection.reasons.last().unwrap().to_string(), "line 2, column 7: text is not UTF-8");
}

#[test]
fn an_append_is_exactly_one_line() {
    let parse = |text: &str| parse_draft(text.as_bytes(), AppendWrite);
    assert_eq!(parse(&format!("{EVENT}\n")).unwrap().events, [opened(1)]);
    assert_eq!(parse(&format!("[{EVENT}, {EVENT}]\n")).unwrap().events, [opened(1), opened(1)]);
    assert_eq!(only_reason(EVENT, AppendWrite), "line has no end");
    assert_eq!(only_reason(&format!("{EVENT}\n{EVENT}\n"), AppendWrite), "write holds more than one line");
    assert_eq!(only_reason("\n", AppendWrite), "draft holds no event");
    assert_eq!(only_reason("", AppendWrite), "line has no end");
}

#[test]
fn an_event_id_stands_once() {
    let id = Uuid::from_u128(77);
    let with_id = EVENT.replace("\"stream\"", &format!("\"event_id\":\"{id}\",\"stream\""));
    assert_eq!(parse_draft(with_id.as_bytes(), Lines).unwrap().events[0].event_id, Some(EventId(id)));
    let twice = only_reason(&format!("{with_id}\n{with_id}\n"), Lines);
    assert_eq!(twice, format!("line 2, column 13: event_id \"{id}\" stands in the draft twice"));
}

#[test]
fn a_bad_line_is_refused_by_the_write_that_ends_it() {
    let mut checker = LineChecker::new(Lines);
    assert!(checker.push(EVENT.as_bytes()).is_ok());
    assert!(checker.draft().events.is_empty());
    assert!(checker.push(b"\n{\"stream\":").is_ok());
    assert_eq!(checker.draft().events, [opened(1)]);
    assert!(checker.check().is_ok(), "an unfinished end is no fault yet");
    assert!(checker.push(b"5}").is_ok());
    assert_eq!(checker.check().unwrap_err().reasons[0].line, Some(2));
    assert!(checker.push(b" ").is_ok(), "what was only tried is taken back");
    assert_eq!(checker.push(b"\n").unwrap_err().reasons.len(), 3);
    assert!(checker.push(b"").is_err(), "it stays refused");
    assert_eq!(checker.finish().unwrap_err().reasons.len(), 3);
}

#[test]
fn a_flush_tries_the_end_and_takes_it_back() {
    let id = Uuid::from_u128(7);
    let line = format!("{{\"key\":\"k\",\"events\":[{}]}}", EVENT.replace("\"stream\"", &format!("\"event_id\":\"{id}\",\"stream\"")));
    for kind in [Lines, Document] {
        let mut checker = LineChecker::new(kind);
        checker.push(line.as_bytes()).unwrap();
        for _ in 0..2 {
            assert_eq!(checker.check().unwrap().events.len(), 1);
            assert!(is_nothing(checker.draft()));
        }
        assert_eq!(checker.finish().unwrap().events.len(), 1);
        let mut checker = LineChecker::new(kind);
        checker.push(b"[1").unwrap();
        checker.check().unwrap();
        checker.push(b"]").unwrap();
        checker.check().unwrap_err();
    }
    let mut cut = LineChecker::new(Document);
    cut.push("{\"stream\":\"é".as_bytes().split_last().unwrap().1).unwrap();
    cut.check().unwrap();
}

#[test]
fn a_check_gives_what_no_check_before_has_given_unless_the_whole_is_to_be_judged() {
    let id = Uuid::from_u128(7);
    let with_id = EVENT.replace("\"stream\"", &format!("\"event_id\":\"{id}\",\"stream\""));
    let given = |lines: &[&str]| {
        let mut checker = LineChecker::new(Lines);
        let given = lines.iter().map(|line| {
            checker.push(line.as_bytes()).unwrap();
            let draft = checker.check().unwrap();
            (draft.expect.len(), draft.events.iter().map(|event| event.line).collect::<Vec<_>>())
        });
        given.collect::<Vec<_>>()
    };
    let header = "{\"expect\":{\"s\":1}}\n";
    let line = format!("{EVENT}\n");
    let plain = [(1, vec![]), (1, vec![2]), (1, vec![]), (1, vec![3]), (1, vec![3, 4])];
    assert_eq!(given(&[header, &line, "", EVENT, &format!("\n{line}")]), plain, "an end that may go on is given again");
    let key = "{\"key\":\"k\"}\n";
    assert_eq!(given(&[key, &line, &line]), [(0, vec![]), (0, vec![2]), (0, vec![2, 3])]);
    assert_eq!(given(&[&line, &format!("{with_id}\n"), &line]), [(0, vec![1]), (0, vec![1, 2]), (0, vec![1, 2, 3])]);
}

#[test]
fn names_tell_the_kind() {
    assert_eq!(
        ["x.jsonl", "x.json", "x", "x.jsonl~", ".json.swp"].map(DraftKind::of_name),
        [Some(Lines), Some(Document), None, None, None]
    );
}

fn drafts() -> impl Strategy<Value = Draft> {
    let payload = prop::sample::select(vec!["{}", "[1.50, {\"a\" : null}]", "\"\\ud83d\\ude00 \\n\"", "-0.0", "{\"k\":{\"\":[]}}"]);
    let stream = "[a-zé/\"\\\\]{1,8}";
    let event = (proptest::option::of(any::<u128>()), stream, "\\PC{1,6}", payload.clone(), payload).prop_map(
        |(id, stream_id, event_type, data, metadata)| DraftEvent {
            event_id: id.map(|id| EventId(Uuid::from_u128(id))),
            stream_id,
            event_type,
            event_data: data.parse().unwrap(),
            metadata: metadata.parse().unwrap(),
            line: 0,
        },
    );
    let expectation = prop_oneof![
        (1..=u64::MAX).prop_map(Expectation::Version),
        Just(Expectation::None),
        Just(Expectation::Exists),
        Just(Expectation::Any)
    ];
    let expect = proptest::collection::btree_map(stream, expectation, 0..3).prop_map(|expect| expect.into_iter().collect());
    (expect, proptest::option::of("\\PC{1,8}"), any::<bool>(), proptest::option::of("[0-9a-f]{12}"), proptest::collection::vec(event, 1..4))
        .prop_map(|(expect, key, counts, conflict, events)| Draft {
            expect,
            key,
            count: counts.then_some(events.len() as u64),
            resolve: conflict.map(|conflict| ResolveRequest { conflict }),
            snapshot: None,
            unwritten: Vec::new(),
            events,
        })
}

fn without_lines(mut draft: Draft) -> Draft {
    draft.events.iter_mut().for_each(|event| event.line = 0);
    draft
}

proptest! {
    #[test]
    fn what_is_rendered_is_read_back(draft in drafts(), seq_nr in proptest::option::of(any::<u64>())) {
        prop_assert_eq!(without_lines(parse_draft(render_draft(&draft).as_bytes(), Lines).unwrap()), draft.clone());
        for kind in [Document, AppendWrite, Lines] {
            prop_assert_eq!(without_lines(parse_draft(render_document(&draft).as_bytes(), kind).unwrap()), draft.clone());
        }
        let versions = if seq_nr.is_some() { Vec::new() } else { vec![("a/\"b".to_owned(), 3)] };
        let snapshot = Draft { snapshot: Some(SnapshotRequest { name: "s".to_owned(), seq_nr, versions, state: "[1.0]".parse().unwrap() }), ..Draft::default() };
        prop_assert_eq!(parse_draft(render_draft(&snapshot).as_bytes(), Lines).unwrap(), snapshot.clone());
        prop_assert_eq!(parse_draft(render_document(&snapshot).as_bytes(), Document).unwrap(), snapshot);
    }

    #[test]
    fn in_pieces_as_in_one(draft in drafts(), edits in proptest::collection::vec((any::<prop::sample::Index>(), prop::sample::select(b"{}[]\",:\\\n 0e9u\xff".to_vec())), 0..3), size in 1_usize..40) {
        let mut bytes = render_draft(&draft).into_bytes();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        for kind in [Lines, Document, AppendWrite] {
            let mut checker = LineChecker::new(kind);
            let mut refused = false;
            for piece in bytes.chunks(size) {
                refused |= checker.push(piece).is_err();
                let _ = checker.check();
            }
            let whole = parse_draft(&bytes, kind);
            prop_assert!(!refused || whole.is_err());
            prop_assert_eq!(checker.finish(), whole);
        }
    }
}
