//! Two people, two clones and a bare remote, by `braidfs sync`; and what `diff` and `--at` tell of it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::stage::{Copy, clone, pull, repository, store_in};
use crate::support::git::git;
use crate::support::run::{Ran, bash, braidfs_command, run_with};
use crate::support::wait::eventually;

fn braidfs(dir: &Path, arguments: &[&str]) -> Ran {
    run_with(braidfs_command().arg("--store").arg(dir).args(arguments).env("GIT_CONFIG_GLOBAL", "/dev/null"), b"")
}

/// A bare remote with nothing in it, and the working copy of the first person.
fn remote_of_ada(home: &Path) -> (PathBuf, Copy) {
    let remote = home.join("remote.git");
    git(home, ["init", "-q", "--bare", remote.to_str().unwrap()]);
    let ada = repository(&home.join("ada"));
    git(&ada.dir, ["remote", "add", "origin", remote.to_str().unwrap()]);
    (remote, ada)
}

#[test]
fn two_people_meet_by_sync_and_are_told_of_the_fork() {
    let home = tempfile::tempdir().unwrap();
    let (remote, ada) = remote_of_ada(home.path());
    ada.append("a", 1);
    let said = braidfs(&ada.dir, &["--format", "json", "sync"]).ok().json();
    assert_eq!((&said["committed"], &said["pushed"]), (&1.into(), &true.into()), "{said}");
    let bo = clone(&remote, &home.path().join("bo"));
    ada.append("a", 2);
    bo.append("a", 3);
    bo.append("b", 4);
    braidfs(&bo.dir, &["sync"]).ok();
    let said = braidfs(&ada.dir, &["--format", "json", "sync"]).ok().json();
    assert_eq!(said["brought"], 2, "{said}");
    assert_eq!(said["conflicts"]["opened"].as_array().unwrap().len(), 1, "{said}");
    braidfs(&bo.dir, &["sync"]).ok();
    for copy in [&ada, &bo] {
        copy.follows();
    }
    assert_eq!(ada.text("log.jsonl"), bo.text("log.jsonl"));
    let nothing = braidfs(&bo.dir, &["--format", "json", "sync"]).ok().json();
    assert_eq!((&nothing["committed"], &nothing["brought"]), (&0.into(), &0.into()), "{nothing}");
}

/// Story: a supervisor that ignores SIGCHLD hands that on, and git "cannot be run: No child processes".
#[test]
fn who_was_started_by_one_that_ignores_its_children_runs_git_all_the_same() {
    let home = tempfile::tempdir().unwrap();
    let (_, ada) = remote_of_ada(home.path());
    ada.append("a", 1);
    let braidfs = env!("CARGO_BIN_EXE_braidfs");
    let script = format!("trap '' CHLD; {braidfs} --format json sync --offline && {braidfs} doctor && {braidfs} log --at git:HEAD");
    let said = bash(&ada.dir, &script).ok();
    assert!(said.out.contains("\"committed\":1") || said.out.contains("\"committed\": 1"), "{}", said.out);
}

/// What others hold the lock for needs no join to be pushed: it is told, and the next sync joins.
#[test]
fn sync_says_that_it_could_not_join() {
    let home = tempfile::tempdir().unwrap();
    let (remote, ada) = remote_of_ada(home.path());
    braidfs(&ada.dir, &["sync"]).ok();
    let bo = clone(&remote, &home.path().join("bo"));
    for (n, copy) in [&ada, &bo].iter().enumerate() {
        copy.append("a", n as u64);
        braidfs(&copy.dir, &["sync"]).ok();
    }
    braidfs(&ada.dir, &["sync"]).ok();
    braidfs(&ada.dir, &["reconcile", "--accept"]).ok();
    braidfs(&bo.dir, &["reconcile", "--accept"]).ok();
    braidfs(&ada.dir, &["sync"]).ok();
    let held = fs::File::open(bo.dir.join(".lock")).unwrap();
    held.lock().unwrap();
    let said = braidfs(&bo.dir, &["sync"]).ok();
    assert!(said.out.contains("is several heads until the next transaction or sync joins them: "), "{}", said.out);
    assert!(said.out.contains("everything is pushed"), "{}", said.out);
    held.unlock().unwrap();
    let said = braidfs(&bo.dir, &["sync"]).ok();
    assert!(said.out.contains("joined what was settled at once"), "{}", said.out);
}

