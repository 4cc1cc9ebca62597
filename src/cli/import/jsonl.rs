//! `braidfs import jsonl`: the one-time cutover of a daily-file event log.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::braid::{AppendError, CutOver};
use crate::cli::failure::{Failure, Kind, Result};
use crate::cli::harmless::harmless;
use crate::cli::output::complain;
use crate::cli::progress::bar;
use crate::cli::{Session, locate, reader};
use crate::disk::{Disk, EntryKind};
use crate::format::legacy::{CorruptLine, CutoverRequest, LegacyFile, LegacyPlan, parse_file_path, plan};
use crate::format::text::{counted, counted_as};

/// So many corrupt lines are shown one by one to people.
const CORRUPT_SHOWN_MAX: usize = 20;

/// Move in from daily event logs: DIR/YYYY-MM-DD.jsonl, or a directory a session
///
/// Every event becomes an event of its aggregate's stream, with its old keys as metadata. Then one system.cutover event
/// ends the move, once and for all. Lines that are no events are shown and kept. Stop what writes the logs first.
///
/// Run it again whenever it was interrupted: it goes on where it stopped. An empty DIR is a fresh install: nothing is written.
#[derive(Args)]
pub(super) struct Arguments {
    /// The directory with the logs
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// The aggregate type of events that name none; it also names the cutover
    #[arg(long, value_name = "NAME")]
    aggregate_type: String,
    /// Go on with a foreign counter of events: the cutover's event gets this number, `append --session` those after it
    #[arg(long, value_name = "N")]
    start_seq: Option<u64>,
}

pub(super) fn run(arguments: &Arguments, session: &mut Session) -> Result {
    if arguments.aggregate_type.trim().is_empty() {
        return Err(Failure::new(Kind::Usage, "the aggregate type is empty"));
    }
    let disk = Disk::real();
    let files = read_source(&disk, &arguments.directory)?;
    let plan = plan(&files.iter().map(|(file, bytes)| (file.clone(), bytes.as_slice())).collect::<Vec<_>>(), &arguments.aggregate_type);
    if plan.is_empty() {
        let value = json!({"files": plan.file_count, "events": 0, "written": 0, "cut_over": false, "fresh_install": true});
        return session.out.either(&value, |_| "nothing to move: a fresh install".to_owned());
    }
    let directory = locate::named_or_found(session, &disk)?;
    let (braid, _) = reader::open(session, &directory, false)?;
    let progress = bar(session.format, "moving events", Some(plan.events.len() as u64));
    let request = CutoverRequest { aggregate_type: &arguments.aggregate_type, start_seq_nr: arguments.start_seq };
    let done = braid.cut_over(&plan, &request, |done| progress.set_position(done as u64));
    progress.finish_and_clear();
    let done = done.map_err(|error| {
        let again = if matches!(error, AppendError::Rejected(_)) { "" } else { "run it again: it goes on where it stopped" };
        Failure::from(error).hint(again)
    })?;
    show_corrupt(session, &plan.corrupt_lines);
    session.out.either(&to_json(&plan, &done), |_| to_text(&plan, &done))
}

/// Every log in a directory and in the directories in it, with its bytes.
fn read_source(disk: &Disk, directory: &Path) -> Result<Vec<(LegacyFile, Vec<u8>)>> {
    let cannot = |error: crate::disk::Error| {
        let hint = if error.is_not_found() { "name a directory of daily logs that is there".to_owned() } else { error.hint() };
        Failure::new(Kind::Refused, format!("source '{}' cannot be read", directory.display())).because(&error).hint(hint)
    };
    let mut paths = Vec::new();
    for entry in disk.list(directory).map_err(cannot)? {
        if entry.kind != EntryKind::Dir {
            paths.push(entry.name);
            continue;
        }
        let below = disk.list(&Disk::entry_path(directory, &entry.name)).map_err(cannot)?;
        paths.extend(below.into_iter().filter(|inner| inner.kind != EntryKind::Dir).map(|inner| format!("{}/{}", entry.name, inner.name)));
    }
    let files = paths.iter().filter_map(|path| parse_file_path(path));
    files
        .map(|file| {
            let path = file.path.split('/').fold(directory.to_path_buf(), |path, part| Disk::entry_path(&path, part));
            disk.read(&path).map(|bytes| (file, bytes)).map_err(cannot)
        })
        .collect()
}

/// Corrupt lines are told on standard error, so that they never mix with what a program reads.
fn show_corrupt(session: &Session, lines: &[CorruptLine]) {
    if session.out.is_json() {
        return;
    }
    for line in lines.iter().take(CORRUPT_SHOWN_MAX) {
        complain(format!("{}:{}: {}", harmless(&line.file), line.line, harmless(&line.error.message)));
    }
    if lines.len() > CORRUPT_SHOWN_MAX {
        complain(format!(
            "and {}",
            counted_as(lines.len() - CORRUPT_SHOWN_MAX, "more line that is no event", "more lines that are no events")
        ));
    }
}

fn to_json(plan: &LegacyPlan, done: &CutOver) -> serde_json::Value {
    let corrupt: Vec<_> =
        plan.corrupt_lines.iter().map(|line| json!({"file": line.file, "line": line.line, "reason": line.error.message})).collect();
    json!({
        "files": plan.file_count, "events": plan.events.len(), "written": done.written, "already_present": done.present,
        "differing": done.differing, "late": done.late, "duplicate_lines": plan.duplicate_line_count, "corrupt_lines": corrupt,
        "cut_over": done.cut, "fresh_install": false,
    })
}

fn to_text(plan: &LegacyPlan, done: &CutOver) -> String {
    let mut text = format!("{} of {} moved", counted(done.written, "event"), counted(plan.file_count, "file"));
    let also = [
        (done.present, "was there already", "were there already"),
        (done.differing, "of them with other content", "of them with other content"),
        (plan.duplicate_line_count, "line stands there twice", "lines stand there twice"),
        (plan.corrupt_lines.len(), "line is no event and is kept", "lines are no events and are kept"),
        (done.late, "came after the cutover and was not taken", "came after the cutover and were not taken"),
    ];
    for (count, one, several) in also.into_iter().filter(|(count, ..)| *count > 0) {
        text += &format!(", {}", counted_as(count, one, several));
    }
    text + if done.cut { "; the cutover is done" } else { "; the cutover was done before" }
}
