//! `braidfs sync`.

use clap::Args;
use serde_json::json;

use super::diff::changed_to_json;
use super::failure::{Failure, Kind, Result};
use super::{Session, locate, reader};
use crate::braid::git::{Exchange, GitError, Program};
use crate::braid::{Braid, difference};
use crate::disk::Disk;
use crate::epoch::Epoch;
use crate::format::text::{counted, counted_as};

/// So many transaction files make one commit of git.
const BATCH: usize = 10_000;

/// So often a push is tried again that somebody else was faster with.
const PUSHES_MAX: usize = 5;

/// Commit to git, pull, report forks, push
///
/// Git carries the store between machines; this only drives it. New transaction files are committed, what others pushed is
/// merged, streams that the merge forked are told, and everything is pushed. Files that were changed or are gone are never
/// committed: see `braidfs doctor`. Nothing is done while a merge, rebase, cherry-pick, revert or bisect of git is not finished, or no
/// branch is checked out.
#[derive(Args)]
#[command(verbatim_doc_comment)]
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
    let git = Program::new(braid.store().dir());
    let before = braid.refresh()?;
    if let Some(unfinished) = git.unfinished().map_err(|error| of_git("commit", &error))? {
        let refused = Failure::new(Kind::Refused, unfinished.message());
        return Err(unfinished.hints().into_iter().fold(refused, Failure::hint));
    }
    let Commits { committed, left_out } = commit(&git, &braid)?;
    say(session, &format!("committed {}", counted(committed, "transaction file")))?;
    if left_out > 0 {
        let files = counted_as(left_out, "new file in events/ is", "new files in events/ are");
        say(session, &format!("{files} not committed, being misnamed, a copy or refused: braidfs doctor"))?;
    }
    let exchange = if arguments.offline { None } else { git.exchange().map_err(|error| of_git("find the remote", &error))? };
    let mut pushed = false;
    if let Some(exchange) = &exchange {
        pull(&git, exchange)?;
        if !arguments.no_push {
            push(&git, exchange)?;
            pushed = true;
        }
    }
    let after = braid.refresh()?;
    let is_offline = arguments.offline;
    report(session, &before, &after, &Report { committed, left_out, is_offline, exchange: exchange.is_some(), pushed, braid: &braid })
}

fn say(session: &mut Session, text: &str) -> Result {
    if session.out.is_json() { Ok(()) } else { session.out.line(text) }
}

fn of_git(step: &str, error: &GitError) -> Failure {
    let failure = Failure::new(Kind::Failed, format!("git could not {step}")).because(error).hint(error.hint());
    let said = error.to_string();
    if said.contains("tell me who you are") {
        return failure.hint("git config user.name NAME && git config user.email ADDRESS");
    }
    if error.is_overtaken() {
        return failure.hint("others push all the time; try again: braidfs sync");
    }
    failure
}

struct Commits {
    committed: usize,
    /// New files under other names, copies, and what the store refuses.
    left_out: usize,
}

/// Commits the transaction files that git does not have and the views do.
fn commit(git: &Program, braid: &Braid) -> Result<Commits> {
    let failed = |error: GitError| of_git("commit", &error);
    git.commit_beside(&["projections", ".gitignore", ".gitattributes"], "braidfs: what goes with the store").map_err(failed)?;
    let new = git.uncommitted().map_err(failed)?;
    // What git lists is in this epoch, or is left out of it for a reason.
    let shown = braid.refresh()?;
    let (names, others): (Vec<String>, Vec<String>) = new.into_iter().partition(|name| shown.shows_file(name));
    for batch in names.chunks(BATCH) {
        git.commit_files(batch, &format!("events: {}", counted(batch.len(), "transaction"))).map_err(failed)?;
    }
    Ok(Commits { committed: names.len(), left_out: others.len() })
}

fn pull(git: &Program, exchange: &Exchange) -> Result {
    git.pull(exchange).map_err(|error| {
        let failure = of_git("pull", &error);
        match git.unfinished() {
            Ok(Some(unfinished)) => unfinished.hints().into_iter().fold(failure, Failure::hint),
            _ => failure.hint("what is new is committed; to leave the remote alone: braidfs sync --offline"),
        }
    })
}

fn push(git: &Program, exchange: &Exchange) -> Result {
    for _ in 1..PUSHES_MAX {
        match git.push(exchange) {
            Ok(()) => return Ok(()),
            // Somebody pushed since: what they brought is merged, and then it is our turn again.
            Err(error) if error.is_overtaken() => pull(git, exchange)?,
            Err(error) => return Err(of_git("push", &error)),
        }
    }
    git.push(exchange).map_err(|error| of_git("push", &error))
}

struct Report<'a> {
    committed: usize,
    left_out: usize,
    is_offline: bool,
    exchange: bool,
    pushed: bool,
    braid: &'a Braid,
}

fn report(session: &mut Session, before: &Epoch, after: &Epoch, report: &Report<'_>) -> Result {
    let open: Vec<&String> = after.index.forks().conflicts().iter().map(|conflict| &conflict.id).collect();
    let difference = difference(before, after);
    let (opened, closed): (Vec<&String>, Vec<&String>) = (difference.opened.keys().collect(), difference.closed.keys().collect());
    let brought = difference.came.len();
    if session.out.is_json() {
        let forks = json!({"open": open, "opened": opened, "changed": changed_to_json(&difference), "closed": closed});
        return session.out.json(&json!({
            "committed": report.committed, "left_out": report.left_out, "brought": brought, "pushed": report.pushed, "forks": forks,
        }));
    }
    if report.exchange {
        session.out.line(format!(
            "{} came from others{}",
            counted(brought, "transaction"),
            if report.pushed { "; everything is pushed" } else { "" }
        ))?;
    } else if report.is_offline {
        session.out.line("nothing was pulled or pushed")?;
    } else {
        session.out.line("there is no remote to exchange with: git remote add origin URL")?;
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
