//! Measures braidfs beside the machine's limits and its peers, in one run, and writes docs/BENCHMARKS.md.
//!
//! Every figure is the median of several runs, and what is told is a ratio to a limit or a peer of the same run: a bare
//! number of one machine says little.

mod arriving;
mod data;
mod measure;
mod memory;
mod million;
mod mounted;
mod opening;
mod order;
mod past;
mod peers;
mod report;
mod writing;

use std::path::PathBuf;

use report::Report;

/// What is measured, and how much of it.
pub struct Plan {
    pub quick: bool,
    pub runs: usize,
    pub root: PathBuf,
    /// Where data is made: must not be a memory file system, or a sync costs nothing. What lies there stays until the end: ext4 looks
    /// for an inode that was not deleted lately, so whoever creates a file after a hundred thousand were removed pays for them.
    pub scratch: PathBuf,
}

/// Measures something and adds it to the report.
type Part = fn(&Plan, &mut Report);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let only = arguments.iter().position(|argument| argument == "--only").and_then(|at| arguments.get(at + 1)).cloned();
    let root = PathBuf::from(std::env::var("BRAIDFS_ROOT").expect("scripts/bench names the project"));
    let scratch = tempfile::Builder::new().prefix("bench-").tempdir_in(root.join("target")).expect("a directory for data");
    let plan = Plan { quick, runs: if quick { 3 } else { 5 }, root, scratch: scratch.path().to_path_buf() };
    let parts: [(&str, Part); 11] = [
        ("open", opening::measure),
        ("order", order::measure),
        ("past", past::measure),
        ("memory", memory::measure),
        ("commit", writing::measure),
        ("read", mounted::read),
        ("many", mounted::many),
        ("arrive", arriving::measure),
        ("peers", peers::measure),
        ("status", peers::status),
        ("million", million::measure),
    ];
    let mut report = Report::default();
    for (name, part) in parts {
        let wanted = only.as_ref().map_or(!quick || name != "million", |only| only == name);
        if wanted {
            eprintln!("bench: {name}");
            part(&plan, &mut report);
        }
    }
    report.write(&plan, only.is_some());
}
