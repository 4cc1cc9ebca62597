//! Everything that git does to a store that is open and mounted: views follow, nothing is lost, what is wrong is told.

use std::fs;
use std::path::Path;
use std::process::Command;

use braidfs::braid::{Braid, OpenOptions, TravelError};
use braidfs::model::FindingKind;
use serde_json::json;

use crate::stage::{self, Copy, pull, store_in};
use crate::support::git::{git, git_command};
use crate::support::run::{bash, braidfs_on, run_with};
use crate::support::store::TestStore;
use crate::support::wait::eventually;

fn home() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn repository(dir: &Path) -> Copy {
    stage::repository(dir).mounted()
}

fn clone(from: &Path, dir: &Path) -> Copy {
    stage::clone(from, dir).mounted()
}

fn open(dir: &Path) -> Copy {
    Copy::open(dir).mounted()
}

/// Main with one transaction, and `side` with two more; main has one more of its own.
fn two_branches(dir: &Path) -> Copy {
    let copy = repository(dir);
    copy.commit("a", 1);
    copy.on_branch("side", |copy| {
        copy.commit("a", 2);
        copy.commit("b", 3);
    });
    copy.commit("a", 4);
    copy
}

#[test]
fn a_merge_and_a_pull_bring_both_histories_together_on_every_clone() {
    let home = home();
    let ours = repository(&home.path().join("ours"));
    ours.commit("a", 1);
    let theirs = clone(&ours.dir, &home.path().join("theirs"));
    assert_eq!(theirs.text("log.jsonl"), ours.text("log.jsonl"));
    ours.commit("a", 2);
    theirs.commit("a", 3);
    theirs.commit("b", 4);
    git(&theirs.dir, ["pull", "-q", "--no-rebase", "--no-edit"]);
    pull(&ours.dir, &theirs.dir);
    for copy in [&ours, &theirs] {
        copy.follows();
        assert_eq!((copy.count(), copy.replicas()), (4, 2));
        assert_eq!(copy.braid.epoch().index.forks().conflicts().len(), 1);
    }
    assert_eq!(ours.text("log.jsonl"), theirs.text("log.jsonl"));
}

#[test]
fn a_branch_switch_takes_transactions_away_and_the_next_writer_has_a_new_id() {
    let home = home();
    let dir = home.path().join("store");
    let copy = two_branches(&dir);
    // Our last transaction stayed on `side`: the one on main is by another replica.
    assert_eq!(copy.replicas(), 2);
    git(&dir, ["switch", "-q", "side"]);
    copy.follows();
    assert_eq!(copy.count(), 3);
    copy.no_finding(FindingKind::IdentityCollision);
    git(&dir, ["merge", "-q", "--no-edit", "main"]);
    copy.follows();
    assert_eq!((copy.count(), copy.replicas()), (4, 2));
    copy.no_finding(FindingKind::IdentityCollision);
}

#[test]
fn an_octopus_merge_brings_three_branches_at_once() {
    let home = home();
    let dir = home.path().join("store");
    let copy = repository(&dir);
    copy.commit("a", 1);
    for (n, branch) in ["one", "two", "three"].into_iter().enumerate() {
        git(&dir, ["switch", "-q", "-c", branch, "main"]);
        copy.follows();
        copy.commit(branch, n as u64);
    }
    git(&dir, ["switch", "-q", "main"]);
    git(&dir, ["merge", "-q", "--no-edit", "one", "two", "three"]);
    copy.follows();
    assert_eq!(copy.count(), 4);
    assert_eq!(copy.braid.epoch().index.transactions.heads().len(), 3);
}

#[test]
fn rebase_squash_and_cherry_pick_move_files_and_the_views_follow() {
    let home = home();
    let dir = home.path().join("store");
    let copy = two_branches(&dir);
    git(&dir, ["cherry-pick", "side"]);
    copy.follows();
    // The second of two: the first one is missing, and git has it.
    let hint = copy.finding(FindingKind::Dangling);
    assert!(hint.starts_with("braidfs restore "), "{hint}");
    git(&dir, ["reset", "-q", "--hard", "HEAD~1"]);
    git(&dir, ["merge", "-q", "--squash", "side"]);
    git(&dir, ["commit", "-q", "-m", "squashed"]);
    copy.follows();
    assert_eq!(copy.count(), 4);
    git(&dir, ["reset", "-q", "--hard", "HEAD~1"]);
    git(&dir, ["rebase", "-q", "side"]);
    copy.follows();
    assert_eq!(copy.count(), 4);
    copy.no_finding(FindingKind::Dangling);
}

