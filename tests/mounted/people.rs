//! Two people, each with a clone and a mount, and a bare remote between them: they write through staging, meet, settle in an
//! editor what diverged, and are equal.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::git::git;
use crate::support::mount::Mount;
use crate::support::run::{Ran, braidfs, braidfs_command, run_with};
use crate::support::wait::{eventually, eventually_some};

/// Somebody's clone and mount.
struct Person {
    dir: PathBuf,
    mount: Mount,
}

impl Person {
    fn clone(home: &Path, name: &str) -> Self {
        let dir = home.join(name);
        git(home, ["clone", "-q", "remote.git", name]);
        for (key, value) in [("user.name", name), ("user.email", "a@example.org"), ("commit.gpgsign", "false")] {
            git(&dir, ["config", key, value]);
        }
        let mount = Mount::options(&dir).at(&home.join(format!("mnt-{name}"))).start();
        Self { dir, mount }
    }

    fn sync(&self) {
        run_with(braidfs_command().arg("--store").arg(&self.dir).arg("sync").env("GIT_CONFIG_GLOBAL", "/dev/null"), b"").ok();
    }

    /// A script with the mount's root as its directory, and `editor` as the person's editor.
    fn script(&self, text: &str, editor: Option<&Path>) -> Ran {
        let binary = Path::new(env!("CARGO_BIN_EXE_braidfs")).parent().unwrap();
        let mut command = Command::new("bash");
        command.arg("-ec").arg(text).current_dir(self.mount.path()).env_remove("VISUAL").env_remove("BRAIDFS_STORE");
        command.env("PATH", format!("{}:{}", binary.display(), std::env::var("PATH").unwrap()));
        if let Some(editor) = editor {
            command.env("EDITOR", editor);
        }
        run_with(&mut command, b"")
    }

    fn conflict(&self) -> String {
        eventually_some("the fork shows", || self.mount.list("forks").into_iter().next())
    }
}

fn remote(home: &Path) {
    git(home, ["init", "-q", "--bare", "-b", "main", "remote.git"]);
    git(home, ["clone", "-q", "remote.git", "first"]);
    let first = home.join("first");
    braidfs(["init", first.to_str().unwrap()]).ok();
    git(&first, ["add", ".gitignore", ".gitattributes"]);
    git(&first, ["commit", "-q", "-m", "a store"]);
    git(&first, ["push", "-q", "origin", "HEAD:main"]);
}

