//! The repository that is imported: what it has is asked so that neither settings nor the environment change the answer.

use std::io::BufReader;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use indicatif::ProgressBar;

use super::log::{Commit, Commits, FORMAT};
use crate::braid::git::{GitError, Oid, Program};
use crate::cli::failure::{Failure, Kind, Result};
use crate::format::text::quoted_path;

/// Settings that would change which files are alike enough for a rename; what else changes a log is set aside for all of git.
const SETTINGS: [&str; 2] = ["diff.renameLimit=1000", "core.attributesFile=/dev/null"];

/// The repository, and which part of its history is taken.
pub(super) struct Repository<'a> {
    path: &'a Path,
    git: Program,
    /// All branches and tags where it is none.
    commit: Option<Oid>,
    empty_tree: String,
}

impl<'a> Repository<'a> {
    /// The history of a revision, or of every branch and tag.
    ///
    /// # Errors
    /// There is no such repository or revision, or its history is cut.
    pub(super) fn find(path: &'a Path, revision: Option<&str>) -> Result<Self> {
        let mut repository = Self { path, git: Program::new(path).as_recorded(), commit: None, empty_tree: String::new() };
        if repository.git.is_shallow().map_err(|error| repository.refused(&error))? {
            let failure = Failure::new(Kind::Refused, format!("the history of '{}' is cut: it is a shallow clone", path.display()));
            return Err(failure.hint(format!("git -C {} fetch --unshallow   # then run it again", quoted_path(path))));
        }
        if let Some(revision) = revision {
            repository.commit = Some(repository.git.commit(revision).map_err(|error| repository.refused(&error))?);
        }
        let empty_tree = repository.git.text(&["hash-object", "-t", "tree", "/dev/null"]);
        repository.empty_tree = empty_tree.map_err(|error| repository.refused(&error))?;
        Ok(repository)
    }

    fn cannot_read(&self) -> Failure {
        Failure::new(Kind::Failed, format!("the history of '{}' cannot be read", self.path.display()))
    }

    fn refused(&self, error: &GitError) -> Failure {
        let mut failure = self.cannot_read().because(error);
        if error.is_unrun() {
            return failure.hint(error.hint());
        }
        failure.kind = Kind::Refused;
        failure.hint("name a git repository and a revision that it has: braidfs import git REPO --revision REV")
    }

    fn revisions(&self) -> Vec<&str> {
        self.commit.as_ref().map_or_else(|| vec!["--branches", "--tags"], |commit| vec![commit.as_str()])
    }

    /// Whether what lies in a directory is committed in this repository, as it is checked out there.
    pub(super) fn carries(&self, directory: &Path) -> bool {
        let there = Program::new(directory);
        let own = |git: &Program| git.text(&["rev-parse", "--path-format=absolute", "--git-common-dir"]).ok();
        own(&there).is_some_and(|home| own(&self.git) == Some(home))
            // The tree of the directory itself, wherever in the work tree it lies.
            && there.text(&["rev-parse", "--quiet", "--verify", "HEAD:./events"]).is_ok()
    }

    /// How many commits there are.
    pub(super) fn count(&self) -> Result<u64> {
        let mut arguments = vec!["rev-list", "--count"];
        arguments.extend(self.revisions());
        arguments.push("--");
        let answer = self.git.text(&arguments).map_err(|error| self.cannot_read().because(&error).hint(error.hint()))?;
        Ok(answer.parse().unwrap_or(0))
    }

    /// Hands over every commit, parents first.
    pub(super) fn each_commit(&self, progress: &ProgressBar, take: impl FnMut(Commit)) -> Result {
        let mut child = self.log().spawn().map_err(|error| self.cannot_read().because(&error))?;
        let read = self.read(&mut child, progress, take);
        let ended = child.wait().map_err(|error| self.cannot_read().because(&error))?;
        read?;
        if ended.success() { Ok(()) } else { Err(self.cannot_read().hint("git log failed; git fsck may say why")) }
    }

    fn log(&self) -> Command {
        let mut command = self.git.command();
        command.args(SETTINGS.iter().flat_map(|setting| ["-c", setting]));
        // Attributes of what is checked out say which files are text, and so which are alike enough for a rename.
        command.env("GIT_ATTR_SOURCE", &self.empty_tree).env("GIT_ATTR_NOSYSTEM", "1");
        command.args(["log", "--raw", "-z", "--no-abbrev", "-c", "-M", "--topo-order", "--reverse", "--encoding=UTF-8"]);
        command.args(["--no-color", "--no-ext-diff", "--no-textconv", "--no-notes", "--ignore-submodules=none", FORMAT]);
        // An error of git would fill a pipe that nobody reads meanwhile.
        command.args(self.revisions()).arg("--").stdout(Stdio::piped()).stderr(Stdio::inherit());
        command
    }

    fn read(&self, child: &mut Child, progress: &ProgressBar, mut take: impl FnMut(Commit)) -> Result {
        let Some(stdout) = child.stdout.take() else { return Ok(()) };
        for commit in Commits::new(BufReader::with_capacity(1 << 18, stdout)) {
            take(commit.map_err(|error| self.cannot_read().because(&error))?);
            progress.inc(1);
        }
        Ok(())
    }
}
