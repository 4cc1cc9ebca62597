//! What one odd file, or a machine that has little to give, may not do: stop the store, or end a command otherwise than is promised.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use serde_json::json;

use crate::support::git::git;
use crate::support::mount::is_root;
use crate::support::run::{Ran, bash, bash_as_nobody, braidfs_command, braidfs_on, run_with};
use crate::support::store::TestStore;

const EVENT: &str = "{\"stream\":\"s\",\"type\":\"T\",\"data\":1}\n";
const ODD: &str = "01a22151-daed-776d-9c65-d28f14ad6b98.jsonl";

fn store() -> TestStore {
    let mut store = TestStore::new();
    store.transaction().event("a", "T", json!(1)).write();
    store
}

/// Runs a command on a store with a limit of the shell's `ulimit`.
fn limited(store: &TestStore, limit: &str, arguments: &str, input: &str) -> Ran {
    let script = format!("ulimit {limit}; exec \"$0\" --store s {arguments}");
    let mut command = Command::new("bash");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_braidfs")]).env_remove("BRAIDFS_STORE");
    fs::remove_file(store.home().join("s")).ok();
    symlink(store.path(), store.home().join("s")).unwrap();
    run_with(command.current_dir(store.home()), input.as_bytes())
}

/// Story: a file of 3 GiB of zeros was read whole by whoever opened the store, and daemons were killed for their memory.
#[test]
fn a_file_that_is_too_large_is_refused_unread() {
    let store = store();
    File::create(store.events_dir().join(ODD)).unwrap().set_len(3 << 30).unwrap();
    // All that is mapped, programs and libraries too; the file alone has more.
    let run = |arguments: &str, input: &str| limited(&store, "-v 1500000", arguments, input);
    run("append -", EVENT).ok();
    let told = run("--format json status", "").ok().json();
    let finding = &told["findings"][0];
    assert_eq!((finding["kind"].as_str(), finding["file"].as_str()), (Some("quarantined"), Some(ODD)));
    let said = finding["message"].as_str().unwrap();
    assert!(said.ends_with("file is too large to be read: 3221225472 bytes, the limit is 268435456"), "{said}");
    run("doctor", "").code(1);
    run("verify", "").code(1);
    assert_eq!(run("log", "").ok().lines().len(), 2);
}

/// What git holds is asked for what helps, and comes through a pipe.
#[test]
fn a_file_that_is_too_large_is_refused_unread_where_git_has_it_too() {
    let store = store();
    git(&store.path(), ["init", "-q"]);
    File::create(store.events_dir().join(ODD)).unwrap().set_len((256 << 20) + 1).unwrap();
    git(&store.path(), ["add", "."]);
    git(&store.path(), ["commit", "-q", "-m", "large"]);
    let doctor = limited(&store, "-v 600000", "doctor", "").code(1);
    assert!(doctor.out.contains("file is too large to be read: 268435457 bytes"), "{}", doctor.out);
    let past = limited(&store, "-v 600000", "log --at git:HEAD", "").ok();
    assert_eq!(past.lines().len(), 1);
}

/// Story: a link to `/proc/kmsg`, whose reading has to be tried again, stopped the whole store; links travel in git.
#[test]
fn a_link_to_what_is_no_plain_file_stops_nothing() {
    let targets = [
        "/proc/kmsg",
        "/proc/self/mem",
        "/proc/self/pagemap",
        "/proc/self/environ",
        "/proc/kcore",
        "/dev/zero",
        "/dev/tty",
        "/dev/fd/0",
        "/proc/self/fd/0/x",
        "/",
        "nowhere",
        ODD,
    ];
    for target in targets {
        let store = store();
        symlink(target, store.events_dir().join(ODD)).unwrap();
        for arguments in ["append -", "status", "doctor"] {
            let ran = limited(&store, "-v 1500000", arguments, EVENT);
            let expected = if arguments == "doctor" { 1 } else { 0 };
            assert_eq!(ran.code, expected, "{target}: {arguments}: {}{}", ran.out, ran.err);
        }
        assert_eq!(braidfs_on(&store.path(), &["log"], "").ok().lines().len(), 2, "{target}");
    }
}

