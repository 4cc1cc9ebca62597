//! Real git in a directory that goes with the test.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::command::FOREIGN;
use super::history::PATHS_MAX;
use super::*;
use crate::model::TransactionId;

/// Runs git as somebody with a name, and no settings of the machine's user.
pub(crate) fn git(dir: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    for name in FOREIGN {
        command.env_remove(name);
    }
    let output = command
        .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "init.defaultBranch=main", "-c", "gc.auto=0"])
        .args(arguments)
        .current_dir(dir)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn repository() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    git(dir.path(), &["init", "-q"]);
    fs::create_dir_all(dir.path().join("deep/events")).unwrap();
    fs::write(dir.path().join("deep/events/a.jsonl"), "a\n").unwrap();
    fs::write(dir.path().join("deep/events/b \"ä\".jsonl"), "b").unwrap();
    fs::write(dir.path().join("deep/events/c.txt"), "c").unwrap();
    save(dir.path(), "first");
    dir
}

/// Commits everything that has changed.
fn save(dir: &Path, message: &str) {
    git(dir, &["add", "-A"]);
    git(dir, &["commit", "-q", "-m", message]);
}

#[test]
fn a_tree_lists_the_transaction_files_of_a_store_anywhere_in_its_repository() {
    let dir = repository();
    let program = Program::new(&dir.path().join("deep"));
    let commit = program.commit("HEAD").unwrap();
    let tree = program.events_tree(&commit).unwrap().unwrap();
    let files = program.transaction_files(&tree).unwrap();
    assert_eq!(files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["a.jsonl", "b \"ä\".jsonl"]);
    let mut blobs = Vec::new();
    let mut oids: Vec<Oid> = files.into_iter().map(|file| file.oid).collect();
    oids.push(Oid::parse(&"0".repeat(40)).unwrap());
    program
        .read_blobs(&oids, |n, blob| {
            blobs.push((n, blob));
            Ok::<(), GitError>(())
        })
        .unwrap();
    assert_eq!(blobs, [(0, Some(b"a\n".to_vec())), (1, Some(b"b".to_vec())), (2, None)]);
    assert_eq!(Program::new(dir.path()).events_tree(&commit).unwrap(), None);
}

#[test]
fn what_names_no_commit_is_told_and_never_taken_for_an_option() {
    let dir = repository();
    let program = Program::new(dir.path());
    for revision in ["nothing", "--all", "-h", "", "a\0b", "HEAD:deep", "HEAD..HEAD"] {
        assert!(matches!(program.commit(revision), Err(GitError::UnknownRevision(_))), "{revision}");
    }
    assert_eq!(program.commit(":/first").unwrap(), program.commit("HEAD").unwrap());
    assert!(matches!(program.commit(":/second"), Err(GitError::UnknownRevision(_))));
    let outside = tempfile::tempdir().unwrap();
    // A directory above may be a repository on the machine that runs this.
    if !Program::new(outside.path()).has_repository() {
        assert!(matches!(Program::new(outside.path()).changes(), Err(GitError::NoRepository(_))));
    }
}

#[test]
fn changes_say_how_each_file_stands_to_the_last_commit() {
    let dir = repository();
    let events = dir.path().join("deep/events");
    let program = Program::new(&dir.path().join("deep"));
    assert_eq!(program.changes().unwrap(), []);
    fs::write(events.join("a.jsonl"), "edited\n").unwrap();
    fs::remove_file(events.join("b \"ä\".jsonl")).unwrap();
    fs::write(events.join("d.jsonl"), "d\n").unwrap();
    fs::write(events.join("e.jsonl"), "e\n").unwrap();
    git(dir.path(), &["add", "deep/events/e.jsonl"]);
    let mut changes: Vec<_> = program.changes().unwrap().into_iter().map(|change| (change.name, change.state)).collect();
    changes.sort();
    let expected =
        [("a.jsonl", State::Modified), ("b \"ä\".jsonl", State::Deleted), ("d.jsonl", State::Untracked), ("e.jsonl", State::Added)];
    assert_eq!(changes, expected.map(|(name, state)| (name.to_owned(), state)));
    let differing = program.differing(&program.commit("HEAD").unwrap()).unwrap();
    assert_eq!(differing.into_iter().collect::<Vec<_>>(), ["a.jsonl", "b \"ä\".jsonl", "e.jsonl"]);
}

