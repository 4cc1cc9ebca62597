//! Canonical order as eventcore-fs computed it from stores of its own, from scratch and for any arrival order.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::reading::{open, order};
use super::support::store::split_files;

/// How many arrival orders are tried for each case.
const ARRIVAL_ORDERS: u64 = 2;
/// Into how many pieces an arrival order is cut, each taken in on its own.
const PIECES: usize = 7;

/// A store and the order of its events.
struct Case {
    name: String,
    files: Vec<(String, Vec<u8>)>,
    order: Vec<String>,
}

/// The cases that travel with the tests.
fn own_cases() -> Vec<Case> {
    let texts = [
        ("case-11", include_str!("../data/oracle/case-11.jsonl"), include_str!("../data/oracle/case-11.order")),
        ("case-12", include_str!("../data/oracle/case-12.jsonl"), include_str!("../data/oracle/case-12.order")),
    ];
    let case = |(name, text, order): (&str, &'static str, &str)| Case {
        name: name.to_owned(),
        files: split_files(text).into_iter().map(|(name, text)| (name, text.as_bytes().to_vec())).collect(),
        order: order.lines().map(str::to_owned).collect(),
    };
    texts.map(case).into()
}

/// The directory `shared/data` above the project with more and larger data, where it is present.
fn shared_data() -> Option<PathBuf> {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().skip(1);
    above.map(|dir| dir.join("shared/data")).find(|data| data.join("oracle").is_dir())
}

fn shared_cases() -> Vec<Case> {
    let Some(data) = shared_data() else { return Vec::new() };
    let mut cases = Vec::new();
    for entry in fs::read_dir(data.join("oracle")).unwrap() {
        let dir = entry.unwrap().path();
        if !dir.is_dir() {
            continue;
        }
        let file = |path: PathBuf| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap());
        let expected: Value = serde_json::from_slice(&fs::read(dir.join("expected.json")).unwrap()).unwrap();
        cases.push(Case {
            name: dir.display().to_string(),
            files: fs::read_dir(dir.join("events")).unwrap().map(|entry| file(entry.unwrap().path())).collect(),
            order: expected["order"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect(),
        });
    }
    assert!(!cases.is_empty(), "no case in {}", data.display());
    cases
}

/// A store without a file.
fn empty_store(home: &Path) -> PathBuf {
    let dir = home.join("store");
    fs::create_dir_all(dir.join("events")).unwrap();
    dir
}

fn write(dir: &Path, files: &[(String, Vec<u8>)]) {
    for (name, bytes) in files {
        fs::write(dir.join("events").join(name), bytes).unwrap();
    }
}

/// Another order for each seed: by a hash of seed and name.
fn shuffle(files: &mut [(String, Vec<u8>)], seed: u64) {
    files.sort_by_cached_key(|(name, _)| Sha256::digest(format!("{seed} {name}")).to_vec());
}

fn check_from_scratch(case: &Case) {
    let home = tempfile::tempdir().unwrap();
    let dir = empty_store(home.path());
    write(&dir, &case.files);
    let braid = open(&dir);
    assert_eq!(order(&braid), case.order, "{}", case.name);
    assert_eq!(braid.epoch().quarantined.len(), 0, "{}", case.name);
}

fn check_arrivals(case: &Case, seed: u64) {
    let home = tempfile::tempdir().unwrap();
    let dir = empty_store(home.path());
    let braid = open(&dir);
    let mut files = case.files.clone();
    shuffle(&mut files, seed);
    for piece in files.chunks(files.len().div_ceil(PIECES)) {
        write(&dir, piece);
        braid.refresh().unwrap();
    }
    assert_eq!(order(&braid), case.order, "{} with seed {seed}", case.name);
}

#[test]
fn the_order_is_that_of_eventcore_fs() {
    let mut cases = own_cases();
    cases.extend(shared_cases());
    for case in &cases {
        assert!(!case.order.is_empty(), "{}", case.name);
        check_from_scratch(case);
    }
}

#[test]
fn the_order_does_not_depend_on_the_order_of_arrival() {
    let mut cases = own_cases();
    cases.extend(shared_cases());
    for case in &cases {
        for seed in 0..ARRIVAL_ORDERS {
            check_arrivals(case, seed);
        }
    }
}

/// 9,886 commits of a real project, where the data lies beside the project; `dag::real_history` has a piece of it always.
#[test]
fn the_order_of_a_real_history_is_that_of_eventcore_fs() {
    let Some(data) = shared_data() else { return };
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    let expanded = Command::new("python3").arg(data.join("expand-history")).arg(data.join("restic-history.tsv.xz")).arg(&dir).output();
    let expanded = expanded.unwrap();
    assert!(expanded.status.success(), "{}", String::from_utf8_lossy(&expanded.stderr));
    let mut hash = Sha256::new();
    for id in order(&open(&dir)) {
        hash.update(format!("{id}\n"));
    }
    let hash: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let expected = fs::read_to_string(data.join("restic-history.order.sha256")).unwrap();
    assert_eq!(Some(hash.as_str()), expected.split_whitespace().next());
}
