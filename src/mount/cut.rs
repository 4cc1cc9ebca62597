//! Cutting the connection of a mount whose daemon no longer answers, and telling whether one was cut, by the kernel's control of FUSE connections.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::disk::Disk;

const CONTROL: &str = "/sys/fs/fuse/connections";
const PAUSE: Duration = Duration::from_millis(20);

/// Cuts a connection that is still there after `grace`: whoever waits for its daemon gets an error. Only its owner and root may.
pub fn cut(disk: &Disk, minor: u32, grace: Duration) {
    let connection = Path::new(CONTROL).join(minor.to_string());
    if is_mounted() {
        return cut_after(disk, &connection, grace);
    }
    // Nobody has mounted it. Root does so where only this one thread sees it.
    let disk = disk.clone();
    let private = std::thread::Builder::new().name("braidfs-cut".to_owned()).spawn(move || {
        mount_privately()?;
        cut_after(&disk, &connection, grace);
        Ok::<(), Errno>(())
    });
    match private.map(std::thread::JoinHandle::join) {
        Ok(Ok(Err(errno))) => tracing::debug!(errno = errno.desc(), "the control of connections cannot be mounted"),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the connection cannot be cut"),
    }
}

/// Whether the kernel still has a connection, for it is mounted or something of it is open; none where that cannot be told.
pub fn is_there(disk: &Disk, minor: u32) -> Option<bool> {
    let connection = Path::new(CONTROL).join(minor.to_string());
    if is_mounted() {
        return Some(disk.exists(&connection));
    }
    let disk = disk.clone();
    let look = move || mount_privately().is_ok().then(|| disk.exists(&connection));
    std::thread::Builder::new().name("braidfs-cut".to_owned()).spawn(look).ok()?.join().ok()?
}

fn is_mounted() -> bool {
    const FUSE_CONTROL: i64 = 0x6573_5543;
    nix::sys::statfs::statfs(CONTROL).is_ok_and(|stat| stat.filesystem_type().0 & 0xFFFF_FFFF == FUSE_CONTROL)
}

fn mount_privately() -> Result<(), Errno> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    mount(Some("none"), CONTROL, Some("fusectl"), MsFlags::empty(), None::<&str>)
}

fn cut_after(disk: &Disk, connection: &Path, grace: Duration) {
    let start = Instant::now();
    while disk.exists(connection) {
        if start.elapsed() >= grace {
            if let Err(error) = disk.tell(&connection.join("abort"), b"1") {
                tracing::warn!(%error, "the connection cannot be cut");
            }
            return;
        }
        std::thread::sleep(PAUSE);
    }
}
