//! Ending a mount from outside.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::geteuid;

use crate::disk::{Disk, Holder};
use crate::format::text::quoted;
use crate::mount::attach::{FILE_SYSTEM, Undetached, detach};
use crate::mount::checks::absolute;
use crate::mount::cut::cut;
use crate::mount::home;
use crate::mount::table::{self, Mounted};
use crate::mount::{Error, alone};

/// Those who still use a mount that is ended by force have so long; then their connection is cut.
const GRACE: Duration = Duration::from_secs(5);
/// A mount that is in use for longer is busy.
const BRIEFLY: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(20);

/// Unmounts a store; by force also while it is used: then commits are finished, the mount is detached, and what still uses it after
/// five seconds is cut off.
///
/// # Errors
/// If nothing of ours is mounted there, somebody uses it, or it is another user's.
pub fn umount(mount_point: &Path, force: bool) -> Result<(), Error> {
    let disk = Disk::real();
    let point = absolute(mount_point);
    let shown = point.display();
    let Some(mounted) = table::find(&table::read(&disk)?, &point).filter(|mounted| mounted.file_system == FILE_SYSTEM) else {
        return Err(Error::refused(
            format!("nothing of braidfs is mounted at '{shown}'"),
            format!("findmnt -t {FILE_SYSTEM}   # the mounts that there are"),
        ));
    };
    // What lies at its store's path may have a daemon all the same, which nobody wants to end.
    let is_without = force && home::is_without(&mounted, &disk);
    detach_patiently(&point, force).map_err(|why| match why {
        Undetached::NoHelper(error) => error,
        Undetached::Errno(Errno::EBUSY) => Error::busy(format!("mount '{shown}' is in use"), "close what uses it, or add --force"),
        // For others than root, the kernel says the one or the other of a mount that another user made.
        Undetached::Errno(Errno::EPERM | Errno::EINVAL) if !geteuid().is_root() => {
            Error::refused(format!("mount '{shown}' is another user's"), "ask that user, or root")
        }
        // The kernel keeps what a namespace of another user was made with.
        Undetached::Errno(Errno::EINVAL) => Error::refused(
            format!("mount '{shown}' cannot be unmounted from within this user namespace"),
            "unmount it outside, where it was made",
        ),
        Undetached::Errno(_) => Error::new(format!("mount '{shown}' cannot be unmounted: {why}"), ""),
    })?;
    let (start, patience) = (Instant::now(), GRACE * if force { 2 } else { 1 });
    let ended = (!mounted.read_only && !is_without).then(|| watch_end(&disk, &mounted.source, force, patience));
    if force {
        cut(&disk, mounted.minor, GRACE);
    }
    // Who looks answers at the end of his patience, unless he cannot even look.
    let left = (patience + BRIEFLY).saturating_sub(start.elapsed());
    match ended.map(|ended| ended.recv_timeout(left)) {
        // Without another thread nobody looks.
        None | Some(Ok(true) | Err(RecvTimeoutError::Disconnected)) => Ok(()),
        Some(Ok(false)) => {
            Err(Error::busy(format!("mount '{shown}' is unmounted, but its daemon has not ended yet"), who_keeps(&disk, &mounted)))
        }
        Some(Err(RecvTimeoutError::Timeout)) => Err(Error::busy(
            format!("mount '{shown}' is unmounted, but the store's disk does not answer"),
            "its daemon ends as soon as the disk does: pgrep -af 'braidfs mount'",
        )),
    }
}

/// What helps where a daemon has not ended: a mount that was copied lives on.
fn who_keeps(disk: &Disk, gone: &Mounted) -> String {
    let Some((process, point)) = table::where_else(disk, gone) else {
        return "it ends when it is done, one that was stopped when it may go on: pgrep -af 'braidfs mount', kill -CONT PID".to_owned();
    };
    let umount = format!("umount {}", quoted(&point.to_string_lossy()));
    if process == std::process::id() {
        return format!("{umount}   # it is mounted there as well");
    }
    format!("nsenter -t {process} -m {umount}   # {} has mounts of its own, and this one among them", Holder::of(process))
}

/// Tells whether the daemon has ended, which holds a lock until the last commit is done; not at all while the store's disk hangs.
fn watch_end(disk: &Disk, store: &Path, force: bool, patience: Duration) -> Receiver<bool> {
    let (tell, ended) = channel();
    let (disk, store) = (disk.clone(), store.to_path_buf());
    let watch = move || {
        if force {
            // Who has something open keeps a detached mount; on a signal the daemon cuts it off by itself.
            alone::end(&disk, &store);
        }
        let _ = tell.send(alone::wait_for_end(&disk, &store, patience));
    };
    if let Err(error) = std::thread::Builder::new().name("braidfs-umount".to_owned()).spawn(watch) {
        tracing::warn!(%error, "the end of the daemon cannot be waited for");
    }
    ended
}

/// Detaches what nobody uses but for a moment, as who looks at every mount does, or who dies with a daemon.
fn detach_patiently(point: &Path, force: bool) -> Result<(), Undetached> {
    let start = Instant::now();
    loop {
        match detach(point, force) {
            Err(Undetached::Errno(Errno::EBUSY)) if start.elapsed() < BRIEFLY => std::thread::sleep(PAUSE),
            other => return other,
        }
    }
}
