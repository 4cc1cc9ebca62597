//! Each command that the doctor names, run as it stands: then its finding is gone.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use braidfs::braid::Braid;
use braidfs::model::{Finding, FindingKind};
use serde_json::Value;

use crate::stage::{self, Copy, repository};
use crate::support::git::git;
use crate::support::mount::{braidfs_as_nobody, is_root};
use crate::support::run::{Ran, braidfs_command, run_with};
use crate::support::wait::eventually_eq;

/// What the doctor says of a store.
fn doctor(dir: &Path, arguments: &[&str]) -> Ran {
    let mut command = braidfs_command();
    run_with(
        command.arg("--store").arg(dir).args(["--format", "json", "doctor"]).args(arguments).env("GIT_CONFIG_GLOBAL", "/dev/null"),
        b"",
    )
}

fn findings(dir: &Path) -> Vec<Value> {
    doctor(dir, &[]).json()["findings"].as_array().unwrap().clone()
}

/// Runs a command as a person would, in the store's directory.
fn as_it_stands(dir: &Path, command: &str) -> Ran {
    let binary = Path::new(env!("CARGO_BIN_EXE_braidfs")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let mut bash = Command::new("bash");
    bash.arg("-c").arg(command).current_dir(dir).env("PATH", path).env("GIT_CONFIG_GLOBAL", "/dev/null").env_remove("BRAIDFS_STORE");
    run_with(&mut bash, b"").ok()
}

/// Breaks a store of three committed transactions, and cures it by what the doctor says.
#[track_caller]
fn cured(kind: &str, harm: impl FnOnce(&Copy, &[String])) {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    let names: Vec<String> = (1..=3).map(|n| copy.commit("a", n)).collect();
    assert_eq!(findings(&copy.dir), [] as [Value; 0], "a whole store");
    let whole = copy.text("log.jsonl");
    harm(&copy, &names);
    let (dir, text) = (copy.dir.clone(), |copy: &Copy| copy.text("log.jsonl"));
    drop(copy);
    let found = findings(&dir);
    let finding = found.iter().find(|finding| finding["kind"] == kind).unwrap_or_else(|| panic!("{kind} is not in {found:?}"));
    as_it_stands(&dir, finding["hint"].as_str().unwrap());
    let left = findings(&dir);
    assert!(left.iter().all(|finding| finding["kind"] != kind), "{kind} is still in {left:?}");
    if kind != "uncommitted" {
        // What was saved of a file is compared with it in the background.
        let again = Copy::open(&dir);
        eventually_eq(&whole, || text(&again));
    }
}

fn rewrite(copy: &Copy, name: &str, change: impl FnOnce(String) -> String) {
    let path = copy.dir.join("events").join(name);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, change(text)).unwrap();
}

fn age(path: &Path, ago: &str) {
    let ran = run_with(Command::new("touch").args(["-d", ago]).arg(path), b"");
    ran.ok();
}

#[test]
fn vanished() {
    cured("vanished", |copy, names| fs::remove_file(copy.dir.join("events").join(&names[2])).unwrap());
}

#[test]
fn vanished_by_a_branch_switch() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    copy.commit("a", 1);
    let whole = copy.on_branch("side", |copy| {
        copy.commit("a", 2);
        copy.text("log.jsonl")
    });
    let dir = copy.dir.clone();
    drop(copy);
    let found = findings(&dir);
    let finding = found.iter().find(|finding| finding["kind"] == "vanished").unwrap_or_else(|| panic!("{found:?}"));
    as_it_stands(&dir, finding["hint"].as_str().unwrap());
    assert!(findings(&dir).iter().all(|finding| finding["kind"] != "vanished"));
    let again = Copy::open(&dir);
    eventually_eq(&whole, || again.text("log.jsonl"));
}

#[test]
fn dangling() {
    cured("dangling", |copy, names| {
        git(&copy.dir, ["rm", "-q", &format!("events/{}", names[0])]);
        git(&copy.dir, ["commit", "-q", "-m", "a mistake"]);
    });
}

