//! `braidfs show`.

use clap::Args;
use serde_json::Value;

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

fn text(value: &Value) -> String {
    harmless(&value.as_str().map_or_else(|| value.to_string(), str::to_owned)).into_owned()
}

fn print(session: &mut Session, bytes: &[u8]) -> Result {
    let mut lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let mut parse = || lines.next().map(|line| serde_json::from_slice::<Value>(line).unwrap_or_default());
    let header = parse().unwrap_or_default();
    for (label, key) in [("transaction", "transaction_id"), ("replica", "replica_id"), ("written", "created_at"), ("key", "key")] {
        if let Some(value) = header.get(key) {
            session.out.line(format!("{label:<12} {}", text(value)))?;
        }
    }
    for (label, key) in [("parent", "parent_transaction_ids"), ("resolves", "resolves")] {
        for value in header.get(key).and_then(Value::as_array).into_iter().flatten() {
            session.out.line(format!("{label:<12} {}", text(value)))?;
        }
    }
    while let Some(event) = parse() {
        let field = |key: &str| event.get(key).map(text).unwrap_or_default();
        session.out.line(format!("\n  {}  {}  {}", field("stream_id"), field("event_type"), field("event_id")))?;
        session.out.line(format!("    {}", field("event_data")))?;
        if event.get("metadata").is_some_and(|metadata| metadata.as_object().is_none_or(|object| !object.is_empty())) {
            session.out.line(format!("    metadata {}", field("metadata")))?;
        }
    }
    Ok(())
}