/// Whoever pushes second has both resolutions, and joins them before that; then all have one head, also three.
#[test]
fn what_people_settle_at_once_is_one_head_after_they_have_synced() {
    let home = tempfile::tempdir().unwrap();
    let (remote, ada) = remote_of_ada(home.path());
    ada.append("a", 1);
    braidfs(&ada.dir, &["sync"]).ok();
    let bo = clone(&remote, &home.path().join("bo"));
    let cy = clone(&remote, &home.path().join("cy"));
    let all = [&ada, &bo, &cy];
    for (n, copy) in all.iter().enumerate() {
        copy.append("a", 2 + n as u64);
        braidfs(&copy.dir, &["sync"]).ok();
    }
    for copy in all {
        // Nothing but appends met so far, and a fork is open: that is for a person to settle, and nothing is joined.
        let said = braidfs(&copy.dir, &["--format", "json", "sync"]).ok().json();
        assert_eq!(said["joined"], serde_json::json!([]), "{said}");
        assert_eq!(braidfs(&copy.dir, &["--format", "json", "status"]).ok().json()["forks"]["open"], 1);
    }
    for copy in all {
        braidfs(&copy.dir, &["reconcile", "--all", "--accept"]).ok();
    }
    let first = braidfs(&ada.dir, &["--format", "json", "sync"]).ok().json();
    assert_eq!(first["joined"], serde_json::json!([]), "{first}");
    // Without a push nothing says who is second.
    let said = braidfs(&bo.dir, &["--format", "json", "sync", "--no-push"]).ok().json();
    assert_eq!((&said["joined"], &said["brought"]), (&serde_json::json!([]), &1.into()), "{said}");
    for copy in [&bo, &cy] {
        let said = braidfs(&copy.dir, &["--format", "json", "sync"]).ok().json();
        assert_eq!(said["joined"].as_array().map(Vec::len), Some(1), "{said}");
        assert_eq!(git(&copy.dir, ["status", "--porcelain"]).out, "");
    }
    for copy in all {
        let said = braidfs(&copy.dir, &["sync"]).ok();
        assert!(!said.out.contains("joined"), "{}", said.out);
        let status = braidfs(&copy.dir, &["--format", "json", "status"]).ok().json();
        assert_eq!(status["heads"].as_array().map(Vec::len), Some(1), "{status}");
        copy.follows();
    }
    assert_eq!(ada.text("log.jsonl"), bo.text("log.jsonl"));
    assert_eq!(ada.text("log.jsonl"), cy.text("log.jsonl"));
}

#[test]
fn sync_without_a_remote_commits() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    copy.append("a", 1);
    let said = braidfs(&copy.dir, &["sync"]).ok();
    assert!(said.out.contains("committed 1 transaction file\n") && said.out.contains("no remote"), "{}", said.out);
    assert_eq!(git(&copy.dir, ["status", "--porcelain"]).out, "");
    // Who wants no exchange is not told how to get one.
    assert_eq!(braidfs(&copy.dir, &["sync", "--offline"]).ok().out, "committed 0 transaction files\nnothing was pulled or pushed\n");
}