/// A second file has the id of one that git does not have yet: the second one goes, whichever of the two is asked about.
#[test]
fn two_files_that_claim_one_id() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    let name = format!("{}.jsonl", copy.append("a", 1).transaction_id);
    let (dir, whole) = (copy.dir.clone(), copy.text("log.jsonl"));
    let text = fs::read_to_string(dir.join("events").join(&name)).unwrap();
    drop(copy);
    let (header, payload) = text.split_once('\n').unwrap();
    let header: Value = serde_json::from_str(header).unwrap();
    let mut other = header.as_object().unwrap().clone();
    other.remove("content_hash");
    fs::write(dir.join("events/other.jsonl"), format!("{}\n{}", Value::from(other), payload.replace("Counted", "Guessed"))).unwrap();
    let found = findings(&dir);
    let refused: Vec<&Value> = found.iter().filter(|finding| finding["kind"] == "quarantined").collect();
    assert_eq!(refused.len(), 2, "{found:?}");
    for finding in &refused {
        assert!(finding["hint"].as_str().unwrap().starts_with("mv events/other.jsonl .   # "), "{finding}");
    }
    let of_original = refused.iter().find(|finding| finding["file"] == name.as_str()).unwrap();
    as_it_stands(&dir, of_original["hint"].as_str().unwrap());
    assert_eq!(Copy::open(&dir).text("log.jsonl"), whole);
}

#[track_caller]
fn hint_of(dir: &Path, kind: &str) -> String {
    let found = findings(dir);
    let finding = found.iter().find(|finding| finding["kind"] == kind).unwrap_or_else(|| panic!("{kind} is not in {found:?}"));
    finding["hint"].as_str().unwrap().to_owned()
}

/// The store has a transaction of two roots of a clone, and git has none of them here until it is fetched.
#[test]
fn dangling_and_no_commit_here_has_the_parents() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    let other = stage::clone(&copy.dir, &home.path().join("other"));
    other.commit("a", 1);
    git(&other.dir, ["switch", "-q", "-c", "side", "HEAD~1"]);
    other.follows();
    other.commit("b", 2);
    git(&other.dir, ["merge", "-q", "--no-edit", "main"]);
    other.follows();
    let (child, whole) = (other.commit("a", 3), other.text("log.jsonl"));
    let take = |dir: &Path| fs::copy(other.dir.join("events").join(&child), dir.join("events").join(&child)).unwrap();
    take(&copy.dir);
    let dir = copy.dir.clone();
    drop(copy);
    let hint = hint_of(&dir, "dangling");
    assert!(hint.contains("# git has no such file here; or git fetch CLONE, ") && hint.matches(".jsonl").count() == 2, "{hint}");
    git(&dir, ["remote", "add", "origin", other.dir.to_str().unwrap()]);
    as_it_stands(&dir, &hint);
    assert_eq!(Copy::open(&dir).text("log.jsonl"), whole);
    // Where there is no git, a working copy is what helps.
    let alone = home.path().join("alone");
    Braid::init(&alone).unwrap();
    take(&alone);
    let hint = hint_of(&alone, "dangling");
    assert!(hint.ends_with("# OTHER is a working copy that has it; this store lies in no git repository"), "{hint}");
    as_it_stands(&alone, &hint.replace("OTHER", other.dir.to_str().unwrap()));
    assert_eq!(Copy::open(&alone).text("log.jsonl"), whole);
}

#[test]
fn edited() {
    cured("edited", |copy, names| rewrite(copy, &names[1], |text| text.replacen("created_at\":\"2", "created_at\":\"1", 1)));
}

