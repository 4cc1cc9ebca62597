//! What `git log --raw -z` tells of the files in `events/`.
//!
//! With `-c` a merge tells exactly the files that no parent has as it has them, so what it merely brings from another side is not among
//! them: the commits of that side tell it, but those of a side that the merge gave up, which git passes over. With `-m` a merge tells
//! what it has and any parent has not, and no side is passed over. Git would apply `--diff-filter` to the merge's difference to each parent by itself and lose a file
//! that one parent does not have and the merge changed, and does not apply `--relative` to merges at all: both are done here.

use std::ffi::OsStr;
use std::io::{self, BufRead};
use std::os::unix::ffi::OsStrExt as _;

use super::{Commit, GitError, Oid, Program};
use crate::disk::shown_name;

/// The options for what is read here; `-c` or `-m` are said beside them.
pub(super) const RAW: [&str; 4] = ["--raw", "-z", "--no-abbrev", "--no-renames"];

/// What a commit did to a file of `events/`.
pub(super) struct FileChange {
    /// Its name, as `disk::shown_name` gives it.
    pub(super) name: String,
    /// What its parents had; empty where none had it.
    pub(super) before: Vec<Oid>,
    /// What it has; none if it removed the file.
    pub(super) after: Option<Oid>,
}

impl Program {
    /// The path of `events/` in the repository, with a slash at its end.
    pub(super) fn events_path(&self) -> Result<Vec<u8>, GitError> {
        let mut path = self.run(&["rev-parse", "--show-prefix"])?;
        if path.last() == Some(&b'\n') {
            path.pop();
        }
        path.extend_from_slice(b"events/");
        Ok(path)
    }
}

/// The format in which a commit is told before its changes; no change begins like it.
pub(super) const COMMIT: &str = "--format=>%H%x00%an%x00%at%x00%s";

/// The same with the reference from which it was reached (`--source`) in the place of the author.
pub(super) const COMMIT_BY_REFERENCE: &str = "--format=>%H%x00%S%x00%at%x00%s";

/// Gives each change of a file below `events`, the path with a slash at its end, with the commit that made it if the log tells it; the
/// newest first, as long as `take` wants more. Tells whether that was to the end.
pub(super) fn read_changes(
    mut log: impl BufRead,
    events: &[u8],
    mut take: impl FnMut(Option<&Commit>, FileChange) -> bool,
) -> io::Result<bool> {
    let (mut commit, mut field, mut path) = (None, Vec::new(), Vec::new());
    while read_field(&mut log, &mut field)? {
        // Between a commit and its changes are a line end or an empty field.
        let facts = field.trim_ascii_start();
        if let Some(oid) = facts.strip_prefix(b">") {
            commit = read_commit(oid, &mut log)?;
        } else if !facts.is_empty() && read_field(&mut log, &mut path)? {
            let change = path.strip_prefix(events).zip(std::str::from_utf8(facts).ok().and_then(parse_facts));
            if let Some((name, (before, after))) = change
                && !take(commit.as_ref(), FileChange { name: shown_name(OsStr::from_bytes(name)), before, after })
            {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn read_commit(oid: &[u8], log: &mut impl BufRead) -> io::Result<Option<Commit>> {
    let [mut author, mut time_s, mut subject] = [const { Vec::new() }; 3];
    for field in [&mut author, &mut time_s, &mut subject] {
        read_field(log, field)?;
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (oid, time_s) = (Oid::parse(&text(oid)), text(&time_s).parse().ok());
    Ok(oid.zip(time_s).map(|(oid, time_s)| Commit { oid, author: text(&author), time_s, subject: text(&subject) }))
}

fn read_field(log: &mut impl BufRead, field: &mut Vec<u8>) -> io::Result<bool> {
    field.clear();
    let is_there = log.read_until(0, field)? > 0;
    if field.last() == Some(&0) {
        field.pop();
    }
    Ok(is_there)
}

/// The blobs of `:<mode> <mode> <blob before> <blob after> <letter>`; of a merge, as many colons as parents, a mode and a blob of each
/// parent before those of the merge. All zeros are no blob.
fn parse_facts(facts: &str) -> Option<(Vec<Oid>, Option<Oid>)> {
    let modes = facts.trim_start_matches(':');
    let parents = facts.len() - modes.len();
    let mut blobs = modes.split(' ').skip(parents + 1).take(parents + 1).map(|blob| Oid::parse(blob).filter(|oid| !oid.is_null()));
    let before = blobs.by_ref().take(parents).flatten().collect();
    Some((before, blobs.next()?))
}
