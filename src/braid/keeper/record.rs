//! Recording a session: every event says which session it belongs to and which event came before it there.

use serde::Deserialize;

use crate::braid::keeper::Keeper;
use crate::braid::keeper::forked::Proposal;
use crate::braid::{AppendError, Braid, Committed};
use crate::format::legacy::CUTOVER_TYPE;
use crate::format::time::new_uuid;
use crate::index::Index;
use crate::index::feed::Slot;
use crate::model::{Draft, DraftEvent, Errno, EventId, Payload, Reason, Rejection};

/// The keys of an event's metadata that a recorder sets.
#[derive(Debug, Default, Deserialize)]
struct Keys {
    session_id: Option<serde_json::Value>,
    correlation_id: Option<serde_json::Value>,
    causation_id: Option<serde_json::Value>,
    seq_nr: Option<serde_json::Value>,
}

/// What comes next in a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Next {
    /// The session's event before.
    causation_id: Option<String>,
    /// The number of the counter that a cutover continues.
    seq_nr: Option<u64>,
}

/// The numbers that recorders have given, where a cutover said that a foreign counter goes on.
#[derive(Debug, Default)]
pub(super) struct ForeignCounter {
    /// Up to which number of the feed events were looked at, and as of which of its incarnations.
    seen: (u32, u64),
    /// The largest number of any recorded event among them, or of one that is being written.
    last: u64,
}

impl Braid {
    /// Appends a draft as the recorder of a session does: the metadata of each event gets `session_id`, `correlation_id`
    /// (the session too) and `causation_id`, the session's event before it; the first one of a session has none. Where a
    /// cutover continues a foreign counter, each event gets its next number as `seq_nr`.
    ///
    /// What the author set already stays. Any number of recorders, in any number of processes, may record one session: each
    /// event follows the one that was committed before it. Finding a session that is not there costs a look at every event.
    ///
    /// # Errors
    /// As [`Braid::append`]; also metadata that is no object, or that names another session.
    pub fn record(&self, session_id: &str, draft: Draft) -> Result<Committed, AppendError> {
        if draft.snapshot.is_some() {
            return self.append(draft);
        }
        if session_id.is_empty() {
            return Err(Rejection::whole(Errno::EINVAL, "session id \"\" is empty", "name the session").into());
        }
        self.commit(Proposal { session: Some(session_id.to_owned()), ..Proposal::from(draft) })
    }
}

impl Keeper {
    /// Gives the events of a proposal what its session's recorder adds, as of an index; to be called under the lock.
    pub(super) fn record(&mut self, index: &Index, proposal: &mut Proposal) -> Result<(), Rejection> {
        let Some(session_id) = proposal.session.take() else { return Ok(()) };
        let draft = &mut proposal.draft;
        let mut known = repeated_events(index, draft).into_iter();
        let mut next = Next { causation_id: find_previous(index, &session_id), seq_nr: self.foreign.next(index) };
        let mut reasons = Vec::new();
        for event in &mut draft.events {
            // A retry must be the same bytes: what was added the first time.
            let repeated = known.next();
            if let Some((id, added)) = repeated {
                event.event_id = event.event_id.or(Some(id));
                next = added;
            }
            let id = *event.event_id.get_or_insert_with(|| EventId(new_uuid()));
            match with_session(event, &session_id, &next) {
                // The author's was checked, and what was added are strings and a number.
                Ok(metadata) => event.metadata = Payload::checked(metadata),
                Err(message) => reasons.push(Reason {
                    errno: Errno::EINVAL,
                    line: Some(event.line),
                    column: None,
                    message,
                    hint: "leave the session's keys to the recorder".to_owned(),
                }),
            }
            next = Next { causation_id: Some(id.to_string()), seq_nr: next.seq_nr.map(|seq_nr| seq_nr + 1) };
        }
        if !reasons.is_empty() {
            return Err(Rejection::of(reasons));
        }
        Ok(())
    }
}

impl ForeignCounter {
    /// The number that comes next, if a cutover continues a counter; costs what the feed has got since the last time.
    fn next(&mut self, index: &Index) -> Option<u64> {
        let cutovers = index.type_list(index.types.find(CUTOVER_TYPE)?)?;
        cutovers.events.iter_from(0).find(|&event| keys_of(index, event).is_some_and(|keys| number(keys.seq_nr).is_some()))?;
        let (incarnation, seen) = self.seen;
        let from = if incarnation == index.feed.incarnation { seen } else { 0 };
        let finder = memchr::memmem::Finder::new("\"seq_nr\"");
        for item in index.feed.items.iter_from(from) {
            let Slot::Event(event) = index.feed.slot(item) else { continue };
            if finder.find(index.events.tail(event, &index.pack)).is_some() {
                self.note(keys_of(index, event));
            }
        }
        self.seen = (index.feed.incarnation, index.feed.latest());
        Some(self.last + 1)
    }

