//! What is live and what is durable below one directory.
//!
//! Harsher than any one file system: bytes are durable only after a sync of the file, names only after a sync of their
//! directory, and a rename is one change, durable with the directory that it leads to.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::disk::Op;

/// A file, whatever names it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileKey(u64);

/// The fate of bytes that were written and not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// As if they had never been written.
    Lost,
    /// The first half of the change is there.
    Torn,
    /// The file has its new size, and zeros in place of new bytes.
    Zeroed,
    /// All there.
    Kept,
}

/// One way to lose power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// How many of the name changes that are not durable survive, the oldest first.
    pub names_kept: usize,
    /// What becomes of bytes.
    pub data: Data,
}

/// The bytes of each path below the root; none for a directory.
pub(super) type Outcome = BTreeMap<PathBuf, Option<Vec<u8>>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Dir,
    File(FileKey),
}

#[derive(Clone, Debug)]
enum NameChange {
    Put { path: PathBuf, node: Node },
    Rename { from: PathBuf, to: PathBuf, node: Node },
    Remove { path: PathBuf },
}

#[derive(Debug, Default)]
struct FileState {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// A sync has failed: what was written so far never becomes durable.
    spoiled: bool,
}

/// The model of one directory.
#[derive(Debug)]
pub struct Model {
    root: PathBuf,
    files: HashMap<FileKey, FileState>,
    next_key: u64,
    live: BTreeMap<PathBuf, Node>,
    durable: BTreeMap<PathBuf, Node>,
    pending: Vec<NameChange>,
}

impl NameChange {
    /// The directory whose sync makes it durable.
    fn dir(&self) -> Option<&Path> {
        match self {
            Self::Put { path, .. } | Self::Remove { path } | Self::Rename { to: path, .. } => path.parent(),
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, Node>) {
        match self {
            Self::Put { path, node } => {
                names.insert(path.clone(), *node);
            }
            Self::Rename { from, to, node } => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
            Self::Remove { path } => {
                names.remove(path);
            }
        }
    }
}

impl Model {
    /// Takes all that lies under `root` as durable.
    pub(super) fn of(root: &Path) -> io::Result<Self> {
        let mut model = Self {
            root: root.to_path_buf(),
            files: HashMap::new(),
            next_key: 0,
            live: BTreeMap::new(),
            durable: BTreeMap::new(),
            pending: Vec::new(),
        };
        let mut dirs = vec![root.to_path_buf()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(&dir)? {
                let path = entry?.path();
                let node = if path.is_dir() {
                    dirs.push(path.clone());
                    Node::Dir
                } else {
                    let bytes = fs::read(&path)?;
                    Node::File(model.add_file(FileState { live: bytes.clone(), durable: bytes, spoiled: false }))
                };
                model.live.insert(path, node);
            }
        }
        model.durable = model.live.clone();
        Ok(model)
    }

