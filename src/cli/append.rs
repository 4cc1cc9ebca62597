//! `braidfs append`.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::failure::{Failure, Kind, Result};
use super::forks::GIT_PATIENCE;
use super::given::{self, STDIN};
use super::harmless::harmless;
use super::{Session, locate, reader};
use crate::braid::{Braid, Committed, OpenOptions};
use crate::disk::Disk;
use crate::format::draft::{DRAFT_LEN_MAX, DraftKind, no_event, parse_draft};
use crate::model::{ConflictReport, Draft, Errno, Expectation, Reason, Rejection};

/// So many drafts are committed by looking through `events/` for what came for each; for more, the system's hints of that are worth asking for.
const UNHINTED_MAX: usize = 8;

/// So many events are named to people.
const EVENTS_SHOWN_MAX: usize = 5;

/// Append events: each file becomes one transaction, or is refused with every reason
///
/// A draft is one JSON object a line: {"stream":"account-1","type":"Deposited","data":{"amount":5}}
///
/// A file named *.json is one JSON document instead, an object or an array of them.
#[derive(Args)]
pub(super) struct Arguments {
    /// The drafts; none or `-` is standard input
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Refuse unless the stream is at that version, `none`, or `exists`; `any` expects nothing. What the draft's header expects holds too
    #[arg(long, value_name = "STREAM=VERSION", value_parser = parse_expectation)]
    expect: Vec<(String, Expectation)>,
    /// Make a retry safe: the same key with the same content commits once. A draft whose header has another key is refused
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Record a session: each event gets its id in the metadata and names the session's event before it as its cause. Several
    /// processes may record one session; where a cutover continues a counter, each event gets its next number
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Read each draft as one JSON document, whatever its name
    #[arg(long)]
    document: bool,
}

fn parse_expectation(text: &str) -> std::result::Result<(String, Expectation), String> {
    let (stream, wanted) = text.rsplit_once('=').ok_or_else(|| format!("'{text}' is not of the form STREAM=VERSION"))?;
    let expectation = match wanted {
        "none" | "0" => Expectation::None,
        "exists" => Expectation::Exists,
        "any" => Expectation::Any,
        number => Expectation::Version(number.parse().map_err(|_| format!("'{number}' is no version; nor is it none, exists or any"))?),
    };
    Ok((stream.to_owned(), expectation))
}

pub(super) fn run(arguments: &Arguments, session: &mut Session) -> Result {
    let files = if arguments.files.is_empty() { vec![PathBuf::from(STDIN)] } else { arguments.files.clone() };
    if arguments.key.is_some() && files.len() > 1 {
        return Err(
            Failure::new(Kind::Usage, format!("one key cannot stand for {} transactions", files.len())).hint("append the files one by one")
        );
    }
    refuse_contradictions(&arguments.expect)?;
    let disk = Disk::real();
    // All is read and checked before anything is committed.
    let drafts = read_drafts(&disk, &files, arguments)?;
    let directory = locate::named_or_found(session, &disk)?;
    let options = OpenOptions { hinted: drafts.len() > UNHINTED_MAX, ..OpenOptions::default() };
    let (braid, _) = reader::open_by(session, &directory, &options)?;
    for (n, (file, draft)) in files.iter().zip(drafts).enumerate() {
        append(session, &braid, file, draft, arguments.session.as_deref()).map_err(|failure| {
            let after = files.get(n + 1..).unwrap_or_default();
            if after.is_empty() { failure } else { failure.hint(format!("not tried: {}", named(after))) }
        })?;
    }
    Ok(())
}

fn named(files: &[PathBuf]) -> String {
    files.iter().map(|file| format!("'{}'", file.display())).collect::<Vec<_>>().join(", ")
}

/// Every draft, or what is wrong with each that is none.
fn read_drafts(disk: &Disk, files: &[PathBuf], arguments: &Arguments) -> Result<Vec<Draft>> {
    let (mut drafts, mut failed): (Vec<Draft>, Option<Failure>) = (Vec::new(), None);
    for file in files {
        match (read_draft(disk, file, arguments), &mut failed) {
            (Ok(draft), _) => drafts.push(draft),
            (Err(failure), None) => failed = Some(failure),
            (Err(failure), Some(first)) => {
                first.causes.extend(std::iter::once(failure.message).chain(failure.causes));
                match (&mut first.rejection, failure.rejection) {
                    (Some(all), Some(other)) => all.reasons.extend(other.reasons),
                    (all, other) => *all = all.take().or(other),
                }
            }
        }
    }
    let Some(failure) = failed else { return Ok(drafts) };
    Err(if files.len() > 1 { failure.hint(format!("nothing was committed: {}", named(files))) } else { failure })
}

fn read_draft(disk: &Disk, file: &Path, arguments: &Arguments) -> Result<Draft> {
    let name = file.display().to_string();
    let bytes = given::read(disk, file, "draft", DRAFT_LEN_MAX)?;
    let is_document = arguments.document || DraftKind::of_name(&name) == Some(DraftKind::Document);
    let kind = if is_document { DraftKind::Document } else { DraftKind::Lines };
    let draft = if bytes.is_empty() { Err(no_event()) } else { parse_draft(&bytes, kind) };
    let mut draft = draft.map_err(|rejection| Failure::from(rejection).about(&format!("draft '{name}'")))?;
    add_to_header(&mut draft, arguments).map_err(|rejection| Failure::from(rejection).about(&format!("draft '{name}'")))?;
    Ok(draft)
}

