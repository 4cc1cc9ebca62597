//! Durable commits beside the bare system calls.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use braidfs::braid::{Braid, OpenOptions};
use braidfs::format::draft::{DraftKind, parse_draft};

use crate::Plan;
use crate::data::{Shape, chain};
use crate::measure::{middle, paired, seconds, write_everything};
use crate::report::{Report, Row};

/// Commits of one round: few, so that the rounds of what is compared lie close together. The disk's pace drifts within a second.
pub const COMMITS: usize = 50;

/// Rounds for each run of other measurements.
pub const ROUNDS: usize = 6;

/// Commits of each of sixteen writers in one round.
const EACH: usize = 25;

fn draft(n: usize) -> braidfs::model::Draft {
    let line = format!("{{\"stream_id\":\"account-{}\",\"event_type\":\"Paid\",\"event_data\":{{\"amount\":{n}}}}}\n", n % 50);
    parse_draft(line.as_bytes(), DraftKind::Lines).expect("a draft")
}

/// The directories in which [`limit`] works.
pub fn make_bare(dir: &Path) {
    fs::create_dir_all(dir.join("tmp")).expect("a directory");
    fs::create_dir_all(dir.join("events")).expect("a directory");
}

/// What no commit can go below: write, fsync, rename, fsync of the directory.
pub fn limit(dir: &Path, run: &mut usize) -> f64 {
    let (tmp, events) = (dir.join("tmp"), dir.join("events"));
    let directory = File::open(&events).expect("a directory");
    let bytes = vec![b'x'; 700];
    let time = seconds(|| {
        for n in 0..COMMITS {
            let from = tmp.join(format!("{run}-{n}"));
            let mut file = File::create(&from).expect("a file");
            file.write_all(&bytes).expect("bytes");
            file.sync_all().expect("a sync");
            fs::rename(&from, events.join(format!("{run}-{n}"))).expect("a rename");
            directory.sync_all().expect("a sync");
        }
    });
    *run += 1;
    time / COMMITS as f64
}

/// A store of some size, and the directory of its limit with as many names.
struct Place {
    transactions: usize,
    braid: Braid,
    bare: PathBuf,
    limits: Vec<f64>,
    commits: Vec<f64>,
}

impl Place {
    fn new(scratch: &Path, transactions: usize) -> Self {
        let dir = chain(&scratch.join(format!("commit-{transactions}")), Shape { transactions, streams: 1_000 });
        let bare = scratch.join(format!("bare-{transactions}"));
        make_bare(&bare);
        // A rename into a large directory costs the file system more.
        for n in 0..transactions {
            File::create(bare.join("events").join(format!("{n:036}.jsonl"))).expect("a file");
        }
        let braid = Braid::open(&dir, &OpenOptions { follow: true, ..OpenOptions::default() }).expect("a store");
        braid.wait_ready().expect("it opens");
        Self { transactions, braid, bare, limits: Vec::new(), commits: Vec::new() }
    }

    /// One round of the limit's and one of the store's commits.
    fn round(&mut self, run: &mut usize) {
        self.limits.push(limit(&self.bare, run));
        let time = seconds(|| {
            for n in 0..COMMITS {
                self.braid.append(draft(*run * COMMITS + n)).expect("a commit");
            }
        });
        self.commits.push(time / COMMITS as f64);
    }
}

pub fn measure(plan: &Plan, report: &mut Report) {
    commits(plan, &plan.scratch, "", report);
    // What most people have, where a sync costs more than on this machine's disk.
    if let Some(journaled) = Journaled::new(&plan.scratch.join("journaled")) {
        commits(plan, &journaled.0, ", ext4 with a journal", report);
    }
}

/// One writer at two sizes, and sixteen; `on` says where, if it is not the machine's own disk.
fn commits(plan: &Plan, scratch: &Path, on: &str, report: &mut Report) {
    let mut places = [1_000, 100_000].map(|transactions| Place::new(scratch, transactions));
    write_everything();
    let mut run = 0;
    for _ in 0..plan.runs * ROUNDS {
        places.iter_mut().for_each(|place| place.round(&mut run));
    }
    let mut by_size = Vec::new();
    for Place { transactions, braid, limits, commits, .. } in &mut places {
        let (limit, ours) = (middle(limits), middle(commits));
        let what = format!("one durable commit, one writer, {transactions} transactions{on}");
        report.add(Row::ratio(&what, "write, fsync, rename, fsync of the directory", ours / limit, Some(1.15), ours));
        if on.is_empty() {
            report.point("one commit", *transactions, ours);
        }
        by_size.push(ours);
        if *transactions == 1_000 {
            group(plan, on, report, braid);
        }
    }
    let what = format!("one commit at 100000 transactions{on}");
    report.add(Row::ratio(&what, "the same at 1000", by_size[1] / by_size[0], Some(1.1), by_size[1]));
}

/// Sixteen writers beside one, in turn.
fn group(plan: &Plan, on: &str, report: &mut Report, braid: &Braid) {
    let commit = |n| drop(braid.append(draft(n)).expect("a commit"));
    let (one, each) = paired(
        plan.runs,
        || seconds(|| (0..COMMITS).for_each(commit)) / COMMITS as f64,
        || {
            let time = seconds(|| {
                std::thread::scope(|scope| {
                    for writer in 0..16 {
                        scope.spawn(move || (0..EACH).for_each(|n| commit(writer * EACH + n)));
                    }
                });
            });
            time / (16 * EACH) as f64
        },
    );
    report.add(Row::faster(&format!("commits a second of 16 writers (library){on}"), "one writer", one / each, Some(3.0), each));
}

/// An ext4 with a journal in a file of the scratch directory, mounted there until it is dropped.
struct Journaled(PathBuf);

impl Journaled {
    /// None for others than root, and where no loop device can be had.
    fn new(at: &Path) -> Option<Self> {
        let image = at.with_extension("img");
        File::create(&image).and_then(|file| file.set_len(3 << 30)).expect("an image");
        fs::create_dir_all(at).expect("a directory");
        // Nothing is left to be written in the background, and there are inodes for all the files.
        let make = "-q -F -O has_journal -N 700000 -E lazy_itable_init=0,lazy_journal_init=0";
        let works =
            |command: &mut Command| command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        let is_made = works(Command::new("mkfs.ext4").args(make.split(' ')).arg(&image))
            && works(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(at));
        is_made.then(|| Self(at.to_path_buf()))
    }
}

impl Drop for Journaled {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}
