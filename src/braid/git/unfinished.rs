//! What git has begun in the work tree and not finished: a commit now would land in the middle of it.

use std::path::PathBuf;

use super::{GitError, Program};
use crate::disk::Disk;
use crate::format::text::quoted;

/// What git has begun and not finished, as `git status` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A merge that stopped, or was to stop, before its commit.
    Merge,
    /// A rebase.
    Rebase,
    /// Patches that are applied from mails.
    Am,
    /// A cherry-pick, of one commit or several.
    CherryPick,
    /// A revert, of one commit or several.
    Revert,
    /// A search for the commit that broke something.
    Bisect,
    /// Files that conflict without any of these, as `git stash pop` leaves them.
    Conflicts,
    /// No branch is checked out, so nothing names a commit that is made now.
    Detached,
}

/// Why nothing should be committed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// What was begun.
    pub operation: Operation,
    /// Whether files conflict that are not settled yet.
    pub conflicts: bool,
}

impl Program {
    /// What git has begun in this work tree and not finished; none where a commit lands on a branch that stays.
    ///
    /// # Errors
    /// If git cannot be run or the store lies in no repository.
    pub fn unfinished(&self) -> Result<Option<Unfinished>, GitError> {
        // First, since it says so where there is no repository; `git diff` is another command there.
        let begun = self.begun()?;
        let conflicts = !self.run(&["diff", "--cached", "--name-only", "--diff-filter=U", "--no-ext-diff"])?.is_empty();
        let begun = begun.or(conflicts.then_some(Operation::Conflicts));
        let begun =
            if begun.is_none() && !self.succeeds(&["symbolic-ref", "--quiet", "HEAD"])? { Some(Operation::Detached) } else { begun };
        Ok(begun.map(|operation| Unfinished { operation, conflicts }))
    }

    /// In the order in which one of them hides another: a rebase picks commits itself, and it may run while a commit is searched for.
    fn begun(&self) -> Result<Option<Operation>, GitError> {
        let paths = ["rebase-merge", "rebase-apply", "rebase-apply/applying", "sequencer/todo", "BISECT_LOG"];
        let words: Vec<&str> = ["rev-parse"].into_iter().chain(paths.iter().flat_map(|path| ["--git-path", path])).collect();
        let named = self.text(&words)?;
        let named: Vec<PathBuf> = named.lines().map(|path| self.dir.join(path)).collect();
        let [merge, apply, applying, todo, bisect] = named.as_slice() else { return Err(GitError::Unexpected("rev-parse --git-path")) };
        let disk = Disk::real();
        if disk.exists(merge) || disk.exists(apply) {
            return Ok(Some(if disk.exists(applying) { Operation::Am } else { Operation::Rebase }));
        }
        for (name, operation) in
            [("MERGE_HEAD", Operation::Merge), ("CHERRY_PICK_HEAD", Operation::CherryPick), ("REVERT_HEAD", Operation::Revert)]
        {
            if self.succeeds(&["rev-parse", "--verify", "--quiet", name])? {
                return Ok(Some(operation));
            }
        }
        // Between two commits of several only the list of what is left tells it.
        if let Ok(Some(todo)) = disk.read_if_present(todo) {
            return Ok(Some(if todo.starts_with(b"revert") { Operation::Revert } else { Operation::CherryPick }));
        }
        Ok(disk.exists(bisect).then_some(Operation::Bisect))
    }

    /// Whether git says yes.
    fn succeeds(&self, words: &[&str]) -> Result<bool, GitError> {
        Ok(self.run_unless_no(self.command().args(words), words)?.is_some())
    }
}

impl Operation {
    /// The command of git that it was begun with.
    fn command(self) -> Option<&'static str> {
        match self {
            Self::Merge => Some("git merge"),
            Self::Rebase => Some("git rebase"),
            Self::Am => Some("git am"),
            Self::CherryPick => Some("git cherry-pick"),
            Self::Revert => Some("git revert"),
            Self::Bisect | Self::Conflicts | Self::Detached => None,
        }
    }

    fn describe(self) -> &'static str {
        match self {
            Self::Merge => "a merge of git is not finished",
            Self::Rebase => "a rebase of git is not finished",
            Self::Am => "a git am is not finished",
            Self::CherryPick => "a cherry-pick of git is not finished",
            Self::Revert => "a revert of git is not finished",
            Self::Bisect => "a bisect of git is not finished",
            Self::Conflicts => "files conflict in git",
            Self::Detached => "no branch is checked out in git: what is committed now would belong to none",
        }
    }
}

impl Unfinished {
    /// What is so.
    #[must_use]
    pub fn message(&self) -> &'static str {
        self.operation.describe()
    }

    /// The command that finishes it; none where something is to be settled or chosen first.
    pub(in crate::braid) fn finishing(self) -> Option<String> {
        self.operation.command().filter(|_| !self.conflicts).map(|command| format!("{command} --continue"))
    }

    /// The command that ends it, where a branch has something that is wanted here.
    pub(in crate::braid) fn ending(self, branch: &str) -> String {
        match (self.finishing(), self.operation) {
            (Some(finishing), _) => finishing,
            (None, Operation::Bisect) => "git bisect reset".to_owned(),
            (None, Operation::Detached) => format!("git switch {}", quoted(branch)),
            (None, _) => "git status".to_owned(),
        }
    }

    /// What helps, one step or choice each.
    #[must_use]
    pub fn hints(&self) -> Vec<String> {
        let mut hints = Vec::new();
        if self.conflicts {
            hints.push("settle each file that conflicts, as `git status` names them, and then: git add FILE".to_owned());
        }
        if let Some(command) = self.operation.command() {
            hints.push(format!("{}finish it: {command} --continue", if self.conflicts { "then " } else { "" }));
            hints.push(format!("or give it up: {command} --abort"));
        }
        match self.operation {
            Operation::Bisect => hints.push("end it: git bisect reset".to_owned()),
            Operation::Detached => {
                hints.push("go back to a branch: git switch BRANCH".to_owned());
                hints.push("or make one here: git switch -c BRANCH".to_owned());
            }
            _ => {}
        }
        hints
    }
}
