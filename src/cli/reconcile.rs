//! `braidfs reconcile`.

mod ask;
mod edit;

use std::collections::HashMap;
use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::failure::{Failure, Kind, Result};
use super::forks::GIT_PATIENCE;
use super::harmless::harmless;
use super::{Session, locate, reader};
use crate::braid::{Braid, OpenConflict, ReconcileOptions, Reconciled, Resolution};
use crate::disk::Disk;
use crate::model::ConflictState;
use edit::Written;

/// Settle forks: everything that is settled in one pass becomes one transaction that descends from all histories
///
/// On a terminal each conflict is put before you in $VISUAL or $EDITOR, with the events of both sides as comments: save the resolution
/// as it is, or with events that set things right; leave without saving, or empty the file, to leave the conflict open. A program gets the conflict as JSON on its standard input, with
/// every event of every side, and answers {"events":[…]} or {"unresolvable":"why"} on its standard output. A bare […] is the events;
/// an empty object is no answer.
#[derive(Args)]
pub(super) struct Arguments {
    /// The conflicts, as `braidfs forks` names them; none is the one that is open, if there is only one
    #[arg(value_name = "CONFLICT", conflicts_with = "all")]
    conflicts: Vec<String>,
    /// Every conflict that is open
    #[arg(long)]
    all: bool,
    /// Let a program decide
    #[arg(long, value_name = "PROGRAM", conflicts_with_all = ["accept", "edit"])]
    with: Option<PathBuf>,
    /// Settle without events: both sides stand as they are
    #[arg(long, conflicts_with = "edit")]
    accept: bool,
    /// Ask in an editor, also where there is no terminal
    #[arg(long)]
    edit: bool,
    /// Settle provisional conflicts too, of which a parent is missing
    #[arg(long)]
    force: bool,
}

pub(super) fn run(arguments: &Arguments, session: &mut Session) -> Result {
    let directory = locate::named_or_found(session, &Disk::real())?;
    let (braid, _) = reader::open(session, &directory, false)?;
    braid.find_origins(GIT_PATIENCE)?;
    let chosen = choose(arguments, &braid)?;
    if chosen.is_empty() && !session.out.is_json() {
        return session.out.line("no stream is forked");
    }
    let mut written = Written::default();
    match settle(arguments, &braid, chosen, &mut written) {
        Ok(pass) => print(session, &pass),
        Err(failure) => Err(written.keep(failure)),
    }
}

fn settle(arguments: &Arguments, braid: &Braid, chosen: Vec<String>, written: &mut Written) -> Result<Reconciled> {
    let mut decided = HashMap::new();
    for id in &chosen {
        // One that is named twice is asked for once.
        if decided.contains_key(id) {
            continue;
        }
        // What is closed already is refused with the others, and the message says what is open instead.
        let Some(conflict) = braid.find_conflict(id) else { continue };
        if conflict.state == ConflictState::Open || arguments.force {
            decided.insert(id.clone(), decide(arguments, &conflict, written)?);
        }
    }
    let answer = |conflict: &OpenConflict| {
        decided.remove(&conflict.conflict).unwrap_or_else(|| Resolution::Unresolvable("it has only just come up".to_owned()))
    };
    let pass = braid.reconcile(answer, &ReconcileOptions { only: Some(chosen), force: arguments.force });
    pass.map_err(|error| Failure::from(error).about("the resolution"))
}

fn choose(arguments: &Arguments, braid: &Braid) -> Result<Vec<String>> {
    if !arguments.conflicts.is_empty() {
        return Ok(arguments.conflicts.clone());
    }
    let open: Vec<String> = braid.forks().into_iter().map(|report| report.conflict).collect();
    if open.len() > 1 && !arguments.all {
        let failure = Failure::new(Kind::Usage, format!("{} conflicts are open, and none is named", open.len()));
        return Err(failure.hint("name some, as `braidfs forks` lists them, or say --all"));
    }
    Ok(open)
}

fn decide(arguments: &Arguments, conflict: &OpenConflict, written: &mut Written) -> Result<Resolution> {
    if arguments.accept {
        return Ok(Resolution::Events(Vec::new()));
    }
    if let Some(program) = &arguments.with {
        return ask::program(program, conflict);
    }
    if arguments.edit || (std::io::stdin().is_terminal() && std::io::stdout().is_terminal()) {
        return edit::editor(conflict, written);
    }
    let failure = Failure::new(Kind::Usage, format!("conflict '{}' cannot be put before you: there is no terminal", conflict.conflict));
    let failure = failure.hint("let a program decide: --with PROGRAM").hint("settle it without events: --accept");
    Err(failure.hint("ask in an editor that needs no terminal: --edit"))
}

fn print(session: &mut Session, pass: &Reconciled) -> Result {
    let transaction = pass.committed.as_ref().map(|committed| committed.transaction_id.to_string());
    if session.out.is_json() {
        let declined: Vec<_> = pass.declined.iter().map(|(id, reason)| json!({"conflict": id, "reason": reason})).collect();
        session.out.json(&json!({"transaction_id": transaction, "resolved": pass.resolved, "declined": declined}))?;
    } else {
        for id in &pass.resolved {
            session.out.line(format!("conflict {id} is resolved by transaction {}", transaction.as_deref().unwrap_or_default()))?;
        }
        for (id, reason) in &pass.declined {
            session.out.line(format!("conflict {id} stays open: {}", harmless(reason)))?;
        }
    }
    // The output has said why.
    if pass.declined.is_empty() { Ok(()) } else { Err(Failure::new(Kind::Refused, "")) }
}