#[test]
fn what_a_file_said_last_is_found_on_any_branch_with_a_commit_that_has_it() {
    let dir = repository();
    let events = dir.path().join("deep/events");
    let program = Program::new(&dir.path().join("deep"));
    let save = |message: &str| save(dir.path(), message);
    git(dir.path(), &["switch", "-q", "-c", "side"]);
    fs::write(events.join("z.jsonl"), "z\n").unwrap();
    fs::write(events.join("y.jsonl"), "y\n").unwrap();
    save("brings z");
    git(dir.path(), &["switch", "-q", "-c", "merged", "main"]);
    fs::remove_file(events.join("b \"ä\".jsonl")).unwrap();
    save("removes b");
    git(dir.path(), &["merge", "-q", "--no-ff", "--no-commit", "side"]);
    fs::write(events.join("y.jsonl"), "of the merge\n").unwrap();
    save("merges");
    git(dir.path(), &["switch", "-q", "main"]);
    let told = |names: &[&str]| {
        let found = program.last_said_by(&names.iter().map(ToString::to_string).collect()).unwrap();
        let oids: Vec<Oid> = found.values().map(|last| last.blob.clone()).collect();
        let mut bytes = Vec::new();
        let read = program.read_blobs(&oids, |_, blob| {
            bytes.push(String::from_utf8(blob.unwrap()).unwrap());
            Ok::<(), GitError>(())
        });
        read.unwrap();
        found.into_iter().zip(bytes).map(|((name, last), bytes)| (name, last.commit.subject, bytes)).collect::<Vec<_>>()
    };
    let all = [
        ("a.jsonl", "first", "a\n"),
        ("b \"ä\".jsonl", "first", "b"),
        ("y.jsonl", "merges", "of the merge\n"),
        ("z.jsonl", "merges", "z\n"),
    ];
    let all = all.map(|(name, subject, bytes)| (name.to_owned(), subject.to_owned(), bytes.to_owned()));
    let few = ["a.jsonl", "b \"ä\".jsonl", "never.jsonl", "y.jsonl", "z.jsonl"];
    assert_eq!(told(&few), all);
    let many: Vec<String> = (0..PATHS_MAX).map(|n| format!("never-{n}.jsonl")).collect();
    assert_eq!(told(&few.into_iter().chain(many.iter().map(String::as_str)).collect::<Vec<_>>()), all);
    assert_eq!(told(&["never.jsonl"]), []);
    let merge = program.last_said_by(&["z.jsonl".to_owned()].into()).unwrap().remove("z.jsonl").unwrap().commit;
    assert_eq!((merge.author.as_str(), merge.oid), ("Ada", program.commit("merged").unwrap()));
}

/// Git passes over the side of a merge that the merge gave up, and what is newest is not what the merge took.
#[test]
fn what_a_merge_gave_up_is_found_and_what_it_took_was_said_last() {
    let dir = repository();
    let events = dir.path().join("deep/events");
    let program = Program::new(&dir.path().join("deep"));
    let save = |message: &str| save(dir.path(), message);
    git(dir.path(), &["switch", "-q", "-c", "side"]);
    fs::write(events.join("lost.jsonl"), "lost\n").unwrap();
    save("brings what is lost");
    git(dir.path(), &["switch", "-q", "main"]);
    fs::write(events.join("x.jsonl"), "1").unwrap();
    save("one");
    git(dir.path(), &["merge", "-q", "--no-edit", "-s", "ours", "side"]);
    git(dir.path(), &["branch", "-q", "-D", "side"]);
    git(dir.path(), &["switch", "-q", "-c", "other"]);
    fs::write(events.join("x.jsonl"), "3").unwrap();
    save("three");
    git(dir.path(), &["switch", "-q", "main"]);
    fs::write(events.join("x.jsonl"), "2").unwrap();
    git(dir.path(), &["add", "-A"]);
    git(dir.path(), &["commit", "-q", "-m", "two", "--date", "2099-01-01T00:00:00Z"]);
    git(dir.path(), &["merge", "-q", "--no-edit", "-X", "theirs", "other"]);
    git(dir.path(), &["rm", "-q", "deep/events/x.jsonl"]);
    git(dir.path(), &["commit", "-q", "-m", "removes x"]);
    let three = Oid::parse(&git(dir.path(), &["rev-parse", "HEAD~1:deep/events/x.jsonl"])).unwrap();
    let lost = program.last_said(|name| name == "lost.jsonl").unwrap();
    assert_eq!(lost["lost.jsonl"].commit.subject, "brings what is lost");
    let names =
        |more: usize| ["x.jsonl".to_owned(), "lost.jsonl".to_owned()].into_iter().chain((0..more).map(|n| format!("never-{n}.jsonl")));
    for more in [0, PATHS_MAX] {
        let found = program.last_said_by(&names(more).collect()).unwrap();
        assert_eq!((found.len(), &found["x.jsonl"].blob), (2, &three), "{more}");
    }
}

