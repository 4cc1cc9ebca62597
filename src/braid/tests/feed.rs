//! The feed where its numbers are lost.

use std::time::Duration;

use super::*;
use crate::disk::{Disk, Op};
use crate::epoch::Epoch;

/// The events of the feed that are here, in its order.
fn order(braid: &Braid) -> Vec<String> {
    let feed = text(&braid.tree(), "feed.jsonl");
    let id = |line: &str| Some(line.split_once("\"event_id\":\"")?.1.get(..36)?.to_owned());
    feed.lines().filter(|line| !line.contains("\"gone\":true")).map(|line| id(line).unwrap()).collect()
}

/// Story: the own events got the first numbers, the end of a stream before its beginning that another working copy wrote.
#[test]
fn what_a_lost_log_has_numbered_keeps_its_order() {
    for is_open in [true, false] {
        let (_other_temp, other_dir) = store();
        let other = open(&other_dir, false);
        let ids: Vec<String> = (0..6).map(|n| append(&other, &event("s", n)).transaction_id.to_string()).collect();
        drop(other);
        let (_temp, dir) = store();
        let copy = |id: &String| fs::copy(other_dir.join(format!("events/{id}.jsonl")), dir.join(format!("events/{id}.jsonl"))).map(drop);
        let mut braid = open(&dir, true);
        // The end before the beginning, ours in between, and one that left and returned.
        for id in ids.iter().skip(3) {
            copy(id).unwrap();
        }
        braid.refresh().unwrap();
        append(&braid, &format!("{{\"expect\":{{\"s\":3}}}}\n{}{}", event("s", 10), event("s", 11)));
        for id in ids.iter().take(3) {
            copy(id).unwrap();
        }
        braid.refresh().unwrap();
        append(&braid, &event("t", 12));
        fs::remove_file(dir.join(format!("events/{}.jsonl", ids[4]))).unwrap();
        braid.refresh().unwrap();
        copy(&ids[4]).unwrap();
        braid.refresh().unwrap();
        let before = order(&braid);
        assert_eq!((before.len(), braid.epoch().feed_shown), (9, 10));
        if is_open {
            fs::remove_file(dir.join("index/ingestion.log")).unwrap();
        } else {
            drop(braid);
            // A base has the feed.
            drop(Braid::open(&dir, &OpenOptions { save_after: 0, ..OpenOptions::default() }).unwrap().wait_ready().unwrap());
            fs::remove_file(dir.join("index/ingestion.log")).unwrap();
            braid = open(&dir, true);
        }
        braid.refresh().unwrap();
        assert_eq!(order(&braid), before, "open: {is_open}");
        // Who knows every number writes each again; a saved index knows only their order.
        assert_eq!(braid.epoch().feed_shown, if is_open { 10 } else { 9 });
        append(&braid, &event("t", 13));
        assert_eq!(order(&braid)[..9], before);
        drop(braid);
        assert_eq!(order(&open(&dir, false))[..9], before);
    }
}

