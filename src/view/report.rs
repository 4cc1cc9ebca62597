//! `report.json`: what programs read of a conflict.

use std::collections::HashMap;

use serde::Serialize;

use crate::dag::forks::Branch;
use crate::dag::{Conflict, Fork};
use crate::epoch::Epoch;
use crate::format::names::stream_directory;
use crate::index::Index;
use crate::model::{Declined, Origin};

/// The directory of a conflict that has those of its forks.
pub(super) const STREAMS: &str = "streams";
/// How many hex digits of a replica id name a branch.
const REPLICA_DIGITS: usize = 8;
/// How many hex digits of a commit do.
const COMMIT_DIGITS: usize = 8;
/// How many letters of an author's name do.
const AUTHOR_CHARS_MAX: usize = 32;

/// A conflict: forks that one transaction resolves as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConflictReport {
    /// Its 12 hex digits.
    pub conflict: String,
    /// `open`, or `provisional` if a parent is missing in the past of one of its forks.
    pub state: &'static str,
    /// Why somebody who was asked in this working copy did not settle it; null where nobody declined.
    pub declined: Option<Declined>,
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
    /// The name of its file, without the ending: whose it is. The short id of the replica, then author and commit once git
    /// has told them; the part before these is a name of the file too, always.
    pub name: String,
    /// The newest transaction that writes the stream on this side.
    pub tip: String,
    /// The working copy that wrote the tip.
    pub replica_id: String,
    /// Who brought the tip to git, as git has the name; null as long as git has not told.
    pub author: Option<String>,
    /// The commit that did.
    pub commit: Option<String>,
    /// The transactions that write the stream on this side, in canonical order.
    pub transactions: Vec<String>,
    /// How many events of the stream these have.
    pub events: u64,
}

impl ConflictReport {
    /// The report of a conflict that is open in an epoch.
    #[must_use]
    pub fn of(epoch: &Epoch, conflict: &Conflict) -> Self {
        let index = &epoch.index;
        Self {
            conflict: conflict.id.clone(),
            state: if conflict.is_provisional() { "provisional" } else { "open" },
            declined: epoch.declined.get(&conflict.id).cloned(),
            heads: index.transactions.heads().iter().map(ToString::to_string).collect(),
            streams: conflict.forks.iter().map(|fork| fork_report(epoch, fork)).collect(),
        }
    }
}

fn fork_report(epoch: &Epoch, fork: &Fork) -> ForkReport {
    let index = &epoch.index;
    let id = |tx: &u32| index.transactions.id(*tx).to_string();
    let names = branch_names(epoch, fork);
    let branch = |(branch, name): (&Branch, BranchName)| {
        let origin = origin(epoch, branch);
        BranchReport {
            name: name.shown(),
            tip: id(&branch.tip),
            replica_id: index.transactions.replica(branch.tip).to_string(),
            author: origin.map(|origin| origin.author.clone()),
            commit: origin.map(|origin| origin.commit.clone()),
            transactions: branch.transactions.iter().map(id).collect(),
            events: branch.events,
        }
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
fn fork_path(index: &Index, fork: &Fork) -> String {
    format!("{STREAMS}/{}", stream_directory(index.streams.text(fork.stream)))
}

/// What the file of a branch is called.
pub(super) struct BranchName {
    /// The short id of the replica that wrote its tip, with a count where one wrote several: a name from the first epoch to the last.
    plain: String,
    /// Who brought the tip to git, and the commit.
    from_git: Option<String>,
}

impl BranchName {
    /// The name that is listed.
    pub(super) fn shown(&self) -> String {
        self.from_git.as_ref().map_or_else(|| self.plain.clone(), |from_git| format!("{}-{from_git}", self.plain))
    }

    /// Whether the file is found by a name: also by the plain one, so that who has read it before git told more still finds it.
    pub(super) fn is(&self, name: &str) -> bool {
        name == self.plain || name == self.shown()
    }
}

/// A name for each branch.
pub(super) fn branch_names(epoch: &Epoch, fork: &Fork) -> Vec<BranchName> {
    let mut counts: HashMap<String, u32> = HashMap::new();
    let name = |branch: &Branch| {
        let replica: String = epoch.index.transactions.replica(branch.tip).to_string().chars().take(REPLICA_DIGITS).collect();
        let count = counts.entry(replica.clone()).or_default();
        *count += 1;
        let plain = if *count == 1 { replica } else { format!("{replica}-{count}") };
        BranchName { plain, from_git: origin(epoch, branch).map(in_name) }
    };
    fork.branches.iter().map(name).collect()
}

fn origin<'a>(epoch: &'a Epoch, branch: &Branch) -> Option<&'a Origin> {
    epoch.origins.get(&epoch.index.transactions.id(branch.tip))
}

/// Author and commit as a part of a file's name: letters and digits of any script, the rest is a dash.
fn in_name(origin: &Origin) -> String {
    let mut author = String::new();
    for c in origin.author.chars() {
        if c.is_alphanumeric() {
            author.push(c);
        } else if !author.is_empty() && !author.ends_with('-') {
            author.push('-');
        }
    }
    let author: String = author.chars().take(AUTHOR_CHARS_MAX).collect();
    let commit: String = origin.commit.chars().take(COMMIT_DIGITS).collect();
    match author.trim_end_matches('-') {
        "" => commit,
        author => format!("{author}-{commit}"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn any_author_makes_a_name_that_a_file_may_have() {
        let name = |author: &str| in_name(&Origin { author: author.to_owned(), commit: "0123456789abcdef".repeat(2) });
        assert_eq!(name("Ada King, Countess"), "Ada-King-Countess-01234567");
        assert_eq!(name("Łukasz Żółć"), "Łukasz-Żółć-01234567");
        assert_eq!(name("../../etc/\u{202e}\0x"), "etc-x-01234567");
        assert_eq!(name(" ~ "), "01234567");
        assert!(name(&"𠮷".repeat(500)).len() < 200);
    }
}
