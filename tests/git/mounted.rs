//! The past below `at/`, and git at work below a mount.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

use crate::stage::{clone, pull, repository};
use crate::support::draft::event;
use crate::support::git::git;
use crate::support::mount::Mount;
use crate::support::run::{braidfs, braidfs_on, run, run_with};
use crate::support::wait::{eventually, eventually_eq, eventually_some};

#[test]
fn a_branch_below_at_leads_to_the_inodes_of_its_commit_and_moves_with_it() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    let copy = repository(&dir);
    copy.commit("a/b", 1);
    copy.commit("c", 2);
    git(&dir, ["branch", "side/way", "HEAD~1"]);
    let mount = Mount::start(&dir);
    let head = || git(&dir, ["rev-parse", "HEAD"]).out.trim().to_owned();
    let ino = |path: &str| fs::metadata(mount.join(path)).unwrap().ino();
    let first = head();
    assert_eq!(mount.read("at/HEAD/log.jsonl"), mount.read("log.jsonl"));
    assert_eq!(mount.read("at/side%2Fway/log.jsonl"), mount.read("at/HEAD~1/log.jsonl"));
    assert_eq!(ino("at/HEAD/log.jsonl"), ino(&format!("at/{first}/log.jsonl")));
    assert_eq!(ino("at/main"), ino(&format!("at/git:{first}")));
    assert_eq!(mount.list("at"), Vec::<String>::new());
    assert!(fs::metadata(mount.join("at/nothing")).is_err());
    let before = mount.read("at/HEAD/log.jsonl");

    copy.commit("c", 3);
    assert_ne!(head(), first);
    assert_eq!(mount.read(format!("at/{first}/log.jsonl").as_str()), before);
    eventually_eq(&copy.text("log.jsonl"), || mount.read("log.jsonl"));
    assert_eq!(mount.read("at/HEAD/log.jsonl"), mount.read("log.jsonl"));
    let mut diff = std::process::Command::new("diff");
    let same = run_with(diff.arg("-r").arg(mount.join("at/HEAD/streams")).arg(mount.join("streams")), b"");
    same.ok();
    let mut diff = std::process::Command::new("diff");
    let other = run_with(diff.arg("-r").arg(mount.join("at/HEAD~1/streams")).arg(mount.join("streams")), b"").code(1);
    assert!(other.out.contains("\"n\":3") && !other.out.contains("\"n\":1"), "{}", other.out);
    assert!(fs::write(mount.join("at/HEAD/new"), "x").is_err());
}

#[test]
fn a_mount_follows_branches_and_keeps_the_past_of_the_other_one() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    let copy = repository(&dir);
    copy.commit("a", 1);
    git(&dir, ["switch", "-q", "-c", "side"]);
    copy.commit("b", 2);
    let side = copy.text("log.jsonl");
    let mount = Mount::start(&dir);
    assert_eq!(mount.read("log.jsonl"), side);
    git(&dir, ["switch", "-q", "main"]);
    let main = side.lines().next().unwrap().to_owned() + "\n";
    eventually_eq(&main, || mount.read("log.jsonl"));
    assert_eq!(mount.read("at/side/log.jsonl"), side);
    git(&dir, ["merge", "-q", "side"]);
    eventually_eq(&side, || mount.read("log.jsonl"));
    assert_eq!(mount.read("at/main~1/log.jsonl"), main);
}

/// Its bytes are those of what the name meant when it was opened, also where the kernel holds none of them.
#[test]
fn a_file_of_a_moment_that_is_open_stays_whole_when_a_merge_changes_the_moment() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("ours");
    let copy = repository(&dir);
    copy.commit("a", 1);
    let theirs = clone(&dir, &home.path().join("theirs"));
    // It sorts before what comes later here.
    theirs.commit("b", 2);
    copy.commit("c", 3);
    for options in [&[][..], &["--read-only"]] {
        let mount = options.iter().fold(Mount::options(&dir), |mount, option| mount.arg(option)).start();
        eventually("what is here is shown", || mount.count("log.jsonl") == 2);
        let path = "at/position:2/log.jsonl";
        let mut open = fs::File::open(mount.join(path)).unwrap();
        let before = mount.read("log.jsonl");
        pull(&dir, &theirs.dir);
        eventually("what was pulled is shown", || mount.count("log.jsonl") == 3);
        let mut text = String::new();
        open.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), text.contains("\"n\":3")), (before.as_str(), true));
        assert!(mount.read(path).contains("\"n\":2"));
        drop(open);
        mount.unmount();
        git(&dir, ["reset", "-q", "--hard", "HEAD^1"]);
    }
}

