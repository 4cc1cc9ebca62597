//! `braidfs sync`.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::diff::changed_to_json;
use super::failure::{Failure, Kind, Result};
use super::status::{render_finding, render_way};
use super::{Session, locate, reader};
use crate::braid::git::{Exchange, GitError, Program, State};
use crate::braid::{AppendError, Braid, Committable, Committed, difference};
use crate::disk::{self, Disk, LockGuard, quoted_name};
use crate::epoch::Epoch;
use crate::format::text::{counted, counted_as, quoted_path};
use crate::model::{Finding, FindingKind, TransactionId};

/// So many transaction files make one commit of git.
const BATCH: usize = 10_000;

/// So many files that were left out are told one by one.
const TOLD_MAX: usize = 10;

/// So long another sync is waited for: more than one takes without a slow remote.
const TURN_WAIT: Duration = Duration::from_secs(5);

/// So often a push is tried again that somebody else was faster with.
const PUSHES_MAX: usize = 5;

/// Commit to git, pull, report forks, push
///
/// Git carries the store between machines; this only drives it. New transaction files are committed, what others pushed is
/// merged, streams that the merge forked are told, and everything is pushed. What several people settled at once is
/// joined by one more transaction before the push, which gives the order. Transaction files that were changed or are gone are never
/// committed, but for line ends that were mended: see `braidfs doctor`. What changed in `projections/`, `.gitignore` and `.gitattributes` goes with
/// the store, and is committed as it is. Nothing is done while a merge, rebase, cherry-pick, revert or bisect of git is not finished, or no
/// branch is checked out.
#[derive(Args)]
pub(super) struct Arguments {
    /// Only commit and pull
    #[arg(long)]
    no_push: bool,
    /// Only commit
    #[arg(long, conflicts_with = "no_push")]
    offline: bool,
}

pub(super) fn run(arguments: &Arguments, session: &mut Session) -> Result {
    let directory = locate::named_or_found(session, &Disk::real())?;
    let (braid, _) = reader::open(session, &directory, false)?;
    let _turn = take_turn(&braid)?;
    let git = Program::new(braid.store().dir());
    let before = braid.refresh()?;
    if let Some(unfinished) = git.unfinished().map_err(|error| of_git(&git, "commit", &error))? {
        let refused = Failure::new(Kind::Refused, unfinished.message());
        return Err(unfinished.hints().into_iter().fold(refused, Failure::hint));
    }
    let beside = commit_beside(&git)?;
    let commits = commit(&git, &braid)?;
    say(session, &format!("committed {}", counted(commits.new.len(), "transaction file")))?;
    for path in &beside {
        say(session, &format!("committed {}", quoted_path(Path::new(path))))?;
    }
    if !commits.mended.is_empty() {
        say(session, &format!("committed {}", counted(commits.mended.len(), "mended transaction file")))?;
    }
    let mut reasons = if commits.left_out.is_empty() { Vec::new() } else { reasons(&*braid.survey()?, &commits.left_out) };
    reasons.extend(commits.ignored.clone());
    tell_left_out(session, &directory, commits.left_out.len(), &reasons)?;
    let exchange = if arguments.offline { None } else { git.exchange().map_err(|error| of_git(&git, "find the remote", &error))? };
    let mut pushed = false;
    let mut joins = Joins::default();
    if let Some(exchange) = &exchange {
        pull(&git, exchange, &commits.left_out)?;
        if !arguments.no_push {
            joins = push(&git, &braid, exchange, &commits.left_out)?;
            pushed = true;
        }
    }
    let after = braid.refresh()?;
    let (is_offline, exchange) = (arguments.offline, exchange.is_some());
    report(session, &before, &after, &Report { beside, commits, reasons, is_offline, exchange, pushed, joins, braid: &braid })
}

/// One sync after the other: what one has fetched another would fetch meanwhile.
fn take_turn(braid: &Braid) -> Result<LockGuard> {
    let store = braid.store();
    let cannot = |error: disk::Error| Failure::new(Kind::Failed, "the lock of sync cannot be taken").because(&error).hint(error.hint());
    store.lock_exchange(TURN_WAIT).map_err(cannot)?.ok_or_else(|| {
        let message = format!("another sync is at work in store '{}'", store.dir().display());
        Failure::new(Kind::Busy, message).hint("try again when it is done: braidfs sync")
    })
}

fn say(session: &mut Session, text: &str) -> Result {
    if session.out.is_json() { Ok(()) } else { session.out.line(text) }
}

