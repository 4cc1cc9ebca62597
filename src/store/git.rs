//! What git is doing to the store, told from its files, without running it.

use std::path::{Path, PathBuf};

use crate::disk::{self, EntryKind, Stat};
use crate::store::Store;

/// The longest `.git` or `commondir` file that is believed.
const POINTER_BYTES_MAX: usize = 8192;

/// The repository that a store lies in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Git {
    /// The directory that holds `.git`.
    pub work_tree: PathBuf,
    /// Where this work tree's own files are: `.git` itself, or what a `.git` file names.
    pub git_dir: PathBuf,
    /// Where all work trees' objects and references are.
    pub common_dir: PathBuf,
}

impl Git {
    /// What `git rev-parse --git-path index` names.
    fn index(&self) -> PathBuf {
        self.git_dir.join("index")
    }

    /// What `git rev-parse --git-path index.lock` names: there while git changes the work tree.
    #[must_use]
    pub fn index_lock(&self) -> PathBuf {
        self.git_dir.join("index.lock")
    }

    /// There once a sparse checkout was made in this work tree, whether or not it is one now.
    #[must_use]
    pub fn sparse_checkout(&self) -> PathBuf {
        self.git_dir.join("info/sparse-checkout")
    }
}

impl Store {
    /// The repository that the store lies in, or none.
    pub fn git(&self) -> disk::Result<Option<Git>> {
        for work_tree in self.dir().ancestors() {
            let path = work_tree.join(".git");
            let git_dir = match self.disk().stat_if_present(&path)?.map(|stat| stat.kind) {
                Some(EntryKind::Dir) => Some(path),
                Some(EntryKind::File) => self.pointer(&path, work_tree, "gitdir: ")?,
                _ => None,
            };
            // As git does: a `.git` that is no repository is passed by.
            if let Some(git_dir) = git_dir.filter(|dir| self.disk().exists(&dir.join("HEAD"))) {
                let common_dir = self.pointer(&git_dir.join("commondir"), &git_dir, "")?.unwrap_or_else(|| git_dir.clone());
                return Ok(Some(Git { work_tree: work_tree.to_path_buf(), git_dir, common_dir }));
            }
        }
        Ok(None)
    }

    /// A `.git` that was a repository's and is none any more: it has lost its `HEAD`, or names a directory that is gone. Only told where
    /// the store lies in no repository.
    pub fn broken_git(&self) -> disk::Result<Option<PathBuf>> {
        if self.git()?.is_some() {
            return Ok(None);
        }
        for work_tree in self.dir().ancestors() {
            let path = work_tree.join(".git");
            let is_broken = match self.disk().stat_if_present(&path)?.map(|stat| stat.kind) {
                Some(EntryKind::Dir) => self.disk().exists(&path.join("objects")),
                Some(EntryKind::File) => self.disk().read_at(&path, 0, POINTER_BYTES_MAX)?.starts_with(b"gitdir: "),
                _ => false,
            };
            if is_broken {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    /// The path in a file of one line, relative to `base`.
    fn pointer(&self, path: &Path, base: &Path, prefix: &str) -> disk::Result<Option<PathBuf>> {
        let bytes = match self.disk().read_at(path, 0, POINTER_BYTES_MAX) {
            Err(error) if error.is_not_found() => return Ok(None),
            read => read?,
        };
        let text = String::from_utf8_lossy(&bytes);
        let target = text.trim_end_matches(['\n', '\r']).strip_prefix(prefix).filter(|target| !target.is_empty());
        Ok(target.and_then(|target| self.disk().canonical(&base.join(target)).ok()))
    }

    /// The facts of git's index, which git replaces at the end of all that changes the work tree.
    pub fn git_index(&self, git: &Git) -> disk::Result<Option<Stat>> {
        self.disk().stat_if_present(&git.index())
    }

    /// The facts of git's lock while git changes the work tree; its time tells its age.
    pub fn git_index_lock(&self, git: &Git) -> disk::Result<Option<Stat>> {
        self.disk().stat_if_present(&git.index_lock())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;
    use crate::disk::Disk;

    fn git(dir: &Path, args: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"])
            .args(args)
            .current_dir(dir)
            .env_remove("GIT_DIR")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn index_lock_by_git(dir: &Path) -> PathBuf {
        let named = dir.join(git(dir, &["rev-parse", "--git-path", "index.lock"]));
        fs::canonicalize(named.parent().unwrap()).unwrap().join("index.lock")
    }

    #[test]
    fn a_store_below_a_work_tree_finds_the_lock_that_git_names() {
        let dir = tempfile::tempdir().unwrap();
        git(dir.path(), &["init", "-q"]);
        let store = Store::init(&dir.path().join("deep/store"), &Disk::real()).unwrap();
        let found = store.git().unwrap().unwrap();
        assert_eq!(found.index_lock(), index_lock_by_git(store.dir()));
        assert_eq!(store.git_index_lock(&found).unwrap(), None);
        fs::write(found.index_lock(), "").unwrap();
        assert!(store.git_index_lock(&found).unwrap().is_some());
    }

    #[test]
    fn a_linked_work_tree_has_its_own_lock_and_the_common_objects() {
        let dir = tempfile::tempdir().unwrap();
        let main = dir.path().join("main");
        fs::create_dir(&main).unwrap();
        git(&main, &["init", "-q"]);
        git(&main, &["commit", "-q", "--allow-empty", "-m", "first"]);
        git(&main, &["worktree", "add", "-q", "../linked"]);
        let store = Store::init(&dir.path().join("linked"), &Disk::real()).unwrap();
        let found = store.git().unwrap().unwrap();
        assert_eq!(found.index_lock(), index_lock_by_git(store.dir()));
        assert_eq!(found.common_dir, fs::canonicalize(main.join(".git")).unwrap());
        assert_ne!(found.git_dir, found.common_dir);
    }

    #[test]
    fn a_file_that_only_looks_like_a_repository_is_passed_by() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(&dir.path().join("store"), &Disk::real()).unwrap();
        let outside = store.git().unwrap();
        fs::write(store.dir().join(".git"), "gitdir: /nowhere/at/all\n").unwrap();
        assert_eq!(store.git().unwrap(), outside);
        assert_eq!(store.broken_git().unwrap(), Some(store.dir().join(".git")));
        fs::write(store.dir().join(".git"), "garbage").unwrap();
        assert_eq!(store.git().unwrap(), outside);
        assert_eq!(store.broken_git().unwrap(), None);
    }
}
