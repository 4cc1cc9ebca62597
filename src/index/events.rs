//! What the index knows of each event, as columns.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::dag::column::Column;
use crate::format::binary::binary_fields;
use crate::index::pack::Pack;
use crate::index::table::Table;
use crate::model::EventId;

/// The bytes of `"event_id":"`, which every packed line begins with.
const ID_OFFSET: usize = 12;
/// The characters of a UUID.
const ID_LEN: usize = 36;

/// The columns; an event's number is its place in the pack.
#[derive(Clone, Debug, Default)]
pub struct Events {
    offset: Column<u64>,
    transaction: Column<u32>,
    stream: Column<u32>,
    event_type: Column<u32>,
    version: Column<u32>,
    seq: Column<u32>,
    table: Table,
    /// Events whose id an earlier one has, also where either is gone.
    again: Column<u32>,
    /// Where the last line ends.
    end: u64,
}
binary_fields!(Events { offset, transaction, stream, event_type, version, seq, table, again, end });

/// An event as it is entered.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Entry {
    pub(crate) offset: u64,
    pub(crate) transaction: u32,
    pub(crate) stream: u32,
    pub(crate) event_type: u32,
    pub(crate) line_len: u64,
}

impl Events {
    /// How many events were ever taken in, also those that are gone.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.offset.len() as u32
    }

    /// Whether no event was ever taken in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.offset.is_empty()
    }

    /// The transaction it belongs to.
    #[must_use]
    pub fn transaction(&self, event: u32) -> u32 {
        self.transaction.at(event)
    }

    /// The number of its stream.
    #[must_use]
    pub fn stream(&self, event: u32) -> u32 {
        self.stream.at(event)
    }

    /// The number of its type.
    #[must_use]
    pub fn event_type(&self, event: u32) -> u32 {
        self.event_type.at(event)
    }

    /// Its rank from 1 among its stream's events.
    #[must_use]
    pub fn version(&self, event: u32) -> u32 {
        self.version.at(event)
    }

    pub(crate) fn set_version(&mut self, event: u32, version: u32) {
        self.version.set(event as usize, version);
    }

    /// Its number in ingestion order; 0 until it has one.
    #[must_use]
    pub fn seq_nr(&self, event: u32) -> u32 {
        self.seq.at(event)
    }

    pub(crate) fn set_seq_nr(&mut self, event: u32, seq: u32) {
        self.seq.set(event as usize, seq);
    }

    /// Where its line begins in the pack, and its length.
    #[must_use]
    pub fn place(&self, event: u32) -> (u64, usize) {
        let start = self.offset.at(event);
        let end = self.offset.get(event as usize + 1).copied().unwrap_or(self.end);
        (start, end.saturating_sub(start) as usize)
    }

    /// Its packed line: everything behind the numbers, with the line end.
    #[must_use]
    pub fn tail<'p>(&self, event: u32, pack: &'p Pack) -> &'p [u8] {
        let (start, len) = self.place(event);
        pack.get(start, len).unwrap_or_default()
    }

    /// Its id.
    #[must_use]
    pub fn id(&self, event: u32, pack: &Pack) -> EventId {
        id_at(self.offset.at(event), pack)
    }

    /// The event with an id that fulfils `is` (that is here, say).
    pub fn find(&self, id: EventId, pack: &Pack, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        self.table.find(self.table.hash(id.as_bytes()), |event| self.id(event, pack) == id && is(event))
    }

    /// The events that `is` true of (that are here, say) and that share their id with another such, by that id.
    pub fn shared(&self, pack: &Pack, is: impl Fn(u32) -> bool) -> BTreeMap<EventId, Vec<u32>> {
        let mut shared = BTreeMap::new();
        for id in self.again.iter().map(|&event| self.id(event, pack)).collect::<BTreeSet<EventId>>() {
            let mut events = Vec::new();
            self.find(id, pack, |event| {
                events.extend(is(event).then_some(event));
                false
            });
            if events.len() > 1 {
                shared.insert(id, events);
            }
        }
        shared
    }

    /// How many events were found to have the id of an earlier one when they were taken in.
    #[must_use]
    pub fn shared_count(&self) -> usize {
        self.again.len()
    }

    /// Makes room for so many events, before the first is entered.
    pub(crate) fn reserve(&mut self, events: usize) {
        if self.is_empty() {
            self.table = Table::with_room(events);
        }
    }

    /// Enters an event whose line is already in the pack; `first` is the first one of its transaction.
    ///
    /// Where its transaction was here before, it takes the place of the event that it was then, which no view will show again: so an id is in
    /// the table once for each transaction that has it, however often they come and go.
    pub(crate) fn enter(&mut self, id: EventId, entry: Entry, first: u32, pack: &Pack) -> u32 {
        let event = self.push(entry);
        self.end = entry.offset + entry.line_len;
        let Self { offset, transaction, table, again, .. } = self;
        let hash = table.hash(id.as_bytes());
        let mut is_shared = false;
        let is_former = |held: u32| {
            let is_same = id_at(offset.at(held), pack) == id;
            let is_former = is_same && held < first && transaction.at(held) == entry.transaction;
            is_shared |= is_same && !is_former;
            is_former
        };
        if table.replace(hash, event, is_former) {
            return event;
        }
        if is_shared {
            again.push(event);
        }
        table.insert(hash, event, |table, held| table.hash(id_at(offset.at(held), pack).as_bytes()));
        event
    }

    /// How many events are found by their ids.
    #[cfg(test)]
    pub(crate) fn found_by_id(&self) -> u64 {
        self.table.len()
    }

    /// Steps over lines of files that are not here any more, so that the next line begins at `offset`.
    pub(crate) fn skip_to(&mut self, offset: u64) {
        if offset != self.end {
            // Nobody asks for this number.
            self.push(Entry { offset: self.end, ..Entry::default() });
            self.end = offset;
        }
    }

    fn push(&mut self, entry: Entry) -> u32 {
        let event = self.len();
        self.offset.push(entry.offset);
        self.transaction.push(entry.transaction);
        self.stream.push(entry.stream);
        self.event_type.push(entry.event_type);
        self.version.push(0);
        self.seq.push(0);
        event
    }
}

/// The id in the packed line that begins at `start`.
fn id_at(start: u64, pack: &Pack) -> EventId {
    let text = pack.get(start + ID_OFFSET as u64, ID_LEN).unwrap_or_default();
    EventId(Uuid::try_parse_ascii(text).unwrap_or_default())
}
