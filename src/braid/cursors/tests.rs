//! Cursors of a library user.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::braid::tests::{self, open, store};
use crate::braid::{Braid, OpenOptions};
use crate::disk::{Disk, Op};
use crate::model::{Errno, FindingKind};
use crate::store::{CheckpointError, Standing};
use crate::view::FeedFilter;

fn append(braid: &Braid, stream: &str, event_type: &str) -> String {
    let text = format!("{{\"stream_id\":\"{stream}\",\"event_type\":\"{event_type}\",\"event_data\":1}}");
    tests::append(braid, &text).transaction_id.to_string()
}

fn seqs(braid: &Braid, after: u64, filter: &FeedFilter) -> (Vec<u64>, u64) {
    let page = braid.feed_after(after, filter);
    (page.events.iter().map(|event| event.seq_nr).collect(), page.next_seq)
}

#[test]
fn what_a_filter_passes_over_still_moves_the_cursor() {
    let (_temp, dir) = store();
    let braid = open(&dir, false);
    for (stream, event_type) in [("a-1", "Opened"), ("b-1", "Opened"), ("a-2", "Closed"), ("b-2", "Closed"), ("b-3", "Closed")] {
        append(&braid, stream, event_type);
    }
    let all = FeedFilter::default();
    assert_eq!(seqs(&braid, 0, &all), (vec![1, 2, 3, 4, 5], 5));
    assert_eq!(seqs(&braid, 3, &all), (vec![4, 5], 5));
    assert_eq!(seqs(&braid, 1, &FeedFilter { limit: 2, ..all.clone() }), (vec![2, 3], 3));
    assert_eq!(seqs(&braid, 0, &FeedFilter { limit: 0, ..all.clone() }), (vec![], 0));
    let a = FeedFilter { stream_prefix: Some("a-".to_owned()), ..all.clone() };
    assert_eq!(seqs(&braid, 0, &a), (vec![1, 3], 5));
    assert_eq!(seqs(&braid, 0, &FeedFilter { limit: 1, ..a.clone() }), (vec![1], 1));
    assert_eq!(seqs(&braid, 1, &FeedFilter { limit: 1, ..a }), (vec![3], 3));
    let glob = FeedFilter { stream_glob: Some("?-2".to_owned()), ..all.clone() };
    assert_eq!(seqs(&braid, 0, &glob), (vec![3, 4], 5));
    let closed = FeedFilter { event_type: Some("Closed".to_owned()), stream_prefix: Some("b".to_owned()), ..all.clone() };
    assert_eq!(seqs(&braid, 0, &closed), (vec![4, 5], 5));
    // A number that was not given yet is nobody's to rewind.
    assert_eq!(seqs(&braid, 9, &all), (vec![], 9));
    assert_eq!(braid.latest_seq_nr(), 5);
    let lines: Vec<u8> = braid.feed_after(2, &all).events.into_iter().flat_map(|event| event.line).collect();
    assert_eq!(lines, braid.tree().feed(2).read_all().unwrap());
}

#[test]
fn what_is_gone_is_said() {
    let (_temp, dir) = store();
    let braid = open(&dir, false);
    let first = append(&braid, "a", "T");
    append(&braid, "b", "T");
    fs::remove_file(dir.join(format!("events/{first}.jsonl"))).unwrap();
    braid.refresh().unwrap();
    let page = braid.feed_after(0, &FeedFilter::default());
    assert_eq!(page.events.iter().map(|event| event.gone).collect::<Vec<_>>(), [true, false]);
    assert!(String::from_utf8_lossy(&page.events[0].line).ends_with("\"gone\":true}\n"));
    assert_eq!(seqs(&braid, 0, &FeedFilter { event_type: Some("T".to_owned()), ..FeedFilter::default() }), (vec![2], 2));
}

#[test]
fn a_checkpoint_is_saved_listed_and_forgotten() {
    let (_temp, dir) = store();
    let braid = open(&dir, false);
    assert_eq!(braid.cursor("mail").unwrap(), 0);
    append(&braid, "a", "T");
    append(&braid, "b", "T");
    braid.save_checkpoint("mail", 1, false).unwrap();
    braid.save_checkpoint("bill/ing", 2, false).unwrap();
    assert_eq!(braid.save_checkpoint("mail", 3, true).unwrap_err().errno(), Errno::EINVAL);
    assert_eq!(braid.save_checkpoint("bill/ing", 1, false).unwrap_err().errno(), Errno::EINVAL);
    let all: Vec<_> = braid.checkpoints().unwrap().into_iter().map(|found| (found.name, found.seq_nr)).collect();
    assert_eq!(all, [("mail".to_owned(), 1), ("bill/ing".to_owned(), 2)]);
    drop(braid);
    let braid = open(&dir, false);
    assert_eq!(braid.cursor("bill/ing").unwrap(), 2);
    assert!(braid.forget_checkpoint("mail").unwrap() && !braid.forget_checkpoint("mail").unwrap());
    assert_eq!(braid.checkpoint("mail").unwrap(), None);
}

