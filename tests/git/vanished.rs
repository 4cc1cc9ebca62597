//! What has vanished: which branch has it, and `braidfs restore --forget`, which acknowledges that no place has it any more.

use std::fs;
use std::path::Path;
use std::process::Command;

use braidfs::format::draft::{DraftKind, parse_draft};
use braidfs::model::{FindingKind, Severity};

use crate::stage::{Copy, clone, repository, store_in};
use crate::support::git::{git, git_at};
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
    let hint = copy.finding(FindingKind::Vanished);
    assert!(hint.starts_with("braidfs restore --forget --all   # acknowledges it: no commit has it"), "{hint}");
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
    forget_index(&copy.dir);
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

/// What the open store tells of what has vanished: severity, message and hint of the only finding.
#[track_caller]
fn told(copy: &Copy) -> (Severity, String, String) {
    let found = copy.braid.survey().unwrap();
    let vanished: Vec<_> = found.findings.iter().filter(|finding| finding.kind == FindingKind::Vanished).collect();
    assert_eq!(vanished.len(), 1, "{vanished:?}");
    (vanished[0].severity, vanished[0].message.clone(), vanished[0].hint.clone())
}

#[test]
fn files_of_another_branch_are_told_at_once_with_the_merge_that_brings_them_and_are_no_fault() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    copy.commit("a", 1);
    let (branch, quoted) = ("side/a'b", r"'side/a'\''b'");
    let one = copy.on_branch(branch, |copy| copy.commit("a", 2));
    let (severity, message, hint) = told(&copy);
    assert_eq!(
        (severity, message),
        (Severity::Info, format!("file \"{one}\" was here and is on branch \"{branch}\" now, with 1 of the feed's events"))
    );
    assert_eq!(hint, format!("git merge {quoted}   # brings it here; braidfs restore {one} copies it alone"));
    git(&copy.dir, ["switch", "-q", branch]);
    copy.follows();
    for n in 3..33 {
        copy.append("a", n);
    }
    copy.save("many");
    git(&copy.dir, ["switch", "-q", "main"]);
    copy.follows();
    let many = format!("31 files were here and are on branch \"{branch}\" now, with 31 of the feed's events");
    let merge = format!("git merge {quoted}   # brings them here; braidfs restore copies them alone");
    assert_eq!(told(&copy), (Severity::Info, many.clone(), merge.clone()));
    // Whoever looks anew knows no names of what is not here.
    let said = braidfs(&copy.dir, &["doctor"]).ok().out;
    assert!(said.contains(&many) && said.contains(&merge), "{said}");
    run_with(Command::new("bash").arg("-ec").arg(&merge).current_dir(&copy.dir), b"").ok();
    copy.follows();
    assert_eq!(copy.count(), 32);
    copy.no_finding(FindingKind::Vanished);

    // Gone from that branch too, or brought here and removed here, it is only in the past.
    git(&copy.dir, ["rm", "-q", &format!("events/{one}")]);
    git(&copy.dir, ["commit", "-q", "-m", "a mistake"]);
    copy.follows();
    let (severity, _, hint) = told(&copy);
    assert_eq!((severity, hint), (Severity::Warning, format!("braidfs restore {one}")));
}

#[test]
fn a_branch_of_a_remote_brings_back_what_was_here() {
    let home = tempfile::tempdir().unwrap();
    let first = repository(&home.path().join("first"));
    first.commit("a", 1);
    let copy = clone(&first.dir, &home.path().join("store"));
    let name = first.commit("a", 2);
    git(&copy.dir, ["pull", "-q"]);
    copy.follows();
    git(&copy.dir, ["reset", "-q", "--hard", "HEAD~1"]);
    copy.follows();
    let (severity, message, hint) = told(&copy);
    assert_eq!((severity, message.contains(" is on branch \"origin/main\" now")), (Severity::Info, true), "{message}");
    assert_eq!(hint, format!("git merge origin/main   # brings it here; braidfs restore {name} copies it alone"));
}

/// What the open store tells of what has vanished: severity and message.
fn all_told(copy: &Copy) -> Vec<(Severity, String)> {
    let found = copy.braid.epoch();
    let vanished = found.findings.iter().filter(|finding| finding.kind == FindingKind::Vanished);
    vanished.map(|finding| (finding.severity, finding.message.clone())).collect()
}

fn on_branch(name: &str, branch: &str) -> Vec<(Severity, String)> {
    vec![(Severity::Info, format!("file \"{name}\" was here and is on branch \"{branch}\" now, with 1 of the feed's events"))]
}

