//! What git refuses to say is told as that.

use crate::stage::repository;
use crate::support::run::{braidfs_command, run_with};

/// It was told that "HEAD" names no commit.
#[test]
fn a_repository_of_another_owner_is_told_with_what_lets_git_read_it() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    let copy = repository(&dir);
    copy.commit("a", 1);
    let asked = |arguments: &[&str], is_foreign: &str| {
        let mut command = braidfs_command();
        command.arg("--store").arg(&dir).args(arguments).env("GIT_CONFIG_GLOBAL", "/dev/null");
        // By which git's own tests have it believe that the repository is another user's.
        run_with(command.env("GIT_TEST_ASSUME_DIFFERENT_OWNER", is_foreign), b"")
    };
    for arguments in [&["log", "--at", "HEAD"][..], &["diff", "HEAD"]] {
        let refused = asked(arguments, "1").code(1);
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
