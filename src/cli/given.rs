//! What a user gives to be read: a file, a pipe, or standard input.

use std::io::Read as _;
use std::path::Path;

use super::failure::{Failure, Kind, Result};
use crate::disk::{self, Disk};

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
        Failure::new(Kind::Refused, format!("{what} '{}' cannot be read", file.display())).because(&error).hint(hint)
    };
    disk.read_up_to(file, len_max + 1).map_err(cannot)
}