fn lost(name: &str) -> Vec<(Severity, String)> {
    vec![(Severity::Warning, format!("file \"{name}\" was here and is gone, with 1 of the feed's events"))]
}

/// Whoever opens the store knows no names of what is gone, as the index is made anew; the feed's numbers stay.
fn forget_index(dir: &Path) {
    for entry in fs::read_dir(dir.join("index")).unwrap().map(|entry| entry.unwrap()) {
        if entry.file_name() != "ingestion.log" {
            fs::remove_file(entry.path()).unwrap();
        }
    }
}

/// A day in 2099.
const LATER: u64 = 4_075_000_000;

#[test]
fn what_was_removed_by_a_branch_that_another_one_merged_is_on_neither() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    copy.commit("a", 1);
    git(&copy.dir, ["switch", "-q", "-c", "b2"]);
    let removed = copy.commit("a", 2);
    git(&copy.dir, ["switch", "-q", "-c", "b1"]);
    git(&copy.dir, ["rm", "-q", &format!("events/{removed}")]);
    git(&copy.dir, ["commit", "-q", "-m", "a mistake"]);
    git(&copy.dir, ["switch", "-q", "b2"]);
    copy.follows();
    let kept = format!("{}.jsonl", copy.append("a", 3).transaction_id);
    git(&copy.dir, ["add", "-A"]);
    // Git goes from the newest commit on, so it reaches what brought the file by this branch, and what removed it by the other one.
    git_at(&copy.dir, LATER, ["commit", "-q", "-m", "a later one"]);
    git(&copy.dir, ["switch", "-q", "main"]);
    copy.follows();
    let both = "2 files were here and are on branch \"b2\" now, with 2 of the feed's events".to_owned();
    eventually("one branch still has both", || all_told(&copy) == [(Severity::Info, both.clone())]);
    git(&copy.dir, ["switch", "-q", "b2"]);
    git_at(&copy.dir, LATER, ["merge", "-q", "--no-edit", "b1"]);
    git(&copy.dir, ["switch", "-q", "main"]);
    copy.follows();
    copy.braid.survey().unwrap();
    let mut told = all_told(&copy);
    told.sort_by_key(|(severity, _)| *severity == Severity::Warning);
    assert_eq!(told, [on_branch(&kept, "b2"), lost(&removed)].concat());
    // Whoever looks anew knows no names of what is not here, and finds them in git's past.
    assert!(braidfs(&copy.dir, &["doctor"]).code(1).out.contains(&lost(&removed)[0].1));
}

#[test]
fn half_an_answer_of_git_is_none_and_it_is_asked_again() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    copy.commit("a", 1);
    git(&copy.dir, ["switch", "-q", "-c", "side"]);
    copy.commit("a", 2);
    let older = git(&copy.dir, ["rev-parse", "HEAD^{tree}"]).out.trim().to_owned();
    copy.commit("a", 3);
    copy.commit("a", 4);
    git(&copy.dir, ["switch", "-q", "main"]);
    copy.follows();
    let dir = copy.dir.clone();
    drop(copy);
    // Git comes as far as to the newest file.
    let object = dir.join(".git/objects").join(&older[..2]).join(&older[2..]);
    let away = home.path().join("away");
    fs::rename(&object, &away).unwrap();
    forget_index(&dir);
    let copy = Copy::open(&dir);
    let unanswered = |copy: &Copy| copy.braid.epoch().findings.iter().any(|finding| finding.message.starts_with("git could not be asked"));
    eventually("that git gives no answer is told", || unanswered(&copy));
    assert!(all_told(&copy).iter().all(|(severity, _)| *severity == Severity::Warning), "{:?}", all_told(&copy));
    fs::rename(&away, &object).unwrap();
    let all = "3 files were here and are on branch \"side\" now, with 3 of the feed's events".to_owned();
    eventually("it is asked again", || all_told(&copy) == [(Severity::Info, all.clone())] && !unanswered(&copy));
}

