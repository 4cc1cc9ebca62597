//! Which files were changed in the history, and what they said last.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{BufReader, Read as _, Write as _};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use super::raw::{COMMIT, FileChange, RAW, read_changes};
use super::{Commit, GitError, Oid, Program, events_file, of_spawn};

/// For so many files git is given their paths.
pub(super) const PATHS_MAX: usize = 20;
/// What a reset, an amended commit or an aborted rebase took, and what a fetch brought that names no branch to keep it.
const NO_BRANCH_HAS: [&str; 5] = ["--ignore-missing", "--reflog", "FETCH_HEAD", "--not", "--all"];

/// What a file of `events/` said in a commit that added or changed it; in a merge only if no parent has the file like that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// That commit.
    pub commit: Commit,
    /// What it has there.
    pub blob: Oid,
}

impl Program {
    /// The commits that branches, tags and HEAD name, but for the stash.
    ///
    /// # Errors
    /// If git cannot be run.
    pub fn tips(&self) -> Result<BTreeSet<Oid>, GitError> {
        let tips = self.text(&["rev-parse", "--exclude=refs/stash", "--all"])?;
        let head = self.text(&["rev-parse", "--verify", "--quiet", "HEAD"]).unwrap_or_default();
        Ok(tips.lines().chain(head.lines()).filter_map(Oid::parse).collect())
    }

    /// The files of `events/` that a commit changed or removed, each with what it had before, the oldest first, and what it got; of the
    /// commits that `tips` descend from and `seen` do not.
    ///
    /// One walk through the history. Of a merge only that counts which it made otherwise than all its parents.
    ///
    /// # Errors
    /// If git cannot be run or has not ended within `patience`.
    pub fn rewritten(
        &self,
        tips: &BTreeSet<Oid>,
        seen: &BTreeSet<Oid>,
        patience: Duration,
    ) -> Result<BTreeMap<String, Vec<Oid>>, GitError> {
        if tips.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut log = self.command();
        // A commit that was seen may be gone since.
        log.args(["log", "--ignore-missing", "--topo-order"]).args(RAW).arg("-c").args(["--format=", "--stdin", "--", "events"]);
        let revisions: String = tips.iter().map(|tip| format!("{tip}\n")).chain(seen.iter().map(|tip| format!("^{tip}\n"))).collect();
        // Nearly all of a history is files that were added, and these are not kept.
        let changes = self.walk(log, &revisions, patience, |_, change| (!change.before.is_empty()).then_some(change))?;
        Ok(versions(changes))
    }

    /// With what git first got these files of `events/`: the oldest commit, of any branch, that added each, by name.
    ///
    /// One walk through the history.
    ///
    /// # Errors
    /// As [`Program::rewritten`].
    pub fn first_said(&self, names: BTreeSet<String>, patience: Duration) -> Result<BTreeMap<String, Said>, GitError> {
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut log = self.command();
        log.args(["log", "--all", COMMIT]).args(RAW).args(["-c", "--"]).args(paths(&names));
        let added = self.walk(log, "", patience, move |commit, change| {
            let said = Said { commit: commit?.clone(), blob: change.after? };
            (change.before.is_empty() && names.contains(&change.name)).then_some((change.name, said))
        })?;
        // The newest comes first, so the oldest is what stays.
        Ok(added.into_iter().collect())
    }

    /// All that git ever had of these files of `events/`, each said once, by the newest commit that said it, and the newest first; what no branch
    /// has any more comes last.
    ///
    /// Two walks through the history.
    ///
    /// # Errors
    /// As [`Program::rewritten`].
    pub fn ever_said(&self, names: &BTreeSet<String>, patience: Duration) -> Result<BTreeMap<String, Vec<Said>>, GitError> {
        let mut ever: BTreeMap<String, Vec<Said>> = BTreeMap::new();
        for revisions in [&["--all"][..], &NO_BRANCH_HAS] {
            let mut log = self.command();
            log.args(["log", COMMIT]).args(revisions).args(RAW).args(["-m", "--"]).args(paths(names));
            let wanted = names.clone();
            let said = self.walk(log, "", patience, move |commit, change| {
                let said = Said { commit: commit?.clone(), blob: change.after? };
                wanted.contains(&change.name).then_some((change.name, said))
            })?;
            for (name, said) in said {
                let known = ever.entry(name).or_default();
                if known.iter().all(|known| known.blob != said.blob) {
                    known.push(said);
                }
            }
        }
        Ok(ever)
    }