/// No side of the merge has the file, so the merge alone tells what it said first.
#[test]
fn edited_after_a_merge_had_added_it() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    let dir = copy.dir.clone();
    git(&dir, ["switch", "-q", "-c", "side"]);
    git(&dir, ["commit", "-q", "--allow-empty", "-m", "there"]);
    git(&dir, ["switch", "-q", "-"]);
    git(&dir, ["commit", "-q", "--allow-empty", "-m", "here"]);
    git(&dir, ["merge", "-q", "--no-commit", "side"]);
    let name = copy.commit("a", 1);
    let whole = copy.text("log.jsonl");
    rewrite(&copy, &name, |text| text.replacen("created_at\":\"2", "created_at\":\"1", 1));
    copy.save("an edit");
    drop(copy);
    fs::remove_dir_all(dir.join("index")).unwrap();
    for kind in ["edited", "uncommitted"] {
        let found = findings(&dir);
        assert_eq!(found.iter().map(|finding| &finding["kind"]).collect::<Vec<_>>(), [kind], "{found:?}");
        as_it_stands(&dir, found[0]["hint"].as_str().unwrap());
    }
    assert_eq!(findings(&dir), [] as [Value; 0]);
    assert_eq!(Copy::open(&dir).text("log.jsonl"), whole);
}

#[test]
fn quarantined_by_an_edit_that_was_committed() {
    cured("quarantined", |copy, names| {
        rewrite(copy, &names[1], |text| text.replace("\"n\":2", "\"n\":7"));
        copy.save("an edit");
    });
}

/// The child of a file that was edited: the edit is what is to be taken back, and nothing is missing from git.
#[test]
fn dangling_since_the_parent_is_refused() {
    cured("dangling", |copy, names| {
        rewrite(copy, &names[1], |text| text.replace("\"n\":2", "\"n\":7"));
        copy.save("an edit");
        let is_told = |finding: &Finding| {
            finding.kind == FindingKind::Dangling && finding.message.contains("names parents whose files are refused: ")
        };
        eventually_eq(&true, || copy.braid.refresh().unwrap().findings.iter().any(is_told));
    });
}

/// What the bytes are is not known; git is no cure for it, whether it has the file or not.
#[test]
fn quarantined_since_it_may_not_be_read() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    let (committed, new) = (copy.commit("a", 1), format!("{}.jsonl", copy.append("a", 2).transaction_id));
    copy.append("b", 3);
    let (dir, whole) = (copy.dir.clone(), copy.text("log.jsonl"));
    drop(copy);
    // Root reads everything.
    let ordinary = || if is_root() { braidfs_as_nobody(&dir, home.path()) } else { braidfs_command() };
    let told = |command: &str| {
        let mut braidfs = ordinary();
        braidfs.arg("--store").arg(&dir).args(["--format", "json", command]).env("GIT_CONFIG_GLOBAL", "/dev/null");
        run_with(&mut braidfs, b"").json()["findings"].as_array().unwrap().clone()
    };
    for name in [&committed, &new] {
        fs::set_permissions(dir.join("events").join(name), fs::Permissions::from_mode(0o000)).unwrap();
    }
    fs::remove_dir_all(dir.join("index")).unwrap();
    for command in ["status", "doctor"] {
        let found = told(command);
        let refused: Vec<&Value> = found.iter().filter(|finding| finding["kind"] == "quarantined").collect();
        assert_eq!(refused.iter().map(|finding| finding["file"].as_str().unwrap()).collect::<Vec<_>>(), [&committed, &new], "{command}");
        for (finding, name) in refused.iter().zip([&committed, &new]) {
            assert!(finding["message"].as_str().unwrap().contains("Permission denied"), "{command}: {finding}");
            let hint = finding["hint"].as_str().unwrap();
            assert!(hint.starts_with(&format!("chmod u+r events/{name} ")), "{command}: {hint}");
        }
    }
    // The rest is told all the same.
    let kinds: Vec<Value> = told("doctor").iter().map(|finding| finding["kind"].clone()).collect();
    assert_eq!(kinds, ["quarantined", "quarantined", "dangling", "uncommitted"]);
    for finding in told("doctor").iter().filter(|finding| finding["kind"] == "quarantined") {
        as_it_stands(&dir, finding["hint"].as_str().unwrap());
    }
    assert_eq!(told("doctor").iter().map(|finding| &finding["kind"]).collect::<Vec<_>>(), ["uncommitted"]);
    assert_eq!(Copy::open(&dir).text("log.jsonl"), whole);
}

