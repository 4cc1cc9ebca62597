//! From a normal text to header and events.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::canonical;
use super::header::Id;
use super::oddity::{self, Oddity, OddityKind, stream_id_fault};
use super::{ParsedEvent, Refusal};
use crate::model::EventId;

/// The keys that `eventcore-fs` knows. The order matters: it also reads an array of them.
#[derive(Deserialize)]
struct EventLine<'a> {
    #[serde(borrow)]
    record: Cow<'a, str>,
    event_id: Id,
    #[serde(borrow)]
    stream_id: Cow<'a, str>,
    stream_version: u64,
    #[serde(borrow)]
    event_type: Cow<'a, str>,
    #[serde(borrow)]
    event_data: &'a RawValue,
    #[serde(borrow)]
    metadata: &'a RawValue,
}

/// Reads the events of a file that [`super::normalize`] has passed: its payload.
///
/// # Errors
/// A line that is not an event.
pub fn parse_events(payload: &str) -> Result<(Vec<ParsedEvent<'_>>, Vec<Oddity>), Refusal> {
    let mut oddities = Vec::new();
    let events = parse_payload(payload, &mut oddities)?;
    Ok((events, oddities))
}

fn parse_payload<'a>(payload: &'a str, oddities: &mut Vec<Oddity>) -> Result<Vec<ParsedEvent<'a>>, Refusal> {
    let mut events = Vec::new();
    for (line, number) in lines(payload).zip(2..) {
        if !line.trim_start().is_empty() {
            events.push(parse_event(line, number, oddities)?);
        }
    }
    Ok(events)
}

/// What [`str::lines`] gives, found at memory speed.
pub(super) fn lines(mut text: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let Some((line, rest)) = memchr(b'\n', text.as_bytes()).and_then(|end| Some((text.get(..end)?, text.get(end + 1..)?))) else {
            return Some(std::mem::take(&mut text)).filter(|last| !last.is_empty());
        };
        text = rest;
        Some(line.strip_suffix('\r').unwrap_or(line))
    })
}

fn parse_event<'a>(line: &'a str, number: u64, oddities: &mut Vec<Oddity>) -> Result<ParsedEvent<'a>, Refusal> {
    let (event, has_more_keys) = match canonical::parse_event(line) {
        Some(event) => (event, false),
        None => {
            let event = parse_any(line, number)?;
            let has_more_keys = has_more_keys(line, &event);
            (event, has_more_keys)
        }
    };
    find_oddities(line, number, &event, has_more_keys, oddities);
    Ok(event)
}

/// Reads an event however it is spelled.
pub(super) fn parse_any(line: &str, number: u64) -> Result<ParsedEvent<'_>, Refusal> {
    let known: EventLine<'_> = serde_json::from_str(line).map_err(|error| Refusal::of_line(number, &error))?;
    if known.record != "event" {
        return Err(Refusal::line(number, format!("record is {:?}, an \"event\" must follow the header", known.record)));
    }
    Ok(ParsedEvent {
        event_id: EventId(known.event_id.0),
        stream_id: known.stream_id,
        stream_version: known.stream_version,
        event_type: known.event_type,
        event_data: known.event_data.get(),
        metadata: known.metadata.get(),
    })
}

fn find_oddities(line: &str, number: u64, event: &ParsedEvent<'_>, has_more_keys: bool, oddities: &mut Vec<Oddity>) {
    if let Some(fault) = stream_id_fault(&event.stream_id) {
        // A file is one author's habit: its first such stream tells enough.
        if !oddities.iter().any(|oddity| oddity.kind == OddityKind::StreamId) {
            oddities.push(Oddity::new(OddityKind::StreamId, fault));
        }
    }
    if has_more_keys {
        oddity::of_json(number, 0, line, 0, oddities);
    } else {
        let offset = |part: &str| (part.as_ptr() as usize).saturating_sub(line.as_ptr() as usize);
        oddity::of_json(number, offset(event.event_data), event.event_data, 1, oddities);
        oddity::of_json(number, offset(event.metadata), event.metadata, 1, oddities);
    }
}

/// Tells by its number of quotes whether a line may hold more than the known keys.
fn has_more_keys(line: &str, event: &ParsedEvent<'_>) -> bool {
    let quotes = |text: &str| memchr_iter(b'"', text.as_bytes()).count();
    quotes(line) != 22 + quotes(event.event_data) + quotes(event.metadata)
}
