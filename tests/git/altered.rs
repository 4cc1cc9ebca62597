//! What somebody changed before git had it is not made the truth by `braidfs sync`, and what helps is told.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::stage::{Copy, clone, repository};
use crate::support::git::git;
use crate::support::run::{Ran, braidfs_command, run_with};
use crate::support::wait::eventually_eq;

fn braidfs(dir: &Path, arguments: &[&str]) -> Ran {
    run_with(braidfs_command().arg("--store").arg(dir).args(arguments).env("GIT_CONFIG_GLOBAL", "/dev/null"), b"")
}

/// The kinds of what the doctor finds, and their hints.
fn found(dir: &Path) -> Vec<(String, String)> {
    let found = braidfs(dir, &["--format", "json", "doctor"]).json();
    let text = |finding: &Value, field: &str| finding[field].as_str().unwrap().to_owned();
    found["findings"].as_array().unwrap().iter().map(|finding| (text(finding, "kind"), text(finding, "hint"))).collect()
}

#[track_caller]
fn told(dir: &Path, kinds: &[&str]) -> Vec<String> {
    let (found, hints): (Vec<String>, Vec<String>) = found(dir).into_iter().unzip();
    assert_eq!(found, kinds, "{hints:?}");
    hints
}

fn as_it_stands(dir: &Path, command: &str) {
    let binary = Path::new(env!("CARGO_BIN_EXE_braidfs")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let mut bash = Command::new("bash");
    bash.arg("-c").arg(command).current_dir(dir).env("PATH", path).env("GIT_CONFIG_GLOBAL", "/dev/null").env_remove("BRAIDFS_STORE");
    run_with(&mut bash, b"").ok();
}

fn forged(text: &str) -> String {
    let forged = text.replacen("\"stream_bases\":{\"", "\"stream_bases\":{\"read\":7,\"", 1);
    assert_ne!(forged, text);
    forged
}

/// Changes a file in place, as most tools do; gives its bytes of before.
fn rewrite(dir: &Path, name: &str, change: impl FnOnce(&str) -> String) -> String {
    let path = dir.join("events").join(name);
    let before = fs::read_to_string(&path).unwrap();
    fs::write(&path, change(&before)).unwrap();
    before
}

/// A store with a commit of git, and two new files that it does not have.
fn two_new(dir: &Path) -> (Copy, [String; 2]) {
    let copy = repository(dir);
    copy.commit("a", 1);
    let new = [2, 3].map(|n| format!("{}.jsonl", copy.append("a", n).transaction_id));
    (copy, new)
}

/// Whatever is at work beside it, and whether anybody had noticed before.
#[test]
fn what_was_edited_before_git_had_it_is_left_out_by_sync() {
    for (mounted, noticed) in [(false, true), (false, false), (true, true), (true, false)] {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("store");
        let (copy, [edited, other]) = two_new(&dir);
        drop(copy);
        let beside = mounted.then(|| Copy::open(&dir).mounted());
        let before = rewrite(&dir, &edited, forged);
        if noticed {
            told(&dir, &["edited", "uncommitted"]);
        }
        let said = braidfs(&dir, &["sync", "--offline"]).ok().out;
        assert!(said.starts_with("committed 1 transaction file\n1 new file in events/ is not committed:\n  warning: edited: "), "{said}");
        assert!(said.contains(&format!("    hint: cp BACKUP/events/{edited} events/{edited}   # ")), "{said}");
        assert_eq!(git(&dir, ["show", "--name-status", "--format=", "HEAD"]).out, format!("A\tevents/{other}\n"));
        // Nothing tells to commit it, and git has nothing to do with its cure.
        let hints = told(&dir, &["edited"]);
        fs::create_dir_all(home.path().join("backup/events")).unwrap();
        fs::write(home.path().join("backup/events").join(&edited), before).unwrap();
        as_it_stands(&dir, &hints[0].replace("BACKUP", "../backup"));
        told(&dir, &["uncommitted"]);
        assert_eq!(braidfs(&dir, &["--format", "json", "sync"]).ok().json()["committed"], 1);
        told(&dir, &[]);
        drop(beside);
    }
}

#[test]
fn an_edit_that_git_never_had_otherwise_may_be_kept() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    let (copy, [edited, _]) = two_new(&dir);
    drop(copy);
    rewrite(&dir, &edited, forged);
    let said = braidfs(&dir, &["--format", "json", "sync"]).ok().json();
    assert_eq!((&said["committed"], &said["left_out"], &said["committed_mended"]), (&1.into(), &1.into(), &0.into()), "{said}");
    let reason = &said["reasons"][0];
    assert_eq!((&reason["kind"], &reason["file"]), (&"edited".into(), &edited.into()), "{said}");
    let keep = reason["hint"].as_str().unwrap().split_once("as it is now: ").unwrap().1;
    as_it_stands(&dir, keep);
    told(&dir, &[]);
}

