//! Drafts, and what the system calls answer that write them.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// One event as a line.
pub fn event(stream: &str, data: usize) -> String {
    format!("{{\"stream\":\"{stream}\",\"type\":\"T\",\"data\":{data}}}\n")
}

/// The error number of a system call; 0 if it succeeded.
pub fn errno<T>(result: io::Result<T>) -> i32 {
    result.err().map_or(0, |error| error.raw_os_error().unwrap_or(-1))
}

/// A close(2) that tells how it ended.
pub fn close(file: File) -> io::Result<()> {
    nix::unistd::close(file).map_err(io::Error::from)
}

/// Writes with one write(2), unless there is nothing to write, and closes; the first error counts.
pub fn write_and_close(mut file: File, bytes: &[u8]) -> io::Result<()> {
    let written = if bytes.is_empty() { Ok(()) } else { file.write_all(bytes) };
    let closed = close(file);
    written.and(closed)
}

/// Saves a file with one write(2), as a shell's echo does; the first error counts.
pub fn save(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_and_close(File::create(path)?, bytes)
}
