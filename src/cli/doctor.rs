//! `braidfs doctor`.

use clap::Args;
use serde_json::json;

use super::failure::{Failure, Kind, Result};
use super::harmless::harmless;
use super::status::{render_finding, render_way};
use super::{Session, locate, reader};
use crate::braid::OpenOptions;
use crate::disk::Disk;
use crate::epoch::Epoch;
use crate::format::text::{counted, counted_as};
use crate::model::Severity;

/// Report everything that is wrong with a store, each with the command that mends it
///
/// The gravest comes first. With --fix it first mends what is safe: line ends that git changed, what killed programs left in
/// tmp/, a damaged ingestion log, what .gitattributes and .gitignore lack, a lost index, and that git takes for changed what is as it
/// has it. Nothing else is ever changed.
///
/// Ends with 1 if something remains that should be mended. Forks that are open are told and are no fault: they do not count.
#[derive(Args)]
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
    braid.check_projections();
    let epoch = braid.survey()?;
    let findings = &*epoch.findings;
    if session.out.is_json() {
        let (open, provisional) = epoch.index.forks().counts();
        let forks = json!({"open": open, "provisional": provisional});
        session.out.json(&json!({"mended": mended, "findings": findings, "forks": forks}))?;
    } else {
        for done in &mended {
            session.out.line(format!("mended: {}", harmless(done)))?;
        }
        for finding in findings {
            session.out.line(render_finding(finding))?;
        }
        if let Some(way) = render_way(findings, epoch.store.dir()) {
            session.out.line(way)?;
        }
        if let Some(notice) = forks_notice(&epoch) {
            session.out.line(notice)?;
        }
        let count = |severity: Severity| findings.iter().filter(|finding| finding.severity == severity).count();
        session.out.line(if findings.is_empty() {
            "nothing is wrong".to_owned()
        } else {
            let (errors, warnings, rest) = (count(Severity::Error), count(Severity::Warning), count(Severity::Info));
            format!("{errors} missing from the views, {warnings} to be mended, {rest} worth knowing")
        })?;
    }
    if findings.iter().any(|finding| finding.severity > Severity::Info) { Err(Failure::new(Kind::Refused, "")) } else { Ok(()) }
}

/// What is open, in one line with the command that lists it.
fn forks_notice(epoch: &Epoch) -> Option<String> {
    let forks = epoch.index.forks();
    let (open, provisional) = forks.counts();
    let conflicts = counted_as(forks.conflicts().len(), "conflict is open", "conflicts are open");
    let more = if provisional > 0 { format!(", {provisional} of them perhaps only for a missing parent") } else { String::new() };
    (open + provisional > 0).then(|| format!("forks: {conflicts}, in {}{more}: braidfs forks", counted(open + provisional, "stream")))
}
