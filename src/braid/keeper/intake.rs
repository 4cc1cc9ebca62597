//! Files come and go: what of them counts, and why the rest does not.

mod compare;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tracing::field::Empty;

use crate::braid::keeper::Keeper;
use crate::braid::keeper::beginning::git_is_busy;
use crate::braid::keeper::hold::Seen;
use crate::braid::keeper::load::{Good, Loaded, load};
use crate::braid::keeper::roster::{Odd, OddKind, claim_reason};
use crate::braid::spans::{count, micros};
use crate::braid::{Failure, Shared};
use crate::disk::{EntryKind, Stat, mishap};
use crate::index::transactions::Flags;
use crate::model::{Errno, TransactionId};

/// After how many files the progress is told.
const TOLD: usize = 4096;

/// How long after its last change a file that makes no sense yet is given time.
const WRITING: Duration = Duration::from_millis(80);

/// So often what came meanwhile is taken in before what is there is shown: somebody may write all the time.
const CATCH_UPS_MAX: usize = 5;

/// What is to be looked at.
#[derive(Debug, Default)]
pub(in crate::braid) struct Look {
    /// These names in `events/`, also where a file was rewritten in place.
    names: BTreeSet<String>,
    /// The whole directory, where a file is known by its name and inode.
    everything: bool,
}

impl Look {
    pub(in crate::braid) fn add(&mut self, name: String) {
        self.names.insert(name);
    }

    pub(super) fn add_all<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        self.names.extend(names.map(str::to_owned));
    }

    pub(super) fn add_everything(&mut self) {
        self.everything = true;
    }

    fn add_look(&mut self, other: Self) {
        self.names.extend(other.names);
        self.everything |= other.everything;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty() && !self.everything
    }
}

/// What a round of files does to the index.
#[derive(Default)]
struct Round {
    entered: Vec<u32>,
    /// Files to look at again since another one went.
    again: BTreeSet<String>,
    /// Why the last of those that could not be read was not.
    unread: Option<Failure>,
}

impl Keeper {
    /// Takes in what waits to be looked at and what comes while that is read; `before` is how things stood before what was read already, without
    /// a look at git since. Gives false where git is at it again, or was at the end: what was read is a part of its work then, which nobody
    /// is to see.
    pub(super) fn take_in_whole(&mut self, shared: &Shared, mut before: Option<Seen>) -> Result<bool, Failure> {
        // What the reading itself puts back has its time later.
        let mut later = Look::default();
        let mut is_whole = true;
        self.is_partial |= before.is_some();
        for round in 0.. {
            self.drain_hints();
            if before.is_none() && self.pending.is_empty() {
                break;
            }
            let (is_held, seen) = self.look_at_git();
            let was_at_it = before.is_some_and(|before| self.look_again_unless(before, seen, is_held));
            if is_held || self.pending.is_empty() || round == CATCH_UPS_MAX {
                is_whole = !is_held && (!was_at_it || self.pending.is_empty());
                break;
            }
            self.is_partial = true;
            let look = std::mem::take(&mut self.pending);
            if let Err(failure) = self.take_in(look, Some(shared)) {
                // Who cannot read all says so, and shows what he can.
                self.is_partial = self.is_held();
                self.pending.add_look(later);
                return Err(failure);
            }
            later.add_look(std::mem::take(&mut self.pending));
            before = Some(seen);
        }
        self.pending.add_look(later);
        self.is_partial &= !is_whole;
        Ok(is_whole)
    }

    /// The same, and waits for git, for so long from `begun` on.
    pub(super) fn take_in_all(
        &mut self,
        shared: &Shared,
        mut before: Option<Seen>,
        begun: Instant,
        patience: Duration,
    ) -> Result<(), Failure> {
        while !self.take_in_whole(shared, before.take())? {
            self.sit_git_out(begun, patience)?;
            // It may let go of its lock each time, and take it again.
            if begun.elapsed() > patience {
                return Err(git_is_busy());
            }
        }
        Ok(())
    }