/// To commit it would leave it refused, and make it so for everybody.
#[test]
fn what_was_torn_before_git_had_it_is_put_aside_or_brought_again() {
    for is_brought in [false, true] {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("store");
        let (copy, [_, torn]) = two_new(&dir);
        let before = rewrite(&dir, &torn, |text| text[..text.len() - 5].to_owned());
        eventually_eq(&1, || copy.braid.refresh().unwrap().quarantined.len());
        drop(copy);
        let (of_refused, rest): (Vec<_>, Vec<_>) = found(&dir).into_iter().partition(|(kind, _)| kind == "quarantined");
        let (aside, copy) = of_refused[0].1.split_once("   # git never had it whole; or, from a clone or a backup: ").unwrap();
        assert!(rest.iter().all(|(_, hint)| !hint.contains(&torn) || *hint == of_refused[0].1), "{rest:?}");
        if is_brought {
            fs::create_dir_all(home.path().join("backup/events")).unwrap();
            fs::write(home.path().join("backup/events").join(&torn), before).unwrap();
            as_it_stands(&dir, &copy.replace("BACKUP", "../backup"));
            told(&dir, &["uncommitted"]);
        } else {
            as_it_stands(&dir, aside);
            told(&dir, &["vanished", "uncommitted"]);
        }
    }
}

#[test]
fn no_git_helps_where_none_is() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    let (copy, [edited, _]) = two_new(&dir);
    drop(copy);
    fs::remove_dir_all(dir.join(".git")).unwrap();
    rewrite(&dir, &edited, forged);
    let hints = told(&dir, &["edited"]);
    assert!(hints[0].starts_with("cp BACKUP/events/") && !hints[0].contains("git "), "{hints:?}");
}

/// Also of a mount that follows, which shows the whole of it all the time.
#[test]
fn a_new_file_whose_line_ends_were_changed_is_committed_once_it_is_mended() {
    for mounted in [false, true] {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("store");
        let (copy, [damaged, _]) = two_new(&dir);
        let whole = copy.text("log.jsonl");
        drop(copy);
        let beside = mounted.then(|| Copy::open(&dir).mounted());
        let before = rewrite(&dir, &damaged, |text| text.replace('\n', "\r\n"));
        let said = braidfs(&dir, &["sync"]).ok().out;
        assert!(said.starts_with("committed 1 transaction file\n1 new file in events/ is not committed:\n  warning: healed: "), "{said}");
        let hints = told(&dir, &["healed"]);
        as_it_stands(&dir, &hints[0]);
        let hints = told(&dir, &["uncommitted"]);
        as_it_stands(&dir, &hints[0]);
        told(&dir, &[]);
        assert_eq!(git(&dir, ["show", &format!("HEAD:events/{damaged}")]).out, before);
        if let Some(copy) = beside {
            eventually_eq(&whole, || copy.mount().read("log.jsonl"));
        }
    }
}

/// Somebody committed them by hand, and two clones mend them, each by itself.
#[test]
fn line_ends_that_git_has_changed_are_mended_once() {
    let home = tempfile::tempdir().unwrap();
    let remote = home.path().join("remote.git");
    git(home.path(), ["init", "-q", "--bare", remote.to_str().unwrap()]);
    let (copy, [damaged, _]) = two_new(&home.path().join("ada"));
    let ada = copy.dir.clone();
    drop(copy);
    git(&ada, ["remote", "add", "origin", remote.to_str().unwrap()]);
    let before = rewrite(&ada, &damaged, |text| text.replace('\n', "\r\n"));
    git(&ada, ["add", "-A"]);
    git(&ada, ["commit", "-q", "-m", "by hand"]);
    braidfs(&ada, &["sync"]).ok();
    let bo = clone(&remote, &home.path().join("bo")).dir.clone();
    for (dir, pushes) in [(&ada, true), (&bo, false)] {
        assert_eq!(told(dir, &["healed"]), ["braidfs doctor --fix"]);
        as_it_stands(dir, "braidfs doctor --fix");
        assert_eq!(told(dir, &["uncommitted"]), ["braidfs sync --offline"]);
        let said = braidfs(dir, if pushes { &["sync"] } else { &["sync", "--offline"] }).ok().out;
        assert!(said.starts_with("committed 0 transaction files\ncommitted 1 mended transaction file\n"), "{said}");
        told(dir, &[]);
    }
    for dir in [&bo, &ada] {
        let said = braidfs(dir, &["--format", "json", "sync"]).ok().json();
        assert_eq!((&said["committed"], &said["committed_mended"]), (&0.into(), &0.into()), "{said}");
        told(dir, &[]);
        assert_eq!(git(dir, ["show", &format!("HEAD:events/{damaged}")]).out, before);
        // Neither is it told from the history alone.
        fs::remove_dir_all(dir.join("index")).unwrap();
        told(dir, &[]);
    }
}

