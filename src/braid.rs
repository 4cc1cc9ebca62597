//! The facade: open a store, read its epochs, append to it.
//!
//! The keeper owns all change: it takes in files, commits drafts and publishes epochs, on a thread of its own or, for a writer who is
//! alone, on the writer's. Readers hold an `Arc` of an epoch and never wait for it.
//!
//! ```
//! use braidfs::braid::{Braid, OpenOptions};
//! use braidfs::format::draft::{DraftKind, parse_draft};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path().join("store");
//! Braid::init(&dir)?;
//! let braid = Braid::open(&dir, &OpenOptions::default())?;
//! braid.wait_ready()?;
//! let draft = parse_draft(br#"{"stream_id":"todo-1","event_type":"Opened","event_data":{"title":"try it"}}"#, DraftKind::Lines)?;
//! let committed = braid.append(draft)?;
//! assert_eq!(committed.events[0].stream_version, 1);
//! let stream = braid.tree().stream("todo-1").ok_or("the stream has an event")?;
//! assert!(String::from_utf8(stream.read_all()?)?.contains("try it"));
//! # Ok(())
//! # }
//! ```

mod attention;
mod clock;
mod committable;
mod cursors;
mod cutover;
mod declined;
mod difference;
mod forget;
pub mod git;
mod keeper;
mod left_out;
mod mend;
mod options;
mod outcome;
mod parents;
mod projections;
mod reconcile;
mod restore;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout)]
mod simulation;
mod snapshots;
mod spans;
mod survey;
mod travel;
mod whole;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::disk::{Disk, NO_THREAD_CURE};
use crate::epoch::Epoch;
use crate::format::draft::check_draft;
use crate::model::{Draft, Errno, Finding, Rejection, TransactionId};
use crate::store::{Mode, Store};
use crate::view::{Past, Tree};

use keeper::commit::Waiting;
use keeper::desk::Desk;
use keeper::forked::Proposal;
use keeper::{Keeper, Request};
use projections::Projections;
use travel::Travel;

pub use clock::Clock;
pub use committable::Committable;
pub use cursors::Leadership;
pub use cutover::CutOver;
pub use difference::{Arrived, ChangedConflict, Difference, StreamDifference, difference};
pub use forget::{Forget, Forgotten};
pub use options::OpenOptions;
pub use outcome::{AppendError, Committed, CommittedEvent, Failure};
pub use projections::{check_definition, read_definition, worker_exe};
pub use reconcile::{OpenBranch, OpenConflict, OpenFork, ReconcileOptions, Reconciled, Resolution, Resolver};
pub use restore::{Restoration, Restored};
pub use travel::{TravelError, When};

/// How long a writer who is alone leaves the keeper to others, where another program is in the way, before he tries again.
const PAUSE: Duration = Duration::from_millis(2);

/// Called after each publication with the epoch before and the new one.
pub type Listener = Box<dyn Fn(&Arc<Epoch>, &Arc<Epoch>) + Send + Sync>;

/// What the keeper and the readers share.
struct Shared {
    current: RwLock<Arc<Epoch>>,
    /// Guards nothing but the waiting for a publication.
    published: (Mutex<()>, Condvar),
    /// Why the files could not be read when they were first looked at.
    unread: Mutex<Option<Failure>>,
    /// A list that is replaced and never changed, so that none of them keeps it locked.
    listeners: RwLock<Arc<[Arc<Listener>]>>,
}