    /// Takes in a part of what is there, apart from all that waits. Where git begins meanwhile nothing is shown before the rest is here.
    pub(in crate::braid) fn take_in_apart(&mut self, look: Look) -> Result<(), Failure> {
        let before = self.seen();
        let taken_in = self.take_in(look, None);
        self.drain_hints();
        let (is_held, seen) = self.look_at_git();
        let was_at_it = self.look_again_unless(before, seen, is_held);
        self.is_partial |= !self.pending.is_empty() && (is_held || was_at_it);
        taken_in
    }

    /// How things stand; the time of `events/` only where no hint tells of what comes and goes.
    pub(super) fn seen(&mut self) -> Seen {
        let is_hinted = self.watching.is_on();
        self.hold.seen(!is_hinted)
    }

    /// Whether git holds everything up, and how things stand. In this order: git that ends in between has changed what is seen.
    fn look_at_git(&mut self) -> (bool, Seen) {
        (self.is_held(), self.seen())
    }

    /// Gives whether git did something since things stood as before. Where no hint tells of that or of what came and went, everything is
    /// to be looked at again.
    fn look_again_unless(&mut self, before: Seen, seen: Seen, is_held: bool) -> bool {
        if !self.watching.is_on() && (is_held || before != seen) {
            self.pending.add_everything();
            // What was refused may have been half there, and is still the same file.
            self.roster.odd.keys().for_each(|name| self.pending.add(name.clone()));
        }
        !before.is_same_index(seen)
    }

    /// Takes in what changed; the caller publishes. The progress of the first time is published to `shared`. What the disk does not tell
    /// is looked for again.
    fn take_in(&mut self, look: Look, shared: Option<&Shared>) -> Result<(), Failure> {
        self.hinted = None;
        let compared = self.compare(&look);
        let (came, went) = compared.inspect_err(|_| {
            // A listing does not tell of what was rewritten in place.
            self.pending.add_everything();
            self.pending.names.extend(look.names);
        })?;
        self.take_in_these(came, went, shared)
    }

    /// Reads what came and forgets what went. What could not be read waits to be looked at again: without it nothing may be written, and
    /// nothing be shown as all that is there.
    pub(super) fn take_in_these(&mut self, mut came: Vec<String>, went: Vec<String>, shared: Option<&Shared>) -> Result<(), Failure> {
        let mut unread = None;
        let span = tracing::info_span!("take_in", came = count(came.len()), went = count(went.len()), events = Empty, duration_us = Empty);
        let _entered = span.enter();
        let (begun, events_before) = (Instant::now(), self.index.events.len());
        self.counters.went += went.len() as u64;
        if !went.is_empty() {
            let mut round = Round::default();
            self.depart(went, &mut round);
            self.tell_anew();
            came.extend(round.again);
        }
        let watcher = shared.filter(|_| !self.progress.ready);
        if let Some(shared) = watcher {
            self.progress.of = self.progress.done + came.len() as u64;
            self.publish(shared);
        }
        self.expect_many(came.len());
        while !came.is_empty() {
            let mut round = Round::default();
            self.arrive_all(&came, &mut round, watcher);
            let linked = self.index.link(&round.entered, &[]);
            self.ingestion.wait_for(linked.shown.iter().chain(&linked.moved).copied());
            self.numbered.note(&self.index, &linked.shown, &linked.hidden);
            self.memory.vanished.eventless.note(&self.index, &linked.hidden);
            self.chain.follow_own(&self.index, &linked.shown);
            self.note_delivered_twice(&linked.shown);
            self.tell_anew();
            self.ingestion.forget_hidden(&mut self.index, &linked.hidden);
            if linked.shown.len() < round.entered.len() {
                // What stands in a cycle of parents touches no view, and is told of as refused.
                self.mark_dirty();
            }
            self.touched.extend(linked.touched);
            came = round.again.into_iter().collect();
            unread = round.unread.or(unread);
        }
        self.progress.of = self.progress.done;
        self.counters.take_in.add(begun.elapsed());
        span.record("events", count(self.index.events.len() - events_before));
        span.record("duration_us", micros(begun));
        unread.map_or(Ok(()), Err)
    }

    fn depart(&mut self, names: Vec<String>, round: &mut Round) {
        let mut gone = Vec::new();
        for name in names {
            self.roster.findings.remove(&name);
            self.mark_dirty();
            if let Some(Odd { kind: OddKind::Refused(_, Some(id)), .. }) = self.roster.odd.remove(&name) {
                self.unclaim(id, &name, round);
            }
            if let Some(number) = self.entered_number(&name) {
                self.roster.misnamed.remove(&name);
                self.let_stand_in(number, round);
                gone.push(number);
            }
        }
        self.hide(&gone);
    }

