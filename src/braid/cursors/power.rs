//! Losses of power at every step of a consumer's work: what was shown or acknowledged is the same afterwards.

use std::fs;
use std::path::Path;

use crate::braid::tests::{draft, event};
use crate::braid::{Braid, OpenOptions};
use crate::disk::twin::Twin;
use crate::disk::{Disk, Op};
use crate::epoch::Epoch;
use crate::model::{Errno, EventId, FindingKind, SnapshotRequest};
use crate::store::Standing;
use crate::view::FeedFilter;

/// What a user was told.
#[derive(Clone, Default)]
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
    braid.append(draft(&event(stream, 1))).ok().map(drop)
}

fn save(braid: &Braid, promised: &mut Promised, tell: &mut impl FnMut(&Promised)) {
    let latest = braid.latest_seq_nr();
    braid.save_checkpoint("s", latest, false).unwrap();
    promised.checkpoint = Some(latest);
    tell(promised);
    let request = SnapshotRequest { name: "s".to_owned(), seq_nr: Some(latest), versions: Vec::new(), state: "[]".parse().unwrap() };
    braid.save_snapshot(request).unwrap();
    promised.snapshot = Some(latest);
    tell(promised);
}

/// Commits, takes in another's file, saves; gives what was promised, each time with the number of operations before it.
fn work(dir: &Path, disk: &Disk, twin: &Twin, foreign: &(String, Vec<u8>)) -> Vec<(usize, Promised)> {
    let mut told = Vec::new();
    let mut promised = Promised::default();
    let mut tell = |promised: &Promised| told.push((twin.ops().len(), promised.clone()));
    let braid = open(dir, disk).unwrap();
    for stream in ["a", "b"] {
        append(&braid, stream).unwrap();
        promised.shown = shown(&braid);
        tell(&promised);
        save(&braid, &mut promised, &mut tell);
        if stream == "a" {
            // As git does: nothing is synced.
            disk.write_new(&dir.join("events").join(&foreign.0), &foreign.1).unwrap();
            braid.refresh().unwrap();
            promised.shown = shown(&braid);
            tell(&promised);
        }
    }
    append(&braid, "c").unwrap();
    promised.shown = shown(&braid);
    tell(&promised);
    told
}

fn check(dir: &Path, promised: &Promised, at: &str) {
    // A twin, because it does not wait for its syncs.
    let braid = open(dir, &Disk::faulty(dir).unwrap().0).unwrap();
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
    let dir = tempfile::tempdir().unwrap();
    Braid::init(dir.path()).unwrap();
    let (disk, twin) = Disk::faulty(dir.path()).unwrap();
    twin.keep_outcomes();
    let told = work(dir.path(), &disk, &twin, &foreign);
    let (mut tried, nothing) = (0, (0, Promised::default()));
    // Every loss at every step: what is left by several of them is tried once, against all that was promised by the last of them.
    twin.each_outcome(|after, ops| {
        let promised = told.iter().rev().find(|(before, _)| *before <= ops).unwrap_or(&nothing);
        check(after, &promised.1, &format!("outcome {tried}, before operation {ops}"));
        tried += 1;
    })
    .unwrap();
    assert!(tried > 100, "{tried}");
}

/// A store on a faulty disk with a commit to each of three streams, and their files.
fn three_commits() -> (tempfile::TempDir, Disk, std::sync::Arc<Twin>, Braid, [std::path::PathBuf; 3]) {
    let dir = tempfile::tempdir().unwrap();
    Braid::init(dir.path()).unwrap();
    let (disk, twin) = Disk::faulty(dir.path()).unwrap();
    let braid = open(dir.path(), &disk).unwrap();
    let commit = |stream| braid.append(draft(&event(stream, 1))).unwrap().transaction_id;
    let files = ["a", "b", "c"].map(|stream| dir.path().join(format!("events/{}.jsonl", commit(stream))));
    (dir, disk, twin, braid, files)
}

/// Story: after a checkout and a loss of power numbers that were shown as gone were given to other events, and our replica id went on from
/// a transaction that was not its last.
#[test]
fn what_is_shown_as_gone_is_known_after_every_loss_of_power() {
    let (dir, disk, twin, braid, files) = three_commits();
    // As a checkout does.
    files[1..].iter().for_each(|file| disk.remove(file).unwrap());
    braid.refresh().unwrap();
    let last = |dir: &Path| fs::read(dir.join(".eventcore/braidfs/last_transaction")).unwrap();
    let (given, losses) = (braid.latest_seq_nr(), twin.losses());
    assert_eq!((given, losses.len() > 3), (3, true));
    for loss in losses {
        let after = tempfile::tempdir().unwrap();
        twin.rebuild(after.path(), loss).unwrap();
        assert_eq!(last(after.path()), last(dir.path()), "{loss:?}");
        let again = open(after.path(), &Disk::faulty(after.path()).unwrap().0).unwrap();
        let next = again.append(draft(&event("d", 1))).unwrap().events[0].seq_nr;
        assert!(next.is_none_or(|next| next > given), "{loss:?}: {next:?}");
        assert!(shown(&again).len() as u64 > given, "{loss:?}");
    }
}

/// What went and cannot be recorded may come back unnoticed, so whoever reads on would miss it.
#[test]
fn the_feed_ends_before_what_went_until_that_can_be_recorded() {
    let (_dir, disk, twin, braid, files) = three_commits();
    let feed = |braid: &Braid| {
        let page = braid.feed_after(0, &FeedFilter::default());
        page.events.iter().map(|event| (event.seq_nr, event.gone)).collect::<Vec<_>>()
    };
    let bytes = fs::read(&files[1]).unwrap();
    twin.fail(Op::Create, 0, None, Errno::ENOSPC);
    disk.remove(&files[1]).unwrap();
    braid.refresh().unwrap();
    assert_eq!(feed(&braid), [(1, false)]);
    let told = |epoch: &Epoch| epoch.findings.iter().any(|finding| finding.kind == FindingKind::FeedWaits);
    assert!(told(&braid.epoch()));
    // While it is here nothing is left out.
    fs::write(&files[1], &bytes).unwrap();
    braid.refresh().unwrap();
    assert!(!told(&braid.epoch()) && feed(&braid).len() >= 3, "{:?}", feed(&braid));
    disk.remove(&files[1]).unwrap();
    braid.refresh().unwrap();
    assert!(told(&braid.epoch()));
    twin.heal();
    let is_told = |_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        feed(&braid).starts_with(&[(1, false), (2, true), (3, false)])
    };
    assert!((0..500).any(is_told), "{:?}", feed(&braid));
    assert!(braid.wait(|epoch| !told(epoch), std::time::Duration::from_secs(30)).is_some());
}
