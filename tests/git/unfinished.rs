//! `braidfs sync` where git has begun something and not finished it: nothing is committed, and the cures are true.

use std::fs;
use std::path::Path;

use braidfs::model::FindingKind;

use crate::stage::{Copy, repository};
use crate::support::git::{git, git_command};
use crate::support::run::{Ran, braidfs_command, run_with};

fn sync(dir: &Path) -> Ran {
    run_with(braidfs_command().current_dir(dir).arg("sync").env("GIT_CONFIG_GLOBAL", "/dev/null"), b"")
}

/// A command of git that stops and says so.
#[track_caller]
fn stops(dir: &Path, arguments: &[&str]) {
    let ran = run_with(git_command(dir).args(arguments), b"");
    assert_ne!(ran.code, 0, "{}{}", ran.out, ran.err);
}

fn note(copy: &Copy, text: &str) {
    fs::write(copy.dir.join("note"), text).unwrap();
    copy.save(text);
}

/// A store beside whose events two branches disagree about a note; `side` is checked out.
fn at_odds(dir: &Path) -> Copy {
    let copy = repository(dir);
    note(&copy, "first\n");
    git(&copy.dir, ["switch", "-q", "-c", "side"]);
    note(&copy, "side\n");
    git(&copy.dir, ["switch", "-q", "main"]);
    note(&copy, "main\n");
    note(&copy, "main again\n");
    git(&copy.dir, ["switch", "-q", "side"]);
    copy
}

/// What was begun is refused before anything is committed; what gives it up loses no transaction, and then `sync` commits it.
#[track_caller]
fn refused(begin: impl FnOnce(&Copy), says: &[&str], give_up: &[&str]) {
    let home = tempfile::tempdir().unwrap();
    let copy = at_odds(&home.path().join("store"));
    begin(&copy);
    let file = format!("events/{}.jsonl", copy.append("a", 1).transaction_id);
    let state = || (git(&copy.dir, ["rev-parse", "HEAD"]).out, git(&copy.dir, ["status", "--porcelain", "-z", "-uall"]).out);
    let before = state();
    let said = sync(&copy.dir).code(1);
    assert_eq!(state(), before, "something was done");
    for text in says {
        assert!(said.err.contains(text), "{text:?} is not in {}", said.err);
    }
    assert!(!said.err.contains("add -A"), "{}", said.err);
    run_with(git_command(&copy.dir).args(give_up), b"").ok();
    assert!(copy.dir.join(&file).exists());
    let done = sync(&copy.dir).ok();
    assert!(done.out.contains("committed 1 transaction file\n"), "{}", done.out);
    assert!(git(&copy.dir, ["log", "--format=%D", "-1", "--", &file]).out.contains("HEAD -> "), "it is on no branch");
}

const SETTLE: &str = "hint: settle each file that conflicts, as `git status` names them, and then: git add FILE";

#[test]
fn a_merge() {
    refused(
        |copy| stops(&copy.dir, &["merge", "-q", "main"]),
        &["a merge of git is not finished", SETTLE, "hint: then finish it: git merge --continue", "hint: or give it up: git merge --abort"],
        &["merge", "--abort"],
    );
}

#[test]
fn a_merge_without_a_conflict() {
    refused(
        |copy| {
            git(&copy.dir, ["switch", "-q", "-c", "other", "main~1"]);
            fs::write(copy.dir.join("other"), "").unwrap();
            copy.save("other");
            git(&copy.dir, ["merge", "-q", "--no-commit", "main"]);
        },
        &["a merge of git is not finished\n  hint: finish it: git merge --continue"],
        &["merge", "--abort"],
    );
}

#[test]
fn a_rebase() {
    refused(
        |copy| stops(&copy.dir, &["rebase", "-q", "main"]),
        &[
            "a rebase of git is not finished",
            SETTLE,
            "hint: then finish it: git rebase --continue",
            "hint: or give it up: git rebase --abort",
        ],
        &["rebase", "--abort"],
    );
}

#[test]
fn a_rebase_that_applies_patches() {
    refused(
        |copy| stops(&copy.dir, &["rebase", "-q", "--apply", "main"]),
        &["a rebase of git is not finished", "git rebase --abort"],
        &["rebase", "--abort"],
    );
}

#[test]
fn patches_from_mails() {
    refused(
        |copy| {
            let mail = git(&copy.dir, ["format-patch", "-1", "--stdout", "main"]).out;
            let mut am = git_command(&copy.dir);
            assert_ne!(run_with(am.args(["am", "-q"]), mail.as_bytes()).code, 0);
        },
        &["a git am is not finished", "hint: finish it: git am --continue", "git am --abort"],
        &["am", "--abort"],
    );
}

