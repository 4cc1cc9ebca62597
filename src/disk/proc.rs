//! What the kernel says about processes, locks and the machine.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use super::{Disk, Stat};

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The process, if the kernel names one that is visible from here.
    pub pid: Option<u32>,
    /// Its command's name, if it can be read.
    pub command: Option<String>,
}

impl Holder {
    /// A process, by its name.
    #[must_use]
    pub fn of(pid: u32) -> Self {
        Self { pid: Some(pid), command: process_command(pid) }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(pid) = self.pid else { return f.write_str("another program") };
        write!(f, "process {pid}")?;
        self.command.as_ref().map_or(Ok(()), |command| write!(f, " (\"{}\")", command.escape_debug()))
    }
}

impl Disk {
    /// Who holds the `flock` on a file, as `/proc/locks` tells; none if nobody does.
    #[must_use]
    pub fn lock_holder(&self, path: &Path) -> Option<Holder> {
        let stat = self.stat(path).ok()?;
        let (pid, place) = (0..LOOKS_MAX).find_map(|_| find_holder(&fs::read_to_string("/proc/locks").ok()?, &stat))?;
        let pid = u32::try_from(pid).ok().filter(|pid| *pid > 0);
        let pid = match (pid, place) {
            // The kernel names who took it. That one may have handed it on and ended.
            (Some(pid), Place::Here) if holds(pid, &stat).unwrap_or(true) => Some(pid),
            (Some(pid), Place::Here) => Some(process_that_holds(&stat).unwrap_or(pid)),
            // A file of that number may be another one elsewhere: whoever is told to end must have this one open.
            (Some(pid), Place::Unknown) => match holds(pid, &stat) {
                Some(true) => Some(pid),
                held => match process_that_holds(&stat) {
                    None if held == Some(false) => return None,
                    other => other,
                },
            },
            (None, _) => None,
        };
        Some(pid.map_or(Holder { pid: None, command: None }, Holder::of))
    }
}

/// Whether a lock in `/proc/locks` is on a file for certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Here,
    /// On one of the same number: btrfs and overlays report another device than stat does.
    Unknown,
}

/// How often a holder is looked for. The kernel gives the locks of the machine in pieces, and one of them may be passed over where others
/// come and go between two.
const LOOKS_MAX: usize = 3;

/// Whether this process was started with SIGHUP ignored, as by `nohup`.
#[must_use]
pub fn ignores_hangup() -> bool {
    const SIGHUP_BIT: u64 = 1;
    fs::read_to_string("/proc/self/status").is_ok_and(|status| signals(&status, "SigIgn:") & SIGHUP_BIT != 0)
}

/// Whether a signal waits for a thread that the thread does not hold back; false where its state cannot be read, as of one that is not
/// visible from here, which has the number 0.
#[must_use]
pub fn has_signal(thread: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{thread}/status"));
    status.is_ok_and(|status| (signals(&status, "SigPnd:") | signals(&status, "ShdPnd:")) & !signals(&status, "SigBlk:") != 0)
}

/// Whether a process was killed and is not gone: a thread of it waits for something that no signal ends.
#[must_use]
pub fn is_dying(pid: u32) -> bool {
    const SIGKILL_BIT: u64 = 1 << 8;
    let status = fs::read_to_string(format!("/proc/{pid}/status"));
    status.is_ok_and(|status| {
        let is_zombie = status.lines().any(|line| line.strip_prefix("State:").is_some_and(|state| state.trim_start().starts_with('Z')));
        is_zombie || (signals(&status, "SigPnd:") | signals(&status, "ShdPnd:")) & SIGKILL_BIT != 0
    })
}

/// A set of signals of `/proc/<pid>/status`, a bit each.
fn signals(status: &str, name: &str) -> u64 {
    let set = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix(name)?.trim(), 16).ok());
    set.unwrap_or_default()
}

/// The CPU time of this process till now, of all its threads.
#[must_use]
pub fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

impl Disk {
    /// Whether so little waits to be written, of all programs, that a sync of a whole file system is not mostly one of what others wrote.
    #[must_use]
    pub fn owes_little(&self) -> bool {
        // The twin's model alone says what a sync of it costs.
        self.has_twin() || fs::read_to_string("/proc/meminfo").is_ok_and(|meminfo| waiting_bytes(&meminfo) <= LITTLE_BYTES)
    }
}

/// What is written within some ten milliseconds: about as long as the syncs of a large group take one by one.
const LITTLE_BYTES: u64 = 8 << 20;

/// How much `/proc/meminfo` says is still to be written; everything if it does not say.
fn waiting_bytes(meminfo: &str) -> u64 {
    let of = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
    };
    of("Dirty:").zip(of("Writeback:")).map_or(u64::MAX, |(dirty, writing)| dirty + writing)
}

/// The process id in `/proc/locks` that holds a `flock` on the file, or perhaps does; 0 or less where it is not visible.
fn find_holder(locks: &str, stat: &Stat) -> Option<(i64, Place)> {
    let device = format!("{:02x}:{:02x}:{}", libc::major(stat.device), libc::minor(stat.device), stat.inode);
    let inode = format!(":{}", stat.inode);
    let mut elsewhere = None;
    for line in locks.lines() {
        let mut words = line.split_whitespace().skip(1);
        // A waiting process has `->` in the second place.
        if words.next() != Some("FLOCK") {
            continue;
        }
        let pid = words.nth(2).and_then(|pid| pid.parse().ok());
        match words.next() {
            Some(place) if place == device => return pid.map(|pid| (pid, Place::Here)),
            Some(place) if place.ends_with(&inode) => elsewhere = pid.map(|pid| (pid, Place::Unknown)),
            _ => {}
        }
    }
    elsewhere
}

