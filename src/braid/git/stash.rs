//! What the newest stash took out of `events/`.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use super::{GitError, Program};
use crate::disk::shown_name;

/// What brings back what the newest stash took; git pops nothing over a file that was restored.
pub const POP_STASH: &str = "git stash pop   # brings back all that the newest stash took";

impl Program {
    /// The files of `events/` that the newest stash took away, so that `git stash pop` brings them back: untracked ones, which are its third
    /// parent, and those that had only been added.
    ///
    /// # Errors
    /// If git cannot be run.
    pub fn stashed(&self) -> Result<BTreeSet<String>, GitError> {
        let is_there = |revision: &str| match self.commit(revision) {
            Ok(_) => Ok(true),
            Err(GitError::UnknownRevision(_)) => Ok(false),
            Err(error) => Err(error),
        };
        if !is_there("refs/stash")? {
            return Ok(BTreeSet::new());
        }
        let words = ["diff-tree", "-r", "-z", "--name-only", "--no-renames", "--diff-filter=A", "--relative", "refs/stash^1", "refs/stash"];
        let mut listed = self.run(&[words.as_slice(), &["--", "events"]].concat())?;
        if is_there("refs/stash^3")? {
            listed.extend(self.run(&["ls-tree", "-r", "-z", "--name-only", "refs/stash^3", "--", "events/"])?);
        }
        let names = listed.split(|byte| *byte == 0).filter_map(|path| path.strip_prefix(b"events/"));
        Ok(names.map(|name| shown_name(OsStr::from_bytes(name))).collect())
    }
}
