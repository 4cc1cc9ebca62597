//! Ingestion order: the log, who waits for a number, what was passed as gone, and up to where the feed is shown.
//!
//! Which event has which number stands in the index, where readers find it. It is changed from here alone, so that three things hold: number N
//! of the feed is line N of the log; nothing is shown whose line may be lost by a loss of power and not be derived again; and nothing is
//! shown as gone that is not recorded as that. Who gets which number: [`fresh`]. What is gone: [`gone`]. What is told of it: [`waiting`].

mod fresh;
mod gone;
mod waiting;

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::braid::keeper::ingestion::gone::Gone;
use crate::braid::keeper::ingestion::waiting::Waiting;
use crate::disk;
use crate::format::binary::Binary as _;
use crate::index::feed::Slot;
use crate::index::saved::checksum;
use crate::index::{Index, join};
use crate::model::{Errno, EventId, Finding, FindingKind, Severity};
use crate::store::{CommitLock, IngestionLog, LogProblem, Mode, Refreshed, Repaired, Store};

/// What is known of ingestion order beyond the numbers in the index.
pub(in crate::braid) struct Ingestion {
    log: IngestionLog,
    /// Whether we give no numbers and record nothing.
    is_read_only: bool,
    /// Whether it is told that the log ends with half a line. Who writes cuts a torn end off at once, and who follows another that writes may
    /// see half a line of it.
    tells_torn: bool,
    /// Whether the feed holds every line of the log that was there at the start.
    is_begun: bool,
    /// Transactions of which an event has no number yet.
    unnumbered: BTreeSet<u32>,
    /// The events of a feed whose numbers are lost, in their order, until they have fresh ones.
    former: Vec<u32>,
    /// Up to which number the feed is shown.
    shown: u64,
    gone: Gone,
    waiting: Waiting,
    /// What is odd about the log.
    problems: Vec<Finding>,
    /// Whether the next epoch shows something else of this than the newest one.
    is_changed: bool,
    /// Whether something else is to be told of it.
    has_told: bool,
}

/// Whether this user, or the disk, lets nobody write there: no sync has failed then.
fn is_denied(error: &disk::Error) -> bool {
    !error.op.is_sync() && matches!(error.errno(), Errno::EROFS | Errno::EACCES | Errno::EPERM)
}

impl Ingestion {
    /// That of a store, of whose log no line is read before [`Ingestion::refresh`]. Who verifies is told of half a line.
    pub(super) fn new(store: &Store, verifies: bool) -> disk::Result<Self> {
        let is_read_only = store.mode() == Mode::ReadOnly;
        Ok(Self {
            log: IngestionLog::of(store)?,
            is_read_only,
            tells_torn: verifies && is_read_only,
            is_begun: false,
            unnumbered: BTreeSet::new(),
            former: Vec::new(),
            shown: 0,
            gone: Gone::read(store)?,
            waiting: Waiting::default(),
            problems: Vec::new(),
            is_changed: false,
            has_told: false,
        })
    }

    /// The log, for what is saved against its lines: whoever has it asks for digests and makes lines durable, and reads and appends none.
    pub(in crate::braid) fn log(&mut self) -> &mut IngestionLog {
        &mut self.log
    }

    /// The event that a line of the log names.
    pub(super) fn id_of(&self, seq_nr: u64) -> Option<EventId> {
        id_in(self.log.ids(), seq_nr)
    }

    /// The checksum of the first ids of the log; none beyond its end.
    pub(super) fn sum_upto(&self, seq_nr: u64) -> Option<u32> {
        let ids = self.log.ids().get(..usize::try_from(seq_nr).ok()?)?;
        let mut bytes = Vec::with_capacity(ids.len() * 16);
        EventId::put_all(ids, &mut bytes);
        Some(checksum(&bytes))
    }

    /// Up to which number the feed is shown.
    pub(super) fn shown(&self) -> u64 {
        self.shown
    }

