//! `forks`, `reconcile` and `graph`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::run::{Ran, braidfs_command, run_with};
use crate::support::store::TestStore;

fn on(store: &TestStore, arguments: &[&str]) -> Ran {
    run_with(braidfs_command().arg("--store").arg(store.path()).args(arguments).env_remove("VISUAL"), b"")
}

fn forks(store: &TestStore) -> Vec<Value> {
    on(store, &["forks", "--format", "json"]).ok().out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn script(store: &TestStore, text: &str) -> PathBuf {
    let path = store.home().join("script");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Two streams, each forked for itself.
fn two_conflicts() -> TestStore {
    let mut store = TestStore::new();
    for replica in [1, 2] {
        for stream in ["a", "b"] {
            store.transaction().replica(replica).parents([]).event(stream, "T", Value::from(replica)).write();
        }
    }
    store
}

#[test]
fn forks_are_listed_for_people_and_for_programs() {
    let (store, forked) = TestStore::forked();
    let listed = forks(&store);
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0]["state"], &listed[0]["streams"][0]["stream_id"]), (&"open".into(), &"account-0".into()));
    assert_eq!(listed[0]["streams"][0]["fork_point"], serde_json::json!([forked.root.to_string()]));
    let text = on(&store, &["forks"]).ok().out;
    assert!(text.contains(listed[0]["conflict"].as_str().unwrap()) && text.contains("account-0: 1 event in common"), "{text}");
    assert_eq!(on(&TestStore::new(), &["forks"]).ok().out, "no stream is forked\n");
}

#[test]
fn what_is_no_conflict_is_told_as_that_with_the_command_that_lists_them() {
    let (store, _) = TestStore::forked();
    let id = forks(&store)[0]["conflict"].as_str().unwrap().to_owned();
    let refused = on(&store, &["reconcile", "--accept", "nonsense"]).code(1).err;
    for text in [
        "no conflict \"nonsense\" is known: its id would have 12 hex digits",
        &format!("open now: \"{id}\" (streams \"account-0\")"),
        &format!("hint: look at what is open: braidfs forks; in a mount: forks/{id}/README.md\n"),
    ] {
        assert!(refused.contains(text), "{refused}");
    }
    let refused = on(&store, &["reconcile", "--accept", "0123456789ab"]).code(1).err;
    assert!(refused.contains("\"0123456789ab\" is not open: it is closed, it has changed, or there never was one"), "{refused}");
}

/// An append that knew both sides of one stream closes that fork alone: its id is still that of the conflict which it was part of.
#[test]
fn a_closed_fork_has_the_id_of_the_conflict_that_was_listed_before() {
    let mut store = TestStore::new();
    let sides = [1, 2].map(|n| store.transaction().replica(n).parents([]).event("a", "T", n.into()).event("b", "T", n.into()).write());
    let before = forks(&store);
    assert_eq!((before.len(), before[0]["streams"].as_array().unwrap().len()), (1, 2));
    store.transaction().parents(sides).base("a", 2).event("a", "T", 3.into()).write();
    let closed = on(&store, &["forks", "--closed", "--format", "json"]).ok().json();
    assert_eq!((&closed["stream_id"], &closed["state"]), (&"a".into(), &"joined".into()));
    assert_eq!(closed["conflict"], before[0]["conflict"]);
    assert_ne!(forks(&store)[0]["conflict"], before[0]["conflict"], "what is left of it is another one");
    assert_eq!(on(&TestStore::new(), &["forks", "--closed"]).ok().out, "no fork was closed\n");
}

#[test]
fn the_doctor_tells_of_open_forks_and_calls_them_no_fault() {
    let (store, _) = TestStore::forked();
    let text = on(&store, &["doctor"]).ok().out;
    assert_eq!(text, "forks: 1 conflict is open, in 1 stream: braidfs forks\nnothing is wrong\n");
    let told = on(&store, &["doctor", "--format", "json"]).ok().json();
    assert_eq!(told["forks"], serde_json::json!({"open": 1, "provisional": 0}));
    assert!(!on(&TestStore::new(), &["doctor"]).ok().out.contains("fork"));
}

