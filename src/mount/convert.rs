//! Between the kernel's words and ours: attributes, error numbers, how long an answer holds.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::time::Duration;

use fuser::{FileAttr, FileType, INodeNo, Request};

use crate::disk;
use crate::format::time::at_nanos;
use crate::fs::{Attr, Caller, LockKind, Manner, Ttl};
use crate::model::Errno;

/// Long enough that the kernel never asks by itself: every change is notified.
const UNTIL_TOLD: Duration = Duration::from_secs(24 * 60 * 60);

/// For how long an answer holds.
pub fn ttl(ttl: Ttl, manner: Manner) -> Duration {
    match ttl {
        Ttl::UntilTold if !manner.uncached => UNTIL_TOLD,
        Ttl::UntilTold | Ttl::Ask => Duration::ZERO,
    }
}

/// An error number as `fuser` takes it.
pub fn errno(errno: Errno) -> fuser::Errno {
    fuser::Errno::from_i32(errno.raw())
}

/// The attributes as `fuser` takes them.
pub fn attr(attr: &Attr, manner: Manner) -> FileAttr {
    let time = at_nanos(attr.mtime_ns);
    FileAttr {
        ino: INodeNo(attr.ino),
        size: attr.size,
        blocks: attr.size.div_ceil(512),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind: kind(attr.directory),
        perm: attr.mode,
        nlink: 1,
        uid: manner.uid,
        gid: manner.gid,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

/// The kind of an inode.
pub fn kind(directory: bool) -> FileType {
    if directory { FileType::Directory } else { FileType::RegularFile }
}

/// A name as text ([`disk::shown_name`]): drafts have any.
pub fn name(name: &OsStr) -> String {
    disk::shown_name(name)
}

/// The name that is shown as that text.
pub fn os_name(shown: &str) -> Cow<'_, OsStr> {
    if shown.contains('/') { disk::os_name(shown).into() } else { OsStr::new(shown).into() }
}

/// Who asks.
pub fn caller(request: &Request) -> Caller {
    Caller { uid: request.uid(), gid: request.gid(), pid: request.pid() }
}

/// The kind of a lock that fcntl(2) asks for; none to unlock.
pub fn lock_kind(typ: i32) -> Option<LockKind> {
    match typ {
        libc::F_RDLCK => Some(LockKind::Shared),
        libc::F_WRLCK => Some(LockKind::Exclusive),
        _ => None,
    }
}

/// The kind of a lock as fcntl(2) shows it.
pub fn lock_type(kind: LockKind) -> i32 {
    match kind {
        LockKind::Shared => libc::F_RDLCK,
        LockKind::Exclusive => libc::F_WRLCK,
    }
}
