//! A real mount beside the same bytes on the disk's own file system.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Plan;
use crate::data::{Shape, chain};
use crate::measure::{compact_memory, middle, paired, seconds, write_everything};
use crate::report::{Report, Row};
use crate::writing::{COMMITS, ROUNDS, limit, make_bare};

fn binary(plan: &Plan) -> PathBuf {
    plan.root.join("target/release/braidfs")
}

/// A mount, its place, and the seconds until it answered.
pub struct Mounted<'a>(&'a Plan, PathBuf, f64);

impl<'a> Mounted<'a> {
    pub fn new(plan: &'a Plan, store: &Path, name: &str, read_only: bool) -> Self {
        Self::with(plan, store, name, read_only.then_some(OsStr::new("--read-only")), None)
    }

    /// A writable mount that tells in a file what each arrival took.
    pub fn telling(plan: &'a Plan, store: &Path, name: &str, log: &Path) -> Self {
        Self::with(plan, store, name, [OsStr::new("--log-file"), log.as_os_str()], Some("braidfs::braid::keeper::arrival=debug"))
    }

    fn with<'o>(plan: &'a Plan, store: &Path, name: &str, options: impl IntoIterator<Item = &'o OsStr>, logged: Option<&str>) -> Self {
        let point = plan.scratch.join(name);
        std::fs::create_dir_all(&point).expect("a directory");
        let mut command = Command::new(binary(plan));
        command.arg("mount").arg(store).arg(&point).args(options).envs(logged.map(|what| ("BRAIDFS_LOG", what)));
        let answered = seconds(|| assert!(command.status().expect("it runs").success(), "the store is mounted"));
        // Ready once the log is whole.
        std::fs::metadata(point.join("log.jsonl")).expect("the log");
        Self(plan, point, answered)
    }

    pub fn point(&self) -> &Path {
        &self.1
    }

    /// The process id of the daemon behind it.
    pub fn daemon(&self) -> u32 {
        let point = self.1.to_str().expect("a plain path");
        let daemons = std::fs::read_dir("/proc").expect("processes").filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let serves = |pid: &u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).any(|part| part == point.as_bytes())
        };
        daemons.into_iter().find(serves).expect("a daemon")
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new(binary(self.0)).arg("umount").arg(&self.1).status();
    }
}

fn run(command: &str, at: &Path) -> f64 {
    seconds(|| {
        let status = Command::new("sh").arg("-c").arg(command).current_dir(at).stdout(Stdio::null()).status().expect("it runs");
        assert!(status.code().is_some_and(|code| code <= 1), "{command}");
    })
}

pub fn read(plan: &Plan, report: &mut Report) {
    let transactions = 100_000;
    let dir = chain(&plan.scratch.join("read"), Shape { transactions, streams: 1_000 });
    answering(plan, &dir, transactions, report);
    let mounted = Mounted::new(plan, &dir, "read-mount", false);
    let beside = plan.scratch.join("beside");
    std::fs::create_dir_all(&beside).expect("a directory");
    // The kernel keeps 4 KiB pages of a FUSE file: after a day of work they lie scattered in memory, which costs each reader as
    // much again. So all files are brought in where memory has just been tidied up.
    compact_memory();
    std::fs::copy(mounted.1.join("log.jsonl"), beside.join("log.jsonl")).expect("a copy");
    let small = SmallPages::new(&plan.scratch.join("small-pages"), &beside.join("log.jsonl"));
    for (command, goal) in [
        ("cat log.jsonl", Some(1.0 / 0.5)),
        ("wc -l log.jsonl", Some(1.0 / 0.85)),
        ("rg -c account-77 log.jsonl", Some(1.0 / 0.85)),
        ("rg -c Paid log.jsonl", Some(1.0 / 0.85)),
        ("jq -c .position log.jsonl", Some(1.0 / 0.85)),
        ("tail -n 1 log.jsonl", None),
    ] {
        run(command, &mounted.1);
        run(command, &beside);
        let (ours, limit) = paired(plan.runs + 2, || run(command, &mounted.1), || run(command, &beside));
        report.add(Row::ratio(&format!("{command}, warm, {transactions} events"), "the same file on the disk", ours / limit, goal, ours));
        if let Some(small) = small.as_ref().filter(|_| !command.starts_with("jq")) {
            run(command, &small.0);
            let (ours, limit) = paired(plan.runs + 2, || run(command, &mounted.1), || run(command, &small.0));
            let what = "the same file in tmpfs, which has 4 KiB pages as well";
            report.add(Row::ratio(&format!("{command}, warm, {transactions} events"), what, ours / limit, None, ours));
        }
    }
    drop(small);
    dropping(plan, &mounted.1, report);
    drop(mounted);
}

