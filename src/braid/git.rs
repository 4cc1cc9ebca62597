//! Runs the real `git` in a store: it asks nobody, takes no optional lock, and answers in typed values.

mod blobs;
mod command;
mod elsewhere;
mod exchange;
mod filter;
mod history;
mod ignored;
mod links;
mod origins;
mod patience;
mod raw;
mod refresh;
mod setup;
mod sparse;
mod stamp;
mod stash;
mod status;
mod unfinished;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::disk::{NO_THREAD_CURE, READ_ONLY_CURE, os_name, shown_name};
use crate::format::text::quoted_path;

pub use elsewhere::Elsewhere;
pub use exchange::Exchange;
pub use history::Said;
pub use ignored::Ignored;
pub use setup::{Advice, Lacks, SETTINGS, Setting};
pub use sparse::LeftOut;
pub use stamp::GitStamp;
pub use stash::POP_STASH;
pub use status::{Change, State};
pub use unfinished::{Operation, Unfinished};

/// With what a command ends whose answer is no; what it cannot do ends with another code.
const SAYS_NO: i32 = 1;

/// Why git gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is no such program.
    #[error("git is not installed, or not in the PATH")]
    Missing,
    /// The store lies in no repository.
    #[error("\"{}\" lies in no git repository", .0.display())]
    NoRepository(PathBuf),
    /// A revision that names no commit.
    #[error("revision \"{0}\" names no commit")]
    UnknownRevision(String),
    /// Git said no.
    #[error("git {command}: {}", first_line(.message))]
    Failed {
        /// The command and its first arguments.
        command: String,
        /// What it wrote to standard error, or else to standard output, without its last line end.
        message: String,
        /// With what it ended; none if it was killed.
        code: Option<i32>,
    },
    /// A partial clone lacks an object, and its remote did not give it; what git wrote to standard error.
    #[error("an old file is not in this partial clone, and its remote could not be asked for it: {}", first_line(.0))]
    NotFetched(String),
    /// What git answered makes no sense to us.
    #[error("git {0} answered something unexpected")]
    Unexpected(&'static str),
    /// It was not waited for any longer.
    #[error("git {0} takes too long")]
    Impatient(&'static str),
    /// It could not be run or read.
    #[error("git cannot be run: {0}")]
    Io(#[from] io::Error),
}

impl GitError {
    /// What helps.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Missing => "install git".to_owned(),
            Self::NoRepository(dir) => format!("git init {}   # and braidfs git setup", quoted_path(dir)),
            Self::UnknownRevision(name) if name.contains("%2F") => {
                "write \"/\" as it is: only below at/ of a mount it is \"%2F\"".to_owned()
            }
            Self::UnknownRevision(_) => "git log --oneline --all names revisions".to_owned(),
            Self::Failed { message, .. } if message.contains("Read-only file system") => READ_ONLY_CURE.to_owned(),
            Self::Failed { message, .. } if message.contains("refusing to update checked out branch") => cure_of_checked_out(message),
            // Git sets the command that it advises apart by a tab.
            Self::Failed { message, .. } => {
                message.lines().find_map(|line| line.strip_prefix("\tgit ")).map_or_else(String::new, |command| format!("git {command}"))
            }
            Self::NotFetched(_) => "git remote -v   # and again when that remote can be reached".to_owned(),
            Self::Io(error) if error.kind() == io::ErrorKind::WouldBlock => NO_THREAD_CURE.to_owned(),
            Self::Unexpected(_) | Self::Impatient(_) | Self::Io(_) => String::new(),
        }
    }

    /// Whether git could not even be run: that is no answer of it.
    #[must_use]
    pub fn is_unrun(&self) -> bool {
        matches!(self, Self::Missing | Self::Io(_))
    }

    /// Whether a push came to nothing since somebody else was faster, before it or while it ran.
    #[must_use]
    pub fn is_overtaken(&self) -> bool {
        let Self::Failed { message, .. } = self else { return false };
        // A reference that cannot be locked for another reason (a name in its way) stays so.
        let raced = ["but expected", "failed to update ref", "incorrect old value provided"];
        message.contains("[rejected]") || (message.contains("[remote rejected]") && raced.iter().any(|words| message.contains(words)))
    }

    /// Whether another git is at work in the same work tree, or was killed there.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        // What a remote says so of its own references is told by `is_overtaken`.
        let is_raced = |message: &str| message.contains("cannot lock ref '") && message.contains("but expected");
        self.lock().is_some() || (!self.is_overtaken() && matches!(self, Self::Failed { message, .. } if is_raced(message)))
    }

    /// The lock that was in the way, if git names one.
    #[must_use]
    pub fn lock(&self) -> Option<&Path> {
        let Self::Failed { message, .. } = self else { return None };
        let (before, _) = message.split_once("': File exists")?;
        let (_, path) = before.rsplit_once('\'')?;
        path.ends_with(".lock").then(|| Path::new(path))
    }

    /// All that git said, with the command.
    #[must_use]
    pub fn in_full(&self) -> String {
        match self {
            Self::Failed { command, message, .. } => format!("git {command}: {message}"),
            other => other.to_string(),
        }
    }

    /// What is wrong, in one line.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Failed { message, .. } => first_line(message).to_owned(),
            other => other.to_string(),
        }
    }
}

