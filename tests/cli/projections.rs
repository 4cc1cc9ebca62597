//! State views: by the command, by the library with the real worker, and whatever happens to the history.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use braidfs::braid::{Braid, OpenOptions};
use braidfs::fold::{Definition, Folder, Limits, Per, Program};
use braidfs::format::draft::{DraftKind, parse_draft};
use braidfs::model::FindingKind;
use braidfs::view::{Node, Tree};
use proptest::prelude::*;
use serde_json::Value;

use crate::support::run::braidfs_on;
use crate::support::store::TestStore;
use crate::support::wait::eventually;

/// Sees every number, the order of events and their versions.
const ORDERED: &str = ".h = (.h * 31 + $event.event_data.n + 7 * $event.stream_version) % 1000003 | .n += 1";
const START: &str = "{\"h\":0,\"n\":0}";

fn options() -> OpenOptions {
    OpenOptions { worker: Some(env!("CARGO_BIN_EXE_braidfs").into()), threads: 2, ..OpenOptions::default() }
}

fn open(dir: &Path, options: &OpenOptions) -> Braid {
    let braid = Braid::open(dir, options).unwrap();
    braid.wait_ready().unwrap();
    braid
}

fn define(dir: &Path, name: &str, per: Per, streams: &str, step: &str) {
    let definition = Definition::compose(name, START, per, streams, step).unwrap();
    fs::create_dir_all(dir.join("projections")).unwrap();
    fs::write(dir.join(format!("projections/{name}.jq")), definition.text).unwrap();
}

fn event(stream: &str, event_type: &str, n: usize) -> String {
    format!("{{\"stream_id\":\"{stream}\",\"event_type\":\"{event_type}\",\"event_data\":{{\"n\":{n}}}}}\n")
}

fn append(braid: &Braid, lines: &str) {
    braid.append(parse_draft(lines.as_bytes(), DraftKind::Lines).unwrap()).unwrap();
}

fn text(tree: &Tree, path: &str) -> String {
    let file = tree.find(path).and_then(Node::into_file).unwrap_or_else(|| panic!("{path} is a file"));
    let bytes = file.read_all().unwrap();
    assert_eq!(bytes.len() as u64, file.size());
    String::from_utf8(bytes).unwrap()
}

fn json(tree: &Tree, path: &str) -> Value {
    serde_json::from_str(&text(tree, path)).unwrap()
}

fn is_broken(braid: &Braid) -> bool {
    braid.epoch().findings.iter().any(|finding| finding.kind == FindingKind::BrokenProjection)
}

#[test]
fn doctor_tries_every_definition() {
    let store = TestStore::new();
    define(&store.path(), "good", Per::All, "*", ORDERED);
    let doctor = || braidfs_on(&store.path(), &["doctor"], "");
    assert!(!doctor().ok().out.contains("broken-projection"));
    for text in [". + 1\n".to_owned(), Definition::compose("sum", "0", Per::All, "*", "{").unwrap().text] {
        fs::write(store.path().join("projections/sum.jq"), text).unwrap();
        let told = doctor().code(1).out;
        assert!(told.contains("broken-projection: projection \"sum\" has no state: "), "{told}");
        assert!(told.contains("hint: ${EDITOR:-vi} projections/sum.jq\n") && !told.contains("\"good\""), "{told}");
    }
    fs::remove_file(store.path().join("projections/sum.jq")).unwrap();
    doctor().ok();
}

