//! `braidfs restore`.

use clap::{ArgGroup, Args};
use serde_json::json;

use super::failure::{Failure, Kind, Result};
use super::harmless::harmless;
use super::{Session, locate, reader};
use crate::braid::git::POP_STASH;
use crate::braid::{Braid, Forget, Forgotten, Restoration};
use crate::disk::{Disk, quoted_name};
use crate::epoch::Quarantined;
use crate::format::text::{counted, counted_as};

/// How many names one reason tells.
const NAMED_MAX: usize = 10;

/// Bring back from git what was in events/ and is gone
///
/// Each file comes from the newest commit, of any branch, that holds it whole, or else from a commit that no branch has any more: one
/// that git reset or an aborted rebase took, or that was fetched last. Without names: everything that this replica has seen
/// and has no more, what the last commit has and events/ has not, and parents that transactions name and that are missing, but
/// for what the newest stash has: git pops no stash whose files are here. It ends with 1 where something could not be brought back, and says why.
///
/// What comes back brings the parents with it that are missing too. A file that is there is left alone.
///
/// What no place has any more can be acknowledged: after `--forget` nothing tells of it. Its numbers in the feed stay gone, and an
/// event that comes back all the same counts again.
#[derive(Args)]
#[command(group(ArgGroup::new("what").args(["names", "all"])))]
pub(super) struct Arguments {
    /// Names in events/, or ids of transactions; with --forget, of events too
    #[arg(value_name = "FILE")]
    names: Vec<String>,

    /// Bring nothing back: acknowledge that these are gone, unless git still has them
    #[arg(long, requires = "what")]
    forget: bool,

    /// Everything that is gone
    #[arg(long, requires = "forget")]
    all: bool,

    /// Forget also what git still has, and what a refused file may have
    #[arg(long, requires = "forget")]
    force: bool,
}

pub(super) fn run(arguments: &Arguments, session: &mut Session) -> Result {
    let directory = locate::named_or_found(session, &Disk::real())?;
    let (braid, _) = reader::open(session, &directory, false)?;
    if arguments.forget {
        return forget(&braid, arguments, session);
    }
    let restoration = braid.restore(&arguments.names)?;
    if session.out.is_json() {
        let restored = restoration.restored.iter().map(|file| json!({"file": file.name, "commit": file.commit.oid.as_str()}));
        let refused = restoration.refused.iter().map(|refused| json!({"file": refused.file, "reason": refused.reason}));
        session.out.json(&json!({
            "restored": restored.collect::<Vec<_>>(),
            "unknown": restoration.unknown,
            "unsound": restoration.unsound,
            "filter": restoration.filter,
            "stashed": restoration.stashed,
            "refused": refused.collect::<Vec<_>>(),
            "unnamed": restoration.unnamed,
        }))?;
    } else {
        for file in &restoration.restored {
            let (name, subject) = (harmless(&file.name), harmless(&file.commit.subject));
            session.out.line(format!("restored {name} from commit {} ({subject})", file.commit.oid.short()))?;
        }
        session.out.line(counted_as(restoration.restored.len(), "file is back", "files are back"))?;
    }
    left(&restoration).map_or(Ok(()), Err)
}

/// What could not be brought back, and why.
fn left(restoration: &Restoration) -> Option<Failure> {
    let Restoration { unknown, unsound, filter, stashed, refused, unnamed, .. } = restoration;
    let mut reasons = Vec::new();
    if !unknown.is_empty() {
        reasons.push(format!("git knows no commit that has {}: {}", counted(unknown.len(), "file"), some_of(unknown)));
    }
    if !unsound.is_empty() {
        reasons.push(format!("git knows no commit that has {} whole: {}", counted(unsound.len(), "file"), some_of(unsound)));
    }
    if *unnamed > 0 {
        let are_gone = counted_as(*unnamed, "event that this replica has seen is", "events that this replica has seen are");
        reasons.push(format!("{are_gone} in no file that git knows"));
    }
    let is_lacking = !reasons.is_empty();
    if !stashed.is_empty() {
        reasons.push(counted_as(stashed.len(), "file is in git's newest stash", "files are in git's newest stash"));
    }
    reasons.extend(are_here(refused));
    let mut reasons = reasons.into_iter();
    let mut failure = Failure::new(Kind::Refused, reasons.next()?);
    failure.causes.extend(reasons);
    if let Some(filter) = filter {
        failure.causes.push(format!("git gives these files through its filter \"{filter}\", which may be missing or fail here"));
        failure = failure.hint("set that filter up, until `git checkout -- events` gives whole files; then run it again");
    } else if is_lacking {
        failure = failure.hint("fetch from where they may be: git fetch --all, or git fetch CLONE; then run it again");
        failure = failure.hint("acknowledge what nobody has any more: braidfs restore --forget --all");
    }
    if !stashed.is_empty() {
        failure = failure.hint(POP_STASH);
    }
    Some(with_cure_of_refused(failure, refused))
}

