//! Files that others bring, take, edit and refuse.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::*;
use crate::model::Severity;

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

/// Story: the parents that a merge lacks were told in the order in which this replica had met them.
#[test]
fn what_a_merge_lacks_is_told_in_the_same_words_everywhere() {
    let (_temp, dir) = store();
    let path = |name: &str| dir.join("events").join(name);
    let roots: Vec<String> = ["a", "b"]
        .map(|stream| {
            let (_other, of) = store();
            let name = format!("{}.jsonl", append(&open(&of, false), &event(stream, 1)).transaction_id);
            fs::copy(of.join("events").join(&name), path(&name)).unwrap();
            name
        })
        .into();
    append(&open(&dir, false), &event("c", 1));
    let told = |braid: &Braid| {
        braid.refresh().unwrap();
        let findings = braid.epoch().findings.clone();
        findings.iter().filter(|finding| finding.kind == FindingKind::Dangling).map(|finding| finding.message.clone()).collect::<Vec<_>>()
    };
    let mut all = Vec::new();
    for first in [0, 1] {
        fs::remove_dir_all(dir.join("index")).unwrap();
        let bytes: Vec<Vec<u8>> = roots.iter().map(|name| fs::read(path(name)).unwrap()).collect();
        fs::remove_file(path(&roots[1 - first])).unwrap();
        let braid = open(&dir, false);
        fs::remove_file(path(&roots[first])).unwrap();
        all.extend(told(&braid));
        all.extend(told(&open(&dir, false)));
        roots.iter().zip(bytes).for_each(|(name, bytes)| fs::write(path(name), bytes).unwrap());
    }
    assert_eq!(all.len(), 4);
    all.dedup();
    assert_eq!(all.len(), 1, "{all:?}");
}

/// Git makes a file anew, and it gets the inode that it had; no hint tells a store that is not followed.
#[test]
fn what_was_rewritten_under_its_inode_is_seen_by_a_refresh_of_a_store_that_is_not_followed() {
    let (_temp, dir) = store();
    let braid = open(&dir, false);
    let path = dir.join(format!("events/{}.jsonl", append(&braid, &event("s", 1)).transaction_id));
    let whole = fs::read_to_string(&path).unwrap();
    for (text, kind) in [(whole.replace('\n', "\r\n"), FindingKind::Healed), (whole.replace(":1}", ":7}"), FindingKind::Quarantined)] {
        fs::write(&path, text).unwrap();
        braid.refresh().unwrap();
        assert!(kinds(&braid).contains(&kind), "{:?}", kinds(&braid));
        fs::write(&path, &whole).unwrap();
        braid.refresh().unwrap();
        assert_eq!(kinds(&braid), []);
    }
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
    // Nothing can undo it, so it is no fault that stays for ever.
    let told = braid.epoch().findings.iter().find(|finding| finding.kind == FindingKind::DeliveredTwice).map(|finding| finding.severity);
    assert_eq!(told, Some(Severity::Info));
    assert!(append(&braid, &keyed).repeated);
    fs::remove_file(dir.join(&name)).unwrap();
    braid.refresh().unwrap();
    assert!(!kinds(&braid).contains(&FindingKind::DeliveredTwice));
}

/// A moment without descriptors tells nothing of a file: for want of one it was refused until somebody touched it, and an append that
/// expected what it held was taken.
#[test]
fn a_file_that_cannot_be_read_for_a_moment_is_no_refused_one() {
    let (_temp, dir) = store();
    let expects = "{\"expect\":{\"s\":\"none\"}}\n";
    let (_other, other) = store();
    let name = format!("events/{}.jsonl", append(&open(&other, false), &event("s", 1)).transaction_id);
    for (follow, errno) in [(true, Errno::EMFILE), (false, Errno::ENFILE), (true, Errno::ENOMEM)] {
        let (disk, twin) = crate::disk::Disk::faulty(&dir).unwrap();
        let options = OpenOptions { follow, disk, ..OpenOptions::default() };
        let braid = Braid::open(&dir, &options).unwrap();
        braid.wait_ready().unwrap();
        twin.fail_at(crate::disk::Op::Read, Path::new(&name), errno);
        fs::copy(other.join(&name), dir.join(&name)).unwrap();
        if follow {
            let epoch = braid.wait(|epoch| !epoch.findings.is_empty(), Duration::from_secs(60)).unwrap();
            let kinds: Vec<FindingKind> = epoch.findings.iter().map(|finding| finding.kind).collect();
            assert_eq!(kinds, [FindingKind::OutOfReach], "{:?}", epoch.findings);
        } else {
            assert_eq!(braid.refresh().unwrap_err().errno, errno);
        }
        let refused = braid.append(draft(&format!("{expects}{}", event("s", 2)))).unwrap_err();
        assert_eq!(refused.errno(), errno, "{refused}");
        assert!(braid.epoch().quarantined.is_empty());
        twin.heal();
        let shown = || if follow { braid.epoch() } else { braid.refresh().unwrap() };
        let start = std::time::Instant::now();
        while shown().index.log.events.is_empty() || !shown().findings.is_empty() {
            assert!(start.elapsed() < Duration::from_secs(60), "{:?}", shown().findings);
            std::thread::sleep(Duration::from_millis(10));
        }
        let refused = braid.append(draft(&format!("{expects}{}", event("s", 2)))).unwrap_err();
        assert!(matches!(refused, AppendError::Rejected(_)), "{refused}");
        drop(braid);
        // At the start it is the same.
        fs::remove_dir_all(dir.join("index")).unwrap();
        let (disk, twin) = crate::disk::Disk::faulty(&dir).unwrap();
        twin.fail_at(crate::disk::Op::Read, Path::new(&name), errno);
        let braid = Braid::open(&dir, &OpenOptions { follow, disk, ..OpenOptions::default() }).unwrap();
        assert_eq!(braid.wait_ready().unwrap_err().errno, errno);
        drop(braid);
        fs::remove_file(dir.join(&name)).unwrap();
        fs::remove_dir_all(dir.join("index")).unwrap();
    }
}

