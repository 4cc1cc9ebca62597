//! What a cutover writes: every event of a source in order, and what it could not read.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::event::{LegacyError, LegacyEvent, parse_legacy_line};
use super::ids::{derived_event_id, event_id, stream_id};
use crate::format::json::{NESTING_MAX, find_unreadable};
use crate::model::{DraftEvent, EventId, Payload};

/// A file of a legacy log, by its path in the source's directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LegacyFile {
    /// `YYYY-MM-DD`.
    pub date: String,
    /// The path in the source, with `/`.
    pub path: String,
    /// The directory that it lies in, which is named by its session; none in a flat source.
    pub session: Option<String>,
}

/// A line that is no event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorruptLine {
    /// The file's path in the source.
    pub file: String,
    /// Its line, from 1.
    pub line: u64,
    /// Why it is none.
    pub error: LegacyError,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
}

/// What a cutover writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LegacyPlan {
    /// The events in the order in which they are to be appended; all have an id.
    pub events: Vec<DraftEvent>,
    /// What is no event.
    pub corrupt_lines: Vec<CorruptLine>,
    /// How many lines were passed over because the same line, with the same UUID, stands elsewhere.
    pub duplicate_line_count: usize,
    /// How many files there were.
    pub file_count: usize,
    /// The largest sequence number that the tools had given.
    pub last_legacy_seq_nr: Option<u64>,
}

impl LegacyPlan {
    /// Says whether there is nothing to move: a fresh install.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.corrupt_lines.is_empty()
    }
}

/// Reads a path in a source: `YYYY-MM-DD.jsonl` or `<session>/YYYY-MM-DD.jsonl`; none for anything else.
#[must_use]
pub fn parse_file_path(path: &str) -> Option<LegacyFile> {
    let (session, name) = match path.split_once('/') {
        Some((session, name)) => (Some(session.to_owned()), name),
        None => (None, path),
    };
    let date = name.strip_suffix(".jsonl")?;
    let is_date = date.len() == 10
        && date.bytes().enumerate().all(|(at, byte)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() });
    (is_date && session.as_deref() != Some("")).then(|| LegacyFile { date: date.to_owned(), path: path.to_owned(), session })
}

/// Plans the cutover of a source whose files are given with their bytes, in any order.
///
/// Events are ordered by the date of their file, then by time, but never against the order of lines in their file. An
/// event belongs to the aggregate that it names; its type is `aggregate_type` if it names none, its id the session or
/// the session's directory. Its own keys are its metadata, the sequence number as `legacy_seq_nr`, the id as
/// `legacy_id`, its place as `legacy_file` and `legacy_line`, keys of nobody's as `legacy_other`.
#[must_use]
pub fn plan(files: &[(LegacyFile, &[u8])], aggregate_type: &str) -> LegacyPlan {
    let mut files: Vec<_> = files.iter().collect();
    files.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut plan = LegacyPlan { file_count: files.len(), ..LegacyPlan::default() };
    let mut found = Vec::new();
    for (file, bytes) in files {
        read_file(file, bytes, &mut found, &mut plan);
    }
    // Stable, so that what was read first stays first where nothing else decides.
    found.sort_by(|a, b| (&a.file.date, a.time).cmp(&(&b.file.date, b.time)));
    add_events(found, aggregate_type, &mut plan);
    plan
}

/// An event where it stands.
struct Found<'a> {
    file: &'a LegacyFile,
    line: u64,
    text: &'a [u8],
    event: LegacyEvent<'a>,
    /// The latest time up to here in its file, so that a clock that was set back re-orders no lines.
    time: i128,
}

fn read_file<'a>(file: &'a LegacyFile, bytes: &'a [u8], found: &mut Vec<Found<'a>>, plan: &mut LegacyPlan) {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut time = i128::MIN;
    for (line, text) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        let text = text.trim_ascii();
        if text.is_empty() {
            continue;
        }
        match parse_legacy_line(text) {
            Ok(event) => {
                time = event.timestamp_nanos.map_or(time, |nanos| nanos.max(time));
                plan.last_legacy_seq_nr = plan.last_legacy_seq_nr.max(event.seq_nr);
                found.push(Found { file, line, text, event, time });
            }
            Err(error) => plan.corrupt_lines.push(corrupt_line(file, line, text, error)),
        }
    }
}