/// Whether a process has one of its descriptors hold the `flock` on a file; none where that is not for us to see, as of another user's.
///
/// What it has open is not asked itself, since that may lie in our own mount, or in one that no longer answers; but for a file of the same number
/// that has a lock which may be on another device.
fn holds(pid: u32, stat: &Stat) -> Option<bool> {
    let descriptors = match fs::read_dir(format!("/proc/{pid}/fdinfo")) {
        Ok(descriptors) => descriptors,
        Err(error) => return (error.kind() == io::ErrorKind::NotFound).then_some(false),
    };
    let is_it = |descriptor: &OsStr| {
        let facts = fs::metadata(Path::new(&format!("/proc/{pid}/fd")).join(descriptor));
        facts.is_ok_and(|facts| (facts.dev(), facts.ino()) == (stat.device, stat.inode))
    };
    Some(descriptors.flatten().any(|entry| {
        let said = fs::read_to_string(entry.path()).unwrap_or_default();
        let mut locks = said.lines().filter_map(|line| find_holder(line.strip_prefix("lock:")?, stat));
        locks.any(|(_, place)| place == Place::Here || is_it(&entry.file_name()))
    }))
}

/// The first process that holds a file's lock, of those that can be seen.
fn process_that_holds(stat: &Stat) -> Option<u32> {
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.find(|&pid| holds(pid, stat) == Some(true))
}

/// The name of a process's command.
fn process_command(pid: u32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim_end_matches('\n').to_owned())
}

/// The machine's id as FORMAT.md takes it into a fingerprint.
#[must_use]
pub fn machine_id() -> String {
    for path in ["/etc/machine-id", "/var/lib/dbus/machine-id"] {
        if let Ok(text) = fs::read_to_string(path)
            && !text.trim().is_empty()
        {
            return text.trim().to_owned();
        }
    }
    std::env::var("HOSTNAME").unwrap_or_else(|_| "unknown".to_owned())
}

/// The numbers by which the kernel knows file systems that other machines change too, and that hint at nothing then:
/// NFS, SMB (three), 9p, AFS, Ceph, Coda, FUSE.
const REMOTE: [i64; 9] = [0x6969, 0x517B, 0xFF53_4D42, 0xFE53_4D42, 0x0102_1997, 0x5346_414F, 0x00C3_6400, 0x7375_7245, 0x6573_5546];

/// Whether a path lies on a file system that other machines may change without a hint.
#[must_use]
pub fn is_remote(path: &Path) -> bool {
    nix::sys::statfs::statfs(path).is_ok_and(|stat| REMOTE.contains(&(stat.filesystem_type().0 & 0xFFFF_FFFF)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;
    use crate::disk::EntryKind;

    const LOCKS: &str = "1: POSIX  ADVISORY  WRITE 11 fe:00:77 0 EOF\n\
                         2: FLOCK  ADVISORY  WRITE 22 fe:00:77 0 EOF\n\
                         2: -> FLOCK  ADVISORY  WRITE 33 fe:00:77 0 EOF\n\
                         3: FLOCK  ADVISORY  WRITE 44 00:1f:78 0 EOF\n";

    fn stat(inode: u64) -> Stat {
        Stat { device: libc::makedev(0xfe, 0), inode, size: 0, mtime_ns: 0, kind: EntryKind::File }
    }

    #[test]
    fn the_holder_is_found_by_device_and_inode() {
        assert_eq!(find_holder(LOCKS, &stat(77)), Some((22, Place::Here)));
    }

    #[test]
    fn a_device_that_stat_does_not_know_is_matched_by_inode_and_not_for_certain() {
        assert_eq!(find_holder(LOCKS, &stat(78)), Some((44, Place::Unknown)));
        assert_eq!(find_holder(LOCKS, &stat(7)), None);
    }

    /// Story: where two file systems had a locked file of one number each, `umount --force` ended the daemon of the other store.
    #[test]
    fn who_locked_a_file_of_the_same_number_elsewhere_holds_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (disk, path) = (Disk::real(), dir.path().join(".lock"));
        let _guard = disk.try_lock(&path).unwrap().unwrap();
        let stat = disk.stat(&path).unwrap();
        let elsewhere = Stat { device: stat.device + 1, ..stat };
        let locks = fs::read_to_string("/proc/locks").unwrap();
        assert!(find_holder(&locks, &elsewhere).is_some_and(|(_, place)| place == Place::Unknown));
        assert_eq!(holds(std::process::id(), &elsewhere), Some(false));
        assert_eq!(process_that_holds(&elsewhere), None);
    }

    #[test]
    fn what_waits_to_be_written_is_read_or_taken_for_everything() {
        assert_eq!(waiting_bytes("MemTotal: 9 kB\nDirty:              12 kB\nWriteback:             3 kB\n"), 15 * 1024);
        assert_eq!(waiting_bytes("Dirty: 12 kB\n"), u64::MAX);
        assert!(waiting_bytes(&fs::read_to_string("/proc/meminfo").unwrap()) < u64::MAX);
    }

    #[test]
    fn our_own_lock_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".lock");
        let disk = Disk::real();
        let guard = disk.try_lock(&path).unwrap().unwrap();
        assert!(disk.try_lock(&path).unwrap().is_none());
        let holder = disk.lock_holder(&path).unwrap();
        assert!(holder.pid.is_none_or(|pid| pid == std::process::id()), "{holder:?}");
        let stat = disk.stat(&path).unwrap();
        assert_eq!(holds(std::process::id(), &stat), Some(true));
        assert_eq!(holds(std::process::id(), &Stat { inode: stat.inode + 1, ..stat }), Some(false));
        drop(guard);
        assert!(disk.try_lock(&path).unwrap().is_some());
    }
}
