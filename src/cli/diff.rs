//! `braidfs diff`.

use clap::Args;
use serde_json::{Value, json};

use super::failure::{Failure, Result};
use super::harmless::harmless;
use super::{Session, locate, reader};
use crate::braid::{Difference, StreamDifference, difference};
use crate::disk::Disk;
use crate::format::text::counted;

/// So many transactions are listed for people.
const LISTED_MAX: usize = 20;

/// Tell what lies between two moments: what a merge brought, and what it did to the streams
///
/// A moment is a git revision, a transaction's id, position:N, seq:N, epoch:N (the number in status.json) or
/// time:2026-01-31T12:00:00Z. After `git pull`: braidfs diff ORIG_HEAD HEAD.
#[derive(Args)]
pub(super) struct Arguments {
    /// The earlier moment
    #[arg(value_name = "OLD")]
    old: String,
    /// The later moment; what is there now by default
    #[arg(value_name = "NEW")]
    new: Option<String>,
}

pub(super) fn run(arguments: &Arguments, session: &mut Session) -> Result {
    let directory = locate::named_or_found(session, &Disk::real())?;
    let (braid, present) = reader::open(session, &directory, true)?;
    let at = |when: &str| braid.at(when).map_err(Failure::from);
    let old = at(&arguments.old)?;
    let new = arguments.new.as_deref().map_or(Ok(present), at)?;
    let difference = difference(&old, &new);
    if session.out.is_json() { session.out.json(&to_json(&difference)) } else { print(session, &difference) }
}

fn to_json(difference: &Difference) -> Value {
    let came = difference.came.iter().map(|came| {
        json!({
            "transaction_id": came.transaction_id.to_string(), "replica_id": came.replica_id.to_string(),
            "created_at": came.created_at, "events": came.events,
        })
    });
    let streams = difference.streams.iter().map(|(stream, change)| {
        json!({
            "stream_id": stream, "old_version": change.old_version, "new_version": change.new_version, "came": change.came,
            "went": change.went, "reordered": change.reordered, "shifted": change.shifted, "first_shifted": change.first_shifted,
        })
    });
    let conflicts = |of: &std::collections::BTreeMap<String, Vec<String>>| -> Vec<Value> {
        of.iter().map(|(id, streams)| json!({"conflict": id, "streams": streams})).collect()
    };
    json!({
        "came": came.collect::<Vec<_>>(),
        "went": difference.went.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "streams": streams.collect::<Vec<_>>(),
        "conflicts": {
            "opened": conflicts(&difference.opened), "changed": changed_to_json(difference), "closed": conflicts(&difference.closed),
        },
    })
}

/// The conflicts that are open under other ids, for programs.
pub(super) fn changed_to_json(difference: &Difference) -> Vec<Value> {
    let changed = difference.changed.iter();
    changed.map(|(id, changed)| json!({"conflict": id, "before": changed.before, "streams": changed.streams})).collect()
}

fn print(session: &mut Session, difference: &Difference) -> Result {
    session.out.line(format!("{} came, {} went", counted(difference.came.len(), "transaction"), difference.went.len()))?;
    for came in difference.came.iter().take(LISTED_MAX) {
        session.out.line(format!("  + {}  {}  {}", came.transaction_id, harmless(&came.created_at), counted(came.events, "event")))?;
    }
    for went in difference.went.iter().take(LISTED_MAX) {
        session.out.line(format!("  - {went}"))?;
    }
    let hidden = difference.came.len().saturating_sub(LISTED_MAX) + difference.went.len().saturating_sub(LISTED_MAX);
    if hidden > 0 {
        session.out.line(format!("  and {hidden} more: --format json lists all"))?;
    }
    session.out.line(format!("{} changed", counted(difference.streams.len(), "stream")))?;
    for (stream, change) in &difference.streams {
        session.out.line(format!("  {}: {}", harmless(stream), describe(change)))?;
    }
    for (what, conflicts) in [("opened", &difference.opened), ("closed", &difference.closed)] {
        for (id, streams) in conflicts {
            session.out.line(format!("conflict {id} {what}: {}", harmless(&streams.join(", "))))?;
        }
    }
    for (id, changed) in &difference.changed {
        session.out.line(format!("conflict {} changed to {id}: {}", changed.before.join(", "), harmless(&changed.streams.join(", "))))?;
    }
    Ok(())
}

fn describe(change: &StreamDifference) -> String {
    let mut text = format!("version {} -> {}", change.old_version, change.new_version);
    for (count, what) in [(change.came, "came"), (change.went, "went")] {
        if count > 0 {
            text += &format!(", {count} {what}");
        }
    }
    if let Some(first) = change.first_shifted {
        text += &format!(", {} shifted from {first} on", counted(change.shifted, "version"));
    }
    if change.reordered {
        text += ", re-ordered";
    }
    text
}
