//! `braidfs snapshot`.

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Map, Value, json};

use super::failure::{Failure, Kind, Result};
use super::harmless::harmless;
use super::{Session, given, locate, reader};
use crate::braid::OpenOptions;
use crate::disk::Disk;
use crate::epoch::SavedSnapshot;
use crate::format::draft::{DRAFT_LEN_MAX, DraftKind, parse_draft};
use crate::format::names::directory_name;
use crate::store::{Coverage, SNAPSHOTS_KEPT};
use crate::view::Tree;

/// Saved states: start from one and replay only what came after
#[derive(Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Save a state: one JSON value, from a file or standard input
    #[command(group(ArgGroup::new("coverage").required(true).args(["seq_nr", "covers"])))]
    Save {
        /// The snapshot's name
        #[arg(value_name = "NAME")]
        name: String,
        /// The state; none or `-` is standard input
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// It covers the feed up to this number
        #[arg(long, value_name = "N")]
        seq_nr: Option<u64>,
        /// It covers this stream up to that version; once for each stream
        #[arg(long, value_name = "STREAM=VERSION", value_parser = parse_version)]
        covers: Vec<(String, u64)>,
        /// How many states of the name are kept, the newest ones
        #[arg(long, value_name = "N", default_value_t = SNAPSHOTS_KEPT, value_parser = parse_kept)]
        keep: usize,
    },
    /// Print the newest state that still holds, with what it covers
    Show {
        /// The snapshot's name
        #[arg(value_name = "NAME")]
        name: String,
        /// The one that covers the feed up to this number, whether it holds or not
        #[arg(long, value_name = "N")]
        seq_nr: Option<u64>,
        /// Print the state's bytes and nothing else
        #[arg(long)]
        state: bool,
    },
    /// Print the events to put on top of the newest state that still holds
    After {
        /// The snapshot's name
        #[arg(value_name = "NAME")]
        name: String,
        /// First that state itself, in one line, of the same moment: recovery by one command
        #[arg(long)]
        with_state: bool,
    },
    /// List the saved states
    List {
        /// Only those of this name
        #[arg(value_name = "NAME")]
        name: Option<String>,
    },
    /// Forget every state of a name
    Forget {
        /// The snapshot's name
        #[arg(value_name = "NAME")]
        name: String,
    },
}

fn parse_version(text: &str) -> std::result::Result<(String, u64), String> {
    let (stream, version) = text.rsplit_once('=').ok_or_else(|| format!("'{text}' is not of the form STREAM=VERSION"))?;
    Ok((stream.to_owned(), version.parse().map_err(|_| format!("'{version}' is no version"))?))
}

pub(super) fn run(arguments: &Arguments, session: &mut Session) -> Result {
    match &arguments.action {
        Action::Save { name, file, seq_nr, covers, keep } => save(name, file.as_deref(), *seq_nr, covers, *keep, session),
        Action::Show { name, seq_nr, state } => show(name, *seq_nr, *state, session),
        Action::After { name, with_state } => print(name, if *with_state { "recovery.jsonl" } else { "after.jsonl" }, None, session),
        Action::List { name } => list(name.as_deref(), session),
        Action::Forget { name } => forget(name, session),
    }
}

fn read_state(file: Option<&Path>) -> Result<String> {
    let bytes = given::read(&Disk::real(), file.unwrap_or(Path::new(given::STDIN)), "state", DRAFT_LEN_MAX)?;
    if bytes.len() > DRAFT_LEN_MAX {
        let failure = Failure::new(Kind::Refused, format!("state is longer than {DRAFT_LEN_MAX} bytes, the longest that can be saved"));
        return Err(failure.hint("keep a state that large elsewhere, and save where it lies"));
    }
    let text = String::from_utf8(bytes).map_err(|error| Failure::new(Kind::Refused, "state is not UTF-8").because(&error))?;
    let value: std::result::Result<&serde_json::value::RawValue, _> = serde_json::from_str(&text);
    value.map_err(|error| Failure::new(Kind::Refused, "state is not one JSON value").because(&error))?;
    // With the space around it, so that what is wrong with it stands where it was written.
    Ok(text)
}

fn parse_kept(text: &str) -> std::result::Result<usize, String> {
    text.parse().ok().filter(|kept| *kept > 0).ok_or_else(|| format!("'{text}' is no number from 1"))
}

fn save(name: &str, file: Option<&Path>, seq_nr: Option<u64>, covers: &[(String, u64)], keep: usize, session: &mut Session) -> Result {
    let state = read_state(file)?;
    let mut snapshot = Map::from_iter([("name".to_owned(), json!(name))]);
    match seq_nr {
        Some(seq_nr) => snapshot.insert("seq_nr".to_owned(), json!(seq_nr)),
        None => snapshot.insert("versions".to_owned(), covers.iter().map(|(stream, version)| (stream.clone(), json!(version))).collect()),
    };
    let refused = |failure: Failure| failure.about(&format!("state of snapshot '{name}'"));
    // The same way as through staging, so that the same is refused.
    let before = format!("{{\"snapshot\":{},\"state\":", Value::from(snapshot));
    let draft = parse_draft(format!("{before}{state}}}").as_bytes(), DraftKind::Document)
        .map_err(|rejection| refused(rejection.without_inserted((1, 1), before.len() as u64).into()))?;
    let directory = locate::named_or_found(session, &Disk::real())?;
    let options = OpenOptions { snapshots_kept: keep, ..OpenOptions::default() };
    let committed = reader::open_by(session, &directory, &options)?.0.append(draft).map_err(|error| refused(error.into()))?;
    let Some(meta) = committed.snapshot else { return Err(Failure::new(Kind::Failed, "no state was saved")) };
    let saved = json!({"name": name, "ordinal": meta.ordinal, "digest": meta.digest});
    session.out.either(&saved, |_| format!("saved state {} of snapshot {}", meta.ordinal, harmless(name)))
}

