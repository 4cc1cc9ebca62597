//! `braidfs init`.

use std::fs;

use crate::support::run::{braidfs, braidfs_command, run_with};

#[test]
fn a_directory_becomes_a_store() {
    let home = tempfile::tempdir().unwrap();
    let store = home.path().join("deep/store");
    let ran = braidfs(["init", store.to_str().unwrap(), "--format", "json"]).ok();
    assert_eq!(ran.json()["created"], true);
    assert!(store.join("events").is_dir());
    assert_eq!(fs::read_to_string(store.join(".gitignore")).unwrap(), "/tmp/\n/checkpoints/\n/locks/\n/index/\n/.eventcore/\n/.lock\n");
    assert_eq!(fs::read_to_string(store.join(".gitattributes")).unwrap(), "events/*.jsonl -text merge=binary\n");
}

#[test]
fn what_is_there_stays() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join(".gitignore"), "mine\n").unwrap();
    let mut init = braidfs_command();
    init.arg("init").current_dir(home.path());
    assert!(run_with(&mut init, b"").ok().out.contains("is a store now"));
    assert!(run_with(&mut init, b"").ok().out.contains("was a store already"));
    assert_eq!(fs::read_to_string(home.path().join(".gitignore")).unwrap(), "mine\n");
}

#[test]
fn a_file_is_no_place_for_a_store() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let ran = braidfs(["init", file.path().to_str().unwrap()]).code(1);
    assert!(ran.err.contains("is not a directory") && ran.err.contains("hint: "), "{}", ran.err);
}
