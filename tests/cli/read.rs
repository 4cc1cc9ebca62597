//! The commands that read: `log`, `stream`, `streams`, `feed`, `show`, `status`, `verify`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use braidfs::braid::{Braid, OpenOptions};
use braidfs::view::Node;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::support::mount::is_root;
use crate::support::run::{Ran, bash_as_nobody, braidfs, braidfs_command, braidfs_on, run_with};
use crate::support::store::{REAL_HISTORY_EVENTS, REAL_HISTORY_ORDER_SHA256, REAL_HISTORY_TRANSACTIONS, TestStore};

fn on(store: &TestStore, arguments: &[&str]) -> Ran {
    braidfs_on(&store.path(), arguments, "")
}

fn json_lines(ran: &Ran) -> Vec<Value> {
    ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_log_has_the_canonical_order() {
    let store = TestStore::real_history();
    let events = json_lines(&on(&store, &["log", "--format", "json"]).ok());
    assert_eq!(events.len(), REAL_HISTORY_EVENTS);
    let mut hash = Sha256::new();
    for (n, event) in events.iter().enumerate() {
        assert_eq!(event["position"], n + 1);
        hash.update(event["event_id"].as_str().unwrap());
        hash.update("\n");
    }
    let hash: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hash, REAL_HISTORY_ORDER_SHA256);
}

/// The kernel lets only a file's owner read it without a note of the time.
#[test]
fn a_store_that_belongs_to_somebody_else_is_read() {
    let (store, _) = TestStore::forked();
    fs::set_permissions(store.home(), fs::Permissions::from_mode(0o755)).unwrap();
    // The build directory may be closed to others.
    let binary = store.home().join("braidfs");
    fs::copy(env!("CARGO_BIN_EXE_braidfs"), &binary).unwrap();
    let mut command = Command::new(&binary);
    if is_root() {
        command.uid(65534).gid(65534);
    }
    command.current_dir("/").arg("log").arg("--store").arg(store.path());
    assert_eq!(run_with(&mut command, b"").ok().out.lines().count(), 7);
}

#[test]
fn the_log_is_chosen_and_limited() {
    let (store, _) = TestStore::forked();
    let text = on(&store, &["log"]).ok().out;
    assert_eq!(text.lines().count(), 7);
    assert!(text.lines().next().unwrap().contains("account-0 v1  Opened  {\"owner\":\"Ada\"}"), "{text}");
    let accounts = on(&store, &["log", "--stream", "account?*", "--type", "Open*", "--format", "json"]).ok();
    let streams: Vec<Value> = json_lines(&accounts).into_iter().map(|event| event["stream_id"].clone()).collect();
    assert_eq!(streams, ["account-0", "account-1", "account/2"]);
    let two = json_lines(&on(&store, &["log", "--after", "3", "--limit", "2", "--format", "json"]).ok());
    assert_eq!(two.iter().map(|event| event["position"].clone()).collect::<Vec<_>>(), [4, 5]);
    assert_eq!(on(&store, &["log", "--after", "99"]).ok().out, "");
    assert_eq!(on(&store, &["log", "--limit", "0"]).ok().out, "");
}