    /// A second name of the same bytes stands in for the file of a transaction that went.
    fn let_stand_in(&mut self, number: u32, round: &mut Round) {
        let id = self.index.transactions.id(number);
        let twin = self.roster.odd.iter().find(|(_, odd)| matches!(odd.kind, OddKind::Duplicate(of) if of == id));
        if let Some(twin) = twin.map(|(name, _)| name.clone()) {
            self.roster.odd.remove(&twin);
            round.again.insert(twin);
        }
    }

    /// Takes transactions whose files went out of the views.
    fn hide(&mut self, gone: &[u32]) {
        if gone.is_empty() {
            return;
        }
        self.save_gone(gone);
        let linked = self.index.link(&[], gone);
        self.ingestion.wait_for(linked.shown.iter().copied());
        self.numbered.note(&self.index, &linked.shown, &linked.hidden);
        self.memory.vanished.eventless.note(&self.index, &linked.hidden);
        self.chain.follow_own(&self.index, &linked.shown);
        self.ingestion.forget_hidden(&mut self.index, &linked.hidden);
        self.touched.extend(linked.touched);
    }

    fn unclaim(&mut self, id: TransactionId, name: &str, round: &mut Round) {
        let Some(files) = self.roster.claims.get_mut(&id) else { return };
        files.remove(name);
        if files.len() <= 1 {
            // Whoever is left is looked at with new eyes.
            self.unclaim_all(id, round);
        }
    }

    fn unclaim_all(&mut self, id: TransactionId, round: &mut Round) {
        for file in self.roster.claims.remove(&id).unwrap_or_default() {
            self.roster.odd.remove(&file);
            round.again.insert(file);
        }
    }

    /// Enters files while later ones are read.
    fn arrive_all(&mut self, came: &[String], round: &mut Round, watcher: Option<&Shared>) {
        mishap::at("load");
        let store = Arc::clone(&self.store);
        let (mut rest, mut untold) = (came, 0);
        store.load_in_turn(
            came,
            self.options.threads,
            |_, read| load_read(read),
            |loaded| {
                let (names, later) = rest.split_at(loaded.len());
                rest = later;
                untold += names.len();
                self.progress.done += names.len() as u64;
                self.arrive(names, loaded, round);
                if untold >= TOLD {
                    untold = 0;
                    self.flush_saved();
                    watcher.into_iter().for_each(|shared| self.publish(shared));
                }
            },
        );
    }

    fn arrive(&mut self, names: &[String], loaded: &[Loaded], round: &mut Round) {
        self.counters.came += loaded.iter().filter(|loaded| !matches!(loaded, Loaded::Nothing)).count() as u64;
        self.hide_replaced(names, loaded, round);
        for (name, loaded) in names.iter().zip(loaded) {
            match loaded {
                Loaded::Nothing => self.note_unless_gone(name),
                Loaded::Unread(error) => {
                    self.pending.add(name.clone());
                    round.unread = Some(error.into());
                }
                Loaded::Refused(_, Some(stat)) if self.is_being_written(name, *stat) => self.pending.add(name.clone()),
                Loaded::Refused(reason, stat) => self.refuse(name, reason.clone(), *stat, None, round),
                Loaded::Good(good, stat) => self.enter_file(name, good, *stat, round),
            }
        }
    }

    /// Whether a new file that is refused may only be half there: then it is looked at again soon.
    fn is_being_written(&self, name: &str, stat: Stat) -> bool {
        if self.verifies_first() {
            return false;
        }
        let age = SystemTime::now().duration_since(stat.modified()).unwrap_or_default();
        self.options.follow && age < WRITING && !self.is_known(name)
    }

