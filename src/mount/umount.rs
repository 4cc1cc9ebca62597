//! Ending a mount from outside.

use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::geteuid;

use crate::disk::Disk;
use crate::mount::attach::{FILE_SYSTEM, detach};
use crate::mount::checks::{absolute, read_mount_table};
use crate::mount::cut::cut;
use crate::mount::table;
use crate::mount::{Error, alone};

/// Those who still use a mount that is ended by force have so long; then their connection is cut.
const GRACE: Duration = Duration::from_secs(5);

/// Unmounts a store; by force also while it is used: then commits are finished, the mount is detached, and what still uses it after
/// five seconds is cut off.
///
/// # Errors
/// If nothing of ours is mounted there, somebody uses it, or it is another user's.
pub fn umount(mount_point: &Path, force: bool) -> Result<(), Error> {
    let disk = Disk::real();
    let point = absolute(mount_point);
    let shown = point.display();
    let Some(mounted) = table::find(&read_mount_table(&disk)?, &point).filter(|mounted| mounted.file_system == FILE_SYSTEM) else {
        return Err(Error::refused(
            format!("nothing of braidfs is mounted at '{shown}'"),
            format!("findmnt -t {FILE_SYSTEM}   # the mounts that there are"),
        ));
    };
    detach(&point, force).map_err(|errno| match errno {
        Errno::EBUSY => Error::busy(format!("mount '{shown}' is in use"), "close what uses it, or add --force"),
        // For others than root, the kernel says the one or the other of a mount that another user made.
        Errno::EPERM | Errno::EINVAL if !geteuid().is_root() => {
            Error::refused(format!("mount '{shown}' is another user's"), "ask that user, or root")
        }
        _ => Error::new(format!("mount '{shown}' cannot be unmounted: {}", errno.desc()), ""),
    })?;
    if force {
        if !mounted.read_only {
            // Who has something open keeps a detached mount; on a signal the daemon cuts it off by itself.
            alone::end(&disk, &mounted.source);
        }
        cut(&disk, mounted.minor, GRACE);
    }
    if !mounted.read_only {
        // The daemon holds this until the last commit is done. One that hangs is left to itself.
        alone::wait_for_end(&disk, &mounted.source, GRACE);
    }
    Ok(())
}
