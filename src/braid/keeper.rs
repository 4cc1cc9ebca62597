//! The thread that owns all change: what it is asked, what it notices, what it publishes.

mod arrival;
mod beginning;
mod beside;
pub(super) mod check;
mod checkpoints;
pub(super) mod commit;
mod delivered;
pub(super) mod desk;
pub(super) mod eventless;
pub(super) mod findings;
pub(super) mod forked;
mod forks_shown;
mod heap;
mod hold;
mod identity;
mod ingestion;
pub(super) mod intake;
pub(super) mod load;
mod locking;
pub(super) mod memory;
pub(super) mod numbered;
mod numbering;
mod record;
pub(super) mod roster;
mod saving;
pub(super) mod shelf;
mod survive;
mod told;
mod trouble;
pub(super) mod vanished;
mod watching;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use crate::braid::keeper::arrival::Hinted;
use crate::braid::keeper::checkpoints::Checkpoints;
use crate::braid::keeper::commit::{LOCK_WAIT, Waiting};
use crate::braid::keeper::delivered::DeliveredTwice;
use crate::braid::keeper::desk::{Desk, Rest};
use crate::braid::keeper::findings::LastTold;
use crate::braid::keeper::forks_shown::ForksShown;
use crate::braid::keeper::hold::Hold;
use crate::braid::keeper::identity::Chain;
use crate::braid::keeper::ingestion::Ingestion;
use crate::braid::keeper::intake::Look;
use crate::braid::keeper::locking::Locking;
use crate::braid::keeper::memory::Memory;
use crate::braid::keeper::numbered::Numbered;
use crate::braid::keeper::record::ForeignCounter;
use crate::braid::keeper::roster::Roster;
use crate::braid::keeper::saving::Saving;
use crate::braid::keeper::shelf::Shelf;
use crate::braid::keeper::trouble::{AGAIN, Trouble};
use crate::braid::keeper::vanished::Vanished;
use crate::braid::keeper::watching::Watching;
use crate::braid::projections::Projections;
use crate::braid::{AppendError, Failure, OpenOptions, PAUSE, Shared};
use crate::epoch::{Counters, Epoch, Progress};
use crate::index::{Index, Touched};
use crate::store::Store;

/// How many drafts make one group at most.
const GROUP_MAX: usize = 64;
/// How long writers of the group before are waited for: little beside the syncs that they share.
const GATHER: Duration = Duration::from_millis(1);
/// How long the keeper sleeps where nothing is to be watched.
const IDLE: Duration = Duration::from_secs(1);
/// How many files that cannot be read are tried again at once.
const UNREADABLE_MAX: usize = 64;
/// How soon it looks again for something that it waits for.
const SOON: Duration = Duration::from_millis(20);

/// What the keeper is asked.
pub(super) enum Request {
    Append(Waiting),
    Refresh {
        reply: Sender<Result<(), Failure>>,
    },
    /// There are hints; the answer is sent once they are taken.
    Look {
        taken: Sender<()>,
    },
    /// Whatever else only the one who owns all change may do.
    Job(Job),
    Stop,
}

impl Request {
    fn is_append(&self) -> bool {
        matches!(self, Self::Append(_))
    }

    /// Answers a commit that it is not made; whoever else asks is not answered.
    fn refuse(self, error: &AppendError) {
        if let Self::Append(draft) = self {
            let _ = draft.reply.send(Err(error.clone()));
        }
    }
}

/// Something to be done on the keeper's thread.
type Job = Box<dyn FnOnce(&mut Keeper, &Shared) + Send>;

/// Asks for an epoch with what changed besides the files. A keeper that is gone publishes nothing more.
pub(super) fn asker(requests: Sender<Request>) -> Box<dyn Fn() + Send + Sync> {
    Box::new(move || drop(requests.send(Request::Job(Box::new(|keeper, shared| keeper.publish(shared))))))
}

/// The index that the next epoch shows, and the pieces that own what else is known: which owns what is told in `docs/ARCHITECTURE.md`.
pub(super) struct Keeper {
    pub(super) store: Arc<Store>,
    pub(super) options: OpenOptions,

    // What the next epoch shows.
    pub(super) index: Index,
    pub(super) touched: Touched,
    progress: Progress,
    pub(super) counters: Counters,
    /// How many drafts were refused and could not be decided when that was last published.
    shown_refused: (u64, u64),
    number: u64,
    forks_shown: ForksShown,
    dirty: bool,
    told: RefCell<LastTold>,