fn corrupt_line(file: &LegacyFile, line: u64, text: &[u8], error: LegacyError) -> CorruptLine {
    CorruptLine { file: file.path.clone(), line, error, bytes: text.to_vec(), sha256: Sha256::digest(text).into() }
}

fn add_events(found: Vec<Found<'_>>, aggregate_type: &str, plan: &mut LegacyPlan) {
    let mut repeats: HashMap<(&str, &[u8]), u64> = HashMap::new();
    let mut taken: HashMap<EventId, &[u8]> = HashMap::new();
    for found in found {
        let repeats = repeats.entry((&found.file.path, found.text)).or_default();
        let repeated = *repeats;
        *repeats += 1;
        let mut id = event_id(found.event.id.as_deref(), &found.file.path, found.text, repeated);
        match taken.get(&id) {
            // One event that was copied, as when a session's directory was.
            Some(text) if *text == found.text => {
                plan.duplicate_line_count += 1;
                continue;
            }
            // Two events that claim one id: both are kept, and the metadata says what the second one was called.
            Some(_) => id = derived_event_id(&found.file.path, found.text, repeated),
            None => {}
        }
        taken.insert(id, found.text);
        plan.events.push(draft_event(&found, id, aggregate_type));
    }
}

fn draft_event(found: &Found<'_>, id: EventId, aggregate_type: &str) -> DraftEvent {
    let event = &found.event;
    let aggregate_type = event.aggregate_type.as_deref().unwrap_or(aggregate_type);
    let session = event.session_id.as_deref().or(found.file.session.as_deref());
    let aggregate_id = event.aggregate_id.as_deref().or(session).unwrap_or_default();
    DraftEvent {
        event_id: Some(id),
        stream_id: stream_id(aggregate_type, aggregate_id),
        event_type: event.event_type.clone(),
        // The line was checked as a whole.
        event_data: Payload::checked(event.data.to_owned()),
        metadata: metadata(found),
        line: found.line,
    }
}

/// The metadata of a legacy event; absent keys stay absent.
#[derive(Serialize)]
struct Metadata<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    schema_version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    causation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aggregate_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aggregate_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    legacy_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    legacy_seq_nr: Option<u64>,
    legacy_file: &'a str,
    legacy_line: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    legacy_other: BTreeMap<&'a str, Other<'a>>,
}

/// A value under a key that the family does not know.
#[derive(Serialize)]
#[serde(untagged)]
enum Other<'a> {
    /// Its bytes.
    Json(&'a RawValue),
    /// Its JSON as a string: here it would nest deeper than an event may.
    Text(&'a str),
}

fn metadata(found: &Found<'_>) -> Payload {
    let event = &found.event;
    let metadata = Metadata {
        schema_version: event.schema_version,
        timestamp: event.timestamp.as_deref(),
        session_id: event.session_id.as_deref(),
        correlation_id: event.correlation_id.as_deref(),
        causation_id: event.causation_id.as_deref(),
        aggregate_id: event.aggregate_id.as_deref(),
        aggregate_type: event.aggregate_type.as_deref(),
        legacy_id: event.id.as_deref(),
        legacy_seq_nr: event.seq_nr,
        legacy_file: &found.file.path,
        legacy_line: found.line,
        legacy_other: event.others.iter().map(|(key, json)| (key.as_str(), other(json))).collect(),
    };
    // Nothing in it can fail to be JSON.
    serde_json::to_string(&metadata).map(Payload::checked).unwrap_or_default()
}

fn other(json: &str) -> Other<'_> {
    let mut deep = false;
    // Around it: the event's line, its metadata and `legacy_other`.
    find_unreadable(json.as_bytes(), NESTING_MAX - 3, |_, _| deep = true);
    match serde_json::from_str::<&RawValue>(json) {
        Ok(value) if !deep => Other::Json(value),
        _ => Other::Text(json),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests;
