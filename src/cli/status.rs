//! `braidfs status`.

use std::path::Path;

use clap::Args;
use serde_json::Value;

use super::failure::{Failure, Kind, Result};
use super::harmless::harmless;
use super::{Session, locate, reader};
use crate::epoch::Epoch;
use crate::format::text::{counted, counted_as};
use crate::model::Finding;
use crate::view::status_json;

/// So many findings are shown to people; `verify` shows them all.
const FINDINGS_SHOWN_MAX: usize = 10;

/// So many heads are shown to people.
const HEADS_SHOWN_MAX: usize = 5;

/// Print the store's state: counts, heads, forks, findings
///
/// For programs (`--format json`) it is what `status.json` shows in a mount, but for what only git can tell: see `doctor`.
#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    moment: reader::Moment,
}

pub(super) fn run(arguments: &Arguments, session: &mut Session) -> Result {
    let tree = reader::tree_at(session, &arguments.moment)?;
    let epoch = tree.epoch();
    let text = status_json(epoch);
    if session.out.is_json() {
        return session.out.bytes(text.as_bytes());
    }
    let status: Value =
        serde_json::from_str(&text).map_err(|error| Failure::new(Kind::Failed, "the status cannot be read").because(&error))?;
    print(session, &status, epoch)
}

fn print(session: &mut Session, status: &Value, epoch: &Epoch) -> Result {
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let at = |key: &str| status.get(key).unwrap_or(&Value::Null);
    let (transactions, events, streams) = (number(at("transactions")), number(at("events")), number(at("streams")));
    let (transactions, events) = (counted(transactions, "transaction"), counted(events, "event"));
    session.out.line(format!("{transactions} with {events} in {}", counted(streams, "stream")))?;
    session.out.line(format!("replica   {}", at("replica_id").as_str().unwrap_or("none yet: the first commit makes one")))?;
    let heads: Vec<&str> = at("heads").as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (n, head) in heads.iter().take(HEADS_SHOWN_MAX).enumerate() {
        session.out.line(format!("{:<9} {head}", if n == 0 { "heads" } else { "" }))?;
    }
    if heads.len() > HEADS_SHOWN_MAX {
        session.out.line(format!("{:<9} and {} more", "", heads.len() - HEADS_SHOWN_MAX))?;
    }
    let forks = |key: &str| number(at("forks").get(key).unwrap_or(&Value::Null));
    let (open, provisional) = (forks("open"), forks("provisional"));
    let more = if provisional == 0 { String::new() } else { format!(", {provisional} more provisionally: a parent is missing") };
    session.out.line(format!("forks     {}{more}", counted_as(open, "stream is forked", "streams are forked")))?;
    let findings = &*epoch.findings;
    session.out.line(format!("findings  {}", findings.len()))?;
    for finding in findings.iter().take(FINDINGS_SHOWN_MAX) {
        session.out.line(render_finding(finding))?;
    }
    if findings.len() > FINDINGS_SHOWN_MAX {
        session.out.line(format!("  and {} more: braidfs verify shows all", findings.len() - FINDINGS_SHOWN_MAX))?;
    }
    if let Some(way) = render_way(findings, epoch.store.dir()) {
        session.out.line(way)?;
    }
    Ok(())
}

/// Where the commands are to be run that findings name; none where none is named, or for who is there.
pub(super) fn render_way<'a>(findings: impl IntoIterator<Item = &'a Finding>, store: &Path) -> Option<String> {
    let way = findings.into_iter().any(|finding| !finding.hint.is_empty()).then(|| locate::way(store)).flatten()?;
    Some(format!("  what hints name is run in the store's directory: {}", harmless(&way)))
}

/// A finding for people: what it is, and on a line of its own what helps.
pub(super) fn render_finding(finding: &Finding) -> String {
    let mut text = format!("  {}: {}: {}", finding.severity.name(), finding.kind.name(), harmless(&finding.message));
    if !finding.hint.is_empty() {
        text += &format!("\n    hint: {}", harmless(&finding.hint));
    }
    text
}
