//! What a merge with another branch would bring.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::io::BufReader;
use std::os::unix::ffi::OsStrExt as _;
use std::process::Stdio;

use super::raw::{COMMIT_BY_REFERENCE, RAW, read_changes};
use super::{GitError, Oid, Program, of_spawn};
use crate::disk::shown_name;

/// Into so many branches it is looked besides those that brought something; the newest first.
const OTHERS_MAX: usize = 100;

/// A file of `events/` that another branch has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// The branch, as `git merge` takes it.
    pub branch: String,
    /// What the file has there.
    pub blob: Oid,
}

/// Why no more trees are read.
enum Stop {
    Enough,
    Failed(GitError),
}

impl From<GitError> for Stop {
    fn from(error: GitError) -> Self {
        Self::Failed(error)
    }
}

impl Program {
    /// The commits of all branches, also those of remotes, by reference, one a line: it changes when any of them does.
    ///
    /// # Errors
    /// If git cannot be run.
    pub fn branches(&self) -> Result<String, GitError> {
        self.text(&["for-each-ref", "--format=%(objectname) %(refname)", "refs/heads", "refs/remotes"])
    }

    /// The files of `events/` that other branches, also those of remotes, have and got in commits that what is checked out does not
    /// have; of all that are wanted, by name.
    ///
    /// One walk through these commits, and where they brought something, one look at what the branches have now.
    ///
    /// # Errors
    /// If git cannot be run or gives no whole answer.
    pub fn elsewhere(&self, is_wanted: impl Fn(&str) -> bool) -> Result<BTreeMap<String, Elsewhere>, GitError> {
        // Before the first commit every branch is another one.
        let head = match self.commit("HEAD") {
            Ok(oid) => Some(oid),
            Err(GitError::UnknownRevision(_)) => None,
            Err(error) => return Err(error),
        };
        let brought = self.brought(head.as_ref(), is_wanted)?;
        if brought.is_empty() {
            return Ok(BTreeMap::new());
        }
        // Git tells of a commit one branch that has it. That one may have removed the file since, where another one kept it.
        let told: HashSet<&str> = brought.values().map(String::as_str).collect();
        let (mut branches, others): (Vec<_>, Vec<_>) =
            self.other_branches(head.as_ref())?.into_iter().partition(|(reference, _)| told.contains(reference.as_str()));
        let told_count = branches.len();
        branches.extend(others.into_iter().take(OTHERS_MAX));
        let trees: Vec<String> = branches.iter().map(|(_, tip)| format!("{tip}:./events")).collect();
        let mut found = BTreeMap::new();
        let read = self.read_objects("tree", &trees, |n, tree| {
            let Some((reference, tip)) = branches.get(n) else { return Ok(()) };
            let tree = tree.unwrap_or_default();
            for (name, blob) in files(&tree, tip.as_str().len() / 2) {
                let Some(told) = brought.get(&name) else { continue };
                if told == reference || !found.contains_key(&name) {
                    found.insert(name, Elsewhere { branch: short(reference).to_owned(), blob });
                }
            }
            if n + 1 >= told_count && found.len() == brought.len() { Err(Stop::Enough) } else { Ok(()) }
        });
        match read {
            Ok(()) | Err(Stop::Enough) => Ok(found),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    /// The files that commits brought which `head` does not have, each with the reference from which git reached the newest such commit.
    fn brought(&self, head: Option<&Oid>, is_wanted: impl Fn(&str) -> bool) -> Result<BTreeMap<String, String>, GitError> {
        let events = self.events_path()?;
        let mut command = self.command();
        command
            .args(["log", "--source", COMMIT_BY_REFERENCE, "--branches", "--exclude=*/HEAD", "--remotes"])
            .args(head.map(|head| format!("^{head}")))
            .args(RAW)
            .args(["-c", "--", "events"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().map_err(of_spawn)?;
        let Some(stdout) = child.stdout.take() else { return Err(GitError::Unexpected("log")) };
        let mut brought = BTreeMap::new();
        let read = read_changes(BufReader::new(stdout), &events, |commit, change| {
            if let (Some(commit), Some(_)) = (commit, change.after)
                && !brought.contains_key(&change.name)
                && is_wanted(&change.name)
            {
                brought.insert(change.name, commit.author.clone());
            }
            true
        });
        let is_whole = child.wait()?.success();
        read.map_err(GitError::Io)?;
        if is_whole { Ok(brought) } else { Err(GitError::Unexpected("log")) }
    }

    /// The branches that have commits which `head` does not have, with their tips, the newest first.
    fn other_branches(&self, head: Option<&Oid>) -> Result<Vec<(String, Oid)>, GitError> {
        let mut words = vec!["for-each-ref".to_owned(), "--sort=-committerdate".to_owned(), "--format=%(objectname) %(refname)".to_owned()];
        words.extend(head.map(|head| format!("--no-merged={head}")));
        words.extend(["refs/heads".to_owned(), "refs/remotes".to_owned()]);
        let listed = self.text(&words)?;
        let branches = listed.lines().filter_map(|line| line.split_once(' ')).filter(|(_, reference)| {
            // That a remote has one checked out makes it no second one.
            !(reference.starts_with("refs/remotes/") && reference.ends_with("/HEAD"))
        });
        branches.map(|(tip, name)| Ok((name.to_owned(), Oid::parse(tip).ok_or(GitError::Unexpected("for-each-ref"))?))).collect()
    }
}

/// A reference as `git merge` takes it.
fn short(reference: &str) -> &str {
    ["refs/heads/", "refs/remotes/"].into_iter().find_map(|prefix| reference.strip_prefix(prefix)).unwrap_or(reference)
}

/// The regular files of a tree's bytes: mode, space, name, NUL, the object's name of so many bytes.
fn files(mut tree: &[u8], oid_len: usize) -> impl Iterator<Item = (String, Oid)> + '_ {
    std::iter::from_fn(move || {
        let end = memchr::memchr(0, tree)?;
        let (entry, rest) = tree.split_at(end);
        let (oid, rest) = rest.get(1..)?.split_at_checked(oid_len)?;
        tree = rest;
        Some((entry, oid))
    })
    .filter_map(|(entry, oid)| {
        let name = entry.strip_prefix(b"100")?.splitn(2, |byte| *byte == b' ').nth(1)?;
        let oid: String = oid.iter().map(|byte| format!("{byte:02x}")).collect();
        Some((shown_name(OsStr::from_bytes(name)), Oid::parse(&oid)?))
    })
}