/// A copy of a file in a memory file system that keeps it in 4 KiB pages, as the kernel keeps files of FUSE.
struct SmallPages(PathBuf);

impl SmallPages {
    /// None for others than root.
    fn new(at: &Path, file: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).expect("a directory");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "huge=never", "tmpfs"]).arg(at).stderr(Stdio::null()).status();
        if !mount.is_ok_and(|status| status.success()) {
            return None;
        }
        let small = Self(at.to_path_buf());
        std::fs::copy(file, at.join(file.file_name()?)).expect("a copy");
        Some(small)
    }
}

impl Drop for SmallPages {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// How long a mount takes to answer, the first time and later.
fn answering(plan: &Plan, dir: &Path, transactions: usize, report: &mut Report) {
    for (when, keeps_index) in [("nothing indexed yet", false), ("indexed before", true)] {
        let mut times: Vec<f64> = (0..plan.runs)
            .map(|_| {
                if !keeps_index {
                    let _ = std::fs::remove_dir_all(dir.join("index"));
                }
                Mounted::new(plan, dir, "answering", false).2
            })
            .collect();
        report.add(Row::millis(&format!("a mount of {transactions} transactions answers, {when}"), middle(&mut times), Some(0.05)));
    }
}

/// A file dropped into `staging/`, until its receipt says that it is durable.
fn dropping(plan: &Plan, point: &Path, report: &mut Report) {
    let bare = plan.scratch.join("bare");
    make_bare(&bare);
    write_everything();
    let (mut run, mut n) = (0, 0);
    let (ours, limit) = paired(
        plan.runs * ROUNDS,
        || {
            seconds(|| {
                for _ in 0..COMMITS {
                    n += 1;
                    let line = format!("{{\"stream\":\"account-{}\",\"type\":\"Paid\",\"data\":{{\"amount\":{n}}}}}\n", n % 50);
                    std::fs::write(point.join(format!("staging/{n}.jsonl")), line).expect("a draft");
                    let receipt = std::fs::read_to_string(point.join(format!("receipts/{n}.jsonl.json"))).expect("a receipt");
                    assert!(receipt.contains("\"committed\""), "{receipt}");
                }
            }) / COMMITS as f64
        },
        || limit(&bare, &mut run),
    );
    let what = "a file dropped into staging, until its receipt says committed";
    report.add(Row::ratio(what, "write, fsync, rename, fsync of the directory", ours / limit, Some(1.4), ours));
}

/// One transaction through `append`, durable.
fn appending(plan: &Plan, point: &Path) -> f64 {
    let mut rounds: Vec<f64> = (0..plan.runs * ROUNDS)
        .map(|_| {
            let time = seconds(|| {
                for n in 0..COMMITS {
                    let line = format!("{{\"stream\":\"written-{n}\",\"type\":\"Paid\",\"data\":{n}}}\n");
                    let mut append = OpenOptions::new().write(true).open(point.join("append")).expect("append");
                    append.write_all(line.as_bytes()).expect("a commit");
                }
            });
            time / COMMITS as f64
        })
        .collect();
    middle(&mut rounds)
}

pub fn many(plan: &Plan, report: &mut Report) {
    let files = if plan.quick { 20_000 } else { 100_000 };
    let dir = chain(&plan.scratch.join("many"), Shape { transactions: files, streams: files });
    let beside = plan.scratch.join("beside-many");
    for (kind, read_only) in [("read-only", true), ("writable", false)] {
        let mounted = Mounted::new(plan, &dir, &format!("many-{kind}"), read_only);
        if read_only {
            std::fs::create_dir_all(&beside).expect("a directory");
            assert!(Command::new("cp").arg("-r").arg(mounted.1.join("streams")).arg(&beside).status().expect("cp").success());
        }
        let goals = if read_only { [1.15, 1.0, 1.2, 1.2] } else { [3.0, 2.0, 0.0, 0.0] };
        let before = (!read_only).then(|| appending(plan, &mounted.1));
        for (command, goal) in ["grep -r nowhere-at-all streams", "rg nowhere-at-all streams", "find streams -size +9k", "ls -l streams"]
            .into_iter()
            .zip(goals)
        {
            run(command, &mounted.1);
            run(command, &beside);
            let (ours, limit) = paired(plan.runs, || run(command, &mounted.1), || run(command, &beside));
            let what = format!("{command}, {kind} mount, warm, {files} files");
            report.add(Row::ratio(&what, "the same files on the disk", ours / limit, (goal > 0.0).then_some(goal), ours));
        }
        if let Some(before) = before {
            run("find .", &mounted.1);
            let after = appending(plan, &mounted.1);
            let what = format!("one write to append, once {files} files and all else were looked at");
            report.add(Row::ratio(&what, "the same before", after / before, Some(1.2), after));
        }
        drop(mounted);
    }
}
