//! The saved index: taken over at the start, kept up while the store is open.

mod owner;
mod torn;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;

use uuid::Uuid;

use crate::braid::Failure;
use crate::braid::keeper::Keeper;
use crate::braid::keeper::beside::Beside;
use crate::braid::keeper::heap;
use crate::braid::keeper::load::{Good, Loaded, has_stamp, load, stamp};
use crate::disk::{self, Stat};
use crate::index::saved::{self, Extra, Left, Mark, Record, Saved, SavedEvent, SavedFile, checksum};
use crate::index::{Arrival, ArrivalEvent};
use crate::model::TransactionId;
use crate::store::{Listed, Mode};

pub(in crate::braid::keeper) use torn::Packed;

/// How many files one step of the background pass compares.
const VERIFY_STEP: usize = 512;

/// How many files one step reads; a step begins every 20 ms at most, so that this stays in the background.
const READ_STEP: usize = 32;

/// What no file has.
const NO_INODE: u64 = 0;

/// A base is written anew once what a start has to go through beside it is this part of what it holds.
const BASE_PART: usize = 32;

/// The files behind it, and what was taken over without a look at the files.
#[derive(Default)]
pub(super) struct Saving {
    saved: Option<Saved>,
    /// Whether another process owns the files, which are taken up once it has ended.
    is_elsewhere: bool,
    incarnations: HashMap<String, u32>,
    /// Transactions that were taken over; sizes and times are compared in the background.
    unverified: Range<u32>,
    /// The same once more: their bytes are compared when there is nothing else to do.
    unread: Range<u32>,
    /// Files that count but have something to report, which no saved index remembers.
    read_again: Vec<String>,
    writer: Option<JoinHandle<disk::Result<Mark>>>,
    /// Whether the next base must hold what is not noted.
    base_due: bool,
}

impl Saving {
    pub(super) fn has_unverified(&self) -> bool {
        !self.unverified.is_empty()
    }

    pub(super) fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Whether a base is being written.
    pub(super) fn is_writing(&self) -> bool {
        self.writer.is_some()
    }

    pub(super) fn take_read_again(&mut self) -> Vec<String> {
        std::mem::take(&mut self.read_again)
    }
}

impl Keeper {
    /// How much is more than a start should go through, as so many transactions of one event.
    fn records_max(&self) -> usize {
        self.options.save_after.max(saved::work(&self.index) / BASE_PART)
    }

    /// Lists the files, reads the ingestion log and takes over what the last process left, all at once. What is listed is compared with
    /// what was taken over as it comes; gives what is new, and what is missing.
    pub(super) fn begin(&mut self, from_scratch: bool) -> Result<(Vec<String>, Vec<String>), Failure> {
        let again = || Failure::new("a thread that read the store panicked", "");
        let store = std::sync::Arc::clone(&self.store);
        std::thread::scope(|scope| {
            let (give, pieces) = channel();
            // Whoever would take them may have failed.
            let listing = Beside::begin(scope, || store.list_in_pieces(move |piece| drop(give.send(piece))));
            let ingestion = &mut self.ingestion;
            let (read, (saved, left)) = std::thread::scope(|scope| {
                let read = Beside::begin(scope, || ingestion.refresh());
                let left = if from_scratch { (None, Left::default()) } else { take_over(&store) };
                (read.end(), left)
            });
            self.saving.is_elsewhere = saved.is_none() && !from_scratch && self.store.mode() == Mode::Writable;
            self.saving.saved = saved;
            // Where nothing was left, all is new: how much, is to be known first.
            let listed: Vec<Listed> = if left.base.is_none() { pieces.iter().flatten().collect() } else { Vec::new() };
            if self.saving.saved.is_some() && left.is_nothing() && !listed.is_empty() {
                self.mended.insert("made the saved index, as there was none".to_owned());
            }
            self.restore(left, listed.len());
            read.ok_or_else(again)??;
            while self.options.verify && self.saving.has_unverified() {
                self.verify_some();
            }
            let (came, went) = self.compare_listing(listed.into_iter().chain(pieces.into_iter().flatten()));
            listing.end().ok_or_else(again)??;
            Ok((came, went))
        })
    }

