//! From drafts to durable transactions: one section under the lock for all that wait together.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use tracing::field::Empty;

use crate::braid::keeper::Keeper;
use crate::braid::keeper::check::{Verdict, bases, check, committed};
use crate::braid::keeper::forked::Proposal;
use crate::braid::keeper::load::{Good, Loaded, load};
use crate::braid::spans::{count, micros};
use crate::braid::{AppendError, Committed, Shared};
use crate::disk::{self, Stat};
use crate::epoch::WriterState;
use crate::format::time::{created_at, new_uuid};
use crate::format::transaction::{EncodeEvent, FORMAT_VERSION, encode};
use crate::index::Index;
use crate::model::{Draft, Errno, EventId, Header, TransactionId};
use crate::store::{CommitLock, Group, LockError, Published, WriteError};

/// How long a commit waits for the lock and for git.
pub(in crate::braid) const LOCK_WAIT: Duration = Duration::from_secs(5);

/// How long it is waited at once: what arrives meanwhile is shown between two waits, and who writes alone lets others have the keeper.
const WAIT_STEP: Duration = Duration::from_millis(20);

type Reply = Sender<Result<Committed, AppendError>>;

/// A draft that somebody waits for.
pub(in crate::braid) struct Waiting {
    pub(in crate::braid) proposal: Box<Proposal>,
    /// When it was handed in: through whatever hands it goes, the wait is one.
    pub(in crate::braid) since: Instant,
    pub(in crate::braid) reply: Reply,
}

/// A transaction that is on its way.
struct Prepared {
    reply: Reply,
    name: String,
    stat: Stat,
    number: u32,
    good: Box<Good>,
    offset: u64,
}

impl Keeper {
    /// Commits what is held, unless somebody is in the way for longer than a moment: then it stays, and who has waited long enough is
    /// refused. Others who ask have their turn in between.
    pub(super) fn commit_held(&mut self, held: &mut Vec<Waiting>, shared: &Shared) {
        if held.is_empty() {
            return;
        }
        let Some((drafts, busy)) = self.try_commit(std::mem::take(held), shared, WAIT_STEP) else { return };
        let refused;
        (refused, *held) = drafts.into_iter().partition(|draft| self.gives_up(draft.since));
        if !refused.is_empty() {
            self.refuse_all(refused, &busy, shared);
        }
        self.publish_if_dirty(shared);
    }

    /// Whether somebody who asked then is not to wait any longer for whoever is in the way.
    pub(in crate::braid) fn gives_up(&mut self, asked: Instant) -> bool {
        self.locking.gives_up(asked, LOCK_WAIT)
    }

    /// Commits drafts that wait together, or refuses them after a while; each is answered on its own.
    pub(super) fn commit_group(&mut self, group: Vec<Waiting>, shared: &Shared) {
        if group.is_empty() {
            return;
        }
        if let Some((group, busy)) = self.try_commit(group, shared, LOCK_WAIT) {
            self.refuse_all(group, &busy, shared);
        }
    }

    /// Commits a draft unless somebody is in the way for longer than a moment: then it is given back, with the answer to who has waited
    /// long enough.
    pub(super) fn commit_at_once(&mut self, draft: Waiting, shared: &Shared) -> Option<(Waiting, AppendError)> {
        // Many may have queued, and the next one is let in when this one has his answer.
        let patience = if self.locking.has_queued(draft.since) { Duration::ZERO } else { WAIT_STEP };
        let (group, busy) = self.try_commit(vec![draft], shared, patience)?;
        self.publish_if_dirty(shared);
        group.into_iter().next().map(|draft| (draft, busy))
    }

