//! What is said of a conflict: the report that programs read.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::Declined;

/// How it stands with a conflict that is not over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConflictState {
    /// Whoever writes its streams is held to it.
    Open,
    /// A parent is missing in the past of one of its forks, and may tell that there is none.
    Provisional,
}

impl fmt::Display for ConflictState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Provisional => "provisional",
        })
    }
}

/// A conflict: forks that one transaction resolves as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictReport {
    /// Its 12 hex digits.
    pub conflict: String,
    /// How it stands.
    pub state: ConflictState,
    /// Why somebody who was asked in this working copy did not settle it; null where nobody declined.
    pub declined: Option<Declined>,
    /// The store's heads.
    pub heads: Vec<String>,
    /// Its forks, in the order of the streams' ids.
    pub streams: Vec<ForkReport>,
}

/// A stream with two or more tips.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