/// Story: sizes and times tell nothing of it, so `doctor` found nothing wrong; and what cannot be read was called an edit.
#[test]
fn quarantined_since_it_may_not_be_read_any_more() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    copy.commit("a", 1);
    let name = copy.commit("a", 2);
    let dir = copy.dir.clone();
    drop(copy);
    // Root reads everything.
    let ordinary = || if is_root() { braidfs_as_nobody(&dir, home.path()) } else { braidfs_command() };
    let doctor = || {
        let mut braidfs = ordinary();
        braidfs.arg("--store").arg(&dir).args(["--format", "json", "doctor"]).env("GIT_CONFIG_GLOBAL", "/dev/null");
        run_with(&mut braidfs, b"").json()["findings"].as_array().unwrap().clone()
    };
    assert!(doctor().is_empty(), "{:?}", doctor());
    fs::set_permissions(dir.join("events").join(&name), fs::Permissions::from_mode(0o000)).unwrap();
    let found = doctor();
    assert_eq!(found.iter().map(|finding| &finding["kind"]).collect::<Vec<_>>(), ["quarantined"], "{found:?}");
    as_it_stands(&dir, found[0]["hint"].as_str().unwrap());
    assert!(doctor().is_empty(), "{:?}", doctor());
}

/// Both are refused; the one that git first got stays.
#[test]
fn quarantined_since_two_files_claim_one_id() {
    cured("quarantined", |copy, names| {
        let text = fs::read_to_string(copy.dir.join("events").join(&names[1])).unwrap();
        fs::write(copy.dir.join("events/0-claims.jsonl"), text.replacen("created_at\":\"2", "created_at\":\"1", 1)).unwrap();
    });
}

/// The first bytes are what is to be committed, though they differ from the last commit.
#[test]
fn what_was_brought_back_is_not_called_an_edit() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    let name = copy.commit("a", 1);
    let (dir, path) = (copy.dir.clone(), format!("events/{name}"));
    let original = fs::read(dir.join(&path)).unwrap();
    rewrite(&copy, &name, |text| text.replace("\"n\":1", "\"n\":7"));
    copy.save("an edit");
    fs::write(dir.join(&path), original).unwrap();
    drop(copy);
    let found = findings(&dir);
    assert_eq!(found.iter().map(|finding| &finding["kind"]).collect::<Vec<_>>(), ["uncommitted"], "{found:?}");
    as_it_stands(&dir, found[0]["hint"].as_str().unwrap());
    assert_eq!(findings(&dir), [] as [Value; 0]);
}

#[test]
fn quarantined_and_never_whole() {
    cured("quarantined", |copy, _| {
        fs::write(copy.dir.join("events/it's mine.jsonl"), "no transaction\n").unwrap();
        copy.save("a mistake");
    });
}

#[test]
fn healed() {
    cured("healed", |copy, names| rewrite(copy, &names[1], |text| text.replace('\n', "\r\n")));
}

#[test]
fn misnamed() {
    cured("misnamed", |copy, names| {
        git(&copy.dir, ["mv", &format!("events/{}", names[1]), "events/odd name.jsonl"]);
    });
}

/// Story: what git has under the other name was told as gone, though it counts.
#[test]
fn misnamed_is_not_gone() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    let events = copy.dir.join("events");
    fs::rename(events.join(copy.commit("a", 1)), events.join("odd name.jsonl")).unwrap();
    let dir = copy.dir.clone();
    drop(copy);
    let found = findings(&dir);
    assert_eq!(found.iter().map(|finding| &finding["kind"]).collect::<Vec<_>>(), ["misnamed"], "{found:?}");
}