#[test]
fn a_reverted_merge_takes_its_events_away_and_its_return_gives_them_fresh_numbers() {
    let home = home();
    let dir = home.path().join("store");
    let copy = two_branches(&dir);
    git(&dir, ["merge", "-q", "--no-edit", "side"]);
    copy.follows();
    let merged = copy.text("log.jsonl");
    git(&dir, ["revert", "--no-edit", "-m", "1", "HEAD"]);
    copy.follows();
    assert_eq!(copy.count(), 2);
    copy.finding(FindingKind::Vanished);
    git(&dir, ["revert", "--no-edit", "HEAD"]);
    copy.follows();
    assert_eq!(copy.text("log.jsonl"), merged);
    copy.no_finding(FindingKind::Vanished);
    let feed = copy.text("feed.jsonl");
    assert!(feed.contains("\"gone\":true"), "{feed}");
    for n in [2, 3] {
        assert_eq!(feed.matches(&format!("\"event_data\":{{\"n\":{n}}}")).count(), 1, "{feed}");
    }
}

#[test]
fn stash_clean_and_reset_are_told_and_restore_brings_back_what_git_has() {
    let home = home();
    let dir = home.path().join("store");
    let copy = repository(&dir);
    copy.commit("a", 1);
    copy.append("a", 2);
    let before = copy.text("log.jsonl");
    git(&dir, ["stash", "-q", "-u"]);
    copy.follows();
    assert_eq!(copy.count(), 1);
    copy.finding(FindingKind::Vanished);
    git(&dir, ["stash", "pop", "-q"]);
    copy.follows();
    assert_eq!(copy.text("log.jsonl"), before);
    copy.save("both");
    copy.append("a", 3);
    git(&dir, ["clean", "-q", "-f", "-d"]);
    copy.follows();
    assert_eq!(copy.text("log.jsonl"), before);
    copy.finding(FindingKind::Vanished);
    // What git never had cannot come back; what a reset took can.
    git(&dir, ["reset", "-q", "--hard", "HEAD~1"]);
    copy.follows();
    assert_eq!(copy.count(), 1);
    git(&dir, ["branch", "kept", "ORIG_HEAD"]);
    let restored = copy.braid.restore(&[]).unwrap().restored;
    assert_eq!(restored.len(), 1);
    copy.follows();
    assert_eq!(copy.text("log.jsonl"), before);
}

#[test]
fn a_work_tree_and_a_copy_of_the_directory_write_under_ids_of_their_own() {
    let home = home();
    let dir = home.path().join("store");
    let copy = repository(&dir);
    copy.commit("a", 1);
    git(&dir, ["worktree", "add", "-q", "-b", "second", "../second"]);
    let second = open(&home.path().join("second"));
    let third = home.path().join("third");
    let copied = Command::new("cp").arg("-r").arg(&dir).arg(&third).status().unwrap();
    assert!(copied.success());
    let third = open(&third);
    let ids: Vec<_> = [&copy, &second, &third]
        .into_iter()
        .map(|copy| {
            let id = copy.append("b", 2).transaction_id;
            let epoch = copy.braid.epoch();
            epoch.index.transactions.replica(epoch.index.transactions.find_valid(id).unwrap())
        })
        .collect();
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2], "{ids:?}");
    for copy in [&copy, &second, &third] {
        copy.follows();
        copy.no_finding(FindingKind::IdentityCollision);
    }
}

#[test]
fn one_id_with_two_histories_is_told_and_its_forks_all_the_same() {
    let (store, _) = TestStore::forked();
    let mut store = store;
    let root = store.heads()[0];
    store.transaction().replica(7).parents([root]).event("x", "Counted", json!({"n": 1})).write();
    store.transaction().replica(7).parents([root]).event("x", "Counted", json!({"n": 2})).write();
    let copy = open(&store.path());
    let hint = copy.finding(FindingKind::IdentityCollision);
    assert!(hint.starts_with("rm -f .eventcore/replica_id"), "{hint}");
    assert!(!copy.braid.epoch().index.forks().conflicts().is_empty());
}

