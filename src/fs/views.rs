//! Views by name and by inode: lookup, attributes, bytes, extended attributes.

use std::sync::Arc;

use crate::disk;
use crate::format::names::COMPONENT_LEN_MAX;
use crate::fs::attr::{Attr, Found, Ttl, is_past, view_ttl};
use crate::fs::names::RECEIPTS;
use crate::fs::nodes::{Held, Identity};
use crate::fs::own::Own;
use crate::fs::source::{Content, Entry, Node, Slow, Tree, is_folded};
use crate::fs::{Fs, ROOT, join, locked};
use crate::model::Errno;

/// The directory whose names are moments.
const MOMENTS: &str = "at";
/// Where the extended attributes of a file are.
const XATTR_NAMESPACE: &str = "user.";

impl Fs {
    /// Finds a name in a directory and counts the lookup; the number tells which tree the answer is from ([`Fs::overtaken`]).
    ///
    /// # Errors
    /// `ENOENT` if there is none, `ENAMETOOLONG` if there cannot be one, `ENOTDIR` if the parent is a file.
    pub fn look_up(&self, parent: u64, name: &str) -> Result<(Found, u64), Errno> {
        let directory = self.directory_path(parent)?;
        // A receipt's name may be a whole name and an ending.
        let is_too_long = || &*directory != RECEIPTS && disk::os_name(name).len() > COMPONENT_LEN_MAX;
        let found = self.look_up_in(parent, &directory, name);
        found.map_err(|errno| if errno == Errno::ENOENT && is_too_long() { Errno::ENAMETOOLONG } else { errno })
    }

    fn look_up_in(&self, parent: u64, directory: &str, name: &str) -> Result<(Found, u64), Errno> {
        if let Some(own) = self.find_own(directory, name) {
            return self.look_up_own(&own?);
        }
        let path = child_path(directory, name).ok_or(Errno::ENOENT)?;
        if directory == MOMENTS {
            return self.look_up_moment(&path);
        }
        loop {
            let shown = self.shown();
            let Some(node) = shown.sizes.find(&path) else {
                // In the root the same names are there whatever the files say.
                return Err(if parent == ROOT { Errno::ENOENT } else { self.known(&path).err().unwrap_or(Errno::ENOENT) });
            };
            let identity = identity_of(&path, &node);
            let mut nodes = locked(&self.nodes);
            if self.serial() != shown.serial {
                continue;
            }
            let ttl = view_ttl(&path, &node, shown.sizes.is_ready() && !self.decisions.is_open());
            let ino = nodes.look_up(identity);
            nodes.unpin(ino);
            // Where nobody tells who opens it, a state is kept for whoever may.
            if self.manner.read_only
                && is_folded(&path)
                && let Node::File(file) = &node
            {
                nodes.pin(ino, Arc::clone(file));
            }
            return Ok((Found { attr: Attr::of_view(ino, &node), attr_ttl: ttl, entry_ttl: ttl }, shown.serial));
        }
    }

    /// Counts a lookup of a view's name that a listing has, and whose file is not there now: it has left `events/`, and no tree shows that yet, or
    /// the next one came meanwhile. A listing shows one side of a checkout, whole; who opens such a name is told that it is gone.
    ///
    /// # Errors
    /// `ENOENT` where names come and go by themselves, and of a name that may turn out to be none once the index is ready.
    pub fn look_up_listed(&self, parent: u64, entry: &Entry) -> Result<Attr, Errno> {
        let directory = self.directory_path(parent)?;
        let is_view = |path: &String| !self.is_own_path(path) && self.shown().sizes.is_ready();
        let path = child_path(&directory, &entry.name).filter(is_view).ok_or(Errno::ENOENT)?;
        let identity = Identity { path: path.into(), incarnation: 0, directory: entry.directory };
        let mode = if entry.directory { 0o555 } else { 0o444 };
        Ok(Attr { ino: locked(&self.nodes).look_up(identity), size: 0, mtime_ns: 0, directory: entry.directory, mode })
    }

    /// A moment's name may move: it is asked for each time, and stands for the inode of what it means now.
    fn look_up_moment(&self, path: &str) -> Result<(Found, u64), Errno> {
        let shown = self.shown();
        let path = shown.sizes.settled(path).unwrap_or_else(|| path.to_owned());
        let node = shown.sizes.find(&path).ok_or(Errno::ENOENT)?;
        let ino = locked(&self.nodes).look_up(identity_of(&path, &node));
        Ok((Found { attr: Attr::of_view(ino, &node), attr_ttl: Ttl::Ask, entry_ttl: Ttl::Ask }, shown.serial))
    }

