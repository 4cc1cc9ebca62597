//! Any bytes as the ingestion log: each event has one number all the same, and a number that was shown stays its event's.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use braidfs::braid::Braid;
use braidfs::format::draft::{DraftKind, parse_draft};
use serde_json::Value;

use super::stores;

const FILES: usize = 6;
const DRAFT: &[u8] = b"{\"stream_id\":\"new\",\"event_type\":\"T\",\"event_data\":{}}\n";

/// Takes the bytes as the whole log.
pub fn holds(data: &[u8]) {
    let place = stores::place();
    stores::store_of(place.path(), &stores::history(FILES));
    fs::create_dir_all(place.path().join("index")).expect("a directory");
    fs::write(place.path().join("index/ingestion.log"), data).expect("a log");
    let braid = stores::open(place.path());
    let before = feed(&braid);
    braid.append(parse_draft(DRAFT, DraftKind::Lines).expect("a draft")).expect("a commit");
    let after = feed(&braid);
    assert!(after.starts_with(&before) && after.len() == before.len() + 1, "{before:?}\n{after:?}");
    drop(braid);
    assert_eq!(feed(&stores::open(place.path())), after, "opened again");
    // Without anything that was saved it is the log alone that tells.
    forget_saved(place.path());
    assert_eq!(feed(&stores::open(place.path())), after, "read anew");
}

fn forget_saved(dir: &Path) {
    for path in stores::files_below(&dir.join("index")).into_keys().filter(|path| !path.ends_with("ingestion.log")) {
        fs::remove_file(path).expect("a file");
    }
}

/// The numbers that name an event, which must be all events of the log once each, rising.
fn feed(braid: &Braid) -> Vec<(u64, String)> {
    let tree = braid.tree();
    let lines = |path: &str| -> Vec<Value> {
        let bytes = stores::view(&tree, path);
        bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).map(|line| serde_json::from_slice(line).expect("JSON")).collect()
    };
    let named: Vec<(u64, String)> = lines("feed.jsonl")
        .iter()
        .filter(|line| line.get("transaction_id").is_some())
        .map(|line| (line["seq_nr"].as_u64().expect("a number"), line["event_id"].as_str().expect("an id").to_owned()))
        .collect();
    assert!(named.windows(2).all(|pair| pair[0].0 < pair[1].0), "{named:?}");
    let ids: BTreeSet<&str> = named.iter().map(|(_, id)| id.as_str()).collect();
    let log = lines("log.jsonl");
    assert_eq!(ids.len(), named.len(), "an event twice");
    assert_eq!(ids, log.iter().map(|line| line["event_id"].as_str().expect("an id")).collect(), "other events than in the log");
    named
}

/// Logs that fit, and what befalls logs.
pub fn seeds() -> Vec<Vec<u8>> {
    let place = stores::place();
    stores::store_of(place.path(), &stores::history(FILES));
    drop(stores::open(place.path()));
    let log = fs::read(place.path().join("index/ingestion.log")).expect("a log");
    let half = log.len() / 2;
    let text = String::from_utf8(log.clone()).expect("text");
    let reversed: Vec<&str> = text.lines().rev().collect();
    vec![
        log[..half].to_vec(),
        [&log[..half], &[0; 40], &log[half..]].concat(),
        [&log[..], &log[..]].concat(),
        reversed.join("\n").into_bytes(),
        text.replacen("\"seq\":2", "\"seq\":9", 1).into_bytes(),
        Vec::new(),
        log,
    ]
}
