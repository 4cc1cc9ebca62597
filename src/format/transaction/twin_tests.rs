//! What we accept and refuse, compared with a twin of the records that `eventcore-fs` 2.1.0 reads.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, dead_code)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::*;
use crate::model::{Header, ReplicaId, TransactionId};

struct TwinId(Uuid);

impl<'de> Deserialize<'de> for TwinId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

#[derive(Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
enum Twin {
    Header(TwinHeader),
    Event(TwinEvent),
}

#[derive(Deserialize)]
struct TwinHeader {
    format_version: u32,
    transaction_id: TwinId,
    replica_id: TwinId,
    parent_transaction_ids: Vec<TwinId>,
    created_at: String,
    stream_bases: BTreeMap<String, usize>,
    #[serde(default)]
    content_hash: Option<String>,
}

#[derive(Deserialize)]
struct TwinEvent {
    event_id: TwinId,
    stream_id: String,
    stream_version: usize,
    event_type: String,
    event_data: Value,
    metadata: Value,
}

/// The events that the twin reads, or none if it refuses the file.
fn twin(bytes: &[u8]) -> Option<(TwinHeader, Vec<TwinEvent>)> {
    let (line, payload) = std::str::from_utf8(bytes).ok()?.split_once('\n')?;
    let Ok(Twin::Header(header)) = serde_json::from_str(line) else { return None };
    if header.content_hash.as_ref().is_some_and(|expected| *expected != hex(&content_hash(payload.as_bytes()))) {
        return None;
    }
    let mut events = Vec::new();
    for line in payload.lines().filter(|line| !line.trim().is_empty()) {
        let Ok(Twin::Event(event)) = serde_json::from_str(line) else { return None };
        events.push(event);
    }
    Some((header, events))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn header() -> Header {
    Header {
        format_version: 2,
        transaction_id: TransactionId(Uuid::from_u128(7)),
        replica_id: ReplicaId(Uuid::from_u128(9)),
        parents: vec![TransactionId(Uuid::from_u128(1)), TransactionId(Uuid::from_u128(2))],
        created_at: "2026-11-21T22:17:35.129118736+00:00".to_owned(),
        stream_bases: Vec::new(),
        content_hash: None,
        resolves: Vec::new(),
        key: None,
    }
}

/// A file with that many events.
pub(super) fn sample(events: u64) -> Vec<u8> {
    sample_of(events, "b/\"c")
}

fn sample_of(events: u64, stream: &str) -> Vec<u8> {
    let events: Vec<_> = (1..=events)
        .map(|n| EncodeEvent {
            event_id: EventId(Uuid::from_u128(u128::from(n))),
            stream_id: stream,
            stream_version: n,
            event_type: "Opened",
            event_data: r#"{"n":1, "list":[1.50,"\u00e9",null]}"#,
            metadata: "{}",
        })
        .collect();
    let stream_bases = vec![("a".to_owned(), 0), (stream.to_owned(), 12)];
    encode(&Header { stream_bases, ..header() }, &events)
}

/// Reads as the store does: normal first.
fn ours(bytes: &[u8]) -> Result<(Normal<'_>, usize, Vec<Oddity>), Refusal> {
    let normal = normalize(bytes)?;
    let (events, more) = parse_events(normal.payload())?;
    let (count, oddities) = (events.len(), [normal.oddities.clone(), more].concat());
    Ok((normal, count, oddities))
}

/// Story: a store with one such event opened no more in the other program, and neither `verify` nor `doctor` knew.
#[test]
fn what_the_other_program_takes_for_a_value_of_its_own_is_told() {
    for data in [r#"{"$serde_json::private::RawValue":"{"}"#, r#"[{"\u0024serde_json::private::RawValue" : 7}]"#] {
        let event = EncodeEvent {
            event_id: EventId(Uuid::from_u128(1)),
            stream_id: "a",
            stream_version: 1,
            event_type: "Opened",
            event_data: data,
            metadata: "{}",
        };
        let bytes = encode(&header(), &[event]);
        assert!(agree(&bytes), "we read {data}");
        assert!(twin(&bytes).is_none(), "{data}");
        let (_, _, oddities) = ours(&bytes).unwrap();
        assert_eq!(oddities.iter().map(|oddity| oddity.kind).collect::<Vec<_>>(), [OddityKind::Unreadable], "{oddities:?}");
    }
}

proptest! {
    #[test]
    fn lines_are_those_of_std(text in "(a|é|\r|\n){0,9}") {
        prop_assert!(super::parse::lines(&text).eq(text.lines()));
    }
}

/// Fails unless both read the file alike, but for what FORMAT.md has us accept.
fn agree(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).into_owned();
    text.lines().for_each(both_ways_agree);
    match (twin(bytes), ours(bytes)) {
        (Some((header, events)), Ok((normal, count, oddities))) => {
            assert_eq!(normal.healing, None, "{text}");
            assert_eq!((events.len(), header.created_at), (count, normal.header.created_at), "{text}");
            assert_eq!(
                header.stream_bases.into_iter().map(|(name, n)| (name, n as u64)).collect::<BTreeMap<_, _>>(),
                normal.header.stream_bases.into_iter().collect()
            );
            assert!(!oddities.iter().any(|oddity| oddity.kind == OddityKind::Unreadable), "{text}: {oddities:?}");
            true
        }
        (None, Err(_)) => false,
        (None, Ok((normal, _, oddities))) => {
            let allowed = normal.healing.is_some() || oddities.iter().any(|oddity| oddity.kind == OddityKind::Unreadable);
            assert!(allowed, "only we read {text}");
            true
        }
        (Some(_), Err(refusal)) => panic!("only we refuse {text}: {refusal}"),
    }
}