    /// Commits drafts, or gives all of them back where another program is in the way for so long.
    fn try_commit(&mut self, group: Vec<Waiting>, shared: &Shared, patience: Duration) -> Option<(Vec<Waiting>, AppendError)> {
        let span = tracing::info_span!(
            "append",
            drafts = count(group.len()),
            events = count(group.iter().map(|draft| draft.proposal.draft.events.len()).sum::<usize>()),
            committed = Empty,
            refused = Empty,
            duration_us = Empty
        );
        let span = span.entered();
        let begun = Instant::now();
        let lock = match self.enter_section(shared, patience) {
            Ok(lock) => lock,
            Err(busy @ AppendError::Busy { .. }) => return Some((group, busy)),
            Err(error) => {
                self.refuse_all(group, &error, shared);
                return None;
            }
        };
        // Not a borrow of the keeper, which is changed while the files are on their way.
        let store = Arc::clone(&self.store);
        let mut files = match store.group(&lock, group.len()) {
            Ok(files) => files,
            Err(error) => {
                let error = if error.op.is_sync() { self.sync_failed(&error) } else { storage(&error) };
                self.refuse_all(group, &error, shared);
                return None;
            }
        };
        let mut next = self.index.clone();
        let mut prepared: Vec<Prepared> = Vec::with_capacity(group.len());
        let mut done = Vec::new();
        for Waiting { mut proposal, reply, .. } in group {
            match self.record(&next, &mut proposal).and_then(|()| check(self.memory.context(&next), &proposal)) {
                Err(rejection) => done.push((reply, Err(rejection.into()))),
                Ok(Verdict::Repeated(committed)) => done.push((reply, Ok(committed))),
                Ok(Verdict::Write(resolves)) => match self.prepare(&mut next, &mut files, &proposal.draft, resolves) {
                    Ok(make) => {
                        self.foreign.note_written(&proposal.draft);
                        prepared.push(make(reply));
                    }
                    Err(error) => done.push((reply, Err(error))),
                },
            }
        }
        self.write(&lock, files, next, prepared, &mut done);
        drop(lock);
        self.count(&done, begun, &span);
        self.publish_if_dirty(shared);
        for (reply, result) in done {
            let _ = reply.send(result);
        }
        None
    }

    /// Answers all of a group with what kept it from being looked at.
    fn refuse_all(&mut self, group: Vec<Waiting>, error: &AppendError, shared: &Shared) {
        self.counters.failed += group.len() as u64;
        if matches!(error, AppendError::Storage { .. }) {
            self.suspect_disk();
        }
        for draft in group {
            // Whoever asked may have gone; the same elsewhere.
            let _ = draft.reply.send(Err(error.clone()));
        }
        self.publish_if_dirty(shared);
    }

    fn count(&mut self, done: &[(Reply, Result<Committed, AppendError>)], begun: Instant, span: &tracing::Span) {
        let (mut committed, mut refused) = (0, 0);
        for (_, result) in done {
            match result {
                Ok(one) if one.repeated => {}
                Ok(one) => {
                    committed += 1;
                    self.counters.committed_events += one.events.len() as u64;
                }
                Err(AppendError::Rejected(_)) => refused += 1,
                Err(_) => self.counters.failed += 1,
            }
        }
        let has_failed = done.iter().any(|(_, result)| matches!(result, Err(AppendError::Storage { .. } | AppendError::Uncertain { .. })));
        // What was told of the disk is not true any more where it took a commit.
        if has_failed || (committed > 0 && self.memory.try_disk.is_some()) {
            self.suspect_disk();
        }
        self.counters.committed += committed;
        self.counters.append.add(begun.elapsed());
        span.record("committed", count(committed));
        span.record("refused", count(refused));
        span.record("duration_us", micros(begun));
    }

    pub(in crate::braid) fn publish_if_dirty(&mut self, shared: &Shared) {
        if self.is_dirty() {
            self.publish(shared);
        }
    }

    /// Takes the lock, waits for git, takes in what arrived, and makes sure of our identity.
    fn enter_section(&mut self, shared: &Shared, patience: Duration) -> Result<CommitLock, AppendError> {
        let lock = self.enter_within(shared, patience)?;
        self.refuse_unseen_heads()?;
        self.ensure_identity(&lock)?;
        Ok(lock)
    }

