//! Each command that the doctor names, run as it stands: then its finding is gone.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::stage::{Copy, repository};
use crate::support::git::git;
use crate::support::run::{Ran, braidfs_command, run_with};
use crate::support::wait::eventually_eq;

/// What the doctor says of a store.
fn doctor(dir: &Path, arguments: &[&str]) -> Ran {
    let mut command = braidfs_command();
    run_with(
        command.arg("--store").arg(dir).args(["--format", "json", "doctor"]).args(arguments).env("GIT_CONFIG_GLOBAL", "/dev/null"),
        b"",
    )
}

fn findings(dir: &Path) -> Vec<Value> {
    doctor(dir, &[]).json()["findings"].as_array().unwrap().clone()
}

/// Runs a command as a person would, in the store's directory.
fn as_it_stands(dir: &Path, command: &str) {
    let binary = Path::new(env!("CARGO_BIN_EXE_braidfs")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let mut bash = Command::new("bash");
    bash.arg("-c").arg(command).current_dir(dir).env("PATH", path).env("GIT_CONFIG_GLOBAL", "/dev/null").env_remove("BRAIDFS_STORE");
    run_with(&mut bash, b"").ok();
}

/// Breaks a store of three committed transactions, and cures it by what the doctor says.
#[track_caller]
fn cured(kind: &str, harm: impl FnOnce(&Copy, &[String])) {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    let names: Vec<String> = (1..=3).map(|n| copy.commit("a", n)).collect();
    assert_eq!(findings(&copy.dir), [] as [Value; 0], "a whole store");
    let whole = copy.text("log.jsonl");
    harm(&copy, &names);
    let (dir, text) = (copy.dir.clone(), |copy: &Copy| copy.text("log.jsonl"));
    drop(copy);
    let found = findings(&dir);
    let finding = found.iter().find(|finding| finding["kind"] == kind).unwrap_or_else(|| panic!("{kind} is not in {found:?}"));
    as_it_stands(&dir, finding["hint"].as_str().unwrap());
    let left = findings(&dir);
    assert!(left.iter().all(|finding| finding["kind"] != kind), "{kind} is still in {left:?}");
    if kind != "uncommitted" {
        // What was saved of a file is compared with it in the background.
        let again = Copy::open(&dir);
        eventually_eq(&whole, || text(&again));
    }
}

fn rewrite(copy: &Copy, name: &str, change: impl FnOnce(String) -> String) {
    let path = copy.dir.join("events").join(name);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, change(text)).unwrap();
}

fn age(path: &Path, ago: &str) {
    let ran = run_with(Command::new("touch").args(["-d", ago]).arg(path), b"");
    ran.ok();
}

#[test]
fn vanished() {
    cured("vanished", |copy, names| fs::remove_file(copy.dir.join("events").join(&names[2])).unwrap());
}

#[test]
fn vanished_by_a_branch_switch() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    copy.commit("a", 1);
    git(&copy.dir, ["switch", "-q", "-c", "side"]);
    copy.commit("a", 2);
    let whole = copy.text("log.jsonl");
    git(&copy.dir, ["switch", "-q", "main"]);
    copy.follows();
    let dir = copy.dir.clone();
    drop(copy);
    let found = findings(&dir);
    let finding = found.iter().find(|finding| finding["kind"] == "vanished").unwrap_or_else(|| panic!("{found:?}"));
    as_it_stands(&dir, finding["hint"].as_str().unwrap());
    assert!(findings(&dir).iter().all(|finding| finding["kind"] != "vanished"));
    let again = Copy::open(&dir);
    eventually_eq(&whole, || again.text("log.jsonl"));
}

#[test]
fn dangling() {
    cured("dangling", |copy, names| {
        git(&copy.dir, ["rm", "-q", &format!("events/{}", names[0])]);
        git(&copy.dir, ["commit", "-q", "-m", "a mistake"]);
    });
}

#[test]
fn edited() {
    cured("edited", |copy, names| rewrite(copy, &names[1], |text| text.replacen("created_at\":\"2", "created_at\":\"1", 1)));
}

#[test]
fn healed() {
    cured("healed", |copy, names| rewrite(copy, &names[1], |text| text.replace('\n', "\r\n")));
}

#[test]
fn misnamed() {
    cured("misnamed", |copy, names| {
        git(&copy.dir, ["mv", &format!("events/{}", names[1]), "events/odd name.jsonl"]);
    });
}

#[test]
fn duplicate() {
    cured("duplicate", |copy, names| {
        fs::copy(copy.dir.join("events").join(&names[1]), copy.dir.join("events/copy.jsonl")).unwrap();
    });
}

#[test]
fn uncommitted() {
    cured("uncommitted", |copy, _| drop(copy.append("b", 9)));
}

#[test]
fn git_lock() {
    cured("git-lock", |copy, _| {
        let lock = copy.dir.join(".git/index.lock");
        fs::write(&lock, "").unwrap();
        age(&lock, "20 minutes ago");
    });
}

#[test]
fn stale_temporary() {
    cured("stale-temporary", |copy, _| {
        fs::create_dir_all(copy.dir.join("tmp")).unwrap();
        fs::write(copy.dir.join("tmp/left.tmp"), "half").unwrap();
        age(&copy.dir.join("tmp/left.tmp"), "2 hours ago");
    });
}

#[test]
fn git_setup() {
    cured("git-setup", |copy, _| {
        fs::write(copy.dir.join(".gitattributes"), "*.txt text\n").unwrap();
        fs::write(copy.dir.join(".gitignore"), "/index/\n").unwrap();
        copy.save("what git knows less of");
    });
}

#[test]
fn what_is_safe_is_mended_at_once_and_the_rest_stays_and_ends_with_1() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    let names: Vec<String> = (1..=3).map(|n| copy.commit("a", n)).collect();
    let (whole, dir) = (copy.text("log.jsonl"), copy.dir.clone());
    rewrite(&copy, &names[0], |text| text.replace('\n', "\r\n"));
    fs::write(dir.join(".gitattributes"), "*.txt text\n").unwrap();
    copy.braid.refresh().unwrap();
    drop(copy);
    let log = dir.join("index/ingestion.log");
    let torn = fs::read_to_string(&log).unwrap() + "{\"event_id\":";
    fs::write(&log, torn).unwrap();
    let mended = doctor(&dir, &["--fix"]).ok().json();
    assert_eq!(mended["findings"], Value::Array(Vec::new()), "{mended}");
    assert!(mended["mended"].as_array().unwrap().len() >= 2, "{mended}");
    assert!(fs::read_to_string(&log).unwrap().ends_with("}\n"));
    fs::remove_file(dir.join("events").join(&names[1])).unwrap();
    doctor(&dir, &["--fix"]).code(1);
    as_it_stands(&dir, "braidfs restore && braidfs doctor");
    let again = Copy::open(&dir);
    eventually_eq(&whole, || again.text("log.jsonl"));
}
