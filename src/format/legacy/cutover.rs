//! The event and the snapshot that end a cutover.

use serde::Serialize;
use serde_json::Value;

use super::ids::{corrupt_event_id, corrupt_stream_id, cutover_event_id, cutover_stream_id, hex};
use super::plan::{CorruptLine, LegacyPlan};
use crate::model::{DraftEvent, Payload};

/// The only key of a sentinel.
pub const SENTINEL_KEY: &str = "$braidfs.sentinel";

/// The type of the event that ends a cutover.
pub const CUTOVER_TYPE: &str = "system.cutover";

/// How many bytes of corrupt lines the cutover's event carries; with escapes it stays below the 16 MiB of a line.
const CORRUPT_BYTES_MAX: usize = 2 << 20;

/// How many corrupt lines it lists.
const CORRUPT_LINES_MAX: usize = 10_000;

/// What a cutover is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutoverRequest<'a> {
    /// The aggregate type of the whole source.
    pub aggregate_type: &'a str,
    /// Where a foreign counter goes on, if one does: the number of the cutover's event; recorded events get those after it.
    pub start_seq_nr: Option<u64>,
}

#[derive(Serialize)]
struct Data<'a> {
    aggregate_type: &'a str,
    pre_cutover_event_count: usize,
    file_count: usize,
    duplicate_line_count: usize,
    corrupt_line_count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_seq_nr: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_legacy_seq_nr: Option<u64>,
    corrupt_lines: Vec<Corrupt<'a>>,
}

/// A corrupt line as it is kept: its text if it is UTF-8, else its bytes in hex; neither where it is kept in events of its own.
#[derive(Serialize)]
struct Corrupt<'a> {
    file: &'a str,
    line: u64,
    reason: &'a str,
    bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<Part>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
    sha256: String,
}

/// Which part of a line it is, from 1.
#[derive(Serialize)]
struct Part {
    number: usize,
    of: usize,
}

/// The event that ends a cutover, last of all: `system.cutover` in `system-<aggregate_type>`, to be written once
/// (expect the stream to have no event).
///
/// Its data has `pre_cutover_event_count`, how many lines were passed over as duplicates or corrupt, and the corrupt
/// lines themselves with file, line and reason: the first 10,000, with their bytes up to 2 MiB. [`corrupt_events`] has the rest.
#[must_use]
pub fn cutover_event(plan: &LegacyPlan, request: &CutoverRequest<'_>) -> DraftEvent {
    let data = Data {
        aggregate_type: request.aggregate_type,
        pre_cutover_event_count: plan.events.len(),
        file_count: plan.file_count,
        duplicate_line_count: plan.duplicate_line_count,
        corrupt_line_count: plan.corrupt_lines.len(),
        start_seq_nr: request.start_seq_nr,
        last_legacy_seq_nr: plan.last_legacy_seq_nr,
        corrupt_lines: keep(&plan.corrupt_lines),
    };
    DraftEvent {
        event_id: Some(cutover_event_id(request.aggregate_type)),
        stream_id: cutover_stream_id(request.aggregate_type),
        event_type: CUTOVER_TYPE.to_owned(),
        // Nothing in it can fail to be JSON.
        event_data: serde_json::to_string(&data).map(Payload::checked).unwrap_or_default(),
        // Like the recorded events after it: the first number of those with which the counter goes on.
        metadata: request.start_seq_nr.map_or_else(Payload::default, |seq_nr| Payload::checked(format!("{{\"seq_nr\":{seq_nr}}}"))),
        line: 1,
    }
}

/// The corrupt lines that the cutover's event lists, each with whether it also carries its bytes.
fn listed(lines: &[CorruptLine]) -> impl Iterator<Item = (&CorruptLine, bool)> {
    let mut room = CORRUPT_BYTES_MAX;
    lines.iter().take(CORRUPT_LINES_MAX).map(move |line| {
        // A byte that is no character takes two digits, and one that must be escaped six characters.
        let left = room.checked_sub(line.bytes.len());
        room = left.unwrap_or(room);
        (line, left.is_some())
    })
}

fn keep(lines: &[CorruptLine]) -> Vec<Corrupt<'_>> {
    listed(lines).map(|(line, carried)| corrupt(line, carried.then_some(line.bytes.as_slice()), None)).collect()
}

fn corrupt<'a>(line: &'a CorruptLine, bytes: Option<&'a [u8]>, part: Option<Part>) -> Corrupt<'a> {
    let text = bytes.and_then(|bytes| std::str::from_utf8(bytes).ok());
    Corrupt {
        file: &line.file,
        line: line.line,
        reason: &line.error.message,
        bytes: line.bytes.len(),
        part,
        text,
        hex: bytes.filter(|_| text.is_none()).map(hex),
        sha256: hex(&line.sha256),
    }
}

/// The corrupt lines whose bytes the cutover's event does not carry, to be written before it: `system.corrupt_line` in
/// `system.corrupt-<aggregate_type>`, a long line as several parts.
#[must_use]
pub fn corrupt_events(plan: &LegacyPlan, request: &CutoverRequest<'_>) -> Vec<DraftEvent> {
    let lines = &plan.corrupt_lines;
    let not_carried = listed(lines).filter(|(_, carried)| !carried).map(|(line, _)| line);
    let rest = not_carried.chain(lines.iter().skip(CORRUPT_LINES_MAX));
    rest.flat_map(|line| parts(line, request.aggregate_type)).collect()
}