    /// Takes what a name stood for out of the views where it stands for something else now.
    fn hide_replaced(&mut self, names: &[String], loaded: &[Loaded], round: &mut Round) {
        if names.iter().zip(loaded).any(|(name, loaded)| self.is_replaced(name, loaded)) {
            // It may be the lines that it was compared with, not the file.
            self.keep_pack_whole();
        }
        let mut gone = Vec::new();
        for (name, loaded) in names.iter().zip(loaded) {
            let Some(number) = self.entered_number(name) else { continue };
            let (now, same) = match loaded {
                Loaded::Good(good, _) => (Some(&**good), self.is_same(number, good)),
                Loaded::Refused(..) => (None, false),
                Loaded::Nothing | Loaded::Unread(_) => continue,
            };
            // Of the first line nothing may change, also what no view shows.
            if !same || now.is_some_and(|good| good.header_sum != self.index.transactions.header_sum(number)) {
                // What cannot be read may say the same as before.
                if !matches!(loaded, Loaded::Refused(_, None)) {
                    self.note_edit(name, Some(number), now);
                }
            }
            if !same {
                self.roster.misnamed.remove(name);
                self.roster.findings.remove(name);
                // It was compared with what it said first: with what it said last it is not.
                self.index.transactions.forget_header(number);
                self.let_stand_in(number, round);
                gone.push(number);
            }
        }
        self.hide(&gone);
    }

    /// Whether a name stands for another transaction than the index has under it, or for other lines.
    fn is_replaced(&self, name: &str, loaded: &Loaded) -> bool {
        let Loaded::Good(good, _) = loaded else { return false };
        self.entered_number(name).is_some_and(|number| !self.is_same(number, good))
    }

    fn refuse(&mut self, name: &str, reason: String, stat: Option<Stat>, claims: Option<TransactionId>, round: &mut Round) {
        let (inode, size, mtime_ns) = stat.map_or((0, 0, 0), |stat| (stat.inode, stat.size, i64::try_from(stat.mtime_ns).unwrap_or(0)));
        let odd = Odd { inode, size, mtime_ns, kind: OddKind::Refused(reason, claims) };
        if self.roster.odd.get(name) == Some(&odd) {
            return;
        }
        self.roster.findings.remove(name);
        let before = self.roster.odd.insert(name.to_owned(), odd);
        if let Some(Odd { kind: OddKind::Refused(_, Some(id)), .. }) = before
            && claims != Some(id)
        {
            self.unclaim(id, name, round);
        }
        self.mark_dirty();
    }

    /// Whether a file has the bytes that were read of this transaction, but for what was healed of either.
    pub(super) fn is_unchanged(&self, number: u32, good: &Good) -> bool {
        self.index.transactions.header_sum(number) == good.header_sum && self.is_same(number, good)
    }

    /// Whether a file says what the index has of this transaction.
    pub(super) fn is_same(&self, number: u32, good: &Good) -> bool {
        let (transactions, events, pack) = (&self.index.transactions, &self.index.events, &self.index.pack);
        let header = &good.header;
        let mut parents: Vec<TransactionId> = header.parents.clone();
        parents.sort_unstable();
        parents.dedup();
        let mut held: Vec<TransactionId> = transactions.listed(number).map(|parent| transactions.id(parent)).collect();
        held.sort_unstable();
        let range = transactions.events(number);
        let lines: Vec<u8> = range.clone().flat_map(|event| events.tail(event, pack).iter().copied()).collect();
        transactions.id(number) == header.transaction_id
            && range.len() == good.events.len()
            && held == parents
            && transactions.replica(number) == header.replica_id
            && transactions.created_at(number) == header.created_at
            && (transactions.header_sum(number) == good.header_sum || self.index.has_details_of(number, &good.arrival(None, None)))
            && lines == good.lines
    }

