//! One writable daemon a store: a lock that is held for its life.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::disk::{self, Disk, LockGuard, Op};
use crate::format::text::quoted_path;
use crate::model::Errno;
use crate::mount::Error;
use crate::mount::attach::FILE_SYSTEM;
use crate::mount::table::{self, Mounted};
use crate::mount::tend::ALSO_PAUSE;
use crate::store::Layout;

/// A daemon that is just ending is waited for so long.
pub const PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(20);
const _: () = assert!(ALSO_PAUSE.as_millis() * 2 < PATIENCE.as_millis(), "a lock that was taken away is back before nobody waits for it");

/// The lock of a store's writable daemon.
#[derive(Debug)]
pub struct Alone {
    disk: Disk,
    path: PathBuf,
    guard: Mutex<LockGuard>,
}

/// Whether a daemon is the only writable one.
#[derive(Debug)]
pub enum Lead {
    /// It is.
    Alone(Alone),
    /// That cannot be known: the store's file system has no locks. Whoever cannot keep others away must not write.
    NoLocks(disk::Error),
}

impl Alone {
    /// Takes the lock again where its file was taken away (`git clean -fdx`), so that it keeps others away again.
    pub fn keep(&self) {
        let mut guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner);
        if guard.is_on(&self.path) {
            return;
        }
        match self.lock_anew() {
            Ok(Some(new)) => *guard = new,
            Ok(None) => {
                tracing::error!("another daemon has mounted this store writable as well, since its lock was taken away: unmount one")
            }
            Err(error) => tracing::warn!(%error, "the lock of this daemon was taken away and cannot be made again"),
        }
    }
}

impl Alone {
    /// Makes the file under another name, so that it is locked before anybody finds it.
    fn lock_anew(&self) -> disk::Result<Option<LockGuard>> {
        let new = self.path.with_extension("new");
        let Some(guard) = lock_within(&self.disk, &new, Duration::ZERO)? else { return Ok(None) };
        match self.disk.rename_noreplace(&new, &self.path) {
            Ok(()) => Ok(Some(guard)),
            Err(error) if error.is_taken() => {
                self.disk.remove_if_present(&new)?;
                lock_within(&self.disk, &self.path, Duration::ZERO)
            }
            Err(error) => Err(error),
        }
    }
}

fn lock_within(disk: &Disk, path: &Path, patience: Duration) -> disk::Result<Option<LockGuard>> {
    disk.in_dir(path.parent().unwrap_or(path), || disk.lock_within(path, patience))
}

/// Takes the lock of a store's writable daemon, waiting `patience` at most.
pub fn lock(store: &Path, patience: Duration) -> Result<Lead, Error> {
    let refused = |error: disk::Error| Error::new(error.to_string(), format!("{}; or add --read-only", error.hint()));
    let disk = Disk::real().within(store).map_err(refused)?;
    let path = path_of(store);
    let start = Instant::now();
    // A daemon whose lock was taken away takes it again within a moment.
    while start.elapsed() < patience && matches!(disk.stat_if_present(&path), Ok(None)) && is_mounted_writable(&disk, store) {
        std::thread::sleep(PAUSE);
    }
    match lock_within(&disk, &path, patience.saturating_sub(start.elapsed())) {
        Ok(Some(guard)) => Ok(Lead::Alone(Alone { disk, path, guard: Mutex::new(guard) })),
        Ok(None) => Err(taken(&disk, store, &path)),
        Err(error) if has_no_locks(&error) => Ok(Lead::NoLocks(error)),
        Err(error) => Err(refused(error)),
    }
}

fn is_mounted_writable(disk: &Disk, store: &Path) -> bool {
    writable_point(&table::read_or_none(disk), store).is_some()
}

/// Where a store is mounted writable, by a table of mounts.
fn writable_point(table: &[u8], store: &Path) -> Option<PathBuf> {
    let is_its = |mounted: &Mounted| mounted.file_system == FILE_SYSTEM && mounted.source == store && !mounted.read_only;
    table::parse(table).into_iter().rfind(is_its).map(|mounted| mounted.point)
}

/// Whether a file system said that it has no locks.
fn has_no_locks(error: &disk::Error) -> bool {
    error.op == Op::Lock && matches!(error.errno(), Errno::ENOLCK | Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EINVAL)
}

/// What is told of a store that another daemon has: where it is mounted and by which process, and how that is ended.
fn taken(disk: &Disk, store: &Path, lock: &Path) -> Error {
    let store_shown = store.display();
    let holder = disk.lock_holder(lock).and_then(|holder| Some((holder.pid?, holder)));
    let Some((pid, holder)) = holder else {
        let message = format!("store '{store_shown}' is mounted writable by another daemon");
        return Error::busy(message, "unmount that one, or add --read-only");
    };
    // It may be mounted where only that process sees it.
    let point = writable_point(&disk.read(Path::new(&format!("/proc/{pid}/mountinfo"))).unwrap_or_default(), store);
    let is_seen = point.is_some() && point == writable_point(&table::read_or_none(disk), store);
    let at = point.as_ref().map_or_else(String::new, |point| format!(" at '{}'", point.display()));
    let hint = match point.filter(|_| is_seen) {
        Some(point) => format!("braidfs umount {}   # or add --read-only", quoted_path(&point)),
        None => format!("kill {pid}   # it ends cleanly, a stopped one after kill -CONT {pid}; or add --read-only"),
    };
    Error::busy(format!("store '{store_shown}' is mounted writable{at} by {holder}"), hint)
}

/// The process of a store's writable daemon, if there is one.
fn daemon(disk: &Disk, store: &Path) -> Option<u32> {
    disk.lock_holder(&path_of(store))?.pid
}

/// Whether a store's writable daemon was killed and is not gone.
pub fn is_dying(disk: &Disk, store: &Path) -> bool {
    daemon(disk, store).is_some_and(disk::is_dying)
}

/// Asks a store's writable daemon to end, if there is one.
pub fn end(disk: &Disk, store: &Path) {
    let holder = daemon(disk, store).and_then(|pid| i32::try_from(pid).ok());
    let Some(pid) = holder.map(Pid::from_raw).filter(|pid| *pid != Pid::this()) else { return };
    if let Err(errno) = kill(pid, Signal::SIGTERM) {
        tracing::debug!(%pid, errno = errno.desc(), "the daemon cannot be told to end");
    }
}

/// Waits until a store's writable daemon has ended, `patience` at most; false where it has not.
pub fn wait_for_end(disk: &Disk, store: &Path, patience: Duration) -> bool {
    let (path, start) = (path_of(store), Instant::now());
    // Without its file, as where the store was moved away, it cannot be known, and none is made.
    while disk.stat(&path).is_ok() && !matches!(disk.try_lock(&path), Ok(Some(_)) | Err(_)) {
        if start.elapsed() >= patience {
            return false;
        }
        std::thread::sleep(PAUSE);
    }
    true
}

fn path_of(store: &Path) -> PathBuf {
    Layout::new(store.to_path_buf()).private().join("daemon.lock")
}