    /// Runs a log to its end, with these revisions at its standard input, and gives what `keep` makes of its changes, the newest first.
    fn walk<T: Send + 'static>(
        &self,
        mut log: Command,
        revisions: &str,
        patience: Duration,
        keep: impl Fn(Option<&Commit>, FileChange) -> Option<T> + Send + 'static,
    ) -> Result<Vec<T>, GitError> {
        let events = self.events_path()?;
        let mut child = log.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().map_err(of_spawn)?;
        let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(GitError::Unexpected("log"));
        };
        // Git reads all of it before it answers.
        let asked = stdin.write_all(revisions.as_bytes());
        drop(stdin);
        let (end, ended) = channel();
        let reading = thread::Builder::new().spawn(move || {
            let mut kept = Vec::new();
            let read = read_changes(BufReader::new(stdout), &events, |commit, change| {
                kept.extend(keep(commit, change));
                true
            });
            let _ = end.send(read.map(|_| kept));
        });
        if let Err(error) = reading {
            let _ = child.kill();
            let _ = child.wait();
            return Err(GitError::Io(error));
        }
        let Ok(kept) = ended.recv_timeout(patience) else {
            let _ = child.kill();
            let _ = child.wait();
            return Err(GitError::Impatient("log"));
        };
        if !child.wait()?.success() {
            return Err(GitError::Unexpected("log"));
        }
        asked?;
        Ok(kept?)
    }

    /// What these files of `events/` said last, by name; what git knows no commit with is not among it.
    ///
    /// # Errors
    /// As [`Program::last_said`].
    pub fn last_said_by(&self, names: &BTreeSet<String>) -> Result<BTreeMap<String, Said>, GitError> {
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        self.read_last_said(&paths(names), |name| names.contains(name), names.len())
    }

    /// What files of `events/` said last in the newest commit, of any branch, that added or changed them; of all that are wanted, by name.
    /// What no branch has is looked for where branches were before, and in what was fetched last.
    ///
    /// One walk through the history, and one through what no branch has any more.
    ///
    /// # Errors
    /// If git cannot be run, or what it says.
    pub fn last_said(&self, is_wanted: impl Fn(&str) -> bool) -> Result<BTreeMap<String, Said>, GitError> {
        self.read_last_said(&["events".into()], is_wanted, usize::MAX)
    }

    /// Ends as soon as so many are found.
    fn read_last_said(
        &self,
        paths: &[OsString],
        is_wanted: impl Fn(&str) -> bool,
        enough: usize,
    ) -> Result<BTreeMap<String, Said>, GitError> {
        let mut found = BTreeMap::new();
        self.walk_last_said(&["--all"], paths, &is_wanted, enough, &mut found)?;
        // Apart, since what a branch has is right though it be older than what was given up.
        if found.len() < enough {
            self.walk_last_said(&NO_BRANCH_HAS, paths, &is_wanted, enough, &mut found)?;
        }
        Ok(found)
    }

    /// Adds what was not found before.
    fn walk_last_said(
        &self,
        revisions: &[&str],
        paths: &[OsString],
        is_wanted: impl Fn(&str) -> bool,
        enough: usize,
        found: &mut BTreeMap<String, Said>,
    ) -> Result<(), GitError> {
        let events = self.events_path()?;
        let words = [&["log", COMMIT], revisions].concat();
        let mut command = self.command();
        // What a merge gave up is wanted as well, and what it took is newer than what it did not.
        command.args(&words).args(RAW).args(["-m", "--"]).args(paths).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(of_spawn)?;
        let (Some(stdout), Some(mut stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(GitError::Unexpected("log"));
        };
        // Both at once, so that neither pipe fills up.
        let said = thread::Builder::new().spawn(move || {
            let mut bytes = Vec::new();
            let _ = stderr.read_to_end(&mut bytes);
            bytes
        });
        let said = match said {
            Ok(said) => said,
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(GitError::Io(error));
            }
        };
        let read = read_changes(BufReader::new(stdout), &events, |commit, change| {
            if let (Some(commit), Some(blob)) = (commit, change.after)
                && !found.contains_key(&change.name)
                && is_wanted(&change.name)
            {
                found.insert(change.name, Said { commit: commit.clone(), blob });
            }
            found.len() < enough
        });
        if !matches!(read, Ok(true)) {
            let _ = child.kill();
            let _ = child.wait();
            return read.map(|_| ()).map_err(GitError::Io);
        }
        let ended = child.wait()?;
        if ended.success() { Ok(()) } else { Err(self.failed(&words, &said.join().unwrap_or_default(), ended.code())) }
    }
}

/// The paths of these files, or of all where they are many: git compares each path with each entry of each tree.
fn paths(names: &BTreeSet<String>) -> Vec<OsString> {
    if names.len() <= PATHS_MAX { names.iter().map(|name| events_file(name)).collect() } else { vec!["events".into()] }
}

/// What each file had, the oldest first, by its changes, the newest first.
fn versions(changes: Vec<FileChange>) -> BTreeMap<String, Vec<Oid>> {
    let mut of_files: BTreeMap<String, Vec<Oid>> = BTreeMap::new();
    for change in changes.into_iter().rev() {
        let known = of_files.entry(change.name).or_default();
        for oid in change.before.into_iter().chain(change.after) {
            if known.last() != Some(&oid) {
                known.push(oid);
            }
        }
    }
    of_files
}