#[test]
fn a_branch_that_goes_or_comes_is_followed_wherever_git_keeps_it() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    copy.commit("a", 1);
    git(&copy.dir, ["branch", "-q", "side/b"]);
    git(&copy.dir, ["switch", "-q", "-c", "side/a"]);
    let name = copy.commit("a", 2);
    let tip = git(&copy.dir, ["rev-parse", "HEAD"]).out.trim().to_owned();
    git(&copy.dir, ["switch", "-q", "main"]);
    copy.follows();
    eventually("it is on the branch", || all_told(&copy) == on_branch(&name, "side/a"));
    git(&copy.dir, ["branch", "-q", "-D", "side/a"]);
    eventually("the branch is gone", || all_told(&copy) == lost(&name));
    git(&copy.dir, ["update-ref", "refs/remotes/other/side/c", &tip]);
    eventually("a remote has it", || all_told(&copy) == on_branch(&name, "other/side/c"));
    git(&copy.dir, ["pack-refs", "--all"]);
    git(&copy.dir, ["update-ref", "-d", "refs/remotes/other/side/c"]);
    eventually("it has it no more", || all_told(&copy) == lost(&name));
}

#[test]
fn an_event_that_a_refused_file_may_have_is_not_forgotten_with_the_rest() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    copy.commit("a", 1);
    let name = format!("{}.jsonl", copy.append("a", 2).transaction_id);
    let dir = copy.dir.clone();
    drop(copy);
    let path = dir.join("events").join(&name);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 9]).unwrap();
    forget_index(&dir);
    let said = braidfs(&dir, &["restore", "--forget", "--all"]).code(1);
    assert_eq!(said.out, "0 events are known to be gone now\n");
    for text in [
        "1 event of which no file is known may be in what is refused\n".to_owned(),
        format!("file \"{name}\" is here and is refused: "),
        "hint: braidfs doctor   # tells what mends a refused file\n".to_owned(),
        "hint: or forget it all the same: braidfs restore --forget --force --all\n".to_owned(),
    ] {
        assert!(said.err.contains(&text), "{text}: {}", said.err);
    }
    let json = braidfs(&dir, &["--format", "json", "restore", "--forget", "--all"]).code(1).json();
    assert_eq!((&json["unnamed"], &json["withheld"]), (&0.into(), &1.into()));
    let forgot = braidfs(&dir, &["restore", "--forget", "--all", "--force"]).ok();
    assert!(forgot.out.ends_with("\n1 event is known to be gone now\n"), "{}", forgot.out);
}

/// A resolution as it is: no line of the feed tells that it was ever here.
#[test]
fn a_resolution_without_events_that_is_gone_is_told_like_any_other_transaction() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    copy.commit("a", 1);
    copy.on_branch("side", |copy| copy.commit("a", 2));
    copy.commit("a", 3);
    git(&copy.dir, ["merge", "-q", "--no-edit", "side"]);
    copy.follows();
    let resolve = |copy: &Copy| {
        let id = copy.braid.forks()[0].conflict.clone();
        let draft = format!("{{\"resolve\":\"{id}\"}}\n");
        let committed = copy.braid.append(parse_draft(draft.as_bytes(), DraftKind::Lines).unwrap()).unwrap();
        assert!(committed.events.is_empty() && copy.braid.forks().is_empty());
        format!("{}.jsonl", committed.transaction_id)
    };
    let gone = |name: &str| {
        let message = format!("file \"{name}\" was here and is gone; it has no event; a conflict that it resolved may be open again");
        vec![(Severity::Warning, message)]
    };
    let name = resolve(&copy);
    git(&copy.dir, ["clean", "-q", "-f", "-d"]);
    copy.follows();
    assert_eq!(copy.braid.forks().len(), 1);
    eventually("it is told", || all_told(&copy) == gone(&name));
    copy.braid.survey().unwrap();
    let (_, _, hint) = told(&copy);
    assert!(hint.starts_with("braidfs restore --forget --all   # acknowledges it: no commit has it"), "{hint}");
    // Also to whoever looks anew, and a restoration says that git has nothing.
    forget_index(&copy.dir);
    assert!(braidfs(&copy.dir, &["doctor"]).code(1).out.contains(&gone(&name)[0].1));
    let found = braidfs(&copy.dir, &["restore"]).code(1);
    assert!(found.err.contains(&format!("git knows no commit that has 1 file: {name}")), "{}", found.err);
    let forgot = braidfs(&copy.dir, &["restore", "--forget", "--all"]).ok().out;
    assert_eq!(forgot, format!("forgot {name}, which has no event\n1 transaction without events is known to be gone now\n"));
    eventually("a store that is open tells no more of it", || !tells(&copy));
    assert_eq!(braidfs(&copy.dir, &["restore", "--forget", "--all"]).ok().out, "0 events are known to be gone now\n");

    // On another branch it is not lost.
    let dir = copy.dir.clone();
    drop(copy);
    let copy = Copy::open(&dir);
    git(&copy.dir, ["switch", "-q", "-c", "settled"]);
    let name = resolve(&copy);
    copy.save("settled");
    drop(copy);
    // Nobody was there when it went, and whoever only reads writes nothing down.
    git(&dir, ["switch", "-q", "main"]);
    let elsewhere = format!("file \"{name}\" was here and is on branch \"settled\" now, without an event");
    for _ in 0..2 {
        let said = braidfs(&dir, &["doctor"]).ok().out;
        assert!(said.contains(&elsewhere), "{said}");
    }
    let copy = Copy::open(&dir);
    let (severity, message, hint) = told(&copy);
    assert_eq!((severity, message), (Severity::Info, elsewhere));
    run_with(Command::new("bash").arg("-ec").arg(&hint).current_dir(&dir), b"").ok();
    copy.follows();
    assert!(copy.braid.forks().is_empty());
    copy.no_finding(FindingKind::Vanished);

    // What git's past has comes back, and what stands here refused is told as that alone.
    git(&dir, ["branch", "-q", "-D", "settled"]);
    git(&dir, ["rm", "-q", &format!("events/{name}")]);
    git(&dir, ["commit", "-q", "-m", "a mistake"]);
    copy.follows();
    let (severity, _, hint) = told(&copy);
    assert_eq!((severity, hint), (Severity::Warning, format!("braidfs restore {name}")));
    let kept = braidfs(&dir, &["restore", "--forget", &name]).code(1);
    assert!(kept.err.contains(&format!("git still has 1 file: {name}")), "{}", kept.err);
    assert!(braidfs(&dir, &["restore"]).ok().out.ends_with("\n1 file is back\n"));
    copy.follows();
    assert!(copy.braid.forks().is_empty() && !tells(&copy));
    fs::write(dir.join("events").join(&name), "nonsense\n").unwrap();
    eventually("it is refused", || copy.braid.forks().len() == 1);
    eventually("it is told as that alone", || all_told(&copy).is_empty());
}

