//! `report.json`: what programs read of a conflict.

use std::collections::{BTreeMap, HashMap};

use crate::dag::forks::Branch;
use crate::dag::{Conflict, Fork};
use crate::epoch::Epoch;
use crate::format::names::stream_directory;
use crate::format::text::{counted, harmless};
use crate::index::Index;
use crate::model::{BranchReport, ConflictReport, ConflictState, Declined, ForkReport, Origin, TransactionId};

/// The directory of a conflict that has those of its forks.
pub(super) const STREAMS: &str = "streams";
/// How many hex digits of a replica id name a branch.
const REPLICA_DIGITS: usize = 8;
/// How many hex digits of a commit do.
const COMMIT_DIGITS: usize = 8;
/// How many letters of an author's name do.
const AUTHOR_CHARS_MAX: usize = 32;

/// What a report says is taken from here.
#[derive(Clone, Copy, Debug)]
pub struct ReportContext<'a> {
    /// The transactions, and their forks.
    pub index: &'a Index,
    /// Who brought the tips to git, where git has told.
    pub origins: &'a BTreeMap<TransactionId, Origin>,
    /// The conflicts that somebody declined to settle here, by id.
    pub declined: &'a BTreeMap<String, Declined>,
}

impl<'a> From<&'a Epoch> for ReportContext<'a> {
    fn from(epoch: &'a Epoch) -> Self {
        Self { index: &epoch.index, origins: &epoch.origins, declined: &epoch.declined }
    }
}

impl ConflictReport {
    /// The report of a conflict that is not over.
    #[must_use]
    pub fn of<'a>(context: impl Into<ReportContext<'a>>, conflict: &Conflict) -> Self {
        Self::of_first(context, conflict, usize::MAX)
    }

    /// The same with its first streams alone.
    pub(super) fn of_first<'a>(context: impl Into<ReportContext<'a>>, conflict: &Conflict, streams_max: usize) -> Self {
        let context = context.into();
        let index = context.index;
        Self {
            conflict: conflict.id.clone(),
            state: if conflict.is_provisional() { ConflictState::Provisional } else { ConflictState::Open },
            declined: context.declined.get(&conflict.id).cloned(),
            heads: index.transactions.heads().iter().map(ToString::to_string).collect(),
            streams: conflict.forks.iter().take(streams_max).map(|fork| fork_report(context, fork)).collect(),
        }
    }

    /// It for people, a line a stream, of many the first ones; what a terminal would obey is spelled out.
    #[must_use]
    pub fn to_text(&self, streams_max: usize) -> String {
        let mut text = format!("conflict {} ({})", self.conflict, self.state);
        if let Some(declined) = &self.declined {
            text += &format!("\n  declined here at {}: {}", declined.at, harmless(&declined.reason));
        }
        for fork in self.streams.iter().take(streams_max) {
            let branches: Vec<String> = fork.branches.iter().map(|branch| format!("{} +{}", branch.name, branch.events)).collect();
            let common = counted(fork.base_version, "event");
            text += &format!("\n  {}: {common} in common, then {}", harmless(&fork.stream_id), branches.join(" | "));
        }
        if self.streams.len() > streams_max {
            text += &format!("\n  and {}", counted(self.streams.len() - streams_max, "more stream"));
        }
        text
    }
}

fn fork_report(context: ReportContext<'_>, fork: &Fork) -> ForkReport {
    let index = context.index;
    #[cfg(test)]
    crate::view::counted::described();
    let id = |tx: &u32| index.transactions.id(*tx).to_string();
    let names = branch_names(context, fork);
    let branch = |(branch, name): (&Branch, BranchName)| {
        let origin = origin(context, branch);
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
pub(super) fn branch_names<'a>(context: impl Into<ReportContext<'a>>, fork: &Fork) -> Vec<BranchName> {
    let context = context.into();
    let mut counts: HashMap<String, u32> = HashMap::new();
    let name = |branch: &Branch| {
        let replica: String = context.index.transactions.replica(branch.tip).to_string().chars().take(REPLICA_DIGITS).collect();
        let count = counts.entry(replica.clone()).or_default();
        *count += 1;
        let plain = if *count == 1 { replica } else { format!("{replica}-{count}") };
        BranchName { plain, from_git: origin(context, branch).map(in_name) }
    };
    fork.branches.iter().map(name).collect()
}

fn origin<'a>(context: ReportContext<'a>, branch: &Branch) -> Option<&'a Origin> {
    context.origins.get(&context.index.transactions.id(branch.tip))
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
