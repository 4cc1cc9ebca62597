//! Who tells that the first line of a file was changed, which no hash covers, and how long.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::stage::{Copy, repository, store_in};
use crate::support::git::{git, git_command};
use crate::support::mount::Mount;
use crate::support::run::{braidfs_command, run_with};
use crate::support::wait::eventually_eq;

/// What changes the first line in a way that other views show, that `forks/` shows, and that no view but the file's own shows.
const EDITS: [(&str, &str); 3] = [
    ("created_at\":\"2", "created_at\":\"1"),
    ("\"stream_bases\":{", "\"stream_bases\":{\"read\":3,"),
    ("\"format_version\"", "\"note\":\"harmless\",\"format_version\""),
];

fn edited(found: &Value) -> Vec<String> {
    let told = found["findings"].as_array().unwrap().iter().filter(|finding| finding["kind"] == "edited");
    told.map(|finding| finding["file"].as_str().unwrap().to_owned()).collect()
}

fn told_by(dir: &Path, command: &str) -> Vec<String> {
    let mut braidfs = braidfs_command();
    braidfs.arg("--store").arg(dir).args(["--format", "json", command]).env("GIT_CONFIG_GLOBAL", "/dev/null");
    if command == "status" {
        // It runs no git.
        braidfs.env("PATH", "/nowhere");
    }
    edited(&run_with(&mut braidfs, b"").json())
}

#[track_caller]
fn told_by_a_mount(dir: &Path, expected: &[&str]) {
    let mount = Mount::options(dir).at(&dir.with_extension("mnt")).start();
    eventually_eq(&expected.iter().map(ToString::to_string).collect::<Vec<_>>(), || edited(&mount.read_json("status.json")));
}

#[track_caller]
fn told_by_all(dir: &Path, expected: &[&str]) {
    assert_eq!(told_by(dir, "status"), expected, "status");
    assert_eq!(told_by(dir, "doctor"), expected, "doctor");
    told_by_a_mount(dir, expected);
    assert_eq!(told_by(dir, "status"), expected, "status after a mount");
}

/// A store of three committed transactions; gives the name of the second.
fn three(dir: &Path) -> (Copy, String) {
    let copy = repository(dir);
    let names: Vec<String> = (1..=3).map(|n| copy.commit("a", n)).collect();
    (copy, names[1].clone())
}

/// Rewrites a file in place or, as git and most editors do it, by a new one; gives its bytes of before.
fn rewrite(dir: &Path, name: &str, (from, to): (&str, &str), in_place: bool) -> String {
    let path = dir.join("events").join(name);
    let before = fs::read_to_string(&path).unwrap();
    let after = before.replacen(from, to, 1);
    assert_ne!(after, before);
    replace(&path, &after, in_place);
    before
}

fn replace(path: &Path, text: &str, in_place: bool) {
    if in_place {
        return fs::write(path, text).unwrap();
    }
    fs::write(path.with_extension("new"), text).unwrap();
    fs::rename(path.with_extension("new"), path).unwrap();
}

fn save(dir: &Path) {
    git(dir, ["commit", "-q", "-a", "-m", "an edit"]);
}

#[test]
fn an_edit_that_a_process_saw_is_told_by_all_that_come_later() {
    for edit in EDITS {
        let home = tempfile::tempdir().unwrap();
        let (copy, name) = three(&home.path().join("store"));
        rewrite(&copy.dir, &name, edit, true);
        let told = || copy.braid.epoch().findings.iter().filter_map(|finding| finding.file.clone()).collect::<Vec<_>>();
        eventually_eq(&true, || told().contains(&name));
        save(&copy.dir);
        let dir = copy.dir.clone();
        drop(copy);
        told_by_all(&dir, &[&*name]);
    }
}

#[test]
fn an_edit_is_told_where_there_is_no_git_too() {
    let home = tempfile::tempdir().unwrap();
    let (copy, name) = three(&home.path().join("store"));
    fs::remove_dir_all(copy.dir.join(".git")).unwrap();
    let original = rewrite(&copy.dir, &name, EDITS[2], false);
    copy.braid.refresh().unwrap();
    let dir = copy.dir.clone();
    drop(copy);
    told_by_all(&dir, &[&*name]);
    // Gone, it is no finding of this kind; back as it was first, it is none at all.
    let path = dir.join("events").join(&name);
    fs::remove_file(&path).unwrap();
    told_by_all(&dir, &[]);
    replace(&path, &original.replacen(EDITS[0].0, EDITS[0].1, 1), false);
    told_by_all(&dir, &[&*name]);
    replace(&path, &original, false);
    told_by_all(&dir, &[]);
}

/// A store in which a file was edited and committed while nothing ran, and the file's name.
fn edited_at_rest(edit: (&str, &str), in_place: bool) -> (TempDir, PathBuf, String) {
    let home = tempfile::tempdir().unwrap();
    let (copy, name) = three(&home.path().join("store"));
    let dir = copy.dir.clone();
    drop(copy);
    rewrite(&dir, &name, edit, in_place);
    save(&dir);
    (home, dir, name)
}

#[test]
fn an_edit_while_nothing_ran_is_told_by_all() {
    for edit in EDITS {
        let (_home, dir, name) = edited_at_rest(edit, false);
        told_by_all(&dir, &[&*name]);
    }
}

/// `status` looks at no file whose inode is the same, until a mount has compared sizes and times.
#[test]
fn an_edit_in_place_while_nothing_ran_is_told_by_status_after_a_mount() {
    let (_home, dir, name) = edited_at_rest(EDITS[0], true);
    assert_eq!(told_by(&dir, "doctor"), [&*name]);
    told_by_a_mount(&dir, &[&*name]);
    told_by_all(&dir, &[&*name]);
}