/// Story: of two at once, the second ended as if the machine had failed: git had found a reference of the remote changed under its hands.
#[test]
fn two_syncs_in_one_store_work_one_after_the_other() {
    let home = tempfile::tempdir().unwrap();
    let (remote, ada) = remote_of_ada(home.path());
    ada.append("a", 0);
    braidfs(&ada.dir, &["sync"]).ok();
    let bo = clone(&remote, &home.path().join("bo"));
    for n in 1..=6 {
        bo.append("b", n);
        braidfs(&bo.dir, &["sync"]).ok();
        ada.append("a", n);
        std::thread::scope(|scope| {
            let syncs: Vec<_> = (0..3).map(|_| scope.spawn(|| braidfs(&ada.dir, &["sync"]))).collect();
            syncs.into_iter().for_each(|sync| drop(sync.join().unwrap().ok()));
        });
    }
    assert_eq!(git(&ada.dir, ["status", "--porcelain"]).out, "");
    let held = |seconds: &str| {
        let lock = ada.dir.join(".eventcore/braidfs/sync.lock");
        let holder = Command::new("flock").arg("-F").arg(&lock).args(["sleep", seconds]).spawn().unwrap();
        let is_held = || Command::new("flock").arg("-n").arg(&lock).arg("true").status().unwrap().code() == Some(1);
        eventually("it is held", is_held);
        holder
    };
    let mut long = held("60");
    let busy = braidfs(&ada.dir, &["sync"]).code(3);
    assert!(busy.err.contains("another sync is at work in store") && busy.err.contains("hint: try again when it is done"), "{}", busy.err);
    long.kill().unwrap();
    long.wait().unwrap();
    let mut short = held("1");
    braidfs(&ada.dir, &["sync"]).ok();
    short.wait().unwrap();
}

#[test]
fn sync_says_what_keeps_git_from_its_work() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    copy.append("a", 1);
    fs::write(copy.dir.join(".git/index.lock"), "").unwrap();
    let busy = braidfs(&copy.dir, &["sync"]).code(3);
    assert!(busy.err.contains("another git is at work here") && busy.err.contains("try again"), "{}", busy.err);
    let lock = copy.dir.join(".git/index.lock");
    let cure = format!("hint: rm -f {}   # if no git is running here: one was killed and left this ", lock.display());
    assert!(busy.err.contains(&cure) && !busy.err.contains("doctor"), "{}", busy.err);
    fs::remove_file(&lock).unwrap();
    braidfs(&copy.dir, &["sync"]).ok();
    // A merge does not say what it met.
    let other = clone(&copy.dir, &home.path().join("other"));
    other.commit("b", 1);
    git(&copy.dir, ["remote", "add", "origin", other.dir.to_str().unwrap()]);
    copy.commit("c", 1);
    fs::write(&lock, "").unwrap();
    let busy = braidfs(&copy.dir, &["sync", "--no-push"]).code(3);
    assert!(busy.err.contains("git could not pull: another git is at work here") && busy.err.contains(&cure), "{}", busy.err);
    fs::remove_file(&lock).unwrap();
    let outside = home.path().join("outside");
    run_with(braidfs_command().arg("init").arg(&outside), b"").ok();
    let refused = braidfs(&outside, &["sync"]).code(4);
    assert!(refused.err.contains("lies in no git repository") && refused.err.contains("hint: git init"), "{}", refused.err);
    assert!(refused.err.lines().count() < 6, "{}", refused.err);
}

/// As the doctor says it, to which it points: what another branch has is no fault, what is gone is one.
#[test]
fn sync_counts_what_is_to_be_mended() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    let name = copy.commit("a", 1);
    copy.on_branch("side", |copy| copy.commit("a", 2));
    let dir = copy.dir.clone();
    drop(copy);
    let synced = || braidfs(&dir, &["sync", "--offline"]).ok().out;
    assert_eq!(synced(), "committed 0 transaction files\nnothing was pulled or pushed\n");
    std::fs::remove_file(dir.join("events").join(name)).unwrap();
    assert!(synced().contains(" should be mended: braidfs doctor\n"), "{}", synced());
}

