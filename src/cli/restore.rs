//! `braidfs restore`.

use clap::Args;
use serde_json::json;

use super::failure::{Failure, Kind, Result};
use super::harmless::harmless;
use super::{Session, locate, reader};
use crate::disk::Disk;
use crate::format::text::{counted, counted_as};

/// Bring back from git what was in events/ and is gone
///
/// Each file comes from the newest commit, of any branch, that holds it, or else from a commit that no branch has any more: one
/// that git reset or an aborted rebase took, or that was fetched last. Without names: everything that this replica has seen
/// and has no more, what the last commit has and events/ has not, and parents that transactions name and that are missing.
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
        session.out.json(&json!({"restored": restored.collect::<Vec<_>>(), "unknown": restoration.unknown}))?;
    } else {
        for file in &restoration.restored {
            let (name, subject) = (harmless(&file.name), harmless(&file.commit.subject));
            session.out.line(format!("restored {name} from commit {} ({subject})", file.commit.oid.short()))?;
        }
        session.out.line(counted_as(restoration.restored.len(), "file is back", "files are back"))?;
    }
    if restoration.unknown.is_empty() {
        return Ok(());
    }
    let message =
        format!("git knows no commit that has {}: {}", counted(restoration.unknown.len(), "file"), restoration.unknown.join(", "));
    Err(Failure::new(Kind::Refused, message).hint("fetch from where they may be: git fetch --all; then run it again"))
}