/// Without an index only git's history knows what the file said; `status` runs no git, but reads what a mount learned.
#[test]
fn an_edit_is_known_from_the_history_alone() {
    for edit in EDITS {
        let (_home, dir, name) = edited_at_rest(edit, true);
        fs::remove_dir_all(dir.join("index")).unwrap();
        assert_eq!(told_by(&dir, "status"), [] as [&str; 0]);
        assert_eq!(told_by(&dir, "doctor"), [&*name]);
        told_by_a_mount(&dir, &[&*name]);
        told_by_all(&dir, &[&*name]);
    }
}

/// A store with a branch `side` and a branch `other`; gives the files that all have, that the present branch, `side` and `other` alone
/// have, and one that only `side` has and edited.
fn branches(repository: &Path, dir: &Path) -> [String; 5] {
    let copy = store_in(repository, dir);
    let switch = |arguments: &[&str]| {
        run_with(git_command(dir).args(["switch", "-q"]).args(arguments), b"").ok();
        copy.braid.refresh().unwrap();
    };
    let of_all = copy.commit("all", 1);
    switch(&["-c", "side"]);
    let (of_side, edited_there) = (copy.commit("side", 1), copy.commit("side", 2));
    rewrite(dir, &edited_there, EDITS[0], false);
    copy.save("an edit on the side");
    switch(&["-c", "other", "main"]);
    let of_other = copy.commit("other", 1);
    switch(&["main"]);
    let of_main = copy.commit("main", 1);
    [of_all, of_main, of_side, of_other, edited_there]
}

/// The index is gone, so only the history tells these files.
#[track_caller]
fn told_from_the_history<const N: usize>(dir: &Path, mut expected: [&str; N]) {
    fs::remove_dir_all(dir.join("index")).unwrap();
    expected.sort_unstable();
    assert_eq!(told_by(dir, "doctor"), expected);
    told_by_a_mount(dir, &expected);
    told_by_all(dir, &expected);
}

/// No other commit has these edits: of a file that all sides have, and of files that only one of them has. What a merge merely brings is
/// told by its own commits.
#[test]
fn an_edit_that_only_a_merge_made_is_known_from_the_history() {
    for (merged, deep) in [(&["side"][..], ""), (&["side"], "deep/ä"), (&["side", "other"], "")] {
        let home = tempfile::tempdir().unwrap();
        let repository = home.path().join("store");
        let dir = repository.join(deep);
        let [of_all, of_main, of_side, _, edited_there] = branches(&repository, &dir);
        run_with(git_command(&dir).args(["merge", "-q", "--no-ff", "--no-commit"]).args(merged), b"").ok();
        for name in [&of_all, &of_main, &of_side] {
            rewrite(&dir, name, EDITS[0], false);
        }
        save(&dir);
        assert_eq!(git(&dir, ["log", "-1", "--format=%P"]).out.split_whitespace().count(), merged.len() + 1);
        told_from_the_history(&dir, [&of_all, &of_main, &of_side, &edited_there]);
    }
}

/// One side has a copy that was edited, and the merge settles it by what the file said first.
#[test]
fn what_a_merge_put_right_was_not_edited() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    let [_, _, of_side, _, edited_there] = branches(&dir, &dir);
    git(&dir, ["checkout", "-q", "side", "--", &format!("events/{of_side}")]);
    let original = rewrite(&dir, &of_side, EDITS[0], false);
    save(&dir);
    run_with(git_command(&dir).args(["merge", "-q", "side"]), b"").code(1);
    replace(&dir.join("events").join(&of_side), &original, false);
    git(&dir, ["add", "events"]);
    save(&dir);
    told_from_the_history(&dir, [&edited_there]);
}

#[test]
fn what_was_brought_back_and_committed_is_told_by_nobody() {
    let home = tempfile::tempdir().unwrap();
    let (copy, name) = three(&home.path().join("store"));
    let original = rewrite(&copy.dir, &name, EDITS[0], true);
    copy.braid.refresh().unwrap();
    save(&copy.dir);
    let dir = copy.dir.clone();
    drop(copy);
    told_by_all(&dir, &[&*name]);
    replace(&dir.join("events").join(&name), &original, false);
    save(&dir);
    told_by_all(&dir, &[]);
    fs::remove_dir_all(dir.join("index")).unwrap();
    told_by_all(&dir, &[]);
}

/// What was committed first was never whole: what mended it is no edit.
#[test]
fn a_file_that_was_committed_torn_and_then_whole_was_not_edited() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    let path = copy.dir.join(format!("events/{}.jsonl", copy.append("a", 1).transaction_id));
    let whole = fs::read_to_string(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    copy.save("torn");
    fs::write(&path, whole).unwrap();
    copy.save("whole");
    let dir = copy.dir.clone();
    drop(copy);
    fs::remove_dir_all(dir.join("index")).unwrap();
    told_by_all(&dir, &[]);
}

/// Git makes the file anew, and it may get the inode that it had.
#[test]
fn a_reset_takes_an_edit_back_in_an_open_store() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    let copy = repository(&dir);
    let name = copy.commit("a", 1);
    copy.commit("a", 2);
    let before = copy.text("log.jsonl");
    let first = before.lines().next().unwrap().to_owned() + "\n";
    let _ = rewrite(&dir, &name, EDITS[0], true);
    eventually_eq(&true, || copy.text("log.jsonl").contains("\"created_at\":\"1"));
    git(&dir, ["commit", "-q", "-a", "-m", "edited"]);
    git(&dir, ["reset", "-q", "--hard", "HEAD~2"]);
    eventually_eq(&first, || copy.text("log.jsonl"));
}
