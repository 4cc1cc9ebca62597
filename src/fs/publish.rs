//! From one tree to the next: what the kernel must be told, in an order in which no reader sees a mix.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use crate::fs::attr::{is_past, moves};
use crate::fs::concerned::Concerned;
use crate::fs::nodes::{Held, Identity, is_stored, is_told_below, is_unlisted};
use crate::fs::source::{Content, Node, Tree, is_folded, is_made_anew};
use crate::fs::views::same_file;
use crate::fs::{Fs, ROOT, Shown, locked, split};

/// One thing that the kernel must drop from its caches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Notice {
    /// The bytes of an inode from an offset to its end, and its attributes.
    Bytes {
        /// The inode.
        ino: u64,
        /// The first byte that may differ.
        from: u64,
    },
    /// The attributes of an inode.
    Attributes {
        /// The inode.
        ino: u64,
    },
    /// The new end of a file of lines that has grown: its last byte, which makes the kernel know the size before anybody asks for it.
    End {
        /// The inode.
        ino: u64,
        /// The new size.
        size: u64,
    },
    /// What is kept of a directory's listing, and its attributes; only the attributes while [`Fs::may_drop_listing`] says no.
    Listing {
        /// The directory's inode.
        ino: u64,
    },
    /// A name of a directory, and the directory's attributes.
    Name {
        /// The directory's inode.
        parent: u64,
        /// The name.
        name: String,
    },
}

/// What is to be told once more.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Again {
    /// When the replies that were on their way have arrived: the kernel knows no inode before the reply that brings it.
    pub arrived: Vec<Notice>,
    /// When who learned a size a moment ago has made use of it.
    pub learned: Vec<Notice>,
}

/// How a held inode fares from one tree to the next.
enum Fate {
    Same,
    /// With the first byte that may differ, and the new size of a file of lines.
    Grown {
        from: u64,
        size: Option<u64>,
    },
    /// Its name stands for another file, and it goes on all the same.
    Continued {
        from: u64,
        file: Arc<dyn Content>,
    },
    Touched,
    Replaced,
    /// A small file of the root, made anew for each tree. It is not made to be compared: the kernel asks for its name each time.
    Renewed,
}

impl Fate {
    fn grown(old: u64, new: &dyn Content) -> Self {
        let size = new.size();
        Self::Grown { from: old.min(size), size: (new.grows() && size > old).then_some(size) }
    }
}

struct Change {
    ino: u64,
    identity: Identity,
    since: u64,
    fate: Fate,
}

impl Change {
    /// The bytes that the kernel must drop where a file has grown.
    fn old_end(&self) -> Option<Notice> {
        match self.fate {
            Fate::Grown { from, .. } | Fate::Continued { from, .. } => Some(Notice::Bytes { ino: self.ino, from }),
            _ => None,
        }
    }

    /// The end that the kernel must be given where a file of lines has grown.
    fn new_end(&self) -> Option<Notice> {
        match &self.fate {
            Fate::Grown { size, .. } => Some(Notice::End { ino: self.ino, size: (*size)? }),
            Fate::Continued { file, .. } => Some(Notice::End { ino: self.ino, size: file.size() }),
            _ => None,
        }
    }
}

/// Which listings differ from one tree to the next, as far as trees tell names.
enum Listings {
    Unknown,
    /// Of the directories whose files a tree tells by name, these.
    Differ(HashSet<String>),
}

impl Listings {
    fn between(old: &dyn Tree, new: &dyn Tree, changed: &[String], unknown: bool) -> Self {
        if unknown {
            return Self::Unknown;
        }
        let mut differ = HashSet::new();
        for path in changed.iter().filter(|path| !is_unlisted(path)) {
            let mut at = path.as_str();
            // A name that comes may bring its directory with it. What neither tree finds may have gone from the disk under the old one.
            while let Some((directory, _)) = split(at).filter(|_| old.find(at).is_none() || new.find(at).is_none()) {
                differ.insert(directory.to_owned());
                at = directory;
            }
        }
        Self::Differ(differ)
    }

    fn may_differ(&self, directory: &str) -> bool {
        match self {
            Self::Unknown => true,
            Self::Differ(differ) => differ.contains(directory) || !is_told_below(directory),
        }
    }
}