impl Shared {
    fn epoch(&self) -> Arc<Epoch> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn publish(&self, epoch: Arc<Epoch>) {
        let before = std::mem::replace(&mut *self.current.write().unwrap_or_else(PoisonError::into_inner), Arc::clone(&epoch));
        let listeners = Arc::clone(&self.listeners.read().unwrap_or_else(PoisonError::into_inner));
        for listener in listeners.iter() {
            // Its bug is not the commit's: what is published was made.
            if catch_unwind(AssertUnwindSafe(|| listener(&before, &epoch))).is_err() {
                tracing::error!(epoch = epoch.number, "a listener panicked; it is called again after the next publication");
            }
        }
        drop(self.turn());
        self.published.1.notify_all();
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.published.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open store.
#[derive(Clone)]
pub struct Braid {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    store: Arc<Store>,
    travel: Arc<Travel>,
    requests: Sender<Request>,
    desk: Arc<Desk<Keeper>>,
    projections: Arc<Projections>,
    keeper: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The keeper finishes what it was asked before.
        let _ = self.requests.send(Request::Stop);
        let keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A listener on the keeper's own thread may have had the last clone: then the thread ends when it has returned.
        if let Some(keeper) = keeper.filter(|keeper| keeper.thread().id() != std::thread::current().id()) {
            let _ = keeper.join();
        }
    }
}

impl std::fmt::Debug for Braid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Braid").field("store", &self.inner.store.dir()).finish_non_exhaustive()
    }
}

impl Braid {
    /// Makes a store, or leaves one as it is.
    ///
    /// # Errors
    /// What the disk answered.
    pub fn init(dir: &Path) -> Result<(), Failure> {
        Store::init(dir, &Disk::real())?;
        Ok(())
    }

    /// Opens a store; the keeper begins to take its files in at once, and [`Braid::wait_ready`] waits for that.
    ///
    /// # Errors
    /// If there is no store, or its identity or ingestion log cannot be read.
    pub fn open(dir: &Path, options: &OpenOptions) -> Result<Self, Failure> {
        let mode = if options.read_only { Mode::ReadOnly } else { Mode::Writable };
        let store = Arc::new(Store::open(dir, &options.disk, mode)?);
        let (requests, inbox) = channel();
        let projections = Arc::new(Projections::new(Arc::clone(&store), options, keeper::asker(requests.clone())));
        let keeper = Keeper::new(Arc::clone(&store), options, Arc::clone(&projections))?;
        let shared = Arc::new(Shared {
            current: RwLock::new(keeper.first_epoch()),
            published: (Mutex::new(()), Condvar::new()),
            unread: Mutex::default(),
            listeners: RwLock::new(Arc::default()),
        });
        let history = keeper.numbered.share();
        let desk = Arc::new(Desk::new(keeper));
        let (to_self, at, for_keeper) = (requests.clone(), Arc::clone(&desk), Arc::clone(&shared));
        let thread = std::thread::Builder::new().name("keeper".to_owned());
        let thread = thread.spawn(move || Keeper::run(&at, &for_keeper, &inbox, to_self));
        let thread = thread.map_err(|error| Failure::new(format!("no thread could be started: {error}"), NO_THREAD_CURE))?;
        if options.follow {
            let (shared, store, keeper) = (Arc::downgrade(&shared), Arc::downgrade(&store), requests.clone());
            let started = std::thread::Builder::new().name("survey".to_owned()).spawn(move || survey::follow(shared, store, keeper));
            if let Err(error) = started {
                tracing::warn!(%error, "no thread to survey with");
            }
            let weak = Arc::downgrade(&projections);
            let started = std::thread::Builder::new().name("definitions".to_owned()).spawn(move || projections::follow(&weak));
            if let Err(error) = started {
                tracing::warn!(%error, "no thread to follow the definitions with");
            }
        }
        let past_states = projections::Past::of(&projections);
        let travel = Arc::new(Travel::new(Arc::downgrade(&shared), &store, past_states, history, !options.follow));
        Ok(Self { inner: Arc::new(Inner { shared, store, travel, requests, desk, projections, keeper: Mutex::new(Some(thread)) }) })
    }

    /// The newest published state.
    #[must_use]
    pub fn epoch(&self) -> Arc<Epoch> {
        self.inner.shared.epoch()
    }

    /// The tree of the newest published state.
    #[must_use]
    pub fn tree(&self) -> Tree {
        Tree::of(self.epoch()).with_past(self.past()).with_states(self.states())
    }

