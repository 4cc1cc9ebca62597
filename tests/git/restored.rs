//! `braidfs restore`: what it brings back, from where, and how often it asks git.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use braidfs::model::FindingKind;
use tempfile::TempDir;

use crate::stage::{clone, repository};
use crate::support::git::{git, git_command};
use crate::support::run::{Ran, braidfs_command, run_with};
use crate::support::wait::eventually;

const FILES: usize = 50;

/// A store whose files were committed ten by ten, one of them edited since, and the files' names.
fn store() -> (TempDir, Vec<String>) {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    let mut names = Vec::new();
    for ten in 0..FILES / 10 {
        names.extend((0..10).map(|n| format!("{}.jsonl", copy.append("a", n).transaction_id)));
        copy.save(&format!("ten {ten}"));
    }
    let path = copy.dir.join("events").join(&names[FILES / 2]);
    let edited = fs::read_to_string(&path).unwrap().replacen("created_at\":\"2", "created_at\":\"1", 1);
    fs::write(path, edited).unwrap();
    copy.save("an edit");
    (home, names)
}

/// Runs `restore` with a git in the PATH that counts how often it is run.
fn restore(home: &Path, names: &[String]) -> (Ran, usize) {
    let (bin, runs) = (home.join("bin"), home.join("runs"));
    fs::create_dir_all(&bin).unwrap();
    let path = std::env::var("PATH").unwrap();
    let script = format!("#!/bin/sh\necho \"$*\" >> '{}'\nPATH='{path}' exec git \"$@\"\n", runs.display());
    fs::write(bin.join("git"), script).unwrap();
    fs::set_permissions(bin.join("git"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(&runs, "").unwrap();
    let mut command = braidfs_command();
    command.arg("--store").arg(home.join("store")).arg("restore").args(names);
    command.env("PATH", format!("{}:{path}", bin.display())).env("GIT_CONFIG_GLOBAL", "/dev/null");
    let ran = run_with(&mut command, b"");
    (ran, fs::read_to_string(&runs).unwrap().lines().count())
}

fn read_all(dir: &Path, names: &[String]) -> Vec<String> {
    names.iter().map(|name| fs::read_to_string(dir.join("events").join(name)).unwrap_or_default()).collect()
}

#[test]
fn fifty_files_come_back_by_as_many_runs_of_git_as_one() {
    let (home, names) = store();
    let dir = home.path().join("store");
    let whole = read_all(&dir, &names);
    let lose = |names: &[String]| names.iter().for_each(|name| fs::remove_file(dir.join("events").join(name)).unwrap());
    let subjects: Vec<String> = (0..FILES).map(|n| if n == FILES / 2 { "an edit".to_owned() } else { format!("ten {}", n / 10) }).collect();
    let mut runs = Vec::new();
    for (lost, named) in [(&names[..1], true), (&names[..], true), (&names[..1], false), (&names[..], false)] {
        lose(lost);
        let (ran, count) = restore(home.path(), if named { lost } else { &[] });
        let ran = ran.ok();
        let lines = ran.lines();
        let (files, is_back) = lines.split_at(lost.len());
        assert_eq!(is_back, [if lost.len() == 1 { "1 file is back".to_owned() } else { format!("{} files are back", lost.len()) }]);
        for (line, (name, subject)) in files.iter().zip(lost.iter().zip(&subjects)) {
            assert!(line.starts_with(&format!("restored {name} from commit ")) && line.ends_with(&format!(" ({subject})")), "{line}");
        }
        assert_eq!(read_all(&dir, &names), whole);
        runs.push(count);
    }
    // Where that was committed the store alone knows which events it had.
    for lost in [1, FILES] {
        lose(&names[..lost]);
        git(&dir, ["commit", "-q", "-a", "-m", "a mistake"]);
        let (ran, count) = restore(home.path(), &[]);
        assert_eq!(ran.ok().lines().len(), lost + 1);
        assert_eq!(read_all(&dir, &names), whole);
        runs.push(count);
        git(&dir, ["reset", "-q", "--hard", "HEAD~1"]);
    }
    assert!(runs.chunks(2).all(|runs| runs[0] == runs[1]), "{runs:?}");
}

#[test]
fn what_git_never_had_is_told_and_the_rest_comes_back() {
    let (home, names) = store();
    let dir = home.path().join("store");
    let whole = read_all(&dir, &names);
    fs::remove_file(dir.join("events").join(&names[0])).unwrap();
    let (id, path) = (names[0].trim_end_matches(".jsonl").to_owned(), format!("events/{}", names[1]));
    let (ran, _) = restore(home.path(), &["never".to_owned(), id, path, "a name.jsonl".to_owned()]);
    let ran = ran.code(1);
    assert_eq!(ran.lines().len(), 2, "{}", ran.out);
    assert!(ran.err.contains("git knows no commit that has 2 files: a name.jsonl, never.jsonl"), "{}", ran.err);
    assert_eq!(read_all(&dir, &names), whole);
}

/// The file comes back, by name and by the plain command.
#[track_caller]
fn comes_back(dir: &Path, name: &str, subject: &str) {
    let path = dir.join("events").join(name);
    for named in [true, false] {
        if path.exists() {
            fs::remove_file(&path).unwrap();
        }
        let mut command = braidfs_command();
        command.arg("--store").arg(dir).arg("restore").args(named.then_some(name)).env("GIT_CONFIG_GLOBAL", "/dev/null");
        let ran = run_with(&mut command, b"").ok();
        assert!(ran.out.contains(&format!("({subject})\n1 file is back")), "{}", ran.out);
        assert!(path.exists());
    }
}

#[test]
fn what_a_reset_took_comes_back_and_what_a_branch_has_is_preferred() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    let (kept, taken) = (copy.commit("a", 1), copy.commit("a", 2));
    let dir = copy.dir.clone();
    drop(copy);
    let path = dir.join("events").join(&kept);
    let whole = fs::read_to_string(&path).unwrap();
    fs::write(&path, whole.replacen("created_at\":\"2", "created_at\":\"1", 1)).unwrap();
    git(&dir, ["commit", "-q", "-a", "-m", "an edit"]);
    git(&dir, ["reset", "-q", "--hard", "HEAD~2"]);
    comes_back(&dir, &taken, "a 2");
    fs::remove_file(&path).unwrap();
    comes_back(&dir, &kept, "a 1");
    assert_eq!(fs::read_to_string(&path).unwrap(), whole);
}

#[test]
fn what_an_aborted_rebase_took_comes_back() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    let note = |text: &str| {
        fs::write(copy.dir.join("note"), text).unwrap();
        copy.save(text);
    };
    note("first");
    git(&copy.dir, ["switch", "-q", "-c", "side"]);
    note("side");
    git(&copy.dir, ["switch", "-q", "main"]);
    note("main");
    assert_ne!(run_with(git_command(&copy.dir).args(["rebase", "-q", "side"]), b"").code, 0);
    let name = format!("{}.jsonl", copy.append("a", 1).transaction_id);
    git(&copy.dir, ["reset", "-q", "--hard"]);
    git(&copy.dir, ["add", "events"]);
    git(&copy.dir, ["commit", "-q", "-m", "amid a rebase"]);
    git(&copy.dir, ["rebase", "--abort"]);
    copy.follows();
    let dir = copy.dir.clone();
    drop(copy);
    comes_back(&dir, &name, "amid a rebase");
}

