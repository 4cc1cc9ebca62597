#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::fs;
use std::path::Path;

use super::*;
use crate::disk::{Disk, Op};
use crate::model::EventId;
use crate::store::position_of_seq_nr;

fn ids(range: std::ops::Range<u128>) -> Vec<EventId> {
    range.map(|n| EventId(Uuid::from_u128(n))).collect()
}

fn store_of(dir: &Path, events: std::ops::Range<u128>) -> (Store, IngestionLog) {
    let store = Store::init(dir, &Disk::real()).unwrap();
    let mut log = IngestionLog::read(&store).unwrap();
    log.append(&store.lock(SAVE_WAIT).unwrap(), &ids(events)).unwrap();
    (store, log)
}

fn get(store: &Store, log: &mut IngestionLog) -> Option<(u64, Standing)> {
    store.checkpoint("s", log).unwrap().map(|checkpoint| (checkpoint.seq_nr, checkpoint.standing))
}

#[test]
fn a_number_is_saved_found_and_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut log) = store_of(dir.path(), 1..6);
    assert_eq!(get(&store, &mut log), None);
    for seq_nr in [0, 3, 3, 5] {
        store.save_checkpoint("s", seq_nr, &mut log, false).unwrap();
        assert_eq!(get(&store, &mut log), Some((seq_nr, Standing::Belongs)));
    }
    assert_eq!(log.synced_seq_nr(), 5);
    assert_eq!(fs::read_to_string(dir.path().join("checkpoints/73.json")).unwrap(), position_in(&mut log, 5).unwrap().to_string());
    assert_eq!(seq_nr_of_position(position_in(&mut log, 5).unwrap()), 5);
    assert_eq!(store.checkpoint_names().unwrap(), ["s"]);
    assert!(store.forget_checkpoint("s").unwrap());
    assert!(!store.forget_checkpoint("s").unwrap());
    assert_eq!(get(&store, &mut log), None);
}

#[test]
fn what_is_beyond_or_behind_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut log) = store_of(dir.path(), 1..4);
    for force in [false, true] {
        assert_eq!(store.save_checkpoint("s", 4, &mut log, force).unwrap_err().errno(), Errno::EINVAL);
    }
    store.save_checkpoint("s", 3, &mut log, false).unwrap();
    assert!(matches!(store.save_checkpoint("s", 2, &mut log, false), Err(CheckpointError::Behind { saved: 3, .. })));
    store.save_checkpoint("s", 2, &mut log, true).unwrap();
    assert_eq!(get(&store, &mut log), Some((2, Standing::Belongs)));
}

#[test]
fn names_have_a_length_and_any_characters() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut log) = store_of(dir.path(), 1..2);
    let longest = "é".repeat(61) + "x";
    assert_eq!(longest.len(), CHECKPOINT_NAME_BYTES_MAX);
    for name in ["../x", "a/b", longest.as_str()] {
        store.save_checkpoint(name, 1, &mut log, false).unwrap();
    }
    fs::write(dir.path().join("checkpoints/7A.json"), "").unwrap();
    fs::write(dir.path().join("checkpoints/7.json"), "").unwrap();
    assert_eq!(store.checkpoint_names().unwrap(), ["../x", "a/b", &longest]);
    let too_long = longest + "x";
    assert_eq!(store.save_checkpoint(&too_long, 1, &mut log, false).unwrap_err().errno(), Errno::ENAMETOOLONG);
    assert_eq!(store.checkpoint("", &mut log).unwrap_err().errno(), Errno::EINVAL);
}

#[test]
fn another_programs_number_is_taken_and_garbage_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut log) = store_of(dir.path(), 1..4);
    let file = dir.path().join("checkpoints/73.json");
    store.save_checkpoint("s", 1, &mut log, false).unwrap();
    fs::write(&file, position_of_seq_nr(3).to_string()).unwrap();
    assert_eq!(get(&store, &mut log), Some((3, Standing::Foreign)));
    fs::write(&file, position_of_seq_nr(4).to_string()).unwrap();
    assert_eq!(get(&store, &mut log), Some((4, Standing::Orphaned)));
    fs::write(&file, "3").unwrap();
    assert!(matches!(store.checkpoint("s", &mut log), Err(CheckpointError::Unreadable(_))));
    store.save_checkpoint("s", 3, &mut log, true).unwrap();
}

#[test]
fn a_checkpoint_in_another_log_is_orphaned_and_not_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut log) = store_of(dir.path(), 1..6);
    store.save_checkpoint("s", 4, &mut log, false).unwrap();
    // As after `git clean` of the index alone: the same events, taken in in another order.
    fs::remove_file(store.layout().ingestion_log()).unwrap();
    let mut log = IngestionLog::read(&store).unwrap();
    let lock = store.lock(SAVE_WAIT).unwrap();
    log.append(&lock, &ids(5..6)).unwrap();
    log.append(&lock, &ids(1..5)).unwrap();
    assert_eq!(get(&store, &mut log), Some((4, Standing::Orphaned)));
    let error = store.save_checkpoint("s", 5, &mut log, false).unwrap_err();
    assert_eq!(error.errno(), Errno::ESTALE);
    assert!(!error.hint().is_empty());
    store.save_checkpoint("s", 5, &mut log, true).unwrap();
    assert_eq!(get(&store, &mut log), Some((5, Standing::Belongs)));
}