/// What a failing disk does not give may be whole: its cure takes nothing out of the store, and it is looked at again.
#[test]
fn a_file_that_the_disk_does_not_give_is_looked_at_again() {
    let (_temp, dir) = store();
    let name = format!("{}.jsonl", append(&open(&dir, false), &event("s", 1)).transaction_id);
    fs::remove_dir_all(dir.join("index")).unwrap();
    let (disk, twin) = crate::disk::Disk::faulty(&dir).unwrap();
    twin.fail_at(crate::disk::Op::Read, &Path::new("events").join(&name), Errno::EIO);
    let braid = Braid::open(&dir, &OpenOptions { follow: true, disk, ..OpenOptions::default() }).unwrap();
    braid.wait_ready().unwrap();
    let told = || braid.survey().unwrap().findings.iter().map(|finding| (finding.kind, finding.hint.clone())).collect::<Vec<_>>();
    let cure = format!("dmesg   # tells why; it is looked at again, and its bytes may be in git: git checkout HEAD -- events/{name}");
    assert_eq!(told(), [(FindingKind::Quarantined, cure)]);
    let number = braid.epoch().number;
    twin.forget_ops();
    // Who comes the second time has shown what was found the first.
    twin.wait_looks(|looks| looks.iter().filter(|(op, path)| *op == crate::disk::Op::Read && path.ends_with(&name)).count() >= 2);
    assert_eq!(braid.epoch().number, number, "to find it as it was is nothing new");
    twin.heal();
    let epoch = braid.wait(|epoch| epoch.index.log.events.len() == 1, Duration::from_secs(60)).unwrap();
    assert!(epoch.findings.is_empty(), "{:?}", epoch.findings);
}

/// Story: who reads everything anew knows no file of the events that such a file holds, and told them as gone besides.
#[test]
fn what_the_disk_does_not_give_is_not_told_as_gone() {
    let (_temp, dir) = store();
    let name = format!("{}.jsonl", append(&open(&dir, false), &event("s", 1)).transaction_id);
    append(&open(&dir, false), &event("s", 2));
    let (disk, twin) = crate::disk::Disk::faulty(&dir).unwrap();
    twin.fail_at(crate::disk::Op::Read, &Path::new("events").join(&name), Errno::EIO);
    let options = OpenOptions { read_only: true, from_scratch: true, disk, ..OpenOptions::default() };
    let braid = Braid::open(&dir, &options).unwrap();
    let kinds: Vec<FindingKind> = braid.survey().unwrap().findings.iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, [FindingKind::Quarantined, FindingKind::Dangling], "{:?}", braid.epoch().findings);
}

