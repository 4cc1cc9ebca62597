//! Links of a commit, followed within it: as a checkout of nothing else would have them.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::process::Stdio;
use std::thread;

use super::{GitError, Oid, Program, TreeFile, of_spawn};
use crate::disk::os_name;

impl Program {
    /// The files of a commit to which these links in its `events/` lead; those that lead to none are left out.
    ///
    /// # Errors
    /// If git cannot be run, or answers what makes no sense.
    pub fn linked_files(&self, commit: &Oid, links: &[String]) -> Result<Vec<TreeFile>, GitError> {
        // One line asks for one name.
        let links: Vec<&String> = links.iter().filter(|name| !name.contains('\n')).collect();
        if links.is_empty() {
            return Ok(Vec::new());
        }
        let events = self.events_path()?;
        let mut command = self.command();
        command.args(["cat-file", "--batch-check", "--follow-symlinks"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().map_err(of_spawn)?;
        let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(GitError::Unexpected("cat-file"));
        };
        let read = thread::scope(|scope| {
            let links = &links;
            // Both ends at once, so that neither pipe fills up.
            thread::Builder::new().spawn_scoped(scope, move || {
                for name in links {
                    let path = [OsStr::from_bytes(&events), &os_name(name)].map(OsStr::as_bytes).concat();
                    if stdin.write_all(&[format!("{commit}:").as_bytes(), &path, b"\n"].concat()).is_err() {
                        break;
                    }
                }
            })?;
            let mut answers = BufReader::new(stdout);
            let files = links.iter().filter_map(|name| match next_blob(&mut answers) {
                Ok(oid) => Some(Ok(TreeFile { name: (*name).clone(), oid: oid? })),
                Err(error) => Some(Err(GitError::from(error))),
            });
            files.collect()
        });
        let _ = child.wait();
        read
    }
}

/// The file that the next answer names, if it is one.
fn next_blob(answers: &mut impl BufRead) -> io::Result<Option<Oid>> {
    let mut line = Vec::new();
    if answers.read_until(b'\n', &mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let line = String::from_utf8_lossy(&line);
    let words: Vec<&str> = line.trim_end().split(' ').collect();
    match words[..] {
        [oid, "blob", _] => Ok(Oid::parse(oid)),
        // Where it leads follows.
        ["symlink" | "dangling" | "loop" | "notdir", len] => {
            let len: u64 = len.parse().map_err(|_| io::ErrorKind::InvalidData)?;
            io::copy(&mut io::Read::take(answers, len + 1), &mut io::sink())?;
            Ok(None)
        }
        _ => Ok(None),
    }
}
