//! `braidfs stream`.

use clap::Args;

use super::events::{Choice, print};
use super::failure::{Failure, Kind, Result};
use super::{Session, reader};

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
    let view = tree.stream(&arguments.stream).ok_or_else(|| no_such(&arguments.stream))?;
    print(session, &view, &arguments.choice, None)
}

fn no_such(stream: &str) -> Failure {
    Failure::new(Kind::Refused, format!("stream '{stream}' has no events")).hint("braidfs streams lists those that have")
}
