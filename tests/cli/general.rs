//! What holds for every command: help, exit codes, pipes, pages.

use std::path::Path;
use std::process::Stdio;

use crate::support::run::{Ran, bash, braidfs, braidfs_command, run_with};

/// The names of all commands, from the help text that users see.
fn commands() -> Vec<String> {
    let help = braidfs(["--help"]).ok().out;
    let listed = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap().to_owned();
    let names = listed.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").map(str::to_owned).collect()
}

/// Story: a command's page had its name in the place of the version.
#[test]
fn every_manual_page_names_the_version() {
    for page in [&["man"][..], &["man", "append"], &["man", "import", "git"]] {
        let text = braidfs(page).ok().out;
        let title = text.lines().find(|line| line.starts_with(".TH")).unwrap().to_owned();
        assert!(title.contains(concat!("\"braidfs ", env!("CARGO_PKG_VERSION"), "\"")), "{title}");
    }
}

#[test]
fn help_names_the_commands_and_the_exit_codes() {
    let help = braidfs(["--help"]).ok().out;
    for word in ["init", "import", "completions", "man", "--store", "--format", "Exit codes:", "BRAIDFS_STORE"] {
        assert!(help.contains(word), "{word} is missing in:\n{help}");
    }
    assert_eq!(braidfs(["--version"]).ok().out, concat!("braidfs ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn every_command_has_help_and_a_manual_page() {
    let commands = commands();
    assert!(commands.len() >= 4, "{commands:?}");
    for name in commands {
        let help = braidfs([name.as_str(), "--help"]).ok().out;
        assert!(help.contains("Usage:"), "{help}");
        let page = braidfs(["man", &name]).ok().out;
        assert!(page.contains(".SH SYNOPSIS"), "{name}: {page}");
    }
    // Story: what a command ends with stood on the main page alone.
    for page in [&["man"][..], &["man", "append"], &["man", "checkpoint"], &["man", "import", "git"]] {
        let text = braidfs(page).ok().out;
        assert!(text.contains(".SH \"EXIT STATUS\"\n.TP\n0\ndone\n.TP\n1\n"), "{page:?}: {text}");
        assert!(text.contains("\n3\nbusy: another program") && text.contains(".SH \"WHICH STORE\"\n"), "{page:?}: {text}");
        // Story: they stood, lines running into each other, in a section EXTRA.
        assert!(!text.contains("EXTRA"), "{page:?}: {text}");
    }
    assert!(braidfs(["man", "import", "git"]).ok().out.contains("repository"));
}

#[test]
fn a_command_line_without_sense_ends_with_2() {
    for arguments in [&["no-such-command"][..], &["init", "--no-such-option"], &["man", "no-such-page"], &[], &["import"]] {
        let ran = braidfs(arguments).code(2);
        assert!(!ran.err.is_empty() && ran.out.is_empty(), "{arguments:?}: {ran:?}");
    }
}

#[test]
fn a_command_line_without_sense_is_told_in_the_format_that_it_asks_for() {
    for arguments in [
        &["--format", "json", "stream"][..],
        &["nosuch", "--format=json"],
        &["log", "--format", "json", "--after", "x"],
        &["--format", "json"],
    ] {
        let error = serde_json::from_str::<serde_json::Value>(&braidfs(arguments).code(2).err).unwrap()["error"].clone();
        assert_eq!(error["kind"], "usage", "{arguments:?}");
        let (message, hints) = (error["message"].as_str().unwrap(), error["hints"].as_array().unwrap());
        assert!(!message.is_empty() && !message.contains("Usage") && !hints.is_empty(), "{arguments:?}: {error}");
    }
}

#[test]
fn completions_exist_for_the_usual_shells() {
    for shell in ["bash", "zsh", "fish"] {
        let script = braidfs(["completions", shell]).ok().out;
        assert!(script.contains("braidfs") && script.contains("import"), "{shell}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut child = braidfs_command().args(["man"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = braidfs_command().arg("man").stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&output.stderr).contains("standard output cannot be written"));
}

#[test]
fn without_a_store_the_hint_says_how_to_name_one() {
    let nowhere = tempfile::tempdir().unwrap();
    let ran = run_with(braidfs_command().args(["import", "git"]).current_dir(nowhere.path()), b"").code(2);
    assert!(ran.err.contains("no store is named") && ran.err.contains("hint: name one: --store DIR"), "{}", ran.err);
    let ran = run_with(braidfs_command().args(["import", "git", "--format", "json"]).current_dir(nowhere.path()), b"").code(2);
    let error: serde_json::Value = serde_json::from_str(&ran.err).unwrap();
    assert_eq!(error["error"]["kind"], "usage");
}

/// What hints say to type is run as it stands, also where a path is more than one word of a shell.
#[test]
fn hints_quote_paths() {
    let home = tempfile::tempdir().unwrap();
    let odd = home.path().join("q'u \"o");
    std::fs::create_dir(&odd).unwrap();
    let [none, store, point] = ["none such", "a store", "no point"].map(|name| odd.join(name));
    let hint = |ran: &Ran| {
        ran.err.lines().find_map(|line| line.split_once("hint: ")?.1.rsplit_once("braidfs ").map(|hint| hint.1.to_owned())).unwrap()
    };
    let typed = |words: &str| bash(home.path(), &format!("{} {words}", env!("CARGO_BIN_EXE_braidfs"))).ok();
    let refused = braidfs([Path::new("verify"), &none]).code(1);
    typed(&hint(&refused));
    assert!(none.join("events").is_dir());
    braidfs([Path::new("init"), &store]).ok();
    let refused = braidfs([Path::new("mount"), &store, &point]).code(1);
    bash(home.path(), refused.err.split_once("make the mount point: ").unwrap().1).ok();
    assert!(point.is_dir());
    let refused =
        run_with(braidfs_command().arg("--store").arg(&store).args(["git", "setup"]).env("GIT_CEILING_DIRECTORIES", "/"), b"").code(1);
    bash(home.path(), refused.err.lines().last().unwrap().split_once("hint: ").unwrap().1).ok();
    assert!(store.join(".git").is_dir());
}

/// A hint names commands of the store's directory: who named the store from elsewhere is told the way.
#[test]
fn hints_lead_to_the_store_that_was_named_from_elsewhere() {
    let home = tempfile::tempdir().unwrap();
    let store = home.path().join("a store");
    bash(
        home.path(),
        &format!(
            "{} init 'a store' && cd 'a store' && git init -q && git config user.name A && git config user.email a@b",
            env!("CARGO_BIN_EXE_braidfs")
        ),
    )
    .ok();
    std::fs::write(store.join("events/broken.jsonl"), "no transaction\n").unwrap();
    let way = format!("cd '{}'", store.display());
    let run = |dir: &Path, arguments: &[&str]| {
        run_with(braidfs_command().args(arguments).current_dir(dir).env("GIT_CONFIG_GLOBAL", "/dev/null"), b"")
    };
    for command in ["doctor", "status", "verify"] {
        let said = run(home.path(), &["--store", "a store", command]).out;
        assert!(said.contains(&format!("  what hints name is run in the store's directory: {way}\n")), "{command}: {said}");
        let here = run(&store, &[command]).out;
        assert!(here.contains("hint: ") && !here.contains("cd "), "{command}: {here}");
    }
    // Run one after the other they mend it.
    let said = run(home.path(), &["--store", "a store", "doctor"]).out;
    let cure = said.lines().find_map(|line| line.trim().strip_prefix("hint: ")).unwrap();
    bash(home.path(), &format!("{way} && {cure}")).ok();
    assert!(run(&store, &["doctor"]).ok().out.contains("nothing is wrong"));
    bash(&store, "git commit -q --allow-empty -m first && git switch -q --detach").ok();
    let refused = run(home.path(), &["--store", "a store", "sync"]).code(1);
    assert!(refused.err.contains(&format!("\n  hint: {way}   # where the store is\n  hint: go back to a branch")), "{}", refused.err);
    assert!(!run(&store, &["sync"]).code(1).err.contains("cd "));
}
