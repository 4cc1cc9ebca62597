//! Attributes that have git keep other bytes than were written, and files that it should never have had.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::stage::{Copy, clone, repository};
use crate::support::git::git;
use crate::support::run::{Ran, bash, braidfs_command, run_with};

fn braidfs(dir: &Path, arguments: &[&str]) -> Ran {
    run_with(braidfs_command().arg("--store").arg(dir).args(arguments).env("GIT_CONFIG_GLOBAL", "/dev/null"), b"")
}

/// What `doctor` tells, as kind and message; then the hints.
fn told(dir: &Path) -> (Vec<String>, Vec<String>) {
    let found = braidfs(dir, &["--format", "json", "doctor"]).json()["findings"].clone();
    let text = |finding: &Value, field: &str| finding[field].as_str().unwrap().to_owned();
    let findings = found.as_array().unwrap();
    let messages = findings.iter().map(|finding| format!("{}: {}", text(finding, "kind"), text(finding, "message")));
    (messages.collect(), findings.iter().map(|finding| text(finding, "hint")).collect())
}

/// Runs a hint in the store's directory as it stands.
#[track_caller]
fn follow(dir: &Path, hint: &str) {
    let bin = Path::new(env!("CARGO_BIN_EXE_braidfs")).parent().unwrap();
    let names = "export GIT_AUTHOR_NAME=Ada GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=Ada GIT_COMMITTER_EMAIL=a@example.org";
    bash(dir, &format!("export PATH={}:$PATH GIT_CONFIG_GLOBAL=/dev/null; {names}; {hint}", bin.display())).ok();
}

/// Story: in a clone that lacked the filter nothing but pointers was there, and an append began a second root, exit 0.
#[test]
fn a_clone_that_lacks_the_filter_takes_nothing_until_it_has_it() {
    let home = tempfile::tempdir().unwrap();
    let (dir, lacking) = (home.path().join("store"), home.path().join("lacking"));
    let copy = repository(&dir);
    git(&dir, ["config", "filter.lfs.clean", "sed s/^/POINTER/"]);
    git(&dir, ["config", "filter.lfs.smudge", "sed s/^POINTER//"]);
    fs::write(dir.join(".gitattributes"), "*.jsonl filter=lfs -text\n").unwrap();
    (1..=2).for_each(|n| drop(copy.commit("a", n)));
    git(home.path(), ["clone", "-q", dir.to_str().unwrap(), lacking.to_str().unwrap()]);
    let append = || run_with(braidfs_command().current_dir(&lacking).arg("append"), b"{\"stream\":\"a\",\"type\":\"T\",\"data\":3}\n");
    let refused = append().code(1).err;
    assert!(
        refused.contains("2 files of \"events/\" are refused and no other is there") && refused.contains("braidfs doctor"),
        "{refused}"
    );
    assert_eq!(fs::read_dir(lacking.join("events")).unwrap().count(), 2);
    git(&lacking, ["config", "filter.lfs.smudge", "sed s/^POINTER//"]);
    bash(&lacking, "rm events/* && git checkout -q -- events").ok();
    append().ok();
    let log = Copy::open(&lacking).text("log.jsonl");
    let versions: Vec<u64> =
        log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["stream_version"].as_u64().unwrap()).collect();
    assert_eq!(versions, [1, 2, 3]);
}