fn of_git(git: &Program, step: &str, error: &GitError) -> Failure {
    let lock = git.lock_in_the_way(error);
    if lock.is_some() || error.is_busy() {
        let failure = Failure::new(Kind::Busy, format!("git could not {step}: another git is at work here"));
        let failure = failure.hint("try again when it is done: braidfs sync");
        return lock.map_or(failure.clone(), |path| failure.hint(cure_of_lock(&path)));
    }
    let mut failure = Failure::new(Kind::Failed, format!("git could not {step}"));
    failure.causes.push(error.in_full());
    let failure = failure.hint(error.hint());
    let said = error.in_full();
    if said.contains("tell me who you are") {
        return failure.hint("git config user.name NAME && git config user.email ADDRESS");
    }
    if error.is_overtaken() {
        return failure.hint("others push all the time; try again: braidfs sync");
    }
    failure
}

/// What helps where nobody holds the lock any more: git removes it as it ends, unless it is killed.
fn cure_of_lock(path: &Path) -> String {
    let age = Disk::real().stat_if_present(path).ok().flatten().and_then(|stat| stat.modified().elapsed().ok());
    let age = age.map_or_else(String::new, |age| format!(" and left this {} s ago", age.as_secs()));
    format!("rm -f {}   # if no git is running here: one was killed{age}", quoted_path(path))
}

/// Commits what goes with the store: definitions, and what git is told of it. Gives the paths of what changed.
fn commit_beside(git: &Program) -> Result<Vec<String>> {
    git.commit_beside(&["projections", ".gitignore", ".gitattributes"], "braidfs: what goes with the store")
        .map_err(|error| of_git(git, "commit", &error))
}

/// Commits the transaction files that git does not have and the views do, and those that are whole again.
fn commit(git: &Program, braid: &Braid) -> Result<Committable> {
    let failed = |error: GitError| of_git(git, "commit", &error);
    let mut committable = braid.committable(git)?;
    let commit = |names: &mut Vec<String>, what: &str| {
        let mut done = Vec::new();
        for batch in names.chunks(BATCH) {
            // What another sync committed meanwhile is its own.
            if git.commit_files(batch, &format!("events: {}", counted(batch.len(), what))).map_err(failed)? {
                done.extend_from_slice(batch);
            }
        }
        *names = done;
        Ok::<(), Failure>(())
    };
    commit(&mut committable.new, "transaction")?;
    commit(&mut committable.mended, "mended transaction")?;
    Ok(committable)
}

/// What the doctor says of the files that were left out: why, and what helps.
fn reasons(epoch: &Epoch, left_out: &[String]) -> Vec<Finding> {
    const KINDS: [FindingKind; 6] = [
        FindingKind::Quarantined,
        FindingKind::Edited,
        FindingKind::Healed,
        FindingKind::Misnamed,
        FindingKind::Duplicate,
        FindingKind::UnreadableByEventcore,
    ];
    let left_out: BTreeSet<&str> = left_out.iter().map(String::as_str).collect();
    let is_reason =
        |finding: &&Finding| KINDS.contains(&finding.kind) && finding.file.as_deref().is_some_and(|file| left_out.contains(file));
    epoch.findings.iter().filter(is_reason).cloned().collect()
}

fn tell_left_out(session: &mut Session, directory: &Path, count: usize, reasons: &[Finding]) -> Result {
    if count == 0 {
        return Ok(());
    }
    say(session, &format!("{} not committed:", counted_as(count, "new file in events/ is", "new files in events/ are")))?;
    for reason in reasons.iter().take(TOLD_MAX) {
        say(session, &render_finding(reason))?;
    }
    if count > reasons.len().min(TOLD_MAX) {
        say(session, "  all of them, with what helps: braidfs doctor")?;
    }
    match render_way(reasons.iter().take(TOLD_MAX), directory) {
        Some(way) => say(session, &way),
        None => Ok(()),
    }
}

fn pull(git: &Program, exchange: &Exchange, left_out: &[String]) -> Result {
    git.pull(exchange).map_err(|error| {
        let failure = of_git(git, "pull", &error);
        match git.unfinished() {
            Ok(Some(unfinished)) => unfinished.hints().into_iter().fold(failure, Failure::hint),
            _ => hint_of_staged(git, left_out, failure).hint("what is new is committed; to leave the remote alone: braidfs sync --offline"),
        }
    })
}

/// Git merges nothing beside what is staged and not committed.
fn hint_of_staged(git: &Program, left_out: &[String], failure: Failure) -> Failure {
    let mut staged = git.changes().unwrap_or_default();
    staged.retain(|change| change.state == State::Added && left_out.contains(&change.name));
    let paths: Vec<String> = staged.iter().take(TOLD_MAX).map(|change| format!("events/{}", quoted_name(&change.name))).collect();
    match &*paths {
        [] => failure,
        _ => failure.hint(format!("git restore --staged -- {}   # git merges nothing beside what is staged", paths.join(" "))),
    }
}

