//! Views of JSON Lines: a gather of packed lines with their numbers in front.

use std::sync::Arc;

use crate::epoch::Epoch;
use crate::format::lines::{
    FEED_PREFIX_FIXED_LEN, GONE_TAIL_LEN, LOG_PREFIX_FIXED_LEN, Line, STREAM_PREFIX_FIXED_LEN, digits, digits_up_to, parse_line,
    push_content_first, push_feed_prefix, push_gone_tail, push_log_prefix, push_stream_prefix,
};
use crate::index::Index;
use crate::index::feed::Slot;
use crate::index::sequence::Sequence;

/// Reads an event's fields, but for its numbers; none only where the pack is damaged.
pub fn with_line<T>(index: &Index, event: u32, read: impl FnOnce(&Line<'_>) -> T) -> Option<T> {
    let mut line = Vec::new();
    push_stream_prefix(&mut line, 1);
    line.extend_from_slice(index.events.tail(event, &index.pack));
    parse_line(&line).map(|line| read(&line))
}

/// Which numbers a line has, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// `stream_version` in front: streams, types and categories.
    Version,
    /// `stream_version` behind the content: the sides of a fork, which are compared.
    VersionBehind,
    /// `position` and `stream_version`: the canonical log.
    Position,
    /// `seq_nr`: ingestion order.
    SeqNr,
}

/// The lines of one view as of one epoch.
#[derive(Clone, Debug)]
pub struct Lines {
    epoch: Arc<Epoch>,
    items: Sequence,
    numbers: Numbers,
    /// How many lines at the beginning are left out, and their bytes.
    skipped: u64,
    skipped_bytes: u64,
}

impl Lines {
    /// The view of these events.
    #[must_use]
    pub fn new(epoch: Arc<Epoch>, items: Sequence, numbers: Numbers) -> Self {
        Self { epoch, items, numbers, skipped: 0, skipped_bytes: 0 }
    }

    /// The same without its first lines.
    #[must_use]
    pub fn after(mut self, lines: u64) -> Self {
        self.skipped = self.skipped.saturating_add(lines).min(self.items.len());
        self.skipped_bytes = self.items.bytes_before(self.skipped, |item| self.weight(item)) + self.extra(self.skipped);
        self
    }

    /// A feed as it goes on where its name stands for `next` now: lines that were shown stay as they were, also those of events that are
    /// gone by now, and those of `next` follow. None where the two have not the same numbers, or for what is no feed.
    #[must_use]
    pub fn continued_by(&self, next: &Self) -> Option<Self> {
        let (shown, index) = (self.items.len(), &next.epoch.index);
        let is_feed = [self, next].iter().all(|lines| lines.numbers == Numbers::SeqNr && lines.epoch.past.is_none());
        if !is_feed || next.items.len() < shown || index.feed.numbering() != self.epoch.index.feed.numbering() {
            return None;
        }
        let mut items = self.items.clone();
        let more: Vec<u32> = next.items.iter_from(shown).collect();
        items.splice(shown, &more, |item| index.feed_weight(item));
        Some(Self { epoch: Arc::clone(&next.epoch), items, ..self.clone() })
    }

