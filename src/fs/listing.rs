//! Directory listings: complete, each name once, also while names come and go.

use std::collections::hash_map::Entry as MapEntry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::fs::attr::moves;
use crate::fs::source::{Entry, is_folded};
use crate::fs::{Fs, Notice, locked};
use crate::model::Errno;

/// One name of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// Where a reader goes on behind it: the ordinal of its arrival, never that of another name.
    pub cookie: u64,
    /// The name and whether it is a directory.
    pub entry: Entry,
}

/// The listings that readers are in the middle of.
#[derive(Default)]
pub struct Listings {
    /// Of a directory that the kernel keeps nothing of, by handle: a snapshot until it is rewound.
    open: HashMap<u64, Listing>,
    handles: u64,
    /// Of a directory whose listing the kernel keeps, by inode: it follows the tree.
    kept: HashMap<u64, Listing>,
}

/// The handle of a directory whose listing the kernel keeps; also what it gives where it opens by itself.
pub const KEPT: u64 = 0;

/// Ordinals below this one are `.` and `..`.
const FIRST_COOKIE: u64 = 3;

struct Listing {
    serial: u64,
    next: u64,
    children: Arc<Vec<Child>>,
    copy: KernelCopy,
}

/// The kernel's own copy of a listing. It is made page by page as a reader goes on.
///
/// A copy that loses a page before it is whole is never finished: each listing asks for every name again, for as long as the kernel
/// holds the directory. So pages are dropped of a whole copy only, which the kernel then begins anew.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum KernelCopy {
    /// Every name, or nothing.
    #[default]
    Whole,
    /// The names so far; a reader may also have stopped there.
    Begun,
    /// Names of two trees.
    Mixed,
}

impl Listings {
    fn entry(&mut self, ino: u64, handle: u64) -> MapEntry<'_, u64, Listing> {
        if handle == KEPT { self.kept.entry(ino) } else { self.open.entry(handle) }
    }
}

impl Default for Listing {
    fn default() -> Self {
        Self { serial: 0, next: FIRST_COOKIE, children: Arc::default(), copy: KernelCopy::default() }
    }
}

impl Listing {
    /// Takes the names as they are now: who stays keeps its ordinal, who comes gets a larger one.
    fn renew(&mut self, names: Vec<Entry>, serial: u64) {
        let mut coming: HashSet<Entry> = names.iter().cloned().collect();
        let mut children: Vec<Child> = self.children.iter().filter(|child| coming.remove(&child.entry)).cloned().collect();
        for entry in names {
            if coming.remove(&entry) {
                children.push(Child { cookie: self.next, entry });
                self.next += 1;
            }
        }
        self.children = Arc::new(children);
        self.serial = serial;
    }
}

impl Fs {
    /// Opens a directory and returns its handle, which is [`KEPT`] for all whose listing the kernel may keep: it is told when one changes.
    ///
    /// # Errors
    /// `ENOTDIR` for a file, `ENOENT` for an inode that the kernel does not hold.
    pub fn open_directory(&self, ino: u64) -> Result<u64, Errno> {
        let path = self.directory_path(ino)?;
        if self.keeps_listing(&path) {
            return Ok(KEPT);
        }
        let mut listings = locked(&self.listings);
        listings.handles += 1;
        Ok(listings.handles)
    }

    /// Closes what [`Fs::open_directory`] opened.
    pub fn close_directory(&self, handle: u64) {
        locked(&self.listings).open.remove(&handle);
    }

    /// The names behind a cookie; a cookie of 0 takes them anew.
    ///
    /// # Errors
    /// `ENOTDIR` for a file, `ENOENT` for a directory that has gone.
    pub fn children(&self, ino: u64, handle: u64, after: u64) -> Result<(Arc<Vec<Child>>, usize), Errno> {
        let path = self.directory_path(ino)?;
        let serial = {
            let mut listings = locked(&self.listings);
            let listing = listings.entry(ino, handle).or_default();
            // Before the names are taken: a tree that comes meanwhile makes this copy one of two trees.
            if after == 0 && listing.copy == KernelCopy::Whole {
                listing.copy = KernelCopy::Begun;
            }
            let serial = self.serial();
            let is_stale = listing.children.is_empty() || (handle == KEPT && listing.serial < serial);
            (after == 0 || is_stale).then_some(serial)
        };
        let names = serial.map(|serial| self.names(&path).map(|names| (serial, names))).transpose()?;
        let mut listings = locked(&self.listings);
        let listing = listings.entry(ino, handle).or_default();
        // Another reader may have taken newer ones meanwhile.
        if let Some((serial, names)) = names.filter(|(serial, _)| *serial >= listing.serial) {
            listing.renew(names, serial);
        }
        let start = listing.children.partition_point(|child| child.cookie <= after);
        Ok((Arc::clone(&listing.children), start))
    }

    /// Notes that a reader is about to be told the end of a listing, which makes the kernel's copy whole. Returns what is to be told
    /// before, where that copy has names of several trees.
    pub fn end_listing(&self, ino: u64, handle: u64) -> Option<Notice> {
        if handle != KEPT {
            return None;
        }
        let mut listings = locked(&self.listings);
        let before = std::mem::replace(&mut listings.kept.get_mut(&ino)?.copy, KernelCopy::Whole);
        (before == KernelCopy::Mixed).then_some(Notice::Listing { ino })
    }

    /// Whether the kernel may drop its copy of a listing now; else it is dropped at the end of the next reader.
    #[must_use]
    pub fn may_drop_listing(&self, ino: u64) -> bool {
        match locked(&self.listings).kept.get_mut(&ino) {
            Some(listing) if listing.copy != KernelCopy::Whole => {
                listing.copy = KernelCopy::Mixed;
                false
            }
            _ => true,
        }
    }

    /// Drops the listing that is kept for an inode.
    pub(super) fn forget_listing(&self, ino: u64) {
        locked(&self.listings).kept.remove(&ino);
    }

    /// Whether the kernel may keep the listing of a directory: not where names come and go as files are written, nor in a past, of which each
    /// directory would be told each time. Where it does not ask it keeps all.
    pub(super) fn keeps_listing(&self, path: &str) -> bool {
        !self.manner.uncached && !self.is_own_path(path) && (self.manner.read_only || !(is_folded(path) || moves(path)))
    }

    fn names(&self, path: &str) -> Result<Vec<Entry>, Errno> {
        self.known(path)?;
        self.list(path).ok_or(Errno::ENOENT)
    }
}
