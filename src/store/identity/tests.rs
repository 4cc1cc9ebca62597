#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use uuid::Uuid;

use super::*;
use crate::disk::Disk;

fn replica(n: u128) -> ReplicaId {
    ReplicaId(Uuid::from_u128(n))
}

fn transaction(n: u128) -> TransactionId {
    TransactionId(Uuid::from_u128(n))
}

fn minted(dir: &Path) -> (Store, Identity) {
    let store = Store::init(dir, &Disk::real()).unwrap();
    let mut identity = store.identity().unwrap();
    let lock = store.lock(Duration::from_secs(30)).unwrap();
    store.mint(&lock, &mut identity, MintReason::First, replica(1)).unwrap();
    (store, identity)
}

#[test]
fn the_first_write_mints_and_the_files_are_those_of_eventcore_fs() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::init(dir.path(), &Disk::real()).unwrap();
    assert_eq!(store.identity().unwrap().must_mint(|_| true), Some(MintReason::First));
    let (store, identity) = minted(dir.path());
    assert_eq!(fs::read_to_string(store.layout().replica_id()).unwrap(), replica(1).to_string());
    let fingerprint = fs::read_to_string(store.layout().replica_fingerprint()).unwrap();
    assert_eq!(fingerprint, format!("machine={};path={};git=none", disk::machine_id(), store.dir().display()));
    assert_eq!(store.identity().unwrap(), identity);
    assert_eq!(identity.must_mint(|_| false), None);
}

#[test]
fn a_last_transaction_that_is_gone_mints_and_both_ids_stay_ours() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut identity) = minted(dir.path());
    let lock = store.lock(Duration::from_secs(30)).unwrap();
    for n in [5, 6] {
        store.remember(&lock, &mut identity, transaction(n)).unwrap();
    }
    let mut identity = store.identity().unwrap();
    assert_eq!(identity.last_transaction, Some(transaction(6)));
    assert_eq!(identity.must_mint(|id| id == transaction(6)), None);
    let reason = identity.must_mint(|id| id == transaction(5)).unwrap();
    assert_eq!(reason, MintReason::LastTransactionGone);
    store.mint(&lock, &mut identity, reason, replica(2)).unwrap();
    assert_eq!(identity.own_replicas, [replica(1), replica(2)]);
    assert_eq!(store.identity().unwrap(), identity);
    assert_eq!(identity.last_transaction, None);
}

#[test]
fn a_copy_mints_even_where_its_fingerprint_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = minted(&dir.path().join("a"));
    let copy = dir.path().join("b");
    assert!(Command::new("cp").arg("-r").arg(store.dir()).arg(&copy).status().unwrap().success());
    let copy = Store::open(&copy, &Disk::real(), crate::store::Mode::Writable).unwrap();
    assert_eq!(copy.identity().unwrap().must_mint(|_| true), Some(MintReason::FingerprintDiffers));
    // As in two containers that share a path and have no machine id.
    fs::write(copy.layout().replica_fingerprint(), copy.fingerprint().unwrap()).unwrap();
    let mut identity = copy.identity().unwrap();
    assert_eq!(identity.must_mint(|_| true), Some(MintReason::DirectoryDiffers));
    let lock = copy.lock(Duration::from_secs(30)).unwrap();
    // What is found under the id of another place says nothing of this one.
    copy.remember(&lock, &mut identity, transaction(1)).unwrap();
    assert_eq!(copy.identity().unwrap().must_mint(|_| true), Some(MintReason::DirectoryDiffers));
    copy.mint(&lock, &mut identity, MintReason::DirectoryDiffers, replica(3)).unwrap();
    assert_eq!(copy.identity().unwrap().own_replicas, [replica(3)]);
}

#[test]
fn an_id_that_eventcore_fs_minted_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::init(dir.path(), &Disk::real()).unwrap();
    fs::create_dir_all(store.layout().eventcore()).unwrap();
    fs::write(store.layout().replica_id(), replica(9).to_string()).unwrap();
    fs::write(store.layout().replica_fingerprint(), store.fingerprint().unwrap()).unwrap();
    let mut identity = store.identity().unwrap();
    assert_eq!((identity.replica_id, identity.must_mint(|_| false)), (Some(replica(9)), None));
    let lock = store.lock(Duration::from_secs(30)).unwrap();
    store.remember(&lock, &mut identity, transaction(1)).unwrap();
    assert_eq!(store.identity().unwrap(), identity);
    // And again when it mints one in a store that we have written.
    fs::write(store.layout().replica_id(), replica(10).to_string()).unwrap();
    let identity = store.identity().unwrap();
    assert_eq!((identity.must_mint(|_| false), identity.own_replicas), (None, vec![replica(9), replica(10)]));
}

#[test]
fn what_cannot_be_read_mints() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = minted(dir.path());
    for (path, text) in [
        (store.layout().last_transaction(), "0000"),
        (store.record_path(), "{"),
        (store.layout().replica_fingerprint(), "machine=other"),
        (store.layout().replica_id(), "\0\0"),
    ] {
        fs::write(&path, text).unwrap();
        assert!(store.identity().unwrap().must_mint(|_| true).is_some(), "{path:?}");
    }
}

