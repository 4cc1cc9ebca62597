//! What the file system shows and where drafts go: the seam to the rows below, so that tests can stand in for them.

use std::any::Any;
use std::io;
use std::sync::Arc;

/// The tree of one published state; paths have no leading `/`, the root is `""`.
pub trait Tree: Send + Sync {
    /// Finds what a path names.
    fn find(&self, path: &str) -> Option<Node>;

    /// Finds the file that a path through a moment named before, by its incarnation, if it is still at hand.
    fn find_former(&self, _path: &str, _incarnation: u64) -> Option<Arc<dyn Content>> {
        None
    }

    /// Lists a directory: complete, each name once; none if it is no directory.
    fn list(&self, path: &str) -> Option<Vec<Entry>>;

    /// The files below `streams/`, `types/`, `categories/` and `transactions/` that differ from the tree before this one, came or went; any other
    /// path may differ too. Of the prefixes in `categories/` that are not listed those that have grown.
    fn changed(&self) -> Vec<String>;

    /// Whether no file of a directory of the root, or below it, differs from another tree's, came or went; false where that is not known. What is
    /// made anew for each tree ([`is_made_anew`]) may differ all the same.
    fn is_same_below(&self, _before: &dyn Tree, _directory: &str) -> bool {
        false
    }

    /// What is compared with another tree of its kind.
    fn as_any(&self) -> Option<&dyn Any> {
        None
    }

    /// The path that stands for ever for what a path stands for now, if that is another one.
    fn settled(&self, _path: &str) -> Option<String> {
        None
    }

    /// Whether it is complete; before that its views are waited for.
    fn is_ready(&self) -> bool;

    /// Whether it is not known when it will be complete, because the reading of the files has failed: its views are errors.
    fn is_failed(&self) -> bool {
        false
    }
}

/// What a path names.
#[derive(Clone)]
pub enum Node {
    /// A directory.
    Directory {
        /// Nanoseconds since 1970 of its newest event.
        mtime_ns: i128,
    },
    /// A file.
    File(Arc<dyn Content>),
}

/// One name of a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    /// The name, without `/`.
    pub name: String,
    /// Whether it is a directory.
    pub directory: bool,
}

/// A file of one published state; it stays readable for as long as it is held.
pub trait Content: Send + Sync {
    /// The exact number of bytes.
    fn size(&self) -> u64;

    /// Which file the name stands for; another number is another file.
    fn incarnation(&self) -> u64;

    /// Whether it only ever grows under one incarnation.
    fn grows(&self) -> bool;

    /// Nanoseconds since 1970 of its newest event.
    fn mtime_ns(&self) -> i128;

    /// Reads at most `len` bytes from `offset`; fewer only at the end.
    ///
    /// # Errors
    /// When what the store keeps cannot be read.
    fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>>;

    /// The extended attributes: name and value.
    fn xattrs(&self) -> Vec<(String, Vec<u8>)>;

    /// This file as it goes on although its name stands for `next` now: with every byte that it had. None for one that has ended.
    fn continued_by(&self, _next: &dyn Content) -> Option<Arc<dyn Content>> {
        None
    }

    /// What goes on in another file of its kind.
    fn as_any(&self) -> Option<&dyn Any> {
        None
    }
}

/// What an answer may take long for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slow {
    /// A state is folded.
    Fold,
    /// A past is put together, for which git may have to ask a remote.
    Past,
}

/// Whether a path is that of a directory of states, or leads below one: what stands there is folded by whoever asks, which may take long.
#[must_use]
pub fn is_folded(path: &str) -> bool {
    let path = path.strip_prefix("at/").and_then(|rest| rest.split_once('/')).map_or(path, |(_, rest)| rest);
    path == STATES || path.strip_prefix(STATES).is_some_and(|rest| rest.starts_with('/'))
}

/// Whether a file's text is another one in nearly every tree: the report of a conflict, which has the heads of the store.
#[must_use]
pub fn is_made_anew(path: &str) -> bool {
    let below = path.strip_prefix("forks/").and_then(|path| path.split_once('/'));
    below.is_some_and(|(_, name)| name == "report.json")
}

/// The directory of the states of user-defined folds.
const STATES: &str = "views";

impl Node {
    /// The incarnation that tells one file under a name from the next; 0 for a directory.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        match self {
            Self::Directory { .. } => 0,
            Self::File(file) => file.incarnation(),
        }
    }
}
