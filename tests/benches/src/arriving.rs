//! Files that git or `cp` bring into a mounted store: what the daemon spends until every view and every report shows them.
//!
//! All of its threads count, whatever they do meanwhile.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::Plan;
use crate::data::{Shape, chain, file};
use crate::measure::middle;
use crate::mounted::Mounted;
use crate::report::{Report, Row};

const STORE: usize = 100_000;
const COME: usize = 1_000;
const BACK: usize = 10_000;

pub fn measure(plan: &Plan, report: &mut Report) {
    let dir = chain(&plan.scratch.join("arriving"), Shape { transactions: STORE, streams: 1_000 });
    assert!(Command::new("git").args(["init", "-q"]).arg(&dir).status().expect("git").success());
    let log = plan.scratch.join("arriving.log");
    let mounted = Mounted::telling(plan, &dir, "arriving-mount", &log);
    let status = || -> Value { serde_json::from_slice(&fs::read(mounted.point().join("status.json")).expect("the status")).expect("JSON") };
    let mut come = 0;
    for (how, streams) in [
        ("in one git checkout, 20 streams forked", 20),
        ("in one git checkout, 1000 streams forked", 1_000),
        ("by cp, 1000 streams forked", 1_000),
    ] {
        let (mut times, mut whole) = (Vec::new(), Vec::new());
        let mut epochs = Vec::new();
        for run in 0..plan.runs {
            let from = side(&plan.scratch, 10 * STORE + come, STORE - BACK - run, streams);
            come += COME;
            settle(mounted.daemon());
            let before = status();
            let ((shown, told), spent) = (told(&log), cpu_of(mounted.daemon()));
            if how.starts_with("by cp") {
                assert!(
                    Command::new("sh")
                        .arg("-c")
                        .arg(format!("cp {}/* {}", from.display(), dir.join("events").display()))
                        .status()
                        .expect("cp")
                        .success()
                );
            } else {
                // As a checkout does: the index is locked until every file is there.
                let lock = dir.join(".git/index.lock");
                fs::write(&lock, "").expect("a lock");
                for entry in fs::read_dir(&from).expect("files") {
                    let entry = entry.expect("a file");
                    fs::rename(entry.path(), dir.join("events").join(entry.file_name())).expect("a rename");
                }
                fs::remove_file(&lock).expect("it goes");
            }
            let after = loop {
                let now = status();
                if now["transactions"].as_u64() == Some((STORE + come) as u64) {
                    break now;
                }
                std::thread::sleep(Duration::from_millis(20));
            };
            whole.push((cpu_of(mounted.daemon()) - spent).as_secs_f64());
            // The daemon says it right after it has shown it.
            let cpu = loop {
                match self::told(&log) {
                    (now, cpu) if now >= shown + COME as u64 => break cpu,
                    _ => std::thread::sleep(Duration::from_millis(1)),
                }
            };
            times.push((cpu - told).as_secs_f64());
            epochs.push(after["epoch"].as_f64().unwrap_or_default() - before["epoch"].as_f64().unwrap_or_default());
        }
        let all = 1000.0 * middle(&mut whole);
        eprintln!("  {how}: {} epochs, {all:.1} ms of CPU until status.json was read again, with what is done later", middle(&mut epochs));
        let goal = how.contains(" 20 streams").then_some(0.020);
        report.add(Row::millis(
            &format!("{COME} transactions {BACK} back in {STORE} come {how}: CPU of the daemon till all shows them"),
            middle(&mut times),
            goal,
        ));
    }
    drop(mounted);
}

/// A chain of new transactions from `parent` on, as files.
fn side(scratch: &Path, first: usize, parent: usize, streams: usize) -> PathBuf {
    let dir = scratch.join(format!("side-{first}"));
    fs::create_dir_all(&dir).expect("a directory");
    for n in first..first + COME {
        let (name, bytes) = file(n, &[if n == first { parent } else { n - 1 }], streams);
        fs::write(dir.join(name), bytes).expect("a file");
    }
    dir
}

/// Waits until a daemon has done what it does behind: after its start, or after what came before, it saves its index and asks git.
fn settle(daemon: u32) {
    loop {
        let before = cpu_of(daemon);
        // It looks once a second for what there is to do.
        std::thread::sleep(Duration::from_millis(1_500));
        if cpu_of(daemon) - before < Duration::from_millis(5) {
            return;
        }
    }
}

/// How many files a daemon says have come, and the CPU time from their hints till every view and report showed them.
fn told(log: &Path) -> (u64, Duration) {
    let log = fs::read_to_string(log).unwrap_or_default();
    let sum = |name: &str| log.lines().filter_map(|line| line.split_once(name)?.1.split_whitespace().next()?.parse::<u64>().ok()).sum();
    (sum(" came="), Duration::from_micros(sum(" cpu_us=")))
}

/// The CPU time of a process, also of its threads that have ended.
fn cpu_of(pid: u32) -> Duration {
    // SAFETY: both are given room for what they answer.
    unsafe {
        let mut clock = 0;
        assert_eq!(libc::clock_getcpuclockid(pid as libc::pid_t, &mut clock), 0, "the daemon runs");
        let mut time: libc::timespec = std::mem::zeroed();
        assert_eq!(libc::clock_gettime(clock, &mut time), 0, "the daemon runs");
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }
}