/// Refuses a stream that the command line names twice, with different expectations.
fn refuse_contradictions(expect: &[(String, Expectation)]) -> Result {
    for (n, (stream, expectation)) in expect.iter().enumerate() {
        let others = expect.get(n + 1..).unwrap_or_default();
        if let Some((_, other)) = others.iter().find(|(named, other)| named == stream && other != expectation) {
            let message = format!("--expect names stream {stream:?} twice, at {expectation} and at {other}");
            return Err(Failure::new(Kind::Usage, message).hint("leave one out"));
        }
    }
    Ok(())
}

/// Adds what the command line says to a draft's header, whose own words hold as well.
fn add_to_header(draft: &mut Draft, arguments: &Arguments) -> std::result::Result<(), Rejection> {
    let mut reasons = Vec::new();
    let mut refuse = |message: String, hint: &str| {
        reasons.push(Reason { errno: Errno::EINVAL, line: None, column: None, message, hint: hint.to_owned() });
    };
    for (stream, wanted) in &arguments.expect {
        match draft.expect.iter_mut().find(|(named, _)| named == stream) {
            None => {
                draft.expect.push((stream.clone(), *wanted));
                draft.unwritten.push(stream.clone());
            }
            Some((_, stated)) if implies(*stated, *wanted) => {}
            Some((_, stated)) if implies(*wanted, *stated) => {
                *stated = *wanted;
                draft.unwritten.push(stream.clone());
            }
            Some((_, stated)) => refuse(
                format!("stream {stream:?} is expected at {stated} by the draft's header, and at {wanted} by --expect"),
                "mend the header, or leave --expect out",
            ),
        }
    }
    match (&arguments.key, &draft.key) {
        (Some(given), Some(stated)) if given != stated => {
            refuse(format!("key is {stated:?} in the draft's header, and {given:?} by --key"), "mend the header, or leave --key out");
        }
        (Some(given), _) => draft.key = Some(given.clone()),
        (None, _) => {}
    }
    if reasons.is_empty() { Ok(()) } else { Err(Rejection::of(reasons)) }
}

/// Whether what meets one expectation meets the other.
fn implies(one: Expectation, other: Expectation) -> bool {
    let exists = matches!(one, Expectation::Version(1..)) && other == Expectation::Exists;
    one == other || other == Expectation::Any || exists
}

fn append(session: &mut Session, braid: &Braid, file: &Path, draft: Draft, recorded: Option<&str>) -> Result {
    let name = file.display().to_string();
    let committed = match recorded {
        Some(recorded) => braid.record(recorded, draft),
        None => braid.append(draft),
    };
    let committed = committed.map_err(|error| with_origins(braid, Failure::from(error)).about(&format!("draft '{name}'")))?;
    let said = session.out.either(&to_json(&name, &committed), |_| to_text(&committed)).and_then(|()| session.out.finish());
    // Who knew of no commit would try again.
    said.map_err(|failure| match failure.kind {
        Kind::Closed => failure,
        _ => Failure { message: format!("draft '{name}': {}, but {}", to_text(&committed), failure.message), ..failure },
    })
}

/// A failure whose reports say who brought the branches to git.
pub(super) fn with_origins(braid: &Braid, mut failure: Failure) -> Failure {
    if let Some(rejection) = failure.rejection.as_mut().filter(|rejection| !rejection.conflicts.is_empty())
        && let Ok(epoch) = braid.find_origins(GIT_PATIENCE)
    {
        for report in &mut rejection.conflicts {
            if let Some(conflict) = epoch.index.forks().find(&report.conflict) {
                *report = ConflictReport::of(epoch.as_ref(), conflict);
            }
        }
    }
    failure
}

fn to_json(name: &str, committed: &Committed) -> Value {
    let events: Vec<Value> = committed
        .events
        .iter()
        .map(|event| {
            json!({
                "event_id": event.event_id.to_string(), "stream_id": event.stream_id, "stream_version": event.stream_version,
                "position": event.position, "seq_nr": event.seq_nr,
            })
        })
        .collect();
    if let Some(meta) = &committed.snapshot {
        return json!({"file": name, "snapshot": {"name": meta.name, "ordinal": meta.ordinal, "digest": meta.digest}});
    }
    json!({"file": name, "transaction_id": committed.transaction_id.to_string(), "repeated": committed.repeated, "events": events})
}

fn to_text(committed: &Committed) -> String {
    if let Some(meta) = &committed.snapshot {
        return format!("saved state {} of snapshot {}", meta.ordinal, harmless(&meta.name));
    }
    let verb = if committed.repeated { "was committed before" } else { "committed" };
    let shown = committed.events.iter().take(EVENTS_SHOWN_MAX);
    let mut events: Vec<String> = shown.map(|event| format!("{} v{}", harmless(&event.stream_id), event.stream_version)).collect();
    if committed.events.len() > EVENTS_SHOWN_MAX {
        events.push(format!("and {} more", committed.events.len() - EVENTS_SHOWN_MAX));
    }
    format!("{verb} {}: {}", committed.transaction_id, events.join(", "))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn expectations_are_read() {
        for (text, wanted) in
            [("a=7", Expectation::Version(7)), ("a=none", Expectation::None), ("a=0", Expectation::None), ("a=exists", Expectation::Exists)]
        {
            assert_eq!(parse_expectation(text), Ok(("a".to_owned(), wanted)));
        }
        assert_eq!(parse_expectation("a=b=3").unwrap().0, "a=b");
        assert!(parse_expectation("a").unwrap_err().contains("STREAM=VERSION"));
        assert!(parse_expectation("a=-1").unwrap_err().contains("'-1'"));
    }
}
