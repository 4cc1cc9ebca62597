//! Memory of a mounted store.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::Plan;
use crate::data::{Shape, chain};
use crate::mounted::Mounted;
use crate::report::{Report, Row};

/// RssAnon and RssShmem of a process, in bytes: the pack and the saved index are mapped files, which the kernel takes back when it likes.
fn resident(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the daemon runs");
    let of = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_whitespace().nth(1)).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) * 1024.0
    };
    of("RssAnon:") + of("RssShmem:")
}

pub fn measure(plan: &Plan, report: &mut Report) {
    let transactions = 100_000;
    let dir = chain(&plan.scratch.join("memory"), Shape { transactions, streams: 1_000 });
    of(plan, report, &dir, transactions, 300.0);
}

/// Memory after a first open and after a later one.
pub fn of(plan: &Plan, report: &mut Report, dir: &Path, transactions: usize, goal: f64) {
    let _ = fs::remove_dir_all(dir.join("index"));
    for (when, goal) in [("first open", None), ("reopened", Some(goal))] {
        let mounted = Mounted::new(plan, dir, "memory-mount", false);
        // What a start no longer needs is given back a moment later.
        std::thread::sleep(Duration::from_secs(2));
        let bytes = resident(mounted.daemon()) / transactions as f64;
        report.add(Row::bytes(&format!("memory a transaction of one event, mounted, {transactions}, {when}"), bytes, goal));
    }
}
