//! `braidfs git`: what git must be told about a store.

use clap::{Args, Subcommand};
use serde_json::json;

use super::failure::{Failure, Kind, Result};
use super::{Session, locate};
use crate::braid::git::{Program, SETTINGS};
use crate::disk::Disk;
use crate::store::{Mode, Store};

/// Tell git what it should know about a store
#[derive(Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Setup(Setup),
}

/// Write attributes, ignores and the settings that keep git fast with many files
///
/// Each is explained before it is done. Settings are those of this repository only; attributes and ignores are files that
/// travel with it, so commit them.
#[derive(Args)]
struct Setup {
    /// Only explain
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(arguments: &Arguments, session: &mut Session) -> Result {
    let Command::Setup(setup) = &arguments.command;
    let directory = locate::named_or_found(session, &Disk::real())?;
    let mode = if setup.dry_run { Mode::ReadOnly } else { Mode::Writable };
    let store = Store::open(&directory, &Disk::real(), mode)?;
    let git = Program::new(store.dir());
    let ask = || git.lacks().map_err(Failure::from);
    let mut lacks = ask()?;
    let mut done = Vec::new();
    for sentence in lacks.sentences() {
        explain(session, &sentence)?;
    }
    if !setup.dry_run {
        let amended =
            store.amend_git_files(lacks.lines).map_err(|error| Failure::new(Kind::Failed, error.to_string()).hint(error.hint()))?;
        for (file, line) in amended {
            explain(session, &format!("  added \"{line}\" to {file}"))?;
            done.push(json!({"file": file, "line": line}));
        }
        // A line that was added may have no effect.
        lacks = ask()?;
    }
    for setting in SETTINGS {
        if git.setting(setting.name).as_deref() == Some(setting.value) {
            continue;
        }
        explain(session, &format!("{} = {}: {}", setting.name, setting.value, setting.reason))?;
        if !setup.dry_run {
            let set = git.set(setting.name, setting.value);
            set.map_err(|error| Failure::new(Kind::Failed, error.to_string()).hint(error.hint()))?;
            done.push(json!({"setting": setting.name, "value": setting.value}));
        }
    }
    let is_left = !lacks.advice.is_empty() || lacks.sentences().next().is_some();
    // That was somebody's decision, or a commit is to be made of it.
    for advice in &lacks.advice {
        explain(session, &format!("{}\n  left as it is; to mend it: {}", advice.message, advice.hint))?;
    }
    if session.out.is_json() {
        let left: Vec<_> = lacks.advice.iter().map(|advice| json!({"message": advice.message, "hint": advice.hint})).collect();
        return session.out.json(&json!({"done": done, "left": left}));
    }
    session.out.line(match (setup.dry_run, done.len()) {
        (true, _) => "nothing was changed".to_owned(),
        (false, 0) if is_left => "nothing more can be told to git here".to_owned(),
        (false, 0) => "git knows everything already".to_owned(),
        (false, _) => "done; commit .gitattributes and .gitignore if they were changed".to_owned(),
    })
}

fn explain(session: &mut Session, text: &str) -> Result {
    if session.out.is_json() { Ok(()) } else { session.out.line(text) }
}