#[test]
fn shallow_clones_have_every_file_and_tell_which_past_they_lack() {
    let home = home();
    let ours = repository(&home.path().join("ours"));
    ours.commit("a", 1);
    ours.commit("a", 2);
    let url = format!("file://{}", ours.dir.display());
    git(home.path(), ["clone", "-q", "--depth", "1", &url, "shallow"]);
    let shallow = open(&home.path().join("shallow"));
    assert_eq!(shallow.text("log.jsonl"), ours.text("log.jsonl"));
    assert!(shallow.braid.at("HEAD").is_ok());
    assert!(matches!(shallow.braid.at("HEAD~1"), Err(TravelError::Git(_))));
}

/// A clone without the bytes of old files fetches them when the past asks for them, and never because we look around.
#[test]
fn a_partial_clone_has_the_present_and_fetches_the_past_when_it_is_asked_for() {
    let home = home();
    let ours = stage::repository(&home.path().join("ours"));
    ours.commit("a", 1);
    let gone = ours.commit("b", 2);
    let whole = ours.text("log.jsonl");
    git(&ours.dir, ["rm", "-q", &format!("events/{gone}")]);
    git(&ours.dir, ["commit", "-q", "-m", "taken back"]);
    ours.follows();
    git(&ours.dir, ["config", "uploadpack.allowFilter", "true"]);
    let url = format!("file://{}", ours.dir.display());
    let partial = |name: &str| {
        git(home.path(), ["clone", "-q", "--filter=blob:none", &url, name]);
        open(&home.path().join(name))
    };
    let lacks = |copy: &Copy| git(&copy.dir, ["rev-list", "--objects", "--all", "--missing=print"]).out.matches("\n?").count();
    let (one, two) = (partial("one"), partial("two"));
    for copy in [&one, &two] {
        copy.follows();
        assert_eq!(copy.text("log.jsonl"), ours.text("log.jsonl"));
        copy.append("a", 3);
        copy.save("more");
        copy.follows();
    }
    pull(&one.dir, &two.dir);
    one.follows();
    assert_eq!(one.braid.find_origins(std::time::Duration::from_secs(60)).unwrap().origins.len(), 2);
    one.braid.survey().unwrap();
    assert_eq!(lacks(&one), 1, "what is gone was not fetched");
    assert_eq!(one.mount().read("at/origin%2Fmain~1/log.jsonl"), whole);
    assert_eq!(lacks(&one), 0);
    // Nobody is there to fetch from any more.
    fs::rename(&ours.dir, home.path().join("away")).unwrap();
    assert!(matches!(two.braid.at("origin/main~1"), Err(TravelError::Git(_))));
    for command in [["diff", "origin/main~1", "origin/main"], ["restore", gone.as_str(), gone.as_str()]] {
        let refused = braidfs_on(&two.dir, &command, "");
        let said = format!("{}{}", refused.out, refused.err);
        assert!(said.contains("an old file is not in this partial clone, and its remote could not be asked for it: "), "{said}");
    }
    two.append("a", 4);
    two.follows();
}

#[test]
fn a_disk_that_was_put_into_another_machine_writes_under_a_new_id() {
    let home = home();
    let dir = home.path().join("store");
    let copy = repository(&dir);
    copy.commit("a", 1);
    drop(copy);
    let path = dir.join(".eventcore/replica_fingerprint");
    let fingerprint = fs::read_to_string(&path).unwrap();
    let here = fingerprint.split(';').next().unwrap();
    fs::write(&path, fingerprint.replacen(here, "machine=another", 1)).unwrap();
    let copy = open(&dir);
    copy.commit("a", 2);
    copy.follows();
    assert_eq!(copy.replicas(), 2);
    assert!(fs::read_to_string(&path).unwrap().starts_with(here));
    copy.no_finding(FindingKind::IdentityCollision);
}

#[test]
fn a_sparse_checkout_lacks_files_that_the_past_still_shows() {
    let home = home();
    let dir = home.path().join("store");
    let copy = repository(&dir);
    let first = copy.commit("a", 1);
    copy.commit("a", 2);
    let whole = copy.text("log.jsonl");
    git(&dir, ["sparse-checkout", "set", "--no-cone", "/*", &format!("!/events/{first}")]);
    copy.follows();
    assert_eq!(copy.count(), 1);
    copy.finding(FindingKind::Dangling);
    assert_eq!(copy.text("at/HEAD/log.jsonl"), whole);
    git(&dir, ["sparse-checkout", "disable"]);
    copy.follows();
    assert_eq!(copy.text("log.jsonl"), whole);
    copy.no_finding(FindingKind::Dangling);
}