fn parts<'a>(line: &'a CorruptLine, aggregate_type: &'a str) -> impl Iterator<Item = DraftEvent> + 'a {
    let of = line.bytes.chunks(CORRUPT_BYTES_MAX).len();
    line.bytes.chunks(CORRUPT_BYTES_MAX).zip(1..).map(move |(bytes, number)| DraftEvent {
        event_id: Some(corrupt_event_id(aggregate_type, &line.file, line.line, number)),
        stream_id: corrupt_stream_id(aggregate_type),
        event_type: "system.corrupt_line".to_owned(),
        // Nothing in it can fail to be JSON.
        event_data: serde_json::to_string(&corrupt(line, Some(bytes), Some(Part { number, of }))).map(Payload::checked).unwrap_or_default(),
        metadata: Payload::default(),
        line: 1,
    })
}

/// The state of the snapshot that a cutover leaves: an object whose only key is [`SENTINEL_KEY`].
///
/// It says that everything before the cutover is accounted for and that there is no state: readers replay.
#[must_use]
pub fn sentinel_state(aggregate_type: &str, pre_cutover_event_count: usize) -> String {
    let inside = serde_json::json!({
        "kind": "cutover",
        "aggregate_type": aggregate_type,
        "pre_cutover_event_count": pre_cutover_event_count,
    });
    Value::Object([(SENTINEL_KEY.to_owned(), inside)].into_iter().collect()).to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::format::legacy::{parse_file_path, plan};

    fn corrupt_of(log: &[u8]) -> Vec<Value> {
        let plan = plan(&[(parse_file_path("2026-03-01.jsonl").unwrap(), log)], "wave");
        let events = corrupt_events(&plan, &CutoverRequest { aggregate_type: "wave", start_seq_nr: None });
        let ids: std::collections::BTreeSet<_> = events.iter().map(|event| event.event_id).collect();
        assert_eq!(ids.len(), events.len());
        assert!(events.iter().all(|event| event.stream_id == "system.corrupt-wave" && event.event_data.len() < 16 << 20));
        events.iter().map(|event| serde_json::from_str(&event.event_data).unwrap()).collect()
    }

    fn event_of(log: &[u8]) -> (DraftEvent, Value) {
        let file = parse_file_path("2026-03-01.jsonl").unwrap();
        let plan = plan(&[(file, log)], "wave");
        let event = cutover_event(&plan, &CutoverRequest { aggregate_type: "wave", start_seq_nr: Some(40) });
        let data = serde_json::from_str(&event.event_data).unwrap();
        (event, data)
    }

    #[test]
    fn the_event_counts_and_keeps() {
        let (event, data) = event_of(b"{\"type\":\"a\",\"seq_nr\":7}\nbroken\n{\"type\":\"b\"}\n\xff\n{\"ty");
        assert_eq!((event.stream_id.as_str(), event.event_type.as_str()), ("system-wave", "system.cutover"));
        assert_eq!(event.event_id, Some(cutover_event_id("wave")));
        assert_eq!(event.metadata, r#"{"seq_nr":40}"#);
        assert_eq!((&data["pre_cutover_event_count"], &data["corrupt_line_count"]), (&2.into(), &3.into()));
        assert_eq!((&data["start_seq_nr"], &data["last_legacy_seq_nr"]), (&40.into(), &7.into()));
        let corrupt = data["corrupt_lines"].as_array().unwrap();
        assert_eq!(
            (&corrupt[0]["file"], &corrupt[0]["line"], &corrupt[0]["text"]),
            (&"2026-03-01.jsonl".into(), &2.into(), &"broken".into())
        );
        assert_eq!((&corrupt[1]["hex"], &corrupt[1]["text"]), (&"ff".into(), &Value::Null));
        assert_eq!(corrupt[2]["text"], "{\"ty");
    }

    #[test]
    fn what_is_too_much_is_kept_in_events_of_its_own() {
        let mut log = b"\x01".repeat(CORRUPT_BYTES_MAX);
        log.extend_from_slice(b"\nshort\n");
        let (event, data) = event_of(&log);
        assert!(event.event_data.len() < 16 << 20);
        assert_eq!(data["corrupt_lines"][0]["text"].as_str().map(str::len), Some(CORRUPT_BYTES_MAX));
        assert_eq!((&data["corrupt_lines"][1]["text"], &data["corrupt_lines"][1]["bytes"]), (&Value::Null, &5.into()));
        assert_eq!(data["corrupt_lines"][1]["sha256"].as_str().map(str::len), Some(64));
        let apart = corrupt_of(&log);
        assert_eq!(apart.len(), 1);
        assert_eq!((&apart[0]["line"], &apart[0]["text"], &apart[0]["part"]["of"]), (&2.into(), &"short".into(), &1.into()));

        let log = b"x\n".repeat(CORRUPT_LINES_MAX + 1);
        let (_, many) = event_of(&log);
        assert_eq!(many["corrupt_lines"].as_array().map(Vec::len), Some(CORRUPT_LINES_MAX));
        assert_eq!(many["corrupt_line_count"], CORRUPT_LINES_MAX + 1);
        assert_eq!(corrupt_of(&log)[0]["line"], CORRUPT_LINES_MAX + 1);
        assert!(corrupt_of(b"x\ny\n").is_empty());
    }

    #[test]
    fn a_long_corrupt_line_comes_back_from_its_parts() {
        // No text: every character may be cut in two.
        let log: Vec<u8> = "\u{e9}".repeat(CORRUPT_BYTES_MAX + 1).into_bytes();
        let log = &log[1..];
        let parts = corrupt_of(log);
        assert_eq!(parts.len(), 3);
        let unhex =
            |hex: &str| -> Vec<u8> { (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect() };
        let bytes: Vec<u8> = parts
            .iter()
            .flat_map(|part| part["text"].as_str().map_or_else(|| unhex(part["hex"].as_str().unwrap()), |text| text.as_bytes().to_vec()))
            .collect();
        assert!(bytes == log);
    }
}