#[test]
fn a_cherry_pick() {
    refused(
        |copy| stops(&copy.dir, &["cherry-pick", "main"]),
        &["a cherry-pick of git is not finished", SETTLE, "git cherry-pick --continue", "git cherry-pick --abort"],
        &["cherry-pick", "--abort"],
    );
}

/// After the first of two was committed by hand, nothing but the list of what is left tells it.
#[test]
fn a_cherry_pick_of_several_between_two() {
    refused(
        |copy| {
            stops(&copy.dir, &["cherry-pick", "main~1", "main"]);
            note(copy, "settled\n");
        },
        &["a cherry-pick of git is not finished\n  hint: finish it: git cherry-pick --continue"],
        &["cherry-pick", "--quit"],
    );
}

#[test]
fn a_revert() {
    refused(
        |copy| stops(&copy.dir, &["revert", "--no-edit", "main"]),
        &["a revert of git is not finished", SETTLE, "git revert --continue", "git revert --abort"],
        &["revert", "--abort"],
    );
}

#[test]
fn a_bisect() {
    refused(
        |copy| {
            git(&copy.dir, ["switch", "-q", "main"]);
            git(&copy.dir, ["bisect", "start", "main", "main~3"]);
        },
        &["a bisect of git is not finished\n  hint: end it: git bisect reset"],
        &["bisect", "reset"],
    );
}

#[test]
fn no_branch() {
    refused(
        |copy| drop(git(&copy.dir, ["switch", "-q", "--detach"])),
        &[
            "no branch is checked out in git",
            "hint: go back to a branch: git switch BRANCH",
            "hint: or make one here: git switch -c BRANCH",
        ],
        &["switch", "-q", "-c", "here"],
    );
}

#[test]
fn a_stash_that_conflicts() {
    refused(
        |copy| {
            fs::write(copy.dir.join("note"), "stashed\n").unwrap();
            git(&copy.dir, ["stash", "-q"]);
            git(&copy.dir, ["switch", "-q", "main"]);
            stops(&copy.dir, &["stash", "pop", "-q"]);
        },
        &["files conflict in git", SETTLE],
        &["checkout", "-q", "HEAD", "--", "note"],
    );
}

/// A linked work tree has its own state, and a store below the top sees conflicts beside it.
#[test]
fn a_store_deep_in_a_linked_work_tree() {
    let home = tempfile::tempdir().unwrap();
    let copy = at_odds(&home.path().join("store"));
    let linked = home.path().join("linked");
    git(&copy.dir, ["worktree", "add", "-q", "-b", "linked", linked.to_str().unwrap(), "side"]);
    let deep = linked.join("deep");
    braidfs::braid::Braid::init(&deep).unwrap();
    git(&linked, ["add", "-A"]);
    git(&linked, ["commit", "-q", "-m", "deep"]);
    stops(&linked, &["merge", "-q", "main"]);
    let said = sync(&deep).code(1);
    assert!(said.err.contains("a merge of git is not finished") && said.err.contains(SETTLE), "{}", said.err);
    copy.append("a", 1);
    sync(&copy.dir).ok();
}

/// What another branch has is not merged into a commit that is looked at, nor into a branch that is half rewritten.
#[test]
fn what_another_branch_has_is_not_to_be_merged_into_the_middle_of_something() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    (1..=4).for_each(|n| drop(copy.commit("a", n)));
    let hint = || {
        copy.follows();
        copy.finding(FindingKind::Vanished)
    };
    let begun: [(&[&str], &str, &[&str]); 3] = [
        (&["bisect", "start", "main", "main~3"], "git bisect reset   # first: a bisect of git is not finished;", &["bisect", "reset"]),
        (&["switch", "-q", "--detach", "main~2"], "git switch main   # first: no branch is checked out in git", &["switch", "-q", "main"]),
        (&["rebase", "-q", "-i", "main~2"], "git rebase --continue   # first: a rebase of git is not finished;", &["rebase", "--abort"]),
    ];
    for (begin, wanted, end) in begun {
        run_with(git_command(&copy.dir).args(begin).env("GIT_SEQUENCE_EDITOR", "sed -i s/^pick/edit/"), b"");
        assert!(hint().starts_with(wanted), "{begin:?}: {}", hint());
        git(&copy.dir, ["status"]);
        run_with(git_command(&copy.dir).args(end), b"").ok();
        copy.no_finding(FindingKind::Vanished);
    }
    git(&copy.dir, ["switch", "-q", "-c", "other", "main~2"]);
    assert!(hint().starts_with("git merge main   # brings them here; "), "{}", hint());
}