#[test]
fn converted_line_ends_are_healed_and_told() {
    let home = home();
    let ours = repository(&home.path().join("ours"));
    ours.commit("a", 1);
    git(&ours.dir, ["rm", "-q", ".gitattributes"]);
    ours.save("no attributes");
    let dir = home.path().join("theirs");
    git(home.path(), ["-c", "core.autocrlf=true", "clone", "-q", "-c", "core.autocrlf=true", ours.dir.to_str().unwrap(), "theirs"]);
    assert!(ours.files().iter().all(|name| fs::read(dir.join("events").join(name)).unwrap().ends_with(b"\r\n")));
    let theirs = open(&dir);
    assert_eq!(theirs.text("log.jsonl"), ours.text("log.jsonl"));
    assert_eq!(theirs.finding(FindingKind::Healed), "braidfs doctor --fix");
    theirs.finding(FindingKind::GitSetup);
    theirs.braid.mend().unwrap();
    theirs.no_finding(FindingKind::Healed);
    theirs.no_finding(FindingKind::GitSetup);
    assert!(ours.files().iter().all(|name| !fs::read(dir.join("events").join(name)).unwrap().contains(&b'\r')));
    assert_eq!(theirs.text("log.jsonl"), ours.text("log.jsonl"));
}

/// Story: git went by the size that it remembered, took the mended files for changed, and refused to rebase.
#[test]
fn what_was_mended_as_git_has_it_is_no_change_to_git() {
    let home = home();
    // The store may lie in a subdirectory.
    let repository = home.path().join("ours");
    fs::create_dir_all(repository.join("deep ä/store")).unwrap();
    let ours = store_in(&repository, &repository.join("deep ä/store"));
    let names: Vec<String> = (1..=3).map(|n| ours.commit("a", n)).map(|name| format!("events/{name}")).collect();
    git(&ours.dir, ["rm", "-q", ".gitattributes"]);
    ours.save("no attributes");
    git(home.path(), ["-c", "core.autocrlf=true", "clone", "-q", "-c", "core.autocrlf=true", repository.to_str().unwrap(), "theirs"]);
    let dir = home.path().join("theirs/deep ä/store");
    git(&dir, ["config", "core.safecrlf", "true"]);
    // Somebody's edit, staged or not, is his to settle.
    for (name, staged) in [(&names[1], false), (&names[2], true)] {
        let text = fs::read_to_string(dir.join(name)).unwrap();
        fs::write(dir.join(name), text.replace("\"n\":", "\"m\":")).unwrap();
        if staged {
            git(&dir, ["-c", "core.safecrlf=false", "add", name]);
        }
    }
    let indexed = || git(&dir, ["ls-files", "-s", "--", "events"]).out;
    let before = indexed();
    let theirs = Copy::open(&dir);
    let done = theirs.braid.mend().unwrap();
    assert!(done.contains(&"had git look anew at 1 file that it took for changed".to_owned()), "{done:?}");
    let status = git(&dir, ["status", "--porcelain", "--", "events"]).out;
    let is_changed: Vec<bool> = names.iter().map(|name| status.contains(name)).collect();
    assert_eq!((is_changed, indexed()), (vec![false, true, true], before), "{status}");
    assert!(theirs.braid.mend().unwrap().is_empty());
}

#[test]
fn an_edit_spliced_by_union_is_refused_and_hides_nothing_else() {
    let home = home();
    let dir = home.path().join("store");
    let copy = repository(&dir);
    fs::write(dir.join(".gitattributes"), "events/*.jsonl merge=union\n").unwrap();
    copy.commit("first", 0);
    let name = copy.commit("a", 1);
    let path = dir.join("events").join(&name);
    let original = fs::read_to_string(&path).unwrap();
    git(&dir, ["switch", "-q", "-c", "side"]);
    fs::write(&path, original.replace("\"n\":1", "\"n\":8")).unwrap();
    copy.save("an edit");
    git(&dir, ["switch", "-q", "main"]);
    fs::write(&path, original.replace("\"n\":1", "\"n\":9")).unwrap();
    copy.save("another");
    copy.commit("b", 2);
    git(&dir, ["merge", "-q", "--no-edit", "side"]);
    copy.follows();
    copy.finding(FindingKind::Quarantined);
    copy.finding(FindingKind::Edited);
    assert!(copy.text("log.jsonl").contains("\"n\":2"));
    fs::write(&path, original).unwrap();
    copy.follows();
    copy.no_finding(FindingKind::Quarantined);
    assert_eq!(copy.count(), 3);
}

