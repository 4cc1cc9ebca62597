//! `braidfs log`.

use clap::Args;

use super::events::{Choice, print};
use super::failure::Result;
use super::{Session, reader};

/// Print every event in canonical order, the same on every clone
#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    choice: Choice,
    /// Only events of streams that match; `*` and `?` match any text and any character
    #[arg(long, value_name = "GLOB")]
    stream: Option<String>,
    #[command(flatten)]
    moment: reader::Moment,
}

pub(super) fn run(arguments: &Arguments, session: &mut Session) -> Result {
    let tree = reader::tree_at(session, &arguments.moment)?;
    print(session, &tree.log(), &arguments.choice, arguments.stream.as_deref())
}