/// Somebody else's push arrives at the remote while ours runs: what they brought is merged, and ours is pushed again.
#[test]
fn a_push_that_is_overtaken_while_it_runs_is_tried_again() {
    let home = tempfile::tempdir().unwrap();
    let (remote, ada) = remote_of_ada(home.path());
    // Whoever is always faster commits at the remote, and not every machine has a name for them.
    git(&remote, ["config", "user.name", "Cy"]);
    git(&remote, ["config", "user.email", "cy@example.org"]);
    braidfs(&ada.dir, &["sync"]).ok();
    let bo = clone(&remote, &home.path().join("bo"));
    bo.commit("b", 1);
    git(&bo.dir, ["push", "-q", "origin", "HEAD:refs/heads/bo"]);
    let hook = remote.join("hooks/update");
    let overtaking = "#!/bin/sh\n[ \"$1\" = refs/heads/main ] || exit 0\n[ -e overtaken ] && exit 0\ntouch overtaken\ngit update-ref refs/heads/main bo\n";
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, overtaking).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    ada.append("a", 2);
    let said = braidfs(&ada.dir, &["sync"]).ok();
    assert!(remote.join("overtaken").exists());
    assert!(said.out.contains("1 transaction came from others; everything is pushed"), "{}", said.out);
    // Where somebody is always faster, it ends and says so.
    fs::write(&hook, "#!/bin/sh\ngit update-ref refs/heads/main $(git commit-tree -p main -m more main^{tree})\n").unwrap();
    ada.append("a", 3);
    let said = braidfs(&ada.dir, &["sync"]).code(4);
    assert!(said.err.contains("try again: braidfs sync"), "{}", said.err);
    assert!(!said.err.contains("\\u{9}") && !said.err.lines().any(|line| line.trim() == "cause:"), "{}", said.err);
}

#[test]
fn what_stops_a_pull_is_told_with_what_helps() {
    let home = tempfile::tempdir().unwrap();
    let ada = repository(&home.path().join("ada"));
    let bo = clone(&ada.dir, &home.path().join("bo"));
    for (copy, text) in [(&ada, "Ada's\n"), (&bo, "Bo's\n")] {
        fs::write(copy.dir.join("note"), text).unwrap();
        copy.save(text);
    }
    let name = bo.append("b", 1).transaction_id;
    let conflict = braidfs(&bo.dir, &["sync"]).code(4);
    for text in ["CONFLICT", "git add FILE", "then finish it: git merge --continue", "or give it up: git merge --abort"] {
        assert!(conflict.err.contains(text), "{}", conflict.err);
    }
    git(&bo.dir, ["merge", "--abort"]);
    assert!(bo.dir.join(format!("events/{name}.jsonl")).exists());
    git(&bo.dir, ["remote", "set-url", "origin", home.path().join("nowhere").to_str().unwrap()]);
    let unreachable = braidfs(&bo.dir, &["sync"]).code(4);
    assert!(
        unreachable.err.contains("hint: what is new is committed; to leave the remote alone: braidfs sync --offline"),
        "{}",
        unreachable.err
    );
    assert!(!unreachable.err.lines().any(|line| line.trim() == "cause:"), "{}", unreachable.err);
    braidfs(&bo.dir, &["sync", "--offline"]).ok();
}

/// Story: seventeen lines of git's and no hint.
#[test]
fn a_push_into_a_working_copy_is_told_with_what_lets_it_in() {
    let home = tempfile::tempdir().unwrap();
    let ada = repository(&home.path().join("ada"));
    let bo = clone(&ada.dir, &home.path().join("bo"));
    let name = format!("{}.jsonl", bo.append("b", 1).transaction_id);
    let refused = braidfs(&bo.dir, &["sync"]).code(4).err;
    let hints = refused.lines().filter_map(|line| line.strip_prefix("  hint: "));
    let setting = "config receive.denyCurrentBranch updateInstead";
    let cure = hints.filter_map(|hint| hint.split_once("   # ")).find(|(command, _)| command.ends_with(setting));
    bash(home.path(), cure.unwrap_or_else(|| panic!("{refused}")).0).ok();
    braidfs(&bo.dir, &["sync"]).ok();
    assert!(ada.dir.join("events").join(name).exists());
    // By the network it is another machine's.
    let mut ssh = braidfs_command();
    ssh.arg("--store")
        .arg(&bo.dir)
        .arg("sync")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_SSH_COMMAND", "bash -c 'eval \"${@: -1}\"' --");
    git(&ada.dir, ["config", "--unset", "receive.denyCurrentBranch"]);
    git(&bo.dir, ["remote", "set-url", "origin", &format!("host:{}", ada.dir.display())]);
    bo.append("b", 2);
    let refused = run_with(&mut ssh, b"").code(4).err;
    assert!(refused.contains(&format!("hint: git {setting}   # there, in host:{}: ", ada.dir.display())), "{refused}");
}