    /// The same for what writes no transaction, and so needs no identity.
    pub(in crate::braid) fn enter_quietly(&mut self, shared: &Shared) -> Result<CommitLock, AppendError> {
        self.enter_within(shared, LOCK_WAIT)
    }

    /// The same, for a moment only.
    pub(in crate::braid) fn enter_briefly(&mut self, shared: &Shared) -> Result<CommitLock, AppendError> {
        self.enter_within(shared, WAIT_STEP)
    }

    fn enter_within(&mut self, shared: &Shared, patience: Duration) -> Result<CommitLock, AppendError> {
        if let WriterState::Failed(why) = self.locking.writer() {
            let message = format!("writing has stopped since a sync failed: {why}");
            return Err(AppendError::Storage { errno: Errno::EROFS, message, hint: String::new() });
        }
        let begun = Instant::now();
        let lock = loop {
            match self.store.lock(WAIT_STEP.min(patience)) {
                Ok(lock) => break lock,
                Err(error @ LockError::Busy { .. }) => {
                    self.locking.refused(&self.store, &error);
                    if begun.elapsed() >= patience {
                        return Err(AppendError::Busy { message: error.to_string(), hint: "try again in a moment".to_owned() });
                    }
                    // Whoever reads waits for nobody's lock.
                    self.drain_hints();
                    self.look_and_log(shared);
                }
                Err(error) => {
                    self.locking.refused(&self.store, &error);
                    return Err(match error {
                        LockError::Disk(error) => storage(&error),
                        error => AppendError::Storage { errno: Errno::EROFS, message: error.to_string(), hint: String::new() },
                    });
                }
            }
        };
        self.is_at_home()?;
        self.locking.taken();
        self.keep_pack_whole();
        self.drain_hints();
        self.sit_git_out(begun, patience)?;
        if !self.watching.is_on() {
            self.pending.add_everything();
        }
        self.take_in_all(shared, None, begun, patience)?;
        self.number_under(&lock);
        self.locking.entered();
        Ok(lock)
    }

    pub(in crate::braid) fn sync_failed(&mut self, error: &disk::Error) -> AppendError {
        self.locking.stop(error);
        AppendError::Storage { errno: Errno::EROFS, message: error.to_string(), hint: String::new() }
    }

    /// Writes a transaction's file and, while the disk works on it, enters it into the index that is to come.
    fn prepare(
        &self,
        next: &mut Index,
        files: &mut Group<'_>,
        draft: &Draft,
        resolves: Vec<String>,
    ) -> Result<impl FnOnce(Reply) -> Prepared + use<>, AppendError> {
        let Some(replica_id) = self.chain.replica_id() else {
            return Err(AppendError::Storage {
                errno: Errno::EIO,
                message: "this working copy has no replica id".to_owned(),
                hint: String::new(),
            });
        };
        let bases = bases(next, draft);
        let header = Header {
            format_version: FORMAT_VERSION,
            transaction_id: TransactionId(new_uuid()),
            replica_id,
            parents: next.transactions.heads(),
            created_at: created_at(self.options.clock.now()),
            stream_bases: bases.iter().map(|(stream, base)| (stream.clone(), *base)).collect(),
            content_hash: None,
            resolves,
            key: draft.key.clone(),
        };
        let mut versions = bases;
        let events: Vec<EncodeEvent<'_>> = draft
            .events
            .iter()
            .map(|event| {
                let version = versions.entry(event.stream_id.clone()).or_default();
                *version += 1;
                EncodeEvent {
                    event_id: event.event_id.unwrap_or_else(|| EventId(new_uuid())),
                    stream_id: &event.stream_id,
                    stream_version: *version,
                    event_type: &event.event_type,
                    event_data: &event.event_data,
                    metadata: &event.metadata,
                }
            })
            .collect();
        let bytes = encode(&header, &events);
        let name = format!("{}.jsonl", header.transaction_id);
        let stat = files.write(&name, &bytes).map_err(|error| storage(&error))?;
        // What is written is read back as anybody would read it, so the views show exactly the file.
        let Loaded::Good(good, _) = load(&bytes, stat) else {
            files.take_back();
            return Err(AppendError::Storage {
                errno: Errno::EIO,
                message: "the transaction could not be read back".to_owned(),
                hint: String::new(),
            });
        };
        let offset = next.pack.len();
        let number = next.enter(&good.arrival(None, Some(stat)), &good.lines);
        next.link(&[number], &[]);
        Ok(move |reply| Prepared { reply, name, stat, number, good, offset })
    }