/// What helps where a push would change the branch that somebody works in.
fn cure_of_checked_out(message: &str) -> String {
    let remote = message.lines().find_map(|line| line.strip_prefix("To ")).unwrap_or_default();
    let why = "a working copy that has this branch checked out takes no other push; a bare one (git clone --bare) takes all";
    let setting = "config receive.denyCurrentBranch updateInstead";
    match Path::new(remote) {
        path if path.is_absolute() => format!("git -C {} {setting}   # {why}", quoted_path(path)),
        _ => format!("git {setting}   # there, in {remote}: {why}"),
    }
}

/// What git wrote to standard error in one line: why it gave up, or else the first thing it said.
fn first_line(message: &str) -> &str {
    let mut lines = message.lines().filter(|line| !line.trim().is_empty());
    let first = lines.clone().next().unwrap_or("it failed and did not say why");
    lines.find_map(|line| line.strip_prefix("fatal: ")).unwrap_or(first)
}

/// The name of an object: 40 or 64 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Oid(String);

impl Oid {
    /// The object with that full name, in lower case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_hex = text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        (is_hex && [40, 64].contains(&text.len())).then(|| Self(text.to_owned()))
    }

    /// The hex digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is all zeros, by which git says that there is none.
    fn is_null(&self) -> bool {
        self.0.bytes().all(|digit| digit == b'0')
    }

    /// So many digits as people read.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A file in a tree.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TreeFile {
    /// Its name, as `disk::shown_name` gives it.
    pub name: String,
    /// Its content.
    pub oid: Oid,
}

/// A commit that changed a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its name.
    pub oid: Oid,
    /// Who wrote it.
    pub author: String,
    /// When, in seconds since 1970.
    pub time_s: i64,
    /// The first line of its message.
    pub subject: String,
}

/// Git, run in one directory.
#[derive(Clone, Debug)]
pub struct Program {
    dir: PathBuf,
    fetches: bool,
    is_as_recorded: bool,
    patience: Option<Duration>,
}

