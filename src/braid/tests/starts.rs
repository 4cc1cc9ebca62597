//! A start shows what the last process showed, and what happened since.

use std::time::Duration;

use super::*;

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

/// A sync that fails at the start ends all writing: who was to mend something has mended nothing, and says so.
#[test]
fn what_could_not_be_mended_is_not_said_to_be_well() {
    let (_temp, dir) = store();
    append(&open(&dir, false), &event("s", 1));
    let log = dir.join("index/ingestion.log");
    let torn = [fs::read(&log).unwrap().as_slice(), b"{\"half"].concat();
    fs::write(&log, torn).unwrap();
    let (disk, twin) = crate::disk::Disk::faulty(&dir).unwrap();
    twin.fail(crate::disk::Op::Sync, 0, None, Errno::EIO);
    let braid = Braid::open(&dir, &OpenOptions { disk, ..OpenOptions::default() }).unwrap();
    let failure = braid.mend().unwrap_err();
    assert!(failure.message.contains("cannot be synced: Input/output error"), "{failure}");
}
