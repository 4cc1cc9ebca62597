//! The kernel's table of mounts: what is mounted where.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::disk::Disk;
use crate::mount::Error;

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

/// Takes back the three octal digits by which the kernel writes spaces and their like.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let octal = tail.get(..3).filter(|_| first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
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
}