#[test]
fn of_many_names_some_are_told() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    copy.commit("a", 1);
    git(&copy.dir, ["switch", "-q", "-c", "side"]);
    for n in 0..30 {
        copy.append("a", n);
    }
    copy.save("many");
    git(&copy.dir, ["switch", "-q", "main"]);
    copy.follows();
    let said = braidfs(&copy.dir, &["restore", "--forget", "--all"]).code(1);
    assert_eq!(said.err.matches(".jsonl").count(), 10, "{}", said.err);
    for text in ["git still has 30 files: ", " and 20 more\n", "bring back what git has: braidfs restore\n", " --forget --force --all\n"] {
        assert!(said.err.contains(text), "{}", said.err);
    }
    let never: Vec<String> = (0..30).map(|n| format!("never-{n}")).collect();
    let names = || never.iter().map(String::as_str);
    let said = braidfs(&copy.dir, &["restore"].into_iter().chain(names()).collect::<Vec<_>>()).code(1);
    assert!(said.err.contains("has 30 files: ") && said.err.contains(" and 20 more\n"), "{}", said.err);
    let said = braidfs(&copy.dir, &["restore", "--forget"].into_iter().chain(names()).collect::<Vec<_>>()).code(1);
    assert!(said.err.contains("gone as never-0, ") && said.err.contains(" and 20 more\n"), "{}", said.err);
}

/// What other branches have is read once: that it is not there any more by then shows that it was not read again.
#[test]
fn files_of_other_branches_are_not_read_again_with_each_commit() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    let dir = copy.dir.clone();
    copy.commit("a", 1);
    git(&dir, ["switch", "-q", "-c", "side"]);
    let name = copy.commit("a", 2);
    let blob = git(&dir, ["rev-parse", &format!("HEAD:events/{name}")]).out.trim().to_owned();
    git(&dir, ["switch", "-q", "main"]);
    copy.follows();
    drop(copy);
    forget_index(&dir);
    let copy = Copy::open(&dir);
    eventually("it is found on the branch", || all_told(&copy) == on_branch(&name, "side"));
    fs::remove_file(dir.join(".git/objects").join(&blob[..2]).join(&blob[2..])).unwrap();
    let is_uncommitted = |copy: &Copy| copy.braid.epoch().findings.iter().any(|finding| finding.kind == FindingKind::Uncommitted);
    copy.append("a", 3);
    eventually("git was asked", || is_uncommitted(&copy));
    copy.save("one more");
    eventually("git was asked again", || !is_uncommitted(&copy));
    assert_eq!(all_told(&copy), on_branch(&name, "side"));
}

