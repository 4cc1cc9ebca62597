//! Streams that transactions only read, and which of these reads were stale.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::dag::column::Column;
use crate::dag::stale::stale_read;
use crate::dag::{Graph, Reach, StaleRead};
use crate::format::binary::binary_fields;
use crate::index::forks::past::Past;
use crate::index::sequence::Sequence;

/// Who read what without writing it.
#[derive(Clone, Debug, Default)]
pub(super) struct Reads {
    /// By stream: its readers in canonical order.
    readers: Column<Sequence, 256>,
    /// By stream and reader.
    stale: Arc<BTreeMap<(u32, u32), StaleRead>>,
}
binary_fields!(Reads { readers, stale });

impl Reads {
    pub(super) fn stale(&self) -> &Arc<BTreeMap<(u32, u32), StaleRead>> {
        &self.stale
    }

    /// Takes in transactions, in canonical order, that nothing here descends from.
    pub(super) fn take_in(&mut self, past: &Past<'_>, shown: &[u32]) {
        let index = past.index;
        self.readers.grow(index.streams.len() as usize, &Sequence::default());
        let mut concerned: Vec<(u32, u32)> = Vec::new();
        for &tx in shown {
            for &(stream, _) in index.transactions.details(tx).into_iter().flat_map(|details| &details.reads) {
                self.enter(past, stream, tx);
                concerned.push((stream, tx));
            }
        }
        for &tx in shown {
            for stream in super::streams_of(index, tx) {
                concerned.extend(self.concurrent(past, stream, tx).map(|reader| (stream, reader)));
            }
        }
        concerned.sort_unstable();
        concerned.dedup();
        let mut reach = Reach::default();
        for (stream, reader) in concerned {
            self.judge(past, &mut reach, stream, reader);
        }
    }

    /// Makes everything anew.
    pub(super) fn renew(&mut self, past: &Past<'_>) {
        *self = Self::default();
        let all: Vec<u32> = past.index.order.iter_from(0).filter(|&tx| past.index.transactions.details(tx).is_some()).collect();
        self.take_in(past, &all);
    }

    fn enter(&mut self, past: &Past<'_>, stream: u32, tx: u32) {
        let Some(readers) = self.readers.get_mut(stream as usize) else { return };
        let place = readers.partition_point(|reader| past.index.transactions.compare(reader, tx).is_lt());
        let tail: Vec<u32> = [tx].into_iter().chain(readers.iter_from(place)).collect();
        readers.splice(place, &tail, |_| 0);
    }

    /// The readers of a stream that no cut parts from one of its writers.
    fn concurrent<'s>(&'s self, past: &'s Past<'_>, stream: u32, writer: u32) -> impl Iterator<Item = u32> + 's {
        let depth = past.depth(writer);
        let readers = self.readers.get(stream as usize).filter(|readers| !readers.is_empty());
        readers.into_iter().flat_map(move |readers| {
            let near = move |reader: &u32| {
                let own = past.depth(*reader);
                !past.cut_between(own.min(depth), own.max(depth))
            };
            let place = readers.partition_point(|reader| past.depth(reader) < depth);
            let before = (0..place).rev().filter_map(|place| readers.get(place)).take_while(near);
            before.chain(readers.iter_from(place).take_while(near))
        })
    }

    fn judge(&mut self, past: &Past<'_>, reach: &mut Reach, stream: u32, reader: u32) {
        let found = stale_read(reach, past, stream, reader).map(|mut read| {
            read.writers.dedup();
            read
        });
        if self.stale.get(&(stream, reader)) == found.as_ref() {
            return;
        }
        let stale = Arc::make_mut(&mut self.stale);
        match found {
            Some(read) => stale.insert((stream, reader), read),
            None => stale.remove(&(stream, reader)),
        };
    }
}
