//! `braidfs restore`.

use clap::Args;
use serde_json::json;

use super::failure::{Failure, Kind, Result};
use super::harmless::harmless;
use super::{Session, locate, reader};
use crate::braid::Restoration;
use crate::disk::Disk;
use crate::format::text::{counted, counted_as};

/// Bring back from git what was in events/ and is gone
///
/// Each file comes from the newest commit, of any branch, that holds it, or else from a commit that no branch has any more: one
/// that git reset or an aborted rebase took, or that was fetched last. Without names: everything that this replica has seen
/// and has no more, what the last commit has and events/ has not, and parents that transactions name and that are missing.
/// It ends with 1 where something could not be brought back, and says why.
/// What comes back brings the parents with it that are missing too. A file that is there is left alone.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Arguments {
    /// Names in events/, or ids of transactions
    #[arg(value_name = "FILE")]
    names: Vec<String>,
}

pub(super) fn run(arguments: &Arguments, session: &mut Session) -> Result {
    let directory = locate::named_or_found(session, &Disk::real())?;
    let (braid, _) = reader::open(session, &directory, false)?;
    let restoration = braid.restore(&arguments.names)?;
    if session.out.is_json() {
        let restored = restoration.restored.iter().map(|file| json!({"file": file.name, "commit": file.commit.oid.as_str()}));
        let refused = restoration.refused.iter().map(|refused| json!({"file": refused.file, "reason": refused.reason}));
        session.out.json(&json!({
            "restored": restored.collect::<Vec<_>>(),
            "unknown": restoration.unknown,
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
    let Restoration { unknown, refused, unnamed, .. } = restoration;
    let mut reasons = Vec::new();
    if !unknown.is_empty() {
        reasons.push(format!("git knows no commit that has {}: {}", counted(unknown.len(), "file"), unknown.join(", ")));
    }
    if *unnamed > 0 {
        let are_gone = counted_as(*unnamed, "event that this replica has seen is", "events that this replica has seen are");
        reasons.push(format!("{are_gone} in no file that git knows"));
    }
    let is_lacking = !reasons.is_empty();
    reasons.extend(refused.iter().map(|refused| format!("file \"{}\" is here and is refused: {}", refused.file, refused.reason)));
    let mut reasons = reasons.into_iter();
    let mut failure = Failure::new(Kind::Refused, reasons.next()?);
    failure.causes.extend(reasons);
    if is_lacking {
        failure = failure.hint("fetch from where they may be: git fetch --all, or git fetch CLONE; then run it again");
    }
    Some(if refused.is_empty() { failure } else { failure.hint("braidfs doctor   # tells what mends a refused file") })
}
