//! Drafts: read alike in one piece and in many, and what is accepted becomes a file that both programs read.

use braidfs::format::draft::{DraftKind, LineChecker, parse_draft};
use braidfs::format::transaction::{EncodeEvent, OddityKind, encode, normalize, parse_events};
use braidfs::model::{Draft, EventId, Header, ReplicaId, TransactionId};
use uuid::Uuid;

use super::transaction::peer_reads;

/// The first byte says of which kind the draft is, the second in pieces of how many bytes it comes.
pub fn holds(data: &[u8]) {
    let [kind, size, bytes @ ..] = data else { return };
    let kind = [DraftKind::Lines, DraftKind::Document, DraftKind::AppendWrite][usize::from(*kind) % 3];
    let whole = parse_draft(bytes, kind);
    assert_eq!(in_pieces(bytes, kind, usize::from(*size).max(1), false), whole, "in pieces");
    assert_eq!(in_pieces(bytes, kind, usize::from(*size).max(1), true), whole, "in pieces, each checked");
    if let Ok(draft) = whole {
        both_read(&draft);
    }
}

fn in_pieces(bytes: &[u8], kind: DraftKind, size: usize, is_checked: bool) -> Result<Draft, braidfs::model::Rejection> {
    let mut checker = LineChecker::new(kind);
    for piece in bytes.chunks(size) {
        let _ = checker.push(piece);
        if is_checked {
            let _ = checker.check();
        }
    }
    checker.finish()
}

/// The file that a draft's events become is read as they are, by the other program too.
fn both_read(draft: &Draft) {
    let id = |n: usize| Uuid::from_u128(n as u128 + 1);
    let header = Header {
        format_version: 2,
        transaction_id: TransactionId(id(1_000_000)),
        replica_id: ReplicaId(id(2_000_000)),
        parents: Vec::new(),
        created_at: "2026-01-01T00:00:00+00:00".to_owned(),
        stream_bases: Vec::new(),
        content_hash: None,
        resolves: Vec::new(),
        key: draft.key.clone(),
    };
    let event = |(n, event): (usize, &braidfs::model::DraftEvent)| EncodeEvent {
        event_id: event.event_id.unwrap_or(EventId(id(n))),
        stream_id: &draft.events[n].stream_id,
        stream_version: n as u64 + 1,
        event_type: &draft.events[n].event_type,
        event_data: &draft.events[n].event_data,
        metadata: &draft.events[n].metadata,
    };
    let events: Vec<EncodeEvent<'_>> = draft.events.iter().enumerate().map(event).collect();
    let bytes = encode(&header, &events);
    let normal = normalize(&bytes).unwrap_or_else(|refusal| panic!("we write what we refuse: {refusal}"));
    assert_eq!((normal.healing, &normal.header.key), (None, &draft.key));
    let (read, oddities) = parse_events(normal.payload()).unwrap_or_else(|refusal| panic!("we write what we refuse: {refusal}"));
    assert!(oddities.iter().all(|oddity| oddity.kind != OddityKind::Unreadable), "{oddities:?}");
    assert!(normal.oddities.is_empty(), "{:?}", normal.oddities);
    assert_eq!(read.len(), events.len());
    for (read, wrote) in read.iter().zip(&events) {
        assert_eq!((read.event_id, &*read.stream_id, &*read.event_type), (wrote.event_id, wrote.stream_id, wrote.event_type));
        assert_eq!((read.event_data, read.metadata), (wrote.event_data, wrote.metadata));
    }
    assert!(peer_reads(&bytes), "eventcore-fs does not read {}", String::from_utf8_lossy(&bytes));
}

/// Drafts that use all that a draft may say.
pub fn seeds() -> Vec<Vec<u8>> {
    let lines = [
        r#"{"stream_id":"a","event_type":"T","event_data":{"n":1}}"#,
        r#"{"stream_id":"a/b","event_type":"T","event_data":[1.5e3,"\u00e9\ud83d\ude00",null],"metadata":{"by":"x"}}"#,
        r#"{"draft":{"key":"k","expect":{"a":0,"b":"exists","c":"none","d":"any"},"count":1}}"#,
        r#"{"expect":{"a":3},"key":"k"}"#,
        r#"{"stream_id":"a","event_type":"T","event_data":1,"event_id":"01998877-6655-7000-8000-000000000001"}"#,
        r#"{"stream_id":"a","event_type":"T","event_data":{"a":1,"a":2}}"#,
        r#"{"stream_id":"a","event_type":"T","event_data":{"$serde_json::private::RawValue":"1"}}"#,
        r#"{"resolve":"x","snapshot":{"name":"s","state":{}}}"#,
    ];
    let mut seeds = Vec::new();
    for kind in 0..3 {
        for line in lines {
            seeds.push([&[kind, 7], line.as_bytes(), b"\n"].concat());
        }
        seeds.push([&[kind, 1], lines.join("\n").as_bytes()].concat());
        seeds.push([&[kind, 255], format!("[\n {}\n]\r\n", lines.join(",\n ")).as_bytes()].concat());
    }
    seeds
}
