//! From what a command wrote to a draft, checked like everybody's.

use std::collections::BTreeMap;

use serde_json::json;
use serde_json::value::RawValue;

use crate::format::draft::{DraftKind, parse_draft};
use crate::model::{Draft, Rejection};

/// An event as a command wrote it.
pub(super) struct NewEvent {
    pub(super) stream_id: String,
    pub(super) event_type: &'static str,
    pub(super) event_data: Box<RawValue>,
}

/// A draft of these events, on exactly these versions.
pub(super) fn draft_of(expected: &BTreeMap<String, u64>, events: &[NewEvent]) -> Result<Draft, Rejection> {
    let mut text = json!({ "expect": expected }).to_string();
    for event in events {
        let (stream, event_type) = (json!(event.stream_id), json!(event.event_type));
        // A line end in raw JSON stands between tokens only.
        let data = event.event_data.get().replace(['\n', '\r'], " ");
        text += &format!("\n{{\"stream_id\":{stream},\"event_type\":{event_type},\"event_data\":{data}}}");
    }
    text.push('\n');
    parse_draft(text.as_bytes(), DraftKind::Lines)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;
    use crate::model::Expectation;

    fn event(data: &str) -> NewEvent {
        NewEvent { stream_id: "a\"/é".to_owned(), event_type: "Opened", event_data: RawValue::from_string(data.to_owned()).unwrap() }
    }

    #[test]
    fn payloads_stay_as_they_were_written_but_for_line_ends_between_tokens() {
        let draft = draft_of(&BTreeMap::from([("a\"/é".to_owned(), 3)]), &[event("{\"b\": 1.50,\n\"a\": \"x\\ny\"}")]).unwrap();
        assert_eq!(draft.events[0].event_data, "{\"b\": 1.50, \"a\": \"x\\ny\"}");
        assert_eq!(draft.events[0].stream_id, "a\"/é");
        assert_eq!(draft.expect, [("a\"/é".to_owned(), Expectation::Version(3))]);
    }

    #[test]
    fn what_the_crate_could_not_read_again_is_refused() {
        let nested = format!("{}{}", "[".repeat(127), "]".repeat(127));
        assert!(draft_of(&BTreeMap::new(), &[event(&nested)]).is_err());
    }
}
