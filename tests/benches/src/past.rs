//! The past, and what comes after a saved state: the first look at one, then beside the present, whatever lies before.

use braidfs::braid::{Braid, OpenOptions};
use braidfs::model::SnapshotRequest;
use braidfs::view::{Node, Tree};

use crate::Plan;
use crate::data::{Shape, chain};
use crate::measure::{median, paired, seconds};
use crate::report::{Report, Row};

/// So many events come after the saved state.
pub const AFTER: usize = 1_000;

/// What was read counts, so it cannot be left out.
pub fn keep(len: usize) {
    std::hint::black_box(len);
}

fn read_tail(tree: &Tree) -> usize {
    let log = tree.find("log.jsonl").and_then(Node::into_file).expect("the log");
    log.read(log.size().saturating_sub(1 << 20), 1 << 20).expect("bytes").len()
}

pub fn read_after(braid: &Braid) -> usize {
    let after = braid.tree().find("snapshots/sum/after.jsonl").and_then(Node::into_file).expect("what comes after");
    let bytes = after.read_all().expect("bytes");
    assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), AFTER);
    bytes.len()
}

/// Saves a state that covers every event but the last ones.
pub fn save_all_but_the_last(braid: &Braid, events: usize) {
    let covered = (events - AFTER) as u64;
    let request = SnapshotRequest { name: "sum".into(), seq_nr: Some(covered), versions: Vec::new(), state: "{}".parse().unwrap() };
    braid.save_snapshot(request).expect("it is saved");
}

pub fn measure(plan: &Plan, report: &mut Report) {
    let mut after = Vec::new();
    for transactions in [AFTER + 1_000, AFTER + 10_000, AFTER + 100_000] {
        let dir = chain(&plan.scratch.join(format!("past-{transactions}")), Shape { transactions, streams: 1_000 });
        let braid = Braid::open(&dir, &OpenOptions::default()).expect("a store");
        braid.wait_ready().expect("it opens");
        let half = transactions / 2;
        // Each run asks for a moment for which nobody has asked before.
        let mut moment = half;
        let next = || {
            moment += 1;
            format!("position:{moment}")
        };
        let first = median(plan.runs, next, |when| drop(braid.at(&when).expect("a past")));
        report.point("first look at a past", transactions, first);
        if transactions > 100_000 {
            report.add(Row::seconds(&format!("first look at half of {transactions} transactions"), first, Some(1.0)));
            let (past, present) = (Tree::of(braid.at(&format!("position:{half}")).expect("a past")), braid.tree());
            let (then, now) = paired(plan.runs * 5, || seconds(|| keep(read_tail(&past))), || seconds(|| keep(read_tail(&present))));
            report.add(Row::ratio("reading 1 MiB of that past", "the present", then / now, Some(1.5), then));
        }
        save_all_but_the_last(&braid, transactions);
        after.push(median(plan.runs * 5, || (), |()| keep(read_after(&braid))));
        drop(braid);
    }
    if let [small, .., large] = after[..] {
        report.add(Row::ratio("1000 events after 100000", "1000 after 1000", large / small, Some(2.0), large));
    }
}
