//! Sparse checkouts without `events/`: what looks like an empty store is told, and nothing begins a second root.

use std::fs;
use std::path::Path;

use braidfs::model::FindingKind;
use nix::errno::Errno;
use serde_json::Value;

use crate::stage::{Copy, repository, store_in};
use crate::support::git::git;
use crate::support::run::{Ran, bash, braidfs_command, run_with};
use crate::support::wait::eventually;

const CURE: &str = "git sparse-checkout add events";
const EVENT: &str = "{\"stream\":\"b\",\"type\":\"Counted\",\"data\":{\"n\":9}}\n";

/// `braidfs` as somebody runs it in the store's directory.
fn braidfs(dir: &Path, arguments: &[&str]) -> Ran {
    run_with(braidfs_command().current_dir(dir).args(arguments).env("GIT_CONFIG_GLOBAL", "/dev/null"), EVENT.as_bytes())
}

fn findings(dir: &Path, command: &str) -> Value {
    braidfs(dir, &["--format", "json", command]).json()["findings"].clone()
}

#[test]
fn a_sparse_clone_says_what_it_lacks_and_takes_nothing() {
    let home = tempfile::tempdir().unwrap();
    let whole = repository(&home.path().join("whole"));
    (1..=3).for_each(|n| drop(whole.commit("a", n)));
    let dir = home.path().join("sparse");
    git(home.path(), ["clone", "-q", "--sparse", whole.dir.to_str().unwrap(), dir.to_str().unwrap()]);
    for command in ["status", "doctor"] {
        let told = findings(&dir, command);
        let told = told.as_array().unwrap();
        assert_eq!(told.len(), 1, "{command}: {told:?}");
        assert_eq!((&told[0]["kind"], &told[0]["severity"], &told[0]["hint"]), (&"vanished".into(), &"error".into(), &CURE.into()));
        assert!(told[0]["message"].as_str().unwrap().starts_with("3 transaction files that git has are left out"), "{told:?}");
    }
    braidfs(&dir, &["doctor"]).code(1);
    let refused = braidfs(&dir, &["append"]).code(1);
    assert!(refused.err.contains("left out of \"events/\" by a sparse checkout") && refused.err.contains(CURE), "{}", refused.err);
    // Who cannot ask git does not know better.
    let bin = env!("CARGO_BIN_EXE_braidfs");
    let unasked = bash(&dir, &format!("echo '{{\"stream\":\"a\",\"type\":\"T\",\"data\":1}}' | PATH=/empty {bin} append")).code(1);
    assert!(unasked.err.contains("git does not tell whether a sparse checkout leaves it out"), "{}", unasked.err);
    assert_eq!(fs::read_dir(dir.join("events")).unwrap().count(), 0);
    assert!(!dir.join(".eventcore/replica_id").exists(), "nobody wrote here");
    bash(&dir, CURE).ok();
    assert_eq!(findings(&dir, "doctor"), Value::Array(Vec::new()));
    braidfs(&dir, &["append"]).ok();
    assert_eq!(Copy::open(&dir).text("log.jsonl").lines().count(), 4);
}

#[test]
fn a_mount_whose_events_are_taken_out_tells_it_and_goes_on_from_its_heads_once_they_are_back() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store")).mounted();
    copy.commit("a", 1);
    copy.follows();
    let (head, replica) = (copy.braid.epoch().index.transactions.heads(), fs::read(copy.dir.join(".eventcore/replica_id")).unwrap());
    git(&copy.dir, ["sparse-checkout", "set", "--cone", "projections"]);
    eventually("it is told", || copy.mount().read_json("status.json")["findings"].to_string().contains(CURE));
    assert_eq!(copy.finding(FindingKind::Vanished), CURE);
    let refused = copy.mount().append(EVENT).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(Errno::ESTALE as i32));
    bash(&copy.dir, CURE).ok();
    copy.no_finding(FindingKind::Vanished);
    copy.follows();
    copy.mount().append(EVENT).unwrap();
    copy.follows();
    assert_eq!(fs::read(copy.dir.join(".eventcore/replica_id")).unwrap(), replica, "it is the same replica");
    let index = &copy.braid.epoch().index.transactions;
    let last = index.find_valid(index.heads()[0]).unwrap();
    assert_eq!(index.parents(last).map(|parent| index.id(parent)).collect::<Vec<_>>(), head);
}

#[test]
fn patterns_without_cones_have_another_cure() {
    let home = tempfile::tempdir().unwrap();
    let top = home.path().join("top");
    let copy = store_in(&top, &top.join("a store"));
    copy.commit("a", 1);
    git(&top, ["sparse-checkout", "set", "--no-cone", "/a store/.gitattributes"]);
    copy.follows();
    let cure = copy.finding(FindingKind::Vanished);
    assert_eq!(cure, "git -C ../ sparse-checkout add '/a store/events/'");
    bash(&copy.dir, &cure).ok();
    copy.no_finding(FindingKind::Vanished);
    assert_eq!(copy.text("log.jsonl").lines().count(), 1);
}

/// A store that is empty for any other reason takes its first event.
#[test]
fn a_new_store_in_a_sparse_checkout_begins() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    fs::create_dir(copy.dir.join("other")).unwrap();
    fs::write(copy.dir.join("other/file"), "").unwrap();
    copy.save("other");
    git(&copy.dir, ["sparse-checkout", "set", "--cone", "projections"]);
    copy.append("a", 1);
    copy.no_finding(FindingKind::Vanished);
}
