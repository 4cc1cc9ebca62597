//! What the index knows of each transaction, as columns.

mod facts;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use uuid::Uuid;

use crate::dag::column::Column;
use crate::dag::key::Created;
use crate::format::binary::binary_fields;
use crate::index::table::Table;
use crate::model::{ReplicaId, TransactionId};

pub(crate) use facts::Facts;
pub use facts::{Details, Flags};

/// No parent.
const NONE: u32 = u32::MAX;
/// Set in a parent column where the rest is an offset into the list of further parents.
const MANY: u32 = 1 << 31;

/// The columns; a number stands for a transaction id for ever, also before its file arrives and after it is gone.
#[derive(Clone, Debug, Default)]
pub struct Transactions {
    ids: Column<[u8; 16]>,
    table: Table,
    created: Column<[u32; 3]>,
    odd: Arc<Vec<Box<str>>>,
    replica: Column<u32>,
    replicas: Column<[u8; 16]>,
    replica_table: Table,
    depth: Column<u32>,
    parent: Column<u32>,
    more_parents: Column<u32>,
    children: Column<u32>,
    first_event: Column<u32>,
    event_count: Column<u32>,
    flags: Column<Flags>,
    inode: Column<u64>,
    /// Of each file's size and time, as [`Transactions::stamp`] gives them.
    stamp: Column<u32>,
    /// The checksum of each file's first line; zero where no file was read.
    header_sum: Column<u32>,
    detail: Column<u32>,
    details: Column<Arc<Details>>,
    keys: Table,
    /// Ids that are named as parents and not here, with the transactions that name them.
    missing: Arc<BTreeMap<u32, BTreeSet<u32>>>,
    heads: Arc<BTreeSet<u32>>,
    valid_count: u32,
    merge_count: u32,
}
binary_fields!(Transactions {
    ids,
    table,
    created,
    odd,
    replica,
    replicas,
    replica_table,
    depth,
    parent,
    more_parents,
    children,
    first_event,
    event_count,
    flags,
    inode,
    stamp,
    header_sum,
    detail,
    details,
    keys,
    missing,
    heads,
    valid_count,
    merge_count,
});

