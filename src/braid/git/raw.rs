//! What `git log --raw -c -z` tells of the files in `events/`.
//!
//! With `-c` a merge tells exactly the files that no parent has as it has them, so what it merely brings from another side is not among
//! them: the commits of that side tell it. Git would apply `--diff-filter` to the merge's difference to each parent by itself and lose a file
//! that one parent does not have and the merge changed, and does not apply `--relative` to merges at all: both are done here.

use std::ffi::OsStr;
use std::io::{self, BufRead};
use std::os::unix::ffi::OsStrExt as _;

use super::{GitError, Oid, Program};
use crate::disk::shown_name;

/// The options for what is read here.
pub(super) const RAW: [&str; 5] = ["--raw", "-c", "-z", "--no-abbrev", "--no-renames"];

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

/// Gives each change of a file below `events`, the path with a slash at its end, the newest first, as long as `take` wants more.
pub(super) fn read_changes(mut log: impl BufRead, events: &[u8], mut take: impl FnMut(FileChange) -> bool) -> io::Result<()> {
    let (mut facts, mut path) = (Vec::new(), Vec::new());
    while read_field(&mut log, &mut facts)? && read_field(&mut log, &mut path)? {
        let change = path.strip_prefix(events).zip(std::str::from_utf8(&facts).ok().and_then(parse_facts));
        if let Some((name, (before, after))) = change
            && !take(FileChange { name: shown_name(OsStr::from_bytes(name)), before, after })
        {
            break;
        }
    }
    Ok(())
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
