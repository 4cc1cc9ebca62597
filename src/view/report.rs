//! `report.json`: what programs read of a conflict.

use serde::Serialize;

use crate::dag::forks::Branch;
use crate::dag::{Conflict, Fork};
use crate::format::names::stream_directory;
use crate::index::Index;

/// How many hex digits of a replica id name a branch.
const REPLICA_DIGITS: usize = 8;

/// A conflict: forks that one transaction resolves as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConflictReport {
    /// Its 12 hex digits.
    pub conflict: String,
    /// `open`, or `provisional` if a parent is missing in the past of one of its forks.
    pub state: &'static str,
    /// The store's heads.
    pub heads: Vec<String>,
    /// Its forks, in the order of the streams' ids.
    pub streams: Vec<ForkReport>,
}

/// A stream with two or more tips.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ForkReport {
    /// The stream.
    pub stream_id: String,
    /// Where it is shown below `forks/<conflict>/`: a directory.
    pub path: String,
    /// How many of its events all branches have in common.
    pub base_version: u64,
    /// The latest transactions that all branches have in common.
    pub fork_point: Vec<String>,
    /// Its branches, in canonical order of their tips.
    pub branches: Vec<BranchReport>,
}

/// One side of a fork.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BranchReport {
    /// The name of its file, without the ending: whose it is.
    pub name: String,
    /// The newest transaction that writes the stream on this side.
    pub tip: String,
    /// The working copy that wrote the tip.
    pub replica_id: String,
    /// The transactions that write the stream on this side, in canonical order.
    pub transactions: Vec<String>,
    /// How many events of the stream these have.
    pub events: u64,
}

impl ConflictReport {
    /// The report of a conflict that is open in an index.
    #[must_use]
    pub fn of(index: &Index, conflict: &Conflict) -> Self {
        Self {
            conflict: conflict.id.clone(),
            state: if conflict.is_provisional() { "provisional" } else { "open" },
            heads: index.transactions.heads().iter().map(ToString::to_string).collect(),
            streams: conflict.forks.iter().map(|fork| fork_report(index, fork)).collect(),
        }
    }
}

fn fork_report(index: &Index, fork: &Fork) -> ForkReport {
    let id = |tx: &u32| index.transactions.id(*tx).to_string();
    let names = branch_names(index, fork);
    let branch = |(branch, name): (&Branch, String)| BranchReport {
        name,
        tip: id(&branch.tip),
        replica_id: index.transactions.replica(branch.tip).to_string(),
        transactions: branch.transactions.iter().map(id).collect(),
        events: branch.events,
    };
    ForkReport {
        stream_id: index.streams.text(fork.stream).to_owned(),
        path: fork_path(index, fork),
        base_version: fork.base_version,
        fork_point: fork.fork_points.iter().map(id).collect(),
        branches: fork.branches.iter().zip(names).map(branch).collect(),
    }
}

/// The directory of a fork below that of its conflict.
pub(super) fn fork_path(index: &Index, fork: &Fork) -> String {
    format!("streams/{}", stream_directory(index.streams.text(fork.stream)))
}

/// A name for each branch: the short id of the replica that wrote its tip, with a count where one wrote several.
pub(super) fn branch_names(index: &Index, fork: &Fork) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(fork.branches.len());
    for branch in &fork.branches {
        let replica: String = index.transactions.replica(branch.tip).to_string().chars().take(REPLICA_DIGITS).collect();
        let mut name = replica.clone();
        let mut count = 1;
        while names.contains(&name) {
            count += 1;
            name = format!("{replica}-{count}");
        }
        names.push(name);
    }
    names
}
