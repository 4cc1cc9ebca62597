//! A store as a library user has it: real files, other programs writing beside it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::braid::{AppendError, Braid, Committed, OpenOptions};
use crate::disk::{Disk, Op};
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
fn files_that_others_bring_and_take_are_followed() {
    let (temp, dir) = store();
    let (one, two) = (open(&dir, true), store());
    let other = open(&two.1, false);
    append(&one, &event("s", 1));
    let theirs = append(&other, &event("s", 2));
    let name = format!("events/{}.jsonl", theirs.transaction_id);
    fs::copy(two.1.join(&name), dir.join(&name)).unwrap();
    let patience = Duration::from_secs(30);
    let both = one.wait(|epoch| epoch.index.log.events.len() == 2 && epoch.feed_shown == 2, patience).expect("the file is taken in");
    assert_eq!(both.index.transactions.heads().len(), 2);
    fs::remove_file(dir.join(&name)).unwrap();
    let gone = one.wait(|epoch| epoch.index.log.events.len() == 1, patience).expect("the file is missed");
    assert!(text(&Tree::of(gone), "feed.jsonl").ends_with(",\"gone\":true}\n"));
    fs::copy(two.1.join(&name), dir.join(&name)).unwrap();
    let back = one.wait(|epoch| epoch.feed_shown == 3, patience).expect("it comes back with a fresh number");
    let feed = text(&Tree::of(back), "feed.jsonl");
    assert_eq!(feed.lines().filter(|line| line.contains("gone")).count(), 1, "{feed}");
    let before = feed;
    drop(one);
    assert_eq!(text(&open(&dir, false).tree(), "feed.jsonl"), before);
    drop(temp);
}

#[test]
fn one_bad_file_of_each_kind_is_reported_and_the_rest_works() {
    let (_temp, dir) = store();
    let braid = open(&dir, false);
    let good = append(&braid, &event("s", 1));
    let name = |id: &str| dir.join(format!("events/{id}.jsonl"));
    let good_bytes = fs::read(name(&good.transaction_id.to_string())).unwrap();
    fs::write(name("01a2004b-8b99-77b5-8f07-47642fa99f4c"), b"\xff\xfe").unwrap();
    fs::write(name("notes"), "not this format\n").unwrap();
    fs::write(name("copy"), &good_bytes).unwrap();
    let lost = append(&braid, &event("t", 2));
    let child = append(&braid, &event("t", 3));
    fs::remove_file(name(&lost.transaction_id.to_string())).unwrap();
    let crlf = String::from_utf8(fs::read(name(&child.transaction_id.to_string())).unwrap()).unwrap().replace('\n', "\r\n");
    // As git writes it: a new file under the old name.
    fs::write(dir.join("crlf"), crlf).unwrap();
    fs::rename(dir.join("crlf"), name(&child.transaction_id.to_string())).unwrap();
    braid.refresh().unwrap();
    let found = kinds(&braid);
    for kind in [FindingKind::Quarantined, FindingKind::Duplicate, FindingKind::Dangling, FindingKind::Healed] {
        assert!(found.contains(&kind), "{kind:?} in {found:?}");
    }
    assert_eq!(braid.epoch().quarantined.len(), 2);
    assert_eq!(braid.epoch().index.log.events.len(), 2);
    assert!(text(&braid.tree(), "quarantine/notes.jsonl").contains("not this format"));
    assert!(!text(&braid.tree(), "quarantine/notes.jsonl.reason").is_empty());
    // A fresh look comes to the same.
    let before = everything(&braid.tree());
    // Only who saw it happen knows what was there before.
    let of_files = |braid: &Braid| -> Vec<_> {
        let remembered = [FindingKind::Edited, FindingKind::Vanished];
        braid.epoch().findings.iter().filter(|finding| !remembered.contains(&finding.kind)).cloned().collect()
    };
    let findings = of_files(&braid);
    drop(braid);
    let again = open(&dir, false);
    assert_eq!(everything(&again.tree()), before);
    assert_eq!(of_files(&again), findings);
}

