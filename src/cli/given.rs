//! What a user gives to be read: a file, a pipe, or standard input.

use std::io::Read as _;
use std::path::Path;

use super::failure::{Failure, Kind, Result};
use crate::disk::{self, Disk};
use crate::model::Errno;

/// The name that stands for standard input.
pub(super) const STDIN: &str = "-";

/// Reads what a user named, one byte more than `len_max` at most, so that whoever checks it notices too much.
pub(super) fn read(disk: &Disk, file: &Path, what: &str, len_max: usize) -> Result<Vec<u8>> {
    if file == Path::new(STDIN) {
        let mut bytes = Vec::new();
        let read = std::io::stdin().lock().take(len_max as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|error| Failure::new(Kind::Failed, "standard input cannot be read").because(&error))?;
        return Ok(bytes);
    }
    let cannot = |error: disk::Error| {
        let hint = if error.is_not_found() { "name a file that is there, or - for standard input".to_owned() } else { error.hint() };
        let kind = if is_of_who_named_it(error.errno()) { Kind::Refused } else { Kind::Failed };
        Failure::new(kind, format!("{what} '{}' cannot be read", file.display())).because(&error).hint(hint)
    };
    disk.read_up_to(file, len_max + 1).map_err(cannot)
}

/// Whether a file cannot be read for what was named; anything else is a fault of the machine.
fn is_of_who_named_it(errno: Errno) -> bool {
    let named = [Errno::ENOENT, Errno::ENOTDIR, Errno::EISDIR, Errno::ELOOP, Errno::ENAMETOOLONG, Errno::EINVAL, Errno::ENXIO];
    named.contains(&errno) || matches!(errno, Errno::EACCES | Errno::EPERM)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;
    use crate::disk::Op;

    #[test]
    fn a_fault_of_the_machine_is_no_refusal() {
        for (errno, kind) in [
            (Errno::EIO, Kind::Failed),
            (Errno::EMFILE, Kind::Failed),
            (Errno::ENOMEM, Kind::Failed),
            (Errno::ESTALE, Kind::Failed),
            (Errno::EACCES, Kind::Refused),
            (Errno::EISDIR, Kind::Refused),
            (Errno::ENOENT, Kind::Refused),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("draft.jsonl");
            std::fs::write(&file, "{}").unwrap();
            let (disk, twin) = Disk::faulty(dir.path()).unwrap();
            twin.fail(Op::Read, 0, None, errno);
            let failure = read(&disk, &file, "draft", 10).unwrap_err();
            assert_eq!(failure.kind, kind, "{failure}");
        }
    }
}