/// Story: who may write nothing reads a feed on while events leave and return, first alone, then beside somebody who writes.
#[test]
fn who_may_write_nothing_shows_no_number_as_gone_that_nobody_has_recorded() {
    let (_temp, dir) = store();
    let ids: Vec<String> = {
        let writer = open(&dir, false);
        (0..5).map(|n| append(&writer, &event("s", n)).transaction_id.to_string()).collect()
    };
    let file = |n: usize| dir.join(format!("events/{}.jsonl", ids[n]));
    let aside = dir.join("aside");
    let leave = |n| fs::rename(file(n), &aside).unwrap();
    let come_back = |n| fs::rename(&aside, file(n)).unwrap();
    let reader = Braid::open(&dir, &OpenOptions { follow: true, read_only: true, ..OpenOptions::default() }).unwrap();
    reader.wait_ready().unwrap();
    let feed = |braid: &Braid| text(&braid.tree(), "feed.jsonl");
    let whole = feed(&reader);
    assert_eq!(whole.lines().count(), 5);

    leave(2);
    reader.refresh().unwrap();
    let held = feed(&reader);
    assert!(held.lines().count() == 2 && whole.starts_with(&held), "{held}");
    let patience = Duration::from_secs(30);
    let waits = |epoch: &Epoch| epoch.findings.iter().find(|finding| finding.kind == FindingKind::FeedWaits).cloned();
    let told = reader.wait(|epoch| waits(epoch).is_some(), patience).and_then(|epoch| waits(&epoch)).expect("it says so");
    assert_eq!(told.message, "the feed ends before number 3: its event is gone, which nobody who may write has recorded yet");
    let fresh = Braid::open(&dir, &OpenOptions { read_only: true, ..OpenOptions::default() }).unwrap();
    fresh.wait_ready().unwrap();
    assert_eq!(feed(&fresh), held);

    come_back(2);
    reader.refresh().unwrap();
    assert_eq!(feed(&reader), whole);
    assert!(reader.wait(|epoch| waits(epoch).is_none(), patience).is_some());

    leave(3);
    reader.refresh().unwrap();
    assert_eq!(feed(&reader).lines().count(), 3);
    let writer = open(&dir, true);
    assert!(reader.wait(|epoch| epoch.feed_shown == 5, patience).is_some(), "it is recorded now");
    assert!(feed(&reader).lines().nth(3).unwrap().ends_with(",\"gone\":true}"));
    come_back(3);
    for braid in [&reader, &writer] {
        assert!(braid.wait(|epoch| epoch.feed_shown == 6, patience).is_some(), "it has a fresh number");
    }
    assert_eq!(feed(&reader), feed(&writer));
}

/// Story: two files come where nobody gives numbers; one of them repeats an event, which has its number already.
#[test]
fn who_may_write_nothing_says_how_many_events_wait_for_a_number() {
    let (_other_temp, other_dir) = store();
    let other = open(&other_dir, false);
    let (_temp, dir) = store();
    let repeated = format!("{{\"stream\":\"s\",\"type\":\"T\",\"data\":1,\"event_id\":\"{}\"}}\n", uuid::Uuid::from_u128(7));
    append(&open(&dir, false), &repeated);
    let files = [append(&other, &repeated), append(&other, &format!("{}{}", event("t", 1), event("t", 2)))];
    for committed in files {
        let name = format!("events/{}.jsonl", committed.transaction_id);
        fs::copy(other_dir.join(&name), dir.join(&name)).unwrap();
    }
    let reader = Braid::open(&dir, &OpenOptions { follow: true, read_only: true, ..OpenOptions::default() }).unwrap();
    let told = |epoch: &Epoch| {
        let of_kind = epoch.findings.iter().filter(|finding| finding.kind == FindingKind::FeedWaits);
        of_kind.map(|finding| finding.message.clone()).collect::<Vec<_>>()
    };
    let patience = Duration::from_secs(30);
    let epoch = reader.wait(|epoch| !told(epoch).is_empty(), patience).expect("it says so");
    assert_eq!((told(&epoch), epoch.feed_shown), (vec!["2 events wait for a number, which only who may write gives".to_owned()], 1));
    drop(open(&dir, false));
    let epoch = reader.wait(|epoch| told(epoch).is_empty(), patience).expect("they have one");
    assert_eq!(epoch.feed_shown, 3);
}

