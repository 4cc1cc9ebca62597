//! Stores of a few files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use braidfs::braid::{Braid, OpenOptions};
use braidfs::view::{Entry, Node, Tree};
use tempfile::TempDir;

const HISTORY: &str = include_str!("../../data/oracle/case-11.jsonl");

/// A directory that goes with it.
pub fn place() -> TempDir {
    TempDir::new().expect("a directory")
}

/// The first `count` transaction files of a history with forks and merges, by name.
pub fn history(count: usize) -> BTreeMap<String, String> {
    let mut files: Vec<String> = Vec::new();
    for line in HISTORY.lines() {
        if line.starts_with("{\"record\":\"header\"") {
            files.push(String::new());
        }
        let file = files.last_mut().expect("a header first");
        file.push_str(line);
        file.push('\n');
    }
    let name = |text: &str| {
        let header: serde_json::Value = serde_json::from_str(text.lines().next().unwrap_or_default()).expect("a header");
        format!("{}.jsonl", header["transaction_id"].as_str().expect("an id"))
    };
    files.into_iter().take(count).map(|text| (name(&text), text)).collect()
}

/// Makes a store of these files.
pub fn store<'a>(dir: &Path, files: impl IntoIterator<Item = (&'a str, &'a [u8])>) {
    Braid::init(dir).expect("a store");
    for (name, bytes) in files {
        fs::write(dir.join("events").join(name), bytes).expect("a file");
    }
}

/// The same with files as [`history`] gives them.
pub fn store_of(dir: &Path, files: &BTreeMap<String, String>) {
    store(dir, files.iter().map(|(name, text)| (name.as_str(), text.as_bytes())));
}

/// Opens it on two threads, everything taken in.
pub fn open(dir: &Path) -> Braid {
    let braid = Braid::open(dir, &OpenOptions { threads: 2, ..OpenOptions::default() }).expect("it opens");
    braid.wait_ready().expect("it gets ready");
    braid
}

/// The bytes of one view.
pub fn view(tree: &Tree, path: &str) -> Vec<u8> {
    let file = tree.find(path).and_then(Node::into_file).unwrap_or_else(|| panic!("no {path}"));
    let bytes = file.read_all().unwrap_or_else(|error| panic!("{path}: {error}"));
    assert_eq!(file.size(), bytes.len() as u64, "the size of {path}");
    bytes
}

/// Every view that follows from `events/` alone, by path.
pub fn views(tree: &Tree) -> BTreeMap<String, Vec<u8>> {
    let mut views = BTreeMap::new();
    for top in ["log.jsonl", "streams", "types", "categories", "transactions", "quarantine", "forks"] {
        gather(tree, top, &mut views);
    }
    views
}

fn gather(tree: &Tree, path: &str, views: &mut BTreeMap<String, Vec<u8>>) {
    match tree.list(path) {
        Some(entries) => {
            for Entry { name, .. } in entries {
                gather(tree, &format!("{path}/{name}"), views);
            }
        }
        None => drop(views.insert(path.to_owned(), view(tree, path))),
    }
}

/// The files below `dir`, by path.
pub fn files_below(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            files.append(&mut files_below(&entry));
        } else {
            let bytes = fs::read(&entry).expect("a file");
            files.insert(entry, bytes);
        }
    }
    files
}

/// Fails unless both are the same; says where they begin to differ.
pub fn alike(left: &BTreeMap<String, Vec<u8>>, right: &BTreeMap<String, Vec<u8>>, what: &str) {
    for path in left.keys().chain(right.keys()) {
        let (left, right) = (left.get(path), right.get(path));
        if left != right {
            let line = |bytes: Option<&Vec<u8>>, n| bytes.and_then(|bytes| text(bytes).lines().nth(n).map(str::to_owned));
            let first = (0..).find(|&n| line(left, n) != line(right, n) || line(left, n).is_none()).unwrap_or_default();
            panic!("{path}, {what}, differs at line {first}:\n{:?}\n{:?}", line(left, first), line(right, first));
        }
    }
}

/// For people.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