#[test]
fn the_commit_that_brought_a_file_is_told_but_for_the_stash_what_merges_bring_and_the_end_of_a_shallow_clone() {
    let dir = tempfile::tempdir().unwrap();
    let work = dir.path().join("work");
    fs::create_dir_all(work.join("deep ä/events")).unwrap();
    git(&work, &["init", "-q"]);
    let id = |n: u8| TransactionId(uuid::Uuid::from_bytes([n; 16]));
    let put = |n: u8| fs::write(work.join(format!("deep ä/events/{}.jsonl", id(n))), "x\n").unwrap();
    let save = |message: &str| {
        save(&work, message);
        git(&work, &["rev-parse", "HEAD"])
    };
    put(1);
    let first = save("first");
    git(&work, &["switch", "-q", "-c", "side"]);
    put(2);
    let second = save("second");
    git(&work, &["switch", "-q", "main"]);
    put(3);
    save("third");
    git(&work, &["merge", "-q", "--no-commit", "side"]);
    put(4);
    let merge = save("merges, and has one of its own");
    put(5);
    git(&work, &["stash", "-q", "-u"]);
    let all: BTreeSet<TransactionId> = (1..=6).map(id).collect();
    let told = |dir: &Path| {
        let origins = Program::new(dir).origins(&all, Duration::from_secs(60)).unwrap();
        origins.into_iter().map(|(id, origin)| (id, origin.commit)).collect::<BTreeMap<_, _>>()
    };
    let found = told(&work.join("deep ä"));
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), [id(1), id(2), id(3), id(4)]);
    assert_eq!((&found[&id(1)], &found[&id(2)], &found[&id(4)]), (&first, &second, &merge));
    for setting in ["log.follow", "log.showSignature"] {
        git(&work, &["config", setting, "true"]);
    }
    let alone = Program::new(&work.join("deep ä")).origins(&[id(2)].into(), Duration::from_secs(60)).unwrap();
    assert_eq!(alone.values().map(|origin| (origin.author.as_str(), &origin.commit)).collect::<Vec<_>>(), [("Ada", &second)]);
    let url = format!("file://{}", work.display());
    git(dir.path(), &["clone", "-q", "--depth", "2", &url, "shallow"]);
    // The merge and its two parents are there; these are the end and seem to add everything.
    assert_eq!(told(&dir.path().join("shallow/deep ä")), [(id(4), merge)].into());
    assert_eq!(Program::new(&work).origins(&all, Duration::ZERO).unwrap(), BTreeMap::new());
}

/// Story: a fetch that another one was faster than ended as if the machine had failed.
#[test]
fn a_reference_that_changed_meanwhile_is_of_another_git_here_or_of_the_remote() {
    let said = |message: &str| GitError::Failed { command: "pull -q".to_owned(), message: message.to_owned(), code: Some(1) };
    let raced = "error: cannot lock ref 'refs/remotes/origin/main': is at 1b2 but expected 2a1";
    assert!(said(raced).is_busy() && !said(raced).is_overtaken());
    let remote = " ! [remote rejected] main -> main (cannot lock ref 'refs/heads/main': is at 1b2 but expected 2a1)";
    assert!(!said(remote).is_busy() && said(remote).is_overtaken());
    let in_the_way = "error: cannot lock ref 'refs/heads/a/b': 'refs/heads/a' exists; cannot create 'refs/heads/a/b'";
    assert!(!said(in_the_way).is_busy());
}