#[test]
fn a_checkpoint_that_was_copied_from_another_store_is_orphaned() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, mut from_log) = store_of(one.path(), 1..6);
    let (to, mut log) = store_of(two.path(), 11..19);
    from.save_checkpoint("s", 4, &mut from_log, false).unwrap();
    to.save_checkpoint("t", 8, &mut log, false).unwrap();
    fs::copy(one.path().join("checkpoints/73.json"), two.path().join("checkpoints/73.json")).unwrap();
    assert_eq!(get(&to, &mut log), Some((4, Standing::Orphaned)));
    let all: Vec<_> = to.checkpoints(&mut log).unwrap().0.into_iter().map(|found| (found.name, found.standing)).collect();
    assert_eq!(all, [("s".to_owned(), Standing::Orphaned), ("t".to_owned(), Standing::Belongs)]);
}

#[test]
fn leadership_excludes_a_second_holder_and_ends_with_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = store_of(dir.path(), 1..2);
    let leader = store.lead("s").unwrap().unwrap();
    assert!(store.lead("s").unwrap().is_none());
    assert!(store.lead("t").unwrap().is_some());
    assert!(store.leader("s").unwrap().is_some());
    drop(leader);
    assert!(store.leader("s").unwrap().is_none());
    assert!(store.lead("s").unwrap().is_some());
}

#[test]
fn a_failed_sync_of_the_log_acknowledges_nothing() {
    let dir = tempfile::tempdir().unwrap();
    drop(store_of(dir.path(), 1..3));
    let (disk, twin) = Disk::faulty(dir.path()).unwrap();
    let store = Store::open(dir.path(), &disk, Mode::Writable).unwrap();
    let mut log = IngestionLog::read(&store).unwrap();
    log.append(&store.lock(SAVE_WAIT).unwrap(), &ids(3..5)).unwrap();
    twin.fail(Op::Sync, 0, Some(1), Errno::EIO);
    assert_eq!(store.save_checkpoint("s", 4, &mut log, false).unwrap_err().errno(), Errno::EIO);
    assert_eq!(get(&store, &mut log), None);
}

/// Appends and saves; tells after each step which numbers and which checkpoint were promised.
fn work(dir: &Path, disk: &Disk, promised: &mut (Vec<EventId>, u64)) -> Option<()> {
    let store = Store::open(dir, disk, Mode::Writable).ok()?;
    let mut log = IngestionLog::read(&store).ok()?;
    let lock = store.lock(SAVE_WAIT).ok()?;
    for (n, events) in [1..3, 3..4, 4..7].into_iter().enumerate() {
        log.append(&lock, &ids(events)).ok()?;
        if n == 2 {
            log.sync().ok()?;
        } else {
            store.save_checkpoint("s", log.latest_seq_nr(), &mut log, false).ok()?;
            promised.1 = log.latest_seq_nr();
        }
        promised.0 = log.ids().to_vec();
    }
    log.append(&lock, &ids(7..9)).ok()?;
    Some(())
}

#[test]
fn after_a_loss_of_power_no_promised_number_and_no_saved_checkpoint_is_lost() {
    for spared in 0.. {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("events")).unwrap();
        let (disk, twin) = Disk::faulty(dir.path()).unwrap();
        twin.crash_after(spared);
        let mut promised = (Vec::new(), 0);
        let ended = work(dir.path(), &disk, &mut promised);
        for loss in twin.losses() {
            let after = tempfile::tempdir().unwrap();
            twin.rebuild(after.path(), loss).unwrap();
            let store = Store::open(after.path(), &Disk::real(), Mode::Writable).unwrap();
            let mut log = IngestionLog::read(&store).unwrap();
            assert!(log.problems().is_empty() && log.ids().starts_with(&promised.0), "{spared} {loss:?}");
            let saved = get(&store, &mut log);
            assert!(saved.is_some_and(|(saved, _)| saved >= promised.1) || promised.1 == 0, "{spared} {loss:?} {saved:?}");
            assert_ne!(saved.map(|(_, standing)| standing), Some(Standing::Orphaned), "{spared} {loss:?}");
            // What was not promised gets the next numbers, and none of them twice.
            let next = log.append(&store.lock(SAVE_WAIT).unwrap(), &ids(50..52)).unwrap();
            assert!(next > promised.0.len() as u64);
            let again = IngestionLog::read(&store).unwrap();
            assert_eq!((again.ids(), again.problems(), again.is_torn()), (log.ids(), log.problems(), false));
        }
        if ended.is_some() {
            assert!(spared > 20);
            break;
        }
    }
}
