//! The derived index: canonical order, streams, types, categories, the feed and forks, kept up at every arrival.
//!
//! An [`Index`] is a persistent value: [`Index::clone`] shares everything, so each published epoch is one clone. Nothing
//! here is a source of truth; it is built again from the files at any time.

pub mod absent;
pub mod directories;
pub mod events;
pub mod feed;
pub mod forks;
pub mod history;
mod link;
pub mod names;
pub mod pack;
pub mod saved;
pub mod sequence;
mod table;
pub mod transactions;

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::dag::column::Column;
#[doc(hidden)]
pub use crate::dag::graph::depths;
use crate::format::binary::{Binary, Input, binary_fields};
use crate::format::lines::digits;
use crate::format::names::category_of;
use crate::format::text::counted_as;
use crate::index::directories::Directories;
use crate::index::events::{Entry, Events};
use crate::index::feed::Feed;
use crate::index::forks::Forks;
use crate::index::names::Names;
use crate::index::pack::Pack;
use crate::index::sequence::Sequence;
use crate::index::transactions::{Details, Facts, Flags, Transactions};
use crate::model::{EventId, Header};

pub use link::Linked;

/// As many comparisons are cheaper than a table.
const COMPARED_MAX: usize = 64;

/// The events of one view in its order.
#[derive(Clone, Debug, Default)]
pub struct List {
    /// Numbers of events; each weighs its packed line and the digits of its version.
    pub events: Sequence,
    /// Rises whenever lines that were shown change or go: the view's name then stands for a new file.
    pub incarnation: u32,
}
binary_fields!(List { events, incarnation });

/// A file as it is taken in.
#[derive(Debug)]
pub struct Arrival<'a> {
    /// Its first line.
    pub header: &'a Header,
    /// The name in `events/`, if it is not `<id>.jsonl`.
    pub odd_name: Option<&'a str>,
    /// The inode under which it was read.
    pub inode: u64,
    /// What is kept of its size and time.
    pub stamp: u32,
    /// The checksum of its first line.
    pub header_sum: u32,
    /// Its events in the order of the file, each with its packed line.
    pub events: Vec<ArrivalEvent<'a>>,
}

impl Arrival<'_> {
    /// The streams that were read and not written, with the versions seen; of a saved file only these are named.
    pub fn reads(&self) -> impl Iterator<Item = (&str, u64)> {
        let (bases, events) = (&self.header.stream_bases, &self.events);
        // Nearly every transaction has one stream and few events, which need no table.
        let table: Option<HashSet<&str>> =
            (bases.len() * events.len() > COMPARED_MAX).then(|| events.iter().map(|event| event.stream_id).collect());
        let is_written = move |stream: &str| match &table {
            Some(table) => table.contains(stream),
            None => events.iter().any(|event| event.stream_id == stream),
        };
        bases.iter().map(|(stream, base)| (stream.as_str(), *base)).filter(move |(stream, _)| !is_written(stream))
    }
}

/// An event as it is taken in.
#[derive(Debug)]
pub struct ArrivalEvent<'a> {
    /// Its id.
    pub event_id: EventId,
    /// Its stream.
    pub stream_id: &'a str,
    /// Its type.
    pub event_type: &'a str,
    /// The length of its packed line in bytes.
    pub line_len: usize,
}

/// Which views a change concerned, by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Whether the canonical log changed.
    pub log: bool,
    /// Streams.
    pub streams: BTreeSet<u32>,
    /// Types.
    pub types: BTreeSet<u32>,
    /// Categories.
    pub categories: BTreeSet<u32>,
    /// Transactions that came or went.
    pub transactions: BTreeSet<u32>,
}

impl Touched {
    /// Adds what another change concerned.
    pub fn extend(&mut self, other: Self) {
        self.log |= other.log;
        join(&mut self.streams, other.streams);
        join(&mut self.types, other.types);
        join(&mut self.categories, other.categories);
        join(&mut self.transactions, other.transactions);
    }
}

/// Adds one set to another; costs what the smaller one holds.
pub(crate) fn join(set: &mut BTreeSet<u32>, mut other: BTreeSet<u32>) {
    if set.len() < other.len() {
        std::mem::swap(set, &mut other);
    }
    set.extend(other);
}