impl Program {
    /// Git in the directory of a store.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf(), fetches: true, is_as_recorded: false, patience: None }
    }

    /// The same, but every commit has the parents and the content that it was made with, whatever is grafted or replaced here.
    #[must_use]
    pub fn as_recorded(&self) -> Self {
        Self { is_as_recorded: true, ..self.clone() }
    }

    /// The same, but what a partial clone lacks is not there instead of fetched from a remote.
    #[must_use]
    pub fn without_fetching(&self) -> Self {
        Self { fetches: false, ..self.clone() }
    }

    /// The same, but a remote from which old files are fetched is given up once it has answered nothing for so long. Only for who has no
    /// terminal at which git may ask.
    #[must_use]
    pub fn patient(&self, patience: Duration) -> Self {
        Self { patience: Some(patience), ..self.clone() }
    }

    /// A command whose arguments follow, whatever the user has set; standard input is empty.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = command::command(&self.dir);
        if !self.fetches {
            command.env("GIT_NO_LAZY_FETCH", "1");
        }
        if self.is_as_recorded {
            // Git advises against grafts where it is told to read none.
            command.arg("--no-replace-objects").args(["-c", "advice.graftFileDeprecated=false"]).env("GIT_GRAFT_FILE", "/dev/null");
        }
        command
    }

    /// What a command writes to standard output.
    ///
    /// # Errors
    /// If it cannot be run or ends with another code than 0.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<Vec<u8>, GitError> {
        self.run_command(self.command().args(arguments), arguments)
    }

    fn run_command<S: AsRef<OsStr>>(&self, command: &mut Command, arguments: &[S]) -> Result<Vec<u8>, GitError> {
        let output = command.output().map_err(of_spawn)?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(self.failed(arguments, &output.stderr, output.status.code()))
    }

    /// The same; none where git says no.
    fn run_unless_no<S: AsRef<OsStr>>(&self, command: &mut Command, arguments: &[S]) -> Result<Option<Vec<u8>>, GitError> {
        match self.run_command(command, arguments) {
            Ok(answer) => Ok(Some(answer)),
            Err(GitError::Failed { code: Some(SAYS_NO), .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn failed<S: AsRef<OsStr>>(&self, arguments: &[S], stderr: &[u8], code: Option<i32>) -> GitError {
        let message = String::from_utf8_lossy(stderr).trim_end().to_owned();
        if message.contains("not a git repository") {
            return GitError::NoRepository(self.dir.clone());
        }
        let words: Vec<_> = arguments.iter().take(2).map(|word| word.as_ref().to_string_lossy()).collect();
        GitError::Failed { command: words.join(" "), message, code }
    }

    /// What a command writes to standard output, as text without its last line end.
    ///
    /// # Errors
    /// As [`Program::run`].
    pub fn text<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<String, GitError> {
        let bytes = self.run(arguments)?;
        Ok(String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned())
    }

    /// Whether the directory lies in a work tree.
    #[must_use]
    pub fn has_repository(&self) -> bool {
        self.text(&["rev-parse", "--is-inside-work-tree"]).is_ok_and(|answer| answer == "true")
    }

    /// Whether the history ends where a clone was told to cut it.
    ///
    /// # Errors
    /// If it cannot be run, or there is no repository.
    pub fn is_shallow(&self) -> Result<bool, GitError> {
        Ok(self.text(&["rev-parse", "--is-shallow-repository"])? == "true")
    }

    /// Whether this is a partial clone, whose remote has objects that are not here.
    ///
    /// # Errors
    /// If it cannot be run, or its settings make no sense.
    pub fn is_partial(&self) -> Result<bool, GitError> {
        let arguments = ["config", "--get-regexp", r"^remote\..*\.promisor$"];
        Ok(self.run_unless_no(self.command().args(arguments), &arguments)?.is_some())
    }

    /// The commit that a revision names now.
    ///
    /// # Errors
    /// [`GitError::UnknownRevision`] if it names none.
    pub fn commit(&self, revision: &str) -> Result<Oid, GitError> {
        // A NUL cannot be an argument, and nothing that git knows has one.
        if revision.is_empty() || revision.contains('\0') {
            return Err(GitError::UnknownRevision(revision.to_owned()));
        }
        // What is said behind `:/` is a part of the text, and only a commit has one.
        let object = if revision.starts_with(":/") { revision.to_owned() } else { format!("{revision}^{{commit}}") };
        match self.text(&["rev-parse", "--verify", "--quiet", "--end-of-options", &object]) {
            Ok(text) => Oid::parse(&text).ok_or_else(|| GitError::UnknownRevision(revision.to_owned())),
            Err(GitError::Failed { message, .. }) => {
                // It says nothing of most names that it does not know. Where it does, it may be that it answers nothing here at all.
                if !message.is_empty() {
                    self.text(&["rev-parse", "--git-dir"])?;
                }
                Err(GitError::UnknownRevision(revision.to_owned()))
            }
            Err(error) => Err(error),
        }
    }

    /// The tree of `events/` in a commit; none if that commit has none.
    ///
    /// # Errors
    /// If git cannot be run, or the commit's trees are not here.
    pub fn events_tree(&self, commit: &Oid) -> Result<Option<Oid>, GitError> {
        // `rev-parse` gives one answer to a tree without `events/` and to one that it cannot read.
        let listed = self.run(&["ls-tree", "-z", commit.as_str(), "events"])?;
        let facts = listed.split(|byte| *byte == b'\t').next().map(String::from_utf8_lossy).unwrap_or_default();
        let Some(oid) = facts.split(' ').nth(2) else { return Ok(None) };
        Oid::parse(oid).map(Some).ok_or(GitError::Unexpected("ls-tree"))
    }

    /// What the last commit has of the transaction files in `events/`, by name; nothing before the first commit.
    ///
    /// # Errors
    /// If git cannot be run.
    pub fn committed(&self) -> Result<BTreeMap<String, Oid>, GitError> {
        let head = match self.commit("HEAD") {
            Err(GitError::UnknownRevision(_)) => return Ok(BTreeMap::new()),
            head => head?,
        };
        let Some(tree) = self.events_tree(&head)? else { return Ok(BTreeMap::new()) };
        Ok(self.transaction_files(&tree)?.into_iter().map(|file| (file.name, file.oid)).collect())
    }

    /// The regular files of a tree whose names end in `.jsonl`.
    ///
    /// # Errors
    /// If the tree is not here.
    pub fn transaction_files(&self, tree: &Oid) -> Result<Vec<TreeFile>, GitError> {
        Ok(self.transaction_entries(tree)?.0)
    }

    /// The regular files of a tree whose names end in `.jsonl`, and the names of such links.
    ///
    /// # Errors
    /// If the tree is not here.
    pub fn transaction_entries(&self, tree: &Oid) -> Result<(Vec<TreeFile>, Vec<String>), GitError> {
        let listed = self.run(&["ls-tree", "-z", "--full-tree", tree.as_str()])?;
        let (mut files, mut links) = (Vec::new(), Vec::new());
        for entry in listed.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()) {
            let tab = memchr::memchr(b'\t', entry).ok_or(GitError::Unexpected("ls-tree"))?;
            let (facts, name) = entry.split_at(tab);
            let facts = String::from_utf8_lossy(facts);
            let mut facts = facts.split(' ');
            let mode = facts.next().unwrap_or_default();
            let oid = facts.nth(1).and_then(Oid::parse).ok_or(GitError::Unexpected("ls-tree"))?;
            let name = shown_name(OsStr::from_bytes(name.get(1..).unwrap_or_default()));
            if name.strip_suffix(".jsonl").is_none_or(str::is_empty) {
                continue;
            }
            if mode.starts_with("100") {
                files.push(TreeFile { name, oid });
            } else if mode == "120000" {
                links.push(name);
            }
        }
        Ok((files, links))
    }
}

/// The path of a file of `events/` in the store.
fn events_file(name: &str) -> OsString {
    let mut path = OsString::from("events/");
    path.push(os_name(name));
    path
}

fn of_spawn(error: io::Error) -> GitError {
    if error.kind() == io::ErrorKind::NotFound { GitError::Missing } else { GitError::Io(error) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
pub(crate) mod tests;
