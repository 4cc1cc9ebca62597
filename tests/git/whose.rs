//! Whose the branches of a fork are: their files are named after who brought them to git, as soon as git has told.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use serde_json::Value;

use crate::stage::{Copy, clone, pull, repository};
use crate::support::git::{git, git_command};
use crate::support::mount::Mount;
use crate::support::run::{braidfs_command, run_with};
use crate::support::wait::{eventually, eventually_some};

/// Commits everything as somebody.
fn commit_as(dir: &Path, author: &str) -> String {
    git(dir, ["add", "-A"]);
    run_with(git_command(dir).env("GIT_AUTHOR_NAME", author).args(["commit", "-q", "-m", "work"]), b"").ok();
    git(dir, ["rev-parse", "HEAD"]).out.trim().to_owned()
}

/// Two clones that have written one stream: ours did not commit to git, Bo did.
fn forked(home: &Path) -> (Copy, String) {
    let ours = repository(&home.join("ours"));
    ours.commit("a", 1);
    let theirs = clone(&ours.dir, &home.join("theirs"));
    theirs.append("a", 3);
    let commit = commit_as(&theirs.dir, "Bo \"Shepherd\" Peep");
    ours.append("a", 2);
    (ours, commit)
}

fn branches(report: &Value) -> Vec<Value> {
    report["streams"][0]["branches"].as_array().unwrap().clone()
}

#[test]
fn a_branch_is_named_after_its_author_once_git_tells_and_the_plain_name_stays() {
    let home = tempfile::tempdir().unwrap();
    let (ours, commit) = forked(home.path());
    let dir = ours.dir.clone();
    drop(ours);
    let mount = Mount::start(&dir);
    pull(&dir, Path::new("../theirs"));
    let id = eventually_some("the fork shows", || mount.list("forks").into_iter().next());
    let listed = || mount.list(&format!("forks/{id}/streams/a"));
    let report = || mount.read_json(&format!("forks/{id}/report.json"));
    let plain: Vec<String> = branches(&report()).iter().map(|branch| branch["replica_id"].as_str().unwrap()[..8].to_owned()).collect();
    let path = |name: &str| mount.join(format!("forks/{id}/streams/a/{name}.jsonl"));
    // Held open from before git was asked, or right after: either way it stays what it is.
    let mut held: Vec<fs::File> = plain.iter().map(|name| fs::File::open(path(name)).unwrap()).collect();

    let bo = |branch: &Value| branch["author"] == "Bo \"Shepherd\" Peep";
    let named = eventually_some("git tells whose one branch is", || branches(&report()).into_iter().find(bo));
    assert_eq!(named["commit"], commit.as_str());
    let name = named["name"].as_str().unwrap();
    assert_eq!(name, format!("{}-Bo-Shepherd-Peep-{}", &named["replica_id"].as_str().unwrap()[..8], &commit[..8]));
    let other = branches(&report()).into_iter().find(|branch| !bo(branch)).unwrap();
    // Nobody has committed ours to git yet.
    assert_eq!((&other["author"], &other["commit"]), (&Value::Null, &Value::Null));
    assert!(plain.iter().any(|plain| other["name"] == plain.as_str()));
    let mut expected = ["base", name, other["name"].as_str().unwrap()].map(|name| format!("{name}.jsonl"));
    expected.sort();
    assert_eq!(listed(), expected);
    let readme = mount.read(&format!("forks/{id}/README.md"));
    assert!(readme.contains(&format!("brought to git by \"Bo \\\"Shepherd\\\" Peep\" in commit {commit}")), "{readme}");
    assert!(readme.contains(&format!("streams/a/{name}.jsonl")), "{readme}");

    git(&dir, ["add", "-A"]);
    git(&dir, ["commit", "-q", "-m", "ours"]);
    eventually("a commit to git alone is noticed", || branches(&report()).iter().all(|branch| branch["author"].is_string()));
    let findings = |kind: &str| mount.read_json("status.json")["findings"].as_array().unwrap().iter().filter(|f| f["kind"] == kind).count();
    eventually("what is committed is no finding any more", || findings("uncommitted") == 0);
    for (plain, held) in plain.iter().zip(&mut held) {
        let shown = listed().into_iter().find(|name| name.starts_with(plain.as_str())).unwrap();
        let mut before = String::new();
        held.read_to_string(&mut before).unwrap();
        assert_eq!(before.lines().count(), 1);
        assert_eq!(mount.read(&format!("forks/{id}/streams/a/{shown}")), before);
        assert_eq!(fs::read_to_string(path(plain)).unwrap(), before);
    }
    drop(held);
    // The past is that of the files alone.
    let at = mount.list(&format!("at/HEAD/forks/{id}/streams/a"));
    assert!(at.iter().all(|name| name == "base.jsonl" || plain.iter().any(|plain| *name == format!("{plain}.jsonl"))), "{at:?}");
    mount.unmount();
}

#[test]
fn the_command_line_asks_git_itself() {
    let home = tempfile::tempdir().unwrap();
    let (ours, commit) = forked(home.path());
    pull(&ours.dir, Path::new("../theirs"));
    ours.follows();
    let dir = ours.dir.clone();
    drop(ours);
    let forks = |arguments: &[&str]| run_with(braidfs_command().arg("--store").arg(&dir).args(arguments), b"");
    assert!(forks(&["forks"]).ok().out.contains(&format!("-Bo-Shepherd-Peep-{} +1", &commit[..8])));
    let json = forks(&["--format", "json", "forks"]).ok().json();
    assert_eq!(branches(&json).iter().filter(|branch| branch["commit"] == commit.as_str()).count(), 1);
    let asked = forks(&["reconcile", "--with", "cat"]).code(1);
    assert!(asked.err.contains("the answer of program 'cat'"), "{}", asked.err);
    let unaware = br#"{"stream":"a","type":"T","data":1}"#;
    let refused = run_with(braidfs_command().arg("--store").arg(&dir).args(["append", "--format", "json"]), unaware).code(1);
    let error: Value = serde_json::from_str(&refused.err).unwrap();
    assert_eq!(error["error"]["conflicts"], serde_json::json!([json]));
}