/// Everything that is derived from the files, as of one moment.
#[derive(Clone, Debug, Default)]
pub struct Index {
    /// The packed lines.
    pub pack: Pack,
    /// Transactions as columns.
    pub transactions: Transactions,
    /// Events as columns.
    pub events: Events,
    /// Streams and their numbers.
    pub streams: Names,
    /// Types and their numbers.
    pub types: Names,
    /// Categories (up to the first separator of a stream id) and their numbers.
    pub categories: Names,
    /// The directories below `streams/`.
    pub directories: Directories,
    /// Transactions in canonical order; each weighs its number of events.
    pub order: Sequence,
    /// All events in canonical order.
    pub log: List,
    /// Ingestion order.
    pub feed: Feed,
    forks: Forks,
    stream_lists: Column<List, 256>,
    stream_category: Column<u32>,
    type_lists: Column<List, 256>,
    category_lists: Column<List, 256>,
    cyclic: BTreeSet<u32>,
}

impl Binary for Index {
    /// All but the pack, whose lines lie in a file of their own.
    fn put(&self, out: &mut Vec<u8>) {
        let Self { pack: _, transactions, events, streams, types, categories, directories, order, log, feed, forks, .. } = self;
        let Self { stream_lists, stream_category, type_lists, category_lists, cyclic, .. } = self;
        transactions.put(out);
        events.put(out);
        [streams, types, categories].into_iter().for_each(|names| names.put(out));
        directories.put(out);
        order.put(out);
        log.put(out);
        feed.put(out);
        forks.put(out);
        [stream_lists, type_lists, category_lists].into_iter().for_each(|lists| lists.put(out));
        stream_category.put(out);
        cyclic.put(out);
    }

    fn take(from: &mut Input<'_>) -> Option<Self> {
        let mut index = Self {
            pack: Pack::default(),
            transactions: Binary::take(from)?,
            events: Binary::take(from)?,
            streams: Binary::take(from)?,
            types: Binary::take(from)?,
            categories: Binary::take(from)?,
            directories: Binary::take(from)?,
            order: Binary::take(from)?,
            log: Binary::take(from)?,
            feed: Binary::take(from)?,
            forks: Binary::take(from)?,
            stream_lists: Binary::take(from)?,
            type_lists: Binary::take(from)?,
            category_lists: Binary::take(from)?,
            stream_category: Binary::take(from)?,
            cyclic: Binary::take(from)?,
        };
        index.settle_forks();
        Some(index)
    }
}

/// No category.
const NO_CATEGORY: u32 = u32::MAX;

impl Index {
    /// Makes room for so many events at once, so that an index that is built from much does not grow step by step.
    pub fn reserve(&mut self, events: usize) {
        self.events.reserve(events);
        self.transactions.reserve(events);
    }

    /// Enters a file; its lines lie at the end of the pack. It shows in views after [`Index::link`].
    pub fn enter(&mut self, arrival: &Arrival<'_>, lines: &[u8]) -> u32 {
        let offset = self.pack.append(lines);
        self.enter_at(arrival, offset)
    }

    /// Enters a file whose lines lie in the pack already, behind those of all files entered before.
    pub fn enter_at(&mut self, arrival: &Arrival<'_>, mut offset: u64) -> u32 {
        let header = arrival.header;
        self.events.skip_to(offset);
        let first_event = self.events.len();
        let details = self.details(arrival);
        let facts = Facts {
            created_at: &header.created_at,
            replica: header.replica_id,
            parents: &header.parents,
            first_event,
            event_count: arrival.events.len() as u32,
            inode: arrival.inode,
            stamp: arrival.stamp,
            header_sum: arrival.header_sum,
            closes_all: closes_all(header, arrival.events.len()),
            details,
        };
        let number = self.transactions.enter(header.transaction_id, facts);
        for event in &arrival.events {
            let entry = Entry {
                offset,
                transaction: number,
                stream: self.stream_number(event.stream_id),
                event_type: self.type_number(event.event_type),
                line_len: event.line_len as u64,
            };
            self.events.enter(event.event_id, entry, first_event, &self.pack);
            offset += event.line_len as u64;
        }
        number
    }

    /// Whether what is known of a transaction beside its columns is what a file says.
    #[must_use]
    pub fn has_details_of(&self, number: u32, arrival: &Arrival<'_>) -> bool {
        let (header, none) = (arrival.header, Details::default());
        let held = self.transactions.details(number).unwrap_or(&none);
        let resolves = held.resolves.iter().map(|&stream| self.streams.text(stream));
        let reads = held.reads.iter().map(|&(stream, base)| (self.streams.text(stream), base));
        held.key.as_deref() == header.key.as_deref()
            && resolves.eq(header.resolves.iter().map(String::as_str))
            && reads.eq(arrival.reads())
            && self.transactions.flags(number).has(Flags::CLOSES_ALL) == closes_all(header, arrival.events.len())
    }

