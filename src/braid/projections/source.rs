//! Which events a state is folded from.

use std::cell::RefCell;
use std::collections::HashMap;

use sha2::{Digest as _, Sha256};

use crate::fold::{Definition, Per, glob_matches};
use crate::index::{Index, List};

/// The glob that every stream matches.
const EVERYTHING: &str = "*";

/// The events of one state: those of a list whose streams match.
pub(super) struct Source<'i> {
    index: &'i Index,
    list: &'i List,
    glob: Option<&'i str>,
    /// Whether a stream matches, by its number.
    matches: RefCell<HashMap<u32, bool>>,
}

impl<'i> Source<'i> {
    /// The events of a key; none if nothing has that state.
    pub(super) fn find(definition: &'i Definition, key: &str, index: &'i Index) -> Option<Self> {
        let mut glob = Some(definition.streams.as_str()).filter(|glob| *glob != EVERYTHING);
        let list = match definition.per {
            Per::All => Some(&index.log).filter(|_| key.is_empty()),
            Per::Stream if !glob.take().is_none_or(|glob| glob_matches(glob, key)) => None,
            Per::Stream => index.stream_list(index.streams.find(key)?),
            Per::Type => index.type_list(index.types.find(key)?),
        }?;
        let source = Self { index, list, glob, matches: RefCell::default() };
        // A type has a state if one of its events is folded.
        (definition.per != Per::Type || source.events(0, source.len()).next().is_some()).then_some(source)
    }

    /// The streams or types that have a state; none if there is only one state.
    pub(super) fn keys(definition: &Definition, index: &Index) -> Option<Vec<String>> {
        let names = match definition.per {
            Per::All => return None,
            Per::Stream => &index.streams,
            Per::Type => &index.types,
        };
        let all = (0..names.len()).map(|number| names.text(number));
        Some(all.filter(|key| Source::find(definition, key, index).is_some()).map(str::to_owned).collect())
    }

    /// How many events the list has, also those that are passed over.
    pub(super) fn len(&self) -> u64 {
        self.list.events.len()
    }

    pub(super) fn incarnation(&self) -> u32 {
        self.list.incarnation
    }

    pub(super) fn last_event(&self) -> Option<u32> {
        self.list.events.get(self.len().checked_sub(1)?)
    }

    /// The events to fold among those of a part of the list.
    pub(super) fn events(&self, from: u64, to: u64) -> impl Iterator<Item = u32> + '_ {
        let part = self.list.events.iter_from(from).take(usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX));
        part.filter(|&event| self.is_folded(event))
    }

    fn is_folded(&self, event: u32) -> bool {
        let Some(glob) = self.glob else { return true };
        let stream = self.index.events.stream(event);
        *self.matches.borrow_mut().entry(stream).or_insert_with(|| glob_matches(glob, self.index.streams.text(stream)))
    }

    /// The event as its stream shows it.
    pub(super) fn line(&self, event: u32) -> Vec<u8> {
        line(self.index, event)
    }

    /// Adds all that a fold can see of an event.
    pub(super) fn hash(&self, hasher: &mut Sha256, event: u32) {
        let events = &self.index.events;
        hasher.update(events.version(event).to_le_bytes());
        hasher.update(events.tail(event, &self.index.pack));
    }
}

/// An event as its stream shows it.
pub(super) fn line(index: &Index, event: u32) -> Vec<u8> {
    let mut line = format!("{{\"stream_version\":{},", index.events.version(event)).into_bytes();
    line.extend_from_slice(index.events.tail(event, &index.pack));
    line
}