#[test]
fn misnamed_and_not_under_version_control() {
    cured("misnamed", |copy, names| {
        fs::rename(copy.dir.join("events").join(&names[1]), copy.dir.join("events/odd name.jsonl")).unwrap();
    });
}

#[test]
fn duplicate() {
    cured("duplicate", |copy, names| {
        fs::copy(copy.dir.join("events").join(&names[1]), copy.dir.join("events/copy.jsonl")).unwrap();
    });
}

#[test]
fn uncommitted() {
    cured("uncommitted", |copy, _| drop(copy.append("b", 9)));
}

#[test]
fn uncommitted_since_a_merge_is_not_finished() {
    cured("uncommitted", |copy, _| {
        git(&copy.dir, ["config", "core.editor", "true"]);
        copy.on_branch("side", |copy| copy.commit("b", 8));
        copy.commit("c", 9);
        git(&copy.dir, ["merge", "-q", "--no-commit", "side"]);
    });
}

/// What was edited, is gone, has another name, is a copy or is refused stays what it is: only the new file is committed.
#[test]
fn uncommitted_beside_what_must_not_be_committed() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    let names: Vec<String> = (1..=5).map(|n| copy.commit("a", n)).collect();
    let new = format!("events/{}.jsonl", copy.append("b", 9).transaction_id);
    let events = copy.dir.join("events");
    rewrite(&copy, &names[0], |text| text.replacen("created_at\":\"2", "created_at\":\"1", 1));
    fs::remove_file(events.join(&names[1])).unwrap();
    fs::copy(events.join(&names[2]), events.join("copy.jsonl")).unwrap();
    fs::rename(events.join(&names[3]), events.join("odd.jsonl")).unwrap();
    fs::write(events.join("broken.jsonl"), "no transaction\n").unwrap();
    let dir = copy.dir.clone();
    drop(copy);
    let found = findings(&dir);
    let of_kind = |kind: &str| found.iter().filter(|finding| finding["kind"] == kind).collect::<Vec<_>>();
    let uncommitted = of_kind("uncommitted");
    assert_eq!((uncommitted.len(), &uncommitted[0]["message"]), (1, &"1 transaction file is not committed to git yet".into()), "{found:?}");
    let said = as_it_stands(&dir, uncommitted[0]["hint"].as_str().unwrap());
    assert!(said.out.contains("committed 1 transaction file\n3 new files in events/ are not committed"), "{}", said.out);
    assert_eq!(git(&dir, ["show", "--name-status", "--format=", "HEAD"]).out, format!("A\t{new}\n"));
    let left = findings(&dir);
    let kinds = |found: &[Value]| found.iter().map(|finding| finding["kind"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(kinds(&left), kinds(&found).into_iter().filter(|kind| kind != "uncommitted").collect());
}

/// Git calls changed what has another size than it remembers, also where the bytes are those of the last commit.
#[test]
fn line_ends_that_were_mended_leave_nothing_to_commit() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    let name = copy.commit("a", 1);
    let (dir, path) = (copy.dir.clone(), copy.dir.join("events").join(&name));
    let written = fs::read(&path).unwrap();
    drop(copy);
    fs::write(dir.join(".gitattributes"), "*.jsonl text eol=crlf\n").unwrap();
    git(&dir, ["commit", "-qam", "line ends of another system"]);
    fs::remove_file(&path).unwrap();
    git(&dir, ["checkout", "-q", "HEAD", "--", "events"]);
    assert!(fs::read_to_string(&path).unwrap().contains("\r\n"));
    fs::write(&path, written).unwrap();
    let is_changed_to_git = || git(&dir, ["status", "--porcelain"]).out.contains(&name);
    assert!(is_changed_to_git() && findings(&dir).iter().all(|finding| finding["kind"] == "git-setup"), "{:?}", findings(&dir));
    doctor(&dir, &["--fix"]).ok();
    assert!(!is_changed_to_git());
    assert_eq!(findings(&dir), [] as [Value; 0]);
}