/// The file without its hash, so that what is changed behind the header is looked at.
fn unhashed(events: u64) -> String {
    unhashed_of(&sample(events))
}

fn unhashed_of(file: &[u8]) -> String {
    let text = String::from_utf8(file.to_vec()).unwrap();
    let (before, after) = text.split_once(",\"content_hash\":\"").unwrap();
    format!("{before}{}", &after[65..])
}

/// The fast way reads nothing that the general one refuses or reads otherwise.
fn both_ways_agree(line: &str) {
    if let Some(header) = canonical::parse_header(line) {
        let raw = header::parse_any(line).map_err(|refusal| refusal.to_string()).unwrap();
        assert_eq!((&raw.header, raw.hash.unwrap().into_owned()), (&header, hex(&header.content_hash.unwrap())), "{line}");
        assert_eq!(raw.oddities, header::parse_raw(line).map_err(|refusal| refusal.to_string()).unwrap().oddities);
    }
    if let Some(event) = canonical::parse_event(line) {
        assert_eq!(parse::parse_any(line, 1), Ok(event), "{line}");
    }
}

#[test]
fn the_fast_way_takes_what_is_written() {
    let text = String::from_utf8(sample(2)).unwrap().replace("b/\\\"c", "b/c");
    let mut lines = text.lines();
    assert!(canonical::parse_header(lines.next().unwrap()).is_some());
    assert!(lines.all(|line| canonical::parse_event(line).is_some()));
    let line = text.lines().nth(1).unwrap();
    for (from, to) in [
        ("\"event_data\":", "\"event_data\": "),
        ("version\":1", "version\":01"),
        ("version\":1", "version\":"),
        ("Opened", "Ope\\ned"),
        ("},\"meta", "x},\"meta"),
        ("}", "},"),
    ] {
        let other = line.replace(from, to);
        assert!(other != *line && canonical::parse_event(&other).is_none(), "{other}");
    }
}

#[test]
fn both_read_what_is_written() {
    for events in [0, 1, 3] {
        assert!(agree(&sample(events)));
        assert!(agree(unhashed(events).as_bytes()));
    }
}

#[test]
fn both_read_odd_spellings_alike() {
    let file = unhashed(2);
    let accepted = [
        file.replace("\"metadata\":{}", "\"metadata\":null"),
        file.replace("\"metadata\":{}", "\"metadata\":7 , \"more\":[{}]"),
        file.replace("{\"record\":\"event\",", "  { \"record\":\"\\u0065vent\" ,\t"),
        file.replace("},\"metadata", "}\r,\"metadata"),
        file.replace('\n', "\r\n"),
        file.replace('\n', "\n\n \u{a0}\n"),
        file.trim_end().to_owned(),
        file.replace("\"stream_version\":1,", "\"stream_version\":0,"),
        file.replace("00000000-0000-0000-0000-000000000007", "urn:uuid:00000000-0000-0000-0000-000000000007"),
        file.replace("00000000-0000-0000-0000-000000000007", "{00000000-0000-0000-0000-00000000000A}"),
        file.replace("00000000-0000-0000-0000-000000000007", "0000000000000000000000000000000a"),
        file.replace("\"a\":0,", "\"a\":0,\"a\":5,"),
        file.replace("\"format_version\":2", "\"format_version\":4294967295"),
        file.replace("}\n{\"record", ",\"content_hash\":null}\n{\"record"),
        file.replace("\"format_version\"", "\"resolves\":7,\"key\":{},\"key\":2,\"format_version\""),
        file.replace("\"created_at\":\"2026", "\"created_at\":\"x\\\"26"),
    ];
    for text in accepted {
        assert_ne!(text, file);
        assert!(agree(text.as_bytes()), "{text}");
    }
}

