//! Drafts as an author would write them.

use crate::format::json::push_string;
use crate::model::{Draft, DraftEvent, Expectation, SnapshotRequest};

/// Renders a draft for a `*.jsonl` file: its header if it needs one, then one event a line.
#[must_use]
pub fn render_draft(draft: &Draft) -> String {
    let mut out = Vec::new();
    let fields = header_fields(draft);
    if !fields.is_empty() {
        out.push(b'{');
        out.extend_from_slice(&fields.join(&b','));
        out.extend_from_slice(b"}\n");
    }
    for event in &draft.events {
        push_event(&mut out, event);
        out.push(b'\n');
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Renders a draft for a `*.json` file or one write to `append`: one object on one line, its events in it.
#[must_use]
pub fn render_document(draft: &Draft) -> String {
    let mut fields = header_fields(draft);
    if draft.snapshot.is_none() {
        let mut events = b"\"events\":[".to_vec();
        for (n, event) in draft.events.iter().enumerate() {
            events.extend_from_slice(if n > 0 { b"," } else { b"" });
            push_event(&mut events, event);
        }
        events.push(b']');
        fields.push(events);
    }
    String::from_utf8_lossy(&[b"{", fields.join(&b',').as_slice(), b"}\n"].concat()).into_owned()
}

/// The members of the header that say something.
fn header_fields(draft: &Draft) -> Vec<Vec<u8>> {
    let text = |key: &str, value: &str| {
        let mut out = key.as_bytes().to_vec();
        push_string(&mut out, value);
        out
    };
    let fields = [
        (!draft.expect.is_empty()).then(|| expect(&draft.expect)),
        draft.key.as_ref().map(|key| text("\"key\":", key)),
        draft.count.map(|count| format!("\"count\":{count}").into_bytes()),
        draft.resolve.as_ref().map(|resolve| text("\"resolve\":", &resolve.conflict)),
        draft.snapshot.as_ref().map(snapshot),
    ];
    fields.into_iter().flatten().collect()
}

fn expect(expect: &[(String, Expectation)]) -> Vec<u8> {
    let expectations = expect.iter().map(|(stream, expectation)| {
        let expectation = match expectation {
            Expectation::Version(version) => version.to_string(),
            word => format!("\"{word}\""),
        };
        (stream.as_str(), expectation)
    });
    object("\"expect\":", expectations)
}

fn snapshot(snapshot: &SnapshotRequest) -> Vec<u8> {
    let mut out = b"\"snapshot\":{\"name\":".to_vec();
    push_string(&mut out, &snapshot.name);
    match snapshot.seq_nr {
        Some(seq_nr) => out.extend_from_slice(format!(",\"seq_nr\":{seq_nr}").as_bytes()),
        None => out.extend_from_slice(&object(
            ",\"versions\":",
            snapshot.versions.iter().map(|(stream, version)| (stream.as_str(), version.to_string())),
        )),
    }
    out.extend_from_slice(b"},\"state\":");
    out.extend_from_slice(snapshot.state.as_bytes());
    out
}

fn object<'a>(key: &str, members: impl Iterator<Item = (&'a str, String)>) -> Vec<u8> {
    let mut out = key.as_bytes().to_vec();
    out.push(b'{');
    for (n, (name, value)) in members.enumerate() {
        out.extend_from_slice(if n > 0 { b"," } else { b"" });
        push_string(&mut out, name);
        out.push(b':');
        out.extend_from_slice(value.as_bytes());
    }
    out.push(b'}');
    out
}

fn push_event(out: &mut Vec<u8>, event: &DraftEvent) {
    out.extend_from_slice(b"{\"stream_id\":");
    push_string(out, &event.stream_id);
    out.extend_from_slice(b",\"event_type\":");
    push_string(out, &event.event_type);
    out.extend_from_slice(b",\"event_data\":");
    out.extend_from_slice(event.event_data.as_bytes());
    if event.metadata != "{}" {
        out.extend_from_slice(b",\"metadata\":");
        out.extend_from_slice(event.metadata.as_bytes());
    }
    if let Some(id) = event.event_id {
        out.extend_from_slice(format!(",\"event_id\":\"{id}\"").as_bytes());
    }
    out.push(b'}');
}
