//! Ingestion order: which event has which sequence number on this replica.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::dag::column::Column;
use crate::format::binary::binary_fields;
use crate::format::lines::GONE_TAIL_LEN;
use crate::index::absent::Absent;
use crate::index::events::Events;
use crate::index::sequence::Sequence;
use crate::model::EventId;

use uuid::Uuid;

/// Incarnations of one numbering have the same bits above these.
const NUMBERING_SHIFT: u32 = 20;

/// Set in an item whose event is gone; the rest is its place among the ids of the gone.
const GONE: u32 = 1 << 31;

/// The feed: item N-1 is the event with number N, or says that it is gone.
#[derive(Clone, Debug, Default)]
pub struct Feed {
    /// Items in the order of their numbers; each weighs its line behind the number.
    pub items: Sequence,
    /// Rises when a line that was shown changes.
    pub incarnation: u32,
    gone: Column<[u8; 16]>,
    /// The numbers whose events are gone.
    gone_seqs: Arc<BTreeSet<u32>>,
    absent: Arc<Absent>,
}
binary_fields!(Feed { items, incarnation, gone, gone_seqs, absent });

/// What stands at a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// An event that is here.
    Event(u32),
    /// An event that was here.
    Gone(EventId),
}

impl Feed {
    /// An empty feed for which the name now stands: its numbers are given anew.
    #[must_use]
    pub fn anew(&self) -> Self {
        Self { incarnation: (self.incarnation >> NUMBERING_SHIFT).wrapping_add(1) << NUMBERING_SHIFT, ..Self::default() }
    }

    /// Which numbering this is: while it is the same an event keeps its number, and another one begins where the log was lost.
    #[must_use]
    pub fn numbering(&self) -> u32 {
        self.incarnation >> NUMBERING_SHIFT
    }

    /// The largest number given.
    #[must_use]
    pub fn latest(&self) -> u64 {
        self.items.len()
    }

    /// What an item of the sequence stands for.
    #[must_use]
    pub fn slot(&self, item: u32) -> Slot {
        if item & GONE == 0 {
            return Slot::Event(item);
        }
        Slot::Gone(EventId(Uuid::from_bytes(self.gone.at(item & !GONE))))
    }

    /// How many numbers stand for events that are gone.
    #[must_use]
    pub fn gone_count(&self) -> usize {
        self.gone_seqs.len()
    }

    /// The numbers up to one whose events are gone, ascending.
    pub fn gone_upto(&self, seq_nr: u64) -> impl Iterator<Item = u64> {
        self.gone_seqs.iter().map(|&seq| u64::from(seq)).take_while(move |&seq| seq <= seq_nr)
    }

    /// The numbers whose events are gone, ascending, each with its event if that is known.
    pub fn gone_events(&self) -> impl Iterator<Item = (u64, EventId)> {
        let of = |seq: u64| match self.slot(self.items.get(seq.checked_sub(1)?)?) {
            Slot::Gone(id) if !id.0.is_nil() => Some((seq, id)),
            _ => None,
        };
        self.gone_upto(self.latest()).filter_map(of)
    }

    /// The events that have a number and are in no view.
    #[must_use]
    pub fn absent(&self) -> &Arc<Absent> {
        &self.absent
    }

    /// Notes that events are in no view, each with a number that was its own.
    pub(crate) fn note_absent(&mut self, absent: &[(u32, EventId)]) {
        if !absent.is_empty() {
            let held = Arc::make_mut(&mut self.absent);
            absent.iter().filter(|(_, id)| !id.0.is_nil()).for_each(|&(seq, id)| held.insert(id, seq));
        }
    }

    /// Notes that events came into the views.
    pub(crate) fn note_present(&mut self, ids: impl Iterator<Item = EventId>) {
        if self.absent.is_empty() {
            return;
        }
        let back: Vec<EventId> = ids.filter(|&id| self.absent.has(id)).collect();
        if !back.is_empty() {
            let held = Arc::make_mut(&mut self.absent);
            back.into_iter().for_each(|id| held.remove(id));
        }
    }

    fn item(&mut self, seq: u32, slot: Slot) -> u32 {
        match slot {
            Slot::Event(event) => event,
            Slot::Gone(id) => {
                Arc::make_mut(&mut self.gone_seqs).insert(seq);
                self.gone.push(*id.as_bytes());
                (self.gone.len() as u32 - 1) | GONE
            }
        }
    }

    /// Gives the next numbers; an event learns its number.
    pub fn append(&mut self, slots: &[Slot], events: &mut Events) {
        let mut next = self.latest() as u32;
        let mut items = Vec::with_capacity(slots.len());
        for &slot in slots {
            next += 1;
            if let Slot::Event(event) = slot {
                events.set_seq_nr(event, next);
            }
            items.push(self.item(next, slot));
        }
        self.items.splice(self.items.len(), &items, |item| weight(item, events));
    }

    /// Gives events that are back the numbers that were theirs: only where no line from the first of them on was shown since they went.
    pub fn give_back(&mut self, back: &[(u64, u32)], events: &mut Events) {
        let Some(keep) = back.iter().filter_map(|(seq, _)| seq.checked_sub(1)).min() else { return };
        let mut tail: Vec<u32> = self.items.iter_from(keep).collect();
        for &(seq, event) in back {
            let (Ok(number), Ok(at)) = (u32::try_from(seq), usize::try_from(seq - 1 - keep)) else { continue };
            let Some(slot) = tail.get_mut(at).filter(|_| Arc::make_mut(&mut self.gone_seqs).remove(&number)) else { continue };
            *slot = event;
            events.set_seq_nr(event, number);
        }
        self.items.splice(keep, &tail, |item| weight(item, events));
    }

    /// Marks the numbers of events that went as gone; a line that was shown changes, so the file is a new one.
    pub fn mark_gone(&mut self, gone: &[(u32, EventId)], events: &mut Events) {
        let Some(first) = gone.iter().map(|(seq, _)| *seq).filter(|&seq| seq > 0).min() else { return };
        let keep = u64::from(first) - 1;
        let mut tail: Vec<u32> = self.items.iter_from(keep).collect();
        for &(seq, id) in gone.iter().filter(|(seq, _)| *seq > 0) {
            let at = (seq - first) as usize;
            let Some(&event) = tail.get(at) else { continue };
            if event & GONE != 0 {
                continue;
            }
            let item = self.item(seq, Slot::Gone(id));
            events.set_seq_nr(event, 0);
            if let Some(slot) = tail.get_mut(at) {
                *slot = item;
            }
        }
        self.items.splice(keep, &tail, |item| weight(item, events));
        self.incarnation += 1;
    }
}

/// Bytes of an item's line behind its number.
pub(crate) fn weight(item: u32, events: &Events) -> u64 {
    if item & GONE == 0 { events.place(item).1 as u64 } else { GONE_TAIL_LEN }
}