#[test]
fn diff_tells_what_a_merge_brought_and_what_it_did_to_the_streams() {
    let home = tempfile::tempdir().unwrap();
    let ours = repository(&home.path().join("ours"));
    ours.commit("a", 1);
    let theirs = clone(&ours.dir, &home.path().join("theirs"));
    theirs.commit("a", 2);
    theirs.commit("c", 3);
    ours.commit("a", 4);
    ours.commit("a", 5);
    pull(&ours.dir, &theirs.dir);
    let said = braidfs(&ours.dir, &["--format", "json", "diff", "HEAD^1", "HEAD"]).ok().json();
    assert_eq!(said["came"].as_array().unwrap().len(), 2, "{said}");
    let streams = said["streams"].as_array().unwrap();
    let a = streams.iter().find(|stream| stream["stream_id"] == "a").unwrap();
    assert_eq!((&a["old_version"], &a["new_version"], &a["came"], &a["went"]), (&3.into(), &4.into(), &1.into(), &0.into()), "{said}");
    // Theirs has the depth of our second and was written before it.
    assert_eq!((&a["shifted"], &a["first_shifted"], &a["reordered"]), (&2.into(), &2.into(), &false.into()), "{said}");
    assert_eq!(said["conflicts"]["opened"].as_array().unwrap().len(), 1, "{said}");
    let back = braidfs(&ours.dir, &["diff", "HEAD", "HEAD^1"]).ok();
    assert!(back.out.starts_with("0 transactions came, 2 went"), "{}", back.out);
    assert_eq!(braidfs(&ours.dir, &["diff", "HEAD"]).ok().out, "0 transactions came, 0 went\n0 streams changed\n");
}

/// A third branch comes to a fork, which is one conflict under another id then; at last it is settled.
#[test]
fn a_conflict_that_gains_a_branch_was_not_closed() {
    let home = tempfile::tempdir().unwrap();
    let (remote, ada) = remote_of_ada(home.path());
    ada.append("a", 1);
    braidfs(&ada.dir, &["sync"]).ok();
    let [bo, cy] = ["bo", "cy"].map(|name| clone(&remote, &home.path().join(name)));
    for (copy, n) in [(&ada, 2), (&bo, 3), (&cy, 4)] {
        copy.append("a", n);
    }
    let sync = |copy: &Copy| braidfs(&copy.dir, &["--format", "json", "sync"]).ok().json()["conflicts"].clone();
    sync(&ada);
    let two = sync(&bo)["opened"][0].as_str().unwrap().to_owned();
    let three = sync(&cy)["opened"][0].as_str().unwrap().to_owned();
    let before = git(&bo.dir, ["rev-parse", "HEAD"]).out.trim().to_owned();
    let said = braidfs(&bo.dir, &["sync"]).ok().out;
    assert!(said.contains(&format!("conflict {two} changed to {three}: see ")), "{said}");
    assert!(!said.contains("opened") && !said.contains("closed"), "{said}");
    let diff = |old: &str, new: &str| braidfs(&bo.dir, &["--format", "json", "diff", old, new]).ok().json()["conflicts"].clone();
    let nothing = serde_json::json!([]);
    let forks = diff(&before, "HEAD");
    assert_eq!(forks["changed"], serde_json::json!([{"conflict": three, "before": [two], "streams": ["a"]}]));
    assert_eq!((&forks["opened"], &forks["closed"]), (&nothing, &nothing), "{forks}");
    let back = diff("HEAD", &before);
    assert_eq!(back["changed"], serde_json::json!([{"conflict": two, "before": [three], "streams": ["a"]}]));
    braidfs(&cy.dir, &["reconcile", "--all", "--accept"]).ok();
    sync(&cy);
    let said = braidfs(&bo.dir, &["sync"]).ok().out;
    assert!(said.contains(&format!("conflict {three} closed\n")), "{said}");
    assert_eq!(diff(&before, "HEAD"), serde_json::json!({"opened": [], "changed": [], "closed": [{"conflict": two, "streams": ["a"]}]}));
    // Who settled it and is at odds anew opens another one.
    bo.append("a", 5);
    cy.append("a", 6);
    sync(&bo);
    sync(&cy);
    sync(&bo);
    let forks = diff(&before, "HEAD");
    assert_eq!((&forks["changed"], forks["opened"].as_array().unwrap().len(), &forks["closed"][0]["conflict"]), (&nothing, 1, &two.into()));
}

