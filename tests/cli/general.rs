//! What holds for every command: help, exit codes, pipes, pages.

use std::process::Stdio;

use crate::support::run::{braidfs, braidfs_command, run_with};

/// The names of all commands, from the help text that users see.
fn commands() -> Vec<String> {
    let help = braidfs(["--help"]).ok().out;
    let listed = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap().to_owned();
    let names = listed.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").map(str::to_owned).collect()
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
    assert!(braidfs(["man"]).ok().out.contains("Exit codes"));
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
