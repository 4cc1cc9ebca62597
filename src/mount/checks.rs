//! Whether a store may be mounted at a place, before anything is done.

use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::statvfs::statvfs;

use crate::disk::{Disk, Stat};
use crate::format::text::quoted_path;
use crate::mount::attach::{FILE_SYSTEM, detach};
use crate::mount::table;
use crate::mount::{Error, ErrorKind};
use crate::store::{Mode, OpenError, Store};

/// A store and a mount point that go together; both absolute and without links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The store's directory.
    pub store: PathBuf,
    /// The mount point.
    pub point: PathBuf,
}

impl Place {
    /// Finds both, frees a mount point that a crash has left dead, and refuses what cannot work.
    pub fn find(store: &Path, point: &Path) -> Result<Self, Error> {
        let disk = Disk::real();
        check_is_no_mount(store, point, &disk)?;
        let store = Store::open(store, &disk, Mode::ReadOnly).map_err(not_opened)?;
        let store = store.dir().to_path_buf();
        recover(point)?;
        let point = disk.canonical(point).map_err(|error| {
            let kind = if error.is_not_found() { ErrorKind::Refused } else { ErrorKind::Failed };
            Error { kind, ..Error::new(error.to_string(), format!("make the mount point: mkdir {}", quoted_path(point))) }
        })?;
        let place = Self { store, point };
        place.check_overlap(&disk)?;
        place.check_free(&mount_table(&disk))?;
        Ok(place)
    }

    fn check_overlap(&self, disk: &Disk) -> Result<(), Error> {
        // The same directories by other ways, which bind mounts make: what lies above the one is compared with the other.
        let is_within = |inner: &Path, outer: &Path| {
            let same = |stat: Stat| (stat.device, stat.inode);
            let outer = disk.stat(outer).ok().map(same);
            outer.is_some() && inner.ancestors().any(|above| disk.stat(above).ok().map(same) == outer)
        };
        let (store, point) = (self.store.display(), self.point.display());
        let hint = "choose a mount point beside the store";
        if self.point == self.store || (is_within(&self.point, &self.store) && is_within(&self.store, &self.point)) {
            return Err(Error::refused(format!("mount point '{point}' is the store itself"), hint));
        }
        if self.point.starts_with(&self.store) || is_within(&self.point, &self.store) {
            return Err(Error::refused(format!("mount point '{point}' lies in its store '{store}'"), hint));
        }
        if self.store.starts_with(&self.point) || is_within(&self.store, &self.point) {
            return Err(Error::refused(format!("mount point '{point}' would hide its store '{store}'"), hint));
        }
        Ok(())
    }

    fn check_free(&self, mounts: &[u8]) -> Result<(), Error> {
        match table::find(mounts, &self.point) {
            Some(mounted) if mounted.file_system == FILE_SYSTEM => {
                let point = self.point.display();
                let message = format!("mount point '{point}' already shows the store '{}'", mounted.source.display());
                Err(Error::refused(message, format!("braidfs umount {}", quoted_path(&self.point))))
            }
            _ => Ok(()),
        }
    }
}

/// Refuses a place in a mount of ours, which shows a store and is none.
fn check_is_no_mount(named: &Path, point: &Path, disk: &Disk) -> Result<(), Error> {
    let Ok(place) = disk.canonical(named) else { return Ok(()) };
    let table = mount_table(disk);
    let Some(mounted) = place.ancestors().find_map(|above| table::find(&table, above)) else { return Ok(()) };
    if mounted.file_system != FILE_SYSTEM {
        return Ok(());
    }
    let store = &mounted.source;
    let message = format!("'{}' is no store: it lies in a mount of the store '{}'", named.display(), store.display());
    let hint = format!("braidfs mount {} {}   # beside a writable mount: --read-only", quoted_path(store), quoted_path(point));
    Err(Error::refused(message, hint))
}

fn not_opened(error: OpenError) -> Error {
    let kind = if matches!(error, OpenError::Disk(_)) { ErrorKind::Failed } else { ErrorKind::Refused };
    Error { kind, ..Error::new(error.to_string(), error.hint()) }
}

/// The kernel's table of mounts; empty where it cannot be read.
pub fn mount_table(disk: &Disk) -> Vec<u8> {
    read_mount_table(disk).unwrap_or_default()
}

/// The same, for whom an empty one is no answer.
pub fn read_mount_table(disk: &Disk) -> Result<Vec<u8>, Error> {
    let read = disk.read(Path::new("/proc/self/mountinfo"));
    read.map_err(|error| Error::new(format!("the table of mounts {error}"), "mount -t proc proc /proc   # it is read from there"))
}

/// Takes a mount whose daemon has died off its place.
fn recover(point: &Path) -> Result<(), Error> {
    /// Several crashes may have left one mount above the other.
    const LAYERS_MAX: u32 = 16;
    for _ in 0..LAYERS_MAX {
        // The kernel answers this from no cache. Who asks while the daemon is still dying is told of that.
        if !matches!(statvfs(point), Err(Errno::ENOTCONN | Errno::ECONNABORTED)) {
            return Ok(());
        }
        // The path of a dead mount cannot be resolved, but its directory can.
        let absolute = absolute(point);
        tracing::info!(point = %absolute.display(), "the mount point was left dead by a crash: detaching it");
        detach(&absolute, true).map_err(|errno| {
            Error::new(
                format!("dead mount '{}' cannot be detached: {}", absolute.display(), errno.desc()),
                format!("as its owner, or as root: umount -l {}", quoted_path(&absolute)),
            )
        })?;
    }
    Ok(())
}

/// A path with every link resolved, also where it leads to a mount that does not answer and so cannot be resolved itself.
pub fn absolute(path: &Path) -> PathBuf {
    /// As many as the kernel follows.
    const LINKS_MAX: u32 = 40;
    let mut path = in_directory(path);
    for _ in 0..LINKS_MAX {
        let Some(target) = Disk::real().link_target(&path) else { break };
        path = in_directory(&path.parent().unwrap_or(Path::new("/")).join(target));
    }
    path
}

/// A path with its directory resolved, but not its last name; a path that has none, as `.` and `..`, is resolved whole.
fn in_directory(path: &Path) -> PathBuf {
    if path.file_name().is_none() {
        return Disk::real().canonical(path).unwrap_or_else(|_| path.to_path_buf());
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (Disk::real().canonical(directory), path.file_name()) {
        (Ok(directory), Some(name)) => directory.join(name),
        _ => path.to_path_buf(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    fn refusal(store: &str, point: &str) -> String {
        let place = Place { store: store.into(), point: point.into() };
        place.check_overlap(&Disk::real()).err().map(|error| error.message).unwrap_or_default()
    }

    #[test]
    fn a_mount_point_over_in_or_above_its_store_is_refused() {
        assert!(refusal("/a/store", "/a/store").contains("is the store itself"));
        assert!(refusal("/a/store", "/a/store/mnt").contains("lies in its store"));
        assert!(refusal("/a/store", "/a").contains("would hide its store"));
        assert_eq!(refusal("/a/store", "/a/store2"), "");
        assert_eq!(refusal("/a/store", "/a/mnt"), "");
    }

    #[test]
    fn a_mount_point_that_shows_a_store_already_is_refused() {
        let table = b"42 31 0:51 / /mnt rw - fuse.braidfs /home/store rw\n";
        let place = Place { store: "/s".into(), point: "/mnt".into() };
        assert!(place.check_free(table).unwrap_err().message.contains("'/home/store'"));
        assert!(place.check_free(b"42 31 0:51 / /mnt rw - tmpfs tmpfs rw\n").is_ok());
    }
}
