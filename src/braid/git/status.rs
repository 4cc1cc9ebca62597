//! How the files in `events/` differ from what git has.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use super::{GitError, Oid, Program};
use crate::disk::shown_name;

/// How a file stands to the last commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Git does not know it yet.
    Untracked,
    /// New in the index, not in a commit.
    Added,
    /// Its bytes differ from those that were committed or added.
    Modified,
    /// It was committed and is gone.
    Deleted,
    /// A merge left it unsettled.
    Unmerged,
}

/// A file in `events/` that differs from the last commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its name in `events/`, as `disk::shown_name` gives it.
    pub name: String,
    /// How it differs.
    pub state: State,
}

impl Program {
    /// The files in `events/` that differ from the last commit; ignored files are not among them.
    ///
    /// # Errors
    /// If git cannot be run or the store lies in no repository.
    pub fn changes(&self) -> Result<Vec<Change>, GitError> {
        let events = self.events_path()?;
        let listed = self.run(&["status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--", "events"])?;
        let entries = listed.split(|byte| *byte == 0).filter(|entry| entry.len() > 3);
        Ok(entries
            .filter_map(|entry| {
                let (states, path) = entry.split_at(3);
                let name = path.strip_prefix(events.as_slice())?;
                Some(Change { name: shown_name(OsStr::from_bytes(name)), state: state_of(states)? })
            })
            .collect())
    }

    /// The tracked files in `events/` whose bytes differ from those in a commit, or that only one of both has.
    ///
    /// # Errors
    /// If git cannot be run.
    pub fn differing(&self, commit: &Oid) -> Result<BTreeSet<String>, GitError> {
        let words = ["diff", "--name-only", "-z", "--no-renames", "--no-ext-diff", "--no-textconv", "--relative", commit.as_str(), "--"];
        let listed = self.run(&[words.as_slice(), &["events"]].concat())?;
        let names = listed.split(|byte| *byte == 0).filter_map(|path| path.strip_prefix(b"events/"));
        Ok(names.map(|name| shown_name(OsStr::from_bytes(name))).collect())
    }
}

fn state_of(states: &[u8]) -> Option<State> {
    match states {
        b"?? " => Some(State::Untracked),
        b"DD " | b"AU " | b"UD " | b"UA " | b"DU " | b"AA " | b"UU " => Some(State::Unmerged),
        [_, b'D', _] | [b'D', _, _] => Some(State::Deleted),
        [b'A', b' ', _] => Some(State::Added),
        [_, b'M' | b'T', _] | [b'M' | b'T', _, _] | [b'A', _, _] => Some(State::Modified),
        _ => None,
    }
}
