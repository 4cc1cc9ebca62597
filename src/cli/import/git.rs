//! `braidfs import git`: a commit becomes a transaction, a path a stream.

use std::io::BufReader;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::log::{Commits, FORMAT};
use super::render::Plan;
use crate::cli::failure::{Failure, Kind, Result};
use crate::cli::progress::bar;
use crate::cli::{Session, locate};
use crate::disk::Disk;
use crate::format::text::{counted, counted_as};
use crate::store::Store;

/// So many files are made durable by one sync.
const GROUP_FILES: usize = 2048;

/// How long another program may hold the store.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// Make a store out of a git repository's history
///
/// Each commit becomes one transaction with the commit's own parents, each changed path one event of the stream
/// of that name. The store is made if it does not exist.
///
/// The result is the same on every machine, whenever and in whatever parts it is imported: a transaction depends on its commit and what
/// that descends from. Run it again after a fetch: only what is new is added.
#[derive(Args)]
pub(super) struct Arguments {
    /// The repository
    #[arg(value_name = "REPO", default_value = ".")]
    repository: PathBuf,
    /// The branch, tag or commit whose history is taken
    #[arg(long, value_name = "REV", default_value = "HEAD", conflicts_with = "all")]
    revision: String,
    /// Take every branch and tag
    #[arg(long)]
    all: bool,
}

/// What the import did, for the last line.
#[derive(Default)]
struct Done {
    written: usize,
    events: usize,
    present: usize,
}

pub(super) fn run(arguments: &Arguments, session: &mut Session) -> Result {
    let disk = Disk::real();
    let directory = locate::named_or_found(session, &disk)?;
    let plan = read_history(arguments, session)?;
    let store = Store::init(&directory, &disk)?;
    let done = write(&store, &plan, session)?;
    let value = json!({
        "store": store.dir().display().to_string(), "transactions": done.written, "events": done.events,
        "already_present": done.present, "streams": plan.streams(), "changes_left_out": plan.left_out,
    });
    session.out.either(&value, |_| {
        let mut text = format!(
            "{} with {} in {}",
            counted(done.written, "transaction"),
            counted(done.events, "event"),
            counted(plan.streams(), "stream")
        );
        if done.present > 0 {
            text += &format!(", {} there already", counted_as(done.present, "was", "were"));
        }
        if plan.left_out > 0 {
            text += &format!(", {} of very large commits left out", counted(plan.left_out, "change"));
        }
        text
    })
}

fn git(arguments: &Arguments) -> Command {
    let mut command = Command::new("git");
    // Settings that would change what is printed are set aside, so that the result is the same everywhere.
    command.arg("--no-replace-objects").arg("-C").arg(&arguments.repository);
    command.args(["-c", "log.showSignature=false", "-c", "diff.orderFile=/dev/null", "-c", "diff.renameLimit=1000"]);
    command.env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn revisions(arguments: &Arguments) -> [&str; 2] {
    if arguments.all { ["--branches", "--tags"] } else { ["--end-of-options", arguments.revision.as_str()] }
}

fn cannot_read(arguments: &Arguments) -> Failure {
    Failure::new(Kind::Failed, format!("the history of '{}' cannot be read", arguments.repository.display()))
}

/// The number of commits, for the progress bar, and the first place where a wrong REPO or REV is noticed.
fn count(arguments: &Arguments) -> Result<u64> {
    let output = git(arguments).args(["rev-list", "--count"]).args(revisions(arguments)).arg("--").output();
    let output = output.map_err(|error| cannot_read(arguments).because(&error).hint("install git"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let mut failure =
            cannot_read(arguments).hint("name a git repository and a revision that it has: braidfs import git REPO --revision REV");
        failure.kind = Kind::Refused;
        failure.causes.push(said);
        return Err(failure);
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().parse().unwrap_or(0))
}

fn read_history(arguments: &Arguments, session: &Session) -> Result<Plan> {
    let progress = bar(session.format, "reading commits", Some(count(arguments)?));
    let mut command = git(arguments);
    command.args(["log", "--raw", "-z", "--no-abbrev", "-c", "-M", "--topo-order", "--reverse", "--encoding=UTF-8", "--no-color"]);
    command.args(["--no-ext-diff", "--no-textconv", "--no-notes", "--ignore-submodules=none", FORMAT]).args(revisions(arguments)).arg("--");
    // An error of git would fill a pipe that nobody reads meanwhile.
    let mut child = command.stderr(Stdio::inherit()).spawn().map_err(|error| cannot_read(arguments).because(&error))?;
    let plan = read_commits(&mut child, arguments, &progress);
    let ended = child.wait().map_err(|error| cannot_read(arguments).because(&error))?;
    progress.finish_and_clear();
    let plan = plan?;
    if !ended.success() {
        return Err(cannot_read(arguments).hint("git log failed; git fsck may say why"));
    }
    Ok(plan)
}

fn read_commits(child: &mut Child, arguments: &Arguments, progress: &indicatif::ProgressBar) -> Result<Plan> {
    let mut plan = Plan::default();
    let Some(stdout) = child.stdout.take() else { return Ok(plan) };
    for commit in Commits::new(BufReader::with_capacity(1 << 18, stdout)) {
        plan.push(commit.map_err(|error| cannot_read(arguments).because(&error))?);
        progress.inc(1);
    }
    Ok(plan)
}

fn write(store: &Store, plan: &Plan, session: &Session) -> Result<Done> {
    let lock = store.lock(LOCK_WAIT)?;
    let progress = bar(session.format, "writing transactions", Some(plan.len() as u64));
    let events = store.layout().events();
    let (mut done, mut group) = (Done::default(), Vec::new());
    for rendered in plan.render() {
        progress.inc(1);
        let name = format!("{}.jsonl", rendered.id);
        if store.disk().exists(&events.join(&name)) {
            done.present += 1;
            continue;
        }
        done.written += 1;
        done.events += rendered.events;
        group.push((name, rendered.bytes));
        if group.len() == GROUP_FILES {
            store.publish(&lock, &group)?;
            group.clear();
        }
    }
    if !group.is_empty() {
        store.publish(&lock, &group)?;
    }
    progress.finish_and_clear();
    Ok(done)
}