    /// What is to be told of the log and of what the feed waits for.
    pub(super) fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.problems.iter().chain(self.waiting.told())
    }

    /// Whether the next epoch shows something else than the newest one.
    pub(super) fn is_changed(&self) -> bool {
        self.is_changed
    }

    /// The same, as an epoch is made that shows it.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.is_changed)
    }

    /// Whether it tells something else than the newest epoch does, as an epoch is made that tells it.
    pub(super) fn take_told(&mut self) -> bool {
        std::mem::take(&mut self.has_told)
    }

    fn note_told(&mut self) {
        (self.is_changed, self.has_told) = (true, true);
    }

    /// Whether there are events without a number.
    pub(super) fn waits_for_numbers(&self) -> bool {
        !self.unnumbered.is_empty()
    }

    /// How many events may have no number yet, at most.
    pub(in crate::braid) fn waiting_events(&self, index: &Index) -> u64 {
        self.unnumbered.iter().map(|&tx| index.transactions.events(tx).count() as u64).sum()
    }

    /// Whether the log has lost lines whose numbers were shown.
    pub(super) fn is_lost(&self) -> bool {
        self.log.is_lost()
    }

    /// Whether something is to be written to the log, if only that its end is cut off.
    pub(super) fn has_to_write(&self) -> bool {
        self.waits_for_numbers() || self.log.is_torn() || self.log.is_lost()
    }

    /// Reads what was appended to the log; cheap where nothing was.
    pub(super) fn refresh(&mut self) -> disk::Result<Refreshed> {
        self.log.refresh()
    }

    /// As [`IngestionLog::distrust`].
    pub(super) fn distrust(&mut self) {
        self.log.distrust();
    }

    /// Whether the feed is begun now, by who asks, and was not before.
    pub(super) fn begin(&mut self) -> bool {
        !std::mem::replace(&mut self.is_begun, true)
    }

    /// Goes on with the feed of a saved index, made when the log had so many lines of this checksum, if it still begins with them; else the
    /// feed is built from the log.
    pub(super) fn resume(&mut self, index: &mut Index, (len, sum): (u64, u32)) {
        if index.feed.latest() != len || self.sum_upto(len) != Some(sum) {
            return self.forget(index);
        }
        // What was passed as gone, and came back while nobody noted it, gets a fresh number.
        let Index { feed, events, pack, .. } = index;
        let back = self.gone.recorded().filter(|&(seq, id)| {
            let shown = seq.checked_sub(1).and_then(|at| feed.items.get(at)).map(|item| feed.slot(item));
            matches!(shown, Some(Slot::Event(event)) if events.id(event, pack) == id)
        });
        let back: Vec<(u32, EventId)> = back.filter_map(|(seq, id)| Some((u32::try_from(seq).ok()?, id))).collect();
        if !back.is_empty() {
            feed.mark_gone(&back, events);
        }
    }

    /// Goes back to an index that was published, with the feed shown up to a number.
    pub(super) fn take_back(&mut self, index: &Index, shown: u64) {
        self.former.retain(|&event| event < index.events.len());
        self.shown = shown;
    }

    /// Reads the log from its start, as if nothing had been read of it.
    pub(super) fn read_again(&mut self, store: &Store) {
        match IngestionLog::read(store) {
            Ok(log) => self.log = log,
            Err(error) => tracing::warn!(%error, "the ingestion log cannot be read"),
        }
    }

    /// Whether the log ends before numbers that the feed has given.
    pub(super) fn is_behind(&self, index: &Index) -> bool {
        self.log.latest_seq_nr() < index.feed.latest()
    }

    /// Everything in the views waits for a number, until it is settled who has one.
    pub(super) fn wait_for_all(&mut self, index: &Index) {
        self.unnumbered = index.order.iter_from(0).collect();
    }

    /// What was taken over and has no number waits for one.
    pub(super) fn wait_for_unnumbered(&mut self, index: &Index) {
        let lacks = |&tx: &u32| index.transactions.is_valid(tx) && lacks_numbers(index, tx);
        self.unnumbered = (0..index.transactions.len()).filter(lacks).collect();
    }

    /// Transactions that came into the views, or changed there, wait for numbers.
    pub(super) fn wait_for(&mut self, transactions: impl Iterator<Item = u32>) {
        join(&mut self.unnumbered, transactions.collect());
    }

    /// The same of transactions that we wrote a moment ago; gives whether they are all that waits.
    pub(super) fn wait_for_ours(&mut self, transactions: &[u32]) -> bool {
        self.unnumbered.extend(transactions);
        self.unnumbered.len() == transactions.len()
    }

    /// Transactions went out of the views: their numbers are gone from now on.
    pub(super) fn forget_hidden(&mut self, index: &mut Index, hidden: &[u32]) {
        let Index { feed, transactions, events, pack, .. } = index;
        let numbered = hidden.iter().flat_map(|&tx| transactions.events(tx)).filter(|&event| events.seq_nr(event) > 0);
        // The log says whose number it was, whatever became of the packed lines.
        let gone = numbered.map(|event| {
            let seq = events.seq_nr(event);
            (seq, id_in(self.log.ids(), seq.into()).unwrap_or_else(|| events.id(event, pack)))
        });
        let mut gone: Vec<(u32, EventId)> = gone.collect();
        let had_numbers = if feed.gone_count() > 0 { former_numbers(index, hidden) } else { Vec::new() };
        for tx in hidden {
            self.unnumbered.remove(tx);
        }
        if !gone.is_empty() {
            let Index { feed, events, .. } = &mut *index;
            feed.mark_gone(&gone, events);
            self.is_changed = true;
        }
        gone.extend(had_numbers);
        index.note_absent(gone);
    }

    /// Whether an event is gone that got its number after those of a transaction.
    pub(super) fn has_gone_behind(index: &Index, tx: u32) -> bool {
        let last = index.transactions.events(tx).map(|event| u64::from(index.events.seq_nr(event))).max();
        let Some(last) = last.filter(|&last| last > 0) else { return false };
        // One that is back has a fresh number.
        index.feed.absent().last_seq_nr() > last
    }

    /// Whether the log has lines that the feed does not hold.
    pub(super) fn has_new_lines(&self, index: &Index) -> bool {
        self.log.latest_seq_nr() > index.feed.latest()
    }

    /// Whether every event of such a line is in the views.
    pub(super) fn knows_new_lines(&self, index: &Index) -> bool {
        self.log.ids().iter().skip(index.feed.latest() as usize).all(|&id| index.find_event(id).is_some())
    }

    /// Gives the numbers of the log's lines behind the end of the feed to their events, and shows them; what is not in the views is gone.
    ///
    /// # Errors
    /// As [`Ingestion::show_certain`].
    pub(super) fn take_lines(&mut self, index: &mut Index) -> disk::Result<()> {
        let held = index.feed.latest();
        let ids: Vec<EventId> = self.log.ids().iter().skip(held as usize).copied().collect();
        let mut last_line: HashMap<EventId, usize> = HashMap::with_capacity(ids.len());
        for (at, &id) in ids.iter().enumerate() {
            last_line.insert(id, at);
        }
        let mut superseded = Vec::new();
        let mut slots = Vec::with_capacity(ids.len());
        let mut gone = Vec::new();
        for (at, &id) in ids.iter().enumerate() {
            // Of several lines for one id the last counts, unless it was passed as gone: then the event gets a fresh number.
            let counts = last_line.get(&id) == Some(&at) && !self.gone.has(held + 1 + at as u64, id);
            let event = if counts { index.find_event(id) } else { None };
            if let Some(event) = event {
                superseded.extend(Some((index.events.seq_nr(event), id)).filter(|(seq, _)| *seq > 0));
            }
            if event.is_none() {
                gone.push(((held + 1) as u32 + at as u32, id));
            }
            slots.push(event.map_or(Slot::Gone(id), Slot::Event));
        }
        let Index { feed, events, .. } = &mut *index;
        feed.mark_gone(&superseded, events);
        feed.append(&slots, events);
        index.note_absent(gone);
        self.settle(index);
        self.show_certain(index)
    }

    /// Shows the feed that was taken over or built, if there is any.
    ///
    /// # Errors
    /// As [`Ingestion::show_certain`].
    pub(super) fn show_held(&mut self, index: &Index) -> disk::Result<()> {
        if index.feed.latest() == 0 {
            return Ok(());
        }
        self.settle(index);
        self.show_certain(index)
    }

    /// Transactions whose events all have numbers wait for none.
    fn settle(&mut self, index: &Index) {
        self.unnumbered.retain(|&tx| index.transactions.is_valid(tx) && lacks_numbers(index, tx));
    }

    /// Syncs the log and shows every number in it.
    ///
    /// # Errors
    /// Where the sync failed, so that nothing may be written any more; then no new number is shown.
    fn show_certain(&mut self, index: &Index) -> disk::Result<()> {
        match self.log.sync() {
            Ok(()) => {}
            // Where it may not be opened for writing, nothing of ours waits to be synced; what was read stays.
            Err(error) if self.is_read_only || is_denied(&error) => tracing::debug!(%error, "the ingestion log cannot be synced"),
            Err(error) => {
                tracing::error!(%error, "the ingestion log cannot be synced: no new number is shown");
                return Err(error);
            }
        }
        self.show_upto(index.feed.latest());
        Ok(())
    }

    /// Shows the numbers of a commit of ours, which can be derived again from the chain and so need no sync. That something changed is known.
    pub(super) fn show_ours(&mut self, index: &Index) {
        self.shown = index.feed.latest();
    }

    fn show_upto(&mut self, seq_nr: u64) {
        if self.shown != seq_nr {
            self.shown = seq_nr;
            self.is_changed = true;
        }
    }

    /// Ends what is left of half a line at the end of the log.
    pub(super) fn repair(&mut self, lock: &CommitLock) -> Repaired {
        self.log.repair(lock).unwrap_or_else(|error| {
            tracing::warn!(%error, "the torn end of the ingestion log stays");
            Repaired::Nothing
        })
    }

    /// Writes a log that has lost lines anew; gives whether it has them again.
    pub(super) fn write_lost(&mut self, lock: &CommitLock) -> bool {
        match self.log.rewrite(lock) {
            Ok(()) => self.takes_lines(),
            Err(error) => {
                self.tell_lost(Some(&error));
                return false;
            }
        }
        true
    }

    /// Writes a damaged log anew; answers what was wrong with it.
    ///
    /// # Errors
    /// What the disk answered.
    pub(super) fn mend(&mut self, lock: &CommitLock) -> disk::Result<Vec<LogProblem>> {
        let problems = self.log.problems().to_vec();
        if !problems.is_empty() {
            self.log.rewrite(lock)?;
            self.note_problems();
            self.note_told();
        }
        Ok(problems)
    }

    /// Notes what is odd about the log, which was read.
    pub(super) fn note_problems(&mut self) {
        let told = |problem: &LogProblem| match problem {
            LogProblem::Unreadable { seq_nr } => format!("index/ingestion.log has a line before number {seq_nr} that is none"),
            LogProblem::Skipped { seq_nr, .. } => format!("index/ingestion.log skips numbers before {seq_nr}"),
            LogProblem::Repeated { seq_nr } => format!("index/ingestion.log gives number {seq_nr} twice; the first line counts"),
        };
        let torn = (self.tells_torn && self.log.is_torn()).then(|| "index/ingestion.log ends with half a line".to_owned());
        let finding = |message| Finding {
            kind: FindingKind::UnreadableByEventcore,
            severity: Severity::Warning,
            file: None,
            transaction_id: None,
            message,
            hint: "braidfs doctor --fix".to_owned(),
        };
        let problems: Vec<Finding> = self.log.problems().iter().map(told).chain(torn).map(finding).collect();
        if problems != self.problems {
            self.problems = problems;
            self.note_told();
        }
    }
}

/// Whether an event of a transaction has no number.
fn lacks_numbers(index: &Index, tx: u32) -> bool {
    index.transactions.events(tx).any(|event| index.events.seq_nr(event) == 0)
}

/// The numbers that events of transactions had which have none now: they came back and were not numbered since.
fn former_numbers(index: &Index, transactions: &[u32]) -> Vec<(u32, EventId)> {
    let Index { feed, events, pack, .. } = index;
    let of_transactions = transactions.iter().flat_map(|&tx| index.transactions.events(tx));
    let without: HashSet<EventId> =
        of_transactions.filter(|&event| events.seq_nr(event) == 0).map(|event| events.id(event, pack)).collect();
    if without.is_empty() {
        return Vec::new();
    }
    let of_them = feed.gone_events().filter(|(_, id)| without.contains(id));
    of_them.filter_map(|(seq, id)| Some((u32::try_from(seq).ok()?, id))).collect()
}

/// The event of a number.
fn id_in(ids: &[EventId], seq_nr: u64) -> Option<EventId> {
    ids.get(usize::try_from(seq_nr).ok()?.checked_sub(1)?).copied()
}