#[test]
fn two_files_of_different_bytes_for_one_id_are_both_refused_until_one_goes() {
    let (_temp, dir) = store();
    let braid = open(&dir, false);
    let good = append(&braid, &event("s", 1));
    let path = dir.join(format!("events/{}.jsonl", good.transaction_id));
    let other = fs::read_to_string(&path)
        .unwrap()
        .replacen("\"parent_transaction_ids\":[]", "\"parent_transaction_ids\":[ ]", 1)
        .replace("created_at\":\"2", "created_at\":\"1");
    fs::write(dir.join("events/other.jsonl"), other).unwrap();
    braid.refresh().unwrap();
    assert_eq!(braid.epoch().index.log.events.len(), 0);
    assert_eq!(braid.epoch().quarantined.len(), 2);
    fs::remove_file(dir.join("events/other.jsonl")).unwrap();
    braid.refresh().unwrap();
    assert_eq!(braid.epoch().index.log.events.len(), 1);
    assert!(kinds(&braid).is_empty(), "{:?}", kinds(&braid));
}

#[test]
fn writers_that_wait_together_are_one_group_and_none_is_lost() {
    let (_temp, dir) = store();
    let braid = open(&dir, true);
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let braid = braid.clone();
            scope.spawn(move || {
                for n in 0..5 {
                    append(&braid, &event(&format!("w-{writer}"), n));
                }
            });
        }
    });
    let epoch = braid.epoch();
    assert_eq!(epoch.index.log.events.len(), 40);
    assert_eq!(epoch.feed_shown, 40);
    assert_eq!(epoch.index.transactions.heads().len(), 1);
    let before = everything(&braid.tree());
    drop((braid, epoch));
    assert_eq!(everything(&open(&dir, false).tree()), before);
}

#[test]
fn a_writer_who_is_alone_wakes_nobody_for_a_commit() {
    let (_temp, dir) = store();
    let braid = open(&dir, true);
    let publishers = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&publishers);
    braid.on_publish(Box::new(move |_, _| noted.lock().unwrap().push(std::thread::current().id())));
    for n in 0..40 {
        append(&braid, &event("a", n));
    }
    let own = publishers.lock().unwrap().iter().filter(|&&thread| thread == std::thread::current().id()).count();
    // The keeper's thread may be at it when a hint of the watch comes.
    assert!(own > 20, "{own}");
}

