//! `git log --raw -z`, read as a stream of commits.

use std::io::BufRead;

/// The format of a commit's six fields; `-z` ends each entry and each commit with NUL too.
pub(super) const FORMAT: &str = "--format=%H%x00%P%x00%ct%x00%an%x00%ae%x00%s";

/// A commit as git tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Commit {
    pub(super) oid: String,
    pub(super) parents: Vec<String>,
    /// When it was committed, in seconds since 1970.
    pub(super) seconds: i64,
    pub(super) author: String,
    pub(super) email: String,
    pub(super) subject: String,
    pub(super) changes: Vec<Change>,
}

/// What happened to a path in a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ChangeKind {
    Added,
    Modified,
    Deleted,
    Retyped,
    Renamed,
}

/// One changed path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) kind: ChangeKind,
    pub(super) path: Vec<u8>,
    /// The path before a rename.
    pub(super) from: Option<Vec<u8>>,
    /// The mode afterwards; `000000` if it is gone.
    pub(super) mode: String,
    /// The content afterwards; only zeros if it is gone.
    pub(super) blob: String,
}

/// Why the stream could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum LogError {
    #[error("the output of git log cannot be read")]
    Read(#[source] std::io::Error),
    #[error("the output of git log ends in the middle of commit '{0}'")]
    Torn(String),
    #[error("git log printed an entry that is not understood: '{0}'")]
    Entry(String),
}

/// The commits of a `git log` in its order.
pub(super) struct Commits<R> {
    reader: R,
    /// The first field of the next commit, when it was met while the last one's entries were read.
    next_oid: Option<String>,
}

impl<R: BufRead> Commits<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, next_oid: None }
    }

    /// The next part that ends with NUL, or none at the end.
    fn part(&mut self) -> Result<Option<Vec<u8>>, LogError> {
        let mut part = Vec::new();
        self.reader.read_until(0, &mut part).map_err(LogError::Read)?;
        match part.pop() {
            None => Ok(None),
            Some(0) => Ok(Some(part)),
            Some(last) => {
                part.push(last);
                Ok(Some(part))
            }
        }
    }

    fn field(&mut self, oid: &str) -> Result<Vec<u8>, LogError> {
        self.part()?.ok_or_else(|| LogError::Torn(oid.to_owned()))
    }

    fn text(&mut self, oid: &str) -> Result<String, LogError> {
        Ok(String::from_utf8_lossy(&self.field(oid)?).into_owned())
    }

    fn read_commit(&mut self, oid: String) -> Result<Commit, LogError> {
        let parents = self.text(&oid)?.split_ascii_whitespace().map(str::to_owned).collect();
        let seconds = self.text(&oid)?.trim().parse().unwrap_or(0);
        let author = self.text(&oid)?;
        let email = self.text(&oid)?;
        let subject = self.text(&oid)?;
        let mut changes = Vec::new();
        while let Some(part) = self.part()? {
            // git separates the entries from the fields by a NUL or a line end, depending on what it shows.
            let part = part.strip_prefix(b"\n").unwrap_or(&part);
            if part.first() == Some(&b':') {
                changes.push(self.read_change(&oid, part)?);
            } else if !part.is_empty() {
                self.next_oid = Some(String::from_utf8_lossy(part).trim().to_owned());
                break;
            }
        }
        Ok(Commit { oid, parents, seconds, author, email, subject, changes })
    }

    /// Reads `:<mode> <mode> <id> <id> <status>` and its paths; a merge has one more colon, mode and id for each further parent.
    fn read_change(&mut self, oid: &str, entry: &[u8]) -> Result<Change, LogError> {
        let entry = String::from_utf8_lossy(entry).into_owned();
        let bad = || LogError::Entry(entry.clone());
        let colons = entry.bytes().take_while(|byte| *byte == b':').count();
        let words: Vec<&str> = entry.trim_start_matches(':').split(' ').collect();
        let [mode, blob, status] = [colons, 2 * colons + 1, 2 * colons + 2].map(|n| words.get(n).copied().unwrap_or_default().to_owned());
        if status.is_empty() || words.len() != 2 * colons + 3 {
            return Err(bad());
        }
        // A combined entry has one letter a parent and, under -z, the path afterwards only.
        let is_rename = colons == 1 && status.starts_with(['R', 'C']);
        let first = self.field(oid)?;
        let (path, from) = if is_rename { (self.field(oid)?, Some(first)) } else { (first, None) };
        let kind = match status.chars().next() {
            Some('R') if is_rename => ChangeKind::Renamed,
            _ if mode.chars().all(|c| c == '0') => ChangeKind::Deleted,
            Some('T') => ChangeKind::Retyped,
            _ if status.chars().all(|c| c == 'A' || c == 'C' || c.is_ascii_digit()) => ChangeKind::Added,
            _ => ChangeKind::Modified,
        };
        let from = from.filter(|_| kind == ChangeKind::Renamed);
        Ok(Change { kind, path, from, mode, blob })
    }
}