    /// Where trees of the past come from; it does not keep the store open.
    #[must_use]
    pub fn past(&self) -> Arc<dyn Past> {
        Arc::clone(&self.inner.travel) as Arc<dyn Past>
    }

    /// The epoch of exactly those files that a moment names: `position:N`, `seq:N`, `epoch:N`, `time:<RFC 3339 with zone>`,
    /// `tx:<id>`, `git:<revision>`, or one of the last three without its prefix.
    ///
    /// Waits until the present is ready. The epoch is a fresh store's of those files, its feed included: canonical order,
    /// numbered from 1. A few are kept, so a moment that was asked for a moment ago costs a look-up (a revision, one run of git).
    ///
    /// # Errors
    /// See [`TravelError`].
    pub fn at(&self, when: &str) -> Result<Arc<Epoch>, TravelError> {
        self.wait_ready().map_err(|_| TravelError::Closed)?;
        self.inner.travel.at(when)
    }

    /// The store behind it.
    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        &self.inner.store
    }

    /// Waits until every file that was there when the store was opened is in the views; gives that epoch.
    ///
    /// # Errors
    /// If the keeper ended before, or the files cannot be read, for the disk or a bug in braidfs.
    pub fn wait_ready(&self) -> Result<Arc<Epoch>, Failure> {
        self.wait_for(|epoch| epoch.progress.ready)
    }

    /// Waits until every file that was there when the store was opened is in the ordered views; its numbers in the feed may come later.
    ///
    /// # Errors
    /// As [`Braid::wait_ready`].
    pub fn wait_ordered(&self) -> Result<Arc<Epoch>, Failure> {
        self.wait_for(|epoch| epoch.progress.ordered)
    }

    fn wait_for(&self, is: impl Fn(&Epoch) -> bool) -> Result<Arc<Epoch>, Failure> {
        let failed = |message: &str| Failure::new(message, "");
        let epoch = self.wait(|epoch| is(epoch) || epoch.progress.failed, Duration::MAX);
        let epoch = epoch.ok_or_else(|| failed("the store was closed while it was opened"))?;
        if is(&epoch) {
            Ok(epoch)
        } else {
            let why = self.inner.shared.unread.lock().unwrap_or_else(PoisonError::into_inner).clone();
            Err(why.unwrap_or_else(|| failed("the store's files could not be read: a bug in braidfs ended it; the log says where")))
        }
    }

    /// Waits until a published epoch fulfils `is`, `timeout` at most.
    pub fn wait(&self, is: impl Fn(&Epoch) -> bool, timeout: Duration) -> Option<Arc<Epoch>> {
        let start = std::time::Instant::now();
        let mut turn = self.inner.shared.turn();
        loop {
            let epoch = self.epoch();
            if is(&epoch) {
                return Some(epoch);
            }
            let left = timeout.saturating_sub(start.elapsed());
            if left.is_zero() || self.is_closed() {
                return None;
            }
            // A keeper that died wakes nobody: look again now and then.
            let pause = left.min(Duration::from_millis(200));
            turn = self.inner.shared.published.1.wait_timeout(turn, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn is_closed(&self) -> bool {
        self.inner.keeper.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Calls `listener` after each publication, on the keeper's thread or that of a writer: it must be short and never wait for the
    /// keeper, as appending and refreshing do.
    ///
    /// It may read, listen to more, and drop the last clone of the store. What it panics with is logged and changes nothing.
    pub fn on_publish(&self, listener: Listener) {
        let mut listeners = self.inner.shared.listeners.write().unwrap_or_else(PoisonError::into_inner);
        *listeners = listeners.iter().cloned().chain([Arc::new(listener)]).collect();
    }

    /// Commits a draft as one transaction, or saves the state that it holds; returns when it is durable and in the newest epoch.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing is committed then.
    pub fn append(&self, mut draft: Draft) -> Result<Committed, AppendError> {
        if draft.snapshot.is_some() {
            // Also what must not stand beside a state.
            check_draft(&draft)?;
        }
        if let Some(request) = draft.snapshot.take() {
            let meta = self.save_snapshot(request)?;
            return Ok(Committed {
                transaction_id: TransactionId(uuid::Uuid::nil()),
                events: Vec::new(),
                repeated: false,
                snapshot: Some(meta),
            });
        }
        self.commit(draft.into())
    }

    fn commit(&self, proposal: Proposal) -> Result<Committed, AppendError> {
        self.hand_in(proposal).inspect_err(|error| {
            if matches!(error, AppendError::Rejected(_)) {
                self.count_refused(1);
            }
        })
    }

    /// Counts a draft that was refused before it was handed in, or takes back one that was handed in twice by one call.
    pub(crate) fn count_refused(&self, more: i8) {
        let job = Box::new(move |keeper: &mut Keeper, _: &Shared| keeper.count_refused(more));
        // A store that is closed counts nothing more.
        let _ = self.inner.requests.send(Request::Job(job));
    }

    fn hand_in(&self, proposal: Proposal) -> Result<Committed, AppendError> {
        // Every door leads through here, and no draft has to have been a file.
        check_draft(&proposal.draft)?;
        let failed = |message: &str| AppendError::Storage { errno: Errno::EIO, message: message.to_owned(), hint: String::new() };
        let (reply, answer) = channel();
        let mut draft = Waiting { proposal: Box::new(proposal), since: Instant::now(), reply };
        loop {
            let Some(mut keeper) = self.inner.desk.alone() else {
                let sent = self.inner.requests.send(Request::Append(draft));
                sent.map_err(|_| failed("the store was closed"))?;
                break;
            };
            match keeper.commit_here(draft, &self.inner.shared) {
                Ok(is_to_look) => {
                    if is_to_look {
                        // A keeper's thread that ended has nothing to look for.
                        let _ = self.inner.requests.send(Request::Job(Box::new(|_, _| {})));
                    }
                    break;
                }
                Err((draft, busy)) if keeper.gives_up(draft.since) => return Err(busy),
                // Meanwhile others may ask.
                Err((back, _)) => {
                    drop(keeper);
                    draft = back;
                    std::thread::sleep(PAUSE);
                }
            }
        }
        answer.recv().map_err(|_| AppendError::Uncertain {
            errno: Errno::EIO,
            message: "a bug in braidfs ended the commit, and it is not known whether it was made; the log says where".to_owned(),
            hint: String::new(),
        })?
    }

    /// Checks what a draft that is still being written expects of its streams, as of now.
    ///
    /// # Errors
    /// Every expectation that does not hold.
    pub fn check(&self, draft: &Draft) -> Result<(), Rejection> {
        keeper::check::check_expectations(self.epoch().as_ref().into(), draft)
    }

    /// Reports these findings about drafts that nobody has handed in, in place of those before; does not wait until they are published.
    pub fn report_drafts(&self, findings: Vec<Finding>) {
        let job = Box::new(move |keeper: &mut Keeper, shared: &Shared| {
            if keeper.memory.drafts != findings {
                keeper.memory.drafts = findings;
                keeper.mark_dirty();
            }
            keeper.publish_if_dirty(shared);
        });
        // A store that is closed reports nothing more.
        let _ = self.inner.requests.send(Request::Job(job));
    }

    /// Takes in whatever changed in `events/`; returns when it is published.
    ///
    /// Costs a look at each file's facts in a store that is not followed, else one listing.
    ///
    /// # Errors
    /// What the disk answered.
    pub fn refresh(&self) -> Result<Arc<Epoch>, Failure> {
        let (reply, answer) = channel();
        self.inner.requests.send(Request::Refresh { reply }).map_err(|_| Failure::closed())?;
        answer.recv().map_err(|_| Failure::closed())??;
        Ok(self.epoch())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests;