/// The SHA-256 of the event ids in canonical order, one a line.
fn order_hash(braid: &Braid) -> String {
    let epoch = braid.epoch();
    let ids = epoch.index.log.events.iter_from(0).map(|event| format!("{}\n", epoch.index.events.id(event, &epoch.index.pack)));
    Sha256::digest(ids.collect::<String>()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_order_is_the_known_one_on_a_real_history() {
    let (_temp, dir) = store();
    let history = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/history-300.jsonl")).unwrap();
    let starts: Vec<usize> = history.match_indices("{\"record\":\"header\"").map(|(at, _)| at).collect();
    for (n, &start) in starts.iter().enumerate() {
        let file = &history[start..starts.get(n + 1).copied().unwrap_or(history.len())];
        let header: serde_json::Value = serde_json::from_str(file.lines().next().unwrap()).unwrap();
        fs::write(dir.join(format!("events/{}.jsonl", header["transaction_id"].as_str().unwrap())), file).unwrap();
    }
    let braid = open(&dir, false);
    assert_eq!(braid.epoch().index.transactions.valid_count(), 300);
    assert_eq!(order_hash(&braid), "87829f37187a2a38231d89515002f5f54baeb409ad5cb032e4b51b0e886c8544");
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

#[test]
fn a_torn_ingestion_log_is_mended_on_open_and_keeps_its_numbers() {
    let (_temp, dir) = store();
    let braid = open(&dir, false);
    append(&braid, &event("todo-1", 1));
    drop(braid);
    let path = dir.join("index/ingestion.log");
    let whole = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{whole}{{\"event_id\":\"01")).unwrap();
    let braid = open(&dir, false);
    assert_eq!(fs::read_to_string(&path).unwrap(), whole);
    assert_eq!(append(&braid, &event("todo-1", 2)).events[0].seq_nr, Some(2));
}

/// Bends a byte of every file in place, so that its name, inode, size and time stay: whoever reads it refuses it.
fn bend_all(dir: &Path) {
    for entry in fs::read_dir(dir.join("events")).unwrap() {
        let path = entry.unwrap().path();
        let mtime = fs::metadata(&path).unwrap().modified().unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 3;
        bytes[last] ^= 1;
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0).unwrap();
        file.set_modified(mtime).unwrap();
    }
}

#[test]
fn a_second_start_reads_no_file_again_and_shows_the_same() {
    for torn in ["", "braidfs.table", "braidfs.pack"] {
        let (_temp, dir) = store();
        let braid = open(&dir, false);
        for n in 0..20 {
            append(&braid, &format!("{}{}", event(&format!("s-{}", n % 3), n), event("all", n)));
        }
        let before = text(&braid.tree(), "log.jsonl");
        drop(braid);
        if !torn.is_empty() {
            let path = dir.join("index").join(torn);
            let mut bytes = fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
            assert_eq!(text(&open(&dir, false).tree(), "log.jsonl"), before, "{torn}");
            let bytes = fs::read(&path).unwrap();
            fs::write(&path, &bytes[..middle]).unwrap();
        }
        bend_all(&dir);
        let refused = open(&dir, false).epoch().quarantined.len();
        if torn.is_empty() {
            assert_eq!(refused, 0);
        } else {
            // What lies behind the bent byte is read again.
            assert!(refused > 5 && refused < 15, "{torn}: {refused}");
        }
    }
}

#[test]
fn what_changed_between_two_starts_is_seen_and_its_views_are_new_files() {
    let (_temp, dir) = store();
    let braid = open(&dir, false);
    let first = append(&braid, &event("s", 1));
    append(&braid, &event("t", 2));
    let incarnation = |braid: &Braid, path: &str| braid.tree().find(path).unwrap().into_file().unwrap().incarnation();
    let (s, t) = (incarnation(&braid, "streams/s.jsonl"), incarnation(&braid, "streams/t.jsonl"));
    let log = incarnation(&braid, "log.jsonl");
    drop(braid);
    let path = dir.join(format!("events/{}.jsonl", first.transaction_id));
    let bytes = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let braid = open(&dir, false);
    assert_eq!(braid.epoch().index.log.events.len(), 1);
    assert_ne!(incarnation(&braid, "log.jsonl"), log);
    assert_eq!(incarnation(&braid, "streams/t.jsonl"), t);
    fs::write(&path, bytes).unwrap();
    braid.refresh().unwrap();
    let back = everything(&braid.tree());
    assert_ne!(incarnation(&braid, "streams/s.jsonl"), s);
    let log = incarnation(&braid, "log.jsonl");
    drop(braid);
    let braid = open(&dir, false);
    assert_eq!(everything(&braid.tree()), back);
    assert_eq!(incarnation(&braid, "log.jsonl"), log);
}

#[test]
fn two_processes_of_which_one_owns_the_saved_index_show_the_same() {
    let (_temp, dir) = store();
    let (one, two) = (open(&dir, true), open(&dir, true));
    append(&one, &event("s", 1));
    append(&two, &event("s", 2));
    append(&one, &event("s", 3));
    let patience = Duration::from_secs(30);
    for braid in [&one, &two] {
        braid.wait(|epoch| epoch.feed_shown == 3, patience).expect("both see all three");
    }
    assert_eq!(everything(&one.tree()), everything(&two.tree()));
    let before = everything(&one.tree());
    drop((one, two));
    assert_eq!(everything(&open(&dir, false).tree()), before);
}

#[test]
fn a_replica_id_is_one_chain_whatever_branch_is_checked_out() {
    let (_temp, dir) = store();
    let braid = open(&dir, false);
    append(&braid, &event("s", 1));
    let second = append(&braid, &event("s", 2));
    let before = braid.epoch().replica_id;
    drop(braid);
    // As `git checkout` of an older branch does it.
    fs::remove_file(dir.join(format!("events/{}.jsonl", second.transaction_id))).unwrap();
    fs::remove_dir_all(dir.join("index")).unwrap();
    let braid = open(&dir, false);
    append(&braid, &event("s", 3));
    assert_ne!(braid.epoch().replica_id, before);
    let after = braid.epoch().replica_id;
    append(&braid, &event("s", 4));
    assert_eq!(braid.epoch().replica_id, after);
}

#[test]
fn an_older_transaction_that_returns_is_not_taken_for_the_last_one() {
    let (_temp, dir) = store();
    let braid = open(&dir, false);
    let file = |committed: &Committed| dir.join(format!("events/{}.jsonl", committed.transaction_id));
    let first = append(&braid, &event("s", 1));
    // Two of another working copy: so the second one of ours keeps its place also without the first.
    let (_other_temp, other_dir) = store();
    let other = open(&other_dir, false);
    for committed in [append(&other, &event("t", 1)), append(&other, &event("t", 2))] {
        fs::copy(other_dir.join(format!("events/{}.jsonl", committed.transaction_id)), file(&committed)).unwrap();
    }
    braid.refresh().unwrap();
    let second = append(&braid, &event("s", 2));
    let before = braid.epoch().replica_id;
    let away = dir.join("away");
    fs::rename(file(&first), &away).unwrap();
    braid.refresh().unwrap();
    fs::rename(&away, file(&first)).unwrap();
    braid.refresh().unwrap();
    // Now the last one goes: what is written next does not descend from it.
    fs::remove_file(file(&second)).unwrap();
    braid.refresh().unwrap();
    append(&braid, &event("s", 3));
    assert_ne!(braid.epoch().replica_id, before);
}

#[test]
fn what_another_process_wrote_under_our_id_is_our_last_transaction() {
    let (_temp, dir) = store();
    let (one, two) = (open(&dir, false), open(&dir, false));
    append(&one, &event("s", 1));
    two.refresh().unwrap();
    let theirs = append(&two, &event("s", 2));
    one.refresh().unwrap();
    let before = one.epoch().replica_id;
    assert_eq!(two.epoch().replica_id, before);
    fs::remove_file(dir.join(format!("events/{}.jsonl", theirs.transaction_id))).unwrap();
    one.refresh().unwrap();
    append(&one, &event("s", 3));
    assert_ne!(one.epoch().replica_id, before);
}

/// As after a kill between the name of a transaction and the note that it was the last one.
#[test]
fn a_last_transaction_that_was_not_noted_is_found_at_the_next_start() {
    for keeps_index in [true, false] {
        let (_temp, dir) = store();
        let note = dir.join(".eventcore/braidfs/last_transaction");
        let braid = open(&dir, false);
        append(&braid, &event("s", 1));
        let noted = fs::read(&note).unwrap();
        let last = append(&braid, &event("s", 2));
        let before = braid.epoch().replica_id;
        drop(braid);
        fs::write(&note, noted).unwrap();
        if !keeps_index {
            fs::remove_dir_all(dir.join("index")).unwrap();
        }
        drop(open(&dir, false));
        fs::remove_file(dir.join(format!("events/{}.jsonl", last.transaction_id))).unwrap();
        let braid = open(&dir, false);
        append(&braid, &event("s", 3));
        assert_ne!(braid.epoch().replica_id, before);
    }
}

#[test]
fn one_draft_delivered_on_two_clones_is_reported() {
    let (_temp, dir) = store();
    let (_other_temp, other_dir) = store();
    let (braid, other) = (open(&dir, false), open(&other_dir, false));
    let keyed = format!("{{\"key\":\"k\"}}\n{}", event("s", 1));
    append(&braid, &keyed);
    let theirs = append(&other, &keyed);
    let name = format!("events/{}.jsonl", theirs.transaction_id);
    fs::copy(other_dir.join(&name), dir.join(&name)).unwrap();
    braid.refresh().unwrap();
    assert_eq!(kinds(&braid).iter().filter(|&&kind| kind == FindingKind::DeliveredTwice).count(), 1);
    drop(braid);
    let braid = open(&dir, false);
    assert_eq!(kinds(&braid).iter().filter(|&&kind| kind == FindingKind::DeliveredTwice).count(), 1);
    assert!(append(&braid, &keyed).repeated);
    fs::remove_file(dir.join(&name)).unwrap();
    braid.refresh().unwrap();
    assert!(!kinds(&braid).contains(&FindingKind::DeliveredTwice));
}

/// What a commit asks of the disk once everything is open: kinds of changes, in order.
fn ops_of_a_commit(transactions: u32) -> Vec<String> {
    let (_temp, dir) = store();
    let (disk, twin) = crate::disk::Disk::faulty(&dir).unwrap();
    let braid = Braid::open(&dir, &OpenOptions { follow: true, disk, ..OpenOptions::default() }).unwrap();
    braid.wait_ready().unwrap();
    for n in 0..transactions {
        append(&braid, &event("s", n));
    }
    twin.forget_ops();
    append(&braid, &event("s", transactions));
    let place = |path: &Path| match path.strip_prefix(dir.canonicalize().unwrap()) {
        Ok(rest) => rest.iter().next().map_or(String::new(), |first| first.to_string_lossy().into_owned()),
        Err(_) => String::new(),
    };
    twin.ops().iter().map(|(op, path)| format!("{op:?} {}", place(path))).collect()
}

#[test]
fn a_commit_syncs_twice_and_renames_once_whatever_the_size_of_the_store() {
    let ops = ops_of_a_commit(3);
    let count = |what: &str| ops.iter().filter(|op| op.starts_with(what)).count();
    assert_eq!((count("Sync"), count("Rename"), count("Create")), (2, 1, 1), "{ops:?}");
    let durable = ops.iter().position(|op| op == "SyncDir events").unwrap_or_else(|| panic!("{ops:?}"));
    let renamed = ops.iter().position(|op| op.starts_with("Rename")).unwrap();
    let synced = ops.iter().position(|op| op.starts_with("Sync")).unwrap();
    assert!(synced < renamed && renamed < durable, "{ops:?}");
    // Behind the durable point: the log's line, the last transaction, the pack, the table. The pack comes with its group.
    assert!(ops.len() <= 9, "{ops:?}");
    assert_eq!(ops_of_a_commit(60), ops);
}

#[test]
fn a_group_of_commits_syncs_as_often_as_one() {
    let (_temp, dir) = store();
    let (disk, twin) = crate::disk::Disk::faulty(&dir).unwrap();
    let braid = Braid::open(&dir, &OpenOptions { disk, ..OpenOptions::default() }).unwrap();
    braid.wait_ready().unwrap();
    append(&braid, &event("s", 0));
    // While somebody holds the lock for a moment, the drafts gather.
    let lock = braid.store().lock(Duration::ZERO).unwrap();
    std::thread::scope(|scope| {
        for n in 0..16 {
            let braid = braid.clone();
            scope.spawn(move || append(&braid, &event("s", n)));
        }
        std::thread::sleep(Duration::from_millis(300));
        twin.forget_ops();
        drop(lock);
    });
    let ops = twin.ops();
    let syncs = ops.iter().filter(|(op, _)| op.is_sync()).count();
    let renames = ops.iter().filter(|(op, _)| *op == crate::disk::Op::Rename).count();
    assert_eq!(renames, 16, "{ops:?}");
    // The first draft was taken alone; what came after it is one group, or two where a thread was late.
    assert!(syncs <= 2 + 3 * 3, "{syncs} syncs of 16 commits: {ops:?}");
}

#[test]
fn writers_who_came_together_queue_until_one_comes_alone() {
    let (_temp, dir) = store();
    let braid = open(&dir, false);
    // The keeper's thread may be at it for a moment.
    let goes_first = || {
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(50) {
            if braid.inner.desk.alone().is_some() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        false
    };
    // A thread that is late comes alone: then they come together once more.
    let queued = (0..20).any(|round| {
        let lock = braid.store().lock(Duration::from_secs(5)).unwrap();
        std::thread::scope(|scope| {
            for n in 0..8 {
                let braid = braid.clone();
                scope.spawn(move || append(&braid, &event("s", round * 8 + n)));
            }
            std::thread::sleep(Duration::from_millis(100));
            drop(lock);
        });
        !goes_first()
    });
    assert!(queued);
    append(&braid, &event("s", 1000));
    assert!((0..100).any(|_| goes_first()));
}

#[test]
fn an_edit_that_keeps_size_and_time_is_found_in_the_background() {
    let (_temp, dir) = store();
    let braid = open(&dir, false);
    for n in 0..5 {
        append(&braid, &event("s", n));
    }
    drop(braid);
    bend_all(&dir);
    let braid = Braid::open(&dir, &OpenOptions { follow: true, ..OpenOptions::default() }).unwrap();
    let found = braid.wait(|epoch| epoch.quarantined.len() == 5, Duration::from_secs(30));
    assert!(found.is_some(), "{:?}", braid.epoch().findings);
}

/// As where another user owns the store, or git was run by root: the system says no, and whoever appends is told which directory that is about.
#[test]
fn a_store_that_may_not_be_written_says_so_and_how_that_is_cured() {
    let refused: [(Op, Errno, &str); 4] = [
        (Op::Rename, Errno::EACCES, "; chmod u+wx DIR/events   # or run it as the user whom it belongs to: ls -ld DIR/events"),
        (Op::Create, Errno::EACCES, "; chmod u+wx DIR/tmp   # or run it as the user whom it belongs to: ls -ld DIR/tmp"),
        (Op::List, Errno::EACCES, "; chmod u+rx DIR/events   # or run it as the user whom it belongs to: ls -ld DIR/events"),
        (Op::Rename, Errno::EROFS, "; the file system is read-only: see why (findmnt), and mount it writable"),
    ];
    let (_temp, dir) = store();
    let dir = dir.canonicalize().unwrap();
    let (disk, twin) = Disk::faulty(&dir).unwrap();
    let braid = Braid::open(&dir, &OpenOptions { disk, ..OpenOptions::default() }).unwrap();
    append(&braid, &event("s", 0));
    for (op, errno, cure) in refused {
        twin.fail(op, 0, None, errno);
        let error = braid.append(draft(&event("s", 1))).unwrap_err();
        assert_eq!(error.errno(), errno, "{error}");
        assert!(error.to_string().ends_with(&cure.replace("DIR", dir.to_str().unwrap())), "{error}");
        twin.heal();
        append(&braid, &event("s", 2));
    }
}

#[test]
fn files_that_cannot_be_listed_are_an_error_until_they_can() {
    let (_temp, dir) = store();
    append(&open(&dir, false), &event("s", 1));
    let (disk, twin) = crate::disk::Disk::faulty(&dir).unwrap();
    twin.fail(crate::disk::Op::List, 0, None, Errno::EIO);
    let braid = Braid::open(&dir, &OpenOptions { follow: true, disk, ..OpenOptions::default() }).unwrap();
    for failure in [braid.wait_ready().unwrap_err(), braid.wait_ordered().unwrap_err()] {
        assert!(failure.message.contains("events\" cannot be listed: Input/output error"), "{}", failure.message);
        assert!(failure.hint.contains("dmesg"), "{}", failure.hint);
    }
    assert!(braid.append(draft(&event("s", 2))).is_err());
    twin.heal();
    let epoch = braid.wait(|epoch| epoch.progress.ready, Duration::from_secs(60)).unwrap();
    assert_eq!((epoch.index.transactions.valid_count(), epoch.progress.failed), (1, false));
    append(&braid, &event("s", 2));
    assert_eq!(text(&braid.tree(), "feed.jsonl").lines().count(), 2);
}
