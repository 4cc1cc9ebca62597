//! The kernel's table of mounts: what is mounted where.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::disk::Disk;
use crate::mount::Error;
use crate::mount::attach::FILE_SYSTEM;

/// One line of `/proc/self/mountinfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// Where.
    pub point: PathBuf,
    /// Of which type.
    pub file_system: String,
    /// From what.
    pub source: PathBuf,
    /// Whether nothing can be written through it.
    pub read_only: bool,
    /// The minor number of its device: the number of a FUSE connection.
    pub minor: u32,
}

/// The kernel's table of mounts; empty where it cannot be read.
pub fn read_or_none(disk: &Disk) -> Vec<u8> {
    read(disk).unwrap_or_default()
}

/// The same, for whom an empty one is no answer.
pub fn read(disk: &Disk) -> Result<Vec<u8>, Error> {
    let read = disk.read(Path::new("/proc/self/mountinfo"));
    read.map_err(|error| Error::new(format!("the table of mounts {error}"), "mount -t proc proc /proc   # it is read from there"))
}

/// What is mounted exactly there, on top of whatever lies below.
#[must_use]
pub fn find(table: &[u8], point: &Path) -> Option<Mounted> {
    parse(table).into_iter().rfind(|mounted| mounted.point == point)
}

/// Where the same as this is mounted, and a process that sees it there: this one, or one with mounts of its own.
pub fn where_else(disk: &Disk, gone: &Mounted) -> Option<(u32, PathBuf)> {
    // The kernel gives the number of an ended connection to the next one, but no store has two writable mounts.
    let is_same = |mounted: &Mounted| (mounted.minor, mounted.read_only, &mounted.source) == (gone.minor, gone.read_only, &gone.source);
    let mut processes = vec![std::process::id()];
    // Whose table cannot be read is passed over: another user's, or one that has ended.
    let _ = disk.list_each(Path::new("/proc"), |entry| processes.extend(entry.name.parse::<u32>()));
    processes.into_iter().find_map(|process| {
        let table = disk.read(&PathBuf::from(format!("/proc/{process}/mountinfo"))).ok()?;
        let mut ours = parse(&table).into_iter().filter(|mounted| mounted.file_system == FILE_SYSTEM);
        ours.find(is_same).map(|mounted| (process, mounted.point))
    })
}

/// The mount of ours that a path lies in; the innermost mount around it counts, of whatever type.
#[must_use]
pub fn find_around(table: &[u8], here: &Path) -> Option<Mounted> {
    let mut around: Option<Mounted> = None;
    for mounted in parse(table).into_iter().filter(|mounted| here.starts_with(&mounted.point)) {
        if around.as_ref().is_none_or(|best| mounted.point.starts_with(&best.point)) {
            around = Some(mounted);
        }
    }
    around.filter(|mounted| mounted.file_system == FILE_SYSTEM && mounted.source.is_absolute())
}

/// Every line of the table that can be read.
#[must_use]
pub fn parse(table: &[u8]) -> Vec<Mounted> {
    table.split(|&byte| byte == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<Mounted> {
    let fields: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
    let minor = std::str::from_utf8(fields.get(2)?).ok()?.split_once(':')?.1.parse().ok()?;
    let dash = fields.iter().position(|field| *field == b"-")?;
    Some(Mounted {
        point: unescape(fields.get(4)?),
        file_system: String::from_utf8_lossy(fields.get(dash + 1)?).into_owned(),
        source: unescape(fields.get(dash + 2)?),
        read_only: fields.get(5)?.split(|&byte| byte == b',').any(|option| option == b"ro"),
        minor,
    })
}

/// The kernel writes space, tab, line end and backslash as three octal digits.
fn unescape(text: &[u8]) -> PathBuf {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        match (first, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                out.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = after;
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(out).into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"22 28 0:21 / /proc rw - proc proc rw
41 31 0:38 / /mnt/a\\040b rw,nosuid shared:7 master:1 - ext4 /dev/sda rw
42 31 0:51 / /mnt/a\\040b rw,nosuid - fuse.braidfs /home/me/my\\134store rw,user_id=0
nonsense
";

    #[test]
    fn the_uppermost_mount_is_found_with_its_names_unescaped() {
        let found = find(TABLE, Path::new("/mnt/a b")).unwrap();
        assert_eq!(found.file_system, "fuse.braidfs");
        assert_eq!(found.source, Path::new("/home/me/my\\store"));
        assert_eq!((found.minor, found.read_only), (51, false));
        assert_eq!(parse(TABLE).len(), 3);
        assert_eq!(find(TABLE, Path::new("/mnt")), None);
    }

    #[test]
    fn a_mount_leads_to_its_store() {
        const TABLE: &[u8] = b"22 1 0:20 / / rw - ext4 /dev/sda1 rw
40 22 0:30 / /home/a/mnt rw,nosuid - fuse.braidfs /home/a/my\\040store\xff rw,user_id=0
41 40 0:31 / /home/a/mnt/inner rw shared:1 - tmpfs tmpfs rw
";
        let store = |here: &str| find_around(TABLE, Path::new(here)).map(|mounted| mounted.source);
        assert_eq!(store("/home/a/mnt/streams"), Some(OsString::from_vec(b"/home/a/my store\xff".to_vec()).into()));
        assert_eq!(store("/home/a/mnt/inner/x"), None);
        assert_eq!(store("/home/a/mnt2"), None);
    }

    #[test]
    fn octal_escapes_are_undone() {
        assert_eq!(unescape(b"a\\040b\\134c\\9"), Path::new("a b\\c\\9"));
    }
}