/// A filter stands for git LFS or one that encrypts: git has another form of each file, and what is read of git is read back through it.
#[test]
fn what_a_filter_of_git_made_is_read_back_through_it() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    let copy = repository(&dir);
    git(&dir, ["config", "filter.lfs.clean", "sed s/^/POINTER/"]);
    git(&dir, ["config", "filter.lfs.smudge", "sed s/^POINTER//"]);
    fs::write(dir.join(".gitattributes"), "*.jsonl filter=lfs diff=lfs merge=lfs -text\n").unwrap();
    braidfs(&dir, &["git", "setup"]).ok();
    let attributes = fs::read_to_string(dir.join(".gitattributes")).unwrap();
    assert_eq!(attributes, "*.jsonl filter=lfs diff=lfs merge=lfs -text\nevents/*.jsonl -text merge=binary\n", "to encrypt is a decision");
    let [first, second] = [1, 2].map(|n| {
        let name = format!("{}.jsonl", copy.append("a", n).transaction_id);
        braidfs(&dir, &["sync", "--offline"]).ok();
        name
    });
    drop(copy);
    assert!(git(&dir, ["show", &format!("HEAD:events/{first}")]).out.starts_with("POINTER"));
    let (messages, hints) = told(&dir);
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(messages[0].starts_with("git-setup: ") && messages[0].contains("the filter \"lfs\""), "{messages:?}");
    let path = dir.join("events").join(&first);
    let whole = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let then = braidfs(&dir, &["log", "--at", "HEAD"]).ok();
    assert_eq!(then.lines().len(), 2, "{then:?}");
    // Where the filter is missing nobody is told to give the file up.
    git(&dir, ["config", "filter.lfs.smudge", "false"]);
    let failed = braidfs(&dir, &["restore"]);
    assert_eq!(failed.code, 1, "{}", failed.err);
    assert!(failed.err.contains("its filter \"lfs\"") && !failed.err.contains("--forget"), "{}", failed.err);
    git(&dir, ["config", "filter.lfs.smudge", "sed s/^POINTER//"]);
    braidfs(&dir, &["restore"]).ok();
    assert_eq!(fs::read_to_string(&path).unwrap(), whole);
    // What git had whole in its form is no edit that git never had.
    fs::write(&path, whole.replace("\"n\":1", "\"n\":7")).unwrap();
    let hint = told(&dir).1.into_iter().find(|hint| hint.contains("git checkout ")).unwrap();
    follow(&dir, &hint);
    assert_eq!(fs::read_to_string(&path).unwrap(), whole);
    // Who takes the filter away has git take the files as they are.
    follow(&dir, hints[0].split("   #").next().unwrap());
    let synced = braidfs(&dir, &["--format", "json", "sync", "--offline"]).ok().json();
    assert_eq!(synced["committed_mended"], 2, "{synced}");
    assert_eq!(git(&dir, ["show", &format!("HEAD:events/{first}")]).out, whole);
    assert_eq!(told(&dir).0, [] as [String; 0]);
    fs::remove_file(dir.join("events").join(&second)).unwrap();
    braidfs(&dir, &["restore"]).ok();
}

/// Story: in a clone where the filter was not set up every file had the hint to move it away.
#[test]
fn a_clone_without_the_filter_is_told_to_set_it_up() {
    for filter in ["lfs", "crypt"] {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("store");
        let copy = repository(&dir);
        let set_up = |dir: &Path| {
            git(dir, ["config", &format!("filter.{filter}.clean"), "sed s/^/POINTER/"]);
            git(dir, ["config", &format!("filter.{filter}.smudge"), "sed s/^POINTER//"]);
        };
        set_up(&dir);
        fs::write(dir.join(".gitattributes"), format!("*.jsonl filter={filter} -text\nevents/*.jsonl -text merge=binary\n")).unwrap();
        let name = format!("{}.jsonl", copy.append("a", 1).transaction_id);
        braidfs(&dir, &["sync", "--offline"]).ok();
        drop(copy);
        let theirs = home.path().join("theirs");
        git(home.path(), ["clone", "-q", dir.to_str().unwrap(), theirs.to_str().unwrap()]);
        assert!(fs::read_to_string(theirs.join("events").join(&name)).unwrap().starts_with("POINTER"));
        let hints = told(&theirs).1;
        let hint = hints.iter().find(|hint| hint.contains(" git checkout HEAD ")).unwrap_or_else(|| panic!("{hints:?}"));
        let how = if filter == "lfs" { "git lfs install".to_owned() } else { format!("git config filter.{filter}.smudge COMMAND") };
        assert!(hint.contains(&format!("# once the filter \"{filter}\" is set up here ({how}): ")), "{hint}");
        set_up(&theirs);
        follow(&theirs, hint);
        assert_eq!(braidfs(&theirs, &["log"]).ok().lines().len(), 1);
    }
}

