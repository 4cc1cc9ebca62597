//! What the disk does not offer, or not just now.

use std::time::Duration;

use super::*;
use crate::disk::{Disk, Op};
use crate::epoch::Epoch;

fn lacks(epoch: &Epoch) -> Vec<String> {
    let found = epoch.findings.iter().filter(|finding| finding.kind == FindingKind::StorageLacks);
    found.map(|finding| format!("{} ({})", finding.message, finding.hint)).collect()
}

/// A mount that began on a full disk told to its end that nothing could be committed.
#[test]
fn a_disk_that_is_full_at_the_start_is_told_until_there_is_room() {
    let (_temp, dir) = store();
    let (disk, twin) = Disk::faulty(&dir).unwrap();
    twin.fail(Op::Create, 0, None, Errno::ENOSPC);
    let braid = Braid::open(&dir, &OpenOptions { follow: true, disk, ..OpenOptions::default() }).unwrap();
    braid.wait_ready().unwrap();
    let told = lacks(&braid.epoch());
    assert!(
        told.len() == 1 && told[0].contains("takes no writes just now: No space left") && told[0].contains("(make room: df, df -i;"),
        "{told:?}"
    );
    twin.heal();
    let patience = Duration::from_secs(30);
    braid.wait(|epoch| lacks(epoch).is_empty(), patience).expect("room is found without a commit");
    append(&braid, &event("s", 1));
}

/// A disk that became full or read-only under a mount was no finding.
#[test]
fn a_disk_that_takes_no_commit_any_more_is_told_until_it_does() {
    let (_temp, dir) = store();
    let (disk, twin) = Disk::faulty(&dir).unwrap();
    let braid = Braid::open(&dir, &OpenOptions { follow: true, disk, ..OpenOptions::default() }).unwrap();
    braid.wait_ready().unwrap();
    append(&braid, &event("s", 1));
    let patience = Duration::from_secs(30);
    for (errno, words) in [(Errno::ENOSPC, "just now: No space left"), (Errno::EROFS, "takes no writes: Read-only file system")] {
        assert_eq!(lacks(&braid.epoch()), [""; 0]);
        twin.fail(Op::Create, 0, None, errno);
        braid.append(draft(&event("s", 2))).unwrap_err();
        let told = braid.wait(|epoch| !lacks(epoch).is_empty(), patience).expect("it is told");
        assert!(lacks(&told)[0].contains(words), "{:?}", lacks(&told));
        twin.heal();
        append(&braid, &event("s", 3));
        // At the next tick, not five seconds later.
        braid.wait(|epoch| lacks(epoch).is_empty(), patience).expect("a commit shows that it is over");
    }
}