    fn add_file(&mut self, file: FileState) -> FileKey {
        let key = FileKey(self.next_key);
        self.next_key += 1;
        self.files.insert(key, file);
        key
    }

    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.live);
        self.pending.push(change);
    }

    pub(crate) fn key_of(&self, path: &Path) -> Option<FileKey> {
        match self.live.get(path) {
            Some(Node::File(key)) => Some(*key),
            _ => None,
        }
    }

    pub(crate) fn create(&mut self, path: &Path) {
        if path.starts_with(&self.root) {
            let node = Node::File(self.add_file(FileState::default()));
            self.change(NameChange::Put { path: path.to_path_buf(), node });
        }
    }

    pub(crate) fn create_dirs(&mut self, path: &Path) {
        let mut missing: Vec<PathBuf> =
            path.ancestors().take_while(|dir| *dir != self.root && !self.live.contains_key(*dir)).map(Path::to_path_buf).collect();
        if path.starts_with(&self.root) {
            while let Some(path) = missing.pop() {
                self.change(NameChange::Put { path, node: Node::Dir });
            }
        }
    }

    pub(crate) fn rename(&mut self, from: &Path, to: &Path) {
        if let Some(node) = self.live.get(from).copied() {
            self.change(NameChange::Rename { from: from.to_path_buf(), to: to.to_path_buf(), node });
        }
    }

    pub(crate) fn remove(&mut self, path: &Path) {
        if self.live.contains_key(path) {
            self.change(NameChange::Remove { path: path.to_path_buf() });
        }
    }

    pub(crate) fn remove_tree(&mut self, path: &Path) {
        let mut gone: Vec<PathBuf> = self.live.keys().filter(|name| name.starts_with(path)).cloned().collect();
        while let Some(path) = gone.pop() {
            self.change(NameChange::Remove { path });
        }
    }

    pub(crate) fn write(&mut self, key: FileKey, offset: u64, bytes: &[u8]) {
        if let Some(file) = self.files.get_mut(&key) {
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            let end = start.saturating_add(bytes.len());
            if file.live.len() < end {
                file.live.resize(end, 0);
            }
            if let Some(place) = file.live.get_mut(start..end) {
                place.copy_from_slice(bytes);
            }
        }
    }

    pub(crate) fn truncate(&mut self, key: FileKey, size: u64) {
        if let Some(file) = self.files.get_mut(&key) {
            file.live.resize(usize::try_from(size).unwrap_or(usize::MAX), 0);
        }
    }

    pub(crate) fn sync(&mut self, key: FileKey) {
        if let Some(file) = self.files.get_mut(&key).filter(|file| !file.spoiled) {
            file.durable.clone_from(&file.live);
        }
    }

    pub(crate) fn fail_sync_of(&mut self, key: FileKey) {
        if let Some(file) = self.files.get_mut(&key) {
            file.spoiled = true;
        }
    }

    pub(crate) fn fail_sync(&mut self, op: Op) {
        if op == Op::SyncFilesystem {
            for file in self.files.values_mut().filter(|file| file.live != file.durable) {
                file.spoiled = true;
            }
        }
    }

    pub(crate) fn sync_dir(&mut self, dir: &Path) {
        let (durable, pending): (Vec<_>, Vec<_>) = self.pending.drain(..).partition(|change| change.dir() == Some(dir));
        self.pending = pending;
        for change in durable {
            change.apply(&mut self.durable);
            // The old name of what was renamed cannot come back by itself.
            if let NameChange::Rename { from, node, .. } = &change {
                self.pending.retain(|other| !matches!(other, NameChange::Put { path, node: put } if path == from && put == node));
            }
        }
    }

    pub(crate) fn sync_all(&mut self) {
        let keys: Vec<FileKey> = self.files.keys().copied().collect();
        keys.into_iter().for_each(|key| self.sync(key));
        self.pending.clear();
        self.durable = self.live.clone();
    }

    pub(super) fn losses(&self) -> impl Iterator<Item = Loss> + use<> {
        let fates = [Data::Lost, Data::Torn, Data::Zeroed, Data::Kept];
        (0..=self.pending.len()).flat_map(move |names_kept| fates.map(|data| Loss { names_kept, data }))
    }

    /// What a loss leaves: paths below the root, each with its bytes, or none for a directory.
    pub(super) fn outcome(&self, loss: Loss) -> Outcome {
        let mut names = self.durable.clone();
        self.pending.iter().take(loss.names_kept).for_each(|change| change.apply(&mut names));
        let mut outcome = Outcome::new();
        for (path, node) in &names {
            let Ok(below) = path.strip_prefix(&self.root) else { continue };
            // What lies in a directory whose own name was lost is lost with it.
            let is_lost = below.parent().is_some_and(|dir| dir != Path::new("") && !matches!(outcome.get(dir), Some(None)));
            if !is_lost {
                let bytes = match node {
                    Node::Dir => None,
                    Node::File(key) => Some(self.files.get(key).map(|file| file.after(loss.data)).unwrap_or_default()),
                };
                outcome.insert(below.to_path_buf(), bytes);
            }
        }
        outcome
    }

    pub(super) fn rebuild(&self, into: &Path, loss: Loss) -> io::Result<()> {
        write(&self.outcome(loss), into)
    }
}

pub(super) fn write(outcome: &Outcome, into: &Path) -> io::Result<()> {
    // Sorted by path, so each directory is made before what lies in it.
    outcome.iter().try_for_each(|(below, bytes)| match bytes {
        None => fs::create_dir(into.join(below)),
        Some(bytes) => fs::write(into.join(below), bytes),
    })
}

impl FileState {
    fn after(&self, data: Data) -> Vec<u8> {
        if self.spoiled {
            return self.durable.clone();
        }
        let common = self.live.iter().zip(&self.durable).take_while(|(live, durable)| live == durable).count();
        let (kept, new) = self.live.split_at(common);
        match data {
            Data::Lost => self.durable.clone(),
            Data::Kept => self.live.clone(),
            Data::Torn => [kept, new.split_at(new.len() / 2).0].concat(),
            Data::Zeroed => [kept, &vec![0; new.len()]].concat(),
        }
    }
}