/// Story: a link whose facts the disk does not give was told as one that leads nowhere, its events as gone, and one that leads in a circle as
/// a disk that fails.
#[test]
fn a_link_that_cannot_be_followed_is_told_for_what_it_is() {
    let (temp, dir) = store();
    let name = format!("{}.jsonl", append(&open(&dir, false), &event("s", 1)).transaction_id);
    let (place, away) = (dir.join("events").join(&name), temp.path().join("away"));
    fs::rename(&place, &away).unwrap();
    std::os::unix::fs::symlink(&away, &place).unwrap();
    let told =
        |braid: &Braid| braid.survey().unwrap().findings.iter().map(|finding| (finding.kind, finding.message.clone())).collect::<Vec<_>>();
    for from_scratch in [false, true] {
        let (disk, twin) = crate::disk::Disk::faulty(&dir).unwrap();
        for op in [crate::disk::Op::Stat, crate::disk::Op::Read] {
            twin.fail_at(op, &Path::new("events").join(&name), Errno::EIO);
        }
        let braid = Braid::open(&dir, &OpenOptions { read_only: true, from_scratch, disk, ..OpenOptions::default() }).unwrap();
        // Here the link's own facts are not given either.
        let told: Vec<_> = told(&braid).into_iter().filter(|(kind, _)| *kind != FindingKind::OutOfReach).collect();
        assert!(matches!(&told[..], [(FindingKind::Quarantined, message)] if message.contains("Input/output error")), "{told:?}");
    }
    for follow in [true, false] {
        let braid = open(&dir, follow);
        fs::remove_file(&place).unwrap();
        std::os::unix::fs::symlink(&name, &place).unwrap();
        if follow {
            braid.wait(|epoch| !epoch.findings.is_empty(), Duration::from_secs(60)).unwrap();
        }
        braid.refresh().unwrap();
        let told = told(&braid);
        let link = (
            FindingKind::UnreadableByEventcore,
            format!("\"{name}\" is a broken link: eventcore-fs cannot open this store while it is there"),
        );
        assert!(told.len() == 2 && told.contains(&link), "{told:?}");
        drop(braid);
        fs::remove_file(&place).unwrap();
        std::os::unix::fs::symlink(&away, &place).unwrap();
    }
}

/// Story: a file system that had shut itself down was told as a store that was moved away.
#[test]
fn a_disk_that_does_not_answer_is_told_as_that() {
    let (_temp, dir) = store();
    append(&open(&dir, false), &event("s", 1));
    let (disk, twin) = crate::disk::Disk::faulty(&dir).unwrap();
    let braid = Braid::open(&dir, &OpenOptions { follow: true, disk, ..OpenOptions::default() }).unwrap();
    braid.wait_ready().unwrap();
    twin.fail_at(crate::disk::Op::Stat, Path::new(""), Errno::EIO);
    fs::write(dir.join("events/new.jsonl"), "{}").unwrap();
    let epoch = braid.wait(|epoch| !epoch.findings.is_empty(), Duration::from_secs(60)).unwrap();
    let told = &epoch.findings[0];
    assert_eq!(told.kind, FindingKind::OutOfReach);
    assert!(told.message.contains("store\" cannot be looked at: Input/output error"), "{}", told.message);
    assert!(told.hint.contains("dmesg"), "{}", told.hint);
    assert_eq!(braid.append(draft(&event("s", 2))).unwrap_err().errno(), Errno::EIO);
    twin.heal();
    braid.wait(|epoch| epoch.quarantined.len() == 1, Duration::from_secs(60)).unwrap();
    append(&braid, &event("s", 2));
}

#[test]
fn files_that_cannot_be_listed_are_an_error_until_they_can() {
    let (_temp, dir) = store();
    append(&open(&dir, false), &event("s", 1));
    let (disk, twin) = crate::disk::Disk::faulty(&dir).unwrap();
    twin.fail(crate::disk::Op::List, 0, None, Errno::EIO);
    let braid = Braid::open(&dir, &OpenOptions { follow: true, from_scratch: true, disk, ..OpenOptions::default() }).unwrap();
    for failure in [braid.wait_ready().unwrap_err(), braid.wait_ordered().unwrap_err()] {
        assert!(failure.message.contains("events\" cannot be listed: Input/output error"), "{}", failure.message);
        assert!(failure.hint.contains("dmesg"), "{}", failure.hint);
    }
    assert!(braid.append(draft(&event("s", 2))).is_err());
    let told = &braid.epoch().findings[0];
    assert_eq!((told.kind, told.severity), (FindingKind::OutOfReach, Severity::Error));
    assert!(told.message.contains("events\" cannot be listed: Input/output error"), "{}", told.message);
    assert!(told.hint.contains("dmesg"), "{}", told.hint);
    // Who follows the log meanwhile takes no event for gone.
    braid.save_checkpoint("c", 1, false).unwrap();
    twin.heal();
    let epoch = braid.wait(|epoch| epoch.progress.ready, Duration::from_secs(60)).unwrap();
    assert_eq!((epoch.index.transactions.valid_count(), epoch.progress.failed), (1, false));
    braid.wait(|epoch| epoch.findings.is_empty(), Duration::from_secs(60)).unwrap();
    append(&braid, &event("s", 2));
    let feed = text(&braid.tree(), "feed.jsonl");
    assert_eq!(feed.lines().count(), 2, "{feed}");
}
