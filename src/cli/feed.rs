//! `braidfs feed`.

use clap::Args;
use serde_json::json;

use super::events::{Choice, print_line};
use super::failure::Result;
use super::filter::Filter;
use super::{Session, reader};
use crate::view::PAGE_EVENTS_DEFAULT;

/// Print every event in the order in which this replica first saw it
///
/// The number in front (`seq_nr`) never changes: to go on where you stopped, name the last one you have seen by `--after`.
#[derive(Args)]
pub(super) struct Arguments {
    /// Only what comes after this number
    #[arg(long, value_name = "N", default_value_t = 0)]
    after: u64,
    /// At most so many events
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    #[command(flatten)]
    filter: Filter,
    /// End with a line {"next_seq":N}: the number to name by --after next, behind all that was passed over
    #[arg(long)]
    cursor: bool,
}

pub(super) fn run(arguments: &Arguments, session: &mut Session) -> Result {
    let tree = reader::numbered_tree(session)?;
    let latest = tree.latest_seq_nr();
    if arguments.after > latest {
        eprintln!("braidfs: the feed ends at number {latest}, before {}", arguments.after);
    }
    let (mut next, mut left) = (arguments.after, arguments.limit.unwrap_or(u64::MAX));
    loop {
        let page = tree.feed_page(next, &arguments.filter.to_feed(left.min(PAGE_EVENTS_DEFAULT)));
        let is_end = page.next_seq == next;
        next = page.next_seq;
        for event in &page.events {
            print_line(session, &event.line, &Choice::default(), None)?;
        }
        left = left.saturating_sub(page.events.len() as u64);
        if is_end || left == 0 {
            break;
        }
    }
    if arguments.cursor { session.out.json(&json!({"next_seq": next})) } else { Ok(()) }
}
