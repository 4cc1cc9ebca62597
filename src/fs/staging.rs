//! `staging/`: drafts that work like ordinary files, and names that are committed at their last close.

mod content;
mod decide;
mod idle;
mod lost;
mod names;
mod open;
mod receipts;
mod recover;
mod rename;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime};

pub use names::commit_kind;
pub use open::Release;
pub use recover::Unfinished;

use crate::format::draft::LineChecker;
use crate::format::time::{at_nanos, nanos};
use crate::fs::concerned::Concerned;
use crate::fs::ledger::Ledger;
use crate::fs::locked;
use crate::model::{Errno, Finding, Rejection};
use crate::store::{self, StagedName};

/// For so long a committed name still resolves, for the chmod, utimes and stat that tools send after close.
pub const GRACE: Duration = Duration::from_secs(2);
/// Drafts that nobody used for so long are removed.
pub const DRAFT_AGE_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long a daemon has seen at rest whatever it removes for its age.
const REST_MIN: Duration = Duration::from_secs(3600);
/// Opening a receipt waits so long at most for a verdict that is on its way.
pub const VERDICT_WAIT_MAX: Duration = Duration::from_secs(2);

/// The staged files of one mount.
pub struct Staging {
    files: store::Staging,
    kept: store::Receipts,
    ledger: Arc<dyn Ledger>,
    /// How long a committed name still resolves.
    grace: Duration,
    /// When the daemon began, by the clock that nobody sets, and by the one that is set.
    begun: (Instant, SystemTime),
    state: Mutex<State>,
    /// Taken before the state, by who writes or forgets a receipt: of one name there is one at a time.
    writing: receipts::Writing,
    /// The drafts that are told of, by name; never taken while the state is held.
    told: Mutex<Vec<(String, Finding)>>,
    /// The names, the hashes and the times of what was just refused with `ESTALE`, and named by its path.
    stale: Mutex<Vec<(String, String, Instant)>>,
    /// Signalled whenever a verdict is out.
    verdict: Condvar,
}

/// What is known of all staged files; never held while a file's content is worked on.
#[derive(Default)]
struct State {
    names: BTreeMap<String, Arc<Staged>>,
    files: HashMap<u64, Arc<Staged>>,
    handles: HashMap<u64, Handle>,
    receipts: BTreeMap<String, Option<receipts::Brief>>,
    /// The texts of receipts that are shown and not written: not yet, or they could not be.
    unsaved: HashMap<String, Vec<u8>>,
    /// The names whose receipt on disk is pending: it is what the next daemon finishes.
    begun: HashSet<String>,
    /// When it was last looked which receipts are old.
    receipts_looked: Option<Instant>,
    /// Refusals whose plain words somebody has removed.
    dismissed: HashSet<String>,
    /// How many verdicts were announced.
    verdicts: u64,
    last: u64,
}

/// An open staged file or receipt.
#[derive(Clone)]
enum Handle {
    Staged { file: Arc<Staged>, writes: bool, appends: bool },
    Text(Arc<[u8]>),
    Append,
}

/// One staged file; it outlives its name while it is open.
pub struct Staged {
    id: u64,
    inner: Mutex<Inner>,
}

struct Inner {
    name: Option<StagedName>,
    /// Open while somebody has it open.
    file: Option<crate::disk::DiskFile>,
    size: u64,
    mtime_ns: i128,
    /// When it was last written, touched, closed or renamed, or taken up by this daemon.
    used: Instant,
    openers: u32,
    writers: u32,
    phase: Phase,
    checking: Checking,
    /// It was closed at least once since it was last written: the verdict may be on its way.
    closed: bool,
}

/// Where a staged file stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A draft, or not yet closed for the last time.
    Open,
    /// Being committed.
    Deciding,
    /// Refused at its last close.
    Refused,
    /// Committed; the name resolves for a little while.
    Committed { until: Instant },
}

/// What was checked while a file was written.
#[derive(Default)]
struct Checking {
    /// The checker, while the file was written from its beginning on in order.
    checker: Option<Box<LineChecker>>,
    checked: u64,
    /// Events at which expectations and forks were last checked.
    events: usize,
    /// Which views it will change, as far as it was checked when it was closed.
    concerned: Arc<Concerned>,
    /// What a write or a close has reported: the last close keeps to it.
    told: Option<Told>,
    refused_at: Option<RefusedAt>,
    /// What the disk did not take: until that is written again there is less than was saved.
    lost: lost::Lost,
}

/// Where the first refused write began for its writer: who writes on all the same does it there again.
#[derive(Clone, Copy)]
struct RefusedAt {
    offset: u64,
    /// Where the last of these writes went.
    last: u64,
}