    /// Enters what was left as if it had been taken in a moment ago; the listing then tells what changed.
    fn restore(&mut self, left: Left, files: usize) {
        let Left { pack, base, records, .. } = left;
        let mut extra = base.map(|(index, mut extra)| {
            self.index = index;
            // What the records say of it is newer.
            self.memory.edited = std::mem::take(&mut extra.edited);
            extra
        });
        self.index.pack = pack;
        if extra.is_none() {
            self.index.reserve(records.len().max(files));
        }
        self.replay(&records);
        let transactions = &self.index.transactions;
        self.saving.unverified = 0..transactions.len();
        for number in (0..transactions.len()).filter(|&number| transactions.is_present(number)) {
            if let Some(file) = transactions.details(number).and_then(|details| details.file.as_deref()) {
                self.roster.note_misnamed(file, number);
            }
        }
        tracing::debug!(
            has_base = extra.is_some(),
            records = records.len(),
            taken_over = transactions.valid_count(),
            "the saved index was read"
        );
        self.progress.done = u64::from(transactions.valid_count());
        let history = extra.as_mut().map(|extra| std::mem::take(&mut extra.history));
        self.numbered.resume(&self.index, history.unwrap_or_default(), records);
        let passed = self.saving.saved.is_some().then(|| self.numbered.history().pass_over()).flatten();
        passed.into_iter().for_each(|passed| self.note(&Record::State(passed)));
        if let Some(extra) = extra {
            self.ingestion.resume(&mut self.index, extra.log);
            self.saving.read_again = extra.read_again.into_iter().collect();
            self.delivered_twice.resume(extra.delivered_twice);
        }
        self.ingestion.wait_for_unnumbered(&self.index);
    }

    /// Goes through what happened since the base was written: first what went, then what came and did not go again.
    fn replay(&mut self, records: &[Record]) {
        let mut last: HashMap<TransactionId, Option<usize>> = HashMap::with_capacity(records.len());
        let mut went = Vec::new();
        for (at, record) in records.iter().enumerate() {
            match record {
                Record::Came(file) => {
                    last.insert(file.header.transaction_id, Some(at));
                }
                Record::Went(id) => {
                    went.push(*id);
                    last.insert(*id, None);
                }
                Record::Incarnation(view, incarnation) => {
                    self.saving.incarnations.insert(view.clone(), *incarnation);
                }
                Record::Edited(name, Some(first)) => {
                    self.memory.edited.insert(name.clone(), *first);
                }
                Record::Edited(name, None) => {
                    self.memory.edited.remove(name);
                }
                Record::Moved(..) | Record::State(_) | Record::SetApart(_) => {}
            }
        }
        let held = |id: &TransactionId| self.index.transactions.find(*id).filter(|&number| self.index.transactions.is_present(number));
        let mut gone: Vec<u32> = went.iter().filter_map(held).collect();
        gone.sort_unstable();
        gone.dedup();
        self.hide_restored(&gone);
        let mut entered = Vec::with_capacity(last.len());
        for (at, record) in records.iter().enumerate() {
            match record {
                Record::Came(file) if last.get(&file.header.transaction_id) == Some(&Some(at)) => entered.push(self.enter_saved(file)),
                Record::Moved(id, inode, stamp, header_sum) => {
                    // What had something to report has no record that it came; it may be known as a parent alone.
                    if let Some(number) = self.index.transactions.find(*id).filter(|&number| self.index.transactions.is_present(number)) {
                        self.index.transactions.set_file(number, *inode, *stamp, *header_sum);
                    }
                }
                _ => {}
            }
        }
        let linked = self.index.link(&entered, &[]);
        self.delivered_twice.note(&self.index, &linked.shown);
        self.touched.extend(linked.touched);
        self.index.set_incarnations(&self.saving.incarnations);
    }

    fn hide_restored(&mut self, gone: &[u32]) {
        if gone.is_empty() {
            return;
        }
        let linked = self.index.link(&[], gone);
        self.ingestion.forget_hidden(&mut self.index, &linked.hidden);
        self.touched.extend(linked.touched);
    }

    fn enter_saved(&mut self, file: &SavedFile) -> u32 {
        let events = file.events.iter().map(|event| ArrivalEvent {
            event_id: event.event_id,
            stream_id: &event.stream_id,
            event_type: &event.event_type,
            line_len: event.line_len as usize,
        });
        let events = events.collect();
        let (header, inode, stamp, header_sum) = (&file.header, file.inode, file.stamp, file.header_sum);
        let arrival = Arrival { header, odd_name: None, inode, stamp, header_sum, events };
        self.index.enter_at(&arrival, file.offset)
    }

