//! Canonical order of a million in memory, and arrivals far back.

use braidfs::index::{Arrival, ArrivalEvent, Index};
use braidfs::model::EventId;

use crate::Plan;
use crate::data::{header, id};
use crate::measure::{cpu, seconds};
use crate::report::{Report, Row};

fn enter(index: &mut Index, n: usize, parents: &[usize]) -> u32 {
    let header = header(n, parents);
    let event_id = EventId(id(n + 500_000_000));
    let line = format!("\"event_id\":\"{event_id}\",\"stream_id\":\"account-{}\"}}\n", n % 1_000);
    let stream = format!("account-{}", n % 1_000);
    let event = ArrivalEvent { event_id, stream_id: &stream, event_type: "Paid", line_len: line.len() };
    index.enter(&Arrival { header: &header, odd_name: None, inode: 1, stamp: 0, header_sum: 0, events: vec![event] }, line.as_bytes())
}

pub fn measure(plan: &Plan, report: &mut Report) {
    for (what, merges) in [("a chain", false), ("10 % merges", true)] {
        let size = 1_000_000usize;
        let mut index = Index::default();
        let numbers: Vec<u32> = (0..size)
            .map(|n| {
                let mut parents: Vec<usize> = n.checked_sub(1).into_iter().collect();
                if merges && n % 10 == 0 && n > 3 {
                    parents.push(n - 3);
                }
                enter(&mut index, n, &parents)
            })
            .collect();
        let sorted = seconds(|| {
            std::hint::black_box(order(&index, &numbers));
        });
        report.add(Row::seconds(&format!("canonical order of 1000000 transactions, {what}"), sorted, Some(0.3)));
        let time = seconds(|| {
            index.link(&numbers, &[]);
        });
        report.add(Row::seconds(&format!("canonical order and every view of 1000000 transactions, {what}"), time, None));
        if !merges {
            back(plan, report, &index, size);
        }
    }
}

/// The canonical order alone, of transactions that are in no view yet.
fn order(index: &Index, numbers: &[u32]) -> Vec<u32> {
    let transactions = &index.transactions;
    let found = braidfs::index::depths(numbers, |tx| transactions.listed(tx), |_| None);
    let mut depth = vec![0; transactions.len() as usize];
    found.sorted.iter().for_each(|&(tx, own)| depth[tx as usize] = own);
    let mut sorted: Vec<u32> = found.sorted.into_iter().map(|(tx, _)| tx).collect();
    sorted.sort_by(|&a, &b| transactions.compare_at(a, depth[a as usize], b, depth[b as usize]));
    sorted
}

/// A thousand that descend from what lies ten thousand back.
fn back(plan: &Plan, report: &mut Report, index: &Index, size: usize) {
    let mut times: Vec<f64> = Vec::new();
    for _ in 0..plan.runs {
        let first = size + 10_000;
        let mut entered = index.clone();
        let numbers: Vec<u32> =
            (first..first + 1_000).map(|n| enter(&mut entered, n, &[if n == first { size - 10_000 } else { n - 1 }])).collect();
        let before = cpu();
        let mut next = entered.clone();
        next.link(&numbers, &[]);
        times.push((cpu() - before).as_secs_f64());
    }
    let time = crate::measure::middle(&mut times);
    report.add(Row::millis("1000 transactions merged 10000 back in 1000000: CPU of all views", time, Some(0.020)));
}