    /// How many lines there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.items.len() - self.skipped
    }

    /// Whether there is no line.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The exact size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.items.bytes() + self.extra(self.items.len()) - self.skipped_bytes
    }

    /// The last event shown, unless its line says that it is gone.
    #[must_use]
    pub fn last_event(&self) -> Option<u32> {
        let last = self.items.get(self.items.len().checked_sub(1)?)?;
        match self.epoch.index.feed.slot(last) {
            Slot::Event(event) => Some(event),
            Slot::Gone(_) => None,
        }
    }

    /// What a view adds to the weights of its first `rank` items.
    fn extra(&self, rank: u64) -> u64 {
        match self.numbers {
            Numbers::Version | Numbers::VersionBehind => STREAM_PREFIX_FIXED_LEN * rank,
            Numbers::Position => LOG_PREFIX_FIXED_LEN * rank + digits_up_to(rank),
            Numbers::SeqNr => FEED_PREFIX_FIXED_LEN * rank + digits_up_to(rank),
        }
    }

    fn weight(&self, item: u32) -> u64 {
        #[cfg(test)]
        counted::weighed();
        let index = &self.epoch.index;
        match self.numbers {
            Numbers::SeqNr => match index.feed.slot(item) {
                Slot::Event(event) => index.events.place(event).1 as u64,
                Slot::Gone(_) => GONE_TAIL_LEN,
            },
            _ => index.weight(item),
        }
    }

    /// The bytes of a line with its numbers.
    fn line_len(&self, rank: u64, item: u32) -> u64 {
        self.weight(item)
            + match self.numbers {
                Numbers::Version | Numbers::VersionBehind => STREAM_PREFIX_FIXED_LEN,
                Numbers::Position => LOG_PREFIX_FIXED_LEN + digits(rank + 1),
                Numbers::SeqNr => FEED_PREFIX_FIXED_LEN + digits(rank + 1),
            }
    }

    /// Bytes of memory that its list of lines takes where nobody shares it.
    pub(super) fn held_bytes(&self) -> u64 {
        self.items.len() * size_of::<u32>() as u64
    }

    /// Whether the packed lines cannot be relied on ([`crate::index::pack::Pack::is_torn`]).
    #[must_use]
    pub fn is_torn(&self) -> bool {
        self.epoch.index.pack.is_torn()
    }

    /// The bytes of a range; shorter only at the end.
    #[must_use]
    pub fn read(&self, offset: u64, len: usize) -> Vec<u8> {
        let end = self.size().min(offset.saturating_add(len as u64));
        if offset >= end {
            return Vec::new();
        }
        let (first, end) = (offset + self.skipped_bytes, end + self.skipped_bytes);
        let place = self.items.place(first, |rank| self.extra(rank));
        let mut out = Vec::with_capacity((end - first) as usize);
        let mut start = place.start;
        let mut head = Vec::new();
        for (rank, item) in (place.rank..).zip(self.items.iter_from(place.rank)) {
            if start >= end {
                break;
            }
            let line_end = start + self.line_len(rank, item);
            if line_end > first {
                if start >= first && line_end <= end {
                    self.render(&mut out, rank, item);
                } else {
                    // Of a long line each read takes its own part only.
                    head.clear();
                    let tail = self.begin(&mut head, rank, item);
                    let from = first.saturating_sub(start) as usize;
                    let to = (end.min(line_end) - start) as usize;
                    out.extend_from_slice(head.get(from.min(head.len())..to.min(head.len())).unwrap_or_default());
                    let behind = |at: usize| at.saturating_sub(head.len()).min(tail.len());
                    out.extend_from_slice(tail.get(behind(from)..behind(to)).unwrap_or_default());
                }
            }
            start = line_end;
        }
        out
    }

    /// Appends one line.
    pub(super) fn render(&self, out: &mut Vec<u8>, rank: u64, item: u32) {
        let tail = self.begin(out, rank, item);
        out.extend_from_slice(tail);
    }

    /// Appends what a line begins with, and gives the rest of it as it is packed.
    fn begin(&self, out: &mut Vec<u8>, rank: u64, item: u32) -> &[u8] {
        #[cfg(test)]
        counted::rendered();
        let index = &self.epoch.index;
        match self.numbers {
            Numbers::Version => push_stream_prefix(out, u64::from(index.events.version(item))),
            Numbers::VersionBehind => {
                push_content_first(out, u64::from(index.events.version(item)), index.events.tail(item, &index.pack));
                return &[];
            }
            Numbers::Position => push_log_prefix(out, rank + 1, u64::from(index.events.version(item))),
            Numbers::SeqNr => {
                push_feed_prefix(out, rank + 1);
                if let Slot::Gone(id) = index.feed.slot(item) {
                    push_gone_tail(out, id);
                    return &[];
                }
            }
        }
        index.events.tail(item, &index.pack)
    }
}

/// What views cost a thread.
#[cfg(test)]
pub(crate) mod counted {
    use std::cell::Cell;

    /// Lines of which something was asked.
    #[derive(Clone, Copy, Debug, Default)]
    pub(crate) struct Cost {
        /// Their size, to find a place.
        pub(crate) weighed: u64,
        /// Their bytes.
        pub(crate) rendered: u64,
        /// Files that were made.
        pub(crate) made: u64,
        /// Forks that were described.
        pub(crate) described: u64,
    }

    thread_local!(static COST: Cell<Cost> = Cell::default());

    pub(super) fn weighed() {
        COST.set(Cost { weighed: COST.get().weighed + 1, ..COST.get() });
    }

    pub(in crate::view) fn described() {
        COST.set(Cost { described: COST.get().described + 1, ..COST.get() });
    }

    pub(in crate::view) fn made() {
        COST.set(Cost { made: COST.get().made + 1, ..COST.get() });
    }

    pub(super) fn rendered() {
        COST.set(Cost { rendered: COST.get().rendered + 1, ..COST.get() });
    }

    /// The cost of some work.
    pub(crate) fn cost(work: impl FnOnce()) -> Cost {
        COST.set(Cost::default());
        work();
        COST.get()
    }
}