    pub(super) fn note(&mut self, record: &Record) {
        if let Some(saved) = &mut self.saving.saved {
            saved.note(record);
        }
    }

    /// So many files are about to come that the base is written anew instead of a record for each.
    pub(super) fn expect_many(&mut self, came: usize) {
        if came > self.records_max()
            && let Some(saved) = &mut self.saving.saved
        {
            saved.skip_to_base();
            self.saving.base_due = true;
        }
    }

    /// Saves what was read of a file that was entered; one that has something to report is read again next time.
    pub(super) fn save_entered(&mut self, good: &Good, stat: Stat, offset: u64, name: &str) {
        if self.saving.saved.is_none() || self.saving.base_due || !good.findings(name).is_empty() {
            return;
        }
        let mut header = good.header.clone();
        header.stream_bases = good.arrival(None, None).reads().map(|(stream, base)| (stream.to_owned(), base)).collect();
        let events = good.events.iter().map(|event| SavedEvent {
            event_id: event.event_id,
            stream_id: event.stream_id.to_string(),
            event_type: event.event_type.to_string(),
            line_len: event.line_len as u64,
        });
        self.note(&Record::Came(Box::new(SavedFile {
            header,
            inode: stat.inode,
            stamp: stamp(stat),
            header_sum: good.header_sum,
            offset,
            lines_len: good.lines.len() as u64,
            lines_checksum: checksum(&good.lines),
            events: events.collect(),
        })));
    }

    pub(super) fn save_gone(&mut self, gone: &[u32]) {
        for &number in gone {
            self.note(&Record::Went(self.index.transactions.id(number)));
        }
    }

    /// The file of a transaction says the same, but is another one; `has_findings` that it is to be read again next time.
    pub(super) fn move_file(&mut self, number: u32, stat: Stat, header_sum: u32, has_findings: bool) {
        let transactions = &mut self.index.transactions;
        let (inode, stamp) = (stat.inode, stamp(stat));
        let held = (transactions.inode(number), transactions.stamp(number), transactions.header_sum(number));
        transactions.set_file(number, inode, stamp, header_sum);
        let id = transactions.id(number);
        if held != (inode, stamp, header_sum) {
            self.touched.transactions.insert(number);
        }
        if has_findings {
            self.note(&Record::Moved(id, NO_INODE, 0, header_sum));
        } else if held != (inode, stamp, header_sum) {
            self.note(&Record::Moved(id, inode, stamp, header_sum));
        }
    }

    /// Notes what came and went since the last number that was shown.
    pub(super) fn save_number(&mut self) {
        if !self.progress.ready {
            return;
        }
        let change = if self.numbered.has_begun() {
            self.numbered.close()
        } else {
            let transactions = &self.index.transactions;
            let unsaved = self
                .roster
                .findings()
                .keys()
                .filter_map(|name| self.roster.entered(&self.index, name))
                .filter(|&tx| transactions.is_valid(tx));
            let unsaved = unsaved.map(|tx| transactions.id(tx)).collect();
            Some(self.numbered.begin(unsaved))
        };
        if let Some(change) = change {
            self.note(&Record::State(change));
            let set_apart = self.numbered.history().set_apart();
            set_apart.into_iter().for_each(|until| self.note(&Record::SetApart(until)));
        }
    }

    /// Notes that no number was shown that is not noted.
    pub(super) fn end_numbers(&mut self) {
        let number = self.numbered.history().number();
        if number > 0 {
            self.numbered.history().follow_set_apart(number);
            self.note(&Record::SetApart(number));
            self.flush_saved();
        }
    }

    /// Notes which file each touched view's name stands for.
    pub(super) fn save_incarnations(&mut self) {
        if self.saving.saved.is_none() {
            return;
        }
        for (view, incarnation) in self.index.incarnations(&self.touched) {
            if self.saving.incarnations.get(&view) != Some(&incarnation) {
                self.note(&Record::Incarnation(view.clone(), incarnation));
                self.saving.incarnations.insert(view, incarnation);
            }
        }
    }

    /// Hands what was noted to the disk, the lines first; a disk that takes no more is not asked again.
    pub(super) fn flush_saved(&mut self) {
        if self.saving.saved.is_none() {
            // Another process may own the file by now.
            self.index.pack.detach();
        }
        self.index.pack.flush();
        let takes_lines = self.index.pack.has_file();
        if self.saving.saved.as_mut().is_some_and(|saved| !takes_lines || !saved.flush()) {
            self.saving.saved = None;
            // Where another pack came to be in use the files can be written anew.
            self.saving.is_elsewhere = !takes_lines;
        }
    }