#[test]
fn a_conflict_that_is_named_twice_is_decided_once() {
    let (store, _) = TestStore::forked();
    let id = forks(&store)[0]["conflict"].as_str().unwrap().to_owned();
    let answer = r#"echo '{"events":[{"stream":"account-0","type":"Settled","data":1}]}'"#;
    let program = script(&store, &format!("cat >/dev/null; echo asked >> {}; {answer}", store.home().join("asked").display()));
    let done = on(&store, &["reconcile", "--format", "json", "--with", program.to_str().unwrap(), &id, &id]).ok().json();
    assert_eq!((&done["resolved"], &done["declined"]), (&serde_json::json!([id]), &serde_json::json!([])));
    assert_eq!(fs::read_to_string(store.home().join("asked")).unwrap(), "asked\n");
    assert_eq!(on(&store, &["stream", "account-0", "--type", "Settled"]).ok().out.lines().count(), 1);
}

#[test]
fn settled_without_events_a_fork_is_closed_and_said_to_be() {
    let (store, _) = TestStore::forked();
    let id = forks(&store)[0]["conflict"].as_str().unwrap().to_owned();
    let done = on(&store, &["reconcile", "--accept", "--format", "json", &id]).ok().json();
    assert_eq!(done["resolved"], serde_json::json!([id]));
    assert!(forks(&store).is_empty());
    let closed = on(&store, &["forks", "--closed", "--format", "json"]).ok().json();
    assert_eq!((&closed["state"], &closed["closer"]), (&"reconciled".into(), &done["transaction_id"]));
    assert_eq!(closed["conflict"], id.as_str());
    let text = on(&store, &["forks", "--closed"]).ok().out;
    assert_eq!(text, format!("conflict {id} (reconciled)\n  account-0: by {}\n", done["transaction_id"].as_str().unwrap()));
    let again = on(&store, &["reconcile", "--accept", &id]).code(1);
    assert!(again.err.contains("ESTALE") && again.err.contains("nothing is open"), "{}", again.err);
    assert!(again.err.ends_with("by which transaction: braidfs forks --closed\n"), "{}", again.err);
    assert_eq!(on(&store, &["reconcile"]).ok().out, "no stream is forked\n");
}

#[test]
fn an_append_that_knows_both_sides_joins_them() {
    let (store, _) = TestStore::forked();
    let event = br#"{"stream":"account-0","type":"Audited","data":{}}"#;
    let append = |expect: &[&str]| run_with(braidfs_command().arg("--store").arg(store.path()).arg("append").args(expect), event);
    let refused = append(&[]).code(1);
    assert!(refused.err.contains("ESTALE") && refused.err.contains("\"expect\":{\"account-0\":4}"), "{}", refused.err);
    let report = &forks(&store)[0];
    let words = format!("\n  open: conflict {} (open)\n  open: account-0: 1 event in common, then ", report["conflict"].as_str().unwrap());
    assert!(refused.err.contains(&words), "{}", refused.err);
    let error: serde_json::Value = serde_json::from_str(&append(&["--format", "json"]).code(1).err).unwrap();
    assert_eq!(error["error"]["conflicts"], serde_json::json!([report]));
    append(&["--expect", "account-0=4"]).ok();
    let closed = on(&store, &["forks", "--closed", "--format", "json"]).ok().json();
    assert_eq!((&closed["state"], &closed["stream_id"]), (&"joined".into(), &"account-0".into()));
}