#[test]
fn a_stream_is_printed_or_said_not_to_exist() {
    let (store, _) = TestStore::forked();
    let events = json_lines(&on(&store, &["stream", "account-0", "--format", "json"]).ok());
    assert_eq!(events.iter().map(|event| event["stream_version"].clone()).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let ran = on(&store, &["stream", "account-9"]).code(1);
    assert!(ran.err.contains("stream 'account-9' has no events") && ran.err.contains("hint: braidfs streams"), "{}", ran.err);
}

#[test]
fn streams_are_counted() {
    let (store, _) = TestStore::forked();
    let streams = json_lines(&on(&store, &["streams", "--format", "json"]).ok());
    let counts: Vec<(&str, u64)> = streams.iter().map(|s| (s["stream_id"].as_str().unwrap(), s["events"].as_u64().unwrap())).collect();
    assert_eq!(counts, [("account-0", 4), ("account-1", 1), ("account/2", 1), ("audit", 1)]);
    let forked: Vec<bool> = streams.iter().map(|s| s["forked"].as_bool().unwrap()).collect();
    assert_eq!(forked, [true, false, false, false]);
    assert_eq!(on(&store, &["streams", "account-0"]).ok().out, "      4  account-0  (forked)\n");
    assert_eq!(on(&store, &["streams", "aud*"]).ok().out, "      1  audit\n");
}

#[test]
fn the_feed_goes_on_where_one_stopped() {
    let (store, _) = TestStore::forked();
    let all = json_lines(&on(&store, &["feed", "--format", "json"]).ok());
    assert_eq!(all.iter().map(|event| event["seq_nr"].clone()).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7]);
    let rest = json_lines(&on(&store, &["feed", "--after", "5", "--format", "json"]).ok());
    assert_eq!(rest, all[5..]);
    let opened = json_lines(&on(&store, &["feed", "--type", "Opened", "--format", "json"]).ok());
    assert_eq!(opened.len(), 3);
    let none = on(&store, &["feed", "--after", "7"]).ok();
    assert_eq!((none.out, none.err), (String::new(), String::new()));
    let beyond = on(&store, &["feed", "--after", "8"]).ok();
    assert_eq!((beyond.out.as_str(), beyond.err.as_str()), ("", "braidfs: the feed ends at number 7, before 8\n"));
    let beyond = on(&store, &["feed", "--after", "8", "--format", "json"]).ok();
    let note: Value = serde_json::from_str(&beyond.err).unwrap();
    assert_eq!((beyond.out.as_str(), &note["note"]["message"]), ("", &json!("the feed ends at number 7, before 8")));
}

#[test]
fn a_transaction_is_shown_by_its_id_or_its_beginning() {
    let (store, forked) = TestStore::forked();
    let id = forked.theirs[1].to_string();
    let file = fs::read_to_string(store.events_dir().join(format!("{id}.jsonl"))).unwrap();
    assert_eq!(on(&store, &["show", &id, "--format", "json"]).ok().out, file);
    let text = on(&store, &["show", &id.to_uppercase()]).ok().out;
    for part in [format!("transaction  {id}"), format!("parent       {}", forked.theirs[0]), "{\"owner\":\"Cy\"}".to_owned()] {
        assert!(text.contains(&part), "{part} is missing in {text}");
    }
    assert!(on(&store, &["show", &id[..5]]).code(1).err.contains("begins the ids of 4 transactions"));
    assert!(on(&store, &["show", &id[..id.len() - 1]]).ok().out.contains(&id));
    assert!(on(&store, &["show", "ffff"]).code(1).err.contains("does not exist"));
    assert!(on(&store, &["show", "f"]).code(1).err.contains("at least the first 4"));
}