/// Story: the log was immutable; commits were answered, the feed stood still for good, and nothing said so.
#[test]
fn a_log_that_takes_no_line_is_told_until_it_does() {
    let (_temp, dir) = store();
    let (disk, twin) = Disk::faulty(&dir).unwrap();
    let braid = Braid::open(&dir, &OpenOptions { follow: true, disk, ..OpenOptions::default() }).unwrap();
    braid.wait_ready().unwrap();
    append(&braid, &event("s", 1));
    twin.fail_at(Op::Write, &dir.join("index/ingestion.log"), Errno::EPERM);
    append(&braid, &event("s", 2));
    let waits = |epoch: &Epoch| epoch.findings.iter().find(|finding| finding.kind == FindingKind::FeedWaits).cloned();
    let told = waits(&braid.epoch()).expect("it says so");
    assert!(told.message.starts_with("feed ends at 1, and what comes has no number: \""), "{}", told.message);
    assert!(told.hint.contains("lsattr"), "{}", told.hint);
    twin.heal();
    let patience = Duration::from_secs(30);
    let epoch = braid.wait(|epoch| epoch.feed_shown == 2, patience).expect("it is numbered");
    assert!(waits(&epoch).is_none());
}

/// Story: the log was zeroed or removed where nothing could be written, or `events/` not be looked at. The feed became empty, and nothing said so.
#[test]
fn a_lost_log_takes_nothing_out_of_the_feed_and_is_written_again_as_soon_as_it_can_be() {
    for is_zeroed in [false, true] {
        for (op, at) in [(Op::Create, "index/ingestion.log.tmp"), (Op::List, "events")] {
            let (_temp, dir) = store();
            let (disk, twin) = Disk::faulty(&dir).unwrap();
            let braid = Braid::open(&dir, &OpenOptions { follow: true, disk, ..OpenOptions::default() }).unwrap();
            braid.wait_ready().unwrap();
            (1..=3).for_each(|n| drop(append(&braid, &event("s", n))));
            let (log, feed) = (dir.join("index/ingestion.log"), text(&braid.tree(), "feed.jsonl"));
            let lines = fs::read(&log).unwrap();
            twin.fail_at(op, &dir.join(at), Errno::EACCES);
            if is_zeroed {
                fs::write(&log, vec![0; lines.len()]).unwrap();
            } else {
                fs::remove_file(&log).unwrap();
            }
            let waits = |epoch: &Epoch| epoch.findings.iter().find(|finding| finding.kind == FindingKind::FeedWaits).cloned();
            let patience = Duration::from_secs(30);
            let is_back = || fs::read(&log).is_ok_and(|now| now == lines);
            if op == Op::Create {
                let told = |epoch: &Epoch| waits(epoch).is_some_and(|told| told.message.contains("cannot be"));
                let epoch = braid.wait(told, patience).expect("it says so");
                assert_eq!(epoch.feed_shown, 3);
                assert!(waits(&epoch).unwrap().message.starts_with("index/ingestion.log has lost numbers"));
            }
            let _ = braid.refresh();
            assert_eq!(text(&braid.tree(), "feed.jsonl"), feed, "{is_zeroed} {op:?}");
            twin.heal();
            let epoch = braid.wait(|epoch| is_back() && waits(epoch).is_none(), patience).expect("it is written again");
            assert_eq!((epoch.feed_shown, text(&braid.tree(), "feed.jsonl")), (3, feed), "{is_zeroed} {op:?}");
            append(&braid, &event("s", 4));
            assert_eq!(braid.epoch().feed_shown, 4);
        }
    }
}

/// Story: a number of a log that was deleted stayed on record as gone, and the event that had it in the next log lost it at the next start.
#[test]
fn what_was_gone_in_a_log_that_was_deleted_is_not_gone_in_the_next() {
    let (_temp, dir) = store();
    let braid = open(&dir, true);
    let ids = [1, 2].map(|n| append(&braid, &event("s", n)).transaction_id);
    let path = dir.join(format!("events/{}.jsonl", ids[1]));
    let bytes = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    braid.refresh().unwrap();
    fs::write(&path, bytes).unwrap();
    braid.refresh().unwrap();
    assert_eq!(braid.epoch().feed_shown, 3, "2 is gone");
    drop(braid);
    fs::remove_file(dir.join("index/ingestion.log")).unwrap();
    let feed = || text(&open(&dir, false).tree(), "feed.jsonl");
    let first = feed();
    assert_eq!((first.lines().count(), first.contains("gone")), (2, false), "{first}");
    assert_eq!(feed(), first);
}