fn with_cure_of_refused(failure: Failure, refused: &[Quarantined]) -> Failure {
    if refused.is_empty() { failure } else { failure.hint("braidfs doctor   # tells what mends a refused file") }
}

fn are_here(refused: &[Quarantined]) -> impl Iterator<Item = String> + '_ {
    let is_here = |refused: &Quarantined| format!("file \"{}\" is here and is refused: {}", refused.file, refused.reason);
    let more = refused.len().saturating_sub(NAMED_MAX);
    let rest = (more > 0).then(|| counted_as(more, "more file is here and is refused", "more files are here and are refused"));
    refused.iter().take(NAMED_MAX).map(is_here).chain(rest)
}

/// Some names, and how many there are besides.
fn some_of(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED_MAX);
    let some = names.get(..NAMED_MAX).unwrap_or(names).join(", ");
    if more > 0 { format!("{some} and {more} more") } else { some }
}

fn forget(braid: &Braid, arguments: &Arguments, session: &mut Session) -> Result {
    let what = if arguments.all { Forget::All } else { Forget::Named(arguments.names.clone()) };
    let forgotten = braid.forget(&what, arguments.force)?;
    if session.out.is_json() {
        let files = forgotten.files.iter().map(|(file, events)| json!({"file": file, "events": events}));
        let refused = forgotten.refused.iter().map(|refused| json!({"file": refused.file, "reason": refused.reason}));
        session.out.json(&json!({
            "forgotten": files.collect::<Vec<_>>(),
            "unnamed": forgotten.unnamed,
            "withheld": forgotten.withheld,
            "in_git": forgotten.in_git,
            "committed": forgotten.committed,
            "unknown": forgotten.unknown,
            "refused": refused.collect::<Vec<_>>(),
        }))?;
    } else {
        for (file, events) in &forgotten.files {
            let having = if *events == 0 { "which has no event".to_owned() } else { format!("with {}", counted(*events, "event")) };
            session.out.line(format!("forgot {}, {having}", harmless(file)))?;
        }
        if forgotten.unnamed > 0 {
            session.out.line(format!("forgot {} of which no file is known", counted(forgotten.unnamed, "event")))?;
        }
        let events = forgotten.files.values().sum::<usize>() + forgotten.unnamed;
        let eventless = forgotten.files.values().filter(|events| **events == 0).count();
        if eventless > 0 {
            session.out.line(counted_as(
                eventless,
                "transaction without events is known to be gone now",
                "transactions without events are known to be gone now",
            ))?;
        }
        if eventless == 0 || events > 0 {
            session.out.line(counted_as(events, "event is known to be gone now", "events are known to be gone now"))?;
        }
    }
    not_forgotten(&forgotten, arguments.all).map_or(Ok(()), Err)
}

/// What was not forgotten, and why.
fn not_forgotten(forgotten: &Forgotten, is_all: bool) -> Option<Failure> {
    let Forgotten { in_git, committed, unknown, refused, withheld, .. } = forgotten;
    let mut reasons = Vec::new();
    if !in_git.is_empty() {
        reasons.push(format!("git still has {}: {}", counted(in_git.len(), "file"), some_of(in_git)));
    }
    if !committed.is_empty() {
        let has = format!("git's last commit has {}", counted(committed.len(), "file"));
        reasons.push(format!("{has}, and as long as it does it is told that they are gone: {}", some_of(committed)));
    }
    if !unknown.is_empty() {
        reasons.push(format!("nothing is told to be gone as {}", some_of(unknown)));
    }
    if *withheld > 0 {
        reasons.push(format!("{} of which no file is known may be in what is refused", counted(*withheld, "event")));
    }
    reasons.extend(are_here(refused));
    let mut reasons = reasons.into_iter();
    let mut failure = Failure::new(Kind::Refused, reasons.next()?);
    failure.causes.extend(reasons);
    if !in_git.is_empty() {
        // Without names it brings all of them back. Those that were named are no more than fit into a command.
        let names = if is_all && in_git.len() > NAMED_MAX { &[] } else { in_git.as_slice() };
        let names: String = names.iter().map(|name| format!(" {}", quoted_name(name))).collect();
        failure = failure.hint(format!("bring back what git has: braidfs restore{names}"));
        let meant = if is_all { " --all" } else { names.as_str() };
        failure = failure.hint(format!("or forget it all the same: braidfs restore --forget --force{meant}"));
    } else if *withheld > 0 {
        failure = failure.hint("or forget it all the same: braidfs restore --forget --force --all");
    }
    if !committed.is_empty() {
        let named = committed.len() <= NAMED_MAX;
        let paths: String = committed.iter().map(|name| format!(" events/{}", quoted_name(name))).collect();
        let paths = if named { paths } else { " $(git ls-files --deleted -- events)".to_owned() };
        failure = failure.hint(format!("take out of git what is to be gone: git rm -q --cached --{paths} && git commit -m gone"));
    }
    if !unknown.is_empty() {
        failure = failure.hint("the ids of what is gone: braidfs --format json feed | grep '\"gone\":true'");
    }
    Some(with_cure_of_refused(failure, refused))
}
