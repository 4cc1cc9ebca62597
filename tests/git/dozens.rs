//! Of dozens of files each is told as rightly, and with as good a cure, as a single one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::stage::repository;
use crate::support::git::git;
use crate::support::run::{braidfs_command, run_with};

const DOZENS: u64 = 27;

fn doctor(dir: &Path, arguments: &[&str]) -> Vec<Value> {
    let mut braidfs = braidfs_command();
    braidfs.arg("--store").arg(dir).args(["--format", "json", "doctor"]).args(arguments).env("GIT_CONFIG_GLOBAL", "/dev/null");
    run_with(&mut braidfs, b"").json()["findings"].as_array().unwrap().clone()
}

fn hints(found: &[Value], kind: &str) -> Vec<String> {
    found.iter().filter(|finding| finding["kind"] == kind).map(|finding| finding["hint"].as_str().unwrap().to_owned()).collect()
}

/// A store of so many committed transactions, and the names of their files.
fn dozens() -> (TempDir, PathBuf, Vec<String>) {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    let names = (0..DOZENS).map(|n| format!("{}.jsonl", copy.append(&format!("s-{n}"), n).transaction_id)).collect();
    copy.save("dozens");
    (home, copy.dir.clone(), names)
}

fn rewrite_all(dir: &Path, names: &[String], from: &str, to: &str) {
    for name in names {
        let path = dir.join("events").join(name);
        let text = fs::read_to_string(&path).unwrap();
        assert_ne!(text, text.replacen(from, to, 1));
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    }
}

/// One look at the store names what cures all of it.
#[track_caller]
fn cured_by_one_look(dir: &Path, kind: &str) {
    let cures = hints(&doctor(dir, &[]), kind);
    assert_eq!(cures.len() as u64, DOZENS);
    run_with(Command::new("bash").arg("-ec").arg(cures.join("\n")).current_dir(dir), b"").ok();
    assert_eq!(hints(&doctor(dir, &[]), kind), [] as [&str; 0]);
}

#[test]
fn each_of_dozens_of_edited_files_gets_its_first_bytes_back() {
    let (_home, dir, names) = dozens();
    rewrite_all(&dir, &names, "created_at\":\"2", "created_at\":\"1");
    git(&dir, ["commit", "-q", "-a", "-m", "edits"]);
    cured_by_one_look(&dir, "edited");
}

#[test]
fn each_of_dozens_of_refused_files_gets_its_first_bytes_back() {
    let (_home, dir, names) = dozens();
    rewrite_all(&dir, &names, "\"event_data\":{", "\"event_data\":{\"forged\":1,");
    git(&dir, ["commit", "-q", "-a", "-m", "edits"]);
    cured_by_one_look(&dir, "quarantined");
}

#[test]
fn each_of_dozens_of_missing_parents_is_told_with_the_commit_that_has_it() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    let names: Vec<String> = (0..2 * DOZENS).map(|n| format!("{}.jsonl", copy.append("a", n).transaction_id)).collect();
    copy.save("dozens");
    let dir = copy.dir.clone();
    drop(copy);
    let has_it = format!("   # git has it in commit {}", git(&dir, ["rev-parse", "--short=12", "HEAD"]).out.trim());
    for parent in names.iter().step_by(2) {
        git(&dir, ["rm", "-q", &format!("events/{parent}")]);
    }
    git(&dir, ["commit", "-q", "-m", "a mistake"]);
    let hints = hints(&doctor(&dir, &[]), "dangling");
    assert_eq!(hints.len() as u64, DOZENS);
    assert!(hints.iter().all(|hint| hint.ends_with(&has_it)), "{hints:?}");
}

/// The bytes of before are what the last commit has, though git remembers the size that they had with other line ends.
#[test]
fn dozens_of_files_whose_line_ends_were_mended_were_not_edited() {
    let (home, dir, names) = dozens();
    git(&dir, ["rm", "-q", ".gitattributes"]);
    git(&dir, ["commit", "-q", "-m", "none"]);
    git(home.path(), ["clone", "-q", "-c", "core.autocrlf=true", dir.to_str().unwrap(), "clone"]);
    let clone = home.path().join("clone");
    assert_eq!(hints(&doctor(&clone, &[]), "healed").len() as u64, DOZENS);
    let found = doctor(&clone, &["--fix"]);
    assert_eq!(found, [] as [Value; 0]);
    for name in &names {
        assert_eq!(fs::read(clone.join("events").join(name)).unwrap(), fs::read(dir.join("events").join(name)).unwrap());
    }
    assert_eq!(doctor(&clone, &[]), [] as [Value; 0]);
}