impl Fs {
    /// Shows another tree from now on; only one thread publishes. Returns what is to be told once more.
    ///
    /// Where a file has grown the kernel first drops the page that held the old end, while the size is still the old one: so no reader
    /// sees the zeros with which the kernel fills that page. Then the sizes change, all at once, and the kernel is told.
    ///
    /// At last it is given the new ends, so that it has the new sizes before a stat is answered one. It declares an answer valid a moment
    /// before it takes the size from it, and what overlaps a notice it gives to its caller alone: who was told the new size that way would
    /// find the old one once more while another's answer is taken.
    ///
    /// `shown` is called as soon as readers get the new sizes, before the kernel is told of them.
    ///
    /// `changed` are the paths that differ ([`Tree::changed`]), also those of trees that were never shown.
    pub fn publish(&self, tree: Arc<dyn Tree>, changed: &[String], tell: &dyn Fn(&Notice), shown: &dyn Fn()) -> Again {
        let old = self.shown();
        // Before the first whole tree no names are told.
        let is_same = |directory: &str| self.is_never_told(directory) || tree.is_same_below(&*old.sizes, directory);
        let (mut held, newest, is_all) = locked(&self.nodes).begin_publication(!old.sizes.is_ready(), is_same);
        let left_behind = self.left_behind(&held);
        let listings = Listings::between(&*old.sizes, &*tree, changed, is_all || self.manner.uncached);
        held.extend(changed.iter().filter_map(|path| self.held_by_path(&old, path)));
        held.extend(self.held_above(changed));
        held.sort_by_key(|(ino, _)| *ino);
        held.dedup_by_key(|(ino, _)| *ino);
        let mut changes = self.changes(&held, &old, &*tree, &listings);
        for (ino, file) in continued(&changes) {
            locked(&self.nodes).begin_going_on(ino, Arc::clone(file));
        }
        self.show(Shown { bytes: Arc::clone(&tree), ..old.clone() });
        changes.iter().filter_map(Change::old_end).for_each(|notice| tell(&notice));
        {
            let mut nodes = locked(&self.nodes);
            let recent = nodes.recent();
            changes.extend(self.changes(&recent, &old, &*tree, &listings));
            for change in changes.iter().filter(|change| matches!(change.fate, Fate::Replaced | Fate::Renewed)) {
                if let Some(file) = same_file(&*old.sizes, &change.identity) {
                    nodes.pin(change.ino, file);
                }
            }
            for (ino, file) in continued(&changes) {
                nodes.go_on(ino, Arc::clone(file));
            }
            self.show(Shown { serial: old.serial + 1, sizes: Arc::clone(&tree), bytes: tree });
        }
        shown();
        let previous = self.newest.swap(newest, Ordering::Relaxed);
        let arrived = self.tell_changes(&changes, previous, newest, tell);
        left_behind.iter().for_each(tell);
        Again { arrived, learned: self.unused_ends(&changes) }
    }

    /// Whether nothing below a directory of the root is told of: where files can be written, the kernel asks for all of states and moments.
    fn is_never_told(&self, directory: &str) -> bool {
        !self.manner.read_only && matches!(directory, "views" | "at")
    }

    /// The ends of files that have grown before who learned of them has made use of that.
    fn unused_ends(&self, changes: &[Change]) -> Vec<Notice> {
        let unused = locked(&self.learned).unused();
        let grown = changes.iter().filter(|change| change.old_end().is_some());
        grown.filter_map(|Change { ino, .. }| Some(Notice::Bytes { ino: *ino, from: *unused.get(ino)? })).collect()
    }

    /// The inode of a path's file, if the kernel holds it.
    fn held_by_path(&self, old: &Shown, path: &str) -> Option<(u64, Held)> {
        if is_stored(path) {
            return locked(&self.nodes).find_stored(path).map(|(ino, held)| (ino, held.clone()));
        }
        let node = old.sizes.find(path)?;
        let directory = matches!(node, Node::Directory { .. });
        let nodes = locked(&self.nodes);
        let ino = nodes.number(&Identity { path: path.into(), incarnation: node.incarnation(), directory });
        Some((ino, nodes.find(ino)?.clone()))
    }

