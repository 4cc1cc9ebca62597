//! The shell around the file system: unpack a request, call, reply. Nothing is decided here.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, Errno as FuseErrno, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    IoctlFlags, KernelConfig, LockOwner, OpenFlags, PollEvents, PollFlags, PollNotifier, RenameFlags, ReplyAttr, ReplyBmap, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLock, ReplyLseek, ReplyOpen, ReplyPoll,
    ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use crate::fs::{Caller, Changes, Found, Fs, Lock, Opened, Release, Slow, commit_kind};
use crate::model::Errno;
use crate::mount::convert::{attr, caller, errno, lock_kind, lock_type, name, ttl};
use crate::mount::home;
use crate::mount::listing;
use crate::mount::notify::Queue;
use crate::mount::shell::{SETTLE_LIMIT, Shell, TOLD_SOON, guarded, look_up, settle};

/// Requests that the kernel may send without waiting for each: read-ahead and RELEASE; fewer delay a RELEASE, and so a commit.
const BACKGROUND_MAX: u16 = 256;
/// One write(2) up to this size arrives as one request.
const WRITE_BYTES_MAX: u32 = 1 << 20;

macro_rules! answer {
    ($reply:ident, $result:expr, $value:pat => $good:expr) => {
        match $result {
            Ok($value) => $good,
            Err(error) => $reply.error(errno(error)),
        }
    };
}

impl Shell {
    /// Opens a file once no commit is being decided and the kernel knows what came of it: an answer about a size that meets the notice
    /// of another one is dropped by the kernel, and who then read at once would find the file as it was before.
    fn open_later(&self, ino: INodeNo, flags: OpenFlags, caller: Caller, reply: ReplyOpen) {
        let (fs, queue, waiting) = (Arc::clone(&self.fs), Arc::clone(&self.queue), Arc::clone(&self.waiting));
        let open = move || {
            settle(&queue);
            answer!(reply, fs.open_after_wait(ino.0, flags.0, caller), file => opened(&fs, reply, file));
        };
        // Apart from what else is parked: that may hold what the notices need.
        self.parking.park(self.fs.closes(), Box::new(move || waiting.run(Box::new(move || guarded("open", open)))));
    }
}

/// Answers with an inode; the kernel may have been told of a change before it knew the inode that this reply brings.
fn entry(fs: &Fs, queue: &Queue, thread: u32, result: Result<(Found, u64), Errno>, reply: ReplyEntry) {
    answer!(reply, result, (found, serial) => {
        fs.note_told(thread, &found.attr);
        let shown = attr(&found.attr, fs.manner());
        reply.entry_with_ttls(&ttl(found.attr_ttl, fs.manner()), &ttl(found.entry_ttl, fs.manner()), &shown, Generation(0));
        queue.tell(fs.overtaken(serial, found.attr.ino));
    });
}

fn opened(fs: &Fs, reply: ReplyOpen, opened: Opened) {
    reply.opened(FileHandle(opened.handle), open_flags(fs, opened));
}

fn open_flags(fs: &Fs, opened: Opened) -> FopenFlags {
    let kept = if opened.direct || fs.manner().uncached { FopenFlags::FOPEN_DIRECT_IO } else { FopenFlags::FOPEN_KEEP_CACHE };
    if opened.flushes { kept } else { kept | FopenFlags::FOPEN_NOFLUSH }
}

