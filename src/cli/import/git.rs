//! `braidfs import git`: a commit becomes a transaction, a path a stream.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::render::Plan;
use super::repository::Repository;
use crate::cli::failure::{Failure, Kind, Result};
use crate::cli::progress::bar;
use crate::cli::{Session, locate};
use crate::disk::{self, Disk};
use crate::format::text::{counted, counted_as, quoted_path};
use crate::store::Store;

/// So many files are made durable by one sync.
const GROUP_FILES: usize = 2048;

/// So many names are told; the rest is counted.
const NAMED_MAX: usize = 5;

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
    /// Also where the repository is the one that the store is committed in
    #[arg(long)]
    force: bool,
}

/// What the import did, for the last line.
#[derive(Default)]
struct Done {
    written: usize,
    events: usize,
    present: usize,
    /// Files that are there and say something else.
    differing: Vec<String>,
}

pub(super) fn run(arguments: &Arguments, session: &mut Session) -> Result {
    let disk = Disk::real();
    let directory = locate::named_or_found(session, &disk)?;
    // Hints lead to the store first, so the repository is named as it is found from everywhere.
    let path = disk.canonical(&arguments.repository).unwrap_or_else(|_| arguments.repository.clone());
    let repository = Repository::find(&path, (!arguments.all).then_some(arguments.revision.as_str()))?;
    if !arguments.force && repository.carries(&directory) {
        return Err(own_history(&path, &directory));
    }
    let plan = read_history(&repository, session)?;
    let store = Store::init(&directory, &disk)?;
    let done = write(&store, &plan, session)?;
    let value = json!({
        "store": store.dir().display().to_string(), "transactions": done.written, "events": done.events,
        "already_present": done.present, "differing": done.differing, "streams": plan.streams(), "changes_left_out": plan.left_out,
    });
    session.out.either(&value, |_| to_text(&plan, &done))?;
    differing(&path, &done).map_or(Ok(()), Err)
}

/// Commits of a store's own files are no events that anybody means, and nothing takes transactions back.
fn own_history(repository: &Path, store: &Path) -> Failure {
    let (repository, store) = (repository.display(), store.display());
    Failure::new(Kind::Refused, format!("store '{store}' is committed in '{repository}': its own history would become a part of it"))
        .hint("name the store that is to get the history: --store NEW")
        .hint("or say --force, if it is to have its own; that cannot be taken back")
}

fn to_text(plan: &Plan, done: &Done) -> String {
    let mut text =
        format!("{} with {} in {}", counted(done.written, "transaction"), counted(done.events, "event"), counted(plan.streams(), "stream"));
    if done.present > 0 {
        text += &format!(", {} there already", counted_as(done.present, "was", "were"));
    }
    if plan.left_out > 0 {
        text += &format!(", {} of very large commits left out", counted(plan.left_out, "change"));
    }
    text
}

/// What was there and is not what this history gives.
fn differing(repository: &Path, done: &Done) -> Option<Failure> {
    let some = done.differing.get(..NAMED_MAX).unwrap_or(&done.differing).join(", ");
    let more = done.differing.len().saturating_sub(NAMED_MAX);
    let and_more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!done.differing.is_empty()).then(|| {
        let count =
            counted_as(done.differing.len(), "file was there with other bytes and stays", "files were there with other bytes and stay");
        Failure::new(Kind::Refused, format!("{count}: {some}{and_more}"))
            .hint("braidfs doctor   # says whether they were changed in events/, and what brings back what they were")
            .hint(format!("braidfs import git {} --store NEW   # a store as everybody else's import gives it", quoted_path(repository)))
    })
}

fn read_history(repository: &Repository<'_>, session: &Session) -> Result<Plan> {
    let progress = bar(session.format, "reading commits", Some(repository.count()?));
    let mut plan = Plan::default();
    let read = repository.each_commit(&progress, |commit| plan.push(commit));
    progress.finish_and_clear();
    read.map(|()| plan)
}

fn unreadable(error: disk::Error) -> Failure {
    Failure::new(Kind::Failed, error.to_string()).hint(error.hint())
}

fn write(store: &Store, plan: &Plan, session: &Session) -> Result<Done> {
    let lock = store.lock(LOCK_WAIT)?;
    let progress = bar(session.format, "writing transactions", Some(plan.len() as u64));
    let events = store.layout().events();
    let (mut done, mut group) = (Done::default(), Vec::new());
    for rendered in plan.render() {
        progress.inc(1);
        let name = format!("{}.jsonl", rendered.id);
        match store.disk().read_if_present(&events.join(&name)).map_err(unreadable)? {
            Some(bytes) if bytes == rendered.bytes => {
                done.present += 1;
                continue;
            }
            Some(_) => {
                done.differing.push(name);
                continue;
            }
            None => {}
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