/// What a write or a close has reported.
enum Told {
    /// The bytes that were committed under this name, or those and more.
    SecondSave,
    /// Why it will not be committed.
    Refused(Rejection),
}

impl Told {
    fn errno(&self) -> Errno {
        match self {
            Self::SecondSave => Errno::EEXIST,
            Self::Refused(rejection) => rejection.errno(),
        }
    }
}

impl State {
    /// A name stands for this file no more.
    fn forget_name(&mut self, name: &str, file: &Staged) {
        if self.names.get(name).is_some_and(|named| named.id == file.id) {
            self.names.remove(name);
        }
    }
}

impl Inner {
    fn is_gone(&self, now: Instant) -> bool {
        matches!(self.phase, Phase::Committed { until } if until <= now && self.writers == 0)
    }

    fn is_committed_by_name(&self) -> bool {
        self.name.as_ref().is_some_and(|name| commit_kind(name.as_str()).is_some())
    }

    /// The verdict over its bytes is out.
    fn decided(&mut self, phase: Phase) {
        self.checking.begin_anew();
        self.closed = false;
        self.phase = phase;
    }

    fn touch(&mut self) {
        self.mtime_ns = now_ns();
        self.used = Instant::now();
    }
}

impl Staged {
    /// Its number, by which its inode is known.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// How many bytes it has.
    #[must_use]
    pub fn size(&self) -> u64 {
        locked(&self.inner).size
    }

    /// Whether this is another attempt, which nobody's last close will make: it was touched, or cut to its size.
    #[must_use]
    pub fn is_tried(&self, is_touched: bool, is_cut: bool) -> bool {
        let inner = locked(&self.inner);
        let is_asked = match inner.phase {
            Phase::Refused => is_touched,
            Phase::Open => is_cut,
            Phase::Deciding | Phase::Committed { .. } => false,
        };
        is_asked && inner.writers == 0
    }

    /// Whether it has a name that is committed.
    #[must_use]
    pub fn is_committed_by_name(&self) -> bool {
        locked(&self.inner).is_committed_by_name()
    }

    /// Whether it is being committed.
    #[must_use]
    pub fn is_deciding(&self) -> bool {
        locked(&self.inner).phase == Phase::Deciding
    }
}

impl Staging {
    /// The files of a store; what a daemon that died has left is taken up by [`Staging::recover`].
    #[must_use]
    pub fn new(files: store::Staging, kept: store::Receipts, ledger: Arc<dyn Ledger>) -> Self {
        Self {
            files,
            kept,
            ledger,
            grace: GRACE,
            stale: Mutex::default(),
            begun: (Instant::now(), SystemTime::now()),
            state: Mutex::default(),
            writing: receipts::Writing::default(),
            told: Mutex::default(),
            verdict: Condvar::new(),
        }
    }

