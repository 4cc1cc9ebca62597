//! How git is started: whatever its user has set, it is asked the same and answers in the same words.

use std::path::Path;
use std::process::{Command, Stdio};

/// What in the environment would lead git to another repository, or have it read this one otherwise.
///
/// A hook has the first of them set: to the repository whose hook it is, and to an index that is thrown away after it. A store is where it
/// is, so its repository is found from there, as `Store::git` finds it. What names authors, settings (`GIT_CONFIG_COUNT`) and
/// credentials stays: that is how people and machines say who commits.
pub(super) const FOREIGN: [&str; 18] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_QUARANTINE_PATH",
    "GIT_COMMON_DIR",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_GRAFT_FILE",
    "GIT_REPLACE_REF_BASE",
    "GIT_ATTR_SOURCE",
    "GIT_CONFIG",
    // Git refuses these beside literal paths.
    "GIT_GLOB_PATHSPECS",
    "GIT_NOGLOB_PATHSPECS",
    "GIT_ICASE_PATHSPECS",
];

/// What people like to see of a log or a difference would be taken for git's answer, or be missing in it.
const SETTINGS: [&str; 7] = [
    "log.showSignature=false",
    "log.follow=false",
    "log.showRoot=true",
    "log.diffMerges=separate",
    "i18n.logOutputEncoding=UTF-8",
    "diff.relative=false",
    "diff.orderFile=/dev/null",
];

/// Git in a directory, ready for its arguments: it asks nobody, takes no optional lock and has nothing on its standard input.
pub(super) fn command(dir: &Path) -> Command {
    let mut command = Command::new("git");
    for name in FOREIGN {
        command.env_remove(name);
    }
    command
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_LITERAL_PATHSPECS", "1")
        .env("GIT_PAGER", "cat")
        .env("LC_ALL", "C")
        .arg("-C")
        .arg(dir)
        .stdin(Stdio::null());
    for setting in SETTINGS {
        command.args(["-c", setting]);
    }
    command
}
