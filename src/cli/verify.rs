//! `braidfs verify`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::failure::{Failure, Kind, Result};
use super::status::{render_finding, render_way};
use super::{Session, locate, reader};
use crate::braid::OpenOptions;
use crate::disk::Disk;
use crate::format::text::counted;
use crate::model::Severity;

/// Read and check every byte of every transaction, and report everything that is wrong
///
/// Ends with 1 if anything should be mended; what is only worth knowing is reported and ends with 0.
#[derive(Args)]
pub(super) struct Arguments {
    /// The store, or a mount of it; without it as for every command
    #[arg(value_name = "STORE")]
    directory: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments, session: &mut Session) -> Result {
    let directory = match locate::argument_or_option(arguments.directory.as_deref(), session)? {
        Some(directory) => locate::named(&directory, &Disk::real())?,
        None => locate::named_or_found(session, &Disk::real())?,
    };
    let options = OpenOptions { read_only: true, from_scratch: true, ..OpenOptions::default() };
    let (braid, _) = reader::open_by(session, &directory, &options)?;
    braid.check_projections();
    let epoch = braid.survey()?;
    let findings = &*epoch.findings;
    let index = &epoch.index;
    let (transactions, events) = (index.transactions.valid_count(), index.log.events.len());
    if session.out.is_json() {
        session.out.json(&json!({"transactions": transactions, "events": events, "findings": findings}))?;
    } else {
        for finding in findings {
            session.out.line(render_finding(finding))?;
        }
        if let Some(way) = render_way(findings, epoch.store.dir()) {
            session.out.line(way)?;
        }
        let count = findings.len();
        let (events, findings) = (counted(events, "event"), counted(count, "finding"));
        let whole = if transactions == 1 { "is whole" } else { "are whole" };
        session.out.line(format!("{} with {events} {whole}; {findings}", counted(transactions, "transaction")))?;
    }
    if epoch.findings.iter().any(|finding| finding.severity > Severity::Info) { Err(Failure::new(Kind::Refused, "")) } else { Ok(()) }
}
