#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::fs;
use std::io::Write as _;
use std::time::Duration;

use super::*;

fn id(n: u128) -> EventId {
    EventId(Uuid::from_u128(n))
}

fn line(n: u128, seq: u64) -> String {
    format!("{{\"event_id\":\"{}\",\"seq\":{seq}}}\n", id(n))
}

fn store_with_log(dir: &std::path::Path, log: &str) -> Store {
    let store = Store::init(dir, &Disk::real()).unwrap();
    fs::create_dir_all(store.layout().index()).unwrap();
    fs::write(store.layout().ingestion_log(), log).unwrap();
    store
}

fn lock(store: &Store) -> CommitLock {
    store.lock(Duration::from_secs(30)).unwrap()
}

#[test]
fn numbers_begin_at_1_and_are_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::init(dir.path(), &Disk::real()).unwrap();
    let mut log = IngestionLog::read(&store).unwrap();
    assert_eq!(log.append(&lock(&store), &[id(7), id(8)]).unwrap(), 1);
    assert_eq!(log.append(&lock(&store), &[id(9)]).unwrap(), 3);
    assert_eq!(log.synced_seq_nr(), 0);
    log.sync().unwrap();
    assert_eq!(log.synced_seq_nr(), 3);
    assert_eq!(fs::read_to_string(store.layout().ingestion_log()).unwrap(), line(7, 1) + &line(8, 2) + &line(9, 3));
    assert_eq!(IngestionLog::read(&store).unwrap().ids(), [id(7), id(8), id(9)]);
}

#[test]
fn a_torn_end_is_not_read_and_the_next_append_cuts_it_off() {
    for torn in ["{\"event_id\":\"0000", "{\"event_id\":\"x\"}\n", "\0\0\0\0", "\0\n\0\0\n", &line(2, 2)[..50]] {
        let dir = tempfile::tempdir().unwrap();
        let store = store_with_log(dir.path(), &(line(1, 1) + torn));
        let mut log = IngestionLog::read(&store).unwrap();
        assert!(log.is_torn() && log.problems().is_empty(), "{torn:?}");
        let mut repaired = IngestionLog::read(&store_with_log(&dir.path().join("b"), &(line(1, 1) + torn))).unwrap();
        let other = Store::open(&dir.path().join("b"), &Disk::real(), crate::store::Mode::Writable).unwrap();
        let mut repair = || repaired.repair(&lock(&other)).unwrap();
        assert_eq!((repair(), repair()), (Repaired::CutOff, Repaired::Nothing));
        assert_eq!(fs::read_to_string(other.layout().ingestion_log()).unwrap(), line(1, 1));
        assert_eq!(log.append(&lock(&store), &[id(5)]).unwrap(), 2);
        assert_eq!(fs::read_to_string(store.layout().ingestion_log()).unwrap(), line(1, 1) + &line(5, 2));
        assert!(!log.is_torn());
    }
}

/// Story: eventcore-fs counts such a line, so that its event had another number here than there.
#[test]
fn a_last_line_that_lacks_only_its_end_keeps_its_number() {
    let dir = tempfile::tempdir().unwrap();
    let whole = line(1, 1) + &line(2, 2);
    let store = store_with_log(dir.path(), whole.trim_end());
    let mut log = IngestionLog::read(&store).unwrap();
    assert_eq!((log.ids(), log.is_torn()), (&[id(1)][..], true));
    assert_eq!(log.repair(&lock(&store)).unwrap(), Repaired::Ended);
    assert_eq!(log.refresh().unwrap(), Refreshed::Grew(2));
    assert_eq!(
        (log.ids(), log.is_torn(), fs::read_to_string(store.layout().ingestion_log()).unwrap()),
        (&[id(1), id(2)][..], false, whole)
    );
    // Who appends meets it as a line of another program.
    fs::write(store.layout().ingestion_log(), line(1, 1) + line(2, 2).trim_end()).unwrap();
    let mut log = IngestionLog::read(&store).unwrap();
    assert!(matches!(log.append(&lock(&store), &[id(3)]), Err(LogError::Changed)));
    assert_eq!(log.refresh().unwrap(), Refreshed::Grew(2));
    assert_eq!(log.append(&lock(&store), &[id(3)]).unwrap(), 3);
    assert_eq!(IngestionLog::read(&store).unwrap().ids(), [id(1), id(2), id(3)]);
    // A number that no log of this length has is no line of it.
    let mut odd = IngestionLog::read(&store_with_log(&dir.path().join("b"), &(line(1, 1) + line(2, u64::MAX).trim_end()))).unwrap();
    let other = Store::open(&dir.path().join("b"), &Disk::real(), crate::store::Mode::Writable).unwrap();
    assert_eq!(odd.repair(&lock(&other)).unwrap(), Repaired::CutOff);
}