/// Why there is no such state; `seq_nr` where one was named.
fn missing(name: &str, seq_nr: Option<u64>, tree: &Tree) -> Failure {
    let is_named = |saved: &&SavedSnapshot| seq_nr.is_none_or(|seq_nr| saved.meta.coverage == Coverage::SeqNr(seq_nr));
    let mut of_name = tree.epoch().snapshots.iter().filter(|saved| saved.meta.name == name).peekable();
    let why = match (seq_nr, of_name.peek().is_some()) {
        (_, false) => "does not exist".to_owned(),
        (None, true) => "has no state that still holds".to_owned(),
        (Some(seq_nr), true) if of_name.any(|saved| is_named(&saved)) => format!("has a damaged state at {seq_nr}"),
        (Some(seq_nr), true) => format!("has no state at {seq_nr}"),
    };
    Failure::new(Kind::Refused, format!("snapshot '{name}' {why}")).hint(if tree.epoch().snapshots.is_empty() {
        "none is saved yet: braidfs snapshot save --help"
    } else {
        "list them: braidfs snapshot list"
    })
}

fn print(name: &str, file: &str, seq_nr: Option<u64>, session: &mut Session) -> Result {
    let tree = reader::numbered_tree(session)?;
    let path = format!("snapshots/{}/{file}", directory_name(name));
    let Some(view) = tree.find(&path).and_then(crate::view::Node::into_file) else { return Err(missing(name, seq_nr, &tree)) };
    let bytes = view.read_all().map_err(|error| Failure::new(Kind::Failed, format!("snapshot '{name}' cannot be read")).because(&error))?;
    session.out.bytes(&bytes)
}

fn show(name: &str, seq_nr: Option<u64>, state: bool, session: &mut Session) -> Result {
    if !state {
        let file = seq_nr.map_or_else(|| "latest.json".to_owned(), |seq_nr| format!("{seq_nr}.json"));
        return print(name, &file, seq_nr, session);
    }
    let braid = reader::braid(session, true)?;
    let wanted = |saved: &SavedSnapshot| {
        saved.meta.name == name
            && seq_nr.map_or_else(|| saved.holds(braid.store()), |seq_nr| saved.meta.coverage == Coverage::SeqNr(seq_nr))
    };
    let found = braid.snapshots().iter().rev().find(|saved| wanted(saved)).cloned();
    let Some(state) = found.and_then(|saved| saved.state(braid.store())) else { return Err(missing(name, seq_nr, &braid.tree())) };
    session.out.bytes(&state)?;
    session.out.bytes(b"\n")
}

fn list(name: Option<&str>, session: &mut Session) -> Result {
    let braid = reader::braid(session, true)?;
    let is_wanted = |of: &str| name.is_none_or(|name| of == name);
    braid.snapshots().iter().filter(|saved| is_wanted(&saved.meta.name)).try_for_each(|saved| {
        let meta = &saved.meta;
        let is_damaged = !saved.bytes.check(meta, braid.store());
        let mut value = meta.coverage.to_json();
        for (key, told) in [
            ("name", json!(meta.name)),
            ("ordinal", json!(meta.ordinal)),
            ("stale", json!(!saved.valid)),
            ("damaged", json!(is_damaged)),
            ("digest", json!(meta.digest)),
            ("saved_at", json!(meta.saved_at)),
        ] {
            value.insert(key.to_owned(), told);
        }
        let remark = match (is_damaged, saved.valid) {
            (true, _) => "  damaged: its file does not say what was saved",
            (false, true) => "",
            (false, false) => "  stale: what it covers has changed",
        };
        session.out.either(&Value::from(value), |_| format!("{:>4}  {}  {}{remark}", meta.ordinal, harmless(&meta.name), meta.coverage))
    })?;
    let found = braid.store().found_snapshots().map_err(|error| Failure::new(Kind::Failed, "snapshots cannot be read").because(&error))?;
    found.iter().filter(|found| found.meta.is_none() && is_wanted(&found.name)).try_for_each(|found| {
        let value = json!({
            "name": found.name, "ordinal": found.ordinal, "stale": false, "damaged": true, "digest": null, "saved_at": null,
        });
        session.out.either(&value, |_| format!("{:>4}  {}  damaged: what it covers cannot be read", found.ordinal, harmless(&found.name)))
    })
}

fn forget(name: &str, session: &mut Session) -> Result {
    let braid = reader::braid(session, false)?;
    if braid.forget_snapshots(name)? {
        return session.out.either(&json!({"name": name, "forgotten": true}), |_| format!("snapshot {} is forgotten", harmless(name)));
    }
    Err(missing(name, None, &braid.tree()))
}
