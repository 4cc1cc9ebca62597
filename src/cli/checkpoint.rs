//! `braidfs checkpoint`.

use std::ffi::OsString;
use std::process::Command;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::failure::{Failure, Kind, Result};
use super::harmless::harmless;
use super::signals::Ending;
use super::{Session, locate, reader};
use crate::disk::{Disk, LockGuard};
use crate::format::text::quoted;
use crate::model::Errno;
use crate::store::{Checkpoint, CheckpointError, Mode, Standing, Store};

/// How soon a signal is noticed.
const NOTICE: Duration = Duration::from_millis(50);

/// Where subscriptions have stopped reading the feed
#[derive(Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Print the number of a subscription
    Get {
        /// The subscription
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Save the number of a subscription; it is durable when this returns
    Set {
        /// The subscription
        #[arg(value_name = "NAME")]
        name: String,
        /// The last number that it has dealt with
        #[arg(value_name = "N")]
        seq_nr: u64,
        /// Also back, or over one that belongs to another ingestion log
        #[arg(long)]
        force: bool,
    },
    /// List every subscription that has a number
    List,
    /// Forget a subscription: it reads from the start again
    Forget {
        /// The subscription
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Lead a subscription while a command runs, or until a signal; refused at once while another process leads it
    Lead {
        /// The subscription
        #[arg(value_name = "NAME")]
        name: String,
        /// The command and its arguments
        #[arg(last = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
}

pub(super) fn run(arguments: &Arguments, session: &mut Session) -> Result {
    match &arguments.action {
        Action::Get { name } => get(name, session),
        Action::Set { name, seq_nr, force } => set(name, *seq_nr, *force, session),
        Action::List => list(session),
        Action::Forget { name } => forget(name, session),
        Action::Lead { name, command } => lead(name, command, session),
    }
}

impl From<CheckpointError> for Failure {
    fn from(error: CheckpointError) -> Self {
        let kind = match &error {
            _ if error.errno() == Errno::EBUSY => Kind::Busy,
            CheckpointError::Disk(_) | CheckpointError::Unnumbered { .. } | CheckpointError::Closed(_) => Kind::Failed,
            _ => Kind::Refused,
        };
        Self::new(kind, error.to_string()).hint(error.hint())
    }
}

fn standing(checkpoint: &Checkpoint) -> &'static str {
    match checkpoint.standing {
        Standing::Belongs => "belongs",
        Standing::Foreign => "foreign",
        Standing::Orphaned => "orphaned",
    }
}

fn to_json(checkpoint: &Checkpoint) -> Value {
    json!({"name": checkpoint.name, "seq_nr": checkpoint.seq_nr, "standing": standing(checkpoint)})
}

fn get(name: &str, session: &mut Session) -> Result {
    let braid = reader::braid(session, true)?;
    let Some(checkpoint) = braid.checkpoint(name)? else {
        let hint = format!("save one: braidfs checkpoint set {} N", quoted(name));
        return Err(Failure::new(Kind::Refused, format!("checkpoint '{name}' does not exist")).hint(hint));
    };
    // An orphaned one is refused.
    braid.cursor(name)?;
    session.out.either(&to_json(&checkpoint), |_| checkpoint.seq_nr.to_string())
}

fn set(name: &str, seq_nr: u64, force: bool, session: &mut Session) -> Result {
    reader::braid(session, false)?.save_checkpoint(name, seq_nr, force)?;
    let saved = json!({"name": name, "seq_nr": seq_nr});
    session.out.either(&saved, |_| format!("checkpoint {} is at {seq_nr}", harmless(name)))
}

fn list(session: &mut Session) -> Result {
    let mut all = reader::braid(session, true)?.checkpoints()?;
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all.iter().try_for_each(|checkpoint| {
        let remark = if checkpoint.standing == Standing::Orphaned { "  orphaned: it belongs to another ingestion log" } else { "" };
        session.out.either(&to_json(checkpoint), |_| format!("{:>9}  {}{remark}", checkpoint.seq_nr, harmless(&checkpoint.name)))
    })
}

fn forget(name: &str, session: &mut Session) -> Result {
    let directory = locate::named_or_found(session, &Disk::real())?;
    if Store::open(&directory, &Disk::real(), Mode::Writable)?.forget_checkpoint(name)? {
        return session.out.either(&json!({"name": name, "forgotten": true}), |_| format!("checkpoint {} is forgotten", harmless(name)));
    }
    Err(Failure::new(Kind::Refused, format!("checkpoint '{name}' does not exist")).hint("list them: braidfs checkpoint list"))
}

/// Takes the leadership of a subscription, or says who has it.
pub(super) fn take_lead(store: &Store, name: &str) -> Result<LockGuard> {
    if let Some(guard) = store.lead(name)? {
        return Ok(guard);
    }
    let holder =
        store.leader(name)?.and_then(|holder| holder.pid).map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
    Err(Failure::new(Kind::Busy, format!("subscription '{name}' is led by {holder}")).hint("it is free again as soon as that process ends"))
}

fn lead(name: &str, command: &[OsString], session: &mut Session) -> Result {
    let directory = locate::named_or_found(session, &Disk::real())?;
    let store = Store::open(&directory, &Disk::real(), Mode::Writable)?;
    let ending = Ending::catch()?;
    let guard = take_lead(&store, name)?;
    let Some((program, rest)) = command.split_first() else {
        session.out.either(&json!({"name": name, "leads": true}), |_| format!("leading {}", harmless(name)))?;
        session.out.finish()?;
        while !ending.has_come() {
            std::thread::sleep(NOTICE);
        }
        return Ok(());
    };
    let shown = program.to_string_lossy().into_owned();
    let mut command = Command::new(program);
    // Whatever becomes of this process, nobody else leads while the program runs.
    let child = guard.hand_on(command.args(rest)).and_then(|()| command.spawn());
    let mut child = child.map_err(|error| Failure::new(Kind::Refused, format!("command '{shown}' cannot be started")).because(&error))?;
    let status = ending.wait_for(&mut child)?;
    if status.success() { Ok(()) } else { Err(Failure::new(Kind::Refused, format!("command '{shown}' ended with {status}"))) }
}
