//! `braidfs restore --forget`: what no place has any more is acknowledged, and nothing tells of it then.

use std::fs;
use std::path::Path;

use braidfs::model::FindingKind;

use crate::stage::{Copy, repository};
use crate::support::git::git;
use crate::support::run::{Ran, braidfs_command, run_with};
use crate::support::wait::eventually;

fn braidfs(dir: &Path, arguments: &[&str]) -> Ran {
    run_with(braidfs_command().arg("--store").arg(dir).args(arguments).env("GIT_CONFIG_GLOBAL", "/dev/null"), b"")
}

/// Whether the open store tells by itself that something has vanished.
fn tells(copy: &Copy) -> bool {
    copy.braid.epoch().findings.iter().any(|finding| finding.kind == FindingKind::Vanished)
}

#[test]
fn what_was_never_committed_and_is_gone_is_told_until_it_is_acknowledged() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    copy.commit("a", 1);
    let taken = copy.dir.join(format!("events/{}.jsonl", copy.append("a", 2).transaction_id));
    let bytes = fs::read(&taken).unwrap();
    git(&copy.dir, ["clean", "-q", "-f", "-d"]);
    eventually("it is told", || tells(&copy));
    let told = braidfs(&copy.dir, &["doctor"]).code(1);
    assert!(told.out.contains("braidfs restore --forget --all"), "{}", told.out);
    let found = braidfs(&copy.dir, &["restore"]).code(1);
    assert!(found.err.contains("hint: acknowledge what nobody has any more: braidfs restore --forget --all"), "{}", found.err);

    let forgot = braidfs(&copy.dir, &["restore", "--forget", "--all"]).ok();
    assert!(forgot.out.starts_with("forgot ") && forgot.out.ends_with("\n1 event is known to be gone now\n"), "{}", forgot.out);
    eventually("a store that is open tells no more of it", || !tells(&copy));
    let feed = copy.text("feed.jsonl");
    assert_eq!(feed.matches("\"gone\":true").count(), 1, "its number stays gone: {feed}");
    let is_well = |copy: &Copy| {
        assert_eq!(braidfs(&copy.dir, &["doctor"]).ok().out, "nothing is wrong\n");
        assert_eq!(braidfs(&copy.dir, &["restore"]).ok().out, "0 files are back\n");
        assert_eq!(braidfs(&copy.dir, &["restore", "--forget", "--all"]).ok().out, "0 events are known to be gone now\n");
    };
    is_well(&copy);
    for entry in fs::read_dir(copy.dir.join("index")).unwrap().map(|entry| entry.unwrap()) {
        if entry.file_name() != "ingestion.log" {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    is_well(&copy);

    // Somebody had it after all; when it goes again, that is another loss.
    fs::write(&taken, &bytes).unwrap();
    copy.follows();
    assert_eq!((copy.count(), tells(&copy)), (2, false));
    fs::remove_file(&taken).unwrap();
    copy.follows();
    eventually("it is told again", || tells(&copy));
}

#[test]
fn what_git_still_has_is_forgotten_only_when_told_so() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    copy.commit("a", 1);
    let name = copy.commit("a", 2);
    copy.append("a", 3);
    git(&copy.dir, ["clean", "-q", "-f", "-d"]);
    git(&copy.dir, ["rm", "-q", &format!("events/{name}")]);
    git(&copy.dir, ["commit", "-q", "-m", "a mistake"]);
    copy.follows();
    let said = braidfs(&copy.dir, &["restore", "--forget", "--all"]).code(1);
    assert!(said.out.ends_with("\n1 event is known to be gone now\n"), "{}", said.out);
    for text in [
        format!("git still has 1 file: {name}"),
        format!("bring back what git has: braidfs restore {name}\n"),
        "or forget it all the same: braidfs restore --forget --force --all\n".to_owned(),
    ] {
        assert!(said.err.contains(&text), "{}", said.err);
    }
    assert!(tells(&copy));
    let json = braidfs(&copy.dir, &["--format", "json", "restore", "--forget", "--all"]).code(1).json();
    assert_eq!((&json["forgotten"], &json["unnamed"], &json["in_git"]), (&serde_json::json!([]), &0.into(), &serde_json::json!([name])));
    braidfs(&copy.dir, &["restore", &name]).ok();
    copy.follows();
    assert_eq!(copy.count(), 2);
    eventually("both are settled", || !tells(&copy));
    fs::remove_file(copy.dir.join("events").join(&name)).unwrap();
    copy.follows();
    let forgot = braidfs(&copy.dir, &["restore", "--forget", "--all", "--force"]).ok();
    assert!(forgot.out.ends_with("\n1 event is known to be gone now\n"), "{}", forgot.out);
    eventually("it is forgotten", || !tells(&copy));
}

#[test]
fn who_forgets_says_what_and_what_is_here_or_unknown_is_not_forgotten() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    let refused = copy.commit("a", 1);
    let event = copy.append("b", 2).events[0].event_id.to_string();
    let other = copy.append("b", 3).transaction_id;
    git(&copy.dir, ["clean", "-q", "-f", "-d"]);
    fs::write(copy.dir.join("events").join(&refused), "nonsense\n").unwrap();
    eventually("all are gone", || copy.count() == 0);
    for arguments in
        [&["restore", "--forget"][..], &["restore", "--all"], &["restore", "--force", "x"], &["restore", "--forget", "--all", "x"]]
    {
        braidfs(&copy.dir, arguments).code(2);
    }
    let said = braidfs(&copy.dir, &["restore", "--forget", "never", &refused]).code(1);
    assert!(said.err.contains("nothing is told to be gone as never") && said.err.contains("is here and is refused: "), "{}", said.err);
    assert!(said.err.contains("braidfs --format json feed | grep '\"gone\":true'"), "{}", said.err);
    assert!(braidfs(&copy.dir, &["--format", "json", "feed"]).ok().out.contains(&format!("\"event_id\":\"{event}\",\"gone\":true")));
    assert!(braidfs(&copy.dir, &["restore", "--forget", &event]).ok().out.ends_with("1 event is known to be gone now\n"));
    let left = |copy: &Copy| {
        let found = copy.braid.epoch();
        let vanished = found.findings.iter().filter(|finding| finding.kind == FindingKind::Vanished);
        vanished.filter_map(|finding| finding.file.clone()).collect::<Vec<_>>()
    };
    eventually("the other one is told", || left(&copy) == [format!("{other}.jsonl")]);
}
