//! Which files were changed in the history.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::process::Stdio;
use std::sync::mpsc::channel;
use std::time::Duration;

use super::{GitError, Oid, Program, of_spawn};
use crate::disk::shown_name;

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
    /// One walk through the history. Merges do not count.
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
        let mut command = self.command();
        command
            // A commit that was seen may be gone since.
            .args(["log", "--ignore-missing", "--topo-order", "--no-renames", "--diff-filter=MD", "--raw", "-z", "--no-abbrev"])
            .args(["--relative", "--format=", "--stdin", "--", "events"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().map_err(of_spawn)?;
        let (Some(mut stdin), Some(mut stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(GitError::Unexpected("log"));
        };
        let revisions: String = tips.iter().map(|tip| format!("{tip}\n")).chain(seen.iter().map(|tip| format!("^{tip}\n"))).collect();
        // Git reads all of it before it answers.
        let asked = stdin.write_all(revisions.as_bytes());
        drop(stdin);
        let (end, ended) = channel();
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = end.send(stdout.read_to_end(&mut bytes).map(|_| bytes));
        });
        let Ok(bytes) = ended.recv_timeout(patience) else {
            let _ = child.kill();
            let _ = child.wait();
            return Err(GitError::Impatient("log"));
        };
        if !child.wait()?.success() {
            return Err(GitError::Unexpected("log"));
        }
        asked?;
        Ok(parse_raw(&bytes?))
    }
}

/// Reads `:<mode> <mode> <blob before> <blob after> <letter>`, NUL, path, NUL, the newest change first.
fn parse_raw(bytes: &[u8]) -> BTreeMap<String, Vec<Oid>> {
    let mut changes: Vec<(String, [&str; 2])> = Vec::new();
    let mut fields = bytes.split(|byte| *byte == 0);
    while let (Some(facts), Some(path)) = (fields.next(), fields.next()) {
        let blobs = std::str::from_utf8(facts).ok().and_then(|facts| {
            let mut facts = facts.split(' ').skip(2);
            Some([facts.next()?, facts.next()?])
        });
        if let (Some(blobs), Some(name)) = (blobs, path.strip_prefix(b"events/")) {
            changes.push((shown_name(OsStr::from_bytes(name)), blobs));
        }
    }
    let mut of_files: BTreeMap<String, Vec<Oid>> = BTreeMap::new();
    for (name, blobs) in changes.into_iter().rev() {
        let known = of_files.entry(name).or_default();
        // What a removed file got is nothing, all zeros.
        for oid in blobs.into_iter().filter(|blob| blob.bytes().any(|byte| byte != b'0')).filter_map(Oid::parse) {
            if known.last() != Some(&oid) {
                known.push(oid);
            }
        }
    }
    of_files
}
