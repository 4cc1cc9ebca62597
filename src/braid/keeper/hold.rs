//! Whether git is changing `events/` right now: then nothing is published, so that no half-done checkout shows.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::disk::Stat;
use crate::store::Store;
use crate::store::git::Git;

/// For how long after a change in `events/` git's lock holds everything up.
const QUIET: Duration = Duration::from_millis(300);

/// Older than this, git's lock is one that nobody holds any more.
pub(super) const GIT_LOCK_AGE: Duration = Duration::from_secs(600);

/// How soon a repository that was not there is looked for again: nobody makes one and checks a store out into it within that time.
const AGAIN: Duration = Duration::from_secs(1);

/// Git's lock and the last change.
pub(super) struct Hold {
    store: Arc<Store>,
    /// Found once; a repository may be made after the store was opened.
    git: Option<Git>,
    /// When it was last looked for in vain.
    missed: Option<Instant>,
    last_change: Option<Instant>,
}

/// The time of `events/` and the facts of git's index: while git is at it, it sets the one, and in the end it replaces the other, also
/// where both happen within a tick of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    changed: Option<SystemTime>,
    index: Option<Stat>,
}

impl Seen {
    /// Whether git ended nothing in between.
    pub(super) fn is_same_index(self, other: Self) -> bool {
        self.index == other.index
    }
}

impl Hold {
    pub(super) fn new(store: &Arc<Store>) -> Self {
        let mut hold = Self { store: Arc::clone(store), git: None, missed: None, last_change: None };
        hold.find_git();
        hold
    }

    /// Where git's lock lies while there is one; none outside of a repository.
    pub(super) fn lock_path(&mut self) -> Option<std::path::PathBuf> {
        self.find_git();
        self.git.as_ref().map(Git::index_lock)
    }

    /// Looks for the repository, in every directory above the store: outside of one a commit would else pay for that each time.
    fn find_git(&mut self) {
        if self.git.is_none() && self.missed.is_none_or(|at| at.elapsed() >= AGAIN) {
            self.git = self.store.git().unwrap_or_default();
            self.missed = self.git.is_none().then(Instant::now);
        }
    }

    /// Something in `events/` changed, and not by us.
    pub(super) fn note_change(&mut self) {
        self.last_change = Some(Instant::now());
    }

    pub(super) fn forget_changes(&mut self) {
        self.last_change = None;
    }

    /// Whether git's lock is there and `events/` changed a moment ago.
    pub(super) fn holds(&mut self) -> bool {
        self.holds_at(Instant::now())
    }

    fn holds_at(&mut self, now: Instant) -> bool {
        self.last_change.is_some_and(|at| now.duration_since(at) < QUIET) && self.lock().is_some()
    }

    /// The same where nobody is told of changes: by the time of `events/`, which whatever comes or goes there sets. Of a lock that a finding
    /// tells of as left behind it is not asked whose changes these are.
    pub(super) fn holds_unwatched(&mut self) -> bool {
        self.lock().is_some_and(|lock| age(&lock, SystemTime::now()) < GIT_LOCK_AGE) && self.has_changed(SystemTime::now())
    }

    /// How things stand now, with the time of `events/` or without; nothing where no git can be at it.
    pub(super) fn seen(&mut self, with_time: bool) -> Seen {
        let changed = if with_time { self.changed() } else { None };
        self.find_git();
        let index = self.git.as_ref().and_then(|git| self.store.git_index(git).ok().flatten());
        Seen { changed, index }
    }

    /// The time of `events/`; none where no git can be at it.
    fn changed(&mut self) -> Option<SystemTime> {
        self.find_git();
        self.git.as_ref()?;
        self.store.disk().stat(&self.store.layout().events()).ok().map(|stat| stat.modified())
    }

    fn has_changed(&mut self, now: SystemTime) -> bool {
        // A clock that was set back says nothing.
        self.changed().is_some_and(|at| now.duration_since(at).is_ok_and(|age| age < QUIET))
    }

    fn lock(&mut self) -> Option<Stat> {
        self.find_git();
        self.git.as_ref().and_then(|git| self.store.git_index_lock(git).ok().flatten())
    }
}

/// How long ago something changed; nothing if that lies ahead.
pub(super) fn age(stat: &Stat, now: SystemTime) -> Duration {
    now.duration_since(stat.modified()).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;
    use crate::disk::Disk;

    #[test]
    fn only_a_lock_with_a_change_behind_it_holds_anything_up() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::init(dir.path(), &Disk::real()).unwrap());
        std::fs::create_dir(dir.path().join(".git")).unwrap();
        std::fs::write(dir.path().join(".git/HEAD"), "ref: refs/heads/main\n").unwrap();
        let lock = dir.path().join(".git/index.lock");
        let mut hold = Hold::new(&store);
        std::fs::write(&lock, "").unwrap();
        assert!(!hold.holds(), "an editor is open for a commit, or git has crashed");
        hold.note_change();
        let changed = hold.last_change.unwrap();
        assert!(hold.holds_at(changed) && hold.holds_at(changed + QUIET - Duration::from_millis(1)));
        assert!(!hold.holds_at(changed + QUIET));
        std::fs::remove_file(&lock).unwrap();
        assert!(!hold.holds_at(changed), "git is done");
        std::fs::write(&lock, "").unwrap();
        hold.forget_changes();
        assert!(!hold.holds_at(changed));
    }
}
