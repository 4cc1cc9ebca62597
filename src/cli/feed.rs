//! `braidfs feed`.

use std::collections::VecDeque;

use clap::Args;
use serde_json::json;

use super::events::{Choice, keep_last, last_chosen, print_line};
use super::failure::Result;
use super::filter::Filter;
use super::{Session, reader};
use crate::view::{PAGE_EVENTS_DEFAULT, Tree};

/// Print every event in the order in which this replica first saw it
///
/// The number in front (`seq_nr`) never changes: to go on where you stopped, name the last one you have seen by `--after`.
///
/// With `--at` it is the feed that a fresh store of that moment would have: canonical order, numbered from 1.
#[derive(Args)]
pub(super) struct Arguments {
    /// Only what comes after this number
    #[arg(long, value_name = "N", default_value_t = 0)]
    after: u64,
    /// At most so many events
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Only the last so many of what is chosen
    #[arg(long, value_name = "N", conflicts_with = "limit")]
    last: Option<u64>,
    #[command(flatten)]
    filter: Filter,
    /// End with a line {"next_seq":N}: the number to name by --after next, behind all that was passed over
    #[arg(long, conflicts_with = "at")]
    cursor: bool,
    #[command(flatten)]
    moment: reader::Moment,
}

pub(super) fn run(arguments: &Arguments, session: &mut Session) -> Result {
    let tree = reader::numbered_tree_at(session, &arguments.moment)?;
    let latest = tree.latest_seq_nr();
    if arguments.after > latest {
        session.out.note(&format!("the feed ends at number {latest}, before {}", arguments.after), &[]);
    }
    let limit = arguments.limit.unwrap_or(u64::MAX);
    let mut next = latest.max(arguments.after);
    if let Some(count) = arguments.last {
        let lines = last_chosen(arguments.after, latest, count, |from| {
            let mut chosen = VecDeque::new();
            each_event(&tree, &arguments.filter, from, limit, |line| {
                keep_last(&mut chosen, count, line);
                Ok(())
            })?;
            Ok(chosen)
        })?;
        lines.iter().try_for_each(|line| print_line(session, line, &Choice::default(), None).map(drop))?;
    } else {
        next = each_event(&tree, &arguments.filter, arguments.after, limit, |line| {
            print_line(session, &line, &Choice::default(), None).map(drop)
        })?;
    }
    if arguments.cursor { session.out.json(&json!({"next_seq": next})) } else { Ok(()) }
}

/// Hands over the chosen events behind a number, at most so many; gives the number of the last one that was looked at.
fn each_event(tree: &Tree, filter: &Filter, after: u64, limit: u64, mut each: impl FnMut(Vec<u8>) -> Result) -> Result<u64> {
    let (mut next, mut left) = (after, limit);
    loop {
        let page = tree.feed_page(next, &filter.to_feed(left.min(PAGE_EVENTS_DEFAULT)));
        let is_end = page.next_seq == next;
        next = page.next_seq;
        left = left.saturating_sub(page.events.len() as u64);
        page.events.into_iter().try_for_each(|event| each(event.line))?;
        if is_end || left == 0 {
            return Ok(next);
        }
    }
}
