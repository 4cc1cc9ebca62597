//! Losses of power at every step of a consumer's work: what was shown or acknowledged is the same afterwards.

use std::fs;
use std::path::Path;

use crate::braid::{Braid, OpenOptions};
use crate::disk::Disk;
use crate::format::draft::{DraftKind, parse_draft};
use crate::model::{EventId, SnapshotRequest};
use crate::store::Standing;
use crate::view::FeedFilter;

/// What a user was told.
#[derive(Default)]
struct Promised {
    /// The events by number, as far as they were shown.
    shown: Vec<EventId>,
    checkpoint: Option<u64>,
    snapshot: Option<u64>,
}

fn open(dir: &Path, disk: &Disk) -> Option<Braid> {
    let braid = Braid::open(dir, &OpenOptions { threads: 1, disk: disk.clone(), ..OpenOptions::default() }).ok()?;
    braid.wait_ready().ok()?;
    Some(braid)
}

fn shown(braid: &Braid) -> Vec<EventId> {
    braid.feed_after(0, &FeedFilter { limit: u64::MAX, ..FeedFilter::default() }).events.into_iter().map(|event| event.event_id).collect()
}

fn append(braid: &Braid, stream: &str) -> Option<()> {
    let text = format!("{{\"stream_id\":\"{stream}\",\"event_type\":\"T\",\"event_data\":1}}");
    braid.append(parse_draft(text.as_bytes(), DraftKind::Lines).unwrap()).ok().map(drop)
}

fn save(braid: &Braid, promised: &mut Promised) -> Option<()> {
    let latest = braid.latest_seq_nr();
    braid.save_checkpoint("s", latest, false).ok()?;
    promised.checkpoint = Some(latest);
    let request = SnapshotRequest { name: "s".to_owned(), seq_nr: Some(latest), versions: Vec::new(), state: "[]".to_owned() };
    braid.save_snapshot(request).ok()?;
    promised.snapshot = Some(latest);
    Some(())
}

/// Commits, takes in another's file, saves; tells after each step what was promised. None once the power is gone.
fn work(dir: &Path, disk: &Disk, foreign: &(String, Vec<u8>), promised: &mut Promised) -> Option<()> {
    let braid = open(dir, disk)?;
    append(&braid, "a")?;
    promised.shown = shown(&braid);
    save(&braid, promised)?;
    append(&braid, "b")?;
    promised.shown = shown(&braid);
    // As git does: nothing is synced.
    disk.write_new(&dir.join("events").join(&foreign.0), &foreign.1).ok()?;
    braid.refresh().ok()?;
    promised.shown = shown(&braid);
    save(&braid, promised)?;
    append(&braid, "c")?;
    promised.shown = shown(&braid);
    Some(())
}

fn check(dir: &Path, promised: &Promised, at: &str) {
    let braid = open(dir, &Disk::real()).unwrap();
    let now = shown(&braid);
    assert!(now.starts_with(&promised.shown), "{at}: {now:?} after {:?}", promised.shown);
    let mut once = now.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), now.len(), "{at}: a number twice");
    if let Some(saved) = promised.checkpoint {
        let checkpoint = braid.checkpoint("s").unwrap().unwrap();
        assert!(checkpoint.seq_nr >= saved && checkpoint.seq_nr <= now.len() as u64, "{at}: {checkpoint:?} after {saved}");
        assert_eq!(checkpoint.standing, Standing::Belongs, "{at}");
    }
    if let Some(saved) = promised.snapshot {
        let newest = braid.snapshots().iter().rev().find(|one| one.meta.name == "s").cloned().unwrap();
        // One whose file the loss took is stale, and said to be so; the state itself is there.
        assert!(newest.meta.coverage == crate::store::Coverage::SeqNr(saved) || newest.meta.ordinal > 1, "{at}: {newest:?}");
    }
    // What comes now gets the next number.
    append(&braid, "d").unwrap();
    assert_eq!(shown(&braid).len(), now.len() + 1, "{at}");
}

#[test]
fn no_number_is_given_twice_or_skipped_and_no_saved_one_points_past_a_lost_one() {
    let other = tempfile::tempdir().unwrap();
    Braid::init(other.path()).unwrap();
    append(&open(other.path(), &Disk::real()).unwrap(), "other").unwrap();
    let file = fs::read_dir(other.path().join("events")).unwrap().next().unwrap().unwrap();
    let foreign = (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap());
    let mut tried = 0;
    for spared in (0..).step_by(3) {
        let dir = tempfile::tempdir().unwrap();
        Braid::init(dir.path()).unwrap();
        let (disk, twin) = Disk::faulty(dir.path()).unwrap();
        twin.crash_after(spared);
        let mut promised = Promised::default();
        let ended = work(dir.path(), &disk, &foreign, &mut promised);
        // Each crash is tried with some of its losses, another choice each time.
        for (n, loss) in twin.losses().into_iter().enumerate() {
            if (n + spared) % 8 == 0 {
                let after = tempfile::tempdir().unwrap();
                twin.rebuild(after.path(), loss).unwrap();
                check(after.path(), &promised, &format!("{spared} {loss:?}"));
                tried += 1;
            }
        }
        if ended.is_some() {
            break;
        }
    }
    assert!(tried > 12, "{tried}");
}