    // What is there, and what became of it.
    hold: Hold,
    watching: Watching,
    pub(super) roster: Roster,
    vanished: Vanished,
    delivered_twice: DeliveredTwice,
    pub(super) memory: Memory,
    projections: Arc<Projections>,

    // What is written.
    locking: Locking,
    chain: Chain,
    pub(super) ingestion: Ingestion,
    foreign: ForeignCounter,
    checkpoints: Checkpoints,
    shelf: Shelf,
    saving: Saving,
    pub(super) numbered: Numbered,
    /// What this process mended by the way, a sentence each.
    pub(super) mended: BTreeSet<String>,

    // What is to be done, and when.
    /// What to look at, as soon as git lets us.
    pending: Look,
    /// Whether what was taken in is a part of what git brings: nothing is shown before the rest is here.
    is_partial: bool,
    /// Since when there is a hint of something that is not taken in yet.
    hinted: Option<Hinted>,
    /// Whether the files could not be read: they are tried again, but not at once.
    is_hurt: bool,
    looking: Trouble,
    /// When it last did what nobody asks for.
    ticked: Instant,
    /// How long the keeper's thread rests.
    rest: Rest,
}

impl Keeper {
    pub(super) fn new(store: Arc<Store>, options: &OpenOptions, projections: Arc<Projections>) -> Result<Self, Failure> {
        let ingestion = Ingestion::new(&store, options.verify)?;
        let own = store.identity()?;
        let identity = match options.replica_id {
            Some(id) => own.given(id),
            None => own,
        };
        Ok(Self {
            options: options.clone(),
            index: Index::default(),
            touched: Touched::default(),
            progress: Progress::default(),
            counters: Counters::default(),
            shown_refused: (0, 0),
            number: 0,
            forks_shown: ForksShown::default(),
            dirty: false,
            told: RefCell::default(),
            hold: Hold::new(&store),
            watching: Watching::default(),
            roster: Roster::default(),
            vanished: Vanished::default(),
            delivered_twice: DeliveredTwice::default(),
            memory: Memory::default(),
            projections,
            locking: Locking::new(&store),
            chain: Chain::new(identity),
            ingestion,
            foreign: ForeignCounter::default(),
            checkpoints: Checkpoints::default(),
            shelf: Shelf::new(options.snapshots_kept),
            saving: Saving::default(),
            numbered: Numbered::default(),
            mended: BTreeSet::new(),
            pending: Look::default(),
            is_partial: false,
            hinted: None,
            is_hurt: false,
            looking: Trouble::default(),
            ticked: Instant::now(),
            rest: Rest::default(),
            store,
        })
    }

    /// The state before anything was read.
    pub(super) fn first_epoch(&self) -> Arc<Epoch> {
        Arc::new(self.epoch())
    }

    fn epoch(&self) -> Epoch {
        Epoch {
            number: self.number,
            name: if self.progress.ready { self.numbered.history().number() } else { 0 },
            index: self.index.clone(),
            touched: self.touched.clone(),
            feed_shown: self.ingestion.shown(),
            quarantined: Arc::clone(&self.files_told().quarantined),
            findings: self.findings(),
            snapshots: self.shelf.shown(),
            checkpoints: self.checkpoints.shown(),
            origins: Arc::clone(&self.memory.origins),
            forks_number: self.forks_shown.number(),
            declined: Arc::clone(&self.memory.declined),
            eventless_gone: Arc::clone(self.vanished.eventless_gone()),
            replica_id: self.chain.replica_id(),
            writer: self.locking.writer().clone(),
            progress: self.progress,
            counters: Counters { folded: self.projections.folded(), ..self.counters },
            store: Arc::clone(&self.store),
            past: None,
        }
    }

    /// Publishes what changed since the last time.
    pub(super) fn publish(&mut self, shared: &Shared) {
        if self.is_partial && self.progress.ready {
            // It is shown with the rest.
            return self.mark_unshown();
        }
        self.record_gone();
        self.ingestion.take_changed();
        if self.ingestion.take_told() | self.locking.take_changed() {
            self.tell_anew();
        }
        self.check_snapshots();
        self.forks_shown.note(&self.index, &self.touched, &self.memory);
        self.number += 1;
        self.save_number();
        self.save_incarnations();
        let epoch = Arc::new(self.epoch());
        self.touched = Touched::default();
        self.dirty = false;
        shared.publish(epoch);
        // Behind the publication, since it only spares the next start some reading.
        self.flush_saved();
    }

    /// Whether there is something that the newest epoch does not show.
    pub(super) fn is_dirty(&self) -> bool {
        !self.is_partial && (self.dirty || self.ingestion.is_changed() || self.locking.is_changed() || self.touched != Touched::default())
    }

