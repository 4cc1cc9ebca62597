//! The inode table: which numbers the kernel holds and what each stands for.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::format::names::{Decoded, ENDING, SEPARATORS, decode_file_name};
use crate::fs::attr::is_past;
use crate::fs::names::{RECEIPTS, STAGING};
use crate::fs::source::{Content, is_folded, is_made_anew};

/// The number of the root directory, fixed by the protocol.
pub const ROOT: u64 = 1;

/// What an inode is: a path, and which of the files that the path has stood for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The path without leading `/`; `""` is the root.
    pub path: Arc<str>,
    /// The incarnation of a file; 0 for a directory.
    pub incarnation: u64,
    /// Whether it is a directory.
    pub directory: bool,
}

/// One inode that the kernel holds.
#[derive(Clone)]
pub struct Held {
    /// What it is.
    pub identity: Identity,
    /// Lookups that the kernel has not yet forgotten.
    pub lookups: u64,
    /// How many inodes came to be held before it.
    pub since: u64,
    /// The file itself, once its name stands for another one.
    pub pinned: Option<Arc<dyn Content>>,
    /// How that goes on, while this is told.
    pub coming: Option<Arc<dyn Content>>,
}

/// The table of the inodes that the kernel holds.
pub struct Nodes {
    held: HashMap<u64, Held>,
    displaced: HashMap<Identity, u64>,
    /// Those whose changes no tree tells by name, by the directory of the root in which they lie; by none where they are made anew for each tree.
    untold: HashMap<Box<str>, HashSet<u64>>,
    /// Those of files that trees look for on the disk, by path: once such a file has gone no tree tells which one it was. And those of longer
    /// prefixes than categories, which a tree makes to tell which one it is.
    stored: HashMap<Arc<str>, u64>,
    /// Those that came since the last publication began, or came back, in their order.
    recent: Vec<u64>,
    came: u64,
    /// Whether nothing was published yet.
    first: bool,
    hash: fn(&Identity) -> u64,
}

impl Default for Nodes {
    fn default() -> Self {
        Self::with_hash(stable_hash)
    }
}

impl Nodes {
    /// A table that numbers by the given hash; tests give a bad one.
    #[must_use]
    pub fn with_hash(hash: fn(&Identity) -> u64) -> Self {
        Self {
            held: HashMap::new(),
            displaced: HashMap::new(),
            untold: HashMap::new(),
            stored: HashMap::new(),
            recent: Vec::new(),
            came: 0,
            first: true,
            hash,
        }
    }

    /// The number that an identity has or would get.
    #[must_use]
    pub fn number(&self, identity: &Identity) -> u64 {
        if identity.path.is_empty() {
            return ROOT;
        }
        if let Some(&number) = self.displaced.get(identity) {
            return number;
        }
        let mut number = (self.hash)(identity);
        loop {
            if number > ROOT && self.held.get(&number).is_none_or(|held| held.identity == *identity) {
                return number;
            }
            number = number.wrapping_add(1);
        }
    }

    /// Counts one more lookup of an identity and returns its number.
    pub fn look_up(&mut self, identity: Identity) -> u64 {
        let number = self.number(&identity);
        if number == ROOT {
            return ROOT;
        }
        if number != (self.hash)(&identity) {
            self.displaced.insert(identity.clone(), number);
        }
        let held = self.held.entry(number).or_insert_with(|| {
            self.came += 1;
            self.recent.push(number);
            if !is_told(&identity) {
                self.untold.entry(together(&identity).into()).or_default().insert(number);
            }
            if !identity.directory && is_stored(&identity.path) {
                self.stored.insert(Arc::clone(&identity.path), number);
            }
            Held { identity, lookups: 0, since: self.came, pinned: None, coming: None }
        });
        held.lookups = held.lookups.saturating_add(1);
        number
    }

