//! Commits, pulls and pushes: the parts of git that change something.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;

use super::{GitError, Program, SAYS_NO, of_spawn};
use crate::disk::{Disk, os_name};

/// What `git commit` says where the last commit has everything already, with other changes beside it or without.
const NOTHING_NEW: [&str; 3] = ["nothing to commit", "nothing added to commit", "no changes added to commit"];

/// Where a store is pulled from and pushed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The remote's name.
    pub remote: String,
    /// The branch there, without `refs/heads/`.
    pub branch: String,
    /// Whether git knows of it already.
    pub is_upstream: bool,
}

impl Program {
    /// Commits these files of `events/` and nothing else; tells whether there was anything to commit still, since somebody else may have
    /// done it meanwhile.
    ///
    /// # Errors
    /// What git said.
    pub fn commit_files(&self, names: &[String], message: &str) -> Result<bool, GitError> {
        let mut paths = Vec::new();
        for name in names {
            paths.extend_from_slice(b"events/");
            paths.extend_from_slice(std::os::unix::ffi::OsStrExt::as_bytes(os_name(name).as_os_str()));
            paths.push(0);
        }
        self.feed(&["add", "--pathspec-from-file=-", "--pathspec-file-nul"], &paths)?;
        self.commit_paths(&paths, message)
    }

    /// Commits what changed of these paths, and gives what that is.
    ///
    /// # Errors
    /// What git said.
    pub fn commit_beside(&self, paths: &[&str], message: &str) -> Result<Vec<String>, GitError> {
        let mut words = vec!["status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--"];
        words.extend(paths);
        let listed = self.run(&words)?;
        let prefix = self.text(&["rev-parse", "--show-prefix"])?;
        let changed: Vec<String> = listed
            .split(|byte| *byte == 0)
            .filter_map(|entry| entry.get(3..)?.strip_prefix(prefix.as_bytes()))
            .map(|path| String::from_utf8_lossy(path).into_owned())
            .collect();
        if changed.is_empty() {
            return Ok(changed);
        }
        let mut paths = changed.join("\0").into_bytes();
        paths.push(0);
        self.feed(&["add", "--pathspec-from-file=-", "--pathspec-file-nul"], &paths)?;
        Ok(if self.commit_paths(&paths, message)? { changed } else { Vec::new() })
    }

    fn commit_paths(&self, paths: &[u8], message: &str) -> Result<bool, GitError> {
        match self.feed(&["commit", "-q", "-m", message, "--pathspec-from-file=-", "--pathspec-file-nul"], paths) {
            Ok(()) => Ok(true),
            // It ends so too where a hook says no, which then says why, or nothing.
            Err(GitError::Failed { code: Some(SAYS_NO), message, .. }) if NOTHING_NEW.iter().any(|words| message.contains(words)) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// The lock that was in the way of a command that failed.
    #[must_use]
    pub fn lock_in_the_way(&self, error: &GitError) -> Option<PathBuf> {
        if let Some(path) = error.lock() {
            return Some(path.to_path_buf());
        }
        // A merge does not say what it met.
        let GitError::Failed { message, .. } = error else { return None };
        let path = self.dir.join(self.text(&["rev-parse", "--git-path", "index.lock"]).ok()?);
        (message.contains("Unable to write index") && Disk::real().exists(&path)).then_some(path)
    }

    /// Where to pull from and push to: the upstream of the present branch, else the branch of its name at the first remote;
    /// none without a remote.
    ///
    /// # Errors
    /// If git cannot be run, or no branch is checked out.
    pub fn exchange(&self) -> Result<Option<Exchange>, GitError> {
        let remotes = self.text(&["remote"])?;
        let Some(first) = remotes.lines().next() else { return Ok(None) };
        let branch = self.text(&["symbolic-ref", "--short", "HEAD"])?;
        let setting = |key: &str| self.setting(&format!("branch.{branch}.{key}"));
        if let (Some(remote), Some(merge)) = (setting("remote"), setting("merge")) {
            let merge = merge.strip_prefix("refs/heads/").unwrap_or(&merge).to_owned();
            return Ok(Some(Exchange { remote, branch: merge, is_upstream: true }));
        }
        Ok(Some(Exchange { remote: first.to_owned(), branch, is_upstream: false }))
    }

    /// Merges what the remote has; does nothing if it has no such branch yet.
    ///
    /// # Errors
    /// What git said, such as a conflict.
    pub fn pull(&self, exchange: &Exchange) -> Result<(), GitError> {
        let there = self.ask(&["ls-remote", "--heads", "--", &exchange.remote, &format!("refs/heads/{}", exchange.branch)])?;
        if there.is_empty() {
            return Ok(());
        }
        let words = ["pull", "-q", "--no-rebase", "--no-edit", "--no-stat", "--ff", "--commit", "--no-squash", "--"];
        self.ask(&[words.as_slice(), &[&exchange.remote, &exchange.branch]].concat()).map(drop)
    }

    /// Pushes the present branch.
    ///
    /// # Errors
    /// What git said; see [`GitError::is_overtaken`].
    pub fn push(&self, exchange: &Exchange) -> Result<(), GitError> {
        let target = format!("HEAD:refs/heads/{}", exchange.branch);
        let mut words = vec!["push", "-q"];
        if !exchange.is_upstream {
            words.push("-u");
        }
        words.extend(["--", &exchange.remote, &target]);
        self.ask(&words).map(drop)
    }

    /// Runs a command that may ask the person at the terminal for a password.
    fn ask(&self, words: &[&str]) -> Result<Vec<u8>, GitError> {
        let mut command = self.command();
        match std::env::var_os("GIT_TERMINAL_PROMPT") {
            Some(wanted) => command.env("GIT_TERMINAL_PROMPT", wanted),
            None => command.env_remove("GIT_TERMINAL_PROMPT"),
        };
        command.args(words);
        let output = command.output().map_err(of_spawn)?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        // Git tells of conflicts on standard output.
        Err(self.failed(words, &[output.stderr, output.stdout].concat(), output.status.code()))
    }

    /// Runs a command with bytes on its standard input.
    fn feed(&self, words: &[&str], input: &[u8]) -> Result<(), GitError> {
        let mut command = self.command();
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(of_spawn)?;
        if let Some(mut stdin) = child.stdin.take() {
            // These commands read everything before they write, so neither pipe fills up; one that fails early says why.
            let _ = stdin.write_all(input);
        }
        let output = child.wait_with_output()?;
        if output.status.success() {
            return Ok(());
        }
        // That there is nothing to commit it tells on standard output.
        let said = if output.stderr.trim_ascii().is_empty() { &output.stdout } else { &output.stderr };
        Err(self.failed(words, said, output.status.code()))
    }
}