impl Transactions {
    /// How many numbers are given, also to ids that are not here.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.ids.len() as u32
    }

    /// Whether no number is given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// How many transactions are valid.
    #[must_use]
    pub fn valid_count(&self) -> u32 {
        self.valid_count
    }

    /// How many valid transactions list more than one parent: the topology generation of `eventcore-fs`.
    #[must_use]
    pub fn merge_count(&self) -> u32 {
        self.merge_count
    }

    /// The id of a number.
    #[must_use]
    pub fn id(&self, number: u32) -> TransactionId {
        TransactionId(Uuid::from_bytes(self.ids.at(number)))
    }

    /// The number of an id, valid or not.
    #[must_use]
    pub fn find(&self, id: TransactionId) -> Option<u32> {
        self.table.find(self.table.hash(id.as_bytes()), |number| self.ids.at(number) == *id.as_bytes())
    }

    /// The number of a valid transaction's id.
    #[must_use]
    pub fn find_valid(&self, id: TransactionId) -> Option<u32> {
        self.find(id).filter(|&number| self.is_valid(number))
    }

    /// Whether it is in the views.
    #[must_use]
    pub fn is_valid(&self, number: u32) -> bool {
        self.flags.get(number as usize).is_some_and(|flags| flags.has(Flags::VALID))
    }

    /// Whether its file is here, though it may stand in a cycle.
    #[must_use]
    pub fn is_present(&self, number: u32) -> bool {
        self.flags.get(number as usize).is_some_and(|flags| flags.has(Flags::PRESENT))
    }

    /// Its bits.
    #[must_use]
    pub fn flags(&self, number: u32) -> Flags {
        self.flags.at(number)
    }

    pub(crate) fn set_flag(&mut self, number: u32, flag: Flags, on: bool) {
        let flags = self.flags.at(number).with(flag, on);
        if flag == Flags::VALID && flags != self.flags.at(number) {
            self.count_validity(number, on);
        }
        self.flags.set(number as usize, flags);
    }

    fn count_validity(&mut self, number: u32, on: bool) {
        self.valid_count = if on { self.valid_count + 1 } else { self.valid_count.saturating_sub(1) };
        if self.flags.at(number).has(Flags::MERGE) {
            self.merge_count = if on { self.merge_count + 1 } else { self.merge_count.saturating_sub(1) };
        }
        // Nearly every transaction has one parent, which needs no list.
        let first = self.listed(number).next();
        let others: Vec<u32> = self.listed(number).skip(1).collect();
        let heads = Arc::make_mut(&mut self.heads);
        for parent in first.into_iter().chain(others) {
            let children = self.children.at(parent);
            let children = if on { children + 1 } else { children.saturating_sub(1) };
            self.children.set(parent as usize, children);
            if children > 0 {
                heads.remove(&parent);
            } else if self.flags.at(parent).has(Flags::VALID) {
                heads.insert(parent);
            }
        }
        if on && self.children.at(number) == 0 {
            heads.insert(number);
        } else {
            heads.remove(&number);
        }
    }

    /// The valid transactions without a valid child, sorted by id.
    #[must_use]
    pub fn heads(&self) -> Vec<TransactionId> {
        let mut heads: Vec<_> = self.heads.iter().map(|&head| self.id(head)).collect();
        heads.sort_unstable();
        heads
    }

    /// The numbers of the heads.
    #[must_use]
    pub fn head_numbers(&self) -> &BTreeSet<u32> {
        &self.heads
    }

    /// The longest way to a transaction without a parent here.
    #[must_use]
    pub fn depth(&self, number: u32) -> u32 {
        self.depth.at(number)
    }

    pub(crate) fn set_depth(&mut self, number: u32, depth: u32) {
        if self.depth.at(number) != depth {
            self.depth.set(number as usize, depth);
        }
    }

    /// Its parents, each once, also those that are not here.
    pub fn listed(&self, number: u32) -> impl Iterator<Item = u32> + '_ {
        let word = self.parent.at(number);
        let many = (word != NONE && word & MANY != 0).then_some((word & !MANY) as usize);
        let count = many.and_then(|at| self.more_parents.get(at)).copied().unwrap_or(0) as usize;
        let one = (word != NONE && many.is_none()).then_some(word);
        let start = many.map_or(0, |at| at + 1);
        one.into_iter().chain((start..start + count).filter_map(|at| self.more_parents.get(at).copied()))
    }

    /// Its parents that are in the views.
    pub fn parents(&self, number: u32) -> impl Iterator<Item = u32> + '_ {
        self.listed(number).filter(|&parent| self.is_valid(parent))
    }

    /// The writer.
    #[must_use]
    pub fn replica(&self, number: u32) -> ReplicaId {
        ReplicaId(Uuid::from_bytes(self.replicas.get(self.replica.at(number) as usize).copied().unwrap_or_default()))
    }

    /// When it was written, as it stands in its header.
    #[must_use]
    pub fn created_at(&self, number: u32) -> String {
        Created::from_words(self.created.at(number)).text(&self.odd)
    }

    /// The number of its first event and how many it has.
    #[must_use]
    pub fn events(&self, number: u32) -> std::ops::Range<u32> {
        let first = self.first_event.at(number);
        first..first + self.event_count.at(number)
    }

    /// The inode under which its file was read.
    #[must_use]
    pub fn inode(&self, number: u32) -> u64 {
        self.inode.at(number)
    }

    /// What is kept of its file's size and time, to tell later whether they are the same.
    #[must_use]
    pub fn stamp(&self, number: u32) -> u32 {
        self.stamp.at(number)
    }

    /// The checksum of its file's first line as it was last read; zero where it never was.
    #[must_use]
    pub fn header_sum(&self, number: u32) -> u32 {
        self.header_sum.at(number)
    }

    pub(crate) fn set_file(&mut self, number: u32, inode: u64, stamp: u32, header_sum: u32) {
        self.inode.set(number as usize, inode);
        self.stamp.set(number as usize, stamp);
        self.header_sum.set(number as usize, header_sum);
    }

    pub(crate) fn forget_header(&mut self, number: u32) {
        self.header_sum.set(number as usize, 0);
    }

    /// Makes room for so many more, before the first is entered.
    pub(crate) fn reserve(&mut self, transactions: usize) {
        if self.is_empty() {
            self.table = Table::with_room(transactions);
        }
    }

    /// Its file has the name of its id from now on.
    pub(crate) fn set_proper_name(&mut self, number: u32) {
        if let Some(details) = self.details.get_mut(self.detail.at(number) as usize) {
            Arc::make_mut(details).file = None;
        }
    }

    /// What few transactions have.
    #[must_use]
    pub fn details(&self, number: u32) -> Option<&Details> {
        self.details.get(self.detail.at(number) as usize).map(|details| &**details)
    }

    /// The name of its file in `events/`.
    #[must_use]
    pub fn file_name(&self, number: u32) -> String {
        self.odd_name(number).map_or_else(|| format!("{}.jsonl", self.id(number)), str::to_owned)
    }

    /// The name of its file in `events/`, where that is not the one of its id.
    #[must_use]
    pub fn odd_name(&self, number: u32) -> Option<&str> {
        self.details(number)?.file.as_deref()
    }

    /// Whether its file in `events/` has this name.
    #[must_use]
    pub fn has_name(&self, number: u32, name: &str) -> bool {
        self.odd_name(number).map_or_else(|| self.id(number).is_file_name(name), |file| file == name)
    }

    /// The valid transaction, first in number, that was made of a draft with this key.
    #[must_use]
    pub fn find_key(&self, key: &str) -> Option<u32> {
        self.keys.find(self.keys.hash(key.as_bytes()), |number| {
            self.is_valid(number) && self.details(number).is_some_and(|details| details.key.as_deref() == Some(key))
        })
    }

    /// Ids that are named as parents and not in the views, with the transactions that name them.
    #[must_use]
    pub fn missing(&self) -> &BTreeMap<u32, BTreeSet<u32>> {
        &self.missing
    }

    /// Compares two transactions in canonical order.
    #[must_use]
    pub fn compare(&self, a: u32, b: u32) -> Ordering {
        self.compare_at(a, self.depth.at(a), b, self.depth.at(b))
    }

    /// Compares two transactions in canonical order as if they had these depths.
    #[must_use]
    pub fn compare_at(&self, a: u32, depth_a: u32, b: u32, depth_b: u32) -> Ordering {
        depth_a
            .cmp(&depth_b)
            .then_with(|| Created::from_words(self.created.at(a)).compare(Created::from_words(self.created.at(b)), &self.odd))
            .then_with(|| self.replica(a).cmp(&self.replica(b)))
            .then_with(|| self.ids.at(a).cmp(&self.ids.at(b)))
    }

    /// The number of an id, a new one if it has none.
    fn number(&mut self, id: TransactionId) -> u32 {
        if let Some(number) = self.find(id) {
            return number;
        }
        let number = self.len();
        self.ids.push(*id.as_bytes());
        self.created.push([0; 3]);
        self.detail.push(NONE);
        self.replica.push(0);
        self.depth.push(0);
        self.parent.push(NONE);
        self.children.push(0);
        self.first_event.push(0);
        self.event_count.push(0);
        self.flags.push(Flags::default());
        self.inode.push(0);
        self.stamp.push(0);
        self.header_sum.push(0);
        let ids = &self.ids;
        let hash = self.table.hash(id.as_bytes());
        self.table.insert(hash, number, |table, held| table.hash(&ids.at(held)));
        number
    }

    fn replica_number(&mut self, id: ReplicaId) -> u32 {
        let hash = self.replica_table.hash(id.as_bytes());
        if let Some(number) = self.replica_table.find(hash, |number| self.replicas.at(number) == *id.as_bytes()) {
            return number;
        }
        let number = self.replicas.len() as u32;
        self.replicas.push(*id.as_bytes());
        let replicas = &self.replicas;
        self.replica_table.insert(hash, number, |table, held| table.hash(&replicas.at(held)));
        number
    }

    /// Enters what a file says; it is not yet valid.
    pub(crate) fn enter(&mut self, id: TransactionId, facts: Facts<'_>) -> u32 {
        let number = self.number(id);
        let at = number as usize;
        let mut created = Created::parse(facts.created_at, &mut Vec::new());
        if created.is_odd() {
            created = Created::parse(facts.created_at, Arc::make_mut(&mut self.odd));
        }
        self.created.set(at, created.to_words());
        let replica = self.replica_number(facts.replica);
        self.replica.set(at, replica);
        let word = self.parents_word(facts.parents);
        self.parent.set(at, word);
        self.first_event.set(at, facts.first_event);
        self.event_count.set(at, facts.event_count);
        self.inode.set(at, facts.inode);
        self.stamp.set(at, facts.stamp);
        self.header_sum.set(at, facts.header_sum);
        let is_merge = facts.parents.len() > 1;
        self.flags.set(at, Flags::PRESENT.with(Flags::CLOSES_ALL, facts.closes_all).with(Flags::MERGE, is_merge));
        let former = self.detail.at(number);
        self.detail.set(at, NONE);
        if facts.details != Details::default() {
            let key = facts.details.key.clone();
            // What was here before has a place.
            if former == NONE {
                self.detail.set(at, self.details.len() as u32);
                self.details.push(Arc::new(facts.details));
            } else {
                self.detail.set(at, former);
                self.details.set(former as usize, Arc::new(facts.details));
            }
            if let Some(key) = key {
                self.enter_key(&key, number);
            }
        }
        number
    }

    /// How many keys are found, and how many transactions have details.
    #[cfg(test)]
    pub(crate) fn keys_and_details(&self) -> (u64, usize) {
        (self.keys.len(), self.details.len())
    }

    fn enter_key(&mut self, key: &str, number: u32) {
        let hash = self.keys.hash(key.as_bytes());
        if self.keys.find(hash, |held| held == number).is_some() {
            return;
        }
        let (detail, details) = (&self.detail, &self.details);
        self.keys.insert(hash, number, |table, held| {
            let key = details.get(detail.at(held) as usize).and_then(|details| details.key.as_deref());
            table.hash(key.unwrap_or_default().as_bytes())
        });
    }

    fn parents_word(&mut self, parents: &[TransactionId]) -> u32 {
        if let [one] = parents {
            return self.number(*one);
        }
        let mut numbers: Vec<u32> = Vec::with_capacity(parents.len());
        // One parent is usual, and thousands are possible.
        let mut seen = HashSet::new();
        for &parent in parents {
            let number = self.number(parent);
            if parents.len() == 1 || seen.insert(number) {
                numbers.push(number);
            }
        }
        match numbers.as_slice() {
            [] => NONE,
            [one] => *one,
            many => {
                let offset = self.more_parents.len() as u32;
                self.more_parents.push(many.len() as u32);
                many.iter().for_each(|&parent| self.more_parents.push(parent));
                offset | MANY
            }
        }
    }

    /// Notes which of its parents are not in the views.
    pub(crate) fn note_missing(&mut self, number: u32) {
        let absent: Vec<u32> = self.listed(number).filter(|&parent| !self.is_valid(parent)).collect();
        if absent.is_empty() {
            return;
        }
        let missing = Arc::make_mut(&mut self.missing);
        for parent in absent {
            missing.entry(parent).or_default().insert(number);
        }
    }

    /// Forgets that something waits for a transaction that is here now; gives those that waited.
    pub(crate) fn take_missing(&mut self, number: u32) -> BTreeSet<u32> {
        if !self.missing.contains_key(&number) {
            return BTreeSet::new();
        }
        Arc::make_mut(&mut self.missing).remove(&number).unwrap_or_default()
    }

    /// Forgets what a transaction waits for, since it is gone itself.
    pub(crate) fn forget_waiting(&mut self, number: u32) {
        let waited_for: Vec<u32> = self.listed(number).filter(|parent| self.missing.contains_key(parent)).collect();
        for parent in waited_for {
            let missing = Arc::make_mut(&mut self.missing);
            if let Some(children) = missing.get_mut(&parent) {
                children.remove(&number);
                if children.is_empty() {
                    missing.remove(&parent);
                }
            }
        }
    }
}