    /// Writes the base anew on another thread once that is worth it, and goes on with its table when it is written.
    pub(super) fn keep_base(&mut self) {
        if self.saving.writer.as_ref().is_some_and(JoinHandle::is_finished) {
            self.end_base();
        }
        let max = self.records_max();
        let is_due = |saved: &Saved| self.saving.base_due || saved.records() > max;
        if self.saving.is_writing() || !self.index.pack.is_on_disk() || !self.saving.saved.as_ref().is_some_and(is_due) {
            return;
        }
        let log = self.index.feed.latest();
        let Some(sum) = self.ingestion.sum_upto(log) else { return };
        let extra = Extra {
            log: (log, sum),
            read_again: self.roster.findings().keys().cloned().collect(),
            delivered_twice: self.delivered_twice.to_save(),
            edited: self.memory.edited.clone(),
            history: self.numbered.history().clone(),
        };
        let Some(saved) = &mut self.saving.saved else { return };
        self.saving.base_due = false;
        let (writer, index) = (saved.begin_base(*Uuid::new_v4().as_bytes()), self.index.clone());
        match std::thread::Builder::new().name("base".to_owned()).spawn(move || writer.write(&index, &extra)) {
            Ok(thread) => self.saving.writer = Some(thread),
            Err(error) => {
                tracing::warn!(%error, "no thread to save the index with");
                self.saving.saved = None;
            }
        }
    }

    /// Waits for a base that is being written.
    pub(super) fn end_base(&mut self) {
        let Some(thread) = self.saving.writer.take() else { return };
        // The thread panicked: nothing is known of what it wrote.
        let Ok(written) = thread.join() else {
            self.saving.saved = None;
            return;
        };
        heap::give_back();
        if let Some(Err(error)) = self.saving.saved.as_mut().map(|saved| saved.end_base(written)) {
            tracing::warn!(%error, "the index could not be saved; the next start reads more files");
            self.saving.saved = None;
        }
    }

    /// Compares the size and time of some files that were taken over, then the bytes; one that differs is read again.
    pub(super) fn verify_some(&mut self) {
        if !self.saving.has_unverified() {
            self.read_some();
            return;
        }
        for _ in 0..VERIFY_STEP {
            let Some(number) = self.saving.unverified.next() else { break };
            let transactions = &self.index.transactions;
            if transactions.is_present(number) {
                let name = transactions.file_name(number);
                let is_same = self.store.stat(&name).is_ok_and(|stat| has_stamp(stat, transactions.stamp(number)));
                // Size and time do not tell whether it may still be read. Who follows the store reads it soon.
                if !is_same || (self.options.verify && !self.store.may_read(&name)) {
                    self.pending.add(name);
                }
            }
        }
        if self.saving.unverified.is_empty() && self.options.follow {
            self.saving.unread = 0..self.saving.unverified.end;
        }
    }

    /// Looks for files of another size or time than they were taken in with, where no hint tells of them; one that stands beside the
    /// index is read again.
    pub(super) fn look_for_rewritten(&mut self) {
        if self.options.follow {
            return;
        }
        self.saving.unverified = 0..self.index.transactions.len();
        while self.saving.has_unverified() {
            self.verify_some();
        }
        self.pending.add_all(self.roster.odd_names());
    }

    fn read_some(&mut self) {
        for _ in 0..READ_STEP {
            let Some(number) = self.saving.unread.next() else { return };
            if !self.index.transactions.is_present(number) {
                continue;
            }
            let name = self.index.transactions.file_name(number);
            let same = match self.store.load(&name) {
                Ok((bytes, stat)) => matches!(load(&bytes, stat), Loaded::Good(good, _) if self.is_unchanged(number, &good)),
                Err(error) => error.is_shortage(),
            };
            if !same {
                self.pending.add(name);
            }
        }
    }
}

/// The files, if we may write them and nobody else does, and what is in them.
fn take_over(store: &crate::store::Store) -> (Option<Saved>, Left) {
    if store.mode() == Mode::Writable
        && let Some((saved, left)) = saved::own(store, *Uuid::new_v4().as_bytes())
    {
        return (Some(saved), left);
    }
    (None, saved::read(store).unwrap_or_default())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests;