/// A program was killed while it minted, and the old id came back without its last transaction: two histories under one id.
#[test]
fn a_mint_that_was_cut_short_never_brings_the_old_id_back_without_what_it_wrote() {
    for reason in [MintReason::LastTransactionGone, MintReason::DirectoryDiffers] {
        for spared in 0.. {
            let dir = tempfile::tempdir().unwrap();
            let (store, mut identity) = minted(dir.path());
            store.remember(&store.lock(Duration::from_secs(30)).unwrap(), &mut identity, transaction(5)).unwrap();
            if reason == MintReason::DirectoryDiffers {
                let record: Record = serde_json::from_str(&fs::read_to_string(store.record_path()).unwrap()).unwrap();
                fs::write(store.record_path(), serde_json::to_vec(&Record { inode: record.inode + 1, ..record }).unwrap()).unwrap();
            }
            let (disk, twin) = Disk::faulty(dir.path()).unwrap();
            let broken = Store::open(dir.path(), &disk, crate::store::Mode::Writable).unwrap();
            let lock = broken.lock(Duration::from_secs(30)).unwrap();
            twin.crash_after(spared);
            let ended = broken.mint(&lock, &mut broken.identity().unwrap(), reason, replica(7)).is_ok();
            drop(lock);
            let left = store.identity().unwrap();
            let knows = left.replica_id == Some(replica(7)) || left.last_transaction == Some(transaction(5));
            assert!(left.must_mint(|_| true).is_some() || knows, "{reason:?} {spared} {left:?}");
            if ended {
                assert_eq!(left.replica_id, Some(replica(7)));
                assert!(spared > 6);
                break;
            }
        }
    }
}

#[test]
fn after_a_loss_of_power_a_replica_id_is_used_only_with_what_it_wrote() {
    for spared in 0.. {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("events")).unwrap();
        let (disk, twin) = Disk::faulty(dir.path()).unwrap();
        twin.crash_after(spared);
        let mut minted = false;
        let mut work = || -> disk::Result<()> {
            let store = Store::open(dir.path(), &disk, crate::store::Mode::Writable).unwrap();
            let lock = store.lock(Duration::from_secs(30)).unwrap();
            let mut identity = store.identity()?;
            store.mint(&lock, &mut identity, MintReason::First, replica(1))?;
            minted = true;
            (5..8).try_for_each(|n| store.remember(&lock, &mut identity, transaction(n)))
        };
        let ended = work().is_ok();
        for loss in twin.losses() {
            let after = tempfile::tempdir().unwrap();
            twin.rebuild(after.path(), loss).unwrap();
            let store = Store::open(after.path(), &Disk::real(), crate::store::Mode::ReadOnly).unwrap();
            // The rebuilt directory lies elsewhere; that alone is set right here.
            if store.layout().replica_fingerprint().exists() {
                fs::write(store.layout().replica_fingerprint(), store.fingerprint().unwrap()).unwrap();
            }
            if let Ok(record) = fs::read_to_string(store.record_path())
                && let Ok(record) = serde_json::from_str::<Record>(&record)
            {
                let (inode, birth_ns) = store.directory_mark().unwrap();
                fs::write(store.record_path(), serde_json::to_vec(&Record { inode, birth_ns, ..record }).unwrap()).unwrap();
            }
            let identity = store.identity().unwrap();
            let mints = identity.must_mint(|id| (5..8).any(|n| id == transaction(n))).is_some();
            assert!(!minted || identity.own_replicas == [replica(1)], "{spared} {loss:?} {identity:?}");
            // Either it is known for certain whose id it is, or it is not used again.
            assert!(mints || (identity.replica_id, identity.recorded) == (Some(replica(1)), true), "{spared} {loss:?} {identity:?}");
        }
        if ended {
            assert!(spared > 10);
            break;
        }
    }
}

#[test]
fn an_identity_that_was_taken_away_is_written_anew_unless_another_stands_there() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut identity) = minted(dir.path());
    let lock = store.lock(Duration::from_secs(30)).unwrap();
    for taken in [store.layout().private(), store.layout().eventcore()] {
        store.remember(&lock, &mut identity, transaction(5)).unwrap();
        fs::remove_dir_all(taken).unwrap();
        // Whoever needs the directory makes it.
        fs::create_dir_all(store.layout().private()).unwrap();
        store.remember(&lock, &mut identity, transaction(6)).unwrap();
        assert_eq!(store.identity().unwrap(), identity);
        assert_eq!((identity.replica_id, identity.last_transaction), (Some(replica(1)), Some(transaction(6))));
    }
    fs::remove_dir_all(store.layout().private()).unwrap();
    fs::write(store.layout().replica_id(), replica(2).to_string()).unwrap();
    store.remember(&lock, &mut identity, transaction(7)).unwrap();
    assert_eq!(identity.own_replicas, [replica(2)]);
    assert_eq!(identity.must_mint(|_| true), None);
}