    /// The number that a lookup of this name would give, without counting one; none if the name has gone.
    #[must_use]
    pub fn peek(&self, parent: u64, name: &str) -> Option<u64> {
        let directory = self.directory_path(parent).ok()?;
        if let Some(own) = self.find_own(&directory, name) {
            return own.ok().map(|own| self.number_own(&own));
        }
        let path = child_path(&directory, name)?;
        let node = self.shown().sizes.find(&path)?;
        Some(locked(&self.nodes).number(&identity_of(&path, &node)))
    }

    /// Takes back lookups that the kernel has forgotten.
    pub fn forget(&self, ino: u64, lookups: u64) {
        let gone = {
            let mut nodes = locked(&self.nodes);
            let held = nodes.find(ino).map(|held| held.identity.clone());
            nodes.forget(ino, lookups);
            held.filter(|_| nodes.find(ino).is_none())
        };
        let Some(identity) = gone else { return };
        self.forget_listing(ino);
        if let (Some(staging), Some(Own::Staged(id))) = (&self.staging, Own::of(&identity)) {
            staging.forget(id);
        }
    }

    /// What stat(2) shows of an inode, and how long it holds.
    ///
    /// # Errors
    /// `ENOENT` for an inode that the kernel does not hold, `ESTALE` for one whose file cannot be told any more.
    pub fn attributes(&self, ino: u64) -> Result<(Attr, Ttl), Errno> {
        if let Some(own) = self.own(ino)? {
            return Ok((self.own_attributes(ino, &own)?, Ttl::Ask));
        }
        let held = self.held(ino)?;
        let node = self.node(&held)?;
        Ok((Attr::of_view(ino, &node), view_ttl(&held.identity.path, &node, self.is_ready())))
    }

    /// Notes that an answer tells a thread of the kernel the size of a file.
    pub fn note_told(&self, thread: u32, attr: &Attr) {
        if !attr.directory {
            locked(&self.learned).note(thread, attr.ino, attr.size);
        }
    }

    /// Notes that a thread asks for something, so that what it was told before has had its effect.
    pub fn note_asked(&self, thread: u32) {
        locked(&self.learned).asks(thread);
    }

    /// Reads at most `len` bytes of a file.
    ///
    /// # Errors
    /// `EISDIR` for a directory, `EIO` and its like when the store cannot be read.
    pub fn read_view(&self, ino: u64, offset: u64, len: usize) -> Result<Vec<u8>, Errno> {
        self.bytes(ino)?.read(offset, len).map_err(|error| Errno::from(&error))
    }

    /// The value of an extended attribute.
    ///
    /// # Errors
    /// `ENODATA` if there is none of that name. `EOPNOTSUPP` where there never is one: who looks for access lists and labels of every
    /// file (`ls -l`) then takes the file system for one without them, and asks once.
    pub fn xattr(&self, ino: u64, name: &str) -> Result<Vec<u8>, Errno> {
        if !name.starts_with(XATTR_NAMESPACE) {
            return Err(Errno::EOPNOTSUPP);
        }
        let xattrs = self.xattrs(ino)?;
        xattrs.into_iter().find(|(key, _)| key == name).map(|(_, value)| value).ok_or(Errno::ENODATA)
    }

    /// The extended attributes of an inode: name and value.
    ///
    /// # Errors
    /// `ENOENT` for an inode that the kernel does not hold.
    pub fn xattrs(&self, ino: u64) -> Result<Vec<(String, Vec<u8>)>, Errno> {
        if self.own(ino)?.is_some() {
            return Ok(Vec::new());
        }
        let held = self.held(ino)?;
        if is_folded(&held.identity.path) {
            return Ok(Vec::new());
        }
        match self.node(&held)? {
            Node::Directory { .. } => Ok(Vec::new()),
            Node::File(file) => Ok(file.xattrs()),
        }
    }

    /// The path of a directory's inode.
    pub(super) fn directory_path(&self, ino: u64) -> Result<Arc<str>, Errno> {
        let identity = self.held(ino)?.identity;
        if identity.directory { Ok(identity.path) } else { Err(Errno::ENOTDIR) }
    }

    /// The inode if the kernel holds it.
    pub(super) fn held(&self, ino: u64) -> Result<Held, Errno> {
        if ino == ROOT {
            let identity = Identity { path: "".into(), incarnation: 0, directory: true };
            return Ok(Held { identity, lookups: 1, since: 0, pinned: None, coming: None });
        }
        locked(&self.nodes).find(ino).cloned().ok_or(Errno::ENOENT)
    }

    /// What an inode stands for: its name's file while that is the same one, else the file that was kept for it.
    fn node(&self, held: &Held) -> Result<Node, Errno> {
        self.known(&held.identity.path)?;
        if let Some(file) = self.former(held) {
            return Ok(Node::File(file));
        }
        match self.shown().sizes.find(&held.identity.path) {
            Some(node) if is_same(&node, &held.identity) => Ok(node),
            // A directory without a name is an empty one, as after rmdir.
            _ if held.identity.directory => Ok(Node::Directory { mtime_ns: 0 }),
            _ => self.pinned(held).map(Node::File),
        }
    }