#[test]
fn what_was_fetched_to_no_branch_comes_back() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    let other = clone(&copy.dir, &home.path().join("other"));
    let (parent, child) = (other.commit("a", 1), other.commit("a", 2));
    fs::copy(other.dir.join("events").join(&child), copy.dir.join("events").join(&child)).unwrap();
    git(&copy.dir, ["fetch", "-q", "../other", "main"]);
    let dir = copy.dir.clone();
    drop((copy, other));
    comes_back(&dir, &parent, "a 1");
}

#[test]
fn a_chain_of_parents_comes_back_at_once() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    let names: Vec<String> = (1..=6).map(|n| copy.commit("a", n)).collect();
    let dir = copy.dir.clone();
    drop(copy);
    let whole = read_all(&dir, &names);
    let mut runs = Vec::new();
    for (lost, named) in [(2, false), (5, false), (2, true), (5, true)] {
        names[..lost].iter().for_each(|name| drop(git(&dir, ["rm", "-q", &format!("events/{name}")])));
        git(&dir, ["commit", "-q", "-m", "a mistake"]);
        // Nobody remembers them.
        fs::remove_dir_all(dir.join("index")).unwrap();
        let (ran, count) = restore(home.path(), if named { &names[lost - 1..lost] } else { &[] });
        assert!(ran.ok().out.ends_with(&format!("\n{lost} files are back\n")));
        assert_eq!(read_all(&dir, &names), whole);
        runs.push(count);
        git(&dir, ["reset", "-q", "--hard", "HEAD~1"]);
    }
    assert_eq!((runs[1], runs[3]), (runs[0] + 3, runs[2] + 3), "one more a link: {runs:?}");
}

