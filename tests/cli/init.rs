//! `braidfs init`.

use std::fs;

use crate::support::git::git;
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

/// Story: what told a store from any other directory was a line in `.gitattributes`, and a repository that had such a file of its own got none:
/// no command found the store from inside.
#[test]
fn a_store_is_found_from_inside_whatever_git_files_were_there() {
    let home = tempfile::tempdir().unwrap();
    let inside = home.path().join("sub");
    fs::create_dir(&inside).unwrap();
    git(home.path(), ["init", "-q"]);
    for name in [".gitattributes", ".gitignore"] {
        fs::write(home.path().join(name), "*.png mine\n").unwrap();
    }
    let run = |arguments: &[&str], input: &str| run_with(braidfs_command().args(arguments).current_dir(&inside), input.as_bytes());
    let init = run(&["init", ".."], "").ok();
    assert!(init.err.contains(".gitattributes lacks") && init.err.contains(".gitignore lacks"), "{}", init.err);
    let setup = format!("hint: braidfs git setup --store {}\n", home.path().canonicalize().unwrap().display());
    assert!(init.err.ends_with(&setup), "{}", init.err);
    for name in [".gitattributes", ".gitignore"] {
        assert_eq!(fs::read_to_string(home.path().join(name)).unwrap(), "*.png mine\n");
    }
    run(&["status"], "").ok();
    assert!(eventcore_fs::FileEventStore::open(home.path()).unwrap().status().unwrap().is_clean());
    run(&["git", "setup"], "").ok();
    assert_eq!(run(&["init", ".."], "").ok().err, "");
    // A clone before the first transaction has only what git carries.
    git(home.path(), ["add", "-A"]);
    git(home.path(), ["commit", "-q", "-m", "a store"]);
    let clone = home.path().join("clone");
    git(home.path(), ["clone", "-q", ".", "clone"]);
    run_with(braidfs_command().arg("status").current_dir(&clone), b"").ok();
    run(&["append"], "{\"stream\":\"s\",\"type\":\"T\",\"data\":1}\n").ok();
    assert_eq!(run(&["log"], "").ok().out.lines().count(), 1);
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
