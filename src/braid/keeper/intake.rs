//! Files come and go: what of them counts, and why the rest does not.

mod compare;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tracing::field::Empty;

use crate::braid::keeper::Keeper;
use crate::braid::keeper::beginning::git_is_busy;
use crate::braid::keeper::findings::Before;
use crate::braid::keeper::hold::Seen;
use crate::braid::keeper::load::{Good, Loaded, load};
use crate::braid::keeper::roster::{Odd, claim_reason};
use crate::braid::keeper::saving::Packed;
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
            self.pending.add_all(self.roster.odd_names());
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
            let before = Before::of(&self.index);
            self.arrive_all(&came, &mut round, watcher);
            let linked = self.index.link(&round.entered, &[]);
            self.ingestion.wait_for(linked.shown.iter().chain(&linked.moved).copied());
            self.numbered.note(&self.index, &linked.shown, &linked.hidden);
            self.vanished.note_hidden(&self.index, &linked.hidden);
            self.chain.follow_own(&self.index, &linked.shown);
            let is_delivered_twice = self.delivered_twice.note(&self.index, &linked.shown);
            if is_delivered_twice || !before.is_all_there_is_to_tell(&self.index, &linked, &self.memory) {
                self.tell_anew();
            }
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
            self.mark_dirty();
            round.again.extend(self.roster.take_out(&name));
            if let Some(number) = self.roster.entered(&self.index, &name) {
                self.roster.leave(&name);
                // A second name of the same bytes stands in.
                round.again.extend(self.roster.take_twins(self.index.transactions.id(number)));
                gone.push(number);
            }
        }
        self.hide(&gone);
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
        self.vanished.note_hidden(&self.index, &linked.hidden);
        self.chain.follow_own(&self.index, &linked.shown);
        self.ingestion.forget_hidden(&mut self.index, &linked.hidden);
        self.touched.extend(linked.touched);
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
        let (replaced, packed) = self.find_replaced(names, loaded);
        let waits = |name: &String, loaded: &Loaded| match loaded {
            _ if packed == Packed::Torn => replaced.contains(name.as_str()),
            // Who copies over the lines copies over the files as well.
            Loaded::Refused(_, Some(_)) if packed == Packed::Mended && replaced.contains(name.as_str()) => true,
            Loaded::Refused(_, Some(stat)) => self.is_being_written(name, *stat),
            _ => false,
        };
        let (waiting, rest): (Vec<_>, Vec<_>) = names.iter().zip(loaded).partition(|(name, loaded)| waits(name, loaded));
        waiting.into_iter().for_each(|(name, _)| self.pending.add(name.clone()));
        self.hide_replaced(&rest, &replaced, round);
        for (name, loaded) in rest {
            match loaded {
                Loaded::Nothing => round.again.extend(self.note_unless_gone(name)),
                Loaded::Unread(error) => {
                    self.pending.add(name.clone());
                    round.unread = Some(error.into());
                }
                Loaded::Refused(reason, stat) => self.refuse(name, Odd::refused(reason.clone(), *stat, None), round),
                Loaded::Good(good, stat) => self.enter_file(name, good, *stat, round),
            }
        }
    }

    /// Whether a file that is refused, and had these facts before it was read, may only be half there: then it is looked at again soon. That
    /// is a new one, or one that is copied over, which is cut first and has other facts by now.
    fn is_being_written(&self, name: &str, stat: Stat) -> bool {
        if self.verifies_first() || !self.options.follow {
            return false;
        }
        let is_fresh = |stat: Stat| SystemTime::now().duration_since(stat.modified()).unwrap_or_default() < WRITING;
        if !self.is_known(name) {
            return is_fresh(stat);
        }
        !self.roster.is_refused(name) && self.store.stat(name).is_ok_and(|now| is_fresh(now) && (now.size == 0 || now != stat))
    }

    /// The names that stand for something else than the transaction that the index has under them, or for other lines.
    ///
    /// It may be the lines that they are compared with, and not the files: so those are looked at behind the comparison.
    fn find_replaced<'a>(&mut self, names: &'a [String], loaded: &[Loaded]) -> (HashSet<&'a str>, Packed) {
        let mut packed = Packed::Whole;
        loop {
            let files = names.iter().zip(loaded).filter(|(name, loaded)| self.is_replaced(name, loaded));
            let replaced: HashSet<&str> = files.map(|(name, _)| name.as_str()).collect();
            let found = if replaced.is_empty() { Packed::Whole } else { self.keep_pack_whole() };
            packed = if found == Packed::Whole { packed } else { found };
            if found != Packed::Mended {
                return (replaced, packed);
            }
        }
    }

    fn is_replaced(&self, name: &str, loaded: &Loaded) -> bool {
        let Some(number) = self.roster.entered(&self.index, name) else { return false };
        match loaded {
            Loaded::Good(good, _) => !self.is_same(number, good),
            Loaded::Refused(..) => true,
            Loaded::Nothing | Loaded::Unread(_) => false,
        }
    }

    /// Takes what a name stood for out of the views where it stands for something else now.
    fn hide_replaced(&mut self, files: &[(&String, &Loaded)], replaced: &HashSet<&str>, round: &mut Round) {
        let mut gone = Vec::new();
        for (name, loaded) in files {
            let Some(number) = self.roster.entered(&self.index, name) else { continue };
            let now = match loaded {
                Loaded::Good(good, _) => Some(&**good),
                Loaded::Refused(..) => None,
                Loaded::Nothing | Loaded::Unread(_) => continue,
            };
            let is_replaced = replaced.contains(name.as_str());
            // Of the first line nothing may change, also what no view shows.
            if is_replaced || now.is_some_and(|good| good.header_sum != self.index.transactions.header_sum(number)) {
                // What cannot be read may say the same as before.
                if !matches!(loaded, Loaded::Refused(_, None)) {
                    self.note_edit(name, Some(number), now);
                }
            }
            if is_replaced {
                self.roster.leave(name);
                // It was compared with what it said first: with what it said last it is not.
                self.index.transactions.forget_header(number);
                round.again.extend(self.roster.take_twins(self.index.transactions.id(number)));
                gone.push(number);
            }
        }
        self.hide(&gone);
    }

    fn refuse(&mut self, name: &str, odd: Odd, round: &mut Round) {
        if let Some(again) = self.roster.put(name, odd) {
            round.again.extend(again);
            self.mark_dirty();
        }
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
        match self.roster.claims(id).map(|files| files.contains(name)) {
            // It may say what the others say by now: all of them are looked at with new eyes.
            Some(true) => return round.again.extend(self.roster.unclaim_all(id)),
            Some(false) => return self.refuse(name, Odd::refused(claim_reason(id), Some(stat), Some(id)), round),
            None => {}
        }
        if let Some(number) = self.index.transactions.find(id).filter(|&number| self.index.transactions.is_present(number)) {
            let other = self.index.transactions.file_name(number);
            if other == name {
                if self.is_same(number, good) {
                    if !self.is_unchanged(number, good) {
                        // What had the same bytes claims the id with others now.
                        round.again.extend(self.roster.take_twins(id));
                    }
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
        round.again.extend(self.roster.take_out(name));
        let odd_name = (!id.is_file_name(name)).then_some(name);
        self.note_edit_of_returned(name, good);
        let offset = self.index.pack.len();
        let number = self.index.enter(&good.arrival(odd_name, Some(stat)), &good.lines);
        self.save_entered(good, stat, offset, name);
        if odd_name.is_some() {
            self.roster.note_misnamed(name, number);
        }
        self.set_findings(name, good);
        round.entered.push(number);
    }

    /// The same bytes under a second name: the proper name stands for the transaction.
    fn enter_twin(&mut self, name: &str, other: &str, number: u32, good: &Good, stat: Stat, round: &mut Round) {
        let id = good.header.transaction_id;
        let (mut inode, mut extra) = (stat.inode, name);
        if id.is_file_name(name) {
            round.again.extend(self.roster.take_out(name));
            self.note_edit_of_returned(name, good);
            inode = self.index.transactions.inode(number);
            self.move_file(number, stat, good.header_sum, false);
            self.index.transactions.set_proper_name(number);
            self.roster.leave(other);
            self.set_findings(name, good);
            extra = other;
        }
        round.again.extend(self.roster.put(extra, Odd::duplicate(id, inode, stat)).into_iter().flatten());
        self.mark_dirty();
    }

    /// Two files of different bytes claim one id: neither counts.
    fn claim(&mut self, name: &str, other: &str, number: u32, stat: Stat, round: &mut Round) {
        let id = self.index.transactions.id(number);
        let other_stat = self.store.stat(other).ok();
        self.roster.leave(other);
        round.entered.retain(|&entered| entered != number);
        if self.index.transactions.is_valid(number) {
            self.hide(&[number]);
        } else {
            self.save_gone(&[number]);
            self.index.transactions.set_flag(number, Flags::PRESENT, false);
        }
        // They are duplicates of nothing now.
        round.again.extend(self.roster.take_twins(id));
        self.refuse(other, Odd::refused(claim_reason(id), other_stat, Some(id)), round);
        self.refuse(name, Odd::refused(claim_reason(id), Some(stat), Some(id)), round);
    }

    fn set_findings(&mut self, name: &str, good: &Good) {
        if self.roster.set_findings(name, good.findings(name)) {
            self.mark_dirty();
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
