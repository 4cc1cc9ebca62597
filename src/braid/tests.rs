//! A store as a library user has it: real files, other programs writing beside it.

mod chain;
mod checkouts;
mod commits;
mod feed;
mod files;
mod listeners;
mod starts;
mod storage;

use std::fs;
use std::path::{Path, PathBuf};

use crate::braid::{AppendError, Braid, Committed, OpenOptions};
use crate::format::draft::{DraftKind, parse_draft};
use crate::model::{Draft, Errno, FindingKind};
use crate::view::Tree;

pub(super) fn draft(text: &str) -> Draft {
    parse_draft(text.as_bytes(), DraftKind::Lines).unwrap()
}

pub(super) fn event(stream: &str, n: u32) -> String {
    format!("{{\"stream_id\":\"{stream}\",\"event_type\":\"Counted\",\"event_data\":{{\"n\":{n}}}}}\n")
}

pub(super) fn open(dir: &Path, follow: bool) -> Braid {
    let braid = Braid::open(dir, &OpenOptions { follow, ..OpenOptions::default() }).unwrap();
    braid.wait_ready().unwrap();
    braid
}

pub(super) fn store() -> (tempfile::TempDir, PathBuf) {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("store");
    Braid::init(&dir).unwrap();
    (temp, dir)
}

pub(super) fn text(tree: &Tree, path: &str) -> String {
    let file = tree.find(path).and_then(crate::view::Node::into_file).unwrap_or_else(|| panic!("{path} is a file"));
    let bytes = file.read_all().unwrap();
    assert_eq!(bytes.len() as u64, file.size(), "{path}");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Every file of the tree but the ones that say when and where.
pub(super) fn everything(tree: &Tree) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut waiting = vec![String::new()];
    while let Some(directory) = waiting.pop() {
        for entry in tree.list(&directory).unwrap() {
            let path = if directory.is_empty() { entry.name } else { format!("{directory}/{}", entry.name) };
            if entry.directory {
                waiting.push(path);
            } else if path != "status.json" && path != "metrics" {
                files.push((path.clone(), text(tree, &path)));
            }
        }
    }
    files.sort();
    files
}

pub(super) fn append(braid: &Braid, text: &str) -> Committed {
    braid.append(draft(text)).unwrap()
}

fn kinds(braid: &Braid) -> Vec<FindingKind> {
    braid.epoch().findings.iter().map(|finding| finding.kind).collect()
}

#[test]
fn what_was_appended_is_read_back_and_is_there_after_a_new_start() {
    let (_temp, dir) = store();
    let braid = open(&dir, false);
    let first = append(&braid, &format!("{}{}", event("a/b", 1), event("todo-1", 2)));
    assert_eq!(
        first.events.iter().map(|event| (event.stream_version, event.position, event.seq_nr)).collect::<Vec<_>>(),
        [(1, 1, Some(1)), (1, 2, Some(2))]
    );
    let second = append(&braid, &event("todo-1", 3));
    assert_eq!((second.events[0].stream_version, second.events[0].position), (2, 3));
    let tree = braid.tree();
    let log = text(&tree, "log.jsonl");
    assert_eq!(log.lines().count(), 3);
    assert!(log.starts_with("{\"position\":1,\"stream_version\":1,\"event_id\":\""), "{log}");
    assert!(text(&tree, "streams/todo-1.jsonl").starts_with("{\"stream_version\":1,\"event_id\":\""));
    assert!(text(&tree, "feed/after/2.jsonl").starts_with("{\"seq_nr\":3,\"event_id\":\""));
    assert_eq!(text(&tree, "categories/todo.jsonl").lines().count(), 2);
    let file = text(&tree, &format!("transactions/{}.jsonl", first.transaction_id));
    assert_eq!(file, fs::read_to_string(dir.join(format!("events/{}.jsonl", first.transaction_id))).unwrap());
    let before = everything(&tree);
    drop(braid);
    assert_eq!(everything(&open(&dir, false).tree()), before);
    fs::remove_dir_all(dir.join("index")).unwrap();
    assert_eq!(everything(&open(&dir, false).tree()), before);
}

#[test]
fn expectations_keys_and_event_ids_are_kept() {
    let (_temp, dir) = store();
    let braid = open(&dir, false);
    let keyed = format!("{{\"expect\":{{\"s\":\"none\"}},\"key\":\"k\"}}\n{}", event("s", 1));
    let first = append(&braid, &keyed);
    let again = append(&braid, &keyed);
    assert!(again.repeated && !first.repeated);
    assert_eq!(again.transaction_id, first.transaction_id);
    let errno = |text: String| match braid.append(draft(&text)) {
        Err(AppendError::Rejected(rejection)) => rejection.errno(),
        other => panic!("{other:?}"),
    };
    assert_eq!(errno(format!("{{\"key\":\"k\"}}\n{}", event("s", 2))), Errno::EEXIST);
    assert_eq!(errno(format!("{{\"expect\":{{\"s\":7}}}}\n{}", event("s", 2))), Errno::ESTALE);
    let id = first.events[0].event_id;
    let with_id = |n: u32| event("s", n).replacen('{', &format!("{{\"event_id\":\"{id}\","), 1);
    assert!(append(&braid, &with_id(1)).repeated);
    assert_eq!(errno(with_id(2)), Errno::EEXIST);
    assert_eq!(braid.epoch().index.log.events.len(), 1);
}

#[test]
fn eventcore_fs_and_we_write_one_store_in_turn() {
    let (_temp, dir) = store();
    for n in 0..3 {
        let braid = open(&dir, false);
        append(&braid, &event("s", n));
        drop(braid);
        let peer = eventcore_fs::FileEventStore::open(&dir).unwrap();
        let status = peer.status().unwrap();
        assert!(status.integrity_failures().is_empty() && status.forks().is_empty() && status.dangling().is_empty());
        assert_eq!(peer.topology_generation().unwrap(), 0);
    }
    let held = eventcore_fs::FileEventStore::open(&dir).unwrap();
    let braid = open(&dir, false);
    let busy = braid.append(draft(&event("s", 9))).unwrap_err();
    assert_eq!(busy.errno(), Errno::EBUSY, "{busy}");
    assert_eq!(fs::read_dir(dir.join("events")).unwrap().count(), 3);
    drop(held);
    append(&braid, &event("s", 9));
}
