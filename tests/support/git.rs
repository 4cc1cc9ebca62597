//! Real git, untouched by the settings of whoever runs the tests.

use std::path::Path;
use std::process::Command;

use super::run::{Ran, run_with};

/// A `git` command in `directory`.
pub fn git_command(directory: &Path) -> Command {
    let mut command = Command::new("git");
    command.current_dir(directory).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
    for (role, name) in [("AUTHOR", "Ada"), ("COMMITTER", "Ada")] {
        command.env(format!("GIT_{role}_NAME"), name).env(format!("GIT_{role}_EMAIL"), "ada@example.org");
    }
    command.args(["-c", "init.defaultBranch=main", "-c", "gc.auto=0", "-c", "protocol.file.allow=always"]);
    command
}

/// Runs git in `directory`; panics unless it succeeds.
#[track_caller]
pub fn git<const N: usize>(directory: &Path, arguments: [&str; N]) -> Ran {
    run_with(git_command(directory).args(arguments), b"").ok()
}

/// Runs git in `directory` at a fixed author's and committer's time (seconds since 1970).
#[track_caller]
pub fn git_at<const N: usize>(directory: &Path, seconds: u64, arguments: [&str; N]) -> Ran {
    let time = format!("{seconds} +0000");
    run_with(git_command(directory).args(arguments).env("GIT_AUTHOR_DATE", &time).env("GIT_COMMITTER_DATE", &time), b"").ok()
}
