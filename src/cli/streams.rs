//! `braidfs streams`.

use clap::Args;
use serde_json::json;

use super::failure::Result;
use super::harmless::harmless;
use super::{Session, glob, reader};

/// List the streams, each with its number of events and whether it is forked
#[derive(Args)]
pub(super) struct Arguments {
    /// Only streams that match; `*` and `?` match any text and any character
    #[arg(value_name = "GLOB")]
    pattern: Option<String>,
    #[command(flatten)]
    moment: reader::Moment,
}

pub(super) fn run(arguments: &Arguments, session: &mut Session) -> Result {
    let tree = reader::tree_at(session, &arguments.moment)?;
    let index = &tree.epoch().index;
    let is_chosen = |stream: &str| arguments.pattern.as_deref().is_none_or(|pattern| glob::matches(pattern, stream));
    let numbers = (0..index.streams.len()).map(|number| (index.streams.text(number), number));
    let mut streams: Vec<(&str, u32)> = numbers.filter(|(stream, _)| is_chosen(stream)).collect();
    streams.sort_unstable();
    for (stream, number) in streams {
        let events = index.stream_list(number).map_or(0, |list| list.events.len());
        if events == 0 {
            continue;
        }
        let is_forked = index.forks().of_stream(number).is_some();
        if session.out.is_json() {
            session.out.json(&json!({"stream_id": stream, "events": events, "forked": is_forked}))?;
        } else {
            session.out.line(format!("{events:>7}  {}{}", harmless(stream), if is_forked { "  (forked)" } else { "" }))?;
        }
    }
    Ok(())
}
