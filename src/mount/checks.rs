//! Whether a store may be mounted at a place, before anything is done.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;

use crate::disk::{Disk, NO_THREAD_CURE, Stat, ask_by_child};
use crate::format::text::quoted_path;
use crate::mount::attach::{FILE_SYSTEM, detach};
use crate::mount::cut::cut;
use crate::mount::table;
use crate::mount::{Error, ErrorKind, alone};
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
        recover(point, &disk)?;
        let point = disk.canonical(point).map_err(|error| {
            let kind = if error.is_not_found() { ErrorKind::Refused } else { ErrorKind::Failed };
            Error { kind, ..Error::new(error.to_string(), format!("make the mount point: mkdir {}", quoted_path(point))) }
        })?;
        let place = Self { store, point };
        place.check_overlap(&disk)?;
        place.check_system()?;
        place.check_is_no_store(&disk)?;
        place.check_free(&table::read_or_none(&disk))?;
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

    /// Refuses to hide another store: whoever forgets the mount point has named one.
    fn check_is_no_store(&self, disk: &Disk) -> Result<(), Error> {
        if Store::open(&self.point, disk, Mode::ReadOnly).is_err() {
            return Ok(());
        }
        let message = format!("mount point '{}' is a store", self.point.display());
        Err(Error::refused(message, format!("to mount that one: braidfs mount {} MOUNT", quoted_path(&self.point))))
    }

    /// Refuses to hide what every program needs, this one to unmount it again.
    fn check_system(&self) -> Result<(), Error> {
        const NEEDED: [&str; 3] = ["/proc", "/sys", "/dev"];
        let own = std::env::current_exe().ok();
        let needed = NEEDED.iter().map(Path::new).chain(own.as_deref());
        let mut hidden = needed.filter(|needed| needed.starts_with(&self.point));
        let point = self.point.display();
        let message = if let Some(hidden) = hidden.next() {
            format!("mount point '{point}' would hide '{}'", hidden.display())
        } else if ["/proc", "/sys"].iter().any(|kernels| self.point.starts_with(kernels)) {
            format!("mount point '{point}' is the kernel's own")
        } else {
            return Ok(());
        };
        Err(Error::refused(message, "choose a mount point of your own: mkdir mnt"))
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
    let Some(mounted) = table::find_around(&table::read_or_none(disk), &place) else { return Ok(()) };
    let store = &mounted.source;
    let message = format!("'{}' is no store: it lies in a mount of the store '{}'", named.display(), store.display());
    let hint = format!("braidfs mount {} {}   # beside a writable mount: --read-only", quoted_path(store), quoted_path(point));
    Err(Error::refused(message, hint))
}

fn not_opened(error: OpenError) -> Error {
    let kind = if matches!(error, OpenError::Disk(_)) { ErrorKind::Failed } else { ErrorKind::Refused };
    Error { kind, ..Error::new(error.to_string(), error.hint()) }
}

/// Takes a mount whose daemon has died off its place.
fn recover(point: &Path, disk: &Disk) -> Result<(), Error> {
    /// Several crashes may have left one mount above the other.
    const LAYERS_MAX: u32 = 16;
    /// A daemon answers at once.
    const PATIENCE: Duration = Duration::from_secs(2);
    for _ in 0..LAYERS_MAX {
        let asked =
            ask_by_child(point, PATIENCE).map_err(|error| Error::new(format!("no process can be started: {error}"), NO_THREAD_CURE))?;
        // The path of a dead mount cannot be resolved, but its directory can.
        let absolute = absolute(point);
        let shown = absolute.display();
        match asked {
            Some(Err(Errno::ENOTCONN | Errno::ECONNABORTED)) => {}
            Some(_) => return Ok(()),
            None => {
                let mounted = table::find(&table::read_or_none(disk), &absolute).filter(|mounted| mounted.file_system == FILE_SYSTEM);
                let Some(mounted) = mounted else {
                    return Err(Error::busy(
                        format!("mount point '{shown}' does not answer"),
                        format!("umount -l {}   # or choose another", quoted_path(&absolute)),
                    ));
                };
                // Of a read-only mount nobody knows the daemon.
                if mounted.read_only || !alone::is_dying(disk, &mounted.source) {
                    let message =
                        format!("mount point '{shown}' shows the store '{}' already, and does not answer", mounted.source.display());
                    return Err(Error::busy(message, format!("braidfs umount --force {}", quoted_path(&absolute))));
                }
                // It told the kernel of a name in a directory that somebody holds who waits for its answer.
                tracing::info!(point = %shown, "the daemon was killed and cannot end: cutting its connection");
                cut(disk, mounted.minor, Duration::ZERO);
            }
        }
        tracing::info!(point = %shown, "the mount point was left dead by a crash: detaching it");
        detach(&absolute, true).map_err(|why| {
            Error::new(
                format!("dead mount '{shown}' cannot be detached: {why}"),
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
    fn a_mount_point_that_would_hide_what_every_program_needs_is_refused() {
        let refusal = |point: &str| {
            let place = Place { store: "/a/store".into(), point: point.into() };
            place.check_system().err().map(|error| error.message).unwrap_or_default()
        };
        assert_eq!(refusal("/proc"), "mount point '/proc' would hide '/proc'");
        assert_eq!(refusal("/"), "mount point '/' would hide '/proc'");
        assert_eq!(refusal("/dev"), "mount point '/dev' would hide '/dev'");
        assert_eq!(refusal("/proc/1/task"), "mount point '/proc/1/task' is the kernel's own");
        let own = std::env::current_exe().unwrap();
        assert_eq!(
            refusal(own.parent().unwrap().to_str().unwrap()),
            format!("mount point '{}' would hide '{}'", own.parent().unwrap().display(), own.display())
        );
        for harmless in ["/procession", "/dev/shm/mnt", "/home/a/mnt"] {
            assert_eq!(refusal(harmless), "");
        }
    }

    #[test]
    fn a_mount_point_that_is_a_store_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (store, other) = (dir.path().join("a"), dir.path().join("b"));
        Store::init(&store, &Disk::real()).unwrap();
        let place = Place { store, point: other.clone() };
        std::fs::create_dir(&other).unwrap();
        assert!(place.check_is_no_store(&Disk::real()).is_ok());
        Store::init(&other, &Disk::real()).unwrap();
        let refused = place.check_is_no_store(&Disk::real()).unwrap_err();
        assert!(refused.message.ends_with("is a store") && refused.hint.contains("braidfs mount"), "{refused:?}");
    }

    #[test]
    fn a_mount_point_that_shows_a_store_already_is_refused() {
        let table = b"42 31 0:51 / /mnt rw - fuse.braidfs /home/store rw\n";
        let place = Place { store: "/s".into(), point: "/mnt".into() };
        assert!(place.check_free(table).unwrap_err().message.contains("'/home/store'"));
        assert!(place.check_free(b"42 31 0:51 / /mnt rw - tmpfs tmpfs rw\n").is_ok());
    }
}
