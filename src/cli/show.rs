//! `braidfs show`.

use std::collections::HashMap;

use clap::Args;
use serde_json::value::RawValue;

use super::failure::{Failure, Kind, Result};
use super::harmless::harmless;
use super::{Session, reader};
use crate::view::{Node, Tree};

/// An abbreviation is at least so long.
const PREFIX_CHARS_MIN: usize = 4;

/// So many candidates of an abbreviation are named.
const CANDIDATES_MAX: usize = 5;

/// Print one transaction: its header and its events
///
/// For programs (`--format json`) it is the file in `events/`, byte for byte.
#[derive(Args)]
pub(super) struct Arguments {
    /// The transaction's id, or its beginning
    #[arg(value_name = "TRANSACTION")]
    transaction: String,
    #[command(flatten)]
    moment: reader::Moment,
}

pub(super) fn run(arguments: &Arguments, session: &mut Session) -> Result {
    let tree = reader::tree_at(session, &arguments.moment)?;
    let name = find(&tree, &arguments.transaction.to_ascii_lowercase())?;
    let Some(Node::File(file)) = tree.find(&format!("transactions/{name}")) else {
        return Err(Failure::new(Kind::Refused, format!("transaction '{name}' has just gone")));
    };
    let bytes =
        file.read_all().map_err(|error| Failure::new(Kind::Failed, format!("transaction '{name}' cannot be read")).because(&error))?;
    if session.out.is_json() { session.out.bytes(&bytes) } else { print(session, &bytes) }
}

/// The one name in `transactions/` that begins like this.
fn find(tree: &Tree, wanted: &str) -> Result<String> {
    let exact = format!("{wanted}.jsonl");
    if tree.find(&format!("transactions/{exact}")).is_some() {
        return Ok(exact);
    }
    let none = || Failure::new(Kind::Refused, format!("transaction '{wanted}' does not exist"));
    if wanted.len() < PREFIX_CHARS_MIN {
        return Err(none().hint(format!("name at least the first {PREFIX_CHARS_MIN} characters of its id")));
    }
    let mut found: Vec<String> = tree.list("transactions").unwrap_or_default().into_iter().map(|entry| entry.name).collect();
    found.retain(|name| name.starts_with(wanted));
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(none().hint("braidfs log --format json names the transaction of each event")),
        several => {
            let names: Vec<&str> = several.iter().take(CANDIDATES_MAX).map(|name| name.strip_suffix(".jsonl").unwrap_or(name)).collect();
            let failure = Failure::new(Kind::Refused, format!("'{wanted}' begins the ids of {} transactions", several.len()));
            Err(failure.hint(format!("name more of it: {}", names.join(", "))))
        }
    }
}

/// One line of the file, by its keys; empty if it is none.
fn parsed(line: &[u8]) -> HashMap<String, &RawValue> {
    serde_json::from_slice(line).unwrap_or_default()
}

/// A string without its quotes, and any other value as it stands.
fn text(value: &RawValue) -> String {
    let string: Option<String> = serde_json::from_str(value.get()).ok();
    harmless(string.as_deref().unwrap_or(value.get())).into_owned()
}

fn print(session: &mut Session, bytes: &[u8]) -> Result {
    let mut lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    // Of a healed file they are as they stand there.
    let header = parsed(lines.next().map(|line| line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line)).unwrap_or_default());
    for (label, key) in [("transaction", "transaction_id"), ("replica", "replica_id"), ("written", "created_at"), ("key", "key")] {
        if let Some(value) = header.get(key) {
            session.out.line(format!("{label:<12} {}", text(value)))?;
        }
    }
    for (label, key) in [("parent", "parent_transaction_ids"), ("resolves", "resolves")] {
        let values: Vec<&RawValue> = header.get(key).and_then(|array| serde_json::from_str(array.get()).ok()).unwrap_or_default();
        for value in values {
            session.out.line(format!("{label:<12} {}", text(value)))?;
        }
    }
    for event in lines.map(parsed).filter(|event| !event.is_empty()) {
        let field = |key: &str| event.get(key).map(|value| text(value)).unwrap_or_default();
        let payload = |key: &str| event.get(key).map(|value| harmless(value.get())).unwrap_or_default();
        session.out.line(format!("\n  {}  {}  {}", field("stream_id"), field("event_type"), field("event_id")))?;
        session.out.line(format!("    {}", payload("event_data")))?;
        if event.get("metadata").is_some_and(|metadata| !matches!(metadata.get(), "{}" | "null")) {
            session.out.line(format!("    metadata {}", payload("metadata")))?;
        }
    }
    Ok(())
}
