//! `braidfs fold`: the process in which user-defined folds run; started by `braidfs` itself, never by a user.

use std::io;
use std::process::ExitCode;

/// Serves the folds of the parent process until standard input ends.
#[must_use]
pub fn run() -> ExitCode {
    match crate::fold::serve(&mut io::stdin().lock(), &mut io::stdout().lock(), &mut io::stderr()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