/// A union of everything, told from what was shown before and after it: by transactions, positions, numbers and times.
#[test]
fn diff_takes_every_kind_of_moment() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    let ids: Vec<String> = (1..=3).map(|n| copy.append("a", n).transaction_id.to_string()).collect();
    let latest = |epoch: &braidfs::epoch::Epoch| format!("seq:{}", epoch.feed_shown);
    let before = latest(&copy.braid.epoch());
    let last = copy.append("b", 4).transaction_id.to_string();
    let after = latest(&copy.braid.epoch());
    copy.save("all");
    let created_at = |n: usize| {
        copy.text("log.jsonl").lines().nth(n).unwrap().split("\"created_at\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    };
    let times = [2, 3].map(|n| format!("time:{}", created_at(n)));
    let moments = [
        (before.as_str(), after.as_str()),
        ("position:3", "position:4"),
        (ids[2].as_str(), last.as_str()),
        (&format!("tx:{}", ids[2]), &format!("git:{}", "HEAD")),
        (&times[0], &times[1]),
    ];
    for (old, new) in moments {
        let said = braidfs(&copy.dir, &["--format", "json", "diff", old, new]).ok().json();
        let came: Vec<&str> = said["came"].as_array().unwrap().iter().map(|came| came["transaction_id"].as_str().unwrap()).collect();
        assert_eq!(came, [last.as_str()], "{old} {new}");
        assert_eq!(said["streams"][0]["stream_id"], "b", "{old} {new}");
    }
    assert_eq!(braidfs(&copy.dir, &["diff", &ids[0]]).ok().out.lines().next(), Some("3 transactions came, 0 went"));
}

/// A part of a branch was picked without what it builds on; when the rest comes, it moves behind.
#[test]
fn diff_tells_which_streams_a_late_parent_re_orders() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    copy.commit("a", 1);
    copy.on_branch("side", |copy| {
        copy.commit("a", 2);
        copy.commit("a", 3);
    });
    copy.commit("a", 4);
    git(&copy.dir, ["cherry-pick", "side"]);
    git(&copy.dir, ["merge", "-q", "--no-edit", "side"]);
    let said = braidfs(&copy.dir, &["--format", "json", "diff", "HEAD^1", "HEAD"]).ok().json();
    let a = &said["streams"][0];
    assert_eq!((&a["reordered"], &a["came"], &a["went"]), (&true.into(), &1.into(), &0.into()), "{said}");
    let told = braidfs(&copy.dir, &["diff", "HEAD^1", "HEAD"]).ok().out;
    assert!(told.contains("a: version 3 -> 4, 1 came, ") && told.contains(", re-ordered"), "{told}");
}

