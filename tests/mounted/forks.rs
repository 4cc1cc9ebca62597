//! Two clones, each mounted: git unions their files, the fork shows in both, and one resolution ends it everywhere.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::mount::Mount;
use crate::support::run::{bash, braidfs};
use crate::support::wait::{eventually, eventually_some};

fn script(at: &Path, text: &str) {
    bash(at, &format!("set -e\nexport GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b.c GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b.c\n{text}"))
        .ok();
}

fn conflict(mount: &Mount) -> Option<String> {
    mount.list("forks").into_iter().next()
}

#[test]
fn two_people_meet_see_the_fork_in_their_mounts_and_settle_it_by_a_file() {
    let home = tempfile::tempdir().unwrap();
    let at = home.path();
    script(at, "git init -q --bare remote.git && git init -q -b main one");
    braidfs(["init", at.join("one").to_str().unwrap()]).ok();
    script(at, "cd one && git remote add origin ../remote.git && git add . && git commit -qm store && git push -qu origin main");
    script(at, "git -C remote.git symbolic-ref HEAD refs/heads/main && git clone -q remote.git two");
    let one = Mount::options(&at.join("one")).at(&at.join("mnt-one")).start();
    let two = Mount::options(&at.join("two")).at(&at.join("mnt-two")).start();
    let append = |mount: &Mount, value: &str| {
        fs::write(mount.join("append"), format!("{{\"stream\":\"plan/a\",\"type\":\"Set\",\"data\":\"{value}\"}}\n"))
    };
    append(&one, "first").unwrap();
    script(at, "cd one && git add . && git commit -qm one && git push -q && cd ../two && git pull -q");
    eventually("the first event is in both", || two.read("log.jsonl").lines().count() == 1);
    append(&one, "by one").unwrap();
    append(&two, "by two").unwrap();
    assert!(conflict(&one).is_none() && conflict(&two).is_none());
    script(at, "cd one && git add . && git commit -qm one && git push -q");
    script(at, "cd two && git add . && git commit -qm two && git pull -q --no-rebase --no-edit && git push -q && cd ../one && git pull -q");

    let id = eventually_some("the fork shows in one", || conflict(&one));
    assert_eq!(eventually_some("the fork shows in two", || conflict(&two)), id);
    eventually("both orders are one", || one.read("log.jsonl") == two.read("log.jsonl") && one.read("log.jsonl").lines().count() == 3);
    assert_eq!(one.read_json("status.json")["forks"]["open"], 1);
    let report: Value = one.read_json(&format!("forks/{id}/report.json"));
    assert_eq!(report["state"], "open");
    assert_eq!(report["streams"][0]["stream_id"], "plan/a");
    let path = report["streams"][0]["path"].as_str().unwrap();
    assert_eq!(one.read(&format!("forks/{id}/{path}/base.jsonl")).lines().count(), 1);
    for branch in report["streams"][0]["branches"].as_array().unwrap() {
        let name = branch["name"].as_str().unwrap();
        assert_eq!(one.read(&format!("forks/{id}/{path}/{name}.jsonl")).lines().count(), 1);
    }
    assert!(one.read(&format!("forks/{id}/README.md")).contains("plan/a"));
    assert!(!one.read("graph.txt").is_empty());

    let refused = append(&one, "unaware").unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::ESTALE));
    script(one.path(), &format!("cp forks/{id}/resolution.json staging/settle.json"));
    assert!(conflict(&one).is_none(), "the fork is over when the copy returns");
    assert_eq!(one.read_json("status.json")["forks"]["open"], 0);
    append(&one, "after").unwrap();
    script(at, "cd one && git add . && git commit -qm settled && git push -q && cd ../two && git pull -q");
    eventually("the fork is over in two", || conflict(&two).is_none() && one.read("log.jsonl") == two.read("log.jsonl"));
    assert_eq!(two.read_json("status.json")["heads"].as_array().unwrap().len(), 1);
    one.unmount();
    two.unmount();
}