#[test]
fn a_fold_is_added_run_and_removed() {
    let store = TestStore::new();
    braidfs_on(&store.path(), &["append"], &(event("a/1", "T", 2) + &event("b", "U", 3) + &event("a/1", "U", 4))).ok();
    let step = store.home().join("sum.jq");
    fs::write(&step, "# a sum\n. + $event.event_data.n\n").unwrap();
    let step = step.to_str().unwrap();
    let add = |name: &str, more: &[&str]| {
        braidfs_on(&store.path(), &[&["projection", "add", name, "--init", "0", "--step", step], more].concat(), "")
    };
    add("sum", &[]).ok();
    add("sum", &[]).code(1);
    add("sum", &["--streams", "a*", "--replace"]).ok();
    add("each", &["--per", "stream"]).ok();
    add("bad/name", &[]).code(1);
    add("x.json", &[]).code(1);
    assert_eq!(braidfs_on(&store.path(), &["projection", "run", "sum"], "").ok().out, "6\n");
    assert_eq!(braidfs_on(&store.path(), &["projection", "run", "each", "--key", "b"], "").ok().out, "3\n");
    let each = braidfs_on(&store.path(), &["projection", "run", "each"], "").ok().out;
    assert_eq!(each, "{\"key\":\"a/1\",\"state\":6}\n{\"key\":\"b\",\"state\":3}\n");
    for (arguments, told, hint) in [
        (&["each", "--key", "c"][..], "has no state 'c'", "all of them: braidfs projection run each"),
        (&["sum", "--key", "c"], "has no state 'c'", "leave --key out"),
        (&["none"], "does not exist", "braidfs projection list"),
    ] {
        let refused = braidfs_on(&store.path(), &[&["projection", "run"], arguments].concat(), "").code(1);
        assert!(refused.err.contains(told) && refused.err.contains(hint), "{arguments:?}: {}", refused.err);
    }
    let shown = braidfs_on(&store.path(), &["projection", "show", "sum", "--format", "json"], "").ok().json();
    assert!(shown["text"].as_str().unwrap().starts_with("#: init: 0\n"), "{shown}");
    let text = braidfs_on(&store.path(), &["projection", "show", "sum"], "").ok().out;
    assert_eq!(text, "#: init: 0\n#: per: all\n#: streams: a*\n# a sum\n. + $event.event_data.n\n");
    let listed = braidfs_on(&store.path(), &["projection", "list"], "").ok().out;
    assert_eq!(listed, "each  per stream, streams *\nsum  per all, streams a*\n");
    fs::write(store.path().join("projections/latin.jq"), b"#: init: 0\n# \xe9\n. + 1\n").unwrap();
    let listed = braidfs_on(&store.path(), &["projection", "list"], "").ok().out;
    assert!(listed.contains("latin  broken: projection 'latin': the definition is not UTF-8"), "{listed}");
    braidfs_on(&store.path(), &["projection", "remove", "latin"], "").ok();
    braidfs_on(&store.path(), &["projection", "remove", "sum"], "").ok();
    braidfs_on(&store.path(), &["projection", "remove", "sum"], "").code(1);
    assert_eq!(fs::read_dir(store.path().join("projections")).unwrap().count(), 1);
}

#[test]
fn a_program_that_is_none_is_refused_with_its_place() {
    let store = TestStore::new();
    let step = store.home().join("bad.jq");
    fs::write(&step, ".n +\n").unwrap();
    let ran = braidfs_on(&store.path(), &["projection", "add", "bad", "--init", "0", "--step", step.to_str().unwrap()], "").code(1);
    assert!(ran.err.contains("line 2, column 1"), "{}", ran.err);
    braidfs_on(&store.path(), &["projection", "add", "bad", "--init", "{", "--step", step.to_str().unwrap()], "").code(1);
    assert!(!store.path().join("projections").exists());
}

#[test]
fn one_appended_event_folds_one_event_also_after_a_new_start() {
    let store = TestStore::new();
    define(&store.path(), "all", Per::All, "*", ORDERED);
    let braid = open(&store.path(), &options());
    append(&braid, &(0..300).map(|n| event("a", "T", n)).collect::<String>());
    assert_eq!(json(&braid.tree(), "views/all.json")["n"], 300);
    assert_eq!(braid.folded_events(), 300);
    append(&braid, &event("b", "T", 7));
    let state = text(&braid.tree(), "views/all.json");
    assert_eq!(text(&braid.tree(), "views/all.json"), state);
    assert_eq!(braid.folded_events(), 301);
    drop(braid);
    let braid = open(&store.path(), &options());
    assert_eq!(text(&braid.tree(), "views/all.json"), state);
    assert_eq!(braid.folded_events(), 1);
    // Another definition is another fold, and the old one's states go.
    define(&store.path(), "all", Per::All, "b", ORDERED);
    assert_eq!(json(&braid.tree(), "views/all.json")["n"], 1);
    define(&store.path(), "all", Per::All, "*", &format!("{ORDERED} | ."));
    assert_eq!(text(&braid.tree(), "views/all.json"), state);
    assert_eq!(fs::read_dir(store.path().join(".eventcore/braidfs/states")).unwrap().count(), 1);
}

