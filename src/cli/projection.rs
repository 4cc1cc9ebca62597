//! `braidfs projection`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::failure::{Failure, Kind, Result};
use super::harmless::harmless;
use super::{Session, given, locate, reader};
use crate::braid::{check_definition, read_definition, worker_exe};
use crate::disk::Disk;
use crate::fold::{Definition, FoldError, FoldErrorKind, Per};
use crate::format::text::counted_as;
use crate::format::text::quoted;
use crate::store::{Mode, Store};

/// So much of a program is read: more than it may have, so that too much is noticed.
const STEP_BYTES_READ: usize = 128 << 10;

/// The lines that stand in front of a program in its definition: its settings.
const SETTINGS_LINES: u64 = 3;

/// Folds of your own: programs in the jq language that turn events into a state, shown in views/
///
/// They are files in projections/ of the store, so they travel with git. docs/PROJECTIONS.md says how to write one.
#[derive(Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    Add(Add),
    /// Name every fold, with what has a state of its own and whose events it folds
    List,
    /// Print the text of a fold
    Show {
        /// The fold
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Remove a fold
    Remove {
        /// The fold
        #[arg(value_name = "NAME")]
        name: String,
    },
    Run(Run),
}

/// Check a fold and write it to projections/
///
/// The program's input is the state, `$event` the event; it gives the next state:
///
/// if $event.event_type == "Deposited" then .balance += $event.event_data.amount else . end
#[derive(Args)]
struct Add {
    /// The fold's name
    #[arg(value_name = "NAME")]
    name: String,
    /// The state before the first event
    #[arg(long, value_name = "JSON")]
    init: String,
    /// The program that makes the next state of a state and an event
    #[arg(long, value_name = "PROGRAM.jq")]
    step: PathBuf,
    /// What has a state of its own: stream, type or all
    #[arg(long, value_name = "WHAT", default_value = "all", value_parser = parse_per)]
    per: Per,
    /// The streams whose events are folded; `*` and `?` match any text and any character
    #[arg(long, value_name = "GLOB", default_value = "*")]
    streams: String,
    /// Take the place of a fold that has the name
    #[arg(long)]
    replace: bool,
}