    fn note(&mut self, keys: Option<Keys>) {
        self.last = self.last.max(keys.and_then(|keys| number(keys.seq_nr)).unwrap_or(0));
    }

    /// Notes the numbers of a transaction that is being written: the next one that waits with it must not get them.
    pub(super) fn note_written(&mut self, draft: &Draft) {
        for event in draft.events.iter().filter(|event| event.metadata.contains("\"seq_nr\"")) {
            self.note(serde_json::from_str(&event.metadata).ok());
        }
    }
}

fn number(value: Option<serde_json::Value>) -> Option<u64> {
    value.as_ref().and_then(serde_json::Value::as_u64)
}

/// The events of the transaction that a draft repeats, by its key or its first event's id, with what was added to them.
fn repeated_events(index: &Index, draft: &Draft) -> Vec<(EventId, Next)> {
    let by_key = draft.key.as_deref().and_then(|key| index.transactions.find_key(key));
    let by_id = || draft.events.first()?.event_id.and_then(|id| index.find_event(id)).map(|event| index.events.transaction(event));
    let Some(transaction) = by_key.or_else(by_id) else { return Vec::new() };
    let added = |event| {
        let keys = keys_of(index, event).unwrap_or_default();
        let causation_id = keys.causation_id.and_then(|cause| cause.as_str().map(str::to_owned));
        (index.events.id(event, &index.pack), Next { causation_id, seq_nr: number(keys.seq_nr) })
    };
    index.transactions.events(transaction).map(added).collect()
}

/// The last event of a session in canonical order.
fn find_previous(index: &Index, session_id: &str) -> Option<String> {
    let spelled = serde_json::to_string(session_id).ok()?;
    let session = memchr::memmem::Finder::new(&spelled);
    let found = index.log.events.iter_back().find(|&event| {
        session.find(index.events.tail(event, &index.pack)).is_some()
            && keys_of(index, event).and_then(|keys| keys.session_id).is_some_and(|of| of == session_id)
    });
    found.map(|event| index.events.id(event, &index.pack).to_string())
}

fn keys_of(index: &Index, event: u32) -> Option<Keys> {
    #[derive(Deserialize)]
    struct Line {
        metadata: Keys,
    }
    let mut line = b"{".to_vec();
    line.extend_from_slice(index.events.tail(event, &index.pack));
    serde_json::from_slice::<Line>(&line).ok().map(|line| line.metadata)
}

/// The metadata of an event with the session's keys in front of the author's.
fn with_session(event: &DraftEvent, session_id: &str, next: &Next) -> Result<String, String> {
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
    if let (None, Some(cause)) = (&own.causation_id, &next.causation_id) {
        keys.push(format!("\"causation_id\":{}", serde_json::Value::from(cause.as_str())));
    }
    if let (None, Some(seq_nr)) = (&own.seq_nr, next.seq_nr) {
        keys.push(format!("\"seq_nr\":{seq_nr}"));
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
            event_data: Payload::checked("1".to_owned()),
            metadata: metadata.parse().unwrap(),
            line: 1,
        }
    }

    #[test]
    fn keys_stand_in_front_of_the_authors() {
        let (first, later) = (Next::default(), Next { causation_id: Some("c\"1".to_owned()), seq_nr: Some(7) });
        let with = |metadata: &str, next: &Next| with_session(&event(metadata), "a\"b", next);
        assert_eq!(with("{}", &first).unwrap(), r#"{"session_id":"a\"b","correlation_id":"a\"b"}"#);
        assert_eq!(
            with(r#"{ "x":1}"#, &later).unwrap(),
            r#"{"session_id":"a\"b","correlation_id":"a\"b","causation_id":"c\"1","seq_nr":7,"x":1}"#
        );
        let own = r#"{"session_id":"a\"b","correlation_id":7,"causation_id":"c","seq_nr":"7"}"#;
        assert_eq!(with(own, &later).unwrap(), own);
        assert!(with(r#"{"session_id":"other"}"#, &first).unwrap_err().contains("other"));
        assert!(with("[]", &first).is_err());
    }
}