/// In a clone such files are refused, and a checkout sees nothing to do as long as git takes them for unchanged.
#[test]
fn attributes_that_rewrite_files_are_told_with_what_brings_these_back() {
    for attribute in ["ident", "working-tree-encoding=UTF-16"] {
        let home = tempfile::tempdir().unwrap();
        let copy = repository(&home.path().join("store"));
        let line = "{\"stream_id\":\"a\",\"event_type\":\"Counted\",\"event_data\":\"$Id$\"}\n";
        run_with(braidfs_command().arg("--store").arg(&copy.dir).arg("append"), line.as_bytes()).ok();
        copy.save("an event");
        fs::write(copy.dir.join(".gitattributes"), format!("events/*.jsonl -text merge=binary {attribute}\n")).unwrap();
        git(&copy.dir, ["add", ".gitattributes"]);
        git(&copy.dir, ["commit", "-q", "-m", "attributes"]);
        let dir = home.path().join("theirs");
        drop(clone(&copy.dir, &dir));
        // What is as old as the index is looked at again.
        bash(&dir, "touch -d '1 minute' .git/index").ok();
        let (messages, hints) = told(&dir);
        let rewrites = "git-setup: git writes other bytes into events/ than were committed";
        assert!(messages.iter().any(|message| message.starts_with(rewrites)), "{messages:?}");
        assert!(messages.iter().any(|message| message.starts_with("quarantined: ")), "{messages:?}");
        for wanted in ["braidfs git setup", "git checkout "] {
            follow(&dir, hints.iter().find(|hint| hint.contains(wanted)).unwrap());
        }
        let attributes = fs::read_to_string(dir.join(".gitattributes")).unwrap();
        assert!(attributes.ends_with("\nevents/*.jsonl -ident -working-tree-encoding\n"), "{attributes}");
        assert_eq!(told(&dir).0, [] as [String; 0], "{attribute}");
        // Where a stronger file says it once more, no line is added again.
        fs::write(dir.join("events/.gitattributes"), format!("*.jsonl {attribute}\n")).unwrap();
        let (messages, hints) = told(&dir);
        assert!(messages[0].ends_with("events/.gitattributes overrules .gitattributes"), "{messages:?}");
        follow(&dir, &hints[0]);
        assert_eq!(told(&dir).0, [] as [String; 0], "{attribute}");
    }
}

/// An ignore does nothing to what git has already: the next pull would bring another copy's identity.
#[test]
fn own_files_that_git_has_are_told_until_it_has_them_no_more() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    copy.commit("a", 1);
    let dir = copy.dir.clone();
    git(&dir, ["add", "-f", ".eventcore", "index"]);
    git(&dir, ["commit", "-q", "-m", "everything, by mistake"]);
    drop(copy);
    let (messages, hints) = told(&dir);
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(messages[0].starts_with("git-setup: git has \".eventcore/") && messages[0].contains("own"), "{messages:?}");
    assert!(braidfs(&dir, &["git", "setup"]).ok().out.contains(&hints[0]));
    let other = clone(&dir, &home.path().join("other")).dir;
    let identity = |dir: &Path| fs::read_to_string(dir.join(".eventcore/replica_id")).unwrap();
    let ours = identity(&dir);
    follow(&dir, &hints[0]);
    assert_eq!((told(&dir).0, identity(&dir)), (Vec::new(), ours.clone()));
    // The other clone takes them out itself before it pulls, and so keeps its own.
    follow(&other, &told(&other).1.into_iter().find(|hint| hint.contains("git rm ")).unwrap());
    let theirs = identity(&other);
    git(&other, ["pull", "-q", "--no-rebase", "--no-edit", dir.to_str().unwrap(), "main"]);
    assert_eq!(identity(&other), theirs);
    assert!(Copy::open(&other).count() == 1 && dir.join("index/ingestion.log").exists());
}