impl<R: BufRead> Iterator for Commits<R> {
    type Item = Result<Commit, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        let oid = match self.next_oid.take() {
            Some(oid) => oid,
            None => match self.part() {
                Ok(part) => String::from_utf8_lossy(&part?).trim().to_owned(),
                Err(error) => return Some(Err(error)),
            },
        };
        Some(self.read_commit(oid))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Commit>, LogError> {
        Commits::new(text.replace('@', "\0").as_bytes()).collect()
    }

    #[test]
    fn commits_changes_and_empty_commits_are_told_apart() {
        let log = "aa@@17@Ada@a@x@one@@:000000 100644 00 c5 A@a@:000000 100644 00 ac A@b@\
                   bb@aa@18@Ada@a@x@two: x@\n:100644 100644 ac ac R100@b@d@:100644 000000 c5 00 D@a@\
                   cc@bb aa@19@Bo@b@x@@dd@cc@20@Bo@b@x@end@"
            .replace("a@x", "a.x")
            .replace("b@x", "b.x");
        let commits = read(&log).unwrap();
        let oids: Vec<_> = commits.iter().map(|commit| commit.oid.as_str()).collect();
        assert_eq!(oids, ["aa", "bb", "cc", "dd"]);
        assert_eq!(commits[2].parents, ["bb", "aa"]);
        assert_eq!(commits[2].subject, "");
        let kinds: Vec<_> = commits.iter().flat_map(|commit| &commit.changes).map(|change| change.kind).collect();
        assert_eq!(kinds, [ChangeKind::Added, ChangeKind::Added, ChangeKind::Renamed, ChangeKind::Deleted]);
        assert_eq!(commits[1].changes[0].path, b"d");
        assert_eq!(commits[1].changes[0].from.as_deref(), Some(&b"b"[..]));
    }

    #[test]
    fn a_merge_entry_has_a_column_for_each_parent() {
        let commits = read("mm@aa bb@19@A@e@m@@::100644 100644 100755 f8 64 51 MM@a@::100644 100644 000000 f8 64 00 DD@b@").unwrap();
        let [changed, gone] = &commits[0].changes[..] else { panic!("{commits:?}") };
        assert_eq!((changed.kind, changed.mode.as_str(), changed.blob.as_str()), (ChangeKind::Modified, "100755", "51"));
        assert_eq!(gone.kind, ChangeKind::Deleted);
    }

    #[test]
    fn a_torn_stream_is_an_error() {
        assert!(matches!(read("aa@@17@A").unwrap_err(), LogError::Torn(oid) if oid == "aa"));
        assert!(matches!(read("aa@@17@A@e@s@@:100644 M@x@").unwrap_err(), LogError::Entry(_)));
        assert!(read("").unwrap().is_empty());
    }
}
