//! `braidfs export`.

use std::borrow::Cow;
use std::io::{self, Write};

use clap::{Args, ValueEnum};
use serde::Deserialize;

use super::events::{each_chunk, each_line};
use super::failure::{Failure, Kind, Result};
use super::near::nearest;
use super::output::Output;
use super::{Session, glob, reader};
use crate::format::csv::{CsvError, CsvWriter};
use crate::format::text::quoted;
use crate::view::{Lines, Node, Tree};

/// Print a view's events for other tools, as JSON lines or as a table
///
/// VIEW is a path in the mount: log.jsonl, feed.jsonl, streams/account-1.jsonl, types/Deposited.jsonl.
///
/// JSON lines are the view's own bytes; a table has a header, and payloads as JSON in their cells.
#[derive(Args)]
pub(super) struct Arguments {
    /// In which form
    #[arg(value_name = "FORM", value_enum)]
    form: Form,
    /// What is printed
    #[arg(value_name = "VIEW", default_value = "log.jsonl")]
    view: String,
    /// Only events of streams that match; `*` and `?` match any text and any character
    #[arg(long, value_name = "GLOB")]
    stream: Option<String>,
    /// Only events of this type; `*` and `?` match any text and any character
    #[arg(long = "type", value_name = "GLOB")]
    event_type: Option<String>,
    /// Only what comes after this line of the view
    #[arg(long, value_name = "N", default_value_t = 0)]
    after: u64,
    /// At most so many events
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    #[command(flatten)]
    moment: reader::Moment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// JSON, one object a line
    Jsonl,
    /// A table, RFC 4180
    Csv,
}

pub(super) fn run(arguments: &Arguments, session: &mut Session) -> Result {
    let tree = reader::numbered_tree_at(session, &arguments.moment)?;
    let path = arguments.view.trim_start_matches("./").trim_end_matches('/');
    let view = match tree.find(path) {
        Some(Node::File(view)) => view,
        found => return Err(no_view(arguments, path, found.is_some(), &tree)),
    };
    let not_lines =
        || Failure::new(Kind::Refused, format!("view '{}' has no events", arguments.view)).hint("name one such as streams/account-1.jsonl");
    let lines = view.lines().ok_or_else(not_lines)?.clone().after(arguments.after);
    let mut sink = Sink(&mut session.out);
    match arguments.form {
        Form::Jsonl => {
            if is_whole(arguments) {
                return each_chunk(&lines, |bytes| Ok(sink.write_all(bytes).map(|()| true)?));
            }
            each_chosen(&lines, arguments, |line| Ok(sink.write_all(line)?))
        }
        Form::Csv => {
            let mut rows = CsvWriter::new(sink).map_err(of_csv)?;
            each_chosen(&lines, arguments, |line| rows.write_line(line).map_err(of_csv))?;
            rows.finish().map_err(of_csv).map(drop)
        }
    }
}

/// Why there is no view, and which one may have been meant.
fn no_view(arguments: &Arguments, path: &str, is_directory: bool, tree: &Tree) -> Failure {
    let why = if is_directory { "is a directory" } else { "does not exist" };
    let failure = Failure::new(Kind::Refused, format!("view '{}' {why}", arguments.view));
    let meant = meant(path, tree).map(|meant| format!("did you mean {}?", quoted(&meant))).unwrap_or_default();
    failure.hint(meant).hint("name log.jsonl, feed.jsonl, or a file in streams/, types/ or categories/")
}

fn meant(path: &str, tree: &Tree) -> Option<String> {
    let has_lines = |path: &String| matches!(tree.find(path), Some(Node::File(file)) if file.lines().is_some());
    // A path through a mount, a name without its ending or its directory.
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let through_a_mount = (0..parts.len()).map(|from| parts.get(from..).unwrap_or_default().join("/"));
    let completed = ["", "streams/", "types/", "categories/"].into_iter().map(|directory| format!("{directory}{path}"));
    let tried = through_a_mount.chain(completed).flat_map(|path| [path.clone(), format!("{path}.jsonl")]);
    if let Some(found) = tried.into_iter().find(has_lines) {
        return Some(found);
    }
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    let names: Vec<String> = tree.list(directory)?.into_iter().filter(|entry| !entry.directory).map(|entry| entry.name).collect();
    let near = nearest(name, names.iter().cloned()).or_else(|| nearest(&format!("{name}.jsonl"), names))?;
    Some(if directory.is_empty() { near } else { format!("{directory}/{near}") }).filter(has_lines)
}

fn is_whole(arguments: &Arguments) -> bool {
    arguments.stream.is_none() && arguments.event_type.is_none() && arguments.limit.is_none()
}

/// Standard output as a writer.
struct Sink<'o>(&'o mut Output);

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn of_csv(error: CsvError) -> Failure {
    match error {
        CsvError::Write(error) => error.into(),
        CsvError::Line(error) => Failure::new(Kind::Failed, "a line of a view is damaged").because(&error),
    }
}

/// What a line is chosen by.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(default, borrow)]
    stream_id: Cow<'a, str>,
    #[serde(default, borrow)]
    event_type: Cow<'a, str>,
}

impl Line<'_> {
    fn is_chosen(&self, arguments: &Arguments) -> bool {
        let fits = |pattern: Option<&str>, text: &str| pattern.is_none_or(|pattern| glob::matches(pattern, text));
        fits(arguments.stream.as_deref(), &self.stream_id) && fits(arguments.event_type.as_deref(), &self.event_type)
    }
}

/// Hands the chosen lines over.
fn each_chosen(lines: &Lines, arguments: &Arguments, mut write: impl FnMut(&[u8]) -> Result) -> Result {
    let mut left = arguments.limit.unwrap_or(u64::MAX);
    if left == 0 {
        return Ok(());
    }
    each_line(lines, |line| {
        let head: Line<'_> =
            serde_json::from_slice(line).map_err(|error| Failure::new(Kind::Failed, "a line of a view is damaged").because(&error))?;
        if head.is_chosen(arguments) {
            write(line)?;
            left -= 1;
        }
        Ok(left > 0)
    })
}