/// Why git gave no answer is told with its own reason, and with its own cure where it has one.
#[test]
fn git_gives_no_answer() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    copy.commit("a", 1);
    copy.append("b", 2);
    let dir = copy.dir.clone();
    drop(copy);
    let told = |name: &str, value: &str| {
        let mut command = braidfs_command();
        command.arg("--store").arg(&dir).args(["--format", "json", "doctor"]).env("GIT_CONFIG_GLOBAL", "/dev/null").env(name, value);
        let found = run_with(&mut command, b"").code(1).json()["findings"].clone();
        assert_eq!((&found[0]["kind"], found.as_array().unwrap().len()), (&"git-setup".into(), 1), "{found}");
        let text = |field: &str| found[0][field].as_str().unwrap().to_owned();
        (text("message"), text("hint"))
    };
    let asked = "git could not be asked what is uncommitted, changed or gone: ";
    let (message, hint) = told("PATH", "/nowhere");
    assert_eq!((message, hint.as_str()), (format!("{asked}git is not installed, or not in the PATH"), "install git"));
    let (message, hint) = told("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1");
    assert_eq!(message, format!("{asked}detected dubious ownership in repository at '{}'", dir.display()));
    assert_eq!(hint, format!("git config --global --add safe.directory {}", dir.display()));
    fs::remove_file(dir.join(".git/HEAD")).unwrap();
    let (message, _) = told("LC_ALL", "C");
    assert!(message.starts_with(&format!("{asked}\"{}\" is no repository any more", dir.join(".git").display())), "{message}");
    fs::write(dir.join(".git/HEAD"), "ref: refs/heads/main\n").unwrap();
    assert_eq!(findings(&dir).iter().map(|finding| &finding["kind"]).collect::<Vec<_>>(), ["uncommitted"]);
}

#[test]
fn git_lock() {
    cured("git-lock", |copy, _| {
        let lock = copy.dir.join(".git/index.lock");
        fs::write(&lock, "").unwrap();
        age(&lock, "20 minutes ago");
    });
}

#[test]
fn stale_temporary() {
    cured("stale-temporary", |copy, _| {
        fs::create_dir_all(copy.dir.join("tmp")).unwrap();
        fs::write(copy.dir.join("tmp/left.tmp"), "half").unwrap();
        age(&copy.dir.join("tmp/left.tmp"), "2 hours ago");
    });
}

#[test]
fn git_setup() {
    cured("git-setup", |copy, _| {
        fs::write(copy.dir.join(".gitattributes"), "*.txt text\n").unwrap();
        fs::write(copy.dir.join(".gitignore"), "/index/\n").unwrap();
        git(&copy.dir, ["commit", "-q", "-a", "-m", "what git knows less of"]);
    });
}

/// A line that has no effect is not written a second time; it is said which file is stronger, and what helps.
#[test]
fn attributes_that_are_overruled() {
    for stronger in ["events/.gitattributes", ".git/info/attributes"] {
        let home = tempfile::tempdir().unwrap();
        let copy = repository(&home.path().join("store"));
        copy.commit("a", 1);
        let dir = copy.dir.clone();
        drop(copy);
        fs::write(dir.join(stronger), "*.jsonl text eol=crlf").unwrap();
        let told = || findings(&dir).iter().find(|finding| finding["kind"] == "git-setup").cloned();
        let finding = told().unwrap();
        assert!(finding["message"].as_str().unwrap().ends_with(&format!("{stronger} overrules .gitattributes")), "{finding}");
        let hint = finding["hint"].as_str().unwrap();
        for command in ["braidfs git setup", "braidfs git setup", "braidfs doctor --fix || true"] {
            let said = as_it_stands(&dir, command).out;
            assert!(said.contains(&format!("{stronger} overrules .gitattributes")) && said.contains(hint), "{said}");
            assert_eq!(fs::read_to_string(dir.join(".gitattributes")).unwrap(), "events/*.jsonl -text merge=binary\n", "{command}");
        }
        assert_eq!(told().as_ref(), Some(&finding));
        as_it_stands(&dir, hint);
        assert_eq!(told(), None);
        assert_eq!(as_it_stands(&dir, "braidfs git setup").out, "git knows everything already\n");
    }
}

