//! A persistent sequence of numbers with the bytes that they take in a view.

use std::sync::Arc;

use crate::format::binary::{Binary, Input, binary_fields, put_len};

/// How many numbers share one chunk: a change of one copies at most this many.
const CHUNK_LEN_MAX: usize = 512;

#[derive(Clone, Debug)]
struct Chunk {
    items: Arc<[u32]>,
    /// Numbers and bytes of this chunk and all before it.
    items_end: u64,
    bytes_end: u64,
}
binary_fields!(Chunk { items, items_end, bytes_end });

/// Numbers in an order, each with a weight in bytes: finds the number at a rank or at a byte.
///
/// Clones share their chunks. One chunk needs no more than its numbers, so a hundred thousand short ones are cheap.
#[derive(Clone, Debug, Default)]
pub struct Sequence {
    chunks: Chunks,
}

#[derive(Clone, Debug, Default)]
enum Chunks {
    #[default]
    None,
    One(Arc<[u32]>, u64),
    Many(Arc<Chain>),
}

/// More than one chunk. The last is beside the others, so that an append does not copy their list.
#[derive(Clone, Debug)]
struct Chain {
    before: Arc<Vec<Chunk>>,
    last: Chunk,
}

impl Chain {
    fn get(&self, at: usize) -> Option<&Chunk> {
        if at == self.before.len() { Some(&self.last) } else { self.before.get(at) }
    }

    /// How many chunks fulfil `is_before`; those that do come first.
    fn partition_point(&self, mut is_before: impl FnMut(&Chunk) -> bool) -> usize {
        let at = self.before.partition_point(&mut is_before);
        if at == self.before.len() && is_before(&self.last) { at + 1 } else { at }
    }

    fn iter_from(&self, at: usize) -> impl DoubleEndedIterator<Item = &Chunk> {
        let last = (at <= self.before.len()).then_some(&self.last);
        self.before.get(at..).unwrap_or_default().iter().chain(last)
    }
}

impl Binary for Sequence {
    fn put(&self, out: &mut Vec<u8>) {
        match &self.chunks {
            Chunks::None => 0u8.put(out),
            Chunks::One(items, bytes) => {
                1u8.put(out);
                items.put(out);
                bytes.put(out);
            }
            Chunks::Many(chunks) => {
                2u8.put(out);
                put_len(chunks.before.len() + 1, out);
                chunks.iter_from(0).for_each(|chunk| chunk.put(out));
            }
        }
    }

    fn take(from: &mut Input<'_>) -> Option<Self> {
        let chunks = match u8::take(from)? {
            0 => Chunks::None,
            1 => Chunks::One(Binary::take(from)?, Binary::take(from)?),
            2 => {
                let mut before: Vec<Chunk> = Binary::take(from)?;
                let last = before.pop()?;
                Chunks::Many(Arc::new(Chain { before: Arc::new(before), last }))
            }
            _ => return None,
        };
        Some(Self { chunks })
    }
}

/// Where a byte of a view lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The rank from 0 of a number at or before the byte.
    pub rank: u64,
    /// The byte at which that number's line begins.
    pub start: u64,
}