/// An editor that puts an event into the draft that it is given.
fn editor(home: &Path) -> PathBuf {
    let path = home.join("editor");
    let event = r#"{"stream":"account-1","type":"Settled","data":{"refused":80}}"#;
    fs::write(&path, format!("#!/bin/sh\nsed -i 's|\"events\": *\\[\\]|\"events\":[{event}]|' \"$1\"\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// The commands that a README names, as they stand: the lines that are set in.
fn commands(readme: &str) -> String {
    let (_, cure) = readme.split_once("## To resolve it").unwrap();
    cure.lines().filter_map(|line| line.strip_prefix("    ")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn two_people_write_meet_settle_in_an_editor_and_are_equal() {
    let home = tempfile::tempdir().unwrap();
    remote(home.path());
    let (ada, bo) = (Person::clone(home.path(), "ada"), Person::clone(home.path(), "bo"));
    let write = |person: &Person, how: &str, kind: &str, amount: u32| {
        let event = format!(r#"{{"stream":"account-1","type":"{kind}","data":{{"amount":{amount}}}}}"#);
        fs::write(home.path().join("draft.jsonl"), event + "\n").unwrap();
        person.script(&how.replace("DRAFT", home.path().join("draft.jsonl").to_str().unwrap()), None).ok();
    };
    write(&ada, "cp DRAFT staging/.x && mv staging/.x staging/opened.jsonl", "Opened", 100);
    ada.sync();
    bo.sync();
    eventually("Bo has what Ada wrote", || bo.mount.read("log.jsonl").lines().count() == 1);
    // Neither knows of the other.
    write(&ada, "cp DRAFT staging/all.jsonl", "Withdrawn", 80);
    write(
        &bo,
        "TERM=dumb vim -N -u NONE -i NONE -es -c \"call setline(1, readfile('DRAFT'))\" -c wq! staging/some.jsonl; cat receipts/some.jsonl.json",
        "Withdrawn",
        30,
    );
    assert_eq!((ada.mount.read("log.jsonl").lines().count(), bo.mount.read("log.jsonl").lines().count()), (2, 2));
    ada.sync();
    bo.sync();
    ada.sync();
    let id = ada.conflict();
    assert_eq!(bo.conflict(), id);
    eventually("both orders are one", || ada.mount.read("log.jsonl") == bo.mount.read("log.jsonl"));
    let readme = bo.mount.read(&format!("forks/{id}/README.md"));
    for told in ["Withdrawn {\"amount\":80}", "Withdrawn {\"amount\":30}", "1 event in common"] {
        assert!(readme.contains(told), "{readme}");
    }
    let commands = commands(&readme);
    assert_eq!(commands.lines().count(), 3, "{commands}");
    bo.script(&commands, Some(&editor(home.path()))).ok();
    assert_eq!(bo.mount.list("forks"), [""; 0]);
    assert!(bo.mount.read("streams/account-1.jsonl").lines().last().unwrap().contains("\"event_type\":\"Settled\""));
    bo.sync();
    ada.sync();
    eventually("it is over for Ada too", || ada.mount.list("forks").is_empty());
    for path in ["log.jsonl", "streams/account-1.jsonl", "graph.txt"] {
        eventually(path, || ada.mount.read(path) == bo.mount.read(path));
    }
    assert_eq!(ada.mount.read_json("status.json")["heads"].as_array().unwrap().len(), 1);
    // The next one who writes needs no version: nothing is forked any more.
    write(&ada, "cp DRAFT staging/more.jsonl", "Deposited", 5);
    ada.mount.unmount();
    bo.mount.unmount();
}

/// Somebody settled a conflict that a third branch had joined meanwhile.
#[test]
fn a_resolution_of_what_has_changed_is_refused_with_what_is_open_instead() {
    let home = tempfile::tempdir().unwrap();
    remote(home.path());
    let people = ["ada", "bo", "cy"].map(|name| Person::clone(home.path(), name));
    for (n, person) in people.iter().enumerate() {
        fs::write(person.mount.join("append"), format!("{{\"stream\":\"s\",\"type\":\"T\",\"data\":{n}}}\n")).unwrap();
    }
    let [ada, bo, cy] = &people;
    bo.sync();
    ada.sync();
    let old = ada.conflict();
    ada.script(&format!("cp forks/{old}/resolution.json staging/.mine"), None).ok();
    cy.sync();
    ada.sync();
    let now = eventually_some("the conflict has another name", || ada.mount.list("forks").into_iter().find(|id| *id != old));
    let refused = ada.script("mv staging/.mine staging/mine.json", None).code(1);
    assert!(refused.err.contains("Stale file handle"), "{}", refused.err);
    assert_eq!(ada.mount.read("staging/.mine"), format!("{{\"resolve\":\"{old}\",\"events\":[]}}\n"), "the draft is kept");
    let receipt: Value = ada.mount.read_json("receipts/mine.json.json");
    let [message, hint] = ["message", "hint"].map(|key| receipt["reasons"][0][key].as_str().unwrap());
    assert!(receipt["state"] == "refused" && message.contains(&format!("open now: \"{now}\"")), "{receipt}");
    assert_eq!(hint, format!("look at what is open: braidfs forks; in a mount: forks/{now}/README.md"));
    ada.script(&format!("cp forks/{now}/resolution.json staging/mine.json"), None).ok();
    assert_eq!(ada.mount.list("forks"), [""; 0]);
}

/// The first characters of each line that has an event, in the output of a tool.
fn beginnings(shown: &str, columns: usize) -> Vec<&str> {
    let events = shown.lines().filter(|line| line.contains("\"event_type\""));
    events.map(|line| line.char_indices().nth(columns).map_or(line, |(end, _)| &line[..end])).collect()
}

/// Two sides in the tools that people have.
#[test]
fn two_branches_read_well_side_by_side() {
    let home = tempfile::tempdir().unwrap();
    remote(home.path());
    let (ada, bo) = (Person::clone(home.path(), "ada"), Person::clone(home.path(), "bo"));
    let write = |person: &Person, events: &[&str]| {
        let events = events.iter().map(|event| format!("{{\"stream\":\"s\",{event}}}")).collect::<Vec<_>>();
        fs::write(person.mount.join("append"), format!("[{}]\n", events.join(","))).unwrap();
    };
    write(&ada, &[r#""type":"Opened","data":{"n":0}"#]);
    ada.sync();
    bo.sync();
    eventually("Bo has what Ada wrote", || bo.mount.read("log.jsonl").lines().count() == 1);
    write(&ada, &[r#""type":"Paid","data":{"n":1,"for":"rent"}"#, r#""type":"Same","data":[{"on":"both"}]"#]);
    write(
        &bo,
        &[r#""type":"Paid","data":{"n":2,"for":"rent"}"#, r#""type":"Same","data":[{"on":"both"}]"#, r#""type":"More","data":"of Bo's""#],
    );
    ada.sync();
    bo.sync();
    let id = bo.conflict();
    let directory = format!("forks/{id}/streams/s");
    let named = || bo.mount.list(&directory);
    eventually("git tells whose they are", || ["-ada-", "-bo-"].iter().all(|who| named().iter().any(|name| name.contains(who))));
    let side = |who: &str| named().into_iter().find(|name| name.contains(who)).unwrap();
    let (ada_side, bo_side) = (side("-ada-"), side("-bo-"));

    // The same objects as in `streams/`, as long, and what was written stands first.
    let key_order =
        ["event_type", "event_data", "metadata", "stream_version", "event_id", "stream_id", "transaction_id", "replica_id", "created_at"];
    let whole = bo.mount.read("streams/s.jsonl");
    let whole: Vec<(Value, usize)> = whole.lines().map(|line| (serde_json::from_str(line).unwrap(), line.len())).collect();
    for (name, count) in [("base.jsonl", 1), (ada_side.as_str(), 2), (bo_side.as_str(), 3)] {
        let path = format!("{directory}/{name}");
        let text = bo.mount.read(&path);
        assert_eq!(fs::metadata(bo.mount.join(&path)).unwrap().len(), text.len() as u64);
        assert_eq!(text.lines().count(), count, "{text}");
        for line in text.lines() {
            let object: Value = serde_json::from_str(line).unwrap();
            assert!(whole.contains(&(object, line.len())), "{line}");
            let places: Vec<usize> = key_order.iter().map(|key| line.find(&format!("\"{key}\":")).unwrap()).collect();
            assert!(places[0] == 1 && places.is_sorted(), "{line}");
        }
        let pieces = bo.script(&format!("dd if={path} bs=7 status=none; tail -c 101 {path}"), None).ok();
        assert_eq!(pieces.out, format!("{text}{}", &text[text.len() - 101..]));
    }

    // The commands of the README as they stand.
    let readme = bo.mount.read(&format!("forks/{id}/README.md"));
    let (told, _) = readme.split_once("## To resolve it").unwrap();
    let commands: Vec<&str> = told.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    let [diff, git_diff, vimdiff, contents] = commands[..] else { panic!("{readme}") };
    let run = |command: &str| bo.script(&format!("cd forks/{id} && {command}"), None).code(1).out;
    let shown = run(diff);
    let paid = |n: u32| format!(r#"{{"event_type":"Paid","event_data":{{"n":{n},"#);
    for tool in [shown.as_str(), &run(&diff.replacen("diff", "diff -y -W 120", 1)), &run(&diff.replacen("diff", "git diff --no-index", 1))]
    {
        let seen = beginnings(tool, 120).join("\n");
        assert!(
            [&paid(1), &paid(2), r#"{"event_type":"Same","event_data":[{"on":"both"}]"#].iter().all(|event| seen.contains(*event)),
            "{tool}"
        );
    }
    assert!(beginnings(&shown, 60).iter().all(|line| line.contains("\"event_data\":")), "{shown}");
    let words = run(git_diff);
    let (from, to) = if diff.find(&ada_side) < diff.find(&bo_side) { (1, 2) } else { (2, 1) };
    assert!(words.contains(&format!(r#"{{"event_type":"Paid","event_data":{{"n":[-{from}-]{{+{to}+}},"for":"rent"}}"#)), "{words}");
    assert!(words.contains(r#"{"event_type":"Same","event_data":[{"on":"both"}],"metadata":{},"stream_version":"#), "{words}");
    let contents = run(contents);
    assert!(contents.contains("\"n\": 1") && !contents.contains("event_id"), "{contents}");
    let changed: Vec<&str> = contents.lines().skip(2).filter(|line| line.starts_with(['+', '-'])).collect();
    assert_eq!(changed.len(), 4, "one line was changed and two are new: {contents}");

    // Vim needs a terminal to show two files: what is on its screen, 110 columns wide.
    let screen = home.path().join("screen");
    let dump = format!(
        "call writefile(map(range(1, &lines), {{_, row -> join(map(range(1, &columns), {{_, column -> screenstring(row, column)}}), '')}}), '{}')",
        screen.display()
    );
    let script = home.path().join("dump.vim");
    fs::write(&script, format!("redraw\n{dump}\nqa!\n")).unwrap();
    let vim = vimdiff.replacen("vimdiff", &format!("vimdiff -u NONE -i NONE -N -S {}", script.display()), 1);
    bo.script(&format!("cd forks/{id} && TERM=xterm script -qec \"stty cols 110 rows 24; {vim}\" /dev/null"), None).ok();
    let screen = fs::read_to_string(screen).unwrap();
    let row = screen.lines().find(|row| row.contains(&paid(1))).unwrap_or_else(|| panic!("{screen}"));
    assert!(row.contains(&paid(2)), "{screen}");
    assert_eq!(screen.matches(r#""event_type":"Same","event_data":[{"on":"#).count(), 2, "{screen}");
}