#[test]
fn a_merge_that_is_given_up_leaves_the_views_as_they_were() {
    let home = home();
    let dir = home.path().join("store");
    let copy = repository(&dir);
    fs::write(dir.join("notes.txt"), "one\n").unwrap();
    copy.commit("a", 1);
    git(&dir, ["switch", "-q", "-c", "side"]);
    fs::write(dir.join("notes.txt"), "two\n").unwrap();
    copy.commit("b", 2);
    git(&dir, ["switch", "-q", "main"]);
    copy.follows();
    fs::write(dir.join("notes.txt"), "three\n").unwrap();
    copy.commit("c", 3);
    let before = copy.text("log.jsonl");
    run_with(git_command(&dir).args(["merge", "-q", "--no-edit", "side"]), b"").code(1);
    copy.follows();
    assert_eq!(copy.count(), 3);
    git(&dir, ["merge", "--abort"]);
    copy.follows();
    assert_eq!(copy.text("log.jsonl"), before);
}

#[test]
fn a_store_in_no_repository_is_none_the_worse_for_it() {
    let home = home();
    let dir = home.path().join("store");
    Braid::init(&dir).unwrap();
    let braid = Braid::open(&dir, &OpenOptions::default()).unwrap();
    let epoch = braid.survey().unwrap();
    assert!(epoch.findings.is_empty(), "{:?}", epoch.findings);
    assert!(braid.at("position:0").is_ok());
    assert!(matches!(braid.at("HEAD"), Err(TravelError::Git(_))));
}

/// Story: a remote that never answered, asked by our own looking around, held up every past of a mount, whatever that was of, for a quarter of
/// an hour, and nobody who waited could be killed.
#[test]
fn a_remote_that_never_answers_holds_up_only_who_wants_what_it_has() {
    let home = home();
    let ours = stage::repository(&home.path().join("ours"));
    ours.commit("a", 1);
    let gone = ours.commit("b", 2);
    ours.commit("c", 3);
    git(&ours.dir, ["rm", "-q", &format!("events/{gone}")]);
    git(&ours.dir, ["commit", "-q", "-m", "taken back"]);
    git(&ours.dir, ["config", "uploadpack.allowFilter", "true"]);
    git(home.path(), ["clone", "-q", "--filter=blob:none", &format!("file://{}", ours.dir.display()), "partial"]);
    let dir = home.path().join("partial");
    let (asked, gone_away) = (home.path().join("asked"), home.path().join("gone away"));
    git(&dir, ["config", "protocol.ext.allow", "always"]);
    git(&dir, ["config", "remote.origin.url", &format!("ext::{}", home.path().join("remote").display())]);
    fs::write(
        home.path().join("remote"),
        format!("#!/bin/sh\n: > {}\nuntil [ -e '{}' ]; do sleep 0.1; done\nexit 1\n", asked.display(), gone_away.display()),
    )
    .unwrap();
    bash(home.path(), "chmod +x remote").ok();
    let copy = open(&dir);
    copy.follows();
    let hint = copy.finding(FindingKind::Dangling);
    assert!(hint.contains("braidfs restore ") && hint.contains("git has it in commit"), "{hint}");
    assert!(!asked.exists(), "nobody asked for it");
    let mount = &copy.mount();
    std::thread::scope(|scope| {
        // More of them than there are threads that read the kernel's requests.
        let moments = ["HEAD~1", "HEAD^", "main~1", "origin%2Fmain~1", "@~1", "main^"];
        let look = |moment: &'static str| scope.spawn(move || fs::read(mount.join(format!("at/git:{moment}/log.jsonl"))).is_err());
        let held_up = moments.map(look);
        eventually("the remote is asked", || asked.exists());
        assert_eq!(mount.read("log.jsonl").lines().count(), 2);
        assert_eq!(mount.read("at/position:1/log.jsonl").lines().count(), 1);
        assert_eq!(mount.read("at/git:HEAD/log.jsonl").lines().count(), 2);
        assert!(held_up.iter().all(|look| !look.is_finished()));
        fs::write(&gone_away, "").unwrap();
        assert!(held_up.into_iter().all(|look| look.join().unwrap()));
    });
}