#[test]
fn what_was_saved_is_checked_before_it_is_used() {
    let store = TestStore::new();
    define(&store.path(), "all", Per::All, "*", ORDERED);
    let braid = open(&store.path(), &options());
    append(&braid, &(0..100).map(|n| event("a", "T", n)).collect::<String>());
    let state = text(&braid.tree(), "views/all.json");
    drop(braid);
    let dir = fs::read_dir(store.path().join(".eventcore/braidfs/states")).unwrap().next().unwrap().unwrap().path();
    let file = fs::read_dir(dir).unwrap().next().unwrap().unwrap().path();
    let saved = fs::read_to_string(&file).unwrap();
    for damaged in
        [saved.replace("\"n\":100", "\"n\":101"), saved.replace("\"len\":100", "\"len\":99"), saved[..40].to_owned(), String::new()]
    {
        assert_ne!(damaged, saved);
        fs::write(&file, damaged).unwrap();
        let braid = open(&store.path(), &options());
        assert_eq!(text(&braid.tree(), "views/all.json"), state);
        assert_eq!(braid.folded_events(), 100);
    }
}

#[test]
fn the_tree_lists_states_by_stream_and_by_type() {
    let store = TestStore::new();
    define(&store.path(), "s", Per::Stream, "a*", ORDERED);
    define(&store.path(), "t", Per::Type, "a*", ORDERED);
    define(&store.path(), "u", Per::All, "*", ORDERED);
    fs::write(store.path().join("projections/broken.jq"), "no settings").unwrap();
    fs::write(store.path().join("projections/.hidden.jq"), "x").unwrap();
    let braid = open(&store.path(), &options());
    append(&braid, &(event("a/1", "T", 1) + &event("b", "U", 2) + &event("a2", "V/W", 3)));
    let tree = braid.tree();
    let names =
        |path: &str| -> Vec<(String, bool)> { tree.list(path).unwrap().into_iter().map(|entry| (entry.name, entry.directory)).collect() };
    let owned = |names: &[(&str, bool)]| -> Vec<(String, bool)> { names.iter().map(|(name, dir)| ((*name).to_owned(), *dir)).collect() };
    assert!(names("").contains(&("views".to_owned(), true)));
    assert_eq!(names("views"), owned(&[("broken.json", false), ("s", true), ("t", true), ("u.json", false)]));
    assert_eq!(names("views/s"), owned(&[("a%2F1.json", false), ("a2.json", false)]));
    assert_eq!(names("views/t"), owned(&[("T.json", false), ("V%2FW.json", false)]));
    assert_eq!(json(&tree, "views/s/a%2F1.json")["n"], 1);
    assert_eq!(json(&tree, "views/t/V%2FW.json")["n"], 1);
    assert_eq!(json(&tree, "views/broken.json")["error"]["kind"], "program");
    for path in ["views/s.json", "views/u", "views/s/b.json", "views/t/U.json", "views/s/a/1.json", "views/none.json", "views/../u.json"] {
        assert!(tree.find(path).is_none(), "{path}");
    }
    assert!(tree.list("views/u").is_none() && tree.list("views/none").is_none());
}