    /// The same with another time for which a committed name still resolves.
    #[cfg(test)]
    pub(super) fn with_grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }

    /// The same as if the clock had said this when it began.
    #[cfg(test)]
    pub(super) fn begin_at(&mut self, clock: SystemTime) {
        self.begun.1 = clock;
    }

    /// What commits drafts.
    #[must_use]
    pub fn ledger(&self) -> &dyn Ledger {
        &*self.ledger
    }

    /// Sets a file's time to now.
    pub fn touch(&self, file: &Staged) {
        locked(&file.inner).touch();
    }

    /// Finds a file by name: also one that was just committed.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Arc<Staged>> {
        let file = locked(&self.state).names.get(name).cloned()?;
        let gone = locked(&file.inner).is_gone(Instant::now());
        (!gone).then_some(file)
    }

    /// Finds a file by its number, with or without a name.
    #[must_use]
    pub fn find_id(&self, id: u64) -> Option<Arc<Staged>> {
        locked(&self.state).files.get(&id).cloned()
    }

    /// The kernel has forgotten a file: without a name it is no more.
    pub fn forget(&self, id: u64) {
        let Some(file) = self.find_id(id) else { return };
        let nameless = {
            let inner = locked(&file.inner);
            inner.name.is_none() && inner.openers == 0
        };
        if nameless {
            locked(&self.state).files.remove(&id);
        }
    }

    /// Size and time of a file.
    #[must_use]
    pub fn facts(&self, file: &Staged) -> (u64, i128) {
        let inner = locked(&file.inner);
        (inner.size, inner.mtime_ns)
    }

    /// The names that are listed: drafts, what is being written, what was refused and why.
    #[must_use]
    pub fn list(&self) -> Vec<String> {
        let files: Vec<(String, Arc<Staged>)> =
            locked(&self.state).names.iter().map(|(name, file)| (name.clone(), Arc::clone(file))).collect();
        let is_listed = |file: &Arc<Staged>| !matches!(locked(&file.inner).phase, Phase::Committed { .. });
        let mut names: Vec<String> = files.into_iter().filter(|(_, file)| is_listed(file)).map(|(name, _)| name).collect();
        names.extend(self.errors());
        names.sort();
        names.dedup();
        names
    }

    /// Removes what time has made useless: committed names, unused drafts, old receipts. Returns when to come again.
    ///
    /// A clock may be set ahead by days, and by years where a machine begins without the time. So nothing grows older while a daemon runs than
    /// that runs, and nothing goes for its age that it has not seen at rest for an hour: what was set before it began is not known.
    pub fn tend(&self, now: Instant) -> Duration {
        const IDLE: Duration = Duration::from_secs(600);
        self.drop_committed();
        self.drop_vanished();
        self.drop_unused(now);
        self.save_unsaved();
        let ran = now.saturating_duration_since(self.begun.0);
        self.drop_receipts((ran >= REST_MIN).then(|| SystemTime::now().min(self.begun.1 + ran)));
        let next = self.tell_idle(now).min(IDLE);
        let state = locked(&self.state);
        let graced = state.names.values().any(|file| matches!(locked(&file.inner).phase, Phase::Committed { .. }));
        if graced { self.grace.min(next) } else { next }
    }

    fn drop_committed(&self) {
        let files: Vec<(String, Arc<Staged>)> =
            locked(&self.state).names.iter().map(|(name, file)| (name.clone(), Arc::clone(file))).collect();
        files.iter().for_each(|(name, file)| self.drop_if_committed(name, file));
    }

    fn drop_if_committed(&self, name: &str, file: &Arc<Staged>) {
        // Nobody can open it meanwhile: its name does not resolve.
        if locked(&file.inner).is_gone(Instant::now())
            && let Err(error) = self.remove(name, file)
        {
            tracing::warn!(%error, name, "a committed draft cannot be removed; it is tried again");
        }
    }

    /// Forgets files that somebody took away in the store itself: `git clean -fdx` does.
    fn drop_vanished(&self) {
        let known: Vec<(String, Arc<Staged>)> =
            locked(&self.state).names.iter().map(|(name, file)| (name.clone(), Arc::clone(file))).collect();
        for (name, file) in known {
            let Some(staged) = StagedName::new(&name) else { continue };
            {
                let mut inner = locked(&file.inner);
                let is_in_use = inner.openers > 0 || inner.phase == Phase::Deciding || inner.name.as_ref() != Some(&staged);
                if is_in_use || !self.files.stat(&staged).is_err_and(|error| error.is_not_found()) {
                    continue;
                }
                inner.name = None;
            }
            tracing::warn!(name, "a staged file is gone from the store: it was not removed through the mount");
            locked(&self.state).forget_name(&name, &file);
        }
    }

    fn drop_unused(&self, now: Instant) {
        let clock = self.begun.1 + now.saturating_duration_since(self.begun.0);
        let is_old = |file: &Inner| clock.duration_since(at_nanos(file.mtime_ns)).is_ok_and(|age| age >= DRAFT_AGE_MAX);
        let unused = |file: &Staged| {
            let inner = locked(&file.inner);
            let rest = now.saturating_duration_since(inner.used);
            inner.openers == 0 && inner.phase == Phase::Open && (rest >= DRAFT_AGE_MAX || (rest >= REST_MIN && is_old(&inner)))
        };
        let files: Vec<(String, Arc<Staged>)> =
            locked(&self.state).names.iter().map(|(name, file)| (name.clone(), Arc::clone(file))).collect();
        for (name, file) in files.into_iter().filter(|(_, file)| unused(file)) {
            match self.remove(&name, &file) {
                Ok(()) => {
                    self.dismiss_of(&name);
                    tracing::info!(name, "an unused draft was removed");
                }
                Err(error) => tracing::warn!(%error, name, "an unused draft cannot be removed; it is tried again"),
            }
        }
    }

    /// Takes a file's name and bytes away; who has it open keeps it.
    fn remove(&self, name: &str, file: &Arc<Staged>) -> Result<(), Errno> {
        let staged = StagedName::new(name).ok_or(Errno::ENOENT)?;
        {
            let mut inner = locked(&file.inner);
            if inner.name.as_ref() != Some(&staged) {
                return Ok(());
            }
            self.files.remove(&staged).map_err(|error| error.errno())?;
            inner.name = None;
        }
        locked(&self.state).forget_name(name, file);
        Ok(())
    }
}

/// Now, in nanoseconds since 1970.
fn now_ns() -> i128 {
    nanos(SystemTime::now())
}