/// Story: in the first moments of a mount somebody held the lock for an instant, and a number that was on its way was refused.
#[test]
fn a_checkpoint_waits_for_the_numbers_of_events_that_are_here() {
    let (_temp, dir) = store();
    append(&open(&dir, false), "a", "T");
    fs::remove_file(dir.join("index/ingestion.log")).unwrap();
    let disk = Disk::default();
    let lock = disk.try_lock(&dir.join(".lock")).unwrap().unwrap();
    let (faulty, twin) = Disk::faulty(&dir).unwrap();
    let braid = Braid::open(&dir, &OpenOptions { follow: true, disk: faulty, ..OpenOptions::default() }).unwrap();
    braid.wait_ready().unwrap();
    assert_eq!(braid.latest_seq_nr(), 0);
    std::thread::scope(|scope| {
        twin.forget_ops();
        let saved = scope.spawn(|| braid.save_checkpoint("s", 1, false));
        // Some six looks are one try.
        twin.wait_looks(|looks| looks.iter().filter(|look| look.0 == Op::Lock).count() > 40);
        assert!(!saved.is_finished());
        drop(lock);
        saved.join().unwrap().unwrap();
    });
    assert_eq!((braid.cursor("s").unwrap(), braid.latest_seq_nr()), (1, 1));
    // What no event waits for is refused at once.
    let _lock = disk.try_lock(&dir.join(".lock")).unwrap().unwrap();
    assert_eq!(braid.save_checkpoint("s", 2, false).unwrap_err().errno(), Errno::EINVAL);
}

/// Story: whoever asked for a checkpoint took the hints as well, and nobody looked at what they told of before the second was over.
#[test]
fn who_asks_for_checkpoints_in_a_row_keeps_nobody_from_what_others_bring() {
    let ((_one, from), (_two, dir)) = (store(), store());
    let other = open(&from, false);
    let braid = open(&dir, true);
    let is_over = AtomicBool::new(false);
    let took: Duration = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                braid.cursor("s").unwrap();
            }
        });
        let bring = |n: usize| {
            let name = format!("events/{}.jsonl", append(&other, "a", "T"));
            let begun = Instant::now();
            fs::copy(from.join(&name), dir.join(&name)).unwrap();
            let came = braid.wait(|epoch| epoch.index.transactions.valid_count() as usize == n, Duration::from_secs(10));
            assert!(came.is_some());
            begun.elapsed()
        };
        let took = (1..=8).map(bring).sum();
        is_over.store(true, Ordering::Relaxed);
        took
    });
    assert!(took < Duration::from_secs(2), "eight took {took:?}");
}

#[test]
fn an_orphaned_checkpoint_is_said_and_refused_until_it_is_forgotten() {
    let ((_one, from), (_two, dir)) = (store(), store());
    let other = open(&from, false);
    append(&other, "a", "T");
    other.save_checkpoint("s", 1, false).unwrap();
    let braid = open(&dir, false);
    append(&braid, "b", "T");
    fs::create_dir_all(dir.join("checkpoints")).unwrap();
    fs::copy(from.join("checkpoints/73.json"), dir.join("checkpoints/73.json")).unwrap();
    let epoch = braid.refresh().unwrap();
    let kinds: Vec<FindingKind> = epoch.findings.iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, [FindingKind::OrphanedCheckpoint]);
    assert!(epoch.findings[0].message.contains("\"s\" at 1"), "{:?}", epoch.findings);
    assert_eq!(braid.checkpoint("s").unwrap().unwrap().standing, Standing::Orphaned);
    assert_eq!(braid.cursor("s").unwrap_err().errno(), Errno::ESTALE);
    assert_eq!(braid.save_checkpoint("s", 1, false).unwrap_err().errno(), Errno::ESTALE);
    braid.save_checkpoint("s", 1, true).unwrap();
    assert_eq!((braid.cursor("s").unwrap(), braid.epoch().findings.len()), (1, 0));
}