#[test]
fn git_setup_explains_each_thing_before_it_does_it() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    let attributes = copy.dir.join(".gitattributes");
    std::fs::write(&attributes, "*.txt text\n").unwrap();
    let setting = |name: &str| run_with(crate::support::git::git_command(&copy.dir).args(["config", "--get", name]), b"").out;
    let told = braidfs(&copy.dir, &["git", "setup", "--dry-run"]).ok().out;
    for said in
        ["lacks \"events/*.jsonl -text merge=binary\"", "core.untrackedCache = true: ", "merge.renames = false: ", "nothing was changed"]
    {
        assert!(told.contains(said), "{told}");
    }
    assert_eq!((std::fs::read_to_string(&attributes).unwrap().as_str(), setting("index.version").as_str()), ("*.txt text\n", ""));
    let done = braidfs(&copy.dir, &["git", "setup"]).ok().out;
    assert!(done.contains("added \"events/*.jsonl -text merge=binary\" to .gitattributes"), "{done}");
    assert!(std::fs::read_to_string(&attributes).unwrap().starts_with("*.txt text\n"));
    assert_eq!((setting("core.untrackedCache").as_str(), setting("index.version").as_str()), ("true\n", "4\n"));
    assert_eq!(braidfs(&copy.dir, &["git", "setup"]).ok().out, "git knows everything already\n");
}

#[test]
fn reading_commands_read_the_past_too() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    copy.commit("a", 1);
    let before = copy.text("log.jsonl");
    copy.commit("a", 2);
    for when in ["HEAD~1", "position:1", "seq:1"] {
        assert_eq!(braidfs(&copy.dir, &["--format", "json", "log", "--at", when]).ok().out, before, "{when}");
    }
    assert_eq!(braidfs(&copy.dir, &["--format", "json", "status", "--at", "HEAD~1"]).ok().json()["transactions"], 1);
    assert_eq!(braidfs(&copy.dir, &["--format", "json", "streams", "--at", "HEAD~1"]).ok().json()["events"], 1);
    let refused = braidfs(&copy.dir, &["log", "--at", "no-such-branch"]).code(1);
    assert!(refused.err.contains("names no commit"), "{}", refused.err);
}

/// A line that was meant for other files keeps transactions out of git, and nothing else tells.
#[test]
fn transactions_that_git_ignores_are_told_by_doctor_and_sync_with_what_has_git_take_them() {
    for (file, line) in
        [("top/.gitignore", "*.jsonl"), ("top/.git/info/exclude", "*.jsonl"), ("top/st/events/.gitignore", "0*"), ("excludes", "*.jsonl")]
    {
        let home = tempfile::tempdir().unwrap();
        let [top, store, hub] = ["top", "top/st", "hub.git"].map(|name| home.path().join(name));
        std::fs::create_dir(&top).unwrap();
        git(home.path(), ["init", "-q", "--bare", hub.to_str().unwrap()]);
        let ada = store_in(&top, &store);
        git(&top, ["remote", "add", "origin", hub.to_str().unwrap()]);
        git(&top, ["config", "core.excludesFile", home.path().join("excludes").to_str().unwrap()]);
        ada.append("a", 1);
        assert!(braidfs(&store, &["sync"]).ok().out.ends_with("; everything is pushed\n"));
        std::fs::write(home.path().join(file), line).unwrap();
        ada.append("a", 2);
        ada.append("a", 3);
        let told = || braidfs(&store, &["--format", "json", "doctor"]).json()["findings"].clone();
        let found = told();
        assert_eq!((&found[0]["kind"], &found[0]["severity"]), (&"uncommitted".into(), &"warning".into()), "{file}: {found}");
        let message = found[0]["message"].as_str().unwrap();
        assert!(message.starts_with("2 transaction files are ignored by git and never committed: line 1 of "), "{message}");
        assert!(
            message.ends_with(&file.trim_start_matches("top").trim_start_matches("/st").trim_start_matches('/').to_owned()),
            "{message}"
        );
        let said = braidfs(&store, &["sync"]).ok().out;
        for words in ["2 new files in events/ are not committed:\n", message, "; everything that is committed is pushed\n"] {
            assert!(said.contains(words), "{file}: {said}");
        }
        let said = braidfs(&store, &["--format", "json", "sync"]).ok().json();
        assert_eq!((&said["left_out"], &said["reasons"][0]), (&2.into(), &found[0]), "{said}");
        crate::support::run::bash(&store, found[0]["hint"].as_str().unwrap()).ok();
        assert_eq!(braidfs(&store, &["--format", "json", "sync"]).ok().json()["committed"], 2, "{file}");
    }
}