    /// Notes that the next look must publish, also where no file changed, and that what is told of files and transactions may be another.
    pub(super) fn mark_dirty(&mut self) {
        self.mark_unshown();
        self.tell_anew();
    }

    /// The same where what is told of files and transactions stays.
    pub(super) fn mark_unshown(&mut self) {
        self.dirty = true;
    }

    /// Notes that what is told of files and transactions may be another.
    fn tell_anew(&mut self) {
        self.told.borrow_mut().forget();
    }

    /// Serves at a desk until it is told to stop or nobody can ask any more.
    pub(super) fn run(desk: &Desk<Self>, shared: &Shared, inbox: &Receiver<Request>, to_self: Sender<Request>) {
        let Some((early, is_git_late)) = Self::wait_for_git(desk, inbox) else { return };
        desk.turn().begin_serving(shared, to_self, is_git_late);
        early.into_iter().for_each(|request| desk.turn().survive(shared, |keeper| keeper.serve(request, shared)));
        desk.set_queues(false);
        let mut expected = 1;
        let mut held = Vec::new();
        loop {
            let rest = {
                let mut keeper = desk.turn();
                let patience = if held.is_empty() { keeper.patience() } else { PAUSE };
                keeper.rest.begin(patience)
            };
            let request = inbox.recv_timeout(rest);
            let is_append = request.as_ref().is_ok_and(Request::is_append);
            let mut keeper = desk.turn();
            match request {
                Ok(Request::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(Request::Append(draft)) => {
                    let group_max = if keeper.options.one_by_one { 1 } else { GROUP_MAX };
                    let (group, others) = gather(draft, inbox, expected, group_max);
                    // One writer alone waits for nobody, and next time not for this thread either.
                    expected = group.len();
                    desk.set_queues(expected > 1);
                    held.extend(group);
                    keeper.survive(shared, |keeper| keeper.commit_held(&mut held, shared));
                    let stops = others.iter().any(|request| matches!(request, Request::Stop));
                    others.into_iter().for_each(|request| keeper.survive(shared, |keeper| keeper.serve(request, shared)));
                    if stops {
                        break;
                    }
                }
                Ok(request) => keeper.survive(shared, |keeper| keeper.serve(request, shared)),
                Err(RecvTimeoutError::Timeout) if !held.is_empty() => {}
                Err(RecvTimeoutError::Timeout) => keeper.survive(shared, |keeper| keeper.tick(shared)),
            }
            if !is_append {
                keeper.survive(shared, |keeper| keeper.commit_held(&mut held, shared));
            }
            // However often it is asked, what nobody asks for has its turn.
            if keeper.ticked.elapsed() > IDLE {
                keeper.survive(shared, |keeper| keeper.tick(shared));
            }
        }
        let mut keeper = desk.turn();
        keeper.survive(shared, |keeper| keeper.commit_group(std::mem::take(&mut held), shared));
        keeper.keep_base();
        keeper.end_base();
        keeper.end_numbers();
    }

    /// Commits on the thread of the one who asks; gives whether the keeper's thread must be told that it has something to look for, or the
    /// draft back where another program is in the way.
    pub(super) fn commit_here(&mut self, draft: Waiting, shared: &Shared) -> Result<bool, (Waiting, AppendError)> {
        let mut back = None;
        self.survive(shared, |keeper| back = keeper.commit_at_once(draft, shared));
        let patience = self.patience();
        back.map_or_else(|| Ok(self.rest.is_too_long(patience)), Err)
    }

    fn serve(&mut self, request: Request, shared: &Shared) {
        match request {
            Request::Refresh { reply } => {
                // A listing does not tell of what was rewritten in place; its hint does.
                self.drain_hints();
                self.pending.add_everything();
                let result = self.sit_git_out(Instant::now(), LOCK_WAIT).and_then(|()| {
                    self.look_for_rewritten();
                    self.look(shared, true)
                });
                let _ = reply.send(result);
            }
            Request::Look { taken } => {
                self.drain_hints();
                let _ = taken.send(());
                self.look_and_log(shared);
            }
            Request::Append(draft) => self.commit_group(vec![draft], shared),
            Request::Job(job) => {
                job(self, shared);
                // It may have taken hints, of which nobody else is told then.
                if self.options.follow && self.progress.ready && !self.pending.is_empty() && !self.looking.lasts() {
                    self.look_and_log(shared);
                }
            }
            Request::Stop => {}
        }
    }

    /// How long nothing needs to be looked at.
    fn patience(&self) -> Duration {
        let has_numbers_to_give =
            (self.ingestion.waits_for_numbers() || self.ingestion.is_lost() || self.chain.owes_last()) && !self.locking.is_read_only();
        if self.is_hurt {
            IDLE
        } else if self.saving.has_unverified() {
            Duration::ZERO
        } else if self.watching.is_lost()
            || self.saving.is_writing()
            || self.saving.has_unread()
            || ((!self.pending.is_empty() || self.is_partial) && !self.looking.lasts())
            || (has_numbers_to_give && !self.locking.has_trouble() && !self.ingestion.has_trouble())
            || self.ingestion.is_waiting_shortly()
        {
            SOON
        } else if self.looking.lasts() || has_numbers_to_give || self.ingestion.is_waiting() {
            AGAIN
        } else if self.options.follow && !self.watching.is_on() {
            SOON * 2
        } else {
            IDLE
        }
    }

    fn tick(&mut self, shared: &Shared) {
        self.ticked = Instant::now();
        // Nothing of what is in its place is ours.
        if let Err(failure) = self.is_at_home() {
            return self.out_of_reach(&failure, shared);
        }
        if self.options.follow && !self.watching.is_on() {
            self.pending.add_everything();
        }
        if self.watching.is_lost() && self.watching.begin_again(&self.store) {
            self.hold.note_change();
            self.pending.add_everything();
        }
        if self.options.follow {
            if self.progress.ready {
                self.ingestion.distrust();
            }
            self.follow_log();
            self.follow_snapshots();
            self.inspect_snapshots(false);
            self.look_at_git_lock();
            self.probe_disk();
            if !self.locking.is_read_only() {
                self.locking.look(&self.store);
            }
        }
        self.verify_some();
        // No commit comes with what was refused.
        let refused = (self.counters.refused, self.counters.failed);
        if self.ingestion.owes_gone() || std::mem::replace(&mut self.shown_refused, refused) != refused {
            self.mark_unshown();
        }
        // No hint tells that a disk has come to itself.
        self.pending.add_all(self.roster.unreadable().take(UNREADABLE_MAX));
        self.look_and_log(shared);
        self.leave_lost_saved();
        self.take_up_saved();
        self.keep_base();
    }

    pub(super) fn count_refused(&mut self, more: i8) {
        self.counters.refused = self.counters.refused.saturating_add_signed(more.into());
    }

    /// Whether everything is to be known of the files before the store is ready, also of one that has just been written.
    fn verifies_first(&self) -> bool {
        self.options.verify && !self.progress.ready
    }

    fn look_and_log(&mut self, shared: &Shared) {
        match self.look(shared, false) {
            Ok(()) => self.in_reach(shared),
            Err(failure) => self.out_of_reach(&failure, shared),
        }
    }

    /// Takes in what is pending and publishes, unless git is at it; `now` does not wait for git.
    fn look(&mut self, shared: &Shared, now: bool) -> Result<(), Failure> {
        self.keep_pack_whole();
        let mut arriving = None;
        if !self.pending.is_empty() || self.is_partial {
            if !now && self.is_held() {
                return Ok(());
            }
            arriving = self.hinted.take().or_else(Hinted::now).map(|hinted| hinted.begin(&self.counters));
            if now {
                self.take_in_all(shared, None, Instant::now(), LOCK_WAIT)?;
            } else if !self.take_in_whole(shared, None)? {
                return Ok(());
            }
        }
        self.number_new();
        self.look_for_vanished();
        self.follow_checkpoints();
        self.follow_declined();
        if now {
            self.follow_snapshots();
        }
        if self.is_dirty() || self.progress.failed {
            self.progress.finish();
            self.publish(shared);
        }
        if let Some(arriving) = arriving {
            arriving.end(&self.counters);
            self.hinted = self.hinted.map(Hinted::spent_till_now);
        }
        Ok(())
    }
}

/// The drafts that wait together, and the other requests among them.
///
/// After a group of several its writers are about to ask again: `expected` of them are waited for, a moment at most.
fn gather(first: Waiting, inbox: &Receiver<Request>, expected: usize, group_max: usize) -> (Vec<Waiting>, Vec<Request>) {
    let start = Instant::now();
    let mut group = vec![first];
    let mut others = Vec::new();
    while group.len() < group_max {
        let patience = if group.len() < expected { GATHER.saturating_sub(start.elapsed()) } else { Duration::ZERO };
        match inbox.recv_timeout(patience) {
            Ok(Request::Append(draft)) => group.push(draft),
            Ok(Request::Stop) => {
                others.push(Request::Stop);
                break;
            }
            Ok(other) => others.push(other),
            Err(_) => break,
        }
    }
    (group, others)
}
