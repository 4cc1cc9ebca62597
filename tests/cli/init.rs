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

/// Story: `init --store DIR` made a store in the current directory, and the option was ignored wherever an argument names the store.
#[test]
fn the_option_names_the_store_where_the_argument_does_not_and_never_another_one() {
    let home = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| run_with(braidfs_command().args(arguments).current_dir(home.path()), b"");
    run(&["init", "--store", "deep/one"]).ok();
    assert!(home.path().join("deep/one/events").is_dir() && !home.path().join("events").exists());
    run_with(braidfs_command().arg("init").current_dir(home.path()).env("BRAIDFS_STORE", "two"), b"").ok();
    assert!(home.path().join("two/events").is_dir() && !home.path().join("events").exists());
    fs::create_dir(home.path().join("mnt")).unwrap();
    for arguments in [&["init", "three"][..], &["verify", "two"], &["mount", "two", "mnt"]] {
        let refused = run(&[arguments, &["--store", "deep/one"]].concat()).code(2);
        assert!(refused.err.contains("two stores are named") && refused.err.contains("hint: "), "{}", refused.err);
    }
    assert!(!home.path().join("three").exists());
    // The same one twice is one, and the environment is only asked where nothing else is said.
    run(&["verify", "deep/one", "--store", "./deep/../deep/one"]).ok();
    run(&["verify", "--store", "two"]).ok();
    run_with(braidfs_command().args(["init", "three"]).current_dir(home.path()).env("BRAIDFS_STORE", "two"), b"").ok();
    assert!(home.path().join("three/events").is_dir());
}