/// Git pops no stash whose files are here already, so they are not to be restored before.
#[test]
fn what_a_stash_took_is_brought_back_by_popping_it() {
    for (deep, is_added, flags) in [("", false, "-u"), ("deep/ä", false, "-u"), ("", true, "-q"), ("deep/ä", true, "-u")] {
        let home = tempfile::tempdir().unwrap();
        let repository = home.path().join("store");
        let copy = store_in(&repository, &repository.join(deep));
        let dir = copy.dir.clone();
        let kept = copy.commit("a", 1);
        copy.append("a", 2);
        copy.append("a", 3);
        let whole = copy.text("log.jsonl");
        if is_added {
            git(&dir, ["add", "events"]);
        }
        git(&dir, ["stash", "-q", flags]);
        // The stash has this one too, and did not take it.
        git(&dir, ["rm", "-q", &format!("events/{kept}")]);
        git(&dir, ["commit", "-q", "-m", "a mistake"]);
        copy.follows();
        assert_eq!(copy.count(), 0);
        let hints = || {
            let epoch = copy.braid.survey().unwrap();
            let told = epoch.findings.iter().filter(|finding| finding.kind == FindingKind::Vanished);
            let mut hints: Vec<String> = told.map(|finding| finding.hint.clone()).collect();
            hints.sort();
            hints
        };
        let pop = "git stash pop   # brings back all that the newest stash took";
        let restore = format!("braidfs restore {kept}");
        assert_eq!(hints(), [restore.as_str(), pop, pop]);
        // Whoever looks anew knows no names of what is not here, and says the same.
        forget_index(&dir);
        let status = braidfs(&dir, &["status"]).ok().out;
        assert!(status.contains("    hint: braidfs doctor   # asks git, and names what brings it back\n"), "{status}");
        let found = braidfs(&dir, &["--format", "json", "doctor"]).code(1).json();
        let told = found["findings"].as_array().unwrap().iter().filter(|finding| finding["kind"] == "vanished");
        let mut anew: Vec<&str> = told.map(|finding| finding["hint"].as_str().unwrap()).collect();
        anew.sort_unstable();
        assert_eq!(anew, [restore.as_str(), pop, pop]);
        let restored = braidfs(&dir, &["restore"]).code(1);
        assert!(restored.out.ends_with("1 file is back\n"), "{}", restored.out);
        assert!(restored.err.contains("2 files are in git's newest stash\n"), "{}", restored.err);
        assert!(restored.err.ends_with(&format!("  hint: {pop}\n")), "{}", restored.err);
        run_with(Command::new("bash").arg("-ec").arg(pop).current_dir(&dir), b"").ok();
        eventually("all is back", || copy.text("log.jsonl") == whole);
        assert!(hints().is_empty());
        // What a stash took that is dropped is where git's past has it, or nowhere.
        git(&dir, ["add", "events"]);
        git(&dir, ["stash", "-q"]);
        git(&dir, ["stash", "drop", "-q"]);
        copy.follows();
        assert!(hints().iter().all(|hint| !hint.contains("stash pop")), "{:?}", hints());
    }
}

/// Nothing that this copy remembers tells of it, so nothing that it forgets helps: git has it, and git is told.
#[test]
fn what_only_git_says_is_gone_is_taken_out_of_git() {
    let home = tempfile::tempdir().unwrap();
    let ours = repository(&home.path().join("ours"));
    ours.commit("a", 1);
    let name = ours.commit("a", 2);
    let dir = home.path().join("theirs");
    git(home.path(), ["clone", "-q", ours.dir.to_str().unwrap(), dir.to_str().unwrap()]);
    fs::remove_file(dir.join("events").join(&name)).unwrap();
    let told = || braidfs(&dir, &["--format", "json", "doctor"]).json()["findings"].to_string();
    for arguments in
        [&["restore", "--forget", &name][..], &["restore", "--forget", "--force", &name], &["restore", "--forget", "--force", "--all"]]
    {
        let said = braidfs(&dir, arguments).code(1);
        let why = format!("git's last commit has 1 file, and as long as it does it is told that they are gone: {name}");
        let hint = format!("hint: take out of git what is to be gone: git rm -q --cached -- events/{name} && git commit -m gone\n");
        assert!(said.err.contains(&why) && said.err.contains(&hint), "{arguments:?}: {}", said.err);
    }
    assert!(told().contains("is committed to git and gone"), "{}", told());
    git(&dir, ["rm", "-q", "--cached", "--", &format!("events/{name}")]);
    git(&dir, ["commit", "-q", "-m", "gone"]);
    assert!(!told().contains("gone"), "{}", told());
}
