//! `braidfs doctor`.

use clap::Args;
use serde_json::{Value, json};

use super::failure::{Failure, Kind, Result};
use super::harmless::harmless;
use super::status::render_finding;
use super::{Session, locate, reader};
use crate::braid::OpenOptions;
use crate::disk::Disk;
use crate::model::Severity;
use crate::view::status_json;

/// Report everything that is wrong with a store, each with the command that mends it
///
/// The gravest comes first. With --fix it first mends what is safe: line ends that git changed, what killed programs left in
/// tmp/, a damaged ingestion log, what .gitattributes and .gitignore lack, a lost index. Nothing else is ever changed.
/// Ends with 1 if something remains that should be mended.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Arguments {
    /// Mend what is safe
    #[arg(long)]
    fix: bool,
}

pub(super) fn run(arguments: &Arguments, session: &mut Session) -> Result {
    let directory = locate::named_or_found(session, &Disk::real())?;
    let options = OpenOptions { read_only: !arguments.fix, verify: true, ..OpenOptions::default() };
    let (braid, _) = reader::open_by(session, &directory, &options)?;
    let mended = if arguments.fix { braid.mend()? } else { Vec::new() };
    let epoch = braid.survey()?;
    let status: Value = serde_json::from_str(&status_json(&epoch))
        .map_err(|error| Failure::new(Kind::Failed, "the findings cannot be read").because(&error))?;
    let findings = status.get("findings").cloned().unwrap_or_default();
    if session.out.is_json() {
        session.out.json(&json!({"mended": mended, "findings": findings}))?;
    } else {
        for done in &mended {
            session.out.line(format!("mended: {}", harmless(done)))?;
        }
        let findings = findings.as_array().map_or(&[][..], Vec::as_slice);
        for finding in findings {
            session.out.line(render_finding(finding))?;
        }
        let count = |severity: Severity| epoch.findings.iter().filter(|finding| finding.severity == severity).count();
        session.out.line(if findings.is_empty() {
            "nothing is wrong".to_owned()
        } else {
            let (errors, warnings, rest) = (count(Severity::Error), count(Severity::Warning), count(Severity::Info));
            format!("{errors} missing from the views, {warnings} to be mended, {rest} worth knowing")
        })?;
    }
    if epoch.findings.iter().any(|finding| finding.severity > Severity::Info) { Err(Failure::new(Kind::Refused, "")) } else { Ok(()) }
}