    fn details(&mut self, arrival: &Arrival<'_>) -> Details {
        let header = arrival.header;
        let mut details = Details { key: header.key.as_deref().map(Into::into), ..Details::default() };
        for stream in &header.resolves {
            details.resolves.push(self.stream_number(stream));
        }
        for (stream, base) in arrival.reads() {
            details.reads.push((self.stream_number(stream), base));
        }
        details.file = arrival.odd_name.map(Into::into);
        details
    }

    /// Says which file each view's name stands for, as it was saved; views are named as [`Index::incarnations`] does.
    pub fn set_incarnations(&mut self, saved: &HashMap<String, u32>) {
        for (view, &incarnation) in saved {
            let list = match view.split_once(' ') {
                Some(("stream", name)) => {
                    let number = self.stream_number(name);
                    self.stream_lists.get_mut(number as usize)
                }
                Some(("type", name)) => {
                    let number = self.type_number(name);
                    self.type_lists.get_mut(number as usize)
                }
                Some(("category", name)) => {
                    let number = self.category_number(name);
                    self.category_lists.get_mut(number as usize)
                }
                _ if view == "log" => Some(&mut self.log),
                _ => None,
            };
            if let Some(list) = list {
                list.incarnation = incarnation;
            } else if view == "feed" {
                self.feed.incarnation = incarnation;
            }
        }
    }

    /// Every name stands for a new file: what was read of the old one may have been wrong. Gives what that concerns.
    pub fn renew(&mut self) -> Touched {
        self.log.incarnation += 1;
        self.feed.incarnation += 1;
        let groups = [&mut self.stream_lists, &mut self.type_lists, &mut self.category_lists];
        let [streams, types, categories] = groups.map(|lists| {
            for number in 0..lists.len() {
                if let Some(list) = lists.get_mut(number) {
                    list.incarnation += 1;
                }
            }
            (0..lists.len() as u32).collect()
        });
        Touched { log: true, streams, types, categories, transactions: BTreeSet::new() }
    }

    /// Which file each view that was touched stands for, but for those that never changed other than by growing.
    #[must_use]
    pub fn incarnations(&self, touched: &Touched) -> HashMap<String, u32> {
        let mut found: HashMap<String, u32> =
            HashMap::from([("log".to_owned(), self.log.incarnation), ("feed".to_owned(), self.feed.incarnation)]);
        let groups = [
            ("stream", &touched.streams, &self.streams, &self.stream_lists),
            ("type", &touched.types, &self.types, &self.type_lists),
            ("category", &touched.categories, &self.categories, &self.category_lists),
        ];
        for (kind, numbers, names, lists) in groups {
            for &number in numbers {
                let incarnation = lists.get(number as usize).map_or(0, |list| list.incarnation);
                found.insert(format!("{kind} {}", names.text(number)), incarnation);
            }
        }
        found.retain(|_, incarnation| *incarnation > 0);
        found
    }

    fn stream_number(&mut self, stream: &str) -> u32 {
        let number = self.streams.number(stream);
        if number as usize == self.stream_lists.len() {
            self.stream_lists.push(List::default());
            self.directories.enter(number, stream);
            let category = match category_of(stream) {
                Some(category) => self.category_number(category),
                None => NO_CATEGORY,
            };
            self.stream_category.push(category);
        }
        number
    }

    fn category_number(&mut self, category: &str) -> u32 {
        let number = self.categories.number(category);
        if number as usize == self.category_lists.len() {
            self.category_lists.push(List::default());
        }
        number
    }

    fn type_number(&mut self, event_type: &str) -> u32 {
        let number = self.types.number(event_type);
        if number as usize == self.type_lists.len() {
            self.type_lists.push(List::default());
        }
        number
    }

    /// The forks of its streams.
    #[must_use]
    pub fn forks(&self) -> &Forks {
        &self.forks
    }

    /// The events of a stream, by its number.
    #[must_use]
    pub fn stream_list(&self, stream: u32) -> Option<&List> {
        self.stream_lists.get(stream as usize).filter(|list| !list.events.is_empty())
    }

