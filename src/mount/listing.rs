//! Listings as the kernel asks for them: names alone, or with the inodes that they stand for.

use fuser::{FileHandle, FopenFlags, Generation, INodeNo, ReplyDirectory, ReplyDirectoryPlus, ReplyOpen};

use crate::fs::{Attr, Child, Fs, KEPT, Ttl};
use crate::model::Errno;
use crate::mount::convert::{attr, errno, kind, os_name, ttl};
use crate::mount::notify::Queue;
use crate::mount::shell::look_up;

/// What a reply is offered.
enum Offer<'a> {
    /// `.` or `..`, with its cookie and inode.
    Dot(u64, &'static str, u64),
    Child(&'a Child),
}

/// Stands for the number of a name that is listed and whose file is not there now.
const NOT_KNOWN: INodeNo = INodeNo(u32::MAX as u64);

/// What became of it.
enum Outcome {
    Added,
    /// The reply is full.
    Full,
    /// The name has gone meanwhile.
    Gone,
}

impl Outcome {
    fn of(is_full: bool) -> Self {
        if is_full { Self::Full } else { Self::Added }
    }
}

/// Opens a directory; where the kernel may keep its names, what it has of them stays.
pub fn open(fs: &Fs, ino: INodeNo, reply: ReplyOpen) {
    match fs.open_directory(ino.0) {
        Ok(KEPT) => reply.opened(FileHandle(KEPT), FopenFlags::FOPEN_CACHE_DIR | FopenFlags::FOPEN_KEEP_CACHE),
        Ok(handle) => reply.opened(FileHandle(handle), FopenFlags::empty()),
        Err(error) => reply.error(errno(error)),
    }
}

/// Answers with the names behind an offset.
pub fn names(fs: &Fs, queue: &Queue, ino: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
    let offered = offer(fs, queue, ino, handle, offset, |offer| match offer {
        Offer::Dot(cookie, dot, number) => Outcome::of(reply.add(INodeNo(number), cookie, kind(true), dot)),
        Offer::Child(Child { cookie, entry }) => match fs.peek(ino.0, &entry.name) {
            Some(number) => Outcome::of(reply.add(INodeNo(number), *cookie, kind(entry.directory), os_name(&entry.name))),
            None if fs.is_own(ino.0) || !fs.is_ready() => Outcome::Gone,
            None => Outcome::of(reply.add(NOT_KNOWN, *cookie, kind(entry.directory), os_name(&entry.name))),
        },
    });
    match offered {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(errno(error)),
    }
}

/// Answers with the names behind an offset and counts a lookup of each.
pub fn inodes(fs: &Fs, queue: &Queue, thread: u32, ino: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectoryPlus) {
    let mut given = Vec::new();
    let offered = offer(fs, queue, ino, handle, offset, |offer| match offer {
        Offer::Dot(cookie, dot, number) => {
            // The kernel takes no lookup for these two: only number and kind count.
            let shown = attr(&Attr { ino: number, size: 0, mtime_ns: 0, directory: true, mode: 0o555 }, fs.manner());
            Outcome::of(reply.add(INodeNo(number), cookie, dot, &ttl(Ttl::Ask, fs.manner()), &shown, Generation(0)))
        }
        Offer::Child(Child { cookie, entry }) => {
            let found = look_up(fs, queue, ino, &entry.name).ok();
            let (listed, how_long) = match &found {
                Some((found, _)) => (found.attr, found.attr_ttl),
                None => match fs.look_up_listed(ino.0, entry) {
                    Ok(listed) => (listed, Ttl::Ask),
                    Err(_) => return Outcome::Gone,
                },
            };
            let shown = attr(&listed, fs.manner());
            if reply.add(shown.ino, *cookie, os_name(&entry.name), &ttl(how_long, fs.manner()), &shown, Generation(0)) {
                fs.forget(listed.ino, 1);
                return Outcome::Full;
            }
            if let Some((_, serial)) = found {
                fs.note_told(thread, &listed);
                given.push((serial, listed.ino));
            }
            Outcome::Added
        }
    });
    match offered {
        Ok(()) => reply.ok(),
        Err(error) => return reply.error(errno(error)),
    }
    queue.tell(given.into_iter().filter_map(|(serial, ino)| fs.overtaken(serial, ino)));
}

/// Offers a reply what stands behind an offset, until it is full. Before the end of a listing is told, what the kernel keeps of it goes
/// if it has names of several trees.
fn offer(
    fs: &Fs,
    queue: &Queue,
    ino: INodeNo,
    handle: FileHandle,
    offset: u64,
    mut add: impl FnMut(Offer<'_>) -> Outcome,
) -> Result<(), Errno> {
    let (children, start) = fs.children(ino.0, handle.0, offset)?;
    let dots = [(1, ".", ino.0), (2, "..", fs.parent(ino.0))].into_iter().filter(|(cookie, ..)| *cookie > offset);
    let dots = dots.map(|(cookie, dot, number)| Offer::Dot(cookie, dot, number));
    let mut is_end = true;
    for offer in dots.chain(children.iter().skip(start).map(Offer::Child)) {
        match add(offer) {
            Outcome::Added => is_end = false,
            Outcome::Full => return Ok(()),
            Outcome::Gone => {}
        }
    }
    if let Some(notice) = is_end.then(|| fs.end_listing(ino.0, handle.0)).flatten() {
        // Not by the thread that tells of names: the reader holds the directory for which that one may wait.
        queue.doubt(fs, &[notice]);
    }
    Ok(())
}
