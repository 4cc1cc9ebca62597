//! Files that a filter of git (one that encrypts them, or git LFS) gives another form in git than they have in a work tree.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdout, Stdio};
use std::thread;

use super::{GitError, Oid, Program, of_spawn};

impl Program {
    /// What these files of `events/`, each a name and what git has of it, are in a work tree; nothing of any where attributes name no filter
    /// for them, or where it fails.
    #[must_use]
    pub fn through_filter(&self, files: &[(String, Oid)]) -> Vec<Option<Vec<u8>>> {
        let read = if files.is_empty() { Ok(Vec::new()) } else { self.read_filtered(files) };
        let mut found = read.unwrap_or_else(|error| {
            tracing::debug!(%error, "git's filter gives nothing");
            Vec::new()
        });
        found.resize(files.len(), None);
        found
    }

    /// The filter that attributes name for the files of `events/`.
    ///
    /// # Errors
    /// Git gives no answer.
    pub fn filter(&self) -> Result<Option<String>, GitError> {
        let told = self.run(&["check-attr", "-z", "filter", "--", "events/x.jsonl"])?;
        let name = told.split(|byte| *byte == 0).nth(2).map(String::from_utf8_lossy);
        Ok(name.filter(|name| !matches!(name.as_ref(), "unset" | "unspecified")).map(Into::into))
    }

    fn read_filtered(&self, files: &[(String, Oid)]) -> Result<Vec<Option<Vec<u8>>>, GitError> {
        if self.filter()?.is_none() {
            return Ok(Vec::new());
        }
        let events = String::from_utf8_lossy(&self.events_path()?).into_owned();
        let mut command = self.command();
        command.args(["cat-file", "--batch", "--filters"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(of_spawn)?;
        let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(GitError::Unexpected("cat-file"));
        };
        let read = thread::scope(|scope| {
            // Both ends at once, so that neither pipe fills up.
            thread::Builder::new().spawn_scoped(scope, move || {
                for (name, oid) in files {
                    // The path only tells which attributes are meant.
                    let path = if name.contains('\n') { "x.jsonl" } else { name };
                    if write!(stdin, "{oid} {events}{path}\n{}\n", end_of(oid)).is_err() {
                        break;
                    }
                }
            })?;
            let mut reader = BufReader::new(stdout);
            files.iter().map(|(_, oid)| next_file(&mut reader, oid)).collect()
        });
        let _ = child.wait();
        read
    }
}

/// A name that git does not know is asked for after each file: git tells the size that the file has in git, not the one that it gives.
fn end_of(oid: &Oid) -> String {
    format!("end-of-{oid}")
}

fn next_file(reader: &mut BufReader<ChildStdout>, oid: &Oid) -> Result<Option<Vec<u8>>, GitError> {
    let mut header = Vec::new();
    reader.read_until(b'\n', &mut header)?;
    let is_there = header.trim_ascii_end().rsplit(|byte| *byte == b' ').nth(1) == Some(b"blob");
    let end = format!("\n{} missing\n", end_of(oid)).into_bytes();
    let mut bytes = vec![b'\n'];
    while !bytes.ends_with(&end) {
        if reader.read_until(b'\n', &mut bytes)? == 0 {
            return Err(GitError::Unexpected("cat-file"));
        }
    }
    let bytes = bytes.get(1..bytes.len() - end.len()).unwrap_or_default().to_vec();
    Ok(is_there.then_some(bytes))
}
