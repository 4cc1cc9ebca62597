//! Listings as the kernel asks for them: names alone, or with the inodes that they stand for.

use fuser::{FileHandle, Generation, INodeNo, ReplyDirectory, ReplyDirectoryPlus};

use crate::fs::{Attr, Fs, Ttl};
use crate::mount::convert::{attr, errno, kind, ttl};
use crate::mount::notify::Queue;
use crate::mount::shell::settle;

/// Answers with the names behind an offset.
pub fn names(fs: &Fs, queue: &Queue, ino: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
    let (children, start) = match fs.children(ino.0, handle.0, offset) {
        Ok(listing) => listing,
        Err(error) => return reply.error(errno(error)),
    };
    let dots = [(1, ".", ino.0), (2, "..", fs.parent(ino.0))];
    let mut is_end = true;
    for (cookie, dot, number) in dots.into_iter().filter(|(cookie, ..)| *cookie > offset) {
        is_end = false;
        if reply.add(INodeNo(number), cookie, kind(true), dot) {
            return reply.ok();
        }
    }
    for child in children.iter().skip(start) {
        let Some(number) = fs.peek(ino.0, &child.entry.name) else { continue };
        is_end = false;
        if reply.add(INodeNo(number), child.cookie, kind(child.entry.directory), &child.entry.name) {
            break;
        }
    }
    if is_end {
        end_listing(fs, queue, ino);
    }
    reply.ok();
}

/// Answers with the names behind an offset and counts a lookup of each.
pub fn inodes(fs: &Fs, queue: &Queue, ino: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectoryPlus) {
    let (children, start) = match fs.children(ino.0, handle.0, offset) {
        Ok(listing) => listing,
        Err(error) => return reply.error(errno(error)),
    };
    let dots = [(1, ".", ino.0), (2, "..", fs.parent(ino.0))];
    let mut is_end = true;
    for (cookie, dot, number) in dots.into_iter().filter(|(cookie, ..)| *cookie > offset) {
        is_end = false;
        // The kernel takes no lookup for these two: only number and kind count.
        let shown = attr(&Attr { ino: number, size: 0, mtime_ns: 0, directory: true, mode: 0o555 }, fs.manner());
        if reply.add(INodeNo(number), cookie, dot, &ttl(Ttl::Ask, fs.manner()), &shown, Generation(0)) {
            return reply.ok();
        }
    }
    let mut given = Vec::new();
    for child in children.iter().skip(start) {
        let Ok((found, serial)) = fs.look_up(ino.0, &child.entry.name) else { continue };
        let shown = attr(&found.attr, fs.manner());
        is_end = false;
        if reply.add(shown.ino, child.cookie, &child.entry.name, &ttl(found.attr_ttl, fs.manner()), &shown, Generation(0)) {
            fs.forget(found.attr.ino, 1);
            break;
        }
        given.push((serial, found.attr.ino));
    }
    if is_end {
        end_listing(fs, queue, ino);
    }
    reply.ok();
    queue.tell(given.into_iter().filter_map(|(serial, ino)| fs.overtaken(serial, ino)));
}

/// Before the end of a listing is told: what the kernel keeps of it goes if it has names of several trees.
fn end_listing(fs: &Fs, queue: &Queue, ino: INodeNo) {
    if let Some(notice) = fs.end_listing(ino.0) {
        queue.tell([notice]);
        settle(queue);
    }
}
