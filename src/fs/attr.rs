//! What stat(2) shows of an inode, and for how long the kernel may believe it.

use crate::fs::source::Node;

/// What stat(2) shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attr {
    /// The inode's number.
    pub ino: u64,
    /// Exact size in bytes; 0 for a directory.
    pub size: u64,
    /// Nanoseconds since 1970.
    pub mtime_ns: i128,
    /// Whether it is a directory.
    pub directory: bool,
    /// The permission bits.
    pub mode: u16,
}

/// For how long the kernel may believe an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    /// Until it is told otherwise: every change is notified.
    UntilTold,
    /// Not at all: the next call asks again.
    Ask,
}

/// An inode as an answer to a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// What stat(2) shows.
    pub attr: Attr,
    /// How long the attributes hold.
    pub attr_ttl: Ttl,
    /// How long the name stands for this inode.
    pub entry_ttl: Ttl,
}

impl Attr {
    /// The attributes of a view.
    #[must_use]
    pub fn of_view(ino: u64, node: &Node) -> Self {
        match node {
            Node::Directory { mtime_ns } => Self { ino, size: 0, mtime_ns: *mtime_ns, directory: true, mode: 0o555 },
            Node::File(file) => Self { ino, size: file.size(), mtime_ns: file.mtime_ns(), directory: false, mode: 0o444 },
        }
    }
}

/// How long the answers about a view hold.
///
/// Small files of the root that change with every epoch are asked for anew: cheaper than a notification each. So is everything while
/// the index catches up or a commit is being decided.
#[must_use]
pub fn view_ttl(path: &str, node: &Node, certain: bool) -> Ttl {
    match node {
        _ if !certain || moves(path) => Ttl::Ask,
        Node::File(file) if !file.grows() && !path.contains('/') => Ttl::Ask,
        // A definition may change without an epoch.
        _ if path == "views" || path.starts_with("views/") => Ttl::Ask,
        _ => Ttl::UntilTold,
    }
}

/// Whether a path leads through a moment.
pub fn is_past(path: &str) -> bool {
    path.starts_with("at/")
}

/// Whether a path leads through a moment that may come to mean something else; a commit never does.
pub fn moves(path: &str) -> bool {
    is_past(path) && !path.starts_with("at/git:")
}