    /// The directories above these paths that the kernel holds.
    fn held_above(&self, paths: &[String]) -> Vec<(u64, Held)> {
        let mut above = HashSet::new();
        for path in paths {
            let mut at = path.as_str();
            // Who is known has those above it known as well.
            while let Some((directory, _)) = split(at).filter(|(directory, _)| above.insert(*directory)) {
                at = directory;
            }
        }
        let nodes = locked(&self.nodes);
        let number = |path: &str| nodes.number(&Identity { path: path.into(), incarnation: 0, directory: true });
        above.into_iter().map(number).filter_map(|ino| Some((ino, nodes.find(ino)?.clone()))).collect()
    }

    fn tell_changes(&self, changes: &[Change], previous: u64, newest: u64, tell: &dyn Fn(&Notice)) -> Vec<Notice> {
        let mut again = Vec::new();
        tell(&if self.keeps_listing("") { Notice::Listing { ino: ROOT } } else { Notice::Attributes { ino: ROOT } });
        for change in changes {
            let Some(notice) = self.notice(change) else { continue };
            if change.since > newest {
                change.old_end().iter().for_each(tell);
            }
            tell(&notice);
            if change.since > previous {
                again.push(notice);
            }
        }
        // What the kernel keeps nothing of it asks for each time.
        let grown = changes.iter().filter(|_| !self.manner.uncached);
        for (since, end) in grown.filter_map(|change| Some((change.since, change.new_end()?))) {
            tell(&end);
            if since > previous {
                again.push(end);
            }
        }
        again
    }

    /// The names to drop of files that change with each event, once there are more than a few: whoever asks again and again for what came after a number
    /// leaves one behind each time. Then the kernel forgets those that nobody has open.
    fn left_behind(&self, held: &[(u64, Held)]) -> Vec<Notice> {
        const KEPT_MAX: usize = 8;
        let is_left = |identity: &Identity| {
            !identity.directory && ["feed/after/", "snapshots/"].iter().any(|directory| identity.path.starts_with(directory))
        };
        let left: Vec<&Identity> = held.iter().map(|(_, held)| &held.identity).filter(|identity| is_left(identity)).collect();
        if left.len() <= KEPT_MAX {
            return Vec::new();
        }
        left.into_iter().filter_map(|identity| self.name_notice(identity)).collect()
    }

    fn name_notice(&self, identity: &Identity) -> Option<Notice> {
        let (directory, name) = split(&identity.path)?;
        Some(Notice::Name { parent: self.directory_number(directory), name: name.to_owned() })
    }

    fn show(&self, shown: Shown) {
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = shown;
    }

    fn changes(&self, held: &[(u64, Held)], old: &Shown, new: &dyn Tree, listings: &Listings) -> Vec<Change> {
        let mut changes = Vec::new();
        for (ino, held) in held {
            let path = &*held.identity.path;
            // What a state is now nobody knows before it is folded: each call asks.
            let is_state = !held.identity.directory && is_folded(path);
            if self.is_own_path(path) || is_state {
                continue;
            }
            let change = |fate| Change { ino: *ino, identity: held.identity.clone(), since: held.since, fate };
            if let Some(pinned) = &held.pinned {
                if !is_past(path) {
                    changes.extend(going_on(&**pinned, path, new).map(change));
                }
                continue;
            }
            // A moment is looked up anew by whoever comes, and stays readable for whoever has it: looking through all that were ever
            // asked for would make each of them anew. Only listings that the kernel keeps are told of.
            if is_past(path) {
                if held.identity.directory && moves(path) && self.keeps_listing(path) {
                    changes.push(change(Fate::Touched));
                }
                continue;
            }
            let fate = self.fate(&held.identity, &*old.sizes, new, listings);
            if matches!(fate, Fate::Replaced)
                && let Some(file) = same_file(&*old.sizes, &held.identity)
            {
                changes.extend(going_on(&*file, path, new).map(change));
            }
            if !matches!(fate, Fate::Same) {
                changes.push(change(fate));
            }
        }
        changes
    }