#[test]
fn a_failing_fold_shows_its_event_and_is_found() {
    let store = TestStore::new();
    define(&store.path(), "f", Per::Stream, "*", "if $event.event_data.n == 3 then error(\"no three\") else .n += 1 end");
    let braid = open(&store.path(), &options());
    append(&braid, &(event("a", "T", 1) + &event("a", "T", 3) + &event("b", "T", 4)));
    let shown = json(&braid.tree(), "views/f/a.json");
    assert_eq!((&shown["error"]["kind"], &shown["event"]["event_data"]["n"]), (&"step".into(), &3.into()));
    assert_eq!(shown["error"]["event_id"], shown["event"]["event_id"]);
    assert!(shown["error"]["message"].as_str().unwrap().contains("no three"), "{shown}");
    assert_eq!(json(&braid.tree(), "views/f/b.json")["n"], 1);
    eventually("the finding is published", || is_broken(&braid));
    append(&braid, &event("a", "T", 5));
    let folded = braid.folded_events();
    assert_eq!(json(&braid.tree(), "views/f/a.json"), shown);
    assert_eq!(braid.folded_events(), folded, "what is broken is not tried again");
    define(&store.path(), "f", Per::Stream, "*", ".n += 1");
    assert_eq!(json(&braid.tree(), "views/f/a.json")["n"], 3);
    eventually("the finding is gone", || !is_broken(&braid));
    fs::write(store.path().join("projections/f.jq"), "nonsense").unwrap();
    assert_eq!(json(&braid.tree(), "views/f.json")["error"]["kind"], "program");
    eventually("the finding is published", || is_broken(&braid));
    fs::remove_file(store.path().join("projections/f.jq")).unwrap();
    assert!(braid.tree().find("views/f.json").is_none());
    eventually("the finding is gone", || !is_broken(&braid));
}

#[test]
fn limits_are_the_views_error() {
    let store = TestStore::new();
    define(&store.path(), "endless", Per::All, "*", "last(repeat(.))");
    define(&store.path(), "greedy", Per::All, "*", "[range(1000000000)] | length");
    define(&store.path(), "well", Per::All, "*", ORDERED);
    let limits = Limits { cpu_ms: 300, ..Limits::default() };
    let braid = open(&store.path(), &OpenOptions { fold_limits: limits, ..options() });
    append(&braid, &event("a", "T", 1));
    let tree = braid.tree();
    let endless = json(&tree, "views/endless.json");
    assert_eq!((&endless["error"]["kind"], &endless["event"]["event_data"]["n"]), (&"limit".into(), &1.into()), "{endless}");
    assert_eq!(json(&tree, "views/well.json")["n"], 1);
    drop(braid);
    let limits = Limits { memory_bytes_max: 256 << 20, cpu_ms: 600_000, ..Limits::default() };
    let braid = open(&store.path(), &OpenOptions { fold_limits: limits, ..options() });
    let greedy = json(&braid.tree(), "views/greedy.json");
    assert_eq!(greedy["error"]["kind"], "limit");
    assert!(greedy["error"]["message"].as_str().unwrap().contains("memory"), "{greedy}");
    assert!(braid.wait(|epoch| epoch.findings.iter().any(|f| f.message.contains("greedy")), Duration::from_secs(30)).is_some());
}

#[test]
fn without_a_worker_a_view_says_so_and_nothing_is_broken() {
    let store = TestStore::new();
    define(&store.path(), "all", Per::All, "*", ORDERED);
    let braid = open(&store.path(), &OpenOptions { worker: Some("/nonexistent/braidfs".into()), ..options() });
    append(&braid, &event("a", "T", 1));
    assert_eq!(json(&braid.tree(), "views/all.json")["error"]["kind"], "machine");
    braid.refresh().unwrap();
    assert!(!is_broken(&braid));
}

/// Files of other replicas: two branches on one beginning, and what joins them.
fn foreign() -> Vec<(String, Vec<u8>)> {
    let mut store = TestStore::new();
    let n = |n: usize| serde_json::json!({ "n": n });
    let root = store.transaction().replica(2).event("a", "T", n(100)).write();
    let mut tips = [root, root];
    for round in 0..4 {
        for (side, tip) in tips.iter_mut().enumerate() {
            let (stream, event_type) = (["a", "b", "c/d"][(round + side) % 3], ["T", "U"][round % 2]);
            let next = store.transaction().replica(2 + side as u64).parents([*tip]);
            *tip = next.event(stream, event_type, n(110 + 10 * round + side)).event("a", "U", n(150 + round)).write();
        }
    }
    store.transaction().replica(2).parents(tips).event("b", "T", n(199)).write();
    let mut files: Vec<(String, Vec<u8>)> = fs::read_dir(store.events_dir())
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

#[derive(Clone, Debug)]
enum Step {
    Append(usize, usize),
    Bring(usize),
    Take(usize),
    Restart,
    Look(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..3usize, 0..2usize).prop_map(|(stream, event_type)| Step::Append(stream, event_type)),
        4 => (0..10usize).prop_map(Step::Bring),
        1 => (0..10usize).prop_map(Step::Take),
        1 => Just(Step::Restart),
        3 => (0..4usize).prop_map(Step::Look),
    ];
    prop::collection::vec(step, 4..24)
}