    /// Makes a group durable, then numbers and shows it.
    fn write(
        &mut self,
        lock: &CommitLock,
        files: Group<'_>,
        next: Index,
        prepared: Vec<Prepared>,
        done: &mut Vec<(Reply, Result<Committed, AppendError>)>,
    ) {
        if prepared.is_empty() {
            return;
        }
        if let Err(error) = files.publish() {
            self.not_written(&error, prepared, done);
            return;
        }
        let numbers: Vec<u32> = prepared.iter().map(|one| one.number).collect();
        self.adopt(next, &numbers);
        for one in &prepared {
            self.save_entered(&one.good, one.stat, one.offset, &one.name);
            self.watching.note_written(&one.name, one.stat);
        }
        // A local commit's numbers can be derived again from the chain, so their lines need no sync of their own.
        let are_all = self.ingestion.wait_for_ours(&numbers);
        if self.append_numbers(lock, &[], &numbers) && are_all {
            self.ingestion.show_ours(&self.index);
        }
        if let Some(last) = prepared.last() {
            let id = self.index.transactions.id(last.number);
            let remembered = self.chain.remember(lock, &self.store, id);
            self.locking.stop_if_failed(remembered);
        }
        for one in prepared {
            done.push((one.reply, Ok(committed(&self.index, one.number, false))));
        }
    }

    fn adopt(&mut self, next: Index, numbers: &[u32]) {
        self.index = next;
        self.numbered.note(&self.index, numbers, &[]);
        for &tx in numbers {
            self.touched.transactions.insert(tx);
            for event in self.index.transactions.events(tx) {
                self.touched.log = true;
                let stream = self.index.events.stream(event);
                self.touched.streams.insert(stream);
                self.touched.types.insert(self.index.events.event_type(event));
                self.touched.categories.extend(self.index.category_of(stream));
            }
        }
    }

    /// Says what became of each; whatever did get its name is taken in like any other file.
    fn not_written(&mut self, error: &WriteError, prepared: Vec<Prepared>, done: &mut Vec<(Reply, Result<Committed, AppendError>)>) {
        tracing::error!(%error, "a transaction could not be written");
        if matches!(error, WriteError::SyncFailed { .. }) {
            self.locking.stop(error);
        }
        let (named, how) = match error.published() {
            Published::First(count) => (count, "is durable all the same, as"),
            Published::Uncertain(count) => (count, "counts, and may be gone after a loss of power:"),
        };
        self.pending.add_everything();
        let (errno, message, hint) = (error.errno(), error.to_string(), error.hint());
        for (at, one) in prepared.into_iter().enumerate() {
            let (message, hint) = (message.clone(), hint.clone());
            let failed = if at < named {
                AppendError::Uncertain { errno, message: format!("{message}; this transaction {how} events/{}", one.name), hint }
            } else {
                AppendError::Storage { errno, message, hint }
            };
            done.push((one.reply, Err(failed)));
        }
    }
}

pub(in crate::braid) fn storage(error: &disk::Error) -> AppendError {
    AppendError::Storage { errno: error.errno(), message: error.to_string(), hint: error.hint() }
}