impl Filesystem for Shell {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let wanted = [
            InitFlags::FUSE_EXPLICIT_INVAL_DATA,
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_ASYNC_READ,
            InitFlags::FUSE_ATOMIC_O_TRUNC,
            // Also read-only: there a lock on a checkpoint is refused, which the kernel alone would grant.
            InitFlags::FUSE_FLOCK_LOCKS,
        ];
        // What the kernel keeps nothing of can be mapped all the same.
        let mapped = self.fs.manner().uncached.then_some(InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP);
        // Where nothing is written the locks of fcntl(2) are shared ones, so none but those on a checkpoint are refused. Elsewhere the kernel
        // alone sees to them, with what they need of ranges and of who waits for whom.
        let ranges = self.fs.manner().read_only.then_some(InitFlags::FUSE_POSIX_LOCKS);
        for capability in wanted.into_iter().chain(mapped).chain(ranges) {
            if config.add_capabilities(capability).is_err() {
                tracing::info!(?capability, "the kernel does not offer a capability");
            }
        }
        // What the kernel refuses it keeps at its own nearest value, with which everything works.
        let _ = config.set_max_background(BACKGROUND_MAX);
        let _ = config.set_max_write(WRITE_BYTES_MAX);
        Ok(())
    }

    fn lookup(&self, request: &Request, parent: INodeNo, child: &OsStr, reply: ReplyEntry) {
        self.begin_in_turn(request);
        let thread = request.pid();
        if let Some(pool) = self.apart_in(parent) {
            let child = name(child);
            return self.run_apart(&pool, "lookup", move |fs, queue| entry(fs, queue, thread, fs.look_up(parent.0, &child), reply));
        }
        guarded("lookup", || {
            let child = name(child);
            if self.must_wait_in(parent) {
                let closes = self.fs.closes();
                return self.wait("lookup", move |fs, queue| {
                    let mut found = look_up(fs, queue, parent, &child);
                    if found.is_err() && parent != INodeNo::ROOT {
                        fs.wait_decided(closes);
                        found = look_up(fs, queue, parent, &child);
                    }
                    entry(fs, queue, thread, found, reply);
                });
            }
            let found = look_up(&self.fs, &self.queue, parent, &child);
            // What is not there may be about to come. A waiting lookup in the root and one notice for a name there would stop everything.
            if found.is_ok() || parent == INodeNo::ROOT || !self.fs.waits_in(parent.0, Some(&child)) {
                return entry(&self.fs, &self.queue, thread, found, reply);
            }
            self.park("lookup", move |fs, queue| entry(fs, queue, thread, look_up(fs, queue, parent, &child), reply));
        });
    }

    fn forget(&self, request: &Request, ino: INodeNo, lookups: u64) {
        self.begin(request);
        guarded("forget", || self.fs.forget(ino.0, lookups));
    }

    fn getattr(&self, request: &Request, ino: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        self.begin_in_turn(request);
        let thread = request.pid();
        let answer = move |fs: &Fs, queue: &Queue, limit: Duration| {
            let found = queue.once_told(limit, || fs.serial(), || fs.changes_together(ino.0), || fs.attributes(ino.0));
            answer!(reply, found, (found, how_long) => {
                fs.note_told(thread, &found);
                reply.attr(&ttl(how_long, fs.manner()), &attr(&found, fs.manner()));
            });
        };
        if self.queue.is_telling() && self.fs.changes_together(ino.0) {
            let closes = self.fs.closes();
            return self.wait("getattr", move |fs, queue| {
                fs.wait_decided(closes);
                answer(fs, queue, SETTLE_LIMIT);
            });
        }
        self.reading("getattr", ino, move |fs, queue| answer(fs, queue, TOLD_SOON));
    }

    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let changes = Changes { size, touched: mtime.is_some(), now: matches!(mtime, Some(TimeOrNow::Now)) };
        let caller = caller(request);
        let may_try_again = self.fs.may_try_again(ino.0, changes);
        // What another attempt is depends on whether the close before it was the last one.
        if may_try_again {
            self.begin_in_turn(request)
        } else {
            self.begin(request)
        }
        let set = move |fs: &Fs, queue: &Queue| {
            let set = fs.set_attributes(ino.0, changes, caller);
            let tried = set.and_then(|_| fs.try_again(ino.0, changes, || queue.wait_shown(SETTLE_LIMIT), || settle(queue)));
            answer!(reply, tried.and(set), (found, how_long) => {
                reply.attr(&ttl(how_long, fs.manner()), &attr(&found, fs.manner()));
            });
        };
        if may_try_again { self.commit("setattr", set) } else { self.work("setattr", set) }
    }

    fn readlink(&self, request: &Request, _ino: INodeNo, reply: ReplyData) {
        self.begin(request);
        reply.error(FuseErrno::EINVAL);
    }

    fn mknod(&self, request: &Request, parent: INodeNo, child: &OsStr, mode: u32, _umask: u32, _rdev: u32, reply: ReplyEntry) {
        self.begin(request);
        let caller = caller(request);
        guarded("mknod", || {
            let made = self.fs.make_node(parent.0, &name(child), mode, caller);
            entry(&self.fs, &self.queue, request.pid(), made, reply);
        });
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, _name: &OsStr, _mode: u32, _umask: u32, reply: ReplyEntry) {
        self.begin(request);
        guarded("mkdir", || reply.error(errno(self.fs.refuse_node(parent.0))));
    }

    fn unlink(&self, request: &Request, parent: INodeNo, child: &OsStr, reply: ReplyEmpty) {
        self.begin(request);
        let caller = caller(request);
        guarded("unlink", || {
            answer!(reply, self.fs.unlink(parent.0, &name(child), caller), () => reply.ok());
        });
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, child: &OsStr, reply: ReplyEmpty) {
        self.begin(request);
        guarded("rmdir", || reply.error(errno(self.fs.refuse_rmdir(parent.0, &name(child)))));
    }

    fn symlink(&self, request: &Request, parent: INodeNo, _name: &OsStr, _target: &Path, reply: ReplyEntry) {
        self.begin(request);
        guarded("symlink", || reply.error(errno(self.fs.refuse_node(parent.0))));
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        from: &OsStr,
        new_parent: INodeNo,
        to: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        self.begin(request);
        let caller = caller(request);
        let (from, to) = (name(from), name(to));
        let commits = commit_kind(&to).is_some();
        let rename = move |fs: &Fs, queue: &Queue| {
            let renamed = fs.rename((parent.0, &from), (new_parent.0, &to), flags.bits(), caller, || settle(queue));
            answer!(reply, renamed, () => reply.ok());
        };
        if commits { self.commit("rename", rename) } else { self.work("rename", rename) }
    }

    fn link(&self, request: &Request, _ino: INodeNo, parent: INodeNo, _name: &OsStr, reply: ReplyEntry) {
        self.begin(request);
        guarded("link", || reply.error(errno(self.fs.refuse_node(parent.0))));
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        self.begin_in_turn(request);
        let caller = caller(request);
        let slow = self.fs.slow(ino.0);
        if slow != Some(Slow::Fold) && self.is_stateless() && self.fs.is_ready() && !self.fs.waits(ino.0) {
            // The kernel then opens by itself, for ever.
            return guarded("open", || reply.error(FuseErrno::ENOSYS));
        }
        if let Some(pool) = self.pool_of(slow) {
            return self.run_apart(&pool, "open", move |fs, _| {
                answer!(reply, fs.open_after_wait(ino.0, flags.0, caller), file => opened(fs, reply, file));
            });
        }
        if self.fs.waits(ino.0) {
            return self.open_later(ino, flags, caller, reply);
        }
        let open = move |fs: &Fs| answer!(reply, fs.open(ino.0, flags.0, caller), file => opened(fs, reply, file));
        let Some(limit) = self.fs.open_wait(ino.0, flags.0) else { return guarded("open", || open(&self.fs)) };
        let (fs, until) = (Arc::clone(&self.fs), Instant::now().checked_add(limit));
        self.verdicts.park(&self.fs, (ino.0, flags.0), until, Box::new(move || guarded("open", || open(&fs))));
    }

    fn read(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.begin(request);
        self.fs.note_asked(request.pid());
        if let Some(pool) = self.apart(ino) {
            return self.run_apart(&pool, "read", move |fs, _| {
                answer!(reply, fs.read(ino.0, handle.0, offset, size as usize), bytes => reply.data(&bytes));
            });
        }
        // Never parked: it holds pages that a notice may need. Who reads on where a file ended asks for its size first.
        guarded("read", || answer!(reply, self.fs.read(ino.0, handle.0, offset, size as usize), bytes => reply.data(&bytes)));
    }

    fn write(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        self.begin(request);
        let written = u32::try_from(data.len()).unwrap_or(u32::MAX);
        if !self.fs.is_append(ino.0) {
            return guarded("write", || answer!(reply, self.fs.write(handle.0, offset, data), () => reply.written(written)));
        }
        let line = data.to_vec();
        self.commit("append", move |fs, queue| {
            let appended = fs.append(&line);
            settle(queue);
            answer!(reply, appended, () => reply.written(written));
        });
    }

    fn flush(&self, request: &Request, _ino: INodeNo, handle: FileHandle, _owner: LockOwner, reply: ReplyEmpty) {
        self.begin(request);
        if self.fs.manner().read_only {
            // close(2) succeeds all the same, and the kernel never asks again.
            return guarded("flush", || reply.error(FuseErrno::ENOSYS));
        }
        let flush = move |fs: &Fs, queue: &Queue| {
            let (notices, flushed) = fs.flush(handle.0);
            queue.doubt(fs, &notices);
            answer!(reply, flushed, () => reply.ok());
        };
        // Behind the commits: who writes one file after the other would be ahead of those who read views for ever.
        if self.fs.may_commit(handle.0) { self.commit("flush", flush) } else { self.work("flush", flush) }
    }

    fn release(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        guarded("release", || {
            if let Some(owner) = owner {
                self.fs.unlock_all(ino.0, owner.0);
            }
            match self.fs.release(handle.0) {
                Release::Done => reply.ok(),
                Release::Commit(file) => self.commit("commit", move |fs, queue| {
                    fs.decide(handle.0, &file, || queue.wait_shown(SETTLE_LIMIT), || settle(queue));
                    reply.ok();
                }),
            }
        });
        // Now it is known whether that was the last close.
        self.begin(request);
    }

    fn fsync(&self, request: &Request, _ino: INodeNo, handle: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        self.begin(request);
        self.work("fsync", move |fs, _| answer!(reply, fs.sync(handle.0), () => reply.ok()));
    }

    fn opendir(&self, request: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        self.begin_in_turn(request);
        if self.is_stateless() {
            return guarded("opendir", || reply.error(FuseErrno::ENOSYS));
        }
        if self.fs.waits_in(ino.0, None) || self.queue.is_telling() {
            // The kernel may then list by itself: what was committed before is told first.
            return self.after_wait("opendir", ino, move |fs, queue| {
                settle(queue);
                listing::open(fs, ino, reply);
            });
        }
        guarded("opendir", || listing::open(&self.fs, ino, reply));
    }

    fn readdir(&self, request: &Request, ino: INodeNo, handle: FileHandle, offset: u64, reply: ReplyDirectory) {
        self.begin_in_turn(request);
        self.listing("readdir", ino, offset, move |fs, queue| listing::names(fs, queue, ino, handle, offset, reply));
    }

    fn readdirplus(&self, request: &Request, ino: INodeNo, handle: FileHandle, offset: u64, reply: ReplyDirectoryPlus) {
        self.begin_in_turn(request);
        let thread = request.pid();
        let list = move |fs: &Fs, queue: &Queue| listing::inodes(fs, queue, thread, ino, handle, offset, reply);
        if self.must_wait_in(ino) {
            let closes = self.fs.closes();
            return self.wait("readdirplus", move |fs, queue| {
                if offset == 0 {
                    fs.wait_for(ino.0, closes);
                }
                list(fs, queue);
            });
        }
        self.listing("readdirplus", ino, offset, list);
    }

    fn releasedir(&self, request: &Request, _ino: INodeNo, handle: FileHandle, _flags: OpenFlags, reply: ReplyEmpty) {
        self.begin(request);
        guarded("releasedir", || {
            self.fs.close_directory(handle.0);
            reply.ok();
        });
    }

    fn fsyncdir(&self, request: &Request, _ino: INodeNo, _handle: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        self.begin(request);
        reply.ok();
    }

    fn statfs(&self, request: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        self.begin(request);
        guarded("statfs", || {
            answer!(reply, room(&self.store), room => {
                let unit = u32::try_from(room.fragment_size()).unwrap_or(4096);
                reply.statfs(room.blocks(), room.blocks_free(), room.blocks_available(), room.files(), room.files_free(), unit, 255, unit);
            });
        });
    }

    fn setxattr(&self, request: &Request, ino: INodeNo, _name: &OsStr, _value: &[u8], _flags: i32, _position: u32, reply: ReplyEmpty) {
        self.begin(request);
        guarded("setxattr", || reply.error(errno(self.fs.refuse_xattr(ino.0))));
    }

    fn getxattr(&self, request: &Request, ino: INodeNo, key: &OsStr, size: u32, reply: ReplyXattr) {
        self.begin(request);
        guarded("getxattr", || {
            answer!(reply, key.to_str().ok_or(Errno::ENODATA).and_then(|key| self.fs.xattr(ino.0, key)), value => xattr(reply, &value, size));
        });
    }

    fn listxattr(&self, request: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        self.begin(request);
        guarded("listxattr", || {
            answer!(reply, self.fs.xattrs(ino.0), xattrs => {
                let names: Vec<u8> = xattrs.into_iter().flat_map(|(name, _)| [name.into_bytes(), vec![0]].concat()).collect();
                xattr(reply, &names, size);
            });
        });
    }

    fn removexattr(&self, request: &Request, ino: INodeNo, _name: &OsStr, reply: ReplyEmpty) {
        self.begin(request);
        guarded("removexattr", || reply.error(errno(self.fs.refuse_xattr(ino.0))));
    }

    fn access(&self, request: &Request, ino: INodeNo, mask: AccessFlags, reply: ReplyEmpty) {
        self.begin(request);
        let caller = caller(request);
        guarded("access", || answer!(reply, self.fs.access(ino.0, mask.bits(), caller), () => reply.ok()));
    }

    fn create(&self, request: &Request, parent: INodeNo, child: &OsStr, _mode: u32, _umask: u32, flags: i32, reply: ReplyCreate) {
        self.begin(request);
        let caller = caller(request);
        guarded("create", || {
            answer!(reply, self.fs.create(parent.0, &name(child), flags, caller), (found, opened) => {
                let shown = attr(&found.attr, self.fs.manner());
                let ttl = ttl(found.attr_ttl, self.fs.manner());
                reply.created(&ttl, &shown, Generation(0), FileHandle(opened.handle), open_flags(&self.fs, opened));
            });
        });
    }

    fn getlk(
        &self,
        request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        owner: LockOwner,
        start: u64,
        end: u64,
        typ: i32,
        _pid: u32,
        reply: ReplyLock,
    ) {
        self.begin(request);
        guarded("getlk", || {
            let holder = lock_kind(typ).and_then(|kind| self.fs.lock_holder(ino.0, owner.0, kind));
            match holder {
                Some(Lock { kind, pid }) => reply.locked(start, end, lock_type(kind), pid),
                None => reply.locked(start, end, libc::F_UNLCK, 0),
            }
        });
    }

    fn setlk(
        &self,
        request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        owner: LockOwner,
        _start: u64,
        _end: u64,
        typ: i32,
        pid: u32,
        sleep: bool,
        reply: ReplyEmpty,
    ) {
        self.begin(request);
        let Some(kind) = lock_kind(typ) else {
            return guarded("setlk", || {
                self.fs.unlock_all(ino.0, owner.0);
                reply.ok();
            });
        };
        guarded("setlk", || {
            let waiting = sleep.then(|| self.waits.begin(&self.fs, request.pid(), ino.0, owner.0));
            let granted = move |result| {
                drop(waiting);
                answer!(reply, result, () => reply.ok());
            };
            self.fs.lock(ino.0, owner.0, Lock { kind, pid }, sleep, Box::new(granted));
        });
    }

    fn bmap(&self, request: &Request, _ino: INodeNo, _blocksize: u32, _idx: u64, reply: ReplyBmap) {
        self.begin(request);
        reply.error(FuseErrno::EINVAL);
    }

    fn ioctl(
        &self,
        request: &Request,
        _ino: INodeNo,
        _handle: FileHandle,
        _flags: IoctlFlags,
        command: u32,
        _data: &[u8],
        _out_size: u32,
        reply: ReplyIoctl,
    ) {
        self.begin(request);
        if command == home::COMMAND {
            return reply.ioctl(0, &self.home.answer());
        }
        reply.error(FuseErrno::ENOTTY);
    }

    fn poll(
        &self,
        request: &Request,
        _ino: INodeNo,
        _handle: FileHandle,
        _notifier: PollNotifier,
        events: PollEvents,
        _flags: PollFlags,
        reply: ReplyPoll,
    ) {
        self.begin(request);
        reply.poll(events & (PollEvents::POLLIN | PollEvents::POLLOUT));
    }

    fn fallocate(&self, request: &Request, _ino: INodeNo, handle: FileHandle, offset: u64, length: u64, mode: i32, reply: ReplyEmpty) {
        self.begin(request);
        guarded("fallocate", || answer!(reply, self.fs.allocate(handle.0, offset, length, mode), () => reply.ok()));
    }

    fn lseek(&self, request: &Request, ino: INodeNo, _handle: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        self.begin(request);
        guarded("lseek", || answer!(reply, self.fs.seek(ino.0, offset, whence), offset => reply.offset(offset)));
    }

    fn copy_file_range(
        &self,
        request: &Request,
        _ino_in: INodeNo,
        _handle_in: FileHandle,
        _offset_in: u64,
        _ino_out: INodeNo,
        _handle_out: FileHandle,
        _offset_out: u64,
        _len: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        self.begin(request);
        // The kernel then copies by reading and writing.
        reply.error(FuseErrno::EOPNOTSUPP);
    }
}

/// The room on the store's own file system: what is mounted has none of its own.
fn room(store: &Path) -> Result<nix::sys::statvfs::Statvfs, Errno> {
    nix::sys::statvfs::statvfs(store).map_err(|error| Errno::from_raw(error as i32))
}

fn xattr(reply: ReplyXattr, value: &[u8], size: u32) {
    match u32::try_from(value.len()) {
        Ok(len) if size == 0 => reply.size(len),
        Ok(len) if len <= size => reply.data(value),
        _ => reply.error(FuseErrno::ERANGE),
    }
}
