//! The commands that write: `append`, and `draft` that prepares it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::Value;

use crate::support::mount::{braidfs_as_nobody, is_root};
use crate::support::run::{bash, bash_as_nobody, braidfs_on, run, run_with};
use crate::support::store::TestStore;

fn events(store: &TestStore, stream: &str) -> Vec<Value> {
    let ran = braidfs_on(&store.path(), &["stream", stream, "--format", "json"], "");
    ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn standard_input_becomes_one_transaction() {
    let store = TestStore::new();
    let two = "{\"stream\":\"a\",\"type\":\"T\",\"data\":{\"n\":1}}\n{\"stream\":\"b\",\"type\":\"T\",\"data\":2}\n";
    let committed = braidfs_on(&store.path(), &["append", "--format", "json"], two).ok().json();
    assert_eq!(committed["events"].as_array().unwrap().len(), 2);
    assert_eq!((&committed["events"][1]["stream_version"], &committed["events"][1]["position"]), (&1.into(), &2.into()));
    assert_eq!(fs::read_dir(store.events_dir()).unwrap().count(), 1);
    let text = braidfs_on(&store.path(), &["append", "-"], "{\"stream\":\"a\",\"type\":\"T\",\"data\":null}").ok().out;
    assert!(text.starts_with("committed ") && text.ends_with(": a v2\n"), "{text}");
    assert_eq!(events(&store, "a")[1]["event_data"], Value::Null);
}

/// Story: that the ingestion log may not be opened for writing was taken for a failed sync, after which nothing may be written.
#[test]
fn an_append_to_the_store_of_another_user_says_what_is_denied() {
    if !is_root() {
        return;
    }
    let store = TestStore::new();
    let draft = "{\"stream\":\"a\",\"type\":\"T\",\"data\":1}";
    braidfs_on(&store.path(), &["append"], draft).ok();
    fs::set_permissions(store.home(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_braidfs"), store.home().join("braidfs")).unwrap();
    let refused = bash_as_nobody(store.home(), &format!("echo '{draft}' | ./braidfs --store store append")).code(4);
    for part in [".lock\" cannot be locked: Permission denied", "let that one run: chmod o+rw "] {
        assert!(refused.err.contains(part), "{part}: {}", refused.err);
    }
    assert!(!refused.err.contains("sync"), "{}", refused.err);
    // All but the log is theirs, and a new replica id syncs it first: that it cannot be opened is no failed sync either.
    bash(&store.path(), "chmod -R a+rwX . && chmod 644 index/ingestion.log && rm .eventcore/replica_id").ok();
    let refused = bash_as_nobody(store.home(), &format!("echo '{draft}' | ./braidfs --store store append")).code(4);
    for part in ["ingestion.log\" cannot be written: Permission denied", "let that one run: chmod o+rw "] {
        assert!(refused.err.contains(part), "{part}: {}", refused.err);
    }
}

/// Story: what helps was a part of the message, and `hints` was empty.
#[test]
fn what_helps_against_a_failure_stands_apart_from_what_failed() {
    if !is_root() {
        return;
    }
    let store = TestStore::new();
    fs::set_permissions(store.home(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_braidfs"), store.home().join("braidfs")).unwrap();
    braidfs_on(&store.path(), &["append"], DRAFT).ok();
    for (directory, file) in [("events", "events"), (".", ".lock")] {
        bash(&store.path(), &format!("chmod -R a+rwX . && chmod a-w {directory} {file}")).ok();
        let failed = bash_as_nobody(store.home(), &format!("echo '{DRAFT}' | ./braidfs --store store append --format json")).code(4);
        let error = &serde_json::from_str::<Value>(&failed.err).unwrap()["error"];
        let (message, hint) = (error["message"].as_str().unwrap(), error["hints"][0].as_str().unwrap());
        assert!(message.ends_with("Permission denied (os error 13)"), "{error}");
        assert!(hint.contains("chmod") || hint.contains("chown"), "{error}");
    }
}

/// Story: where the variable behind `--key` was not set, the second event was taken for a retry of the first, and lost.
#[test]
fn what_the_command_line_says_of_a_draft_is_held_to_the_limits_of_its_header() {
    let store = TestStore::new();
    for (arguments, told) in [
        (&["--key", ""][..], "key has 0 characters, 1 to 128 are allowed"),
        (&["--key", &"k".repeat(129)], "key has 129 characters, 1 to 128 are allowed"),
        (&["--expect", "a*=none"], "stream id \"a*\" contains \"*\""),
        (&["--session", ""], "session id \"\" is empty"),
    ] {
        let refused = braidfs_on(&store.path(), &[&["append"], arguments].concat(), DRAFT).code(1);
        assert!(refused.err.contains(told), "{arguments:?}: {}", refused.err);
        assert!(refused.err.contains("hint: ") || arguments[0] == "--session", "{arguments:?}: {}", refused.err);
    }
    assert_eq!(fs::read_dir(store.events_dir()).unwrap().count(), 0);
}

/// Story: `--expect a=any` took the header's expectation away, and `--key` its key, so that a retry by that was committed again.
#[test]
fn what_the_command_line_says_of_a_draft_holds_beside_what_its_header_says() {
    let store = TestStore::new();
    let append = |arguments: &[&str], draft: &str| braidfs_on(&store.path(), &[&["append"], arguments].concat(), draft);
    append(&[], DRAFT).ok();
    let stated = |header: &str| format!("{header}\n{DRAFT}\n");
    for (arguments, header, told) in [
        (
            &["--expect", "a=1"][..],
            r#"{"expect":{"a":0}}"#,
            "stream \"a\" is expected at none by the draft's header, and at 1 by --expect (EINVAL)",
        ),
        (&["--expect", "a=none"], r#"{"expect":{"a":"exists"}}"#, "at exists by the draft's header, and at none by --expect"),
        (&["--expect", "a=7"], r#"{"expect":{"a":"exists"}}"#, "(ESTALE)"),
        (&["--expect", "a=exists"], r#"{"expect":{"a":7}}"#, "(ESTALE)"),
        (&["--key", "c"], r#"{"key":"h"}"#, "key is \"h\" in the draft's header, and \"c\" by --key (EINVAL)"),
        (&["--expect", "a=any"], r#"{"expect":{"a":7}}"#, "(ESTALE)"),
        (&["--expect", "b=none"], r#"{"expect":{"a":7}}"#, "(ESTALE)"),
    ] {
        let refused = append(arguments, &stated(header)).code(1);
        assert!(refused.err.contains(told), "{arguments:?} {header}: {}", refused.err);
    }
    let both = append(&["--expect", "a=2", "--key", "c"], &stated(r#"{"expect":{"a":1},"key":"h"}"#)).code(1).err;
    assert_eq!(both.matches("(EINVAL)").count(), 2, "{both}");
    assert_eq!(events(&store, "a").len(), 1);
    append(&["--expect", "a=1", "--key", "h"], &stated(r#"{"expect":{"a":1},"key":"h"}"#)).ok();
    append(&["--expect", "a=2"], &stated(r#"{"expect":{"a":"any"},"key":"i"}"#)).ok();
    append(&["--expect", "a=any"], &stated(r#"{"expect":{"a":3}}"#)).ok();
    append(&["--expect", "a=4"], &stated(r#"{"expect":{"a":"exists"}}"#)).ok();
    append(&["--expect", "a=exists"], &stated(r#"{"expect":{"a":5}}"#)).ok();
    assert_eq!(events(&store, "a").len(), 6);
}

#[test]
fn a_stream_that_the_command_line_names_twice_has_one_expectation() {
    let store = TestStore::new();
    let append = |wanted: &[&str]| {
        let arguments = wanted.iter().flat_map(|wanted| ["--expect", wanted]);
        braidfs_on(&store.path(), &std::iter::once("append").chain(arguments).collect::<Vec<_>>(), DRAFT)
    };
    let refused = append(&["a=1", "b=none", "a=none"]).code(2);
    assert!(refused.err.contains("--expect names stream \"a\" twice, at 1 and at none"), "{}", refused.err);
    assert!(events(&store, "a").is_empty());
    append(&["a=none", "a=0", "b=none"]).ok();
}

/// Somebody else's store, with an event in it, and that user's copy of the program in the same home.
fn store_of_nobody() -> TestStore {
    let store = TestStore::new();
    run_with(braidfs_as_nobody(&store.path(), store.home()).arg("--store").arg(store.path()).arg("append"), DRAFT.as_bytes()).ok();
    store
}

const DRAFT: &str = "{\"stream\":\"a\",\"type\":\"T\",\"data\":1}";

/// Story: root looked at somebody's clone, and from then on its owner could not append.
#[test]
fn what_root_makes_in_somebodys_store_is_that_users() {
    if !is_root() {
        return;
    }
    let store = store_of_nobody();
    let foreign = || bash(&store.path(), "find . ! -user 65534 -o ! -group 65534").ok().out;
    let root = |arguments: &[&str]| braidfs_on(&store.path(), arguments, DRAFT).ok();
    // As in a fresh clone.
    bash(&store.path(), "rm -rf index .lock .eventcore tmp").ok();
    assert_eq!(root(&["feed"]).lines().len(), 1);
    assert_eq!(foreign(), "");
    root(&["append"]);
    root(&["checkpoint", "set", "sub", "1"]);
    root(&["watch", "sub", "--once"]);
    root(&["snapshot", "save", "sum", "--seq-nr", "1"]);
    assert_eq!(foreign(), "");
    bash_as_nobody(
        store.home(),
        &format!("echo '{DRAFT}' | ./braidfs --store store append && ./braidfs --store store checkpoint set sub 2"),
    )
    .ok();
    // A link leads to what is not that user's to get.
    bash(store.home(), "mkdir elsewhere && rm -rf store/locks && ln -s ../elsewhere store/locks").ok();
    root(&["watch", "sub", "--once"]);
    assert_eq!(bash(store.home(), "stat -c %u elsewhere/*").ok().out, "0\n");
    // So is what is made of somebody's directory.
    bash(store.home(), "mkdir new && chown 65534:65534 new").ok();
    braidfs_on(&store.home().join("new"), &["init"], "").ok();
    assert_eq!(bash(store.home(), "find new ! -user 65534").ok().out, "");
}

#[test]
fn what_root_left_in_somebodys_store_is_told_with_what_cures_it() {
    if !is_root() {
        return;
    }
    let store = store_of_nobody();
    let nobody = |arguments: &str| bash_as_nobody(store.home(), &format!("echo '{DRAFT}' | ./braidfs --store store {arguments}"));
    nobody("doctor").ok();
    bash(&store.path(), "chown -R 0:0 .lock index").ok();
    let told = nobody("--format json doctor").code(1).json();
    let found = &told["findings"][0];
    assert_eq!(
        (&found["kind"], &found["severity"], told["findings"].as_array().unwrap().len()),
        (&"storage-lacks".into(), &"error".into(), 1)
    );
    assert!(found["message"].as_str().unwrap().contains(".lock\" cannot be written: Permission denied"), "{found}");
    let refused = nobody("append").code(4).err;
    let (_, cure) = refused.split_once("sudo ").unwrap();
    assert!(cure.starts_with("chown -R ") && cure.contains("/.lock ") && cure.contains("/index "), "{cure}");
    assert!(found["hint"].as_str().unwrap().starts_with(&format!("sudo {}", cure.split_once('#').unwrap().0)), "{found}");
    // Nothing of the sort is told to others, who need not be able to write.
    let stranger = run(
        "setpriv",
        [
            "--reuid=65533",
            "--regid=65533",
            "--clear-groups",
            "bash",
            "-c",
            &format!("cd {} && ./braidfs --store store doctor", store.home().display()),
        ],
    );
    assert_eq!(stranger.ok().out, "nothing is wrong\n");
    bash(store.home(), cure).ok();
    nobody("append").ok();
    assert_eq!(nobody("doctor").ok().out, "nothing is wrong\n");
}

/// Story: who had no room for the answer took it for a refusal, tried again, and committed twice.
#[test]
fn what_was_committed_is_said_where_standard_output_takes_nothing() {
    let store = TestStore::new();
    let script =
        format!("echo '{{\"stream\":\"a\",\"type\":\"T\",\"data\":1}}' | {} --store . append > /dev/full", env!("CARGO_BIN_EXE_braidfs"));
    let failed = bash(&store.path(), &script).code(4);
    let committed = fs::read_dir(store.events_dir()).unwrap().next().unwrap().unwrap().file_name().into_string().unwrap();
    let said = format!("draft '-': committed {}: a v1, but standard output cannot be written", committed.trim_end_matches(".jsonl"));
    assert!(failed.err.contains(&said), "{}", failed.err);
}

/// Story: who went by the exit code could not tell which of several drafts to hand in again.
#[test]
fn what_became_of_each_of_several_drafts_is_told() {
    let store = TestStore::new();
    let write = |name: &str, text: &str| fs::write(store.home().join(name), text).unwrap();
    write("a.jsonl", DRAFT);
    write("bad.jsonl", "{\"stream\":\n");
    write("empty.jsonl", "");
    write("stale.jsonl", &format!("{{\"expect\":{{\"a\":7}}}}\n{DRAFT}"));
    write("c.jsonl", DRAFT);
    let append = |files: &str| bash(store.home(), &format!("{} --store store append {files}", env!("CARGO_BIN_EXE_braidfs"))).code(1);
    let refused = append("a.jsonl bad.jsonl empty.jsonl nosuch.jsonl c.jsonl").err;
    for part in [
        "draft 'bad.jsonl'",
        "draft 'empty.jsonl'",
        "draft holds no event",
        "'nosuch.jsonl' cannot be read",
        "nothing was committed: 'a.jsonl', 'bad",
    ] {
        assert!(refused.contains(part), "{part}: {refused}");
    }
    assert_eq!(fs::read_dir(store.events_dir()).unwrap().count(), 0);
    let refused = append("a.jsonl stale.jsonl c.jsonl");
    assert!(refused.out.starts_with("committed ") && refused.err.contains("draft 'stale.jsonl'"), "{refused:?}");
    assert!(refused.err.contains("not tried: 'c.jsonl'"), "{}", refused.err);
    assert_eq!(fs::read_dir(store.events_dir()).unwrap().count(), 1);
}

/// Story: the hint named a file behind a directory through which this user may not go, and no command got there.
#[test]
fn what_is_denied_on_the_way_is_told_of_the_way() {
    if !is_root() {
        return;
    }
    let store = store_of_nobody();
    bash(store.home(), "mkdir closed && mv store closed && chmod 700 closed").ok();
    let closed = store.home().canonicalize().unwrap().join("closed");
    let refused = bash_as_nobody(store.home(), &format!("./braidfs --store {}/store log", closed.display())).code(4);
    let hint = format!("hint: ls -ld {0}   # run it as the user whom it belongs to, or let that one run: chmod o+x {0}", closed.display());
    assert!(refused.err.contains(&hint), "{}", refused.err);
}

#[test]
fn what_is_wrong_with_a_draft_comes_with_what_helps() {
    let store = TestStore::new();
    for (arguments, input) in [(&["append", "nosuch.jsonl"][..], ""), (&["append"], "{\"stream\":"), (&["append"], "{,}")] {
        let refused = braidfs_on(&store.path(), arguments, input).code(1);
        assert!(refused.err.contains("hint: "), "{}", refused.err);
    }
}

#[test]
fn each_file_becomes_a_transaction() {
    let store = TestStore::new();
    let (lines, document) = (store.home().join("x.jsonl"), store.home().join("y.json"));
    fs::write(&lines, "{\"stream\":\"a\",\"type\":\"T\",\"data\":1}\n").unwrap();
    fs::write(&document, "[\n {\"stream\":\"a\",\"type\":\"T\",\n \"data\":2},\n {\"stream\":\"a\",\"type\":\"T\",\"data\":3}\n]\n")
        .unwrap();
    let ran = braidfs_on(&store.path(), &["append", lines.to_str().unwrap(), document.to_str().unwrap()], "").ok();
    assert_eq!(ran.lines().len(), 2);
    let data: Vec<Value> = events(&store, "a").into_iter().map(|event| event["event_data"].clone()).collect();
    assert_eq!(data, [1, 2, 3]);
}

/// A pipe has no size, and was read as empty.
#[test]
fn whatever_is_given_to_be_read_may_be_a_pipe() {
    let store = TestStore::new();
    let script = r#"set -e -o pipefail
        event='{"stream":"a","type":"T","data":2}'
        "$1" append <(echo "$event")
        echo "$event" | "$1" append /dev/stdin
        "$1" append /proc/self/fd/3 3< <(echo "$event")
        mkfifo pipe && { echo "$event" > pipe & "$1" append pipe; }
        "$1" projection add sum --init 0 --step <(echo '. + $event.event_data')
        "$1" snapshot save s --seq-nr 2 <(echo 4)
        "$1" projection run sum
        "$1" snapshot show s --state"#;
    let mut command = Command::new("bash");
    command.args(["-c", script, "bash", env!("CARGO_BIN_EXE_braidfs")]).env("BRAIDFS_STORE", store.path()).current_dir(store.home());
    let ran = run_with(&mut command, b"").ok();
    assert_eq!(events(&store, "a").len(), 4);
    assert!(ran.out.trim_end().ends_with("8\n4"), "{}", ran.out);
}

#[test]
fn expectations_that_do_not_hold_are_refused() {
    let store = TestStore::new();
    let event = "{\"stream\":\"a\",\"type\":\"T\",\"data\":1}\n";
    braidfs_on(&store.path(), &["append", "--expect", "a=none"], event).ok();
    let ran = braidfs_on(&store.path(), &["append", "--expect", "a=none"], event).code(1);
    assert!(ran.err.contains("ESTALE") && ran.err.contains("a"), "{}", ran.err);
    braidfs_on(&store.path(), &["append", "--expect", "a=1", "--expect", "b=none"], event).ok();
    braidfs_on(&store.path(), &["append", "--expect", "a=7"], event).code(1);
    braidfs_on(&store.path(), &["append", "--expect", "a"], event).code(2);
    assert_eq!(events(&store, "a").len(), 2);
}

#[test]
fn a_key_makes_a_retry_safe() {
    let store = TestStore::new();
    let event = "{\"stream\":\"a\",\"type\":\"T\",\"data\":1}\n";
    let first = braidfs_on(&store.path(), &["append", "--key", "k1", "--format", "json"], event).ok().json();
    let again = braidfs_on(&store.path(), &["append", "--key", "k1", "--format", "json"], event).ok().json();
    assert_eq!((&again["transaction_id"], &again["repeated"]), (&first["transaction_id"], &true.into()));
    let ran = braidfs_on(&store.path(), &["append", "--key", "k1"], "{\"stream\":\"a\",\"type\":\"T\",\"data\":2}\n").code(1);
    assert!(ran.err.contains("EEXIST"), "{}", ran.err);
    assert_eq!(events(&store, "a").len(), 1);
    assert!(braidfs_on(&store.path(), &["append", "--key", "k", "x", "y"], "").code(2).err.contains("one key"));
}

#[test]
fn a_bad_draft_is_refused_with_every_reason_and_commits_nothing() {
    let store = TestStore::new();
    let ran = braidfs_on(
        &store.path(),
        &["append"],
        "{\"stream\":\"\",\"type\":\"T\",\"data\":1}\n{\"stream\":\"a\",\"data\":1}\n{\"stream\":\n",
    )
    .code(1);
    for line in ["line 1", "line 2", "line 3"] {
        assert!(ran.err.contains(line), "{line} is missing in {}", ran.err);
    }
    let json = braidfs_on(&store.path(), &["append", "--format", "json"], "{}").code(1);
    assert_eq!(serde_json::from_str::<Value>(&json.err).unwrap()["error"]["kind"], "refused");
    let none = ["", "\n", " \n\n"].map(|none| braidfs_on(&store.path(), &["append"], none).code(1).err);
    assert!(none[0].contains("draft holds no event (EINVAL)") && none.iter().all(|told| *told == none[0]), "{none:?}");
    assert!(braidfs_on(&store.path(), &["append", "/nonexistent.jsonl"], "").code(1).err.contains("cannot be read"));
    assert_eq!(fs::read_dir(store.events_dir()).unwrap().count(), 0);
}

#[test]
fn a_forked_stream_needs_a_version() {
    let (store, _) = TestStore::forked();
    let event = "{\"stream\":\"account-0\",\"type\":\"Deposited\",\"data\":1}\n";
    let ran = braidfs_on(&store.path(), &["append"], event).code(1);
    assert!(ran.err.contains("ESTALE") && ran.err.contains("fork"), "{}", ran.err);
    braidfs_on(&store.path(), &["append", "--expect", "account-0=4"], event).ok();
    assert_eq!(braidfs_on(&store.path(), &["status", "--format", "json"], "").ok().json()["forks"]["open"], 0);
}

#[test]
fn a_draft_is_ready_but_for_its_type() {
    let store = TestStore::new();
    let draft = braidfs_on(&store.path(), &["draft", "a/b"], "").ok().out;
    assert!(draft.contains("\"none\"") && draft.contains("\"key\""), "{draft}");
    braidfs_on(&store.path(), &["append"], &draft).code(1);
    let filled = draft.replace("\"event_type\":\"\"", "\"event_type\":\"T\"");
    braidfs_on(&store.path(), &["append"], &filled).ok();
    braidfs_on(&store.path(), &["append"], &filled).ok();
    assert_eq!(events(&store, "a/b").len(), 1);
    let next = braidfs_on(&store.path(), &["draft", "a/b", "--type", "U", "--format", "json"], "").ok().json();
    assert_eq!(next["expect"]["a/b"], 1);
    braidfs_on(&store.path(), &["append", "--document"], &next.to_string()).ok();
    assert_eq!(events(&store, "a/b")[1]["event_type"], "U");
    braidfs_on(&store.path(), &["draft", "a*"], "").code(2);
}

/// Story: the draft of a forked stream expected the version of both sides put together, so `draft | append` closed a conflict that nobody had seen.
#[test]
fn a_forked_stream_has_no_draft_before_both_sides_were_seen() {
    let (store, _) = TestStore::forked();
    let refused = braidfs_on(&store.path(), &["draft", "account-0", "--type", "T"], "").code(1);
    assert_eq!(refused.out, "");
    assert!(
        refused.err.contains("stream \"account-0\" is forked") && refused.err.contains("{\"expect\":{\"account-0\":4}}"),
        "{}",
        refused.err
    );
    assert!(!refused.err.contains("line "), "{}", refused.err);
    let refused = braidfs_on(&store.path(), &["draft", "account-0", "--format", "json"], "").code(1).err;
    let refused = &serde_json::from_str::<Value>(&refused).unwrap()["error"];
    assert_eq!((&refused["reasons"][0]["errno"], &refused["conflicts"][0]["state"]), (&"ESTALE".into(), &"open".into()));
    braidfs_on(&store.path(), &["draft", "account-1", "--type", "T"], "").ok();
    braidfs_on(&store.path(), &["reconcile", "--all", "--accept"], "").ok();
    let draft = braidfs_on(&store.path(), &["draft", "account-0", "--type", "T"], "").ok().out;
    braidfs_on(&store.path(), &["append"], &draft).ok();
}

#[test]
fn a_store_that_another_program_holds_is_busy() {
    let store = TestStore::new();
    let holder = eventcore_fs::FileEventStore::open(store.path()).unwrap();
    let event = "{\"stream\":\"a\",\"type\":\"T\",\"data\":1}\n";
    braidfs_on(&store.path(), &["append"], event).code(3);
    drop(holder);
    braidfs_on(&store.path(), &["append"], event).ok();
    assert!(eventcore_fs::FileEventStore::open(store.path()).unwrap().status().unwrap().is_clean());
}

/// Story: what a program should do about each reason could not be told from causes and hints as sentences.
#[test]
fn each_reason_is_told_to_programs_as_a_receipt_tells_it() {
    let store = TestStore::new();
    let drafts = "{\"stream\":\"a\",\"type\":\"\",\"data\":1}\nnonsense\n";
    let refused = braidfs_on(&store.path(), &["append", "--format", "json"], drafts).code(1);
    let error = serde_json::from_str::<Value>(&refused.err).unwrap()["error"].clone();
    let reasons = error["reasons"].as_array().unwrap();
    assert_eq!(reasons.len(), error["causes"].as_array().unwrap().len(), "{error}");
    assert_eq!((&reasons[0]["errno"], &reasons[0]["line"], &reasons[1]["line"]), (&"EINVAL".into(), &1.into(), &2.into()), "{error}");
    for (reason, cause) in reasons.iter().zip(error["causes"].as_array().unwrap()) {
        let keys: Vec<&String> = reason.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["column", "errno", "hint", "line", "message"], "{error}");
        assert!(cause.as_str().unwrap().contains(reason["message"].as_str().unwrap()) && reason["hint"].is_string(), "{error}");
    }
}

/// Story: what the command line asked for was said to stand in line 1 of a draft.
#[test]
fn what_no_line_of_a_draft_says_is_refused_without_a_line() {
    let store = TestStore::new();
    let line_of = |arguments: &[&str], draft: &str| {
        let refused = braidfs_on(&store.path(), &[arguments, &["--format", "json"]].concat(), draft).code(1);
        let reason = serde_json::from_str::<Value>(&refused.err).unwrap()["error"]["reasons"][0].clone();
        assert_eq!(reason["errno"], "ESTALE", "{reason}");
        reason["line"].clone()
    };
    assert_eq!(line_of(&["append", "--expect", "a=7"], DRAFT), Value::Null);
    let header = format!("{{\"expect\":{{\"a\":\"exists\"}}}}\n{DRAFT}");
    assert_eq!(line_of(&["append", "--expect", "a=7"], &header), Value::Null);
    assert_eq!(line_of(&["append", "--expect", "b=any"], &header), 1);
    assert_eq!(line_of(&["reconcile", "abc"], ""), Value::Null);
    let resolving = format!("{{\"resolve\":\"{}\"}}\n", "0".repeat(12));
    assert_eq!(line_of(&["append"], &resolving), 1);
}

/// Story: without a mount, each of many drafts had the whole of `events/` listed under the lock: the square of how many there were.
#[test]
fn many_drafts_are_committed_without_a_look_through_the_store_for_each() {
    const DRAFTS: usize = 60;
    let store = TestStore::new();
    let drafts: Vec<String> = (0..DRAFTS).map(|n| format!("{n:02}.jsonl")).collect();
    drafts.iter().enumerate().for_each(|(n, name)| {
        fs::write(store.home().join(name), format!("{{\"stream\":\"s-{n}\",\"type\":\"T\",\"data\":{n}}}\n")).unwrap();
    });
    let mut traced = Command::new("strace");
    traced.args(["-f", "-qq", "-y", "-e", "trace=getdents64,renameat2", "-o", "trace"]).arg(env!("CARGO_BIN_EXE_braidfs"));
    traced.args(["--store", "store", "append"]).args(&drafts).current_dir(store.home());
    let said = run_with(&mut traced, b"").ok();
    assert_eq!(said.lines().len(), DRAFTS);
    let trace = fs::read_to_string(store.home().join("trace")).unwrap();
    let calls = |of: &str| trace.lines().filter(|line| line.contains(of) && line.contains("store/events")).count();
    assert_eq!(calls("renameat2("), DRAFTS, "{trace}");
    // A few looks when it starts, each of them two calls.
    assert!((1..20).contains(&calls("getdents64(")), "{} looks", calls("getdents64("));
    // The order of the files is that of the commits, and each answer came for its own.
    let streams: Vec<String> = said.lines().iter().map(|line| line.split(' ').nth(2).unwrap().to_owned()).collect();
    assert_eq!(streams, (0..DRAFTS).map(|n| format!("s-{n}")).collect::<Vec<_>>());
    let logged = braidfs_on(&store.path(), &["log", "--format", "json"], "").ok().out;
    let logged: Vec<Value> = logged.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["stream_id"].clone()).collect();
    assert_eq!(logged, streams);
}

/// Story: a pipe named ingestion.log was "the disk fails", and `doctor` found nothing wrong where no commit was possible.
#[test]
fn what_is_no_file_or_no_directory_where_one_must_be_is_told_as_such() {
    let put: [(&str, &str); 3] = [("a pipe", "mkfifo"), ("a directory", "mkdir"), ("a link to itself", "ln -s loop")];
    for (file, is_read) in [("index/ingestion.log", true), (".lock", false), ("tmp", false), ("index", true)] {
        for (what, make) in put.into_iter().filter(|(what, _)| *what != "a directory" || file.contains('.')) {
            let store = TestStore::new();
            braidfs_on(&store.path(), &["append"], DRAFT).ok();
            bash(&store.path(), &format!("rm -rf {file} && cd $(dirname {file}) && {make} $(basename {file})")).ok();
            if what == "a link to itself" {
                bash(&store.path(), &format!("rm -f {file} && ln -s $(basename {file}) {file}")).ok();
            }
            let refused = braidfs_on(&store.path(), &["append"], DRAFT).code(4).err;
            let cures = ["ls -ld), and move it away: ", "move it away (ls -ld", "remove the one that should be none"];
            assert!(cures.iter().any(|cure| refused.contains(cure)), "{file} is {what}: {refused}");
            let told = braidfs_on(&store.path(), &["doctor"], "");
            if is_read {
                let told = told.code(4).err;
                assert!(cures.iter().any(|cure| told.contains(cure)), "{file} is {what}: {told}");
            } else {
                let told = told.code(1).out;
                assert!(told.contains("takes no writes: ") && cures.iter().any(|cure| told.contains(cure)), "{file} is {what}: {told}");
            }
            assert!(!refused.contains("the disk fails"), "{refused}");
        }
    }
}

/// Story: `doctor` and `verify` said "nothing is wrong" where every append failed: it only reads, so it has to ask.
#[test]
fn doctor_tells_of_a_disk_that_takes_no_writes() {
    if !is_root() {
        return;
    }
    let store = TestStore::new();
    braidfs_on(&store.path(), &["append"], DRAFT).ok();
    let doctor = format!("{} --store store doctor", env!("CARGO_BIN_EXE_braidfs"));
    for (prepare, cure) in [
        ("mount --bind store store && mount -o remount,bind,ro store", "mount it writable"),
        ("mkdir full && mount -t tmpfs -o size=2m none full && cp -a store full && cd full && head -c 9m /dev/zero > filler", "make room"),
        ("mkdir inodes && mount -t tmpfs -o nr_inodes=30 none inodes && cp -a store inodes && cd inodes && touch {1..40}", "df -i"),
        // As with a quota, and after an error of the disk: nothing that can be asked tells of it.
        ("ulimit -f 0", "ulimit -f"),
        ("chattr +i store/events && trap 'chattr -i store/events' EXIT", "lsattr"),
    ] {
        // In a mount namespace of its own, which ends with the shell.
        let told = bash(store.home(), &format!("unshare -m bash -c \"{{ {prepare}; }} 2>&-; {doctor}\"")).code(1).out;
        assert!(told.contains("takes no writes") && told.contains(cure), "{prepare}: {told}");
    }
}