    fn fate(&self, identity: &Identity, old: &dyn Tree, new: &dyn Tree, listings: &Listings) -> Fate {
        let is_of_root = !identity.directory && !identity.path.contains('/');
        if is_of_root && same_file(old, identity).is_some_and(|file| !file.grows()) {
            return Fate::Renewed;
        }
        if is_made_anew(&identity.path) {
            return Fate::Replaced;
        }
        match (new.find(&identity.path), old.find(&identity.path)) {
            (Some(Node::File(new)), old) if !identity.directory && new.incarnation() == identity.incarnation => match old {
                Some(Node::File(old)) if old.size() == new.size() && old.mtime_ns() == new.mtime_ns() => Fate::Same,
                Some(Node::File(old)) if old.size() == new.size() => Fate::Touched,
                Some(Node::File(old)) => Fate::grown(old.size(), &*new),
                _ => Fate::grown(0, &*new),
            },
            (Some(Node::Directory { mtime_ns: new }), Some(Node::Directory { mtime_ns: old })) if identity.directory => {
                // A listing that the kernel keeps may differ although its newest event is the same.
                let differs = self.keeps_listing(&identity.path) && listings.may_differ(&identity.path);
                if differs || new != old { Fate::Touched } else { Fate::Same }
            }
            (Some(Node::Directory { .. }), _) if identity.directory => Fate::Touched,
            _ => Fate::Replaced,
        }
    }

    fn notice(&self, change: &Change) -> Option<Notice> {
        match change.fate {
            Fate::Same | Fate::Renewed => None,
            Fate::Touched if change.identity.directory && self.keeps_listing(&change.identity.path) => {
                Some(Notice::Listing { ino: change.ino })
            }
            Fate::Touched | Fate::Grown { .. } | Fate::Continued { .. } => Some(Notice::Attributes { ino: change.ino }),
            Fate::Replaced => self.name_notice(&change.identity),
        }
    }

    /// The number of a directory, held or not.
    pub(super) fn directory_number(&self, path: &str) -> u64 {
        locked(&self.nodes).number(&Identity { path: path.into(), incarnation: 0, directory: true })
    }

    /// What must be told about an answer that was given while another tree came to be shown; none if none came.
    #[must_use]
    pub fn overtaken(&self, serial: u64, ino: u64) -> Option<Notice> {
        (self.shown().serial != serial).then_some(Notice::Attributes { ino })
    }

    /// Which tree is shown; it rises with every publication.
    #[must_use]
    pub fn serial(&self) -> u64 {
        self.shown().serial
    }

    /// Notices for those of these views that the kernel holds: their next stat asks, and so does who goes through an open directory once more.
    #[must_use]
    pub fn doubtful(&self, concerned: &Concerned) -> Vec<Notice> {
        let shown = self.shown();
        let nodes = locked(&self.nodes);
        let mut notices = vec![Notice::Attributes { ino: ROOT }];
        for path in concerned.among(nodes.paths()) {
            let Some(node) = shown.sizes.find(path).filter(|_| !path.is_empty()) else { continue };
            let directory = matches!(node, Node::Directory { .. });
            let ino = nodes.number(&Identity { path: path.into(), incarnation: node.incarnation(), directory });
            if nodes.find(ino).is_some() {
                let keeps = directory && self.keeps_listing(path);
                notices.push(if keeps { Notice::Listing { ino } } else { Notice::Attributes { ino } });
            }
        }
        notices.sort();
        notices.dedup();
        notices
    }
}

/// How a file goes on whose name stands for another one in a tree, if there is more of it.
fn going_on(file: &dyn Content, path: &str, new: &dyn Tree) -> Option<Fate> {
    let Some(Node::File(next)) = file.grows().then(|| new.find(path))? else { return None };
    let from = file.size();
    file.continued_by(&*next).filter(|file| file.size() > from).map(|file| Fate::Continued { from, file })
}

fn continued(changes: &[Change]) -> impl Iterator<Item = (u64, &Arc<dyn Content>)> {
    changes.iter().filter_map(|change| match &change.fate {
        Fate::Continued { file, .. } => Some((change.ino, file)),
        _ => None,
    })
}