/// Print the state of a fold: one JSON value, or one a line with its key
#[derive(Args)]
struct Run {
    /// The fold
    #[arg(value_name = "NAME")]
    name: String,
    /// Only the state of this stream or type
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

fn parse_per(text: &str) -> std::result::Result<Per, String> {
    Per::from_name(text).ok_or_else(|| format!("'{text}' is none of stream, type, all"))
}

pub(super) fn run(arguments: &Arguments, session: &mut Session) -> Result {
    if let Action::Run(arguments) = &arguments.action {
        return run_fold(arguments, session);
    }
    let disk = Disk::real();
    let directory = locate::named_or_found(session, &disk)?;
    let store = Store::open(&directory, &disk, Mode::Writable)?;
    match &arguments.action {
        Action::Add(arguments) => add(arguments, session, &store, &disk),
        Action::List => list(session, &store),
        Action::Show { name } => show(session, &store, name),
        Action::Remove { name } => remove(session, &store, name),
        Action::Run(_) => Ok(()),
    }
}

fn disk_failure(error: crate::disk::Error) -> Failure {
    Failure::new(Kind::Failed, error.to_string())
}

fn fold_failure(name: &str, error: &FoldError) -> Failure {
    let kind = if error.kind == FoldErrorKind::Machine { Kind::Failed } else { Kind::Refused };
    Failure::new(kind, format!("projection '{name}': {error}"))
}

/// An error whose line is counted in the program as its author has it, without the settings in front.
fn in_program(error: FoldError) -> FoldError {
    FoldError { line: error.line.map(|line| line.saturating_sub(SETTINGS_LINES).max(1)), ..error }
}

fn add(arguments: &Add, session: &mut Session, store: &Store, disk: &Disk) -> Result {
    let Add { name, init, step, per, streams, replace } = arguments;
    let bytes = given::read(disk, step, "program", STEP_BYTES_READ)?;
    let text = String::from_utf8(bytes)
        .map_err(|error| Failure::new(Kind::Refused, format!("program '{}' is not UTF-8", step.display())).because(&error))?;
    let definition = Definition::compose(name, init, *per, streams, &text).map_err(|error| fold_failure(name, &error))?;
    if name.ends_with(".json") {
        return Err(Failure::new(Kind::Refused, format!("projection '{name}': a name must not end in .json")));
    }
    check_definition(&worker_exe(disk), &definition).map_err(|error| fold_failure(name, &in_program(error)))?;
    let is_there = store.projection_stat(name).map_err(disk_failure)?.is_some();
    if is_there && !replace {
        return Err(Failure::new(Kind::Refused, format!("projection '{name}' exists")).hint("take its place: --replace"));
    }
    store.write_projection(name, &definition.text).map_err(disk_failure)?;
    let shown = match per {
        Per::All => format!("views/{name}.json"),
        Per::Stream | Per::Type => format!("views/{name}/"),
    };
    let value = json!({"name": name, "per": per.name(), "streams": definition.streams, "view": shown, "replaced": is_there});
    session.out.either(&value, |_| format!("projection {name} is shown in {shown}"))
}

fn list(session: &mut Session, store: &Store) -> Result {
    for name in store.projections().map_err(disk_failure)? {
        match read_definition(store, &name).map_err(|error| fold_failure(&name, &error)) {
            Ok(definition) => {
                let value = json!({"name": name, "per": definition.per.name(), "streams": definition.streams, "init": definition.init, "error": null});
                let line = format!("{}  per {}, streams {}", harmless(&name), definition.per.name(), harmless(&definition.streams));
                session.out.either(&value, |_| line)?;
            }
            Err(failure) => {
                let value = json!({"name": name, "error": failure.message});
                session.out.either(&value, |_| format!("{}  broken: {}", harmless(&name), harmless(&failure.message)))?;
            }
        }
    }
    Ok(())
}

/// Whether a definition has that name; a name that can be none's leads nowhere in the file system.
fn known(store: &Store, name: &str) -> Result {
    if store.projections().map_err(disk_failure)?.iter().any(|other| other == name) {
        return Ok(());
    }
    Err(Failure::new(Kind::Refused, format!("projection '{name}' does not exist")).hint("braidfs projection list names all"))
}

fn show(session: &mut Session, store: &Store, name: &str) -> Result {
    known(store, name)?;
    let bytes = store.read_projection(name).map_err(disk_failure)?;
    if session.out.is_json() {
        return session.out.json(&json!({"name": name, "text": String::from_utf8_lossy(&bytes)}));
    }
    session.out.bytes(&bytes)
}

fn remove(session: &mut Session, store: &Store, name: &str) -> Result {
    known(store, name)?;
    store.remove_projection(name).map_err(disk_failure)?;
    session.out.either(&json!({"name": name, "removed": true}), |_| format!("projection {name} is removed"))
}

fn run_fold(arguments: &Run, session: &mut Session) -> Result {
    let directory = locate::named_or_found(session, &Disk::real())?;
    let (braid, _) = reader::open(session, &directory, false).or_else(|_| reader::open(session, &directory, true))?;
    let name = &arguments.name;
    let keys = match &arguments.key {
        None => braid.fold_keys(name),
        Some(_) => None,
    };
    let Some(keys) = keys else {
        known(braid.store(), name)?;
        let key = arguments.key.as_deref().unwrap_or_default();
        let missing = || {
            let is_one = braid.fold_keys(name).is_none();
            let hint = if is_one {
                "it has one state: leave --key out".to_owned()
            } else {
                format!("all of them: braidfs projection run {}", quoted(name))
            };
            Failure::new(Kind::Refused, format!("projection '{name}' has no state '{key}'")).hint(hint)
        };
        let state = braid.fold_state(name, key).ok_or_else(missing)?.map_err(|error| fold_failure(name, &error))?;
        session.out.bytes(&state)?;
        return session.out.bytes(b"\n");
    };
    let mut broken = 0;
    for key in keys {
        match braid.fold_state(name, &key) {
            Some(Ok(state)) => {
                session.out.bytes(format!("{{\"key\":{},\"state\":", serde_json::Value::from(key)).as_bytes())?;
                session.out.bytes(&state)?;
                session.out.bytes(b"}\n")?;
            }
            Some(Err(error)) => {
                broken += 1;
                session.out.json(&json!({"key": key, "error": error.to_string()}))?;
            }
            None => {}
        }
    }
    if broken > 0 {
        return Err(Failure::new(
            Kind::Refused,
            format!("projection '{name}': {}", counted_as(broken, "state is broken", "states are broken")),
        ));
    }
    Ok(())
}
