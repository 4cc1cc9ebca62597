//! `braidfs feed`.

use clap::Args;

use super::events::{Choice, print};
use super::failure::Result;
use super::{Session, reader};

/// Print every event in the order in which this replica first saw it
///
/// The number in front (`seq_nr`) never changes: to go on where you stopped, name the last one you have seen by `--after`.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Arguments {
    #[command(flatten)]
    choice: Choice,
    /// Only events of streams that match; `*` and `?` match any text and any character
    #[arg(long, value_name = "GLOB")]
    stream: Option<String>,
}

pub(super) fn run(arguments: &Arguments, session: &mut Session) -> Result {
    let tree = reader::numbered_tree(session)?;
    print(session, &tree.feed(0), &arguments.choice, arguments.stream.as_deref())
}
