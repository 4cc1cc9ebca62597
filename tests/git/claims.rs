//! Several files claim one id, none of them under the name of the id.

use std::fs;
use std::path::Path;
use std::process::Command;

use braidfs::braid::Braid;
use serde_json::Value;

use crate::stage::{Copy, repository};
use crate::support::run::{braidfs_command, run_with};

fn refused(dir: &Path) -> Vec<Value> {
    let ran =
        run_with(braidfs_command().arg("--store").arg(dir).args(["--format", "json", "doctor"]).env("GIT_CONFIG_GLOBAL", "/dev/null"), b"");
    ran.json()["findings"].as_array().unwrap().iter().filter(|finding| finding["kind"] == "quarantined").cloned().collect()
}

/// Puts the only transaction under three other names, each time with other bytes.
fn claim(dir: &Path, id: &str) {
    let path = dir.join(format!("events/{id}.jsonl"));
    let text = fs::read_to_string(&path).unwrap();
    fs::remove_file(path).unwrap();
    let (header, payload) = text.split_once('\n').unwrap();
    let mut header: serde_json::Map<String, Value> = serde_json::from_str(header).unwrap();
    header.remove("content_hash");
    for name in ["one", "two", "three"] {
        let text = format!("{}\n{}", Value::from(header.clone()), payload.replace("Counted", name));
        fs::write(dir.join(format!("events/{name}.jsonl")), text).unwrap();
    }
}

/// All are told the same, so whoever follows each hint loses none.
#[track_caller]
fn one_of_them_stays(dir: &Path) {
    let found = refused(dir);
    let hints: Vec<&str> = found.iter().map(|finding| finding["hint"].as_str().unwrap()).collect();
    let hint = "mv events/three.jsonl events/two.jsonl .   # then events/one.jsonl counts again";
    assert_eq!(hints, [hint; 3], "{found:?}");
    run_with(Command::new("bash").arg("-ec").arg(hint).current_dir(dir), b"").ok();
    assert_eq!(refused(dir), [] as [Value; 0]);
    assert_eq!(Copy::open(dir).count(), 1);
}

#[test]
fn with_git() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    let (dir, id) = (copy.dir.clone(), copy.append("a", 1).transaction_id.to_string());
    drop(copy);
    claim(&dir, &id);
    one_of_them_stays(&dir);
}

#[test]
fn without_git() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    Braid::init(&dir).unwrap();
    let copy = Copy::open(&dir);
    let id = copy.append("a", 1).transaction_id.to_string();
    drop(copy);
    claim(&dir, &id);
    one_of_them_stays(&dir);
}