/// Somebody may keep a store in a repository that is not to have it.
#[test]
fn a_store_that_git_ignores_whole_is_no_fault() {
    let home = tempfile::tempdir().unwrap();
    let store = home.path().join("top/private");
    std::fs::create_dir(home.path().join("top")).unwrap();
    let ada = store_in(&home.path().join("top"), &store);
    std::fs::write(home.path().join("top/.gitignore"), "private/\n").unwrap();
    ada.append("a", 1);
    let found = braidfs(&store, &["--format", "json", "doctor"]).json()["findings"].clone();
    assert_eq!((&found[0]["kind"], &found[0]["severity"]), (&"uncommitted".into(), &"info".into()), "{found}");
    let hint = found[0]["hint"].as_str().unwrap();
    assert!(hint.starts_with("take line 1 out of ../.gitignore, if git is to have them"), "{hint}");
}

#[test]
fn what_a_commit_had_and_refuses_is_told_of_that_moment() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    let name = copy.commit("a", 1);
    let events = copy.dir.join("events");
    std::fs::write(events.join("garbage.jsonl"), "garbage\n").unwrap();
    std::fs::copy(events.join(&name), events.join("again.jsonl")).unwrap();
    copy.save("what does not count");
    git(&copy.dir, ["rm", "-q", "events/garbage.jsonl", "events/again.jsonl"]);
    copy.save("removed");
    let told = |when: &str| {
        let found = braidfs(&copy.dir, &["--format", "json", "status", "--at", when]).ok().json()["findings"].clone();
        let files = found.as_array().unwrap().iter().map(|finding| format!("{} {}", finding["kind"], finding["file"]));
        files.collect::<Vec<_>>()
    };
    assert_eq!(told("HEAD~1"), ["\"quarantined\" \"garbage.jsonl\"", "\"duplicate\" \"again.jsonl\""]);
    assert_eq!(told("HEAD"), [] as [String; 0]);
}

/// Whoever comes second finds everything committed.
#[test]
fn two_who_sync_at_once_both_succeed_or_one_is_told_to_try_again() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    let name = format!("{}.jsonl", copy.append("a", 1).transaction_id);
    // In the place of the other one: a git that commits all that it is about to commit.
    let bin = home.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let path = std::env::var("PATH").unwrap();
    let script = format!(
        "#!/bin/sh\nexport PATH='{path}'\ncase \"$*\" in *' commit '*) git -C '{}' commit -q -m first -- events;; esac\nexec git \"$@\"\n",
        copy.dir.display()
    );
    std::fs::write(bin.join("git"), script).unwrap();
    std::fs::set_permissions(bin.join("git"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = braidfs_command();
    command.arg("--store").arg(&copy.dir).args(["--format", "json", "sync", "--offline"]).env("GIT_CONFIG_GLOBAL", "/dev/null");
    let said = run_with(command.env("PATH", format!("{}:{path}", bin.display())), b"").ok().json();
    assert_eq!(said["committed"], 0, "{said}");
    assert_eq!(git(&copy.dir, ["log", "--format=%s", "--", &format!("events/{name}")]).out, "first\n");
}

/// A hook that says no says why, also where it says that on standard output; it is not taken for nothing to do.
#[test]
fn what_a_hook_refuses_is_no_success() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    copy.append("a", 1);
    let hook = copy.dir.join(".git/hooks/pre-commit");
    std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
    std::fs::write(&hook, "#!/bin/sh\necho not on a Friday\nexit 1\n").unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    let refused = braidfs(&copy.dir, &["sync", "--offline"]).code(4);
    assert!(refused.err.contains("cause: git commit -q: not on a Friday"), "{}", refused.err);
}