#[test]
fn a_program_decides_with_every_event_of_every_side_before_it() {
    let (store, _) = TestStore::forked();
    let seen = store.home().join("seen.json");
    let program = script(
        &store,
        &format!(
            "cat > '{}'\necho '{{\"events\":[{{\"stream\":\"account-0\",\"type\":\"Settled\",\"data\":{{\"amount\":38}}}}]}}'",
            seen.display()
        ),
    );
    on(&store, &["reconcile", "--all", "--with", program.to_str().unwrap()]).ok();
    assert!(forks(&store).is_empty());
    let asked: Value = serde_json::from_slice(&fs::read(seen).unwrap()).unwrap();
    let stream = &asked["streams"][0];
    assert_eq!(stream["base"][0]["event_type"], "Opened");
    let mut sides: Vec<usize> = stream["branches"].as_array().unwrap().iter().map(|side| side["lines"].as_array().unwrap().len()).collect();
    sides.sort_unstable();
    assert_eq!(sides, [1, 2]);
    let events = on(&store, &["stream", "account-0", "--format", "json"]).ok().out;
    assert!(events.lines().last().unwrap().contains("Settled"), "{events}");
}

#[test]
fn what_a_program_cannot_decide_stays_open_and_what_it_can_is_settled_all_the_same() {
    let store = two_conflicts();
    on(&store, &["reconcile", "--accept"]).code(2);
    let program = script(&store, "if grep -q '\"stream_id\":\"a\"'; then echo '{\"unresolvable\":\"ask Ada\"}'; else echo '[]'; fi");
    let ran = on(&store, &["reconcile", "--all", "--with", program.to_str().unwrap()]).code(1);
    assert!(ran.out.contains("stays open: ask Ada") && ran.out.contains("is resolved by transaction"), "{ran:?}");
    let left = forks(&store);
    assert_eq!(left.iter().map(|conflict| &conflict["streams"][0]["stream_id"]).collect::<Vec<_>>(), ["a"]);
    // Whoever comes later is told, and asked again all the same.
    assert_eq!(left[0]["declined"]["reason"], "ask Ada");
    let told = on(&store, &["forks"]).ok().out;
    assert!(told.contains("declined here at 20") && told.contains(": ask Ada"), "{told}");
    let program = script(&store, "grep -q '\"reason\":\"ask Ada\"' && echo '[]'");
    on(&store, &["reconcile", "--with", program.to_str().unwrap()]).ok();
    assert!(forks(&store).is_empty());
}

#[test]
fn a_program_that_fails_or_talks_nonsense_commits_nothing() {
    let (store, _) = TestStore::forked();
    let files = || fs::read_dir(store.events_dir()).unwrap().count();
    let before = files();
    let id = forks(&store)[0]["conflict"].as_str().unwrap().to_owned();
    let silent = "echo '{\"unresolvable\":\"\"}'";
    for text in ["exit 3", "echo nonsense", "echo '{\"resolve\":\"0123456789ab\"}'", "true", silent] {
        let program = script(&store, text);
        let failed = on(&store, &["reconcile", "--with", program.to_str().unwrap()]).code(1);
        assert!(failed.err.contains(&id), "{failed:?}");
    }
    // As with `watch --exec` and `checkpoint lead`.
    on(&store, &["reconcile", "--with", "/no/such/program"]).code(1);
    let error = |arguments: &[&str]| serde_json::from_str::<Value>(&on(&store, arguments).code(1).err).unwrap()["error"].clone();
    let refused = error(&["reconcile", "--format", "json", "0123456789ab", "--accept"]);
    assert_eq!((&refused["kind"], &refused["message"]), (&Value::from("refused"), &Value::from("the resolution is refused")));
    let program = script(&store, "printf '[{\"stream\":\"s\",\"type\":\"\"}]'");
    let refused = error(&["reconcile", "--format", "json", "--with", program.to_str().unwrap()]);
    assert!(refused["message"].as_str().unwrap().ends_with("is refused"), "{refused}");
    let places: Vec<_> = refused["reasons"].as_array().unwrap().iter().map(|reason| (&reason["line"], &reason["column"])).collect();
    assert_eq!(places, [(&Value::from(1), &Value::from(2)), (&Value::from(1), &Value::from(23))]);
    on(&store, &["reconcile"]).code(2);
    assert_eq!(files(), before);
}

