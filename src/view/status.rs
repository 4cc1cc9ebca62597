//! `status.json`: what programs read of the store's state.

use serde::Serialize;

use crate::epoch::{Epoch, Progress, WriterState};
use crate::model::{Finding, ReplicaId, TransactionId};

#[derive(Serialize)]
struct Status<'a> {
    epoch: u64,
    transactions: u32,
    events: u64,
    streams: u64,
    heads: Vec<TransactionId>,
    topology_generation: u64,
    latest_seq_nr: u64,
    replica_id: Option<ReplicaId>,
    forks: Forks,
    findings: &'a [Finding],
    index: IndexJson,
    writer: WriterJson<'a>,
    version: &'static str,
}

#[derive(Serialize)]
struct Forks {
    open: u64,
    provisional: u64,
}

#[derive(Serialize)]
struct IndexJson {
    state: &'static str,
    done: u64,
    of: u64,
}

#[derive(Serialize)]
struct WriterJson<'a> {
    state: &'static str,
    lock_held_by: Option<&'a str>,
    error: Option<&'a str>,
}

/// The text of `status.json`, with its line end.
#[must_use]
pub fn status_json(epoch: &Epoch) -> String {
    let index = &epoch.index;
    let (state, lock_held_by, error) = match &epoch.writer {
        WriterState::Ready => ("ready", None, None),
        WriterState::ReadOnly => ("read-only", None, None),
        WriterState::Locked(holder) => ("locked", Some(holder.as_str()), None),
        WriterState::Failed(why) => ("failed", None, Some(why.as_str())),
    };
    let (open, provisional) = index.forks().counts();
    let status = Status {
        epoch: epoch.name,
        transactions: index.transactions.valid_count(),
        events: index.log.events.len(),
        streams: index.directories.live(),
        heads: index.transactions.heads(),
        topology_generation: u64::from(index.transactions.merge_count()),
        latest_seq_nr: epoch.feed_shown,
        replica_id: epoch.replica_id,
        forks: Forks { open, provisional },
        findings: &epoch.findings,
        index: IndexJson {
            state: match epoch.progress {
                Progress { ready: true, .. } => "ready",
                Progress { failed: true, .. } => "failed",
                _ => "building",
            },
            done: epoch.progress.done,
            of: epoch.progress.of,
        },
        writer: WriterJson { state, lock_held_by, error },
        version: env!("CARGO_PKG_VERSION"),
    };
    // These types hold nothing that JSON cannot.
    serde_json::to_string_pretty(&status).unwrap_or_default() + "\n"
}