    /// Takes back lookups; at none left the number is free again.
    pub fn forget(&mut self, number: u64, lookups: u64) {
        let Some(held) = self.held.get_mut(&number) else { return };
        held.lookups = held.lookups.saturating_sub(lookups);
        if held.lookups == 0
            && let Some(held) = self.held.remove(&number)
        {
            self.displaced.remove(&held.identity);
            if let Some(untold) = self.untold.get_mut(together(&held.identity)) {
                untold.remove(&number);
            }
            if self.stored.get(&held.identity.path) == Some(&number) {
                self.stored.remove(&held.identity.path);
            }
        }
    }

    /// The inode that came last for the path of such a file ([`is_stored`]), if the kernel holds it.
    #[must_use]
    pub fn find_stored(&self, path: &str) -> Option<(u64, &Held)> {
        let number = *self.stored.get(path)?;
        Some((number, self.held.get(&number)?))
    }

    /// Finds an inode that the kernel holds.
    #[must_use]
    pub fn find(&self, number: u64) -> Option<&Held> {
        self.held.get(&number)
    }

    /// The paths of those that the kernel holds; one that has come to stand for another file may be there twice.
    pub fn paths(&self) -> impl ExactSizeIterator<Item = &str> {
        self.held.values().map(|held| &*held.identity.path)
    }

    /// Keeps the file of an inode readable although its name stands for another now.
    pub fn pin(&mut self, number: u64, file: Arc<dyn Content>) {
        if let Some(held) = self.held.get_mut(&number) {
            held.pinned.get_or_insert(file);
        }
    }

    /// Its name stands for an inode again, which is told of again: what was kept for it meanwhile is not needed. It counts as one that came, for a
    /// publication may be about to replace it. A state is kept for whoever has it open.
    pub fn unpin(&mut self, number: u64) {
        let held = self.held.get_mut(&number).filter(|held| !is_folded(&held.identity.path));
        if held.is_some_and(|held| held.pinned.take().is_some()) {
            self.recent.push(number);
        }
    }

    /// Shows the bytes with which the file of an inode goes on, and its size as before.
    pub fn begin_going_on(&mut self, number: u64, file: Arc<dyn Content>) {
        if let Some(held) = self.held.get_mut(&number) {
            held.coming = Some(file);
        }
    }

    /// Shows how the pinned file of an inode goes on.
    pub fn go_on(&mut self, number: u64, file: Arc<dyn Content>) {
        if let Some(held) = self.held.get_mut(&number) {
            (held.pinned, held.coming) = (Some(file), None);
        }
    }

    /// The inodes whose changes no tree tells by name. Those that come from now on are [`Nodes::recent`].
    ///
    /// The first time all inodes: what was shown at the start may have been ready, which whoever hands trees in cannot know, and tells
    /// no names then.
    ///
    /// So with `all`, where the tree before tells no names. Otherwise those are left out below whose directory of the root nothing differs, as
    /// `is_same` says. Beside them how many inodes have come so far, and whether it was all of them.
    pub fn begin_publication(&mut self, all: bool, is_same: impl Fn(&str) -> bool) -> (Vec<(u64, Held)>, u64, bool) {
        self.recent = Vec::new();
        if std::mem::replace(&mut self.first, false) || all {
            return (self.held.iter().map(|(number, held)| (*number, held.clone())).collect(), self.came, true);
        }
        let differing = self.untold.iter().filter(|(directory, untold)| !untold.is_empty() && !is_same(directory));
        let untold = differing.flat_map(|(_, untold)| untold);
        (untold.filter_map(|number| Some((*number, self.held.get(number)?.clone()))).collect(), self.came, false)
    }

    /// The inodes that have come since [`Nodes::begin_publication`].
    #[must_use]
    pub fn recent(&self) -> Vec<(u64, Held)> {
        self.recent.iter().filter_map(|number| Some((*number, self.held.get(number)?.clone()))).collect()
    }
}

/// The directory of the root in which something lies; none for what lies in the root itself and for what is made anew for each tree.
fn together(identity: &Identity) -> &str {
    let path = &*identity.path;
    path.split_once('/').filter(|_| !is_made_anew(path)).map_or("", |(first, _)| first)
}

