//! `braidfs stream`.

use clap::Args;

use super::events::{Choice, print};
use super::failure::{Failure, Kind, Result};
use super::near::nearest;
use super::{Session, reader};
use crate::format::text::quoted;
use crate::view::Tree;

/// Print one stream's events
#[derive(Args)]
pub(super) struct Arguments {
    /// The stream's id
    #[arg(value_name = "STREAM")]
    stream: String,
    #[command(flatten)]
    choice: Choice,
    #[command(flatten)]
    moment: reader::Moment,
}

pub(super) fn run(arguments: &Arguments, session: &mut Session) -> Result {
    let tree = reader::tree_at(session, &arguments.moment)?;
    let view = tree.stream(&arguments.stream).ok_or_else(|| no_such(&arguments.stream, &tree))?;
    print(session, &view, &arguments.choice, None)
}

fn no_such(stream: &str, tree: &Tree) -> Failure {
    let index = &tree.epoch().index;
    let live = (0..index.streams.len()).filter(|&number| index.stream_list(number).is_some());
    let meant = nearest(stream, live.map(|number| index.streams.text(number).to_owned()));
    let meant = meant.map(|meant| format!("did you mean {}?", quoted(&meant))).unwrap_or_default();
    Failure::new(Kind::Refused, format!("stream '{stream}' has no events")).hint(meant).hint("braidfs streams lists those that have")
}
