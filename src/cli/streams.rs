//! `braidfs streams`.

use clap::Args;
use serde_json::json;

use super::failure::Result;
use super::harmless::harmless;
use super::{Session, glob, reader};

/// List the streams, each with its number of events
#[derive(Args)]
pub(super) struct Arguments {
    /// Only streams that match; `*` and `?` match any text and any character
    #[arg(value_name = "GLOB")]
    pattern: Option<String>,
}

pub(super) fn run(arguments: &Arguments, session: &mut Session) -> Result {
    let tree = reader::tree(session)?;
    let index = &tree.epoch().index;
    let counts =
        (0..index.streams.len()).map(|number| (index.streams.text(number), index.stream_list(number).map_or(0, |list| list.events.len())));
    let mut streams: Vec<(&str, u64)> = counts
        .filter(|(stream, events)| *events > 0 && arguments.pattern.as_deref().is_none_or(|pattern| glob::matches(pattern, stream)))
        .collect();
    streams.sort_unstable();
    for (stream, events) in streams {
        if session.out.is_json() {
            session.out.json(&json!({"stream_id": stream, "events": events}))?;
        } else {
            session.out.line(format!("{events:>7}  {}", harmless(stream)))?;
        }
    }
    Ok(())
}
