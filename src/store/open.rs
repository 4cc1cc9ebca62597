//! Making and opening stores.

use std::path::{Path, PathBuf};

use crate::disk::{self, Disk};
use crate::format::text::quoted_path;
use crate::store::Layout;

/// What is ignored by git: everything that is this working copy's own.
const IGNORED: &str = "/tmp/\n/checkpoints/\n/locks/\n/index/\n/.eventcore/\n/.lock\n";

/// Payloads are bytes: no line ends are converted, no sides are spliced.
pub const ATTRIBUTES: &str = "events/*.jsonl -text merge=binary\n";

/// The same where somebody has git rewrite them in another way.
pub const AS_THEY_ARE: &str = "events/*.jsonl -ident -working-tree-encoding\n";

/// Which lines `.gitattributes` and `.gitignore` lack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LackingLines {
    /// [`ATTRIBUTES`].
    pub attributes: bool,
    /// [`AS_THEY_ARE`].
    pub as_they_are: bool,
    /// What keeps this working copy's own files out of git.
    pub ignores: bool,
}

/// Whether a store may be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing is ever written.
    ReadOnly,
    /// Transactions may be committed.
    Writable,
}

/// Why a store cannot be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no such directory.
    #[error("store \"{}\" does not exist", .0.display())]
    Missing(PathBuf),
    /// Something else has the name.
    #[error("store \"{}\" is not a directory", .0.display())]
    NotADirectory(PathBuf),
    /// The directory is no store.
    #[error("directory \"{}\" is not a store: it has no \"events\" directory", .0.display())]
    NotAStore(PathBuf),
    /// Something else lies where a directory of the store is to be.
    #[error("\"{}\" is in the way: a store has a directory of this name", .0.display())]
    InTheWay(PathBuf),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] disk::Error),
}

impl OpenError {
    /// What helps.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Missing(path) | Self::NotAStore(path) => {
                format!("a disk that is not mounted would hide one (findmnt); make one with: braidfs init {}", quoted_path(path))
            }
            Self::NotADirectory(_) => "name the directory that holds \"events\"".to_owned(),
            Self::InTheWay(path) => format!("see what it is (ls -ld), and move it away: {}", quoted_path(path)),
            Self::Disk(error) => error.hint().to_owned(),
        }
    }
}

/// Whether this is a clone of a store that has no transaction yet, or has none checked out: git keeps no empty directory, but it keeps
/// the attributes.
pub fn is_fresh_clone(disk: &Disk, dir: &Path) -> disk::Result<bool> {
    let attributes = disk.read_if_present(&dir.join(".gitattributes"))?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&attributes).lines().any(|line| line.starts_with("events/*.jsonl ")))
}

/// Whether no directory lies where one is to be, but something that has its name; a link that leads nowhere is such a thing.
fn is_something_else(disk: &Disk, path: &Path) -> bool {
    disk.stat_link(path).is_ok() && !disk.stat(path).is_ok_and(|found| found.kind == disk::EntryKind::Dir)
}

/// A store's directory.
#[derive(Clone, Debug)]
pub struct Store {
    layout: Layout,
    disk: Disk,
    mode: Mode,
    opened_ns: i128,
}

impl Store {
    /// Makes a store: `events/`, `.eventcore/`, and the files that git needs where they are absent. What is there stays as it is, and
    /// nothing is made where something else is in the way.
    pub fn init(dir: &Path, disk: &Disk) -> Result<Self, OpenError> {
        if let Some(stat) = disk.stat_if_present(dir)?
            && stat.kind != disk::EntryKind::Dir
        {
            return Err(OpenError::NotADirectory(dir.to_path_buf()));
        }
        disk.create_dir(dir)?;
        let layout = Layout::new(disk.canonical(dir)?);
        let disk = disk.within(layout.root())?;
        // A directory below knows the store by the second one, whatever the files say that were there before.
        let directories = [layout.events(), layout.eventcore()];
        if let Some(other) = directories.iter().find(|path| is_something_else(&disk, path)) {
            return Err(OpenError::InTheWay(other.clone()));
        }
        directories.iter().try_for_each(|path| disk.create_dir(path))?;
        for (name, content) in [(".gitignore", IGNORED), (".gitattributes", ATTRIBUTES)] {
            let path = layout.root().join(name);
            match disk.write_new(&path, content.as_bytes()) {
                Ok(file) => file.sync()?,
                Err(error) if error.is_taken() => {}
                Err(error) => return Err(error.into()),
            }
        }
        disk.sync_dir(layout.root())?;
        let opened_ns = disk.stat(layout.root())?.mtime_ns;
        Ok(Self { disk, layout, mode: Mode::Writable, opened_ns })
    }

    /// Opens a store, whoever wrote it; nothing is read or changed yet.
    ///
    /// A directory counts as a store if it has `events/`, or if git took that away and `.eventcore/` or the ingestion log
    /// are still there.
    pub fn open(dir: &Path, disk: &Disk, mode: Mode) -> Result<Self, OpenError> {
        let kind_of = |path: &Path| disk.stat_if_present(path).map(|stat| stat.map(|stat| stat.kind));
        let found = match disk.stat_if_present(dir)? {
            None => return Err(OpenError::Missing(dir.to_path_buf())),
            Some(found) if found.kind == disk::EntryKind::Dir => found,
            Some(_) => return Err(OpenError::NotADirectory(dir.to_path_buf())),
        };
        let layout = Layout::new(disk.canonical(dir)?);
        let is_store = kind_of(&layout.events())? == Some(disk::EntryKind::Dir)
            || kind_of(&layout.eventcore())?.is_some()
            || kind_of(&layout.ingestion_log())?.is_some()
            || is_fresh_clone(disk, layout.root())?;
        if !is_store {
            return Err(OpenError::NotAStore(dir.to_path_buf()));
        }
        let is_lost = kind_of(&layout.events())?.is_none();
        let disk = disk.within(layout.root())?;
        if mode == Mode::Writable && is_lost {
            disk.create_dir(&layout.events())?;
        }
        Ok(Self { disk, layout, mode, opened_ns: found.mtime_ns })
    }

