//! What a store shows through the library.

use std::path::Path;

use braidfs::braid::{Braid, OpenOptions};
use braidfs::view::{Node, Tree};
use serde_json::Value;

/// Opens a store, every file taken in.
pub fn open(dir: &Path) -> Braid {
    let braid = Braid::open(dir, &OpenOptions::default()).unwrap();
    braid.wait_ready().unwrap();
    braid
}

/// The lines of a view, or none where there is no such view.
pub fn lines(tree: &Tree, path: &str) -> Vec<Value> {
    let bytes = tree.find(path).and_then(Node::into_file).map_or(Vec::new(), |file| file.read_all().unwrap());
    String::from_utf8(bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The event ids in canonical order, as the view shows them.
pub fn order(braid: &Braid) -> Vec<String> {
    lines(&braid.tree(), "log.jsonl").iter().map(|line| line["event_id"].as_str().unwrap().to_owned()).collect()
}