/// Pushes, and joins before that what the pull brought together.
fn push(git: &Program, braid: &Braid, exchange: &Exchange, left_out: &[String]) -> Result<Joins> {
    let mut joins = Joins::default();
    joins.join(git, braid)?;
    for _ in 1..PUSHES_MAX {
        match git.push(exchange) {
            Ok(()) => return Ok(joins),
            // Somebody pushed since: what they brought is merged, and then it is our turn again.
            Err(error) if error.is_overtaken() => {
                pull(git, exchange, left_out)?;
                joins.join(git, braid)?;
            }
            Err(error) => return Err(of_git(git, "push", &error)),
        }
    }
    git.push(exchange).map_err(|error| of_git(git, "push", &error))?;
    Ok(joins)
}

/// Resolutions that several people made at once, joined. The remote takes one push after the other, so whoever comes second joins both.
#[derive(Default)]
struct Joins {
    /// The transactions that did.
    by: Vec<TransactionId>,
    /// Why the last ones could not be. What is committed is pushed all the same, and the next transaction joins them.
    failed: Option<AppendError>,
}

impl Joins {
    fn join(&mut self, git: &Program, braid: &Braid) -> Result {
        braid.refresh()?;
        self.failed = None;
        match braid.join_resolutions() {
            Ok(None) => {}
            Ok(Some(Committed { transaction_id, .. })) => {
                let file = format!("{transaction_id}.jsonl");
                git.commit_files(&[file], "events: 1 transaction").map_err(|error| of_git(git, "commit", &error))?;
                self.by.push(transaction_id);
            }
            Err(error) => self.failed = Some(error),
        }
        Ok(())
    }
}

struct Report<'a> {
    /// What else was committed.
    beside: Vec<String>,
    commits: Committable,
    /// Why new files were left out.
    reasons: Vec<Finding>,
    is_offline: bool,
    exchange: bool,
    pushed: bool,
    joins: Joins,
    braid: &'a Braid,
}

fn report(session: &mut Session, before: &Epoch, after: &Epoch, report: &Report<'_>) -> Result {
    let open: Vec<&String> = after.index.forks().conflicts().iter().map(|conflict| &conflict.id).collect();
    let difference = difference(before, after);
    let (opened, closed): (Vec<&String>, Vec<&String>) = (difference.opened.keys().collect(), difference.closed.keys().collect());
    let brought = difference.came.len().saturating_sub(report.joins.by.len());
    if session.out.is_json() {
        let conflicts = json!({"open": open, "opened": opened, "changed": changed_to_json(&difference), "closed": closed});
        return session.out.json(&json!({
            "committed": report.commits.new.len(), "committed_mended": report.commits.mended.len(), "committed_beside": report.beside,
            "left_out": report.commits.left_out.len(),
            "reasons": report.reasons, "brought": brought, "joined": report.joins.by, "pushed": report.pushed, "conflicts": conflicts,
        }));
    }
    if report.exchange {
        session.out.line(format!(
            "{} came from others{}",
            counted(brought, "transaction"),
            match (report.pushed, report.commits.left_out.is_empty()) {
                (true, true) => "; everything is pushed",
                (true, false) => "; everything that is committed is pushed",
                (false, _) => "",
            }
        ))?;
    } else if report.is_offline {
        session.out.line("nothing was pulled or pushed")?;
    } else {
        session.out.line("there is no remote to exchange with: git remote add origin URL")?;
    }
    for id in &report.joins.by {
        session.out.line(format!("joined what was settled at once, by transaction {id}"))?;
    }
    if let Some(error) = &report.joins.failed {
        session.out.line(format!("what was settled at once is several heads until the next transaction or sync joins them: {error}"))?;
    }
    for id in opened {
        session.out.line(format!("conflict {id} opened: see forks/{id}/README.md in a mount, or braidfs forks"))?;
    }
    for (id, changed) in &difference.changed {
        session.out.line(format!(
            "conflict {} changed to {id}: see forks/{id}/README.md in a mount, or braidfs forks",
            changed.before.join(", ")
        ))?;
    }
    for id in closed {
        session.out.line(format!("conflict {id} closed"))?;
    }
    if !open.is_empty() {
        session.out.line(counted_as(open.len(), "conflict is open", "conflicts are open"))?;
    }
    let wrong = |epoch: &Epoch| epoch.findings.iter().filter(|finding| finding.severity > crate::model::Severity::Info).count();
    // What another branch has is no fault, and only git tells that.
    let wrong = if wrong(after) > 0 { wrong(&*report.braid.survey()?) } else { 0 };
    if wrong > 0 {
        session.out.line(format!("{} should be mended: braidfs doctor", counted(wrong, "thing")))?;
    }
    Ok(())
}