#[test]
fn an_epoch_names_what_the_mount_showed_before_a_pull_also_after_a_restart() {
    let home = tempfile::tempdir().unwrap();
    // Nobody but the mount keeps the index.
    let dir = repository(&home.path().join("ours")).dir;
    let mount = Mount::start(&dir);
    drop_file(&mount, "first.jsonl");
    git(&dir, ["add", "-A"]);
    git(&dir, ["commit", "-q", "-m", "first"]);
    let theirs = clone(&dir, &home.path().join("theirs"));
    theirs.commit("a", 3);
    theirs.commit("c", 4);
    drop_file(&mount, "second.jsonl");
    git(&dir, ["add", "-A"]);
    git(&dir, ["commit", "-q", "-m", "second"]);
    let epoch = || mount.read_json("status.json")["epoch"].as_u64().unwrap();
    let (before, log) = (epoch(), mount.read("log.jsonl"));
    pull(&dir, &theirs.dir);
    eventually("what was pulled is shown", || mount.count("log.jsonl") == 4);
    let after = epoch();
    assert!(after > before);

    let diff = |old: &str, new: &str| braidfs(["--store", dir.to_str().unwrap(), "--format", "json", "diff", old, new]).ok().json();
    let (old, new) = (format!("epoch:{before}"), format!("epoch:{after}"));
    let said = diff(&old, &new);
    assert_eq!(said, diff("HEAD^1", "HEAD"));
    assert_eq!((said["came"].as_array().unwrap().len(), said["conflicts"]["opened"].as_array().unwrap().len()), (2, 1), "{said}");
    assert_eq!(mount.read(&format!("at/{old}/log.jsonl")), log);
    assert_eq!(mount.read(&format!("at/{new}/log.jsonl")), mount.read("log.jsonl"));
    assert!(fs::metadata(mount.join(format!("at/epoch:{}", after + 1))).is_err());
    mount.unmount();
    let mount = Mount::start(&dir);
    eventually_eq(&after, || mount.read_json("status.json")["epoch"].as_u64().unwrap());
    assert_eq!(mount.read(&format!("at/{old}/log.jsonl")), log);
    mount.unmount();
    let beyond = braidfs(["--store", dir.to_str().unwrap(), "log", "--at", &format!("epoch:{}", after + 1)]).code(1);
    assert!(beyond.err.contains(&format!("epoch {} does not exist: the last one is {after}", after + 1)), "{}", beyond.err);
}

fn drop_file(mount: &Mount, name: &str) {
    fs::write(mount.join("staging").join(name), "{\"stream\":\"a\",\"type\":\"T\",\"data\":{\"n\":2}}\n").unwrap();
    let receipt = mount.read_json(&format!("receipts/{name}.json"));
    assert_eq!(receipt["state"], "committed", "{receipt}");
}

/// A copy gets its own replica id by the first write, whoever does it, and a mount of it goes on under that.
#[test]
fn a_mount_follows_the_replica_id_that_a_command_beside_it_made() {
    let home = tempfile::tempdir().unwrap();
    let first = home.path().join("first");
    let copy = repository(&first);
    copy.commit("a", 1);
    drop(copy);
    let dir = home.path().join("second");
    run("cp", ["-r", first.to_str().unwrap(), dir.to_str().unwrap()]).ok();
    let mount = Mount::start(&dir);
    let present = || fs::read_to_string(dir.join(".eventcore/replica_id")).unwrap();
    let beside = |stream: &str| braidfs_on(&dir, &["append"], &event(stream, 1)).ok();
    for (at, stream) in ["b", "c"].into_iter().enumerate() {
        let before = present();
        beside(stream);
        assert_ne!(present(), before);
        eventually_eq(&present(), || mount.read_json("status.json")["replica_id"].as_str().unwrap().to_owned());
        let made = present();
        drop_file(&mount, &format!("{stream}.jsonl"));
        assert_eq!(present(), made, "one id, not one more");
        if at == 0 {
            // What was written last is not in the past of what the other branch goes on with.
            git(&dir, ["switch", "-q", "-c", "side"]);
            git(&dir, ["add", "events"]);
            git(&dir, ["commit", "-q", "-m", "both"]);
            git(&dir, ["switch", "-q", "main"]);
            eventually("the mount follows", || mount.count("feed.jsonl") > 0 && mount.count("log.jsonl") == 1);
        }
    }
    mount.unmount();
}