/// Lines that another file undoes are written once, also where it is not known which file that is.
#[test]
fn what_git_was_told_is_not_told_again_and_again() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    copy.commit("a", 1);
    let dir = copy.dir.clone();
    drop(copy);
    fs::create_dir_all(dir.join("index")).unwrap();
    fs::write(dir.join("index/.gitignore"), "!*\n").unwrap();
    fs::write(dir.join(".git/info/attributes"), "events/** mine\n").unwrap();
    let files = || [".gitattributes", ".gitignore"].map(|name| fs::read_to_string(dir.join(name)).unwrap());
    // A later line of the same file is undone by one more.
    fs::write(dir.join(".gitattributes"), files()[0].clone() + "[attr]mine text\n*.jsonl text\n").unwrap();
    as_it_stands(&dir, "braidfs git setup");
    let before = files();
    assert!(before[0].ends_with("*.jsonl text\nevents/*.jsonl -text merge=binary\n"), "{before:?}");
    assert!(as_it_stands(&dir, "braidfs git setup").out.ends_with("nothing more can be told to git here\n"));
    as_it_stands(&dir, "braidfs doctor --fix || true");
    assert_eq!(files(), before);
}

/// Nothing says any more which event had the number, so its event has another, and that is said.
#[test]
fn a_line_of_the_ingestion_log_that_became_garbage() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    (1..=4).for_each(|n| drop(copy.commit("a", n)));
    let lines = |copy: &Copy| copy.text("feed.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>();
    let (dir, whole) = (copy.dir.clone(), lines(&copy));
    drop(copy);
    let log = dir.join("index/ingestion.log");
    let text = fs::read_to_string(&log).unwrap();
    fs::write(&log, text.replace(text.lines().nth(1).unwrap(), "garbage")).unwrap();
    let mended = doctor(&dir, &["--fix"]).ok().json();
    let said = mended["mended"].to_string();
    assert!(
        said.contains("had number 2: such an event has a fresh number, and checkpoints beyond the lost one are orphaned")
            && said.contains("every other number is what it was"),
        "{said}"
    );
    let copy = Copy::open(&dir);
    let after = lines(&copy);
    let number_of = |lines: &[Value], at: usize| {
        let found = lines.iter().find(|line| line["event_id"] == whole[at]["event_id"] && line["gone"] != true);
        found.map(|line| line["seq_nr"].as_u64().unwrap())
    };
    assert_eq!((0..4).map(|at| number_of(&after, at)).collect::<Vec<_>>(), [Some(1), Some(5), Some(3), Some(4)], "{after:?}");
    drop(copy);
    assert_eq!(doctor(&dir, &["--fix"]).ok().json()["mended"], serde_json::json!([]), "once");
}

