//! The transactions of one replica id are one chain, whoever writes under it.

use super::*;

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
