//! Watching directories: hints about what changed, never the truth.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};

use super::error::Context as _;
use super::{Disk, Error, Op, Result};

/// A directory under watch, as [`Watch::add`] named it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WatchedDir(WatchDescriptor);

/// A hint that something changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A name came, was rewritten, or now stands for another file.
    Came(WatchedDir, String),
    /// A name went.
    Went(WatchedDir, String),
    /// Who may read it, whose it is or its times changed.
    Attributes(WatchedDir, String),
    /// Hints were lost, or a watched directory itself went away: look at everything again.
    Rescan,
}

/// A watch over some directories; without hints it is silent, so `Rescan` and a slow scan beside it complete it.
#[derive(Debug)]
pub struct Watch {
    inotify: Inotify,
    drains: AtomicUsize,
    end: EventFd,
}

impl Disk {
    /// Starts a watch without directories.
    pub fn watch(&self) -> Result<Watch> {
        let path = Path::new("inotify");
        self.admit(Op::Watch, path)?;
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).context(Op::Watch, path)?;
        let end = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).context(Op::Watch, path)?;
        Ok(Watch { inotify, drains: AtomicUsize::new(0), end })
    }
}

impl Watch {
    /// Watches a directory, without those below it.
    pub fn add(&self, dir: &Path) -> Result<WatchedDir> {
        let flags = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        self.inotify.add_watch(dir, flags).map(WatchedDir).context(Op::Watch, dir)
    }

    /// Waits until there are hints, and leaves them there; false once [`Watch::end`] was called.
    ///
    /// # Errors
    /// What poll(2) answered.
    pub fn has_hints(&self) -> Result<bool> {
        let mut fds = [&self.inotify.as_fd(), &self.end.as_fd()].map(|fd| PollFd::new(*fd, PollFlags::POLLIN));
        loop {
            match poll(&mut fds, PollTimeout::NONE) {
                Err(nix::Error::EINTR) => {}
                Ok(_) => return Ok(!fds.iter().skip(1).any(|end| end.any() == Some(true))),
                Err(errno) => return Err(Error::new(Op::Watch, Path::new("inotify"), errno)),
            }
        }
    }

    /// Wakes whoever waits for hints, for good.
    pub fn end(&self) {
        // Only a counter that is full takes nothing, and that wakes as well.
        let _ = self.end.write(1);
    }

    /// Counts how often hints are taken: who sees it grow knows that somebody else is at it.
    #[must_use]
    pub fn drains(&self) -> usize {
        self.drains.load(Ordering::Relaxed)
    }

    /// Waits until something changes, at most `timeout` (none: for ever), and answers all hints that are there.
    ///
    /// Answers nothing when the time is over or a signal came.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<Vec<Change>> {
        let path = Path::new("inotify");
        let timeout = match timeout {
            None => PollTimeout::NONE,
            // Rounded up: a wait of half a millisecond is no busy loop.
            Some(time) => PollTimeout::try_from(time.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX),
        };
        match poll(&mut [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) | Err(nix::Error::EINTR) => Ok(Vec::new()),
            Ok(_) => self.drain(),
            Err(errno) => Err(Error::new(Op::Watch, path, errno)),
        }
    }

    /// Answers the hints that are there, without waiting.
    pub fn drain(&self) -> Result<Vec<Change>> {
        self.drains.fetch_add(1, Ordering::Relaxed);
        let mut changes = Vec::new();
        loop {
            match self.inotify.read_events() {
                Ok(events) => changes.extend(events.into_iter().filter_map(change_of)),
                Err(nix::Error::EAGAIN | nix::Error::EINTR) => return Ok(changes),
                Err(errno) => return Err(Error::new(Op::Watch, Path::new("inotify"), errno)),
            }
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

fn change_of(event: InotifyEvent) -> Option<Change> {
    let lost = AddWatchFlags::IN_Q_OVERFLOW | AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_UNMOUNT;
    let went = AddWatchFlags::IN_MOVED_FROM | AddWatchFlags::IN_DELETE;
    if event.mask.intersects(lost) {
        return Some(Change::Rescan);
    }
    let name = super::shown_name(&event.name?);
    let dir = WatchedDir(event.wd);
    Some(match event.mask {
        mask if mask.intersects(went) => Change::Went(dir, name),
        mask if mask.contains(AddWatchFlags::IN_ATTRIB) => Change::Attributes(dir, name),
        _ => Change::Came(dir, name),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn names_that_come_and_go_are_hinted_at() {
        let dir = tempfile::tempdir().unwrap();
        let watch = Disk::real().watch().unwrap();
        let watched = watch.add(dir.path()).unwrap();
        assert_eq!(watch.wait(Some(Duration::ZERO)).unwrap(), []);
        std::fs::write(dir.path().join("a"), "1").unwrap();
        std::fs::rename(dir.path().join("a"), dir.path().join("b")).unwrap();
        let changes = watch.wait(Some(Duration::from_secs(30))).unwrap();
        assert!(changes.contains(&Change::Went(watched, "a".into())), "{changes:?}");
        assert!(changes.contains(&Change::Came(watched, "b".into())), "{changes:?}");
    }

    #[test]
    fn what_only_changes_in_its_attributes_is_hinted_at_as_that() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, "1").unwrap();
        let watch = Disk::real().watch().unwrap();
        let watched = watch.add(dir.path()).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o400)).unwrap();
        assert_eq!(watch.wait(Some(Duration::from_secs(30))).unwrap(), [Change::Attributes(watched, "a".into())]);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(watch.wait(Some(Duration::from_secs(30))).unwrap(), [Change::Went(watched, "a".into())]);
    }

    #[test]
    fn a_watched_directory_that_goes_away_asks_for_a_rescan() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        let watch = Disk::real().watch().unwrap();
        watch.add(&inner).unwrap();
        std::fs::rename(&inner, dir.path().join("elsewhere")).unwrap();
        assert_eq!(watch.wait(Some(Duration::from_secs(30))).unwrap(), [Change::Rescan]);
    }
}
