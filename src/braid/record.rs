//! Recording a session: every event says which session it belongs to and which event came before it there.

use serde::Deserialize;
use uuid::Uuid;

use crate::braid::{AppendError, Braid, Committed};
use crate::index::Index;
use crate::model::{Draft, DraftEvent, Errno, EventId, Reason, Rejection};

/// The keys of an event's metadata that a recorder sets.
#[derive(Debug, Default, Deserialize)]
struct Keys {
    session_id: Option<serde_json::Value>,
    correlation_id: Option<serde_json::Value>,
    causation_id: Option<serde_json::Value>,
}

impl Braid {
    /// Appends a draft as the recorder of a session does: the metadata of each event gets `session_id`, `correlation_id`
    /// (the session too) and `causation_id`, the session's event before it; the first one of a session has none.
    ///
    /// What the author set already stays. A session has one recorder at a time. Finding a session that is not there
    /// costs a look at every event.
    ///
    /// # Errors
    /// As [`Braid::append`]; also metadata that is no object, or that names another session.
    pub fn record(&self, session_id: &str, mut draft: Draft) -> Result<Committed, AppendError> {
        let epoch = self.refresh().map_err(|failure| AppendError::Storage { errno: Errno::EIO, message: failure.message })?;
        let index = &epoch.index;
        let before = find_repeated(index, &draft);
        if let Some(before) = before {
            // A retry must be the same bytes: the ids and the event before are those of the first time.
            for (event, known) in draft.events.iter_mut().zip(index.transactions.events(before)) {
                event.event_id = event.event_id.or(Some(index.events.id(known, &index.pack)));
            }
        }
        let mut previous = find_previous(index, session_id, before);
        let mut reasons = Vec::new();
        for event in &mut draft.events {
            let id = *event.event_id.get_or_insert_with(|| EventId(Uuid::now_v7()));
            match with_session(event, session_id, previous) {
                Ok(metadata) => event.metadata = metadata,
                Err(message) => reasons.push(Reason {
                    errno: Errno::EINVAL,
                    line: Some(event.line),
                    column: None,
                    message,
                    hint: "leave the session's keys to the recorder".to_owned(),
                }),
            }
            previous = Some(id);
        }
        if !reasons.is_empty() {
            return Err(Rejection { reasons }.into());
        }
        self.append(draft)
    }
}

/// The transaction that a draft repeats, by its key or its first event's id.
fn find_repeated(index: &Index, draft: &Draft) -> Option<u32> {
    let by_key = draft.key.as_deref().and_then(|key| index.transactions.find_key(key));
    by_key.or_else(|| draft.events.first()?.event_id.and_then(|id| index.find_event(id)).map(|event| index.events.transaction(event)))
}

/// The last event of a session in canonical order, before a transaction if one is named.
fn find_previous(index: &Index, session_id: &str, before: Option<u32>) -> Option<EventId> {
    let spelled = serde_json::to_string(session_id).ok()?;
    let session = memchr::memmem::Finder::new(&spelled);
    let found = index.log.events.iter_back().find(|&event| {
        let transaction = index.events.transaction(event);
        before.is_none_or(|before| index.transactions.compare(transaction, before).is_lt())
            && session.find(index.events.tail(event, &index.pack)).is_some()
            && session_of(index, event).as_deref() == Some(session_id)
    });
    found.map(|event| index.events.id(event, &index.pack))
}

fn session_of(index: &Index, event: u32) -> Option<String> {
    #[derive(Deserialize)]
    struct Line {
        metadata: Keys,
    }
    let mut line = b"{".to_vec();
    line.extend_from_slice(index.events.tail(event, &index.pack));
    let line: Line = serde_json::from_slice(&line).ok()?;
    line.metadata.session_id?.as_str().map(str::to_owned)
}

/// The metadata of an event with the session's keys in front of the author's.
fn with_session(event: &DraftEvent, session_id: &str, previous: Option<EventId>) -> Result<String, String> {
    let Some(inside) = event.metadata.trim().strip_prefix('{') else {
        return Err("metadata is no object, a session's keys have no place in it".to_owned());
    };
    let own: Keys = serde_json::from_str(&event.metadata).map_err(|error| format!("metadata cannot be read: {error}"))?;
    if let Some(other) = own.session_id.as_ref().filter(|other| other.as_str() != Some(session_id)) {
        return Err(format!("metadata names session {other}, the recorder's is \"{session_id}\""));
    }
    let session = serde_json::Value::from(session_id).to_string();
    let mut keys = Vec::new();
    if own.session_id.is_none() {
        keys.push(format!("\"session_id\":{session}"));
    }
    if own.correlation_id.is_none() {
        keys.push(format!("\"correlation_id\":{session}"));
    }
    if let (None, Some(previous)) = (&own.causation_id, previous) {
        keys.push(format!("\"causation_id\":\"{previous}\""));
    }
    let separator = if keys.is_empty() || inside.trim_start().starts_with('}') { "" } else { "," };
    Ok(format!("{{{}{separator}{}", keys.join(","), inside.trim_start()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn event(metadata: &str) -> DraftEvent {
        DraftEvent {
            event_id: None,
            stream_id: "s".to_owned(),
            event_type: "T".to_owned(),
            event_data: "1".to_owned(),
            metadata: metadata.to_owned(),
            line: 1,
        }
    }

    #[test]
    fn keys_stand_in_front_of_the_authors() {
        let previous = Some(EventId(Uuid::nil()));
        let with = |metadata: &str, previous| with_session(&event(metadata), "a\"b", previous);
        assert_eq!(with("{}", None).unwrap(), r#"{"session_id":"a\"b","correlation_id":"a\"b"}"#);
        assert_eq!(
            with(r#"{ "x":1}"#, previous).unwrap(),
            format!(r#"{{"session_id":"a\"b","correlation_id":"a\"b","causation_id":"{}","x":1}}"#, Uuid::nil())
        );
        let own = r#"{"session_id":"a\"b","correlation_id":7,"causation_id":"c"}"#;
        assert_eq!(with(own, previous).unwrap(), own);
        assert!(with(r#"{"session_id":"other"}"#, None).unwrap_err().contains("other"));
        assert!(with("[]", None).is_err());
    }
}
