//! `braidfs forks`.

use std::collections::HashMap;
use std::time::Duration;

use clap::Args;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::failure::Result;
use super::harmless::harmless;
use super::{Session, locate, reader};
use crate::dag::{ClosedFork, Closing};
use crate::disk::Disk;
use crate::index::forks::ClosedConflicts;
use crate::model::ConflictReport;
use crate::view::{Node, Tree};

/// How long a command waits for git to tell whose the branches are.
pub(super) const GIT_PATIENCE: Duration = Duration::from_secs(3);

/// List the streams that have two histories, and which of them one transaction resolves together
///
/// For programs (`--format json`) a line is the report.json of a conflict; with --closed, one closed fork, with the id of the
/// conflict that whoever closed it found it in.
#[derive(Args)]
pub(super) struct Arguments {
    /// List the forks that are over instead: joined by an append that knew both sides, reconciled, or merged
    #[arg(long)]
    closed: bool,
}

pub(super) fn run(arguments: &Arguments, session: &mut Session) -> Result {
    if arguments.closed {
        return closed(&reader::tree(session)?, session);
    }
    let directory = locate::named_or_found(session, &Disk::real())?;
    let (braid, _) = reader::open(session, &directory, true)?;
    open(&Tree::of(braid.find_origins(GIT_PATIENCE)?), session)
}

fn open(tree: &Tree, session: &mut Session) -> Result {
    let index = &tree.epoch().index;
    for conflict in index.forks().conflicts().iter() {
        let report = ConflictReport::of(tree.epoch().as_ref(), conflict);
        session.out.either(&json!(report), |_| report.to_text(usize::MAX))?;
    }
    if index.forks().conflicts().is_empty() && !session.out.is_json() {
        session.out.line("no stream is forked")?;
    }
    Ok(())
}

fn closed(tree: &Tree, session: &mut Session) -> Result {
    let index = &tree.epoch().index;
    let mut conflicts = ClosedConflicts::of(index);
    // A transaction may have closed the forks of many streams.
    let mut bases: HashMap<u32, Map<String, Value>> = HashMap::new();
    let mut is_any = false;
    for stream in 0..index.streams.len() {
        let name = index.streams.text(stream);
        let id = |tx: u32| index.transactions.id(tx).to_string();
        let mut stated = |tx: u32| bases.entry(tx).or_insert_with(|| stated_bases(tree, &id(tx))).get(name)?.as_u64();
        for fork in conflicts.forks(stream, &mut stated) {
            is_any = true;
            let tips: Vec<String> = fork.tips.iter().map(|&tip| id(tip)).collect();
            let conflict = conflicts.id(stream, fork.closer).unwrap_or_default();
            let line = json!({"conflict": conflict, "stream_id": name, "state": state(&fork), "closer": id(fork.closer), "tips": tips});
            session
                .out
                .either(&line, |_| format!("conflict {conflict} ({})\n  {}: by {}", state(&fork), harmless(name), id(fork.closer)))?;
        }
    }
    if !is_any && !session.out.is_json() {
        session.out.line("no fork was closed")?;
    }
    Ok(())
}

fn state(fork: &ClosedFork) -> &'static str {
    match fork.closing {
        Closing::Joined => "joined",
        Closing::Reconciled => "reconciled",
        Closing::Merged => "merged",
    }
}

/// What a transaction's header states of streams: how many events of each the author had seen.
fn stated_bases(tree: &Tree, transaction: &str) -> Map<String, Value> {
    #[derive(Default, Deserialize)]
    struct Header {
        #[serde(default)]
        stream_bases: Map<String, Value>,
    }
    let file = tree.find(&format!("transactions/{transaction}.jsonl")).and_then(Node::into_file);
    let bytes = file.and_then(|file| file.read_all().ok()).unwrap_or_default();
    let first = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    serde_json::from_slice::<Header>(first).unwrap_or_default().stream_bases
}