    /// The events of a type, by its number.
    #[must_use]
    pub fn type_list(&self, event_type: u32) -> Option<&List> {
        self.type_lists.get(event_type as usize).filter(|list| !list.events.is_empty())
    }

    /// The events of a category, by its number.
    #[must_use]
    pub fn category_list(&self, category: u32) -> Option<&List> {
        self.category_lists.get(category as usize).filter(|list| !list.events.is_empty())
    }

    /// The number of a stream that has events.
    #[must_use]
    pub fn find_stream(&self, stream: &str) -> Option<u32> {
        self.streams.find(stream).filter(|&number| self.stream_list(number).is_some())
    }

    /// The category for which a stream is listed, by number.
    #[must_use]
    pub fn category_of(&self, stream: u32) -> Option<u32> {
        Some(self.stream_category.at(stream)).filter(|&category| category != NO_CATEGORY)
    }

    /// How many events a stream has: its version.
    #[must_use]
    pub fn stream_version(&self, stream: &str) -> u64 {
        self.find_stream(stream).and_then(|number| self.stream_list(number)).map_or(0, |list| list.events.len())
    }

    /// The event with an id that is in the views; where several are, any of them.
    #[must_use]
    pub fn find_event(&self, id: EventId) -> Option<u32> {
        self.events.find(id, &self.pack, |event| self.is_shown(event))
    }

    /// Notes which of these events, each with a number that was its own, are in no view.
    pub(crate) fn note_absent(&mut self, mut gone: Vec<(u32, EventId)>) {
        gone.retain(|&(_, id)| self.find_event(id).is_none());
        self.feed.note_absent(&gone);
    }

    /// Whether an event is in the views.
    #[must_use]
    pub fn is_shown(&self, event: u32) -> bool {
        let transaction = self.events.transaction(event);
        self.transactions.is_valid(transaction) && self.transactions.events(transaction).contains(&event)
    }

    /// What the feed lacks that is shown up to a number, in words; `waiting` are the events that may have no number.
    #[must_use]
    pub fn feed_lacks(&self, shown: u64, waiting: impl Iterator<Item = u32>) -> Option<String> {
        if shown < self.feed.latest() {
            let first = shown + 1;
            return Some(format!("the feed ends before number {first}: its event is gone, which nobody who may write has recorded yet"));
        }
        let is_numbered = |event: u32| self.events.seq_nr(event) != 0 && self.is_shown(event);
        let has_none = |&event: &u32| {
            let id = || self.events.id(event, &self.pack);
            self.events.seq_nr(event) == 0 && self.events.find(id(), &self.pack, is_numbered).is_none()
        };
        let count = waiting.filter(has_none).count();
        let wait = counted_as(count, "event waits for a number", "events wait for a number");
        (count > 0).then(|| format!("{wait}, which only who may write gives"))
    }

    /// The rank from 1 of an event in canonical order; costs a search.
    #[must_use]
    pub fn position(&self, event: u32) -> u64 {
        let transaction = self.events.transaction(event);
        self.log.events.partition_point(|other| {
            let of = self.events.transaction(other);
            if of == transaction { other < event } else { self.transactions.compare(of, transaction).is_lt() }
        }) + 1
    }

    /// The rank from 0 of a transaction in canonical order; costs a search.
    #[must_use]
    pub fn rank(&self, transaction: u32) -> u64 {
        self.order.partition_point(|other| self.transactions.compare(other, transaction).is_lt())
    }

    /// Bytes that an item of the feed takes behind its number.
    #[must_use]
    pub fn feed_weight(&self, item: u32) -> u64 {
        feed::weight(item, &self.events)
    }

    /// Bytes that an event takes in a view, but for the fixed part and the numbers that the view counts itself.
    #[must_use]
    pub fn weight(&self, event: u32) -> u64 {
        weight(&self.events, event)
    }
}

fn weight(events: &Events, event: u32) -> u64 {
    weight_at(events, event, events.version(event))
}

/// What an event weighs with a version.
fn weight_at(events: &Events, event: u32, version: u32) -> u64 {
    events.place(event).1 as u64 + digits(u64::from(version))
}

/// Whether a transaction closes every fork that it descends from (FORMAT.md, "Forks").
fn closes_all(header: &Header, events: usize) -> bool {
    events == 0 && header.parents.len() >= 2 && header.stream_bases.is_empty() && header.resolves.is_empty()
}

#[cfg(test)]
#[path = "index/tests.rs"]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod equals;