#[test]
fn an_editor_settles_or_leaves_a_conflict_open() {
    let (store, _) = TestStore::forked();
    let edit = |script: &PathBuf| {
        let mut command = braidfs_command();
        command.arg("--store").arg(store.path()).args(["reconcile", "--edit"]).env_remove("VISUAL").env("EDITOR", script);
        run_with(&mut command, b"")
    };
    let emptied = edit(&script(&store, ": > \"$1\"")).code(1);
    assert!(emptied.out.contains("stays open"), "{emptied:?}");
    let failed = edit(&script(&store, "exit 1")).code(1);
    assert!(!failed.err.contains("is kept"), "nothing was written: {failed:?}");
    let killed = edit(&script(&store, "echo half > \"$1\"; exit 1")).code(1);
    let kept = killed.err.split("what you wrote is kept in ").nth(1).unwrap().trim().to_owned();
    assert_eq!(fs::read_to_string(&kept).unwrap(), "half\n");
    fs::remove_file(kept).unwrap();
    // Leaving without saving decides nothing.
    let left = edit(&script(&store, "exit 0")).code(1);
    assert!(left.out.contains("stays open: left open") && left.err.contains("nothing was saved"), "the reason before stays: {left:?}");
    assert_eq!(forks(&store).len(), 1);
    // What makes no sense is put before its author again, if that is wanted; without an answer it is kept.
    let rubbish = edit(&script(&store, "echo x >> \"$1\"")).code(1);
    assert!(rubbish.err.contains("the resolution is refused") && rubbish.err.matches("edit again? [Y/n]").count() == 1, "{rubbish:?}");
    let kept = rubbish.out.trim().rsplit(' ').next().unwrap().to_owned();
    assert!(fs::read_to_string(&kept).unwrap().ends_with("\nx\n"), "{rubbish:?}");
    fs::remove_file(kept).unwrap();
    let state = store.home().join("state");
    let twice = format!(
        "if [ -e '{0}' ]; then echo '{{\"events\":[]}}' > \"$1\"; else : > '{0}'; grep -q '^# .*Withdrawn' \"$1\" && echo x > \"$1\"; fi",
        state.display()
    );
    let mut command = braidfs_command();
    command.arg("--store").arg(store.path()).args(["reconcile", "--edit"]).env_remove("VISUAL").env("EDITOR", script(&store, &twice));
    let again = run_with(&mut command, b"what\ny\n").ok();
    assert_eq!(again.err.matches("edit again? [Y/n]").count(), 2, "{again:?}");
    assert!(forks(&store).is_empty());
}

/// An editor may write no text that was not changed, and its name may need quotes.
#[test]
fn who_leaves_without_saving_may_still_let_both_sides_stand() {
    let (store, _) = TestStore::forked();
    let spaced = store.home().join("my editor");
    fs::rename(script(&store, "[ \"$1\" = -nw ] && grep -q resolve \"$2\""), &spaced).unwrap();
    let mut command = braidfs_command();
    command.arg("--store").arg(store.path()).args(["reconcile", "--edit"]);
    command.env_remove("VISUAL").env("EDITOR", format!("'{}' -nw", spaced.display()));
    let settled = run_with(&mut command, b"y\n").ok();
    assert!(settled.err.contains("let both sides stand as they are? [y/N]"), "{settled:?}");
    assert!(forks(&store).is_empty());
}

