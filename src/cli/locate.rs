//! Which store a command works on.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use super::Session;
use super::failure::{Failure, Kind, Result};
use crate::disk::Disk;
use crate::format::text::quoted_path;
use crate::store::is_fresh_clone;

/// The type by which the kernel lists our mounts.
const MOUNT_TYPE: &[u8] = b"fuse.braidfs";

/// The store that the session names, else the one that the current directory lies in, or whose mount it lies in.
pub(super) fn named_or_found(session: &Session, disk: &Disk) -> Result<PathBuf> {
    if let Some(directory) = &session.store {
        return Ok(named(directory, disk));
    }
    let here =
        std::env::current_dir().map_err(|error| Failure::new(Kind::Failed, "the current directory cannot be found").because(&error))?;
    let mounts = disk.read(Path::new("/proc/self/mountinfo")).unwrap_or_default();
    if let Some(store) = store_of_mount(&mounts, &here) {
        return Ok(store);
    }
    here.ancestors().find(|directory| is_store(disk, directory)).map(Path::to_path_buf).ok_or_else(|| {
        Failure::new(Kind::Usage, format!("no store is named, and '{}' lies in none", here.display()))
            .hint("name one: --store DIR, or BRAIDFS_STORE=DIR in the environment")
            .hint("make one: braidfs init DIR")
    })
}

/// The directory that a command's own argument names, else the one that the session names; none where neither does.
///
/// # Errors
/// `--store` names another one than the argument does: one of them would be ignored.
pub(super) fn argument_or_option(argument: Option<&Path>, session: &Session) -> Result<Option<PathBuf>> {
    let Some(argument) = argument else { return Ok(session.store.clone()) };
    let disk = Disk::real();
    let real = |directory: &Path| disk.canonical(directory).unwrap_or_else(|_| directory.to_path_buf());
    match session.store.as_deref().filter(|_| session.is_store_typed) {
        Some(option) if real(option) != real(argument) => {
            let (option, argument) = (option.display(), argument.display());
            Err(Failure::new(Kind::Usage, format!("two stores are named: '{argument}', and '{option}' by --store"))
                .hint("leave one of them out"))
        }
        _ => Ok(Some(argument.to_path_buf())),
    }
}

/// The store that a directory is, or whose mount it lies in.
pub(super) fn named(directory: &Path, disk: &Disk) -> PathBuf {
    let mounts = disk.read(Path::new("/proc/self/mountinfo")).unwrap_or_default();
    let real = disk.canonical(directory).unwrap_or_else(|_| directory.to_path_buf());
    store_of_mount(&mounts, &real).unwrap_or_else(|| directory.to_path_buf())
}

/// What leads to the store's directory, whose commands hints are; none for who is there.
pub(super) fn way(store: &Path) -> Option<String> {
    let disk = Disk::real();
    let store = disk.canonical(store).ok()?;
    // The system gives it without links.
    let is_there = std::env::current_dir().is_ok_and(|here| here == store);
    (!is_there).then(|| format!("cd {}", quoted_path(&store)))
}

/// Leaves a mount that the current directory lies in for its store, so that the mount may go while this process runs.
pub(super) fn leave_mount(disk: &Disk, store: &Path) {
    let mounts = disk.read(Path::new("/proc/self/mountinfo")).unwrap_or_default();
    let lies_in = |here: PathBuf| store_of_mount(&mounts, &here).is_some();
    if std::env::current_dir().is_ok_and(lies_in) {
        // Where that is not allowed, the mount is in use by us, and says so.
        let _ = std::env::set_current_dir(store);
    }
}

/// A store has `events/`, and what tells it from any other directory with such a name: what a store keeps beside, what `init` wrote, or a transaction.
/// A clone may have only what `init` wrote.
fn is_store(disk: &Disk, directory: &Path) -> bool {
    let events = directory.join("events");
    let has_attributes = || {
        disk.read(&directory.join(".gitattributes"))
            .is_ok_and(|text| text.starts_with(b"events/") || text.windows(8).any(|part| part == b"\nevents/"))
    };
    let has_transactions = || disk.list_if_present(&events).is_ok_and(|entries| entries.iter().any(|entry| entry.name.ends_with(".jsonl")));
    let has_own = || disk.exists(&directory.join(".eventcore"));
    if disk.exists(&events) {
        has_own() || has_attributes() || has_transactions()
    } else {
        is_fresh_clone(disk, directory).unwrap_or(false)
    }
}

/// The store of the braidfs mount that a path lies in, by the kernel's table of mounts.
fn store_of_mount(table: &[u8], here: &Path) -> Option<PathBuf> {
    let mut found: Option<(PathBuf, PathBuf)> = None;
    for line in table.split(|&byte| byte == b'\n') {
        let mut words = line.split(|&byte| byte == b' ');
        let Some(point) = words.by_ref().nth(4).map(unescape) else { continue };
        // How many words come before the dash, the kernel may choose.
        let mut right = words.skip_while(|word| *word != b"-").skip(1);
        let (kind, source) = (right.next()?, right.next()?);
        // The innermost mount counts, of whatever type.
        if here.starts_with(&point) && found.as_ref().is_none_or(|(best, _)| point.starts_with(best)) {
            found = Some((point, if kind == MOUNT_TYPE { unescape(source) } else { PathBuf::new() }));
        }
    }
    found.map(|(_, store)| store).filter(|store| store.is_absolute())
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

    const TABLE: &[u8] = b"22 1 0:20 / / rw - ext4 /dev/sda1 rw
40 22 0:30 / /home/a/mnt rw,nosuid - fuse.braidfs /home/a/my\\040store\xff rw,user_id=0
41 40 0:31 / /home/a/mnt/inner rw shared:1 - tmpfs tmpfs rw
";

    #[test]
    fn a_mount_leads_to_its_store() {
        let store = |here: &str| store_of_mount(TABLE, Path::new(here));
        assert_eq!(store("/home/a/mnt/streams"), Some(OsString::from_vec(b"/home/a/my store\xff".to_vec()).into()));
        assert_eq!(store("/home/a/mnt/inner/x"), None);
        assert_eq!(store("/home/a/mnt2"), None);
    }

    #[test]
    fn octal_escapes_are_undone() {
        assert_eq!(unescape(b"a\\040b\\134c\\9"), Path::new("a b\\c\\9"));
    }
}
