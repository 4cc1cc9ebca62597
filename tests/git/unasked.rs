//! What git refuses to say, and what its disk refuses to take, is told as that.

use crate::stage::repository;
use crate::support::git::git;
use crate::support::run::{bash, braidfs_command, run_with};

/// It was told that "HEAD" names no commit.
#[test]
fn a_repository_of_another_owner_is_told_with_what_lets_git_read_it() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    let copy = repository(&dir);
    let name = copy.commit("a", 1);
    let asked = |arguments: &[&str], is_foreign: &str| {
        let mut command = braidfs_command();
        command.arg("--store").arg(&dir).args(arguments).env("GIT_CONFIG_GLOBAL", "/dev/null");
        // By which git's own tests have it believe that the repository is another user's.
        run_with(command.env("GIT_TEST_ASSUME_DIFFERENT_OWNER", is_foreign), b"")
    };
    std::fs::remove_file(dir.join("events").join(&name)).unwrap();
    for arguments in [&["log", "--at", "HEAD"][..], &["diff", "HEAD"], &["git", "setup", "--dry-run"], &["restore"]] {
        let refused = asked(arguments, "1");
        assert!(refused.code != 0 && !refused.err.contains("\\u{a}"), "{}", refused.err);
        assert!(refused.err.contains("dubious ownership") && !refused.err.contains("names no commit"), "{}", refused.err);
        assert!(refused.err.contains("hint: git config --global --add safe.directory "), "{}", refused.err);
        asked(arguments, "0").ok();
    }
    // What git says of a name that makes no sense to it is no fault of the repository.
    for revision in ["nothing", "HEAD@{99}", "HEAD:events"] {
        let refused = asked(&["log", "--at", revision], "0").code(1);
        assert!(refused.err.contains("names no commit"), "{}", refused.err);
    }
}

#[test]
fn a_read_only_file_system_is_told_with_what_helps() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    let copy = repository(&dir);
    copy.commit("a", 1);
    copy.append("a", 2);
    drop(copy);
    let binary = env!("CARGO_BIN_EXE_braidfs");
    for command in ["sync", "checkpoint set c 1", "watch c --once", "checkpoint lead c -- true", "git setup"] {
        // In a mount namespace of its own, which ends with the shell.
        let script = "mount --bind store store && mount -o remount,bind,ro store";
        let ran = bash(home.path(), &format!("unshare -m bash -c '{script} && {binary} --store store {command}'"));
        assert!(ran.code == 4, "{command}: {ran:?}");
        assert!(ran.err.contains("Read-only file system"), "{command}: {}", ran.err);
        assert!(ran.err.contains("hint: the file system is read-only: see why (findmnt), and mount it writable"), "{command}: {}", ran.err);
    }
}

/// Story: the variable by which a person forbids git to ask was taken away where git may ask.
#[test]
fn git_asks_at_the_terminal_unless_that_is_forbidden() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    repository(&dir).commit("a", 1);
    git(&dir, ["remote", "add", "origin", "ssh://nowhere.invalid/store"]);
    let binary = env!("CARGO_BIN_EXE_braidfs");
    let heard = home.path().join("heard");
    let ssh = format!("GIT_SSH_COMMAND='echo \"[$GIT_TERMINAL_PROMPT]\" > {}; false'", heard.display());
    for (given, expected) in [("env -u GIT_TERMINAL_PROMPT", "[]\n"), ("GIT_TERMINAL_PROMPT=0", "[0]\n")] {
        let ran = bash(&dir, &format!("export {ssh}; {given} {binary} sync"));
        assert_ne!(ran.code, 0, "{ran:?}");
        assert_eq!(std::fs::read_to_string(&heard).unwrap(), expected, "{ran:?}");
    }
}
