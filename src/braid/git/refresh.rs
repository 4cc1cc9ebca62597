//! Files that git takes for changed though it has them as they are: it goes by the size that it remembers.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use super::{GitError, Oid, Program, State, events_file};
use crate::disk::shown_name;

/// So many files are handed to one command, whose arguments have a limit.
const BATCH: usize = 400;

impl Program {
    /// Has git look anew at each file of `events/` that it takes for changed and that it would add as what index and last commit have
    /// already; gives their names. What was changed is never staged.
    ///
    /// # Errors
    /// What git said.
    pub fn refresh_index(&self) -> Result<Vec<String>, GitError> {
        let changes = self.changes()?.into_iter().filter(|change| change.state == State::Modified);
        let changed: Vec<String> = changes.map(|change| change.name).collect();
        if changed.is_empty() {
            return Ok(Vec::new());
        }
        let (committed, indexed) = (self.committed()?, self.indexed()?);
        let mut same = Vec::new();
        for batch in changed.chunks(BATCH) {
            let there: Vec<&String> = batch.iter().filter(|name| indexed.contains_key(*name)).collect();
            let hashes = self.hashes(&there)?;
            let is_same = |name: &str, now: &Oid| committed.get(name) == Some(now) && indexed.get(name) == Some(now);
            let found: Vec<String> =
                there.iter().zip(&hashes).filter(|(name, now)| is_same(name, now)).map(|(name, _)| (*name).clone()).collect();
            if !found.is_empty() {
                let paths = found.iter().map(|name| events_file(name));
                self.run(&["add".into(), "--".into()].into_iter().chain(paths).collect::<Vec<_>>())?;
            }
            same.extend(found);
        }
        Ok(same)
    }

    /// What the index has of the files in `events/`, by name; of those that are not settled nothing.
    fn indexed(&self) -> Result<BTreeMap<String, Oid>, GitError> {
        let listed = self.run(&["ls-files", "-s", "-z", "--", "events"])?;
        let entry = |entry: &[u8]| {
            let (facts, path) = entry.split_at(memchr::memchr(b'\t', entry)?);
            let facts = String::from_utf8_lossy(facts);
            let [_, oid, "0"] = facts.split(' ').collect::<Vec<_>>()[..] else { return None };
            Some((shown_name(OsStr::from_bytes(path.strip_prefix(b"\tevents/")?)), Oid::parse(oid)?))
        };
        Ok(listed.split(|byte| *byte == 0).filter_map(entry).collect())
    }

    /// What git would add these files as.
    fn hashes(&self, names: &[&String]) -> Result<Vec<Oid>, GitError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let paths = names.iter().map(|name| events_file(name));
        let listed = self.text(&["hash-object".into(), "--".into()].into_iter().chain(paths).collect::<Vec<_>>())?;
        let hashes: Option<Vec<Oid>> = listed.lines().map(Oid::parse).collect();
        hashes.filter(|hashes| hashes.len() == names.len()).ok_or(GitError::Unexpected("hash-object"))
    }
}