    /// Adds to `.gitattributes` and `.gitignore` the lines that they lack; answers which file got which line.
    ///
    /// A line that is there and has no effect, since a later one undoes it, is added at the end again; at the end it is left alone, as
    /// another file undoes it then.
    ///
    /// # Errors
    /// What the disk answered.
    pub fn amend_git_files(&self, lacking: LackingLines) -> disk::Result<Vec<(&'static str, &'static str)>> {
        let mut added = Vec::new();
        let LackingLines { attributes, as_they_are, ignores } = lacking;
        for (lacks, name, wanted) in
            [(attributes, ".gitattributes", ATTRIBUTES), (as_they_are, ".gitattributes", AS_THEY_ARE), (ignores, ".gitignore", IGNORED)]
        {
            if !lacks {
                continue;
            }
            let path = self.layout().root().join(name);
            let mut bytes = self.disk().read_if_present(&path)?.unwrap_or_default();
            if bytes.trim_ascii_end().ends_with(wanted.trim_ascii_end().as_bytes()) {
                continue;
            }
            let has = |line: &str| bytes.split(|byte| *byte == b'\n').any(|held| held.trim_ascii_end() == line.as_bytes());
            let missing: Vec<&'static str> = wanted.lines().filter(|line| !has(line)).collect();
            let lines = if missing.is_empty() { wanted.lines().collect() } else { missing };
            if bytes.last().is_some_and(|last| *last != b'\n') {
                bytes.push(b'\n');
            }
            lines.iter().for_each(|line| bytes.extend_from_slice(format!("{line}\n").as_bytes()));
            self.disk().replace_durably(&path, &self.temporary("git")?, &bytes)?;
            added.extend(lines.into_iter().map(|line| (name, line)));
        }
        Ok(added)
    }

    /// The store's directory, every link resolved.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.layout.root()
    }

    /// Where everything lies.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The disk that it lies on.
    #[must_use]
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// When its directory was last changed before it was opened, in nanoseconds since 1970: a time for what has none.
    #[must_use]
    pub fn opened_ns(&self) -> i128 {
        self.opened_ns
    }

    /// Whether it may be changed.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Makes a directory below the store whose name survives a loss of power.
    pub(crate) fn ensure_dir(&self, dir: &Path) -> disk::Result<()> {
        let missing: Vec<&Path> = dir.ancestors().take_while(|dir| *dir != self.dir() && !self.disk.exists(dir)).collect();
        for dir in missing.into_iter().rev() {
            self.disk.create_dir(dir)?;
            if let Some(parent) = dir.parent() {
                self.disk.sync_dir(parent)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn init_makes_what_git_needs_and_changes_nothing_that_is_there() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".gitignore"), "mine\n").unwrap();
        Store::init(dir.path(), &Disk::real()).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join(".gitignore")).unwrap(), "mine\n");
        assert_eq!(fs::read_to_string(dir.path().join(".gitattributes")).unwrap(), ATTRIBUTES);
        assert!(dir.path().join("events").is_dir());
        Store::init(dir.path(), &Disk::real()).unwrap();
    }

    /// Story: `events/` stayed where a file lay in the place of `.eventcore/`, and the hint was about permissions.
    #[test]
    fn init_makes_nothing_where_something_else_is_in_the_way() {
        for name in ["events", ".eventcore"] {
            let home = tempfile::tempdir().unwrap();
            let [file, link] = ["file", "link"].map(|kind| home.path().join(kind));
            [&file, &link].iter().for_each(|dir| fs::create_dir(dir).unwrap());
            fs::write(file.join(name), "").unwrap();
            std::os::unix::fs::symlink("nowhere", link.join(name)).unwrap();
            for dir in [file, link] {
                let error = Store::init(&dir, &Disk::real()).unwrap_err();
                let path = fs::canonicalize(&dir).unwrap().join(name);
                assert!(matches!(&error, OpenError::InTheWay(other) if *other == path), "{error}");
                assert!(error.hint().ends_with(&format!("move it away: {}", quoted_path(&path))), "{}", error.hint());
                assert_eq!(fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>(), [name]);
            }
        }
    }

    #[test]
    fn init_makes_the_directories_above_too() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(&dir.path().join("a/b"), &Disk::real()).unwrap();
        assert_eq!(store.dir(), fs::canonicalize(dir.path()).unwrap().join("a/b"));
    }

    #[test]
    fn what_is_no_store_is_refused_with_a_hint() {
        let dir = tempfile::tempdir().unwrap();
        let open = |path: &Path| Store::open(path, &Disk::real(), Mode::ReadOnly);
        let error = open(dir.path()).unwrap_err();
        assert!(matches!(error, OpenError::NotAStore(_)), "{error}");
        assert!(error.hint().contains("braidfs init"));
        assert!(matches!(open(&dir.path().join("none")), Err(OpenError::Missing(_))));
        fs::write(dir.path().join("file"), "").unwrap();
        assert!(matches!(open(&dir.path().join("file")), Err(OpenError::NotADirectory(_))));
        assert!(matches!(Store::init(&dir.path().join("file"), &Disk::real()), Err(OpenError::NotADirectory(_))));
    }

    #[test]
    fn a_store_whose_events_git_took_away_opens_empty() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(".eventcore")).unwrap();
        let store = Store::open(dir.path(), &Disk::real(), Mode::ReadOnly).unwrap();
        assert_eq!(store.list().unwrap(), []);
    }
}
