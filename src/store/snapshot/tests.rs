#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::disk::Disk;

fn new<'a>(name: &'a str, coverage: Coverage, state: &'a str) -> NewSnapshot<'a> {
    NewSnapshot { name, coverage, digest: "d".into(), saved_at: "2026-01-01T00:00:00Z".into(), state: state.as_bytes() }
}

fn save(store: &Store, new: &NewSnapshot<'_>) -> Result<SnapshotMeta, SnapshotError> {
    store.save_snapshot(&store.lock(Duration::from_secs(30)).unwrap(), new, 3, |_| false)
}

fn states(store: &Store, name: &str) -> Vec<String> {
    let metas = store.snapshots(name).unwrap();
    let state = |meta: &SnapshotMeta| store.snapshot(name, meta.ordinal).unwrap().unwrap().state;
    metas.iter().map(|meta| String::from_utf8(state(meta)).unwrap()).collect()
}

#[test]
fn the_last_ones_are_kept_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::init(dir.path(), &Disk::real()).unwrap();
    for n in 1..=5 {
        assert_eq!(save(&store, &new("s", Coverage::SeqNr(n), &format!("{{ \"n\":{n}}}\n\n"))).unwrap().ordinal, n);
    }
    assert_eq!(states(&store, "s"), [3, 4, 5].map(|n| format!("{{ \"n\":{n}}}\n\n")));
    assert_eq!(store.snapshots("s").unwrap()[2].coverage, Coverage::SeqNr(5));
    assert_eq!(states(&store, "t"), [""; 0]);
}

#[test]
fn an_older_state_never_replaces_a_newer_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::init(dir.path(), &Disk::real()).unwrap();
    let versions = |a, b| Coverage::Versions(vec![("a".to_owned(), a), ("b".to_owned(), b)]);
    save(&store, &new("s", Coverage::SeqNr(7), "7")).unwrap();
    let error = save(&store, &new("s", Coverage::SeqNr(6), "6")).unwrap_err();
    assert_eq!(error.errno(), Errno::ESTALE);
    save(&store, &new("s", Coverage::SeqNr(7), "7 again")).unwrap();
    save(&store, &new("v", versions(2, 2), "22")).unwrap();
    for older in [versions(1, 2), versions(3, 1), Coverage::Versions(vec![("a".to_owned(), 9)])] {
        assert_eq!(save(&store, &new("v", older, "old")).unwrap_err().errno(), Errno::ESTALE);
    }
    save(&store, &new("v", versions(2, 3), "23")).unwrap();
    let lock = store.lock(Duration::from_secs(30)).unwrap();
    store.save_snapshot(&lock, &new("s", Coverage::SeqNr(1), "forced"), 3, |_| true).unwrap();
    assert_eq!(states(&store, "s"), ["7", "7 again", "forced"]);
}

#[test]
fn no_name_leads_out_and_no_two_names_meet() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::init(dir.path(), &Disk::real()).unwrap();
    let long = "x".repeat(5000);
    let mut names = vec!["..", "../../x", "/etc", "a\0b", "a", "A", "é", &long, &long[1..]];
    for name in &names {
        save(&store, &new(name, Coverage::SeqNr(1), name)).unwrap();
    }
    for name in &names {
        assert_eq!(states(&store, name), [*name]);
    }
    names.sort();
    assert_eq!(store.found_snapshots().unwrap().iter().map(|found| found.name.as_str()).collect::<Vec<_>>(), names);
    let dirs = fs::read_dir(dir.path().join(".eventcore/braidfs/snapshots")).unwrap().count();
    assert_eq!(dirs, names.len());
    store.forget_snapshots(&store.lock(Duration::from_secs(30)).unwrap(), &long).unwrap();
    assert_eq!(states(&store, &long), [""; 0]);
    assert!(matches!(save(&store, &new("", Coverage::SeqNr(1), "")), Err(SnapshotError::Name)));
}

