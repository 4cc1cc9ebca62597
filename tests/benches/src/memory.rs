//! Memory of an open store, in a process of its own.

use std::process::Command;

use braidfs::braid::{Braid, OpenOptions};

use crate::Plan;
use crate::data::{Shape, chain};
use crate::report::{Report, Row};

/// RssAnon and RssShmem of this process, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("proc");
    let of = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_whitespace().nth(1)).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
    };
    of("RssAnon:") + of("RssShmem:")
}

/// `child DIR`: opens a store and prints the bytes that it takes.
pub fn child(arguments: &[String]) {
    let before = resident();
    let braid = Braid::open(arguments[0].as_ref(), &OpenOptions { follow: true, ..OpenOptions::default() }).expect("a store");
    braid.wait_ready().expect("it opens");
    std::thread::sleep(std::time::Duration::from_millis(500));
    println!("{}", resident().saturating_sub(before));
}

pub fn measure(plan: &Plan, report: &mut Report) {
    let sizes: &[usize] = if plan.quick { &[100_000] } else { &[100_000, 1_000_000] };
    for &transactions in sizes {
        let dir = chain(&plan.scratch.join("memory"), Shape { transactions, streams: 1_000 });
        let ask = || {
            let output = Command::new(std::env::current_exe().expect("ourselves")).arg("child").arg(&dir).output().expect("it runs");
            String::from_utf8_lossy(&output.stdout).trim().parse::<f64>().expect("a number") / transactions as f64
        };
        let first = ask();
        let again = ask();
        let goal = if transactions >= 1_000_000 { 200.0 } else { 300.0 };
        report.add(Row::bytes(&format!("memory a transaction of one event, {transactions}, first open"), first, None));
        report.add(Row::bytes(&format!("memory a transaction of one event, {transactions}, reopened"), again, Some(goal)));
        std::fs::remove_dir_all(&dir).expect("it goes");
    }
}