/// What the last line says is of the files that the pull left, also where they have the inodes of before.
#[test]
fn what_a_pull_changes_in_place_is_told_by_the_same_sync() {
    let home = tempfile::tempdir().unwrap();
    let remote = home.path().join("remote.git");
    git(home.path(), ["init", "-q", "--bare", remote.to_str().unwrap()]);
    let copy = repository(&home.path().join("ada"));
    let damaged = copy.commit("a", 1);
    let ada = copy.dir.clone();
    drop(copy);
    git(&ada, ["remote", "add", "origin", remote.to_str().unwrap()]);
    git(&ada, ["push", "-q", "-u", "origin", "HEAD"]);
    let bo = clone(&remote, &home.path().join("bo")).dir.clone();
    let before = rewrite(&ada, &damaged, |text| text.replace('\n', "\r\n"));
    git(&ada, ["commit", "-q", "-a", "-m", "by hand"]);
    braidfs(&ada, &["sync"]).ok();
    let said = braidfs(&bo, &["sync"]).ok().out;
    assert!(said.ends_with("1 thing should be mended: braidfs doctor\n"), "{said}");
    told(&bo, &["healed"]);
    rewrite(&ada, &damaged, |_| before);
    braidfs(&ada, &["sync"]).ok();
    let said = braidfs(&bo, &["sync"]).ok().out;
    assert!(!said.contains("should be mended"), "{said}");
    told(&bo, &[]);
}

/// Line ends are no excuse: what was edited as well stays out, as new and as changed.
#[test]
fn an_edit_beside_changed_line_ends_is_not_committed() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    let (copy, [edited, other]) = two_new(&dir);
    drop(copy);
    rewrite(&dir, &edited, |text| forged(text).replace('\n', "\r\n"));
    rewrite(&dir, &other, |text| text.replace('\n', "\r\n"));
    assert_eq!(braidfs(&dir, &["--format", "json", "sync"]).ok().json()["left_out"], 2);
    git(&dir, ["add", &format!("events/{other}")]);
    git(&dir, ["commit", "-q", "-m", "by hand"]);
    rewrite(&dir, &other, |text| forged(&text.replace("\r\n", "\n")));
    let said = braidfs(&dir, &["--format", "json", "sync"]).ok().json();
    assert_eq!((&said["committed"], &said["committed_mended"], &said["left_out"]), (&0.into(), &0.into(), &1.into()), "{said}");
}

/// Git merges nothing beside what is staged and not in the last commit.
#[test]
fn what_is_staged_and_left_out_is_told_how_to_make_way_for_a_pull() {
    let home = tempfile::tempdir().unwrap();
    let remote = home.path().join("remote.git");
    git(home.path(), ["init", "-q", "--bare", remote.to_str().unwrap()]);
    let (copy, [edited, _]) = two_new(&home.path().join("ada"));
    let ada = copy.dir.clone();
    git(&ada, ["remote", "add", "origin", remote.to_str().unwrap()]);
    git(&ada, ["push", "-q", "-u", "origin", "HEAD"]);
    let bo = clone(&remote, &home.path().join("bo"));
    bo.append("b", 1);
    braidfs(&bo.dir, &["sync"]).ok();
    drop(copy);
    rewrite(&ada, &edited, forged);
    git(&ada, ["add", "events"]);
    let said = braidfs(&ada, &["sync"]).code(4);
    let way = format!("git restore --staged -- events/{edited}");
    assert!(said.err.contains(&format!("hint: {way}   # ")), "{}", said.err);
    as_it_stands(&ada, &way);
    let said = braidfs(&ada, &["--format", "json", "sync"]).ok().json();
    assert_eq!((&said["brought"], &said["left_out"], &said["pushed"]), (&1.into(), &1.into(), &true.into()), "{said}");
}

/// Story: definitions and git's own files went along with a sync that said only how many transaction files it had committed.
#[test]
fn what_goes_with_the_store_is_told_by_the_sync_that_commits_it() {
    let home = tempfile::tempdir().unwrap();
    let (copy, _) = two_new(&home.path().join("store"));
    let sync = |format: &str| braidfs(&copy.dir, &["--format", format, "sync", "--offline"]).ok();
    fs::create_dir(copy.dir.join("projections")).unwrap();
    fs::write(copy.dir.join("projections/one two.jq"), ".").unwrap();
    let ignored = fs::read_to_string(copy.dir.join(".gitignore")).unwrap();
    fs::write(copy.dir.join(".gitignore"), ignored + "# mine\n").unwrap();
    let said = sync("human").out;
    assert!(said.starts_with("committed 2 transaction files\ncommitted .gitignore\ncommitted 'projections/one two.jq'\n"), "{said}");
    fs::remove_file(copy.dir.join("projections/one two.jq")).unwrap();
    let said = sync("json").json();
    assert_eq!((&said["committed"], &said["committed_beside"]), (&0.into(), &serde_json::json!(["projections/one two.jq"])));
    assert_eq!(sync("json").json()["committed_beside"], serde_json::json!([]));
}