const FOLDS: [(&str, Per, &str); 4] = [("all", Per::All, "*"), ("some", Per::All, "a*"), ("s", Per::Stream, "*"), ("t", Per::Type, "?*")];

/// The states of a fold from scratch, in this process, from the lines of other views.
fn expected(tree: &Tree, per: Per, streams: &str) -> Vec<(String, String)> {
    let fold = |lines: Vec<String>| {
        let mut folder = Folder::new(Program::compile(ORDERED).unwrap(), START.as_bytes()).unwrap();
        lines.iter().for_each(|line| folder.apply(line.as_bytes()).unwrap());
        String::from_utf8(folder.state().unwrap()).unwrap() + "\n"
    };
    let lines = |path: &str| text(tree, path).lines().map(str::to_owned).collect::<Vec<_>>();
    let of = |path: &str| -> Vec<String> { tree.list(path).unwrap().into_iter().map(|entry| entry.name).collect() };
    match per {
        Per::All => {
            let mut log = lines("log.jsonl");
            log.retain(|line| {
                let event: Value = serde_json::from_str(line).unwrap();
                streams == "*" || event["stream_id"].as_str().unwrap().starts_with('a')
            });
            vec![(String::new(), fold(log))]
        }
        Per::Stream => {
            let mut paths: Vec<String> = of("streams").into_iter().filter(|name| name != "c").collect();
            paths.extend(tree.list("streams/c").into_iter().flatten().map(|entry| format!("c/{}", entry.name)));
            let name = |path: &str| path.replace('/', "%2F").replace(".jsonl", ".json");
            paths.iter().map(|path| (name(path), fold(lines(&format!("streams/{path}"))))).collect()
        }
        Per::Type => of("types").iter().map(|name| (name.replace(".jsonl", ".json"), fold(lines(&format!("types/{name}"))))).collect(),
    }
}

fn check(braid: &Braid, which: usize) {
    let (name, per, streams) = FOLDS[which];
    let tree = braid.tree();
    let mut expected = expected(&tree, per, streams);
    expected.sort();
    let shown = match per {
        Per::All => vec![(String::new(), text(&tree, &format!("views/{name}.json")))],
        _ => {
            let names = tree.list(&format!("views/{name}")).unwrap();
            let mut shown: Vec<_> = names.into_iter().map(|e| (e.name.clone(), text(&tree, &format!("views/{name}/{}", e.name)))).collect();
            shown.sort();
            shown
        }
    };
    assert_eq!(shown, expected, "{name}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_state_view_equals_the_fold_from_scratch(steps in steps(), large in any::<bool>()) {
        let store = TestStore::new();
        let dir: PathBuf = store.path();
        for (name, per, streams) in FOLDS {
            define(&dir, name, per, streams, ORDERED);
        }
        let foreign = foreign();
        let mut braid = open(&dir, &options());
        if large {
            // Enough for states to be saved.
            append(&braid, &(0..70).map(|n| event("a", "T", n)).collect::<String>());
        }
        for (at, step) in steps.iter().enumerate() {
            match step {
                Step::Append(stream, event_type) => {
                    let stream = ["x", "a", "b"][*stream];
                    // A forked stream is appended to by who has seen both sides.
                    let version = braid.refresh().unwrap().index.stream_version(stream);
                    append(&braid, &format!("{{\"expect\":{{\"{stream}\":{version}}}}}\n{}", event(stream, ["T", "U"][*event_type], at)));
                }
                Step::Bring(n) => fs::write(dir.join("events").join(&foreign[*n].0), &foreign[*n].1).unwrap(),
                Step::Take(n) => drop(fs::remove_file(dir.join("events").join(&foreign[*n].0))),
                Step::Restart => {
                    drop(braid);
                    braid = open(&dir, &options());
                }
                Step::Look(which) => {
                    braid.refresh().unwrap();
                    check(&braid, *which);
                }
            }
        }
        braid.refresh().unwrap();
        (0..FOLDS.len()).for_each(|which| check(&braid, which));
    }
}