/// The cure of an identity collision, while the store is mounted.
#[test]
fn a_mount_whose_replica_id_is_taken_away_makes_a_new_one() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    let copy = repository(&dir);
    copy.commit("a", 1);
    drop(copy);
    let mount = Mount::start(&dir);
    drop_file(&mount, "one.jsonl");
    let present = || fs::read_to_string(dir.join(".eventcore/replica_id")).unwrap();
    let before = present();
    fs::remove_file(dir.join(".eventcore/replica_id")).unwrap();
    drop_file(&mount, "two.jsonl");
    assert_ne!(present(), before);
    let made = present();
    drop_file(&mount, "three.jsonl");
    assert_eq!(present(), made, "one id, not one more");
    assert_eq!(mount.read_json("status.json")["replica_id"], made);
    mount.unmount();
}

/// It takes what is ours and git ignores: the staging area, the identity, the daemon's lock, the index.
#[test]
fn a_clean_of_everything_that_git_ignores_leaves_the_mount_at_work() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    let copy = repository(&dir);
    copy.commit("a", 1);
    let mount = Mount::start(&dir);
    drop_file(&mount, "before.jsonl");
    fs::write(mount.join("staging/.draft"), "x").unwrap();
    let replica_id = fs::read_to_string(dir.join(".eventcore/replica_id")).unwrap();
    copy.save("both");
    // They may be back as soon as they are gone.
    let cleaned = git(&dir, ["clean", "-fdx"]).out;
    assert!(cleaned.contains("Removing tmp/") && cleaned.contains("Removing .eventcore/"), "{cleaned}");
    let second = home.path().join("second");
    fs::create_dir(&second).unwrap();
    let refused = braidfs(["mount", dir.to_str().unwrap(), second.to_str().unwrap()]);
    assert!(refused.code(3).err.contains("is mounted writable at"), "the lock went with the rest");
    drop_file(&mount, "after.jsonl");
    assert_eq!(fs::read_to_string(dir.join(".eventcore/replica_id")).unwrap(), replica_id, "the identity is written anew");
    eventually("the draft that is gone leaves the listing", || !mount.list("staging").contains(&".draft".to_owned()));
    fs::write(mount.join("staging/.draft"), "y").unwrap();
    assert_eq!(mount.read("staging/.draft"), "y");
    assert_eq!(mount.count("feed.jsonl"), 3);
    mount.unmount();
    let mount = Mount::start(&dir);
    drop_file(&mount, "again.jsonl");
    assert_eq!(mount.count("feed.jsonl"), 4);
    let replicas: std::collections::BTreeSet<String> =
        mount.read_lines("log.jsonl").iter().skip(1).map(|line| line["replica_id"].to_string()).collect();
    assert_eq!(replicas.len(), 1, "the chain goes on: {replicas:?}");
    mount.unmount();
}

#[test]
fn what_git_tells_comes_and_goes_as_soon_as_git_has_done_something() {
    /// Five times what it takes on a machine with nothing else to do, and half of what a survey every five seconds takes.
    const ROUNDS_MAX: Duration = Duration::from_secs(12);
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    drop(repository(&dir));
    let mount = Mount::start(&dir);
    let uncommitted = || mount.read_json("status.json")["findings"].to_string().contains("\"uncommitted\"");
    let begun = Instant::now();
    for n in 0..3 {
        mount.append(&format!("{{\"stream\":\"a\",\"type\":\"T\",\"data\":{n}}}\n")).unwrap();
        eventually("what is not committed is told", uncommitted);
        git(&dir, ["add", "-A"]);
        git(&dir, ["commit", "-q", "-m", "events"]);
        eventually("what is committed is not told", || !uncommitted());
    }
    assert!(begun.elapsed() < ROUNDS_MAX, "it took {:?}", begun.elapsed());
    mount.unmount();
}

#[test]
fn no_epoch_shows_a_file_and_says_that_it_is_gone() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    let copy = repository(&dir);
    let name = copy.commit("a", 1);
    drop(copy);
    let mount = Mount::start(&dir);
    let path = dir.join("events").join(&name);
    let bytes = fs::read(&path).unwrap();
    let vanished = || {
        let status = mount.read_json("status.json");
        (status["transactions"] == 1, status["findings"].to_string().contains("\"vanished\""))
    };
    for _ in 0..3 {
        fs::remove_file(&path).unwrap();
        eventually("what is gone is told, also by git", || {
            let status = mount.read_json("status.json");
            let told = status["findings"].to_string();
            !told.contains("\"uncommitted\"") && status["transactions"] == 0 && told.contains("is committed to git and gone from events/")
        });
        fs::write(&path, &bytes).unwrap();
        let (_, told) = eventually_some("the file is back", || Some(vanished()).filter(|(is_here, _)| *is_here));
        assert!(!told, "the epoch that shows the file says that it is gone");
    }
    mount.unmount();
}