/// Story: a payload was parsed and rendered anew: keys in another order, numbers that lost digits, and escapes that stood in it spelled out
/// in a second way.
#[test]
fn a_payload_is_shown_as_it_was_written() {
    let store = TestStore::new();
    let data = r#"{"z":12345678901234567890123,"a":1.10,"escaped":"\u202e\u001b","raw":"RAW"}"#;
    let draft = format!(r#"{{"stream":"s","type":"T","data":{data},"metadata":{{"by":1e2}}}}"#).replace("RAW", "\u{202e}");
    let drafts = format!("{draft}\n{{\"stream\":\"s\",\"type\":\"T\",\"data\":\"text\"}}\n");
    braidfs_on(&store.path(), &["append"], &drafts).ok();
    let id = json_lines(&on(&store, &["log", "--format", "json"]).ok())[0]["transaction_id"].as_str().unwrap().to_owned();
    let shown = on(&store, &["show", &id]).ok().out;
    let payloads: Vec<&str> = shown.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    assert_eq!(payloads, [data.replace("RAW", "\\u{202e}").as_str(), r#"metadata {"by":1e2}"#, r#""text""#]);
    // A byte order mark is healed, and hides nothing.
    let path = store.events_dir().join(format!("{id}.jsonl"));
    fs::write(&path, [b"\xef\xbb\xbf", fs::read(&path).unwrap().as_slice()].concat()).unwrap();
    assert_eq!(on(&store, &["show", &id]).ok().out, shown);
}

#[test]
fn the_status_counts() {
    let (store, forked) = TestStore::forked();
    let status = on(&store, &["status", "--format", "json"]).ok().json();
    assert_eq!((status["transactions"].as_u64(), status["events"].as_u64(), status["streams"].as_u64()), (Some(4), Some(7), Some(4)));
    let mut heads = vec![forked.ours.to_string(), forked.theirs[1].to_string()];
    heads.sort();
    assert_eq!(status["heads"], json!(heads));
    assert_eq!(status["forks"]["open"], 1);
    let text = on(&store, &["status"]).ok().out;
    assert!(text.contains("4 transactions with 7 events in 4 streams") && text.contains("1 stream is forked"), "{text}");
}

#[test]
fn a_whole_store_verifies() {
    let store = TestStore::real_history();
    let path = store.path();
    let ran = braidfs(["verify", path.to_str().unwrap(), "--format", "json"]).ok();
    assert_eq!(ran.json()["transactions"], REAL_HISTORY_TRANSACTIONS);
}

#[test]
fn one_changed_byte_is_found_and_hides_nothing_else() {
    let (store, forked) = TestStore::forked();
    let path = store.events_dir().join(format!("{}.jsonl", forked.ours));
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("50", "51")).unwrap();
    let ran = on(&store, &["verify"]).code(1);
    assert!(ran.out.contains("quarantined") && ran.out.contains("hint: "), "{}", ran.out);
    let findings = on(&store, &["verify", "--format", "json"]).code(1).json();
    assert_eq!(findings["findings"][0]["kind"], "quarantined");
    assert_eq!(findings["transactions"], 3);
    assert_eq!(json_lines(&on(&store, &["log", "--format", "json"]).ok()).len(), 6);
}

/// Story: what was verified once is taken over by name and inode, so a file changed in place looked whole.
#[test]
fn verify_trusts_nothing_that_was_saved() {
    let (store, forked) = TestStore::forked();
    on(&store, &["feed"]).ok();
    let path = store.events_dir().join(format!("{}.jsonl", forked.ours));
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let place = text.find("\"amount\":50").unwrap() as u64;
    std::os::unix::fs::FileExt::write_all_at(&file, b"\"amount\":51", place).unwrap();
    file.set_modified(time).unwrap();
    assert_eq!(on(&store, &["verify", "--format", "json"]).code(1).json()["findings"][0]["kind"], "quarantined");
}

fn kinds(findings: &Value) -> Vec<&str> {
    findings["findings"].as_array().unwrap().iter().map(|finding| finding["kind"].as_str().unwrap()).collect()
}

/// Story: it was noted where numbers are given, so only who wrote the ingestion log told it, until it ended.
#[test]
fn one_event_id_in_two_transactions_is_told_by_every_command_that_tells_findings() {
    let mut store = TestStore::new();
    let root = store.transaction().event("a", "T", json!(1)).write();
    let first = store.transaction().parents([root]).event("a", "T", json!(2)).write();
    let event = json_lines(&on(&store, &["log", "--format", "json"]).ok())[1]["event_id"].as_str().unwrap().to_owned();
    let other = store.transaction().replica(2).parents([root]).event_with_id(event.parse().unwrap(), "b", "T", json!(2)).write();
    for _ in 0..2 {
        for (command, code) in [("status", 0), ("verify", 1), ("doctor", 1)] {
            let told = on(&store, &[command, "--format", "json"]).code(code).json();
            assert_eq!(kinds(&told), ["duplicate-event"], "{command}: {told}");
            assert_eq!(told["findings"][0]["transaction_id"], other.to_string());
            let message = told["findings"][0]["message"].as_str().unwrap();
            assert!(message.contains(&event) && message.contains(&first.to_string()), "{message}");
        }
        // The second time it is known from the saved index.
        assert_eq!(json_lines(&on(&store, &["feed", "--format", "json"]).ok()).len(), 2);
    }
    fs::remove_file(store.events_dir().join(format!("{first}.jsonl"))).unwrap();
    assert!(!kinds(&on(&store, &["status", "--format", "json"]).ok().json()).contains(&"duplicate-event"));
}

/// Story: `verify` left out what it takes a longer look for, though it looks at everything.
#[test]
fn verify_tells_of_two_working_copies_with_one_replica_id() {
    let mut store = TestStore::new();
    let root = store.transaction().event("a", "T", json!(1)).write();
    store.transaction().parents([root]).event("a", "T", json!(2)).write();
    store.transaction().parents([root]).event("b", "T", json!(3)).write();
    for command in ["verify", "doctor"] {
        let told = on(&store, &[command, "--format", "json"]).code(1).json();
        assert_eq!(kinds(&told), ["identity-collision"], "{command}: {told}");
    }
}

/// Changes what an event of a file says, and no id or hash in it.
fn change(store: &TestStore, id: Uuid) {
    let path = store.events_dir().join(format!("{id}.jsonl"));
    fs::write(&path, fs::read_to_string(&path).unwrap().replace("\"amount\":50", "\"amount\":51")).unwrap();
}

/// Story: who reads everything anew knows no file of the events that a refused one holds, and told them as gone besides.
#[test]
fn what_is_refused_is_not_told_as_gone_by_who_reads_everything_anew() {
    let (store, forked) = TestStore::forked();
    on(&store, &["feed"]).ok();
    change(&store, forked.ours);
    let verify = || on(&store, &["verify", "--format", "json"]).code(1).json();
    assert_eq!(kinds(&verify()), ["quarantined"]);
    fs::remove_file(store.events_dir().join(format!("{}.jsonl", forked.theirs[1]))).unwrap();
    assert_eq!(kinds(&verify()), ["quarantined", "vanished"]);
}

/// Story: every hint was one of git.
#[test]
fn no_hint_about_a_file_names_git_where_the_store_lies_in_no_repository() {
    let (store, forked) = TestStore::forked();
    on(&store, &["feed"]).ok();
    change(&store, forked.ours);
    on(&store, &["doctor", "--fix"]).code(1);
    let told = on(&store, &["status"]).ok().out;
    assert!(told.contains("edited: ") && told.matches("hint: cp BACKUP/").count() == 2 && !told.contains("git "), "{told}");
}

/// Story: the reason was dated 1970, though the file is not.
#[test]
fn why_a_file_in_a_cycle_is_refused_has_the_time_of_its_transaction() {
    let mut store = TestStore::new();
    let id = Uuid::from_u128(7);
    store.transaction().id(id).parents([id]).created_at("2026-01-01T00:00:00+00:00").event("a", "T", json!(1)).write();
    let braid = Braid::open(&store.path(), &OpenOptions::default()).unwrap();
    braid.wait_ready().unwrap();
    let reason = braid.tree().find(&format!("quarantine/{id}.jsonl.reason")).and_then(Node::into_file).unwrap();
    assert_eq!(reason.mtime_ns(), 1_767_225_600_000_000_000);
}

#[test]
fn names_of_other_people_do_not_reach_the_terminal() {
    let mut store = TestStore::new();
    let id = store.transaction().event("a\u{1b}[2J", "T\u{202e}x", json!({"k":"\u{9b}31m"})).write().to_string();
    for command in [&["log"][..], &["streams"], &["stream", "a\u{1b}[2J"], &["feed"], &["status"], &["show", &id]] {
        let ran = on(&store, command).ok();
        assert!(!ran.out.contains(['\u{1b}', '\u{202e}', '\u{9b}']), "{command:?}: {}", ran.out);
    }
    assert!(on(&store, &["streams"]).ok().out.contains("a\\u{1b}[2J"));
}

#[test]
fn the_store_is_found_from_within_and_from_the_environment() {
    let (store, _) = TestStore::forked();
    let within = run_with(braidfs_command().arg("streams").current_dir(store.events_dir()), b"").ok();
    let named = run_with(braidfs_command().arg("streams").current_dir("/").env("BRAIDFS_STORE", store.path()), b"").ok();
    assert_eq!(within.out, named.out);
    // Story: an empty one was told as a value that is missing.
    let empty = run_with(braidfs_command().arg("streams").current_dir(store.events_dir()).env("BRAIDFS_STORE", ""), b"").ok();
    assert_eq!(empty.out, named.out);
    let none = braidfs(["--store", "/nonexistent/store", "log"]).code(1);
    assert!(none.err.contains("does not exist") && none.err.contains("braidfs init"), "{}", none.err);
}

#[test]
fn a_closed_pipe_ends_a_long_log_quietly() {
    let store = TestStore::real_history();
    let script =
        format!("set -o pipefail; {} --store {} log --format json | head -n 1", env!("CARGO_BIN_EXE_braidfs"), store.path().display());
    let ran = crate::support::run::bash(store.home(), &script).ok();
    assert_eq!((ran.lines().len(), ran.err.as_str()), (1, ""));
}

/// Story: who may not write a store took the part of the feed that has numbers for all of it.
#[test]
fn a_feed_that_lacks_what_only_who_may_write_gives_says_so() {
    if !is_root() {
        return;
    }
    let mut store = TestStore::new();
    fs::set_permissions(store.home(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_braidfs"), store.home().join("braidfs")).unwrap();
    store.transaction().replica(9).event("a", "T", json!(1)).write();
    store.transaction().replica(9).event("a", "T", json!(2)).event("b", "T", json!(3)).write();
    let feed = |store: &TestStore| bash_as_nobody(store.home(), "./braidfs --store store feed --format json").ok();
    let ran = feed(&store);
    let note: Value = serde_json::from_str(&ran.err).unwrap();
    let message = "3 events wait for a number, which only who may write gives";
    assert_eq!((ran.out.as_str(), note), ("", json!({"note": {"message": message, "hints": []}})));
    let whole = braidfs_on(&store.path(), &["feed", "--format", "json"], "").ok();
    let ran = feed(&store);
    assert_eq!((ran.out, ran.err), (whole.out, String::new()));
}

#[test]
fn the_last_events_of_what_is_chosen_are_printed() {
    let mut store = TestStore::new();
    for n in 0..40 {
        let (stream, event_type) = (if n % 10 == 3 { "rare" } else { "often" }, if n == 2 { "Once" } else { "T" });
        store.transaction().event(stream, event_type, json!(n)).write();
    }
    let data = |arguments: &[&str]| -> Vec<u64> {
        let ran = on(&store, &[arguments, &["--format", "json"]].concat()).ok();
        json_lines(&ran).iter().map(|event| event["event_data"].as_u64().unwrap()).collect()
    };
    for view in [&["log"][..], &["feed"]] {
        let last = |more: &[&str]| data(&[view, more].concat());
        assert_eq!(last(&["--last", "3"]), [37, 38, 39], "{view:?}");
        assert_eq!(last(&["--last", "0"]), [0_u64; 0], "{view:?}");
        assert_eq!(last(&["--last", "100"]).len(), 40, "{view:?}");
        assert_eq!(last(&["--last", "3", "--stream", "rare"]), [13, 23, 33], "{view:?}");
        assert_eq!(last(&["--last", "9", "--stream", "rare"]), [3, 13, 23, 33], "{view:?}");
        assert_eq!(last(&["--last", "3", "--stream", "rare", "--after", "20"]), [23, 33], "{view:?}");
        assert_eq!(last(&["--last", "1", "--type", "Once"]), [2], "{view:?}");
        assert_eq!(last(&["--last", "1", "--after", "90"]), [0_u64; 0], "{view:?}");
        let both = on(&store, &[view, &["--last", "1", "--limit", "1"]].concat()).code(2);
        assert!(both.err.contains("cannot be used with"), "{}", both.err);
    }
    assert_eq!(data(&["stream", "rare", "--last", "2"]), [23, 33]);
    assert_eq!(data(&["log", "--at", "position:30", "--last", "2"]), [28, 29]);
    assert!(on(&store, &["feed", "--last", "1", "--cursor"]).ok().out.ends_with("{\"next_seq\":40}\n"));
}

#[test]
fn what_is_drawn_and_exported_may_be_that_of_a_moment() {
    let (store, _) = TestStore::forked();
    let drawn = on(&store, &["graph", "--at", "position:1", "--format", "json"]).ok();
    assert_eq!(json_lines(&drawn).len(), 1);
    let exported = |arguments: &[&str]| on(&store, &[&["export", "jsonl"], arguments].concat()).ok().out;
    assert_eq!(exported(&["--at", "position:2"]), exported(&["--limit", "2"]));
    assert!(!exported(&["--at", "position:2"]).is_empty());
    // As the feed of a fresh store of then.
    let feed = |more: &[&str]| json_lines(&on(&store, &[&["feed", "--format", "json"], more].concat()).ok());
    let (then, now) = (feed(&["--at", "position:3"]), feed(&[]));
    assert_eq!(then.iter().map(|event| event["seq_nr"].clone()).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(then.len() < now.len() && then.iter().all(|event| now.iter().any(|other| other["event_id"] == event["event_id"])));
    assert_eq!(feed(&["--at", "position:3", "--last", "1"]), then[2..]);
    on(&store, &["feed", "--at", "position:3", "--cursor"]).code(2);
}

/// Story: what helps was missing, or was about something else than what was asked.
#[test]
fn what_does_not_exist_is_told_with_what_helps() {
    let mut store = TestStore::new();
    for n in 0..2_u128 {
        store.transaction().id(Uuid::from_u128(0xabcd_0000_0000_7000_8000_0000_0000_0000 | n)).event("a", "T", json!(1)).write();
    }
    on(&store, &["feed"]).ok();
    crate::support::git::git(&store.path(), ["init", "-q"]);
    crate::support::git::git(&store.path(), ["commit", "-q", "--allow-empty", "-m", "first"]);
    for (arguments, helps, code) in [
        (&["log", "--at", "position:9"][..], "braidfs log --last 1", 1),
        (&["log", "--at", "seq:9"], "braidfs feed --last 1", 1),
        (&["log", "--at", "epoch:99999"], "braidfs status --format json", 1),
        (&["log", "--at", "2026-01-31"], "a time has its zone: 2026-01-31T00:00:00Z", 1),
        (&["log", "--at", "2026-01-31T12:00:00"], "a time has its zone: 2026-01-31T12:00:00Z", 1),
        (&["log", "--at", "a%2Fb"], "write \"/\" as it is", 1),
        (&["log", "--at", "nosuch"], "git log --oneline --all", 1),
        (&["checkpoint", "set", "mail", "9"], "braidfs feed --last 1", 1),
        (&["draft", ""], "braidfs streams", 2),
        (&["draft", "a*b"], "braidfs streams", 2),
        (&["snapshot", "show", "none"], "none is saved yet: braidfs snapshot save --help", 1),
        (&["snapshot", "forget", "none"], "none is saved yet: braidfs snapshot save --help", 1),
        (&["show", "abcd"], "name more of it: abcd0000-0000-7000-8000-000000000000, abcd0000-0000-7000-8000-000000000001", 1),
    ] {
        let refused = on(&store, arguments).code(code);
        assert!(refused.err.contains(&format!("hint: {helps}")), "{arguments:?}: {}", refused.err);
        assert!(!refused.err.contains(".jsonl"), "{arguments:?}: {}", refused.err);
    }
}