#[test]
fn what_is_not_whole_is_passed_by() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::init(dir.path(), &Disk::real()).unwrap();
    for n in 1..=3 {
        save(&store, &new("s", Coverage::SeqNr(n), "state")).unwrap();
    }
    let path = |n: u64| store.snapshot_dir("s").join(n.to_string());
    fs::write(path(1), "").unwrap();
    let whole = fs::read(path(2)).unwrap();
    fs::write(path(2), &whole[..whole.len() - 1]).unwrap();
    assert_eq!(store.snapshots("s").unwrap().iter().map(|meta| meta.ordinal).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(store.snapshot("s", 2).unwrap(), None);
    assert!(store.snapshot("s", 3).unwrap().is_some());
    let found = store.found_snapshots().unwrap();
    let whole = |found: &FoundSnapshot| found.meta.as_ref().map(|meta| store.is_whole(meta).unwrap());
    assert_eq!(found.iter().map(whole).collect::<Vec<_>>(), [None, Some(false), Some(true)]);
    assert!(found.iter().all(|found| found.name == "s"));
    // A state that is larger than what is read of it at once.
    let large = "x".repeat(3 * PIECE_BYTES + 5);
    assert!(store.is_whole(&save(&store, &new("t", Coverage::SeqNr(1), &large)).unwrap()).unwrap());
    assert_eq!(save(&store, &new("s", Coverage::SeqNr(4), "4")).unwrap().ordinal, 4);
}

/// Story: a directory that somebody made there hid every state of the name, and none could be saved.
#[test]
fn a_stray_directory_is_told_and_in_nobodys_way() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::init(dir.path(), &Disk::real()).unwrap();
    save(&store, &new("s", Coverage::SeqNr(1), "1")).unwrap();
    fs::create_dir(store.snapshot_dir("s").join("9")).unwrap();
    for n in 2..=14 {
        save(&store, &new("s", Coverage::SeqNr(n), &n.to_string())).unwrap();
    }
    assert_eq!(states(&store, "s"), ["12", "13", "14"]);
    let found = store.found_snapshots().unwrap();
    assert_eq!(found.iter().filter(|found| found.meta.is_none()).map(|found| found.ordinal).collect::<Vec<_>>(), [9]);
    assert_eq!(found.len(), 4);
}

#[test]
fn after_a_loss_of_power_a_saved_state_is_there_and_an_older_one_is_not_lost() {
    let script = |dir: &Path, disk: &Disk| -> u64 {
        let store = Store::open(dir, disk, crate::store::Mode::Writable).unwrap();
        let mut answered = 0;
        for n in 1..=3 {
            let Ok(lock) = store.lock(Duration::from_secs(30)) else { break };
            match store.save_snapshot(&lock, &new("s", Coverage::SeqNr(n), &format!("state {n}")), 1, |_| false) {
                Ok(_) => answered = n,
                Err(_) => break,
            }
        }
        answered
    };
    for spared in 0.. {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("events")).unwrap();
        let (disk, twin) = Disk::faulty(dir.path()).unwrap();
        twin.crash_after(spared);
        let answered = script(dir.path(), &disk);
        for loss in twin.losses() {
            let after = tempfile::tempdir().unwrap();
            twin.rebuild(after.path(), loss).unwrap();
            let store = Store::open(after.path(), &Disk::real(), crate::store::Mode::ReadOnly).unwrap();
            let latest = store.snapshots("s").unwrap().pop().map_or(0, |meta| {
                let snapshot = store.snapshot("s", meta.ordinal).unwrap().unwrap();
                assert_eq!(snapshot.state, format!("state {}", meta.ordinal).into_bytes());
                meta.ordinal
            });
            assert!(latest >= answered, "{spared} {loss:?}");
        }
        if !twin.has_crashed() {
            assert!(answered == 3 && spared > 10);
            break;
        }
    }
}