#[test]
fn both_read_arrays_of_the_known_keys() {
    let id = Uuid::from_u128(5);
    let header = format!("[\"header\",1,\"{id}\",\"{id}\",[],\"\",{{}}]\n");
    assert!(agree(header.as_bytes()));
    assert!(agree(format!("{header}[\"event\",\"{id}\",\"s\",1,\"t\",[],{{}}]\n").as_bytes()));
    assert!(!agree(format!("{header}[\"event\",\"{id}\",\"s\",1,\"t\",[]]\n").as_bytes()));
    assert!(!agree(format!("{header}[\"event\",\"{id}\",\"s\",1,\"t\",[],{{}},1]\n").as_bytes()));
}

#[test]
fn both_refuse_what_is_not_this_format() {
    let file = unhashed(2);
    let refused = [
        String::new(),
        "\n".to_owned(),
        "{}\n".to_owned(),
        file.replace('\n', " "),
        file.replace("\"record\":\"header\"", "\"record\":\"event\""),
        file.replace("\"record\":\"event\"", "\"record\":\"header\""),
        file.replace("\"record\":\"event\"", "\"record\":1"),
        file.replace("\"record\":\"event\",", ""),
        file.replace("\"metadata\":{}", "\"metadata\":{},\"metadata\":{}"),
        file.replace(",\"metadata\":{}", ""),
        file.replace("\"stream_version\":1,", "\"stream_version\":1.0,"),
        file.replace("\"stream_version\":1,", "\"stream_version\":-1,"),
        file.replace("\"stream_version\":1,", "\"stream_version\":18446744073709551616,"),
        file.replace("\"format_version\":2", "\"format_version\":4294967296"),
        file.replace("\"a\":0", "\"a\":null"),
        file.replace("00000000-0000-0000-0000-000000000007", "00000000-0000-0000-0000-00000000000"),
        file.replace("},\"metadata", "},,\"metadata"),
        file.replace("\"Opened\"", "\"\\ud800\""),
        file.replace("\"Opened\"", "\"a\tb\""),
        format!("{file}{{"),
        format!("\n{file}"),
        file.replace("\"event_type\"", "\"\\ud800\":1,\"event_type\""),
    ];
    for text in refused {
        assert_ne!(text, file);
        assert!(!agree(text.as_bytes()), "{text}");
    }
    let normal = normalize(b"{\"record\":5}\n").unwrap_err();
    assert!(matches!(normal, Refusal::NotThisFormat { line: 1, column: 11, .. }), "{normal}");
}

#[test]
fn what_only_value_refuses_is_read_and_reported() {
    let file = unhashed(1);
    let deep = |n: usize| "[".repeat(n) + &"]".repeat(n);
    for (payload, readable) in
        [(deep(126), true), (deep(127), false), (deep(100_000), false), ("1e400".to_owned(), false), ("\"\\udc00\"".to_owned(), false)]
    {
        for place in ["\"metadata\":", "\"more\":0,\"metadata\":"] {
            let text = file.replace("\"metadata\":{}", &format!("{place}{payload}"));
            assert!(agree(text.as_bytes()));
            assert_eq!(twin(text.as_bytes()).is_some(), readable);
        }
        let more = file.replace("\"replica_id\"", &format!("\"more\":{payload},\"replica_id\""));
        assert!(agree(more.as_bytes()));
        assert_eq!(twin(more.as_bytes()).is_some(), readable);
    }
    let text = file.replace("\"metadata\":{}", "\"metadata\":1e400");
    let (_, _, oddities) = ours(text.as_bytes()).unwrap();
    let column = text.lines().nth(1).unwrap().find("1e400").unwrap() + 1;
    let last = oddities.last().unwrap();
    assert_eq!(last.message, format!("number is too large at line 2, column {column}: eventcore-fs cannot open this store"));
}

