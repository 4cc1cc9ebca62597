//! The saved index: taken over at the start, kept up while the store is open.

use std::collections::HashMap;

use uuid::Uuid;

use crate::braid::keeper::Keeper;
use crate::braid::load::{Good, Loaded, load};
use crate::disk::Stat;
use crate::index::saved::{self, Left, Record, Saved, SavedEvent, SavedFile, checksum};
use crate::index::{Arrival, ArrivalEvent};
use crate::model::TransactionId;
use crate::store::{Listed, ListedKind, Mode};

/// How many files one step of the background pass compares.
const VERIFY_STEP: usize = 512;

/// How many files one step reads; a step begins every 20 ms at most, so that this stays in the background.
const READ_STEP: usize = 32;

/// The files behind it, and what was taken over without a look at the files.
#[derive(Default)]
pub(super) struct Saving {
    saved: Option<Saved>,
    incarnations: HashMap<String, u32>,
    /// Number, size and time of files that were taken over; compared in the background.
    unverified: Vec<(u32, u64, i64)>,
    /// Those whose size and time were right; their bytes are compared when there is nothing else to do.
    unread: Vec<u32>,
}

impl Saving {
    pub(super) fn has_unverified(&self) -> bool {
        !self.unverified.is_empty()
    }

    pub(super) fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }
}

impl Keeper {
    /// Takes over what the last process left, for every name that still has its inode.
    pub(super) fn restore(&mut self, listed: &[Listed]) {
        let Left { pack, records, .. } = self.left();
        self.index.pack = pack;
        self.index.reserve(records.len().max(listed.len()));
        let mut last: HashMap<_, usize> = HashMap::with_capacity(records.len());
        for (at, record) in records.iter().enumerate() {
            match record {
                Record::Came(file) => {
                    last.insert(file.header.transaction_id, at);
                }
                Record::Went(id) => {
                    last.remove(id);
                }
                Record::Incarnation(view, incarnation) => {
                    self.saving.incarnations.insert(view.clone(), *incarnation);
                }
            }
        }
        let id_of = |name: &str| name.strip_suffix(".jsonl").filter(|stem| stem.len() == 36)?.parse::<TransactionId>().ok();
        let files = listed.iter().filter(|one| one.kind == ListedKind::File);
        let inodes: HashMap<TransactionId, u64> = files.filter_map(|one| Some((id_of(&one.name)?, one.inode))).collect();
        let mut entered = Vec::with_capacity(last.len());
        for (at, record) in records.iter().enumerate() {
            let Record::Came(file) = record else { continue };
            if last.get(&file.header.transaction_id) != Some(&at) {
                continue;
            }
            if inodes.get(&file.header.transaction_id) == Some(&file.inode) {
                let number = self.enter_saved(file);
                self.saving.unverified.push((number, file.size, file.mtime_ns));
                entered.push(number);
            } else {
                self.bump(file);
                self.note(&Record::Went(file.header.transaction_id));
            }
        }
        tracing::debug!(saved = records.len(), taken_over = entered.len(), "the saved index was read");
        let linked = self.index.link(&entered, &[]);
        self.unnumbered.extend(&linked.shown);
        self.note_delivered_twice(&linked.shown);
        self.touched.extend(linked.touched);
        self.progress.done = entered.len() as u64;
        let incarnations = std::mem::take(&mut self.saving.incarnations);
        self.index.set_incarnations(&incarnations);
        self.saving.incarnations = incarnations;
    }

    fn left(&mut self) -> Left {
        if self.store.mode() == Mode::Writable
            && let Some((saved, left)) = saved::own(&self.store, *Uuid::new_v4().as_bytes())
        {
            self.saving.saved = Some(saved);
            return left;
        }
        saved::read(&self.store).unwrap_or_else(|_| Left::nothing())
    }

    fn enter_saved(&mut self, file: &SavedFile) -> u32 {
        let events = file.events.iter().map(|event| ArrivalEvent {
            event_id: event.event_id,
            stream_id: &event.stream_id,
            event_type: &event.event_type,
            line_len: event.line_len as usize,
        });
        let arrival = Arrival { header: &file.header, odd_name: None, inode: file.inode, events: events.collect() };
        self.index.enter_at(&arrival, file.offset)
    }

    /// A file went while nobody looked: the views that it was in stand for new files.
    fn bump(&mut self, file: &SavedFile) {
        let mut views = vec!["log".to_owned(), "feed".to_owned()];
        for event in &file.events {
            views.push(format!("stream {}", event.stream_id));
            views.push(format!("type {}", event.event_type));
            views.extend(crate::format::names::category_of(&event.stream_id).map(|category| format!("category {category}")));
        }
        views.sort_unstable();
        views.dedup();
        for view in views {
            *self.saving.incarnations.entry(view).or_default() += 1;
        }
    }

    fn note(&mut self, record: &Record) {
        if let Some(saved) = &mut self.saving.saved {
            saved.note(record);
        }
    }

    /// Saves what was read of a file that was entered; one that has something to report is read again next time.
    pub(super) fn save_entered(&mut self, good: &Good, stat: Stat, offset: u64, name: &str) {
        if self.saving.saved.is_none() || !self.index.pack.is_on_disk() || !good.findings(name).is_empty() {
            return;
        }
        let mut header = good.header.clone();
        if !good.events.is_empty() {
            header.stream_bases.retain(|(stream, _)| !good.events.iter().any(|event| *event.stream_id == **stream));
        }
        let events = good.events.iter().map(|event| SavedEvent {
            event_id: event.event_id,
            stream_id: event.stream_id.to_string(),
            event_type: event.event_type.to_string(),
            line_len: event.line_len as u64,
        });
        self.note(&Record::Came(Box::new(SavedFile {
            header,
            inode: stat.inode,
            size: stat.size,
            mtime_ns: i64::try_from(stat.mtime_ns).unwrap_or(0),
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

    /// Hands what was noted to the disk; a disk that takes no more is not asked again.
    pub(super) fn flush_saved(&mut self) {
        if self.saving.saved.as_mut().is_some_and(|saved| !saved.flush()) {
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
            let Some((number, size, mtime_ns)) = self.saving.unverified.pop() else { return };
            if !self.index.transactions.is_present(number) {
                continue;
            }
            let name = self.index.transactions.file_name(number);
            let same = self.store.stat(&name).is_ok_and(|stat| stat.size == size && stat.mtime_ns == i128::from(mtime_ns));
            if !same {
                self.pending.add(name);
            } else if self.follows() {
                self.saving.unread.push(number);
            }
        }
    }

    fn read_some(&mut self) {
        for _ in 0..READ_STEP {
            let Some(number) = self.saving.unread.pop() else { return };
            if !self.index.transactions.is_present(number) {
                continue;
            }
            let name = self.index.transactions.file_name(number);
            let same = match self.store.load(&name) {
                Ok((bytes, stat)) => matches!(load(&bytes, stat), Loaded::Good(good, _) if self.is_same(number, &good)),
                Err(_) => false,
            };
            if !same {
                self.pending.add(name);
            }
        }
    }
}