/// Story: the signal of a write beyond `ulimit -f` ended commands without a word, and left what they had begun.
#[test]
fn a_write_beyond_the_limit_of_files_is_an_error_with_its_cure() {
    let store = store();
    let large = format!("{{\"stream\":\"s\",\"type\":\"T\",\"data\":\"{}\"}}\n", "x".repeat(20_000));
    let ran = limited(&store, "-f 8", "append -", &large).code(4);
    assert!(ran.err.contains("File too large") && ran.err.contains("hint: let it write larger files: ulimit -f"), "{}", ran.err);
    let left: Vec<_> = fs::read_dir(store.path().join("tmp")).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_file()).collect();
    assert!(left.is_empty(), "{left:?}");
    limited(&store, "-f 8", "append -", EVENT).ok();
    braidfs_on(&store.path(), &["append", "-"], &large).ok();
    braidfs_on(&store.path(), &["doctor"], "").ok();
}

/// A program that is started must not go on where others would be ended.
#[test]
fn programs_that_are_started_have_the_signal_of_large_files_as_ever() {
    let store = store();
    let script = "cat > /dev/null; grep SigIgn /proc/self/status >&2";
    let ran = run_with(
        braidfs_command().arg("--store").arg(store.path()).args(["watch", "w", "--once", "--exec", "sh", "--", "-c", script]),
        b"",
    );
    let ignored = ran.err.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap_or_else(|| panic!("{}", ran.err)).trim();
    assert_eq!(u64::from_str_radix(ignored, 16).unwrap() & (1 << (nix::libc::SIGXFSZ - 1)), 0, "{ignored}");
}

/// Story: a standard error that could not be written ended commands with 101, also where they had done what was asked.
#[test]
fn how_a_command_ends_does_not_hang_on_standard_error() {
    let store = store();
    let script = |arguments: &str| format!("'{}' {arguments} 2>/dev/full", env!("CARGO_BIN_EXE_braidfs"));
    bash(&store.path(), &script("--store /nowhere status")).code(1);
    bash(&store.path(), &script("--format json --store /nowhere status")).code(1);
    bash(&store.path(), &script("nonsense")).code(2);
    bash(&store.path(), &script("feed --after 9")).ok();
    bash(&store.path(), &script("log >/dev/full")).code(4);
}

/// Story: where a user may run nothing more, the keeper panicked.
#[test]
fn who_gets_no_more_threads_does_with_less_or_is_told() {
    if !is_root() {
        return;
    }
    let store = store();
    fs::copy(env!("CARGO_BIN_EXE_braidfs"), store.home().join("braidfs")).unwrap();
    fs::set_permissions(store.home(), fs::Permissions::from_mode(0o755)).unwrap();
    bash(store.home(), "chown -R nobody .").ok();
    for limit in 1..6 {
        let script = format!("ulimit -u {limit}; exec ./braidfs --store '{}' log", store.path().display());
        let ran = bash_as_nobody(store.home(), &script);
        match ran.code {
            0 => assert_eq!(ran.lines().len(), 1),
            code => assert!(code == 4 && ran.err.contains("hint: let this user run more: ulimit -u"), "{limit}: {code}: {}", ran.err),
        }
        assert!(!ran.err.contains("panicked"), "{limit}: {}", ran.err);
    }
}

/// Story: for the same cause `sync` ended with 4, and others with 1.
#[test]
fn without_git_every_command_that_needs_it_ends_alike() {
    let store = store();
    git(&store.path(), ["init", "-q"]);
    for arguments in [&["sync"][..], &["git", "setup"], &["status", "--at", "git:HEAD"], &["diff", "git:HEAD"]] {
        let ran = run_with(braidfs_command().arg("--store").arg(store.path()).args(arguments).env("PATH", "/nowhere"), b"").code(4);
        assert!(ran.err.contains("git is not installed") && ran.err.contains("hint: install git"), "{arguments:?}: {}", ran.err);
    }
}
