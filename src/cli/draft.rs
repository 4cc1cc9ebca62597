//! `braidfs draft`.

use clap::Args;

use super::append::with_origins;
use super::failure::{Failure, Kind, Result};
use super::{Session, reader};
use crate::format::draft::{render_document, render_draft};
use crate::format::time::new_uuid;
use crate::format::transaction::stream_id_fault;
use crate::model::{Draft, DraftEvent, Expectation, Payload};

/// Print a draft of an event, to be edited: with what is expected of the stream and a fresh key filled in
///
/// For example: braidfs draft account-1 > x.jsonl; edit x.jsonl; braidfs append x.jsonl
///
/// Of a forked stream none is printed: whoever has looked at both sides (braidfs forks) settles them, or appends with what the refusal says.
///
/// With --format json it is one JSON document, for a file named *.json.
#[derive(Args)]
pub(super) struct Arguments {
    /// The stream's id
    #[arg(value_name = "STREAM")]
    stream: String,
    /// The event's type; without one the draft is refused until you fill it in
    #[arg(long = "type", value_name = "TYPE", default_value = "")]
    event_type: String,
}

pub(super) fn run(arguments: &Arguments, session: &mut Session) -> Result {
    if let Some(fault) = stream_id_fault(&arguments.stream) {
        return Err(Failure::new(Kind::Usage, fault).hint("braidfs streams lists the ids that there are; a new one is any other text"));
    }
    let braid = reader::braid(session, true)?;
    let version = braid.epoch().index.stream_version(&arguments.stream);
    let expectation = if version == 0 { Expectation::None } else { Expectation::Version(version) };
    let event = DraftEvent {
        event_id: None,
        stream_id: arguments.stream.clone(),
        event_type: arguments.event_type.clone(),
        event_data: Payload::default(),
        metadata: Payload::default(),
        line: 0,
    };
    let mut draft = Draft { key: Some(new_uuid().to_string()), events: vec![event], ..Draft::default() };
    // What it expects would say that its author has seen both sides of a fork.
    braid.check(&draft).map_err(|mut rejection| {
        rejection.reasons.iter_mut().for_each(|reason| reason.line = None);
        with_origins(&braid, Failure::from(rejection)).about(&format!("draft of '{}'", arguments.stream))
    })?;
    draft.expect = vec![(arguments.stream.clone(), expectation)];
    let text = if session.out.is_json() { render_document(&draft) } else { render_draft(&draft) };
    session.out.bytes(text.as_bytes())
}
