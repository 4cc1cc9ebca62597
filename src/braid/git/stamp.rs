//! Whether git has done something since, by the facts of files that it replaces.

use std::path::{Path, PathBuf};

use crate::disk::{Disk, EntryKind, Stat};
use crate::store::Store;

/// In how many directories it is looked whether a branch has changed.
const DIRECTORIES_MAX: usize = 1_000;

/// What tells that git has done something since, though no file of `events/` changed: a commit, a fetch, a branch made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitStamp(Vec<Option<Stat>>);

impl GitStamp {
    /// How git's files are now. Only on demand it tells of branches with a slash in their names, and of those of remotes: that takes a look
    /// at more directories.
    #[must_use]
    pub fn of(store: &Store, with_all_branches: bool) -> Self {
        let Ok(Some(git)) = store.git() else { return Self(Vec::new()) };
        let own = ["HEAD", "index", "logs/HEAD", "FETCH_HEAD"].map(|name| git.git_dir.join(name));
        let common = ["packed-refs", "refs/heads", "refs/stash"].map(|name| git.common_dir.join(name));
        let of_branches = if with_all_branches { branch_directories(store.disk(), &git.common_dir) } else { Vec::new() };
        let paths = own.iter().chain(&common).chain(&of_branches);
        Self(paths.map(|path| store.disk().stat_if_present(path).ok().flatten()).collect())
    }
}

/// The directories in which git replaces a file when a branch comes, goes or gets a commit.
fn branch_directories(disk: &Disk, common_dir: &Path) -> Vec<PathBuf> {
    let mut directories: Vec<PathBuf> = ["reftable", "refs/heads", "refs/remotes"].map(|name| common_dir.join(name)).into();
    let mut next = 0;
    while let Some(directory) = directories.get(next).filter(|_| directories.len() < DIRECTORIES_MAX).cloned() {
        let below = disk.list_if_present(&directory).unwrap_or_default().into_iter().filter(|entry| entry.kind == EntryKind::Dir);
        directories.extend(below.map(|entry| Disk::entry_path(&directory, &entry.name)));
        next += 1;
    }
    directories
}
