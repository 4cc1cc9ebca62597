//! Running programs and keeping all that they say.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// How a program ended and what it wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// The exit code, or 128 and the signal's number.
    pub code: i32,
    /// Standard output, foreign bytes replaced.
    pub out: String,
    /// Standard error, foreign bytes replaced.
    pub err: String,
}

impl Ran {
    /// The run itself if it ended with 0; panics with all that it said otherwise.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.code(0)
    }

    /// The run itself if it ended with `code`; panics with all that it said otherwise.
    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "standard output: {}\nstandard error: {}", self.out, self.err);
        self
    }

    /// Standard output's lines.
    pub fn lines(&self) -> Vec<&str> {
        self.out.lines().collect()
    }

    /// Standard output as one JSON value.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error} in standard output: {}", self.out))
    }
}

/// Runs a prepared command with `input` on its standard input.
#[track_caller]
pub fn run_with(command: &mut Command, input: &[u8]) -> Ran {
    use std::os::unix::process::ExitStatusExt;

    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // A thread of its own, so that a program which writes before it has read everything cannot block us.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Ran {
        code: output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or(0)),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs a program with nothing on its standard input.
#[track_caller]
pub fn run<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) -> Ran {
    run_with(Command::new(program).args(arguments), b"")
}

/// Runs a script by `bash` in `directory`.
#[track_caller]
pub fn bash(directory: &Path, script: &str) -> Ran {
    run_with(Command::new("bash").arg("-c").arg(script).current_dir(directory), b"")
}

/// Runs a script in a directory as the user `nobody`; the tests must run as root for that.
#[track_caller]
pub fn bash_as_nobody(directory: &Path, script: &str) -> Ran {
    // Nobody else may enter: not even root, before it is that user.
    let script = format!("cd '{}' && {script}", directory.display());
    run("setpriv", ["--reuid=65534", "--regid=65534", "--clear-groups", "bash", "-c", &script])
}

/// The `braidfs` command of this build, without a store from the environment.
pub fn braidfs_command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_braidfs"));
    command.env_remove("BRAIDFS_STORE").env_remove("BRAIDFS_LOG");
    command
}

/// Runs `braidfs` with these arguments.
#[track_caller]
pub fn braidfs<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Ran {
    run_with(braidfs_command().args(arguments), b"")
}

/// Runs `braidfs` on a store with these arguments and `input` on its standard input.
#[track_caller]
pub fn braidfs_on(store: &Path, arguments: &[&str], input: &str) -> Ran {
    run_with(braidfs_command().arg("--store").arg(store).args(arguments), input.as_bytes())
}
