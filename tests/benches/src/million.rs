//! Years of history: one store of a million transactions, opened, held and read. Not in a quick run, for making it takes minutes.

use braidfs::braid::{Braid, OpenOptions};

use crate::Plan;
use crate::data::{Shape, chain};
use crate::measure::{middle_of, paired, seconds};
use crate::memory;
use crate::opening::open_to_last_line;
use crate::past::{AFTER, keep, read_after, save_all_but_the_last};
use crate::report::{Report, Row};

const SIZE: usize = 1_000_000;

pub fn measure(plan: &Plan, report: &mut Report) {
    let large = chain(&plan.scratch.join("million"), Shape { transactions: SIZE, streams: 1_000 });
    let first = seconds(|| {
        open_to_last_line(&large);
    });
    report.point("first open", SIZE, first);
    report.add(Row::seconds(&format!("first open, {SIZE} transactions, warm"), first, None));
    let reopen = middle_of(plan.runs, || open_to_last_line(&large));
    report.point("reopen", SIZE, reopen);
    report.add(Row::seconds(&format!("reopen, {SIZE} transactions, warm"), reopen, Some(1.0)));
    memory::of(plan, report, &large, SIZE, 200.0);
    let small = chain(&plan.scratch.join("thousands"), Shape { transactions: 2 * AFTER, streams: 1_000 });
    let open = |dir| {
        let braid = Braid::open(dir, &OpenOptions::default()).expect("a store");
        braid.wait_ready().expect("it opens");
        braid
    };
    let (large_braid, small_braid) = (open(&large), open(&small));
    save_all_but_the_last(&large_braid, SIZE);
    save_all_but_the_last(&small_braid, 2 * AFTER);
    let (ours, limit) = paired(plan.runs * 5, || seconds(|| keep(read_after(&large_braid))), || seconds(|| keep(read_after(&small_braid))));
    report.add(Row::ratio(&format!("{AFTER} events after {}", SIZE - AFTER), "1000 after 1000", ours / limit, Some(2.0), ours));
    let status = |braid: &Braid| {
        let file = braid.tree().find("status.json").and_then(braidfs::view::Node::into_file).expect("the status");
        keep(file.read_all().expect("bytes").len());
    };
    let (ours, limit) = paired(plan.runs * 5, || seconds(|| status(&large_braid)), || seconds(|| status(&small_braid)));
    report.add(Row::ratio(&format!("status.json of {SIZE} transactions"), "the same of 2000", ours / limit, Some(2.0), ours));
    drop((large_braid, small_braid));
}
