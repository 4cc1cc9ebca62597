//! What a user, a repository or a hook has set for git changes nothing of what is asked and told.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::stage::{clone, store_in};
use crate::support::git::git;
use crate::support::run::{Ran, braidfs_command, run_with};

fn braidfs(dir: &Path, arguments: &[&str], set: impl Fn(&mut Command)) -> Ran {
    let mut command = braidfs_command();
    command.arg("--store").arg(dir).args(arguments).env("GIT_CONFIG_GLOBAL", "/dev/null");
    set(&mut command);
    run_with(&mut command, b"")
}

/// A store below the top of its repository, of which one file is gone that the first commit has, and one that a merge gave up; with
/// their names.
fn with_gone_files() -> (TempDir, [String; 2]) {
    let home = tempfile::tempdir().unwrap();
    let top = home.path().join("top");
    fs::create_dir_all(&top).unwrap();
    let copy = store_in(&top, &top.join("deep"));
    git(&top, ["update-ref", "-d", "HEAD"]);
    let first = copy.commit("a", 1);
    let second = copy.on_branch("side", |copy| copy.commit("a", 2));
    copy.commit("b", 1);
    git(&top, ["merge", "-q", "--no-edit", "-s", "ours", "side"]);
    git(&top, ["branch", "-q", "-D", "side"]);
    fs::remove_file(copy.dir.join("events").join(&first)).unwrap();
    (home, [first, second])
}

#[test]
fn what_a_user_has_set_changes_nothing_that_git_is_asked() {
    let (home, names) = with_gone_files();
    let dir = home.path().join("top/deep");
    let ask = |set: &dyn Fn(&mut Command)| {
        let told = braidfs(&dir, &["--format", "json", "doctor"], set).code(1).out;
        let restored = braidfs(&dir, &["restore", &names[0], &names[1]], set);
        names.iter().for_each(|name| fs::remove_file(dir.join("events").join(name)).unwrap_or_default());
        (told, restored)
    };
    // The first look learns that the second file is gone.
    ask(&|_| {});
    let plain = ask(&|_| {});
    assert_eq!((plain.1.code, plain.1.lines().len()), (0, 3), "{plain:?}");
    let settings = [
        ("log.showRoot", "false"),
        ("log.diffMerges", "first-parent"),
        ("log.diffMerges", "off"),
        ("log.follow", "true"),
        ("log.showSignature", "true"),
        ("i18n.logOutputEncoding", "UTF-16"),
        ("diff.relative", "true"),
        ("diff.orderFile", "/nowhere"),
        ("diff.noPrefix", "true"),
        ("diff.renames", "copies"),
        ("color.ui", "always"),
        ("color.diff", "always"),
        ("status.showUntrackedFiles", "no"),
        ("format.pretty", "oneline"),
    ];
    for (name, value) in settings {
        let asked = ask(&|command| {
            command.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", name).env("GIT_CONFIG_VALUE_0", value);
        });
        assert_eq!(asked, plain, "{name}={value}");
    }
    let other = home.path().join("other");
    git(home.path(), ["init", "-q", other.to_str().unwrap()]);
    git(&other, ["commit", "-q", "--allow-empty", "-m", "of another repository"]);
    let (git_dir, here) = (other.join(".git"), other.to_str().unwrap());
    let git_dir = git_dir.to_str().unwrap();
    let variables: [&[(&str, &str)]; 9] = [
        &[("GIT_DIR", git_dir)],
        &[("GIT_DIR", git_dir), ("GIT_WORK_TREE", here), ("GIT_INDEX_FILE", "next-index"), ("GIT_PREFIX", "x/")],
        &[("GIT_OBJECT_DIRECTORY", "/nowhere"), ("GIT_QUARANTINE_PATH", "/nowhere")],
        &[("GIT_ICASE_PATHSPECS", "1")],
        &[("GIT_NOGLOB_PATHSPECS", "1")],
        &[("GIT_SHALLOW_FILE", "/nowhere")],
        &[("GIT_ATTR_SOURCE", "HEAD")],
        &[("GIT_TRACE", "1")],
        &[("GIT_CONFIG", "/nowhere")],
    ];
    for set in variables {
        let asked = ask(&|command| {
            command.envs(set.iter().copied());
        });
        assert_eq!(asked, plain, "{set:?}");
    }
}

/// Git says that it knows no branch by its code; a warning or a trace beside that is no failure.
#[test]
fn what_git_says_beside_its_answer_is_not_taken_for_one() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    let copy = store_in(&dir, &dir);
    copy.commit("a", 1);
    git(&dir, ["switch", "-q", "--detach"]);
    let ran = braidfs(&dir, &["sync", "--offline"], |command| {
        command.env("GIT_TRACE", "1");
    });
    assert!(ran.code == 1 && ran.err.contains("no branch is checked out"), "{ran:?}");
}

#[test]
fn sync_merges_whatever_is_set_for_merges() {
    for (name, value) in [("merge.ff", "only"), ("pull.ff", "only"), ("pull.rebase", "true"), ("branch.main.mergeOptions", "--no-commit")] {
        let home = tempfile::tempdir().unwrap();
        let (hub, dir) = (home.path().join("hub.git"), home.path().join("ada"));
        git(home.path(), ["init", "-q", "--bare", hub.to_str().unwrap()]);
        let ada = store_in(&dir, &dir);
        git(&dir, ["remote", "add", "origin", hub.to_str().unwrap()]);
        ada.append("a", 1);
        braidfs(&dir, &["sync"], |_| {}).ok();
        let bo = clone(&hub, &home.path().join("bo"));
        bo.append("b", 1);
        braidfs(&bo.dir, &["sync"], |_| {}).ok();
        ada.append("c", 1);
        git(&dir, ["config", name, value]);
        let said = braidfs(&dir, &["--format", "json", "sync"], |_| {}).ok().json();
        assert_eq!((&said["brought"], &said["pushed"]), (&1.into(), &true.into()), "{name}={value}: {said}");
        assert_eq!(git(&dir, ["rev-list", "--count", "--merges", "HEAD"]).out, "1\n", "{name}={value}");
    }
}
