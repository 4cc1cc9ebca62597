//! Attaching to a mount point and letting go of it: by the system call as root, through `fusermount3` as a user.
//!
//! The crate's own mounting is not used: it cannot be told to leave a mount point alone that somebody else has unmounted, and would
//! unmount what lies beneath.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::{MntFlags, MsFlags};
use nix::sys::socket::{AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, socketpair};
use nix::sys::stat::Mode;

use crate::disk::{NO_FILES_CURE, NO_THREAD_CURE};
use crate::mount::Error;

/// What is shown as the file system's type, and by which a mount of ours is known.
pub const FILE_SYSTEM: &str = "fuse.braidfs";

/// How to attach.
pub struct Attachment<'a> {
    /// The store: shown as the source.
    pub source: &'a Path,
    /// Where.
    pub point: &'a Path,
    /// With a read-only superblock.
    pub read_only: bool,
    /// Whether others than the mounting user may enter.
    pub allow_other: bool,
}

impl Attachment<'_> {
    /// Mounts and returns the device on which the kernel speaks.
    pub fn attach(&self) -> Result<OwnedFd, Error> {
        match self.by_call() {
            Err(Errno::EPERM | Errno::EACCES) => self.by_helper(),
            Err(Errno::ENOENT | Errno::ENODEV) => {
                Err(Error::new("'/dev/fuse' is not there: the kernel has no FUSE", "load it: modprobe fuse"))
            }
            Err(Errno::ENOTDIR) => {
                Err(Error::refused(format!("'{}' is not a directory", self.point.display()), "name another place, or mkdir one"))
            }
            Err(errno @ (Errno::EINVAL | Errno::ENXIO | Errno::EBADF)) => Err(Error::new(
                format!("'{}' cannot be mounted: {}", self.point.display(), errno.desc()),
                "look whether /dev/fuse is the device of FUSE (stat -c '%F %t,%T' /dev/fuse says: character special file a,e5)",
            )),
            Err(errno) => Err(Error::new(format!("'{}' cannot be mounted: {}", self.point.display(), errno.desc()), "")),
            Ok(device) => Ok(device),
        }
    }

    fn by_call(&self) -> nix::Result<OwnedFd> {
        if !nix::unistd::geteuid().is_root() {
            return Err(Errno::EPERM);
        }
        let device = nix::fcntl::open("/dev/fuse", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
        let options = format!(
            "fd={},rootmode=40000,user_id={},group_id={}{}",
            device.as_raw_fd(),
            nix::unistd::getuid(),
            nix::unistd::getgid(),
            if self.allow_other { ",allow_other" } else { "" }
        );
        let mut flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        flags.set(MsFlags::MS_RDONLY, self.read_only);
        nix::mount::mount(Some(self.source), self.point, Some(FILE_SYSTEM), flags, Some(options.as_str()))?;
        Ok(device)
    }

    fn by_helper(&self) -> Result<OwnedFd, Error> {
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::empty()).map_err(failed)?;
        let mode = if self.read_only { "ro" } else { "rw" };
        let others = if self.allow_other { ",allow_other" } else { "" };
        let mut options = b"fsname=".to_vec();
        for &byte in self.source.as_os_str().as_bytes() {
            options.extend_from_slice(if matches!(byte, b'\\' | b',') { b"\\" } else { b"" });
            options.push(byte);
        }
        options.extend_from_slice(format!(",subtype=braidfs,nosuid,nodev,{mode}{others}").as_bytes());
        let mut command = Command::new("fusermount3");
        command.arg("-o").arg(OsStr::from_bytes(&options)).arg("--").arg(self.point).env("_FUSE_COMMFD", theirs.as_raw_fd().to_string());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let helper = command.spawn().map_err(|error| no_helper(&error, "mount"))?;
        drop(theirs);
        let device = receive(&ours);
        let output = helper.wait_with_output().map_err(|error| Error::new(format!("'fusermount3' was lost: {error}"), ""))?;
        device.ok_or_else(|| {
            let told = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            let message = format!("'{}' cannot be mounted: {told}", self.point.display());
            if told.contains("user_allow_other") {
                Error::refused(message, "put 'user_allow_other' into /etc/fuse.conf, or mount without --allow-other")
            } else {
                Error::new(message, "")
            }
        })
    }
}

/// Takes the device that the helper hands over; none if it failed.
fn receive(socket: &OwnedFd) -> Option<OwnedFd> {
    let mut byte = [0u8; 1];
    let mut buffers = [IoSliceMut::new(&mut byte)];
    let mut space = nix::cmsg_space!(RawFd);
    let message = loop {
        match recvmsg::<()>(socket.as_raw_fd(), &mut buffers, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC) {
            Err(Errno::EINTR) => {}
            other => break other.ok()?,
        }
    };
    let fd = message.cmsgs().ok()?.find_map(|part| match part {
        ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
        _ => None,
    })?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    #[allow(unsafe_code)]
    let device = unsafe { OwnedFd::from_raw_fd(fd) };
    Some(device)
}

fn failed(errno: Errno) -> Error {
    Error::new(format!("the mount cannot be prepared: {}", errno.desc()), "")
}

/// Why the helper cannot be run, and what helps who wants it to do something that root can do without.
fn no_helper(error: &io::Error, what: &str) -> Error {
    let hint = match error.kind() {
        io::ErrorKind::WouldBlock => NO_THREAD_CURE,
        _ if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => NO_FILES_CURE,
        io::ErrorKind::NotFound => &format!("install the package fuse3, or {what} as root"),
        _ => "see what it is: type -a fusermount3; of the package fuse3 it is a program that belongs to root, with the mode 4755",
    };
    Error::new(format!("'fusermount3' cannot be run: {error}"), hint)
}

/// Why a mount stays where it is.
#[derive(Debug)]
pub enum Undetached {
    /// The kernel, or the helper, says so: `EBUSY` when somebody uses it, `EINVAL` when nothing is mounted there or it must stay, `EPERM`
    /// when it is another user's.
    Errno(Errno),
    /// A user needs the helper, and it cannot be run.
    NoHelper(Error),
}

impl fmt::Display for Undetached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Errno(errno) => f.write_str(errno.desc()),
            Self::NoHelper(error) => write!(f, "{error}"),
        }
    }
}

/// Takes a mount off its place; a lazy one stays for those who use it until they are done.
pub fn detach(point: &Path, lazy: bool) -> Result<(), Undetached> {
    let flags = if lazy { MntFlags::MNT_DETACH } else { MntFlags::UMOUNT_NOFOLLOW };
    match nix::mount::umount2(point, flags) {
        Err(Errno::EPERM) => by_helper(point, lazy),
        other => other.map_err(Undetached::Errno),
    }
}

fn by_helper(point: &Path, lazy: bool) -> Result<(), Undetached> {
    let mut command = Command::new("fusermount3");
    command.arg(if lazy { "-uz" } else { "-u" }).arg("--").arg(point);
    let output = command.stdin(Stdio::null()).output().map_err(|error| Undetached::NoHelper(no_helper(&error, "unmount it")))?;
    if output.status.success() {
        return Ok(());
    }
    let told = String::from_utf8_lossy(&output.stderr);
    let busy = told.contains("busy");
    Err(Undetached::Errno(if busy {
        Errno::EBUSY
    } else if told.contains("not found") {
        Errno::EINVAL
    } else {
        Errno::EPERM
    }))
}
