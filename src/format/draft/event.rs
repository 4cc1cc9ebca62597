//! One event of a draft.

use uuid::Uuid;

use super::NESTING_MAX;
use super::build::Builder;
use super::fault::{self, Fault};
use super::keys::{EVENT_KEYS, HEADER_KEYS};
use super::source::{Member, Source, Span, one_line};
use crate::model::{DraftEvent, EventId, Payload};

/// Keys of files and views that only the store gives.
const ASSIGNED_KEYS: &[&str] = &[
    "record",
    "format_version",
    "stream_version",
    "position",
    "seq_nr",
    "gone",
    "transaction_id",
    "replica_id",
    "parent_transaction_ids",
    "created_at",
    "stream_bases",
    "content_hash",
    "resolves",
];

/// The values of the keys of [`EVENT_KEYS`].
type Values = [Option<Span>; 5];

impl Builder {
    pub(super) fn add_event(&mut self, source: &Source<'_>, object: Span, members: &[Member]) {
        self.count_event(source, object.at);
        self.check_readable(source, object, NESTING_MAX + 1);
        let [stream, kind, data, metadata, id] = self.event_values(source, members);
        for (key, value) in [("stream_id", stream), ("event_type", kind), ("event_data", data)] {
            if value.is_none() {
                self.refuse(source, object.at, format!("event has no \"{key}\""), "add it");
            }
        }
        let stream_id = stream.and_then(|value| self.stream_id(source, value));
        let event_type = kind.and_then(|value| self.event_type(source, value));
        let event_id = id.map(|value| self.event_id(source, value));
        let data = data.map(|value| source.get(value)).unwrap_or_default();
        let metadata = metadata.map_or("{}", |value| source.get(value));
        if let Some(fault) = fault::of_event_len(data.len() + metadata.len()) {
            self.refuse_for(source, object.at, fault);
        }
        let (Some(stream_id), Some(event_type), false) = (stream_id, event_type, event_id == Some(None)) else {
            return;
        };
        let [event_data, metadata] = [data, metadata].map(|json| Payload::checked(one_line(json)));
        let line = source.line(object.at);
        self.draft.events.push(DraftEvent { event_id: event_id.flatten(), stream_id, event_type, event_data, metadata, line });
    }

    fn event_values(&mut self, source: &Source<'_>, members: &[Member]) -> Values {
        let mut values: Values = [None; 5];
        for member in members {
            let known = EVENT_KEYS.iter().zip(&mut values).find(|(names, _)| names.contains(&member.key.as_str()));
            match known {
                Some((_, value @ None)) => *value = Some(member.value),
                Some((names, Some(_))) => {
                    let message = format!("key {:?} gives \"{}\" a second time", member.key, names.first().unwrap_or(&""));
                    self.refuse(source, member.at, message, "leave one out");
                }
                None => self.refuse_key(source, member, "stream_id, event_type, event_data, metadata and event_id"),
            }
        }
        values
    }

    /// Says why a key cannot stand where it stands.
    pub(super) fn refuse_key(&mut self, source: &Source<'_>, member: &Member, known: &str) {
        let key = &member.key;
        if ASSIGNED_KEYS.contains(&key.as_str()) {
            self.refuse(source, member.at, format!("key {key:?} is given by the store"), "leave it out");
        } else if HEADER_KEYS.contains(&key.as_str()) {
            self.refuse(
                source,
                member.at,
                format!("key {key:?} belongs in a header"),
                "write the header as an object of its own in front of the events",
            );
        } else {
            self.refuse(source, member.at, format!("key {key:?} is not known"), &format!("known are {known}"));
        }
    }

    fn stream_id(&mut self, source: &Source<'_>, value: Span) -> Option<String> {
        let stream_id = self.string(source, "stream_id", value)?;
        self.accepts(source, value, fault::of_stream_id(&stream_id)).then_some(stream_id)
    }

    fn event_type(&mut self, source: &Source<'_>, value: Span) -> Option<String> {
        let event_type = self.string(source, "event_type", value)?;
        self.accepts(source, value, fault::of_event_type(&event_type)).then_some(event_type)
    }

    fn event_id(&mut self, source: &Source<'_>, value: Span) -> Option<EventId> {
        let text = self.string(source, "event_id", value)?;
        let Ok(id) = Uuid::try_parse(&text).map(EventId) else {
            self.refuse(source, value.at, format!("event_id {text:?} is not a UUID"), "leave it out and the store gives one");
            return None;
        };
        let second = (!self.is_new_id(id)).then(|| fault::of_second_id(id));
        self.accepts(source, value, second).then_some(id)
    }

    /// Refuses a value for its fault; tells whether it has none.
    pub(super) fn accepts(&mut self, source: &Source<'_>, value: Span, fault: Option<Fault>) -> bool {
        let is_good = fault.is_none();
        if let Some(fault) = fault {
            self.refuse_for(source, value.at, fault);
        }
        is_good
    }
}
