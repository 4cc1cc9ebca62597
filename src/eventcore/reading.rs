//! Reading: a stream in canonical order, all events in ingestion order.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;

use eventcore_types::{Event, EventFilter, EventPage, EventReader, EventStoreError, EventStream, StreamId, StreamPosition};

use crate::epoch::Epoch;
use crate::eventcore::store::FileEventStore;
use crate::index::Index;
use crate::index::feed::Slot;
use crate::index::sequence::Sequence;
use crate::store::{position_of_seq_nr, seq_nr_of_position};
use crate::view::with_line;

/// Decodes an event's payload, or says why it cannot be decoded.
pub(super) fn decode<E: Event>(index: &Index, event: u32) -> Result<E, String> {
    let decoded = with_line(index, event, |line| serde_json::from_str(line.event_data).map_err(|error| error.to_string()));
    decoded.unwrap_or_else(|| Err("the event's line cannot be read".to_owned()))
}

/// The events of one stream as of one epoch, decoded one by one.
struct StreamEvents<E> {
    epoch: Arc<Epoch>,
    events: Sequence,
    stream_id: StreamId,
    next: u64,
    decoded: PhantomData<fn() -> E>,
}

impl<E: Event> Iterator for StreamEvents<E> {
    type Item = Result<E, EventStoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let event = self.events.get(self.next)?;
        self.next += 1;
        let failed = |detail| EventStoreError::DeserializationFailed { stream_id: self.stream_id.clone(), detail };
        Some(decode(&self.epoch.index, event).map_err(failed))
    }
}

/// Which streams a filter lets pass, asked once a stream.
struct Streams<'a> {
    filter: &'a EventFilter,
    known: HashMap<u32, bool>,
}

impl Streams<'_> {
    fn pass(&mut self, index: &Index, stream: u32) -> bool {
        *self.known.entry(stream).or_insert_with(|| {
            let id = index.streams.text(stream);
            self.filter.stream_prefix().is_none_or(|prefix| id.starts_with(prefix.as_ref()))
                && self.filter.stream_pattern().is_none_or(|pattern| pattern.matches(id))
        })
    }
}

impl FileEventStore {
    pub(super) fn stream_after<E: Event>(&self, stream_id: StreamId, version: u64) -> EventStream<E> {
        let epoch = self.shared.braid.epoch();
        let list = epoch.index.find_stream(stream_id.as_ref()).and_then(|number| epoch.index.stream_list(number));
        let events = list.map(|list| list.events.clone()).unwrap_or_default();
        EventStream::new(futures::stream::iter(StreamEvents { epoch, events, stream_id, next: version, decoded: PhantomData }))
    }
}

impl EventReader for FileEventStore {
    type Error = EventStoreError;

    async fn read_events<E: Event>(&self, filter: EventFilter, page: EventPage) -> Result<Vec<(E, StreamPosition)>, Self::Error> {
        let epoch = self.shared.braid.epoch();
        let index = &epoch.index;
        let after = page.after_position().map_or(0, |position| seq_nr_of_position(position.into_inner()));
        let limit = page.limit().into_inner();
        let wanted = index.types.find(filter.event_type().unwrap_or_else(|| E::event_type_name()));
        let mut read = Vec::new();
        let (Some(wanted), true) = (wanted, after < epoch.feed_shown && limit > 0) else { return Ok(read) };
        let mut streams = Streams { filter: &filter, known: HashMap::new() };
        for (item, seq_nr) in index.feed.items.iter_from(after).zip(after + 1..=epoch.feed_shown) {
            let Slot::Event(event) = index.feed.slot(item) else { continue };
            if index.events.event_type(event) != wanted || !streams.pass(index, index.events.stream(event)) {
                continue;
            }
            if let Ok(decoded) = decode(index, event) {
                read.push((decoded, StreamPosition::new(position_of_seq_nr(seq_nr))));
                if read.len() == limit {
                    break;
                }
            }
        }
        Ok(read)
    }
}