/// Story: one file that could not be read hid every other subscription, and nobody was told.
#[test]
fn a_checkpoint_that_holds_no_position_is_said_and_hides_no_other() {
    let (_temp, dir) = store();
    let braid = open(&dir, false);
    append(&braid, "a", "T");
    braid.save_checkpoint("s", 1, false).unwrap();
    let told = || -> Vec<String> { braid.refresh().unwrap().findings.iter().map(|finding| finding.message.clone()).collect() };
    fs::write(dir.join("checkpoints/74.json"), "half a uu").unwrap();
    assert_eq!(told(), ["checkpoint \"t\" holds no position"]);
    assert_eq!(braid.checkpoints().unwrap().len(), 1);
    // What the disk does not give, for root too.
    fs::remove_file(dir.join("checkpoints/74.json")).unwrap();
    std::os::unix::fs::symlink("74.json", dir.join("checkpoints/74.json")).unwrap();
    assert!(told()[0].contains("checkpoints/74.json\" cannot be read"), "{:?}", told());
    assert_eq!(braid.epoch().checkpoints.len(), 1);
    braid.forget_checkpoint("t").unwrap();
    assert_eq!(told(), [""; 0]);
}

#[test]
fn a_removed_index_orphans_what_was_counted_by_it() {
    let (_temp, dir) = store();
    let braid = open(&dir, false);
    append(&braid, "a", "T");
    braid.save_checkpoint("s", 1, false).unwrap();
    drop(braid);
    // The same events in another order of arrival.
    fs::remove_dir_all(dir.join("index")).unwrap();
    fs::remove_dir_all(dir.join(".eventcore")).unwrap();
    let mut files: Vec<_> = fs::read_dir(dir.join("events")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let away = dir.join("away.jsonl");
    fs::rename(files.pop().unwrap(), &away).unwrap();
    let braid = open(&dir, false);
    append(&braid, "b", "T");
    fs::rename(&away, dir.join("events/away.jsonl")).unwrap();
    let epoch = braid.refresh().unwrap();
    assert!(epoch.findings.iter().any(|finding| finding.kind == FindingKind::OrphanedCheckpoint), "{:?}", epoch.findings);
    assert_eq!(braid.cursor("s").unwrap_err().errno(), Errno::ESTALE);
}

#[test]
fn one_leads_at_a_time() {
    let (_temp, dir) = store();
    let (one, two) = (open(&dir, false), open(&dir, false));
    let leadership = one.lead("s").unwrap().unwrap();
    assert!(two.lead("s").unwrap().is_none() && two.leader("s").unwrap().is_some());
    drop(leadership);
    assert!(two.lead("s").unwrap().is_some());
    let reader = Braid::open(&dir, &OpenOptions { read_only: true, ..OpenOptions::default() }).unwrap();
    assert_eq!(reader.lead("s").unwrap_err().errno(), Errno::EROFS);
    assert_eq!(reader.save_checkpoint("s", 0, false).unwrap_err().errno(), Errno::EROFS);
}

/// Where another log is put in the place of the one that a page was numbered by, its numbers stand for other events.
#[test]
fn a_page_of_numbers_that_were_given_anew_is_not_saved() {
    let (_temp, dir) = store();
    let braid = open(&dir, true);
    for _ in 0..4 {
        append(&braid, "s", "T");
    }
    let page = braid.feed_after(0, &FeedFilter::default());
    braid.save_page("m", &page).unwrap();
    append(&braid, "s", "T");
    let page = braid.feed_after(page.next_seq, &FeedFilter::default());
    let log = dir.join("index/ingestion.log");
    let ids: Vec<String> =
        fs::read_to_string(&log).unwrap().lines().map(|line| line.split(",\"seq\"").next().unwrap().to_owned()).collect();
    let other: String = ids.iter().rev().zip(1..).map(|(id, seq)| format!("{id},\"seq\":{seq}}}\n")).collect();
    fs::write(dir.join("other"), other).unwrap();
    fs::rename(dir.join("other"), &log).unwrap();
    fs::remove_dir_all(dir.join("checkpoints")).unwrap();
    let refused = braid.save_page("m", &page).unwrap_err();
    assert!(matches!(refused, CheckpointError::Orphaned { saved: 5, .. }), "{refused}");
    assert!(braid.checkpoint("m").unwrap().is_none());
    let again = braid.wait(|epoch| epoch.feed_shown == 5, Duration::from_secs(30)).is_some();
    assert!(again && braid.feed_after(0, &FeedFilter::default()).numbering != page.numbering);
    braid.save_page("m", &braid.feed_after(0, &FeedFilter::default())).unwrap();
}
