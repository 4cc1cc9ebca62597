//! Many objects read through one `git cat-file --batch`.

use std::fmt::Display;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{ChildStdout, Stdio};
use std::thread;

use super::patience::Watchdog;
use super::{GitError, Oid, Program, of_spawn};
use crate::disk::Disk;
use crate::store::FILE_BYTES_MAX;

impl Program {
    /// Gives each object's bytes to `take`, in their order; an object that is not here is none, and one that is
    /// larger than [`FILE_BYTES_MAX`] has no bytes.
    ///
    /// `take` ends the reading by an error.
    ///
    /// # Errors
    /// If git cannot be run, what it answers makes no sense, or `take` has enough.
    pub fn read_blobs<E: From<GitError>>(&self, oids: &[Oid], take: impl FnMut(usize, Option<Vec<u8>>) -> Result<(), E>) -> Result<(), E> {
        self.read_objects("blob", oids, take)
    }

    /// The same for objects of any kind, by names without a space; one of another kind is none.
    pub(super) fn read_objects<N: Display + Sync, E: From<GitError>>(
        &self,
        kind: &str,
        names: &[N],
        mut take: impl FnMut(usize, Option<Vec<u8>>) -> Result<(), E>,
    ) -> Result<(), E> {
        if names.is_empty() {
            return Ok(());
        }
        let mut command = self.command();
        command.args(["cat-file", "--batch"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if self.patience.is_some() {
            command.process_group(0);
        }
        let mut child = command.spawn().map_err(|error| E::from(of_spawn(error)))?;
        let asked = self.clone();
        let watchdog = self.patience.map(|patience| Watchdog::over(&child, patience, move || asked.receiving())).transpose();
        let watchdog = watchdog.inspect_err(|_| drop(child.kill())).map_err(GitError::from)?;
        let (Some(mut stdin), Some(stdout), Some(mut stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take()) else {
            return Err(GitError::Unexpected("cat-file").into());
        };
        let result = thread::scope(|scope| {
            // Both ends at once, so that neither pipe fills up; a git that ends early is told by its answers.
            let thread = || thread::Builder::new();
            let asking = thread().spawn_scoped(scope, move || {
                for name in names {
                    if writeln!(stdin, "{name}").is_err() {
                        break;
                    }
                }
            });
            asking.map_err(GitError::from)?;
            let said = thread().spawn_scoped(scope, move || {
                let mut said = Vec::new();
                stderr.read_to_end(&mut said).map(|_| said).unwrap_or_default()
            });
            let said = said.map_err(GitError::from)?;
            let mut reader = BufReader::new(stdout);
            let read_all = || {
                for n in 0..names.len() {
                    if reader.fill_buf().map_err(GitError::from)?.is_empty() {
                        let said = said.join().unwrap_or_default();
                        return Err(self.ended_early(&said).into());
                    }
                    let object = next_object(&mut reader, kind)?;
                    watchdog.iter().for_each(Watchdog::heard);
                    take(n, object)?;
                }
                Ok(())
            };
            let result = read_all();
            // Whoever still writes gets a broken pipe.
            drop(reader);
            result
        });
        let was_ended = watchdog.is_some_and(Watchdog::end);
        // Only an exit is waited for; what matters has been read.
        let _ = child.wait();
        if was_ended && result.is_err() {
            return Err(GitError::NotFetched("it did not answer".to_owned()).into());
        }
        result
    }

    /// The bytes of what git is receiving right now.
    fn receiving(&self) -> u64 {
        let Ok(packs) = self.text(&["rev-parse", "--git-path", "objects/pack"]) else { return 0 };
        let (packs, disk) = (self.dir.join(packs), Disk::real());
        let coming = disk.list_if_present(&packs).unwrap_or_default().into_iter().filter(|entry| entry.name.starts_with("tmp_pack_"));
        coming.filter_map(|entry| disk.stat(&Disk::entry_path(&packs, &entry.name)).ok()).map(|stat| stat.size).sum()
    }

    /// Why git answered no more. It ends where a partial clone lacks an object and its remote does not give it.
    fn ended_early(&self, said: &[u8]) -> GitError {
        if said.trim_ascii().is_empty() {
            return GitError::Unexpected("cat-file");
        }
        match self.failed(&["cat-file", "--batch"], said, None) {
            GitError::Failed { message, .. } if message.contains("promisor remote") => GitError::NotFetched(message),
            other => other,
        }
    }
}

fn next_object(reader: &mut BufReader<ChildStdout>, wanted: &str) -> Result<Option<Vec<u8>>, GitError> {
    let mut header = String::new();
    reader.read_line(&mut header)?;
    let mut words = header.trim_end().split(' ');
    let (_, kind, size) = (words.next(), words.next(), words.next());
    if matches!(kind, Some("missing" | "ambiguous")) {
        return Ok(None);
    }
    let size: u64 = size.and_then(|size| size.parse().ok()).ok_or(GitError::Unexpected("cat-file"))?;
    let mut bytes = Vec::new();
    let mut object = reader.by_ref().take(size);
    let read = if size > FILE_BYTES_MAX { io::copy(&mut object, &mut io::sink())? } else { object.read_to_end(&mut bytes)? as u64 };
    let mut end = [0u8; 1];
    reader.read_exact(&mut end)?;
    if read != size || end != *b"\n" {
        return Err(GitError::Unexpected("cat-file"));
    }
    Ok((kind == Some(wanted)).then_some(bytes))
}