impl Sequence {
    /// How many numbers there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        match &self.chunks {
            Chunks::None => 0,
            Chunks::One(items, _) => items.len() as u64,
            Chunks::Many(chunks) => chunks.last.items_end,
        }
    }

    /// Whether there is no number.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The weight of all numbers together.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match &self.chunks {
            Chunks::None => 0,
            Chunks::One(_, bytes) => *bytes,
            Chunks::Many(chunks) => chunks.last.bytes_end,
        }
    }

    /// The number at a rank from 0.
    #[must_use]
    pub fn get(&self, rank: u64) -> Option<u32> {
        match &self.chunks {
            Chunks::None => None,
            Chunks::One(items, _) => items.get(usize::try_from(rank).ok()?).copied(),
            Chunks::Many(chunks) => {
                let at = chunks.partition_point(|chunk| chunk.items_end <= rank);
                let chunk = chunks.get(at)?;
                let first = chunk.items_end - chunk.items.len() as u64;
                chunk.items.get((rank - first) as usize).copied()
            }
        }
    }

    /// The numbers from a rank on.
    pub fn iter_from(&self, rank: u64) -> impl Iterator<Item = u32> + '_ {
        let (many, one) = self.parts();
        let at = many.map_or(0, |chunks| chunks.partition_point(|chunk| chunk.items_end <= rank));
        let first = many.and_then(|chunks| chunks.get(at)).map_or(0, |chunk| chunk.items_end - chunk.items.len() as u64);
        let many = many.into_iter().flat_map(move |chunks| chunks.iter_from(at));
        many.flat_map(|chunk| chunk.items.iter().copied()).chain(one.iter().copied()).skip(rank.saturating_sub(first) as usize)
    }

    /// The last numbers first.
    pub fn iter_back(&self) -> impl Iterator<Item = u32> + '_ {
        let (many, one) = self.parts();
        let many = many.into_iter().flat_map(|chunks| chunks.iter_from(0).rev());
        one.iter().rev().copied().chain(many.flat_map(|chunk| chunk.items.iter().rev().copied()))
    }

    fn parts(&self) -> (Option<&Chain>, &[u32]) {
        match &self.chunks {
            Chunks::None => (None, &[]),
            Chunks::One(items, _) => (None, items),
            Chunks::Many(chunks) => (Some(chunks), &[]),
        }
    }

    /// The place from which `byte` can be reached; `extra(rank)` is what each view adds to the first `rank` weights.
    #[must_use]
    pub fn place(&self, byte: u64, extra: impl Fn(u64) -> u64) -> Place {
        let Chunks::Many(chunks) = &self.chunks else { return Place { rank: 0, start: 0 } };
        let at = chunks.partition_point(|chunk| chunk.bytes_end + extra(chunk.items_end) <= byte);
        match at.checked_sub(1).and_then(|before| chunks.get(before)) {
            Some(before) => Place { rank: before.items_end, start: before.bytes_end + extra(before.items_end) },
            None => Place { rank: 0, start: 0 },
        }
    }

    /// The bytes before the number at a rank.
    #[must_use]
    pub fn bytes_before(&self, rank: u64, weight: impl Fn(u32) -> u64) -> u64 {
        let (first, mut bytes) = match &self.chunks {
            Chunks::Many(chunks) => {
                let at = chunks.partition_point(|chunk| chunk.items_end <= rank);
                at.checked_sub(1).and_then(|before| chunks.get(before)).map_or((0, 0), |chunk| (chunk.items_end, chunk.bytes_end))
            }
            _ => (0, 0),
        };
        for item in self.iter_from(first).take(rank.saturating_sub(first) as usize) {
            bytes += weight(item);
        }
        bytes
    }

    /// The first rank whose number does not fulfil `is_before`; those that do come first.
    pub fn partition_point(&self, mut is_before: impl FnMut(u32) -> bool) -> u64 {
        match &self.chunks {
            Chunks::None => 0,
            Chunks::One(items, _) => items.partition_point(|&item| is_before(item)) as u64,
            Chunks::Many(chunks) => {
                let at = chunks.partition_point(|chunk| chunk.items.last().is_some_and(|&item| is_before(item)));
                match chunks.get(at) {
                    Some(chunk) => {
                        let first = chunk.items_end - chunk.items.len() as u64;
                        first + chunk.items.partition_point(|&item| is_before(item)) as u64
                    }
                    None => self.len(),
                }
            }
        }
    }

    /// Keeps the first `keep` numbers and puts `tail` behind them.
    ///
    /// Costs the length of the tail and of one chunk; where numbers are cut off or a chunk is filled, one entry a chunk as well.
    pub fn splice(&mut self, keep: u64, tail: &[u32], weight: impl Fn(u32) -> u64) {
        self.splice_reweighed(keep, tail, &weight, &weight);
    }

    /// The same where numbers that are cut off weigh something else by now: `was` gives what each of them weighed till now.
    pub fn splice_reweighed(&mut self, keep: u64, tail: &[u32], weight: impl Fn(u32) -> u64, was: impl Fn(u32) -> u64) {
        let keep = keep.min(self.len());
        if tail.is_empty() && keep == self.len() {
            return;
        }
        if keep == self.len()
            && let Chunks::Many(chunks) = &self.chunks
            && chunks.last.items.len() + tail.len() <= CHUNK_LEN_MAX
        {
            let Chunk { items, items_end, bytes_end } = &chunks.last;
            let last = Chunk {
                items: items.iter().chain(tail).copied().collect(),
                items_end: items_end + tail.len() as u64,
                bytes_end: bytes_end + tail.iter().map(|&item| weight(item)).sum::<u64>(),
            };
            self.chunks = Chunks::Many(Arc::new(Chain { before: Arc::clone(&chunks.before), last }));
            return;
        }
        let mut chunks: Vec<Chunk> = match std::mem::take(&mut self.chunks) {
            Chunks::None => Vec::new(),
            Chunks::One(items, bytes) => {
                let items_end = items.len() as u64;
                vec![Chunk { items, items_end, bytes_end: bytes }]
            }
            Chunks::Many(chunks) => {
                let Chain { before, last } = Arc::unwrap_or_clone(chunks);
                let mut all = Arc::unwrap_or_clone(before);
                all.push(last);
                all
            }
        };
        let whole = chunks.partition_point(|chunk| chunk.items_end <= keep);
        let end_of = |last: Option<&Chunk>| last.map_or((0, 0), |last| (last.items_end, last.bytes_end));
        let mut pending: Vec<u32> = Vec::new();
        let mut pending_bytes = 0;
        if let Some(cut) = chunks.get(whole) {
            let (first, start) = end_of(whole.checked_sub(1).and_then(|before| chunks.get(before)));
            let (kept, dropped) = cut.items.split_at((keep - first) as usize);
            pending.extend(kept);
            // Whichever part is shorter is weighed.
            pending_bytes = if kept.len() < dropped.len() {
                kept.iter().map(|&item| weight(item)).sum()
            } else {
                cut.bytes_end - start - dropped.iter().map(|&item| was(item)).sum::<u64>()
            };
        }
        chunks.truncate(whole);
        // A last chunk with room is filled up first, so that appends one by one make full chunks.
        if pending.is_empty()
            && chunks.last().is_some_and(|last| last.items.len() < CHUNK_LEN_MAX)
            && let Some(last) = chunks.pop()
        {
            pending.extend(last.items.iter());
            pending_bytes = last.bytes_end - end_of(chunks.last()).1;
        }
        let (mut items_end, mut bytes_end) = end_of(chunks.last());
        bytes_end += pending_bytes;
        // Fewer than a chunk, so all of them go into the next one.
        let mut weighed = pending.len();
        pending.extend_from_slice(tail);
        for items in pending.chunks(CHUNK_LEN_MAX) {
            let unweighed = items.get(weighed..).unwrap_or_default();
            weighed = 0;
            items_end += items.len() as u64;
            bytes_end += unweighed.iter().map(|&item| weight(item)).sum::<u64>();
            chunks.push(Chunk { items: items.into(), items_end, bytes_end });
        }
        self.chunks = match chunks.len() {
            0 => Chunks::None,
            1 => chunks.pop().map_or(Chunks::None, |only| Chunks::One(only.items, only.bytes_end)),
            many => {
                let last = chunks.pop();
                chunks.shrink_to(many + many / 8);
                last.map_or(Chunks::None, |last| Chunks::Many(Arc::new(Chain { before: Arc::new(chunks), last })))
            }
        };
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::Sequence;
    use proptest::prelude::*;

    fn weight(item: u32) -> u64 {
        u64::from(item % 7) + 1
    }

    proptest! {
        #[test]
        fn equals_a_plain_vector(steps in prop::collection::vec((0usize..3_000, 0usize..1_500), 1..8), probe in 0u64..6_000) {
            let mut plain: Vec<u32> = Vec::new();
            let mut sequence = Sequence::default();
            let mut weights: HashMap<u32, u64> = HashMap::new();
            let mut next = 0;
            for (keep, more) in steps {
                let keep = keep.min(plain.len());
                let mut tail: Vec<u32> = (next..next + more as u32).collect();
                next += more as u32;
                let cut = plain.split_off(keep);
                // What is cut off and comes back may weigh more than before, as an event does whose version has another digit.
                let back = &cut[..cut.len() / 2];
                let heavier: HashSet<u32> = back.iter().copied().collect();
                let was = |item: u32| weights.get(&item).copied().unwrap_or_else(|| weight(item));
                let now = |item: u32| was(item) + u64::from(heavier.contains(&item));
                tail.extend_from_slice(back);
                plain.extend(&tail);
                sequence.splice_reweighed(keep as u64, &tail, now, was);
                let changed: Vec<(u32, u64)> = tail.iter().map(|&item| (item, now(item))).collect();
                weights.extend(changed);
            }
            let weight = |item: u32| weights[&item];
            prop_assert_eq!(sequence.len(), plain.len() as u64);
            prop_assert_eq!(sequence.bytes(), plain.iter().map(|&item| weight(item)).sum::<u64>());
            prop_assert_eq!(sequence.get(probe), plain.get(probe as usize).copied());
            let from: Vec<u32> = sequence.iter_from(probe).collect();
            prop_assert_eq!(&from[..], plain.get(probe as usize..).unwrap_or_default());
            prop_assert_eq!(sequence.partition_point(|item| plain.iter().position(|&held| held == item) < Some(probe as usize)),
                probe.min(plain.len() as u64));
            let place = sequence.place(probe, |rank| rank);
            let before: u64 = plain[..place.rank as usize].iter().map(|&item| weight(item) + 1).sum();
            prop_assert_eq!(before, place.start);
            prop_assert!(place.start <= probe);
            let rank = probe.min(plain.len() as u64);
            prop_assert_eq!(sequence.bytes_before(rank, weight), plain[..rank as usize].iter().map(|&item| weight(item)).sum::<u64>());
        }
    }
}