#[test]
fn oddities_are_told() {
    let kinds = |text: &str| ours(text.as_bytes()).unwrap().2.into_iter().map(|oddity| oddity.kind).collect::<Vec<_>>();
    let file = String::from_utf8(sample(1)).unwrap();
    assert_eq!(kinds(&file), []);
    assert_eq!(kinds(&file.replace("format_version\":2", "format_version\":3")), [OddityKind::FormatVersion]);
    assert_eq!(kinds(&unhashed(1)), [OddityKind::FormatVersion]);
    assert_eq!(kinds(&unhashed(1).replace("format_version\":2", "format_version\":1")), []);
    assert_eq!(kinds(&file.replace("736+00:00", "Z")), [OddityKind::CreatedAt]);
    assert_eq!(kinds(&unhashed(2).replace("\"b/\\\"c\",", "\"a*\",")), [OddityKind::FormatVersion, OddityKind::StreamId]);
    assert_eq!(kinds(&file.replace("\"format_version\"", "\"key\":5,\"format_version\"")), [OddityKind::HeaderKey]);
}

fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(any::<String>(), inner, 0..4).prop_map(|map| Value::from(serde_json::Map::from_iter(map))),
        ]
    })
    .prop_map(|value| value.to_string())
}

type Written = (u128, String, u64, String, String, String);

fn written() -> impl Strategy<Value = Written> {
    (any::<u128>(), any::<String>(), any::<u64>(), any::<String>(), json(), json())
}

fn as_events(events: &[Written]) -> Vec<EncodeEvent<'_>> {
    let one = |(id, stream_id, stream_version, event_type, event_data, metadata)| EncodeEvent {
        event_id: EventId(Uuid::from_u128(id)),
        stream_id,
        stream_version,
        event_type,
        event_data,
        metadata,
    };
    events
        .iter()
        .map(|(id, stream, version, kind, data, metadata)| {
            one((*id, stream.as_str(), *version, kind.as_str(), data.as_str(), metadata.as_str()))
        })
        .collect()
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_by_both(
        parents in proptest::collection::vec(any::<u128>(), 0..3), bases in proptest::collection::btree_map(any::<String>(), any::<u64>(), 0..3),
        resolves in proptest::collection::vec(any::<String>(), 0..3), key in proptest::option::of(any::<String>()), events in proptest::collection::vec(written(), 0..3),
    ) {
        let events = as_events(&events);
        let parents = parents.into_iter().map(|id| TransactionId(Uuid::from_u128(id))).collect();
        let written = Header { parents, stream_bases: bases.into_iter().collect(), resolves, key, ..header() };
        let bytes = encode(&written, &events);
        prop_assert!(agree(&bytes));
        let normal = normalize(&bytes).unwrap();
        let (read, _) = parse_events(normal.payload()).unwrap();
        let read: Vec<_> = read.iter().map(|event| EncodeEvent {
            event_id: event.event_id, stream_id: &event.stream_id, stream_version: event.stream_version,
            event_type: &event.event_type, event_data: event.event_data, metadata: event.metadata,
        }).collect();
        prop_assert_eq!(&read, &events);
        prop_assert_eq!(&encode(&normal.header, &read), &bytes);
        prop_assert_eq!(Header { content_hash: None, ..normal.header }, written);
    }

    #[test]
    fn mutated_files_are_read_alike(
        events in 0_u64..3, hashed in any::<bool>(), stream in prop::sample::select(vec!["b/c", "b/\"c"]),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), 0_usize..4, prop::sample::select(b"{}[]\",:\\\n\r 0eE9-udx\xff".to_vec()), any::<prop::sample::Index>()), 1..4),
    ) {
        let file = sample_of(events, stream);
        let mut bytes = if hashed { file } else { unhashed_of(&file).into_bytes() };
        for (at, how, byte, other) in edits {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => { bytes.remove(at); }
                _ => {
                    let (from, to) = (at.min(other.index(bytes.len())), at.max(other.index(bytes.len())));
                    let piece = bytes[from..to.min(from + 60)].to_vec();
                    bytes.splice(to..to, piece);
                }
            }
        }
        agree(&bytes);
    }
}