#[test]
fn what_was_written_is_kept_if_the_conflict_has_changed_meanwhile() {
    let (store, _) = TestStore::forked();
    let text = "{\"events\":[{\"stream\":\"account-0\",\"type\":\"Settled\",\"data\":1}]}";
    let exe = env!("CARGO_BIN_EXE_braidfs");
    let editor = script(&store, &format!("echo '{text}' > \"$1\"; {exe} --store '{}' reconcile --accept", store.path().display()));
    let mut command = braidfs_command();
    command.arg("--store").arg(store.path()).args(["reconcile", "--edit"]).env_remove("VISUAL").env("EDITOR", editor);
    let refused = run_with(&mut command, b"").code(1);
    let kept = refused.err.split("what you wrote is kept in ").nth(1).unwrap().trim().to_owned();
    assert_eq!(fs::read_to_string(&kept).unwrap().trim(), text, "{refused:?}");
    fs::remove_file(kept).unwrap();
}

/// On a terminal nothing needs to be said: each conflict is put before its author.
#[test]
fn on_a_terminal_the_editor_is_opened() {
    let (store, _) = TestStore::forked();
    let editor = script(&store, "grep -q resolve \"$1\" && touch \"$1\"");
    let command = format!("{} --store {} reconcile", env!("CARGO_BIN_EXE_braidfs"), store.path().display());
    let mut terminal = std::process::Command::new("script");
    terminal.args(["-qec", &command, "/dev/null"]).env_remove("VISUAL").env_remove("BRAIDFS_STORE").env("EDITOR", &editor);
    let said = run_with(&mut terminal, b"").ok();
    assert!(said.out.contains("is resolved by transaction"), "{said:?}");
    assert!(forks(&store).is_empty());
}

#[test]
fn the_graph_is_drawn_as_text_and_as_a_picture() {
    let (store, forked) = TestStore::forked();
    let id = forks(&store)[0]["conflict"].as_str().unwrap().to_owned();
    let text = on(&store, &["graph"]).ok().out;
    assert_eq!(text.matches(&format!("fork {id}")).count(), 2, "{text}");
    assert_eq!(text.lines().filter(|line| line.contains('*')).count(), 4, "{text}");
    assert_eq!(on(&store, &["graph", "--last", "2"]).ok().out.lines().filter(|line| line.contains('*')).count(), 2);
    let picture = on(&store, &["graph", "--svg"]).ok().out;
    assert!(picture.contains("<svg") && picture.contains(&forked.root.to_string()[..13]), "{picture}");
    on(&store, &["graph", "--svg", "--last", "501"]).code(2);
}

#[test]
fn the_graph_is_told_to_programs() {
    let (store, forked) = TestStore::forked();
    let id = forks(&store)[0]["conflict"].clone();
    let ran = on(&store, &["graph", "--format", "json"]).ok();
    let nodes: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(nodes.len(), 4);
    let root = nodes.last().unwrap();
    assert_eq!((&root["transaction_id"], &root["parent_transaction_ids"]), (&Value::from(forked.root.to_string()), &serde_json::json!([])));
    assert_eq!((&root["head"], &root["conflicts"], &root["streams"]["account-0"]), (&false.into(), &serde_json::json!([]), &1.into()));
    let tips: Vec<&Value> = nodes.iter().filter(|node| node["conflicts"] == serde_json::json!([id])).collect();
    assert_eq!(tips.len(), 2);
    assert!(tips.iter().all(|tip| tip["created_at"].is_string() && tip["replica_id"].is_string()), "{tips:?}");
    assert!(nodes.iter().any(|node| node["head"] == true && node["parent_transaction_ids"].as_array().unwrap().len() == 1));
    assert_eq!(on(&store, &["graph", "--format", "json", "--last", "2"]).ok().out.lines().count(), 2);
    fs::remove_file(store.path().join(format!("events/{}.jsonl", forked.root))).unwrap();
    let dangling = on(&store, &["graph", "--format", "json"]).ok();
    let nodes: Vec<Value> = dangling.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let lost = nodes.iter().filter(|node| node["dangling"] == true);
    assert!(lost.clone().count() > 0 && lost.into_iter().all(|node| node["missing"] == serde_json::json!([forked.root.to_string()])));
}