/// With all that git started to ask it.
#[test]
fn a_remote_that_never_answers_is_given_up() {
    let dir = repository();
    let home = tempfile::tempdir().unwrap();
    git(dir.path(), &["config", "uploadpack.allowFilter", "true"]);
    fs::remove_file(dir.path().join("deep/events/a.jsonl")).unwrap();
    save(dir.path(), "gone");
    let url = format!("file://{}", dir.path().display());
    git(home.path(), &["clone", "-q", "--filter=blob:none", &url, "copy"]);
    let copy = home.path().join("copy");
    let asked = home.path().join("asked");
    git(&copy, &["config", "protocol.ext.allow", "always"]);
    let remote = home.path().join("remote");
    fs::write(&remote, format!("#!/bin/sh\necho $$ > {}\nexec sleep 600\n", asked.display())).unwrap();
    fs::set_permissions(&remote, fs::Permissions::from_mode(0o755)).unwrap();
    git(&copy, &["config", "remote.origin.url", &format!("ext::{}", remote.display())]);
    let program = Program::new(&copy.join("deep"));
    assert!(program.is_partial().unwrap() && !Program::new(&dir.path().join("deep")).is_partial().unwrap());
    let blob = Oid::parse(&program.text(&["rev-parse", "HEAD~1:deep/events/a.jsonl"]).unwrap()).unwrap();
    let read = program.patient(Duration::from_secs(2)).read_blobs(&[blob], |_, _| Ok::<(), GitError>(()));
    assert!(matches!(read, Err(GitError::NotFetched(_))), "{read:?}");
    let helper = fs::read_to_string(asked).unwrap();
    assert!(helper.trim().parse::<u32>().is_ok(), "{helper}");
    let is_gone = |_| {
        std::thread::sleep(Duration::from_millis(20));
        !Path::new("/proc").join(helper.trim()).exists()
    };
    assert!((0..500).any(is_gone), "git's helper {helper} is left");
}

/// Story: whatever took longer than the patience was taken for silent, so a large file never came over a slow line.
#[test]
fn a_remote_that_sends_slowly_is_waited_for() {
    let dir = repository();
    let home = tempfile::tempdir().unwrap();
    git(dir.path(), &["config", "uploadpack.allowFilter", "true"]);
    let mut seed = 1_u64;
    let noise = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 56) as u8
    });
    let noise: Vec<u8> = noise.take(400_000).collect();
    fs::write(dir.path().join("deep/events/large.jsonl"), &noise).unwrap();
    save(dir.path(), "large");
    fs::remove_file(dir.path().join("deep/events/large.jsonl")).unwrap();
    save(dir.path(), "gone");
    git(home.path(), &["clone", "-q", "--filter=blob:none", &format!("file://{}", dir.path().display()), "copy"]);
    let copy = home.path().join("copy");
    // What it sends comes in pieces, with a pause behind each: longer than the patience in all.
    let slow = home.path().join("slow");
    let script = "#!/usr/bin/env python3\n\
        import os, subprocess, sys, time\n\
        with subprocess.Popen(['git', 'upload-pack', *sys.argv[1:]], stdout=subprocess.PIPE) as pack:\n\
        \twhile piece := os.read(pack.stdout.fileno(), 16384):\n\
        \t\tos.write(1, piece)\n\
        \t\ttime.sleep(0.1 if len(piece) > 4096 else 0)\n";
    fs::write(&slow, script).unwrap();
    fs::set_permissions(&slow, fs::Permissions::from_mode(0o755)).unwrap();
    git(&copy, &["config", "remote.origin.uploadpack", slow.to_str().unwrap()]);
    let program = Program::new(&copy.join("deep"));
    let blob = Oid::parse(&program.text(&["rev-parse", "HEAD~1:deep/events/large.jsonl"]).unwrap()).unwrap();
    let mut came = None;
    let read = program.patient(Duration::from_millis(700)).read_blobs(&[blob], |_, bytes| {
        came = bytes;
        Ok::<(), GitError>(())
    });
    assert!(read.is_ok() && came.as_ref() == Some(&noise), "{read:?}");
}