    /// A file of a past that is at hand. What its moment means by now may be long in the making, and is not asked for.
    fn former(&self, held: &Held) -> Option<Arc<dyn Content>> {
        let Identity { path, incarnation, directory } = &held.identity;
        (!directory && is_past(path) && !is_folded(path)).then(|| self.shown().sizes.find_former(path, *incarnation))?
    }

    /// Whether the name of a view's file stands for another one now.
    pub(super) fn is_replaced(&self, ino: u64) -> bool {
        let Ok(held) = self.held(ino) else { return false };
        !self.is_own_path(&held.identity.path)
            && self.shown().sizes.find(&held.identity.path).is_some_and(|node| !is_same(&node, &held.identity))
    }

    /// The bytes of a file: those of the tree that comes while one is on its way.
    fn bytes(&self, ino: u64) -> Result<Arc<dyn Content>, Errno> {
        let held = self.held(ino)?;
        if held.identity.directory {
            return Err(Errno::EISDIR);
        }
        self.known(&held.identity.path)?;
        if let Some(file) = held.coming {
            return Ok(file);
        }
        if let Some(file) = held.pinned.as_ref().filter(|_| is_folded(&held.identity.path)) {
            return Ok(Arc::clone(file));
        }
        if let Some(file) = self.former(&held) {
            return Ok(file);
        }
        let shown = self.shown();
        let file = [&shown.bytes, &shown.sizes].into_iter().find_map(|tree| same_file(&**tree, &held.identity));
        file.map_or_else(|| self.pinned(&held), Ok)
    }

    /// Whether an answer about an inode may take long.
    #[must_use]
    pub fn slow(&self, ino: u64) -> Option<Slow> {
        let held = self.held(ino).ok()?;
        let path = &held.identity.path;
        if !held.identity.directory && is_folded(path) { Some(Slow::Fold) } else { is_past(path).then_some(Slow::Past) }
    }

    /// Whether finding or listing names in a directory may take long.
    #[must_use]
    pub fn slow_in(&self, parent: u64) -> Option<Slow> {
        let held = self.held(parent).ok().filter(|held| held.identity.directory)?;
        let path = &held.identity.path;
        if is_folded(path) { Some(Slow::Fold) } else { (is_past(path) || &**path == "at").then_some(Slow::Past) }
    }

    /// Keeps a state for whoever opens it: it may be another one by the time that it is read.
    pub(super) fn keep_state(&self, ino: u64) -> Result<(), Errno> {
        if self.slow(ino) == Some(Slow::Fold) {
            let file = self.bytes(ino)?;
            locked(&self.nodes).pin(ino, file);
        }
        Ok(())
    }

    /// The file that was kept for an inode; it may have been pinned since `held` was read.
    fn pinned(&self, held: &Held) -> Result<Arc<dyn Content>, Errno> {
        if let Some(file) = &held.pinned {
            return Ok(Arc::clone(file));
        }
        let nodes = locked(&self.nodes);
        nodes.find(nodes.number(&held.identity)).and_then(|held| held.pinned.clone()).ok_or(Errno::ESTALE)
    }

    /// The names of a directory.
    pub(super) fn list(&self, path: &str) -> Option<Vec<Entry>> {
        if let Some(own) = self.list_own(path) {
            return Some(own);
        }
        let mut names = self.shown().sizes.list(path)?;
        if path.is_empty() {
            let own = self.own_of_root();
            // What a read-only mount shows as a view may be ours where it can be written.
            names.retain(|entry| !own.iter().any(|ours| ours.name == entry.name));
            names.extend(own);
        }
        Some(names)
    }
}

/// The path of a name that the kernel asks for; none for one that is not UTF-8, whose text would lead further down.
fn child_path(directory: &str, name: &str) -> Option<String> {
    (!name.contains('/')).then(|| join(directory, name))
}

fn identity_of(path: &str, node: &Node) -> Identity {
    Identity { path: path.into(), incarnation: node.incarnation(), directory: matches!(node, Node::Directory { .. }) }
}

/// The file of a tree that an inode is, if its path still stands for it there.
pub(super) fn same_file(tree: &dyn Tree, identity: &Identity) -> Option<Arc<dyn Content>> {
    match tree.find(&identity.path) {
        Some(Node::File(file)) if !identity.directory && file.incarnation() == identity.incarnation => Some(file),
        _ => None,
    }
}

fn is_same(node: &Node, identity: &Identity) -> bool {
    match node {
        Node::Directory { .. } => identity.directory,
        Node::File(file) => !identity.directory && file.incarnation() == identity.incarnation,
    }
}