#[test]
fn odd_lines_in_the_middle_are_told_and_change_no_other_number() {
    let dir = tempfile::tempdir().unwrap();
    let log = line(1, 1) + "garbage\n" + &line(3, 3) + &line(4, 2) + "\n{ \"seq\": 4, \"event_id\": \"" + &id(9).to_string() + "\" }\n";
    let store = store_with_log(dir.path(), &log);
    let mut log = IngestionLog::read(&store).unwrap();
    assert_eq!(log.ids(), [id(1), id(0), id(3), id(9)]);
    assert_eq!(
        log.problems(),
        [LogProblem::Unreadable { seq_nr: 2 }, LogProblem::Skipped { first: 2, seq_nr: 3 }, LogProblem::Repeated { seq_nr: 2 }]
    );
    log.rewrite(&lock(&store)).unwrap();
    let again = IngestionLog::read(&store).unwrap();
    assert_eq!((again.ids(), again.problems().len()), (log.ids(), 0));
}

/// Story: one bent digit took the numbers of the twenty whole lines behind it, and a checkpoint on one of them.
#[test]
fn a_damaged_number_takes_no_other_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let log = line(1, 1) + &line(2, 20) + &line(3, 3) + &line(4, 4) + &line(9, 9) + &line(10, 10);
    let log = IngestionLog::read(&store_with_log(dir.path(), &log)).unwrap();
    assert_eq!(log.ids(), [1, 0, 3, 4, 0, 0, 0, 0, 9, 10].map(id));
    assert_eq!(log.problems(), [LogProblem::Skipped { first: 2, seq_nr: 3 }, LogProblem::Skipped { first: 5, seq_nr: 9 }]);
}

#[test]
fn a_number_far_beyond_the_log_reserves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_with_log(dir.path(), &(line(1, 1) + &line(2, u64::MAX)));
    assert_eq!(IngestionLog::read(&store).unwrap().ids(), [id(1)]);
}

#[test]
fn lines_of_another_program_are_found_and_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_with_log(dir.path(), &line(1, 1));
    let mut log = IngestionLog::read(&store).unwrap();
    assert_eq!(log.refresh().unwrap(), Refreshed::Same);
    let mut file = fs::OpenOptions::new().append(true).open(store.layout().ingestion_log()).unwrap();
    file.write_all((line(2, 2) + &line(3, 3)[..9]).as_bytes()).unwrap();
    assert!(matches!(log.append(&lock(&store), &[id(5)]), Err(LogError::Changed)));
    assert_eq!(log.refresh().unwrap(), Refreshed::Grew(2));
    file.write_all(&line(3, 3).as_bytes()[9..]).unwrap();
    assert_eq!(log.refresh().unwrap(), Refreshed::Grew(3));
    assert_eq!(log.append(&lock(&store), &[id(5)]).unwrap(), 4);
    assert_eq!(log.refresh().unwrap(), Refreshed::Same);
    assert_eq!(IngestionLog::read(&store).unwrap().ids(), [id(1), id(2), id(3), id(5)]);
}

#[test]
fn a_log_that_is_removed_or_replaced_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_with_log(dir.path(), &(line(1, 1) + &line(2, 2)));
    let mut log = IngestionLog::read(&store).unwrap();
    fs::remove_file(store.layout().ingestion_log()).unwrap();
    assert!(matches!(log.append(&lock(&store), &[id(5)]), Err(LogError::Changed)));
    log.rewrite(&lock(&store)).unwrap();
    assert_eq!(log.refresh().unwrap(), Refreshed::Same);
    assert_eq!(IngestionLog::read(&store).unwrap().ids(), [id(1), id(2)]);
}

#[test]
fn a_log_that_has_lost_lines_keeps_every_number_and_is_written_again() {
    for left in [None, Some(String::new()), Some(line(1, 1)), Some("\0".repeat(2 * line(1, 1).len())), Some(line(1, 1) + "{\"ev")] {
        let dir = tempfile::tempdir().unwrap();
        let store = store_with_log(dir.path(), &(line(1, 1) + &line(2, 2)));
        let mut log = IngestionLog::read(&store).unwrap();
        let (path, digest) = (store.layout().ingestion_log(), log.digest_upto(2));
        match &left {
            None => fs::remove_file(&path).unwrap(),
            Some(left) => fs::write(&path, left).unwrap(),
        }
        log.distrust();
        assert_eq!(log.refresh().unwrap(), Refreshed::Lost, "{left:?}");
        log.distrust();
        assert_eq!(log.refresh().unwrap(), Refreshed::Same, "it is told once");
        assert!(log.is_lost() && !log.is_torn());
        assert_eq!(log.digest_upto(2), digest);
        assert_eq!(log.ids(), [id(1), id(2)]);
        assert!(matches!(log.append(&lock(&store), &[id(5)]), Err(LogError::Changed)));
        log.sync().unwrap();
        assert_eq!(fs::read_to_string(&path).ok(), left, "nothing is written over it before");
        log.rewrite(&lock(&store)).unwrap();
        assert!(!log.is_lost());
        assert_eq!(log.append(&lock(&store), &[id(5)]).unwrap(), 3);
        assert_eq!(IngestionLog::read(&store).unwrap().ids(), [id(1), id(2), id(5)]);
        // Another one is that, however short.
        fs::write(&path, line(7, 1)).unwrap();
        assert_eq!(log.refresh().unwrap(), Refreshed::Replaced);
    }
}

