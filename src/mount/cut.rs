//! Cutting the connection of a mount whose daemon no longer answers, and telling whether one was cut, by the kernel's control of FUSE connections.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;
use nix::unistd::{AccessFlags, faccessat};

use crate::disk::Disk;

const CONTROL: &str = "/sys/fs/fuse/connections";
/// Who writes to it cuts the connection.
const ABORT: &str = "abort";
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

/// The kernel's control of one connection, held from its beginning: the number of one that has ended is given to the next.
pub struct Control(OwnedFd);

impl Control {
    /// That of a connection; none where it cannot be had: for others than root, where nobody has mounted it.
    pub fn of(minor: u32) -> Option<Self> {
        let open = move || {
            let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            nix::fcntl::open(&Path::new(CONTROL).join(minor.to_string()), flags, Mode::empty()).ok().map(Self)
        };
        if is_mounted() {
            return open();
        }
        let private = move || mount_privately().ok().and_then(|()| open());
        std::thread::Builder::new().name("braidfs-cut".to_owned()).spawn(private).ok()?.join().ok()?
    }

    /// Whether the kernel still has the connection, for it is mounted or something of it is open.
    pub fn is_there(&self) -> bool {
        faccessat(&self.0, ABORT, AccessFlags::F_OK, AtFlags::empty()).is_ok()
    }

    /// The same once more, to be handed on.
    pub fn try_clone(&self) -> io::Result<OwnedFd> {
        self.0.try_clone()
    }
}

/// Cuts the connection whose control is open.
pub fn cut_by(control: impl AsFd) -> nix::Result<()> {
    let abort = openat(control, ABORT, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    nix::unistd::write(abort, b"1").map(drop)
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
            if let Err(error) = disk.tell(&connection.join(ABORT), b"1") {
                tracing::warn!(%error, "the connection cannot be cut");
            }
            return;
        }
        std::thread::sleep(PAUSE);
    }
}