#[test]
fn what_cannot_come_back_is_told_with_the_reason() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    let dir = copy.dir.clone();
    let refused = copy.commit("a", 1);
    let taken = format!("{}.jsonl", copy.append("b", 2).transaction_id);
    git(&dir, ["clean", "-q", "-f", "-d"]);
    fs::write(dir.join("events").join(&refused), "nonsense\n").unwrap();
    copy.finding(FindingKind::Quarantined);
    copy.finding(FindingKind::Vanished);
    eventually("both are gone", || copy.count() == 0);
    let found = copy.braid.survey().unwrap();
    let of_kind =
        |kind| found.findings.iter().filter(|finding| finding.kind == kind).map(|finding| finding.file.clone()).collect::<Vec<_>>();
    assert_eq!(of_kind(FindingKind::Quarantined), [Some(refused.clone())]);
    assert_eq!(of_kind(FindingKind::Vanished), [Some(taken.clone())], "what is refused is here");
    drop(copy);
    let never = format!("git knows no commit that has 1 file: {taken}");
    let is_here = format!("file \"{refused}\" is here and is refused: ");
    // What was in no commit has no name any more once the index is read anew.
    let nameless = "1 event that this replica has seen is in no file that git knows".to_owned();
    for (names, told) in [(vec![], vec![&nameless, &is_here]), (vec![refused.clone()], vec![&is_here]), (vec![taken.clone()], vec![&never])]
    {
        let ran = restore(home.path(), &names).0.code(1);
        assert_eq!(ran.out, "0 files are back\n");
        assert!(told.iter().all(|told| ran.err.contains(*told)), "{}", ran.err);
        assert_eq!(ran.err.contains("braidfs doctor"), told.contains(&&is_here), "{}", ran.err);
        assert_eq!(ran.err.contains("git fetch"), told != [&is_here], "{}", ran.err);
    }
}

/// The hash proves which commit has a file as it was written; the newest one is not always that.
#[test]
fn what_comes_back_is_what_counts_and_not_what_was_committed_last() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    let [first, second] = [1, 2].map(|n| copy.commit("a", n));
    let dir = copy.dir.clone();
    let path = |name: &str| dir.join("events").join(name);
    let whole = fs::read_to_string(path(&first)).unwrap();
    let good = git(&dir, ["log", "-1", "--format=%H", "--", &format!("events/{first}")]).out;
    for (n, edit) in ["\"n\":7", "\"n\":8"].iter().enumerate() {
        fs::write(path(&first), whole.replace("\"n\":1", edit)).unwrap();
        copy.save(&format!("edit {n}"));
    }
    git(&dir, ["rm", "-q", &format!("events/{first}")]);
    copy.save("removed");
    copy.follows();
    let hint = copy.finding(FindingKind::Dangling);
    assert!(hint.contains(&format!("git has it in commit {}", &good[..12])), "{hint}");
    drop(copy);
    // What git has whole is not forgotten either.
    let forget = ["--store", dir.to_str().unwrap(), "restore", "--forget", "--all"];
    let refused = run_with(braidfs_command().args(forget), b"").code(1);
    assert!(refused.err.contains(&format!("git still has 1 file: {first}")), "{}", refused.err);
    let ran = restore(home.path(), &[]).0.ok();
    assert!(ran.lines()[0].starts_with(&format!("restored {first} from commit {} (", &good[..12])), "{}", ran.out);
    assert_eq!(fs::read_to_string(path(&first)).unwrap(), whole);
    // Of what no commit has whole nothing is put where it would be refused.
    fs::write(path("torn.jsonl"), "{").unwrap();
    git(&dir, ["add", "-A"]);
    git(&dir, ["commit", "-q", "-m", "torn"]);
    fs::remove_file(path("torn.jsonl")).unwrap();
    fs::remove_file(path(&second)).unwrap();
    let ran = restore(home.path(), &[]).0.code(1);
    assert!(ran.err.contains("git knows no commit that has 1 file whole: torn.jsonl") && ran.out.contains("1 file is back"), "{ran:?}");
    assert!(!path("torn.jsonl").exists() && path(&second).exists());
}