/// A backup put back in place has forgotten what was written since, so it writes under one id what does not descend from it.
#[test]
fn identity_collision() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    copy.commit("a", 1);
    let dir = copy.dir.clone();
    drop(copy);
    let memory = dir.join(".eventcore/braidfs/last_transaction");
    let backup = fs::read(&memory).unwrap();
    let copy = Copy::open(&dir);
    let lost = format!("events/{}.jsonl", copy.append("a", 2).transaction_id);
    drop(copy);
    fs::rename(dir.join(&lost), home.path().join("lost")).unwrap();
    fs::write(&memory, backup).unwrap();
    fs::remove_dir_all(dir.join("index")).unwrap();
    let copy = Copy::open(&dir);
    copy.append("a", 3);
    drop(copy);
    fs::rename(home.path().join("lost"), dir.join(&lost)).unwrap();
    let copy = Copy::open(&dir);
    copy.save("all");
    assert_eq!(copy.replicas(), 1);
    drop(copy);
    let found = findings(&dir);
    let finding = found.iter().find(|finding| finding["kind"] == "identity-collision").unwrap_or_else(|| panic!("{found:?}"));
    as_it_stands(&dir, finding["hint"].as_str().unwrap());
    as_it_stands(&dir, "echo '{\"stream\":\"b\",\"type\":\"Counted\",\"data\":{}}' | braidfs append && git add events && git commit -qm b");
    assert_eq!(findings(&dir), [] as [Value; 0]);
    let copy = Copy::open(&dir);
    assert_eq!((copy.replicas(), copy.braid.forks().len()), (2, 1), "what they wrote at once is a fork all the same");
}

#[test]
fn a_lost_index_is_made_anew() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    (1..=3).for_each(|n| drop(copy.commit("a", n)));
    let (dir, feed) = (copy.dir.clone(), copy.text("feed.jsonl"));
    drop(copy);
    fs::remove_dir_all(dir.join("index")).unwrap();
    assert_eq!(doctor(&dir, &["--fix"]).ok().json()["findings"], Value::Array(Vec::new()));
    assert_eq!(fs::read_to_string(dir.join("index/ingestion.log")).unwrap().lines().count(), 3);
    assert_eq!(Copy::open(&dir).text("feed.jsonl"), feed);
}

#[test]
fn what_is_safe_is_mended_at_once_and_the_rest_stays_and_ends_with_1() {
    let home = tempfile::tempdir().unwrap();
    let copy = repository(&home.path().join("store"));
    let names: Vec<String> = (1..=3).map(|n| copy.commit("a", n)).collect();
    let (whole, dir) = (copy.text("log.jsonl"), copy.dir.clone());
    rewrite(&copy, &names[0], |text| text.replace('\n', "\r\n"));
    fs::write(dir.join(".gitattributes"), "*.txt text\n").unwrap();
    copy.braid.refresh().unwrap();
    drop(copy);
    let log = dir.join("index/ingestion.log");
    let torn = fs::read_to_string(&log).unwrap() + "{\"event_id\":";
    fs::write(&log, torn).unwrap();
    let ends_torn = |report: &Value| report["findings"].to_string().contains("index/ingestion.log ends with half a line");
    assert!(ends_torn(&doctor(&dir, &[]).code(1).json()));
    for file in fs::read_dir(dir.join("index")).unwrap().map(|entry| entry.unwrap()) {
        if file.file_name() != "ingestion.log" {
            fs::remove_file(file.path()).unwrap();
        }
    }
    let mended = doctor(&dir, &["--fix"]).ok().json();
    assert_eq!(mended["findings"], Value::Array(Vec::new()), "{mended}");
    let done = [
        "cut off the end of index/ingestion.log, which was half a line".to_owned(),
        "made the saved index, as there was none".to_owned(),
        format!("gave file \"{}\" its bytes back (\\r before line ends)", names[0]),
        "added \"events/*.jsonl -text merge=binary\" to .gitattributes".to_owned(),
    ];
    assert_eq!(mended["mended"], serde_json::json!(done), "{mended}");
    assert_eq!(doctor(&dir, &["--fix"]).ok().json()["mended"], serde_json::json!([]), "once");
    assert!(fs::read_to_string(&log).unwrap().ends_with("}\n"));
    fs::remove_file(dir.join("events").join(&names[1])).unwrap();
    doctor(&dir, &["--fix"]).code(1);
    as_it_stands(&dir, "braidfs restore && braidfs doctor");
    let again = Copy::open(&dir);
    eventually_eq(&whole, || again.text("log.jsonl"));
}