/// Whether no publication looks at such an inode: a tree tells by name when a file changes, and so of the directories above it, or nobody does,
/// as in the past and of drafts and receipts. There are many of them.
fn is_told(identity: &Identity) -> bool {
    let path = &*identity.path;
    if identity.directory {
        // Those of the root are as old as the last event, which may be in none of their files.
        return path.contains('/') && is_told_below(path);
    }
    let Some((directory, _)) = path.rsplit_once('/') else { return false };
    let is_draft = matches!(directory.split('/').next(), Some(STAGING | RECEIPTS));
    // That a longer prefix has another order no tree tells by name.
    is_draft || is_past(path) || (is_told_below(directory) && !is_longer_prefix(path))
}

/// The directory of the categories.
const CATEGORIES: &str = "categories";

/// Whether a tree tells by name when a file that is listed in this directory, or below it, changes.
pub fn is_told_below(directory: &str) -> bool {
    matches!(directory.split('/').next(), Some("streams" | "types" | CATEGORIES | "transactions"))
}

/// Whether a path is that of a file which is found by its path alone, without the tree that shows it.
pub fn is_stored(path: &str) -> bool {
    path.starts_with("transactions/") || is_longer_prefix(path)
}

/// What is found under a path in `categories/`, as far as the path tells.
fn decode_category(path: &str) -> Option<Decoded> {
    decode_file_name(path.strip_prefix(CATEGORIES)?.strip_prefix('/')?, ENDING)
}

/// Whether a path in `categories/` may be that of a longer prefix than a category.
fn is_longer_prefix(path: &str) -> bool {
    match decode_category(path) {
        Some(Decoded::Exact(prefix)) => prefix.contains(SEPARATORS),
        Some(Decoded::Cut) => true,
        None => false,
    }
}

/// Whether a path is certainly in no listing: that of a longer prefix than a category.
pub fn is_unlisted(path: &str) -> bool {
    matches!(decode_category(path), Some(Decoded::Exact(prefix)) if prefix.contains(SEPARATORS))
}

/// FNV-1a over the identity, its bits spread at the end: equal in every run.
fn stable_hash(identity: &Identity) -> u64 {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let kind = [u8::from(identity.directory)];
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for &byte in identity.path.as_bytes().iter().chain(&kind).chain(&identity.incarnation.to_le_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(PRIME);
    }
    hash ^= hash >> 32;
    hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ (hash >> 29)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    fn file(path: &str, incarnation: u64) -> Identity {
        Identity { path: path.into(), incarnation, directory: false }
    }

    #[test]
    fn numbers_do_not_depend_on_the_order_of_lookups() {
        let (mut one, mut other) = (Nodes::default(), Nodes::default());
        let a = one.look_up(file("a", 1));
        let b = one.look_up(file("b", 1));
        assert_eq!(other.look_up(file("b", 1)), b);
        assert_eq!(other.look_up(file("a", 1)), a);
        assert_ne!(one.number(&file("a", 2)), a);
        assert_ne!(one.number(&Identity { directory: true, ..file("a", 1) }), a);
    }

    #[test]
    fn colliding_identities_keep_numbers_of_their_own() {
        let mut nodes = Nodes::with_hash(|_| 0);
        let a = nodes.look_up(file("a", 0));
        let b = nodes.look_up(file("b", 0));
        assert_ne!(a, b);
        assert!(a > ROOT && b > ROOT);
        nodes.forget(a, 1);
        assert_eq!(nodes.look_up(file("b", 0)), b, "b keeps its number although that of a is free");
        assert_eq!(nodes.look_up(file("c", 0)), a);
    }

    #[test]
    fn a_number_is_held_until_every_lookup_is_forgotten() {
        let mut nodes = Nodes::default();
        let a = nodes.look_up(file("a", 0));
        assert_eq!(nodes.look_up(file("a", 0)), a);
        nodes.forget(a, 1);
        assert_eq!(nodes.find(a).unwrap().lookups, 1);
        nodes.forget(a, 5);
        assert!(nodes.find(a).is_none());
        nodes.forget(a, 1);
    }
}