    fn enter_file(&mut self, name: &str, good: &Good, stat: Stat, round: &mut Round) {
        let id = good.header.transaction_id;
        if self.roster.claims.get(&id).is_some_and(|files| files.contains(name)) {
            // It may say what the others say by now: all of them are looked at with new eyes.
            self.unclaim_all(id, round);
            return;
        }
        if let Some(files) = self.roster.claims.get_mut(&id) {
            files.insert(name.to_owned());
            self.refuse(name, claim_reason(id), Some(stat), Some(id), round);
            return;
        }
        if let Some(number) = self.index.transactions.find(id).filter(|&number| self.index.transactions.is_present(number)) {
            let other = self.index.transactions.file_name(number);
            if other == name {
                if self.is_same(number, good) {
                    self.move_file(number, stat, good.header_sum, !good.findings(name).is_empty());
                    self.set_findings(name, good);
                }
                return;
            }
            if self.is_unchanged(number, good) {
                self.enter_twin(name, &other, number, good, stat, round);
            } else {
                self.claim(name, &other, number, stat, round);
            }
            return;
        }
        if let Some(Odd { kind: OddKind::Refused(_, Some(claimed)), .. }) = self.roster.odd.remove(name) {
            self.unclaim(claimed, name, round);
        }
        let odd_name = (!id.is_file_name(name)).then_some(name);
        self.note_edit_of_returned(name, good);
        let offset = self.index.pack.len();
        let number = self.index.enter(&good.arrival(odd_name, Some(stat)), &good.lines);
        self.save_entered(good, stat, offset, name);
        if odd_name.is_some() {
            self.roster.misnamed.insert(name.to_owned(), number);
        }
        self.set_findings(name, good);
        round.entered.push(number);
    }

    /// What stood beside the index under this name is the file of a transaction now.
    fn is_odd_no_more(&mut self, name: &str, round: &mut Round) {
        if let Some(Odd { kind: OddKind::Refused(_, Some(claimed)), .. }) = self.roster.odd.remove(name) {
            self.unclaim(claimed, name, round);
        }
    }

    /// The same bytes under a second name: the proper name stands for the transaction.
    fn enter_twin(&mut self, name: &str, other: &str, number: u32, good: &Good, stat: Stat, round: &mut Round) {
        let id = good.header.transaction_id;
        let mtime_ns = i64::try_from(stat.mtime_ns).unwrap_or(0);
        let mut odd = Odd { inode: stat.inode, size: stat.size, mtime_ns, kind: OddKind::Duplicate(id) };
        let mut extra = name;
        if id.is_file_name(name) {
            self.is_odd_no_more(name, round);
            self.note_edit_of_returned(name, good);
            odd.inode = self.index.transactions.inode(number);
            self.move_file(number, stat, good.header_sum, false);
            self.index.transactions.set_proper_name(number);
            self.roster.misnamed.remove(other);
            self.set_findings(name, good);
            extra = other;
        }
        self.roster.findings.remove(extra);
        if let Some(Odd { kind: OddKind::Refused(_, Some(claimed)), .. }) = self.roster.odd.insert(extra.to_owned(), odd) {
            self.unclaim(claimed, extra, round);
        }
        self.mark_dirty();
    }

    /// Two files of different bytes claim one id: neither counts.
    fn claim(&mut self, name: &str, other: &str, number: u32, stat: Stat, round: &mut Round) {
        let id = self.index.transactions.id(number);
        let other_stat = self.store.stat(other).ok();
        self.roster.claims.insert(id, BTreeSet::from([name.to_owned(), other.to_owned()]));
        self.roster.misnamed.remove(other);
        round.entered.retain(|&entered| entered != number);
        if self.index.transactions.is_valid(number) {
            self.hide(&[number]);
        } else {
            self.save_gone(&[number]);
            self.index.transactions.set_flag(number, Flags::PRESENT, false);
        }
        self.refuse(other, claim_reason(id), other_stat, Some(id), round);
        self.refuse(name, claim_reason(id), Some(stat), Some(id), round);
    }

    fn set_findings(&mut self, name: &str, good: &Good) {
        let findings = good.findings(name);
        let before = self.roster.findings.remove(name).unwrap_or_default();
        if before != findings {
            self.mark_dirty();
        }
        if !findings.is_empty() {
            self.roster.findings.insert(name.to_owned(), findings);
        }
    }
}

fn load_read(read: crate::disk::Result<(&[u8], Stat)>) -> Loaded {
    match read {
        Ok((bytes, stat @ Stat { kind: EntryKind::File, .. })) => load(bytes, stat),
        Ok(_) => Loaded::Nothing,
        // A socket cannot be opened at all.
        Err(error) if error.leads_nowhere() || error.errno() == Errno::ENXIO => Loaded::Nothing,
        Err(error) if error.is_shortage() => Loaded::Unread(error),
        Err(error) => Loaded::Refused(error.to_string(), None),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests;