#[test]
fn the_digest_tells_logs_apart_at_every_number() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = IngestionLog::read(&store_with_log(dir.path(), &(line(1, 1) + &line(2, 2)))).unwrap();
    let (two, one) = (log.digest_upto(2), log.digest_upto(1));
    assert!(one.is_some() && two.is_some() && one != two);
    assert_eq!(log.digest_upto(2), two);
    assert_eq!(log.digest_upto(3), None);
    let other = tempfile::tempdir().unwrap();
    let mut other = IngestionLog::read(&store_with_log(other.path(), &(line(1, 1) + &line(3, 2)))).unwrap();
    assert_eq!(other.digest_upto(1), one);
    assert_ne!(other.digest_upto(2), two);
}

#[test]
fn the_position_of_a_number_is_that_of_eventcore_fs() {
    assert_eq!(position_of_seq_nr(258).to_string(), "00000000-0000-0102-0000-000000000000");
    assert_eq!(seq_nr_of_position(position_of_seq_nr(u64::MAX)), u64::MAX);
}

/// Lines that were on the disk were taken for unwritten where the new log's facts could not be read behind them, and numbered again.
#[test]
fn a_new_log_whose_facts_cannot_be_read_gives_no_number_twice() {
    for spared in 0..4 {
        let dir = tempfile::tempdir().unwrap();
        Store::init(dir.path(), &Disk::real()).unwrap();
        let (disk, twin) = Disk::faulty(dir.path()).unwrap();
        let store = Store::open(dir.path(), &disk, crate::store::Mode::Writable).unwrap();
        let mut log = IngestionLog::read(&store).unwrap();
        let lock = lock(&store);
        twin.fail(crate::disk::Op::Stat, spared, Some(1), crate::model::Errno::EIO);
        let failed = log.append(&lock, &[id(1), id(2)]).is_err();
        twin.heal();
        log.refresh().unwrap();
        if failed {
            assert_eq!(log.append(&lock, &[id(1), id(2)]).unwrap(), 1, "{spared}");
        }
        assert_eq!(fs::read_to_string(store.layout().ingestion_log()).unwrap(), line(1, 1) + &line(2, 2), "{spared}");
    }
}

/// Story: a later backup was copied over a store in use; the log seemed to have grown, and numbers that were shown belonged to other events.
#[test]
fn a_log_over_which_another_one_was_written_is_another_log() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_with_log(dir.path(), &(line(1, 1) + &line(2, 2)));
    let mut log = IngestionLog::read(&store).unwrap();
    log.append(&lock(&store), &[id(3), id(4)]).unwrap();
    log.distrust();
    assert_eq!(log.refresh().unwrap(), Refreshed::Same);
    let write = |ids: &[u128]| {
        let lines: String = ids.iter().zip(1..).map(|(&n, seq)| line(n, seq)).collect();
        fs::write(store.layout().ingestion_log(), lines).unwrap();
    };
    write(&[1, 2, 3, 9, 8]);
    assert_eq!(log.refresh().unwrap(), Refreshed::Replaced);
    assert_eq!(log.ids(), [1, 2, 3, 9, 8].map(id));
    write(&[1, 2, 3, 9, 8, 7]);
    assert_eq!(log.refresh().unwrap(), Refreshed::Grew(6));
    // Of the same length: who looks at its size alone sees nothing.
    write(&[1, 2, 3, 9, 8, 6]);
    assert_eq!(log.refresh().unwrap(), Refreshed::Same);
    log.distrust();
    assert_eq!(log.refresh().unwrap(), Refreshed::Replaced);
    assert_eq!(log.ids().last(), Some(&id(6)));
    log.rewrite(&lock(&store)).unwrap();
    log.distrust();
    assert_eq!(log.refresh().unwrap(), Refreshed::Same);
}
