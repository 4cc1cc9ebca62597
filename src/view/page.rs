//! Pages of the feed: what a subscription reads from where it stopped.

use std::collections::HashMap;

use crate::fold::glob_matches;
use crate::index::feed::Slot;
use crate::model::EventId;
use crate::view::Tree;
use crate::view::lines::{Lines, Numbers};

/// How many events a page has unless told otherwise.
pub const PAGE_EVENTS_DEFAULT: u64 = 1_000;

/// A page ends behind the event with which it has so many bytes: one line may have 16 MiB.
pub const PAGE_BYTES_MAX: usize = 16 << 20;

/// Which events of the feed are read.
///
/// Nothing tells to which stream or type a gone event belonged: it is reported only where neither is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedFilter {
    /// At most so many events are given.
    pub limit: u64,
    /// Only streams whose id begins with this.
    pub stream_prefix: Option<String>,
    /// Only streams whose whole id matches; `*` is any text, `?` any one character.
    pub stream_glob: Option<String>,
    /// Only events of a type that matches, like `stream_glob`.
    pub event_type: Option<String>,
}

impl Default for FeedFilter {
    fn default() -> Self {
        Self { limit: PAGE_EVENTS_DEFAULT, stream_prefix: None, stream_glob: None, event_type: None }
    }
}

impl FeedFilter {
    /// Whether it gives every event.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.stream_prefix.is_none() && self.stream_glob.is_none() && self.event_type.is_none()
    }

    fn takes_stream(&self, stream_id: &str) -> bool {
        self.stream_prefix.as_deref().is_none_or(|prefix| stream_id.starts_with(prefix))
            && self.stream_glob.as_deref().is_none_or(|glob| glob_matches(glob, stream_id))
    }

    fn takes_type(&self, event_type: &str) -> bool {
        self.event_type.as_deref().is_none_or(|glob| glob_matches(glob, event_type))
    }
}

/// One line of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedEvent {
    /// Its number in ingestion order.
    pub seq_nr: u64,
    /// The event.
    pub event_id: EventId,
    /// Whether its file has left `events/` since it got this number.
    pub gone: bool,
    /// The line as `feed.jsonl` has it, with its line end.
    pub line: Vec<u8>,
}

/// What was read of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedPage {
    /// The events, in the order of their numbers.
    pub events: Vec<FeedEvent>,
    /// From where to read on: every number up to it is given or passed over by the filter. Never less than asked.
    pub next_seq: u64,
    /// The largest number that may be shown now; equal to `next_seq` where there is nothing more.
    pub latest_seq_nr: u64,
    /// Which numbering the numbers are of: in this process another one once the ingestion log was lost and is made anew.
    pub numbering: u32,
}

/// The answers of a filter by the number of a stream or type, for ids are long and repeat.
#[derive(Default)]
struct Known(HashMap<u32, bool>);

impl Known {
    fn of(&mut self, number: u32, ask: impl FnOnce() -> bool) -> bool {
        *self.0.entry(number).or_insert_with(ask)
    }
}

impl Tree {
    /// The largest number of the feed that may be shown.
    #[must_use]
    pub fn latest_seq_nr(&self) -> u64 {
        self.epoch().feed_shown
    }

    /// Reads the feed behind a number; costs what is passed over and given, not what lies before.
    #[must_use]
    pub fn feed_page(&self, after: u64, filter: &FeedFilter) -> FeedPage {
        let epoch = self.epoch();
        let (index, latest) = (&epoch.index, epoch.feed_shown);
        let lines = Lines::new(epoch.clone(), index.feed.items.clone(), Numbers::SeqNr);
        let (mut streams, mut types) = (Known::default(), Known::default());
        let mut page =
            FeedPage { events: Vec::new(), next_seq: after, latest_seq_nr: latest, numbering: self.epoch().index.feed.numbering() };
        let mut bytes = 0;
        for (rank, item) in (after..latest).zip(index.feed.items.iter_from(after)) {
            if page.events.len() as u64 >= filter.limit || bytes >= PAGE_BYTES_MAX {
                break;
            }
            page.next_seq = rank + 1;
            let (event_id, gone) = match index.feed.slot(item) {
                Slot::Gone(id) if filter.is_everything() => (id, true),
                Slot::Gone(_) => continue,
                Slot::Event(event) => {
                    let (stream, event_type) = (index.events.stream(event), index.events.event_type(event));
                    if !streams.of(stream, || filter.takes_stream(index.streams.text(stream)))
                        || !types.of(event_type, || filter.takes_type(index.types.text(event_type)))
                    {
                        continue;
                    }
                    (index.events.id(event, &index.pack), false)
                }
            };
            let mut line = Vec::new();
            lines.render(&mut line, rank, item);
            bytes += line.len();
            page.events.push(FeedEvent { seq_nr: rank + 1, event_id, gone, line });
        }
        page
    }
}
