//! A persistent vector in chunks: cloning shares them all, a change copies only what it touches, however long the vector is.

use std::sync::Arc;

use crate::format::binary::{Binary, Input, put_len};

/// How many chunks make a branch.
const BRANCH: usize = 64;

/// How many values are appended before they move into a chunk together.
const TAIL_MAX: usize = 64;

type Chunk<T> = Arc<Vec<T>>;
type Branch<T> = Arc<Vec<Chunk<T>>>;

/// A vector whose clones share their chunks of `N` values; published epochs keep old clones unchanged.
///
/// A clone costs the short tail. An append costs no more, but for every 64th, which may copy a chunk; a change elsewhere copies its
/// chunk and two short lists.
#[derive(Debug)]
pub struct Column<T, const N: usize = 4096> {
    /// Chunks of `N` values, 64 in a branch; only the last chunk may hold fewer, and only the last branch.
    branches: Arc<Vec<Branch<T>>>,
    /// How many values the chunks hold.
    settled: usize,
    /// What follows them.
    tail: Vec<T>,
}

impl<T: Clone, const N: usize> Clone for Column<T, N> {
    fn clone(&self) -> Self {
        Self { branches: Arc::clone(&self.branches), settled: self.settled, tail: self.tail.clone() }
    }
}

impl<T, const N: usize> Default for Column<T, N> {
    fn default() -> Self {
        Self { branches: Arc::default(), settled: 0, tail: Vec::new() }
    }
}

impl<T: Clone, const N: usize> Column<T, N> {
    /// The number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.settled + self.tail.len()
    }

    /// Whether there is no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value at `at`, or none past the end.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<&T> {
        match at.checked_sub(self.settled) {
            None => self.branches.get(at / N / BRANCH)?.get(at / N % BRANCH)?.get(at % N),
            Some(at) => self.tail.get(at),
        }
    }

    /// Appends a value.
    pub fn push(&mut self, value: T) {
        if self.tail.len() == TAIL_MAX {
            self.settle();
        }
        self.tail.push(value);
    }

    /// Moves the tail into the chunks.
    fn settle(&mut self) {
        let tail = std::mem::take(&mut self.tail);
        self.settled += tail.len();
        let mut rest = &tail[..];
        let branches = Arc::make_mut(&mut self.branches);
        while let Some(chunk) = open_chunk(branches, N) {
            let (now, later) = rest.split_at(rest.len().min(N - chunk.len()));
            extend_chunk(chunk, now, N);
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        // Its room is used again, where no clone has to copy it.
        self.tail = tail;
        self.tail.clear();
    }

    /// The value at `at` for a change in place; copies its chunk if a clone shares it.
    pub fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        match at.checked_sub(self.settled) {
            None => {
                let branch = Arc::make_mut(&mut self.branches).get_mut(at / N / BRANCH)?;
                Arc::make_mut(Arc::make_mut(branch).get_mut(at / N % BRANCH)?).get_mut(at % N)
            }
            Some(at) => self.tail.get_mut(at),
        }
    }

    /// Replaces the value at `at`; does nothing past the end.
    pub fn set(&mut self, at: usize, value: T) {
        if let Some(slot) = self.get_mut(at) {
            *slot = value;
        }
    }

    /// The values from `at` on that lie together, for a change in place, at least one unless `at` is past the end; copies their chunk if a clone
    /// shares it.
    pub fn part_mut(&mut self, at: usize) -> &mut [T] {
        let part = match at.checked_sub(self.settled) {
            None => Arc::make_mut(&mut self.branches)
                .get_mut(at / N / BRANCH)
                .and_then(|branch| Arc::make_mut(branch).get_mut(at / N % BRANCH))
                .and_then(|chunk| Arc::make_mut(chunk).get_mut(at % N..)),
            Some(at) => self.tail.get_mut(at..),
        };
        part.unwrap_or_default()
    }

    /// Cuts off what lies behind the first `len` values.
    pub fn truncate(&mut self, len: usize) {
        if let Some(len) = len.checked_sub(self.settled) {
            return self.tail.truncate(len);
        }
        self.tail.clear();
        self.settled = len;
        let chunks = len.div_ceil(N);
        let branches = Arc::make_mut(&mut self.branches);
        branches.truncate(chunks.div_ceil(BRANCH));
        let Some(branch) = branches.last_mut().map(Arc::make_mut) else { return };
        branch.truncate(chunks - (chunks - 1) / BRANCH * BRANCH);
        if let Some(chunk) = branch.last_mut()
            && !len.is_multiple_of(N)
        {
            Arc::make_mut(chunk).truncate(len % N);
        }
    }

    /// Appends copies of a value until there are `len`.
    pub fn grow(&mut self, len: usize, value: &T) {
        while self.len() < len {
            self.push(value.clone());
        }
    }

    /// Every value in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks().flat_map(|chunk| chunk.iter()).chain(&self.tail)
    }

    fn chunks(&self) -> impl Iterator<Item = &Chunk<T>> {
        self.branches.iter().flat_map(|branch| branch.iter())
    }

    /// A column of whole chunks, the last of which may be short.
    fn of_chunks(chunks: &[Chunk<T>]) -> Self {
        let settled = chunks.iter().map(|chunk| chunk.len()).sum();
        let branches = chunks.chunks(BRANCH).map(|branch| Arc::new(branch.to_vec())).collect();
        Self { branches: Arc::new(branches), settled, tail: Vec::new() }
    }
}

/// The last chunk, or a new one behind it if that is full; there is always one.
fn open_chunk<T: Clone>(branches: &mut Vec<Branch<T>>, chunk_len: usize) -> Option<&mut Chunk<T>> {
    let is_full = |chunk: &Chunk<T>| chunk.len() == chunk_len;
    if branches.last().is_none_or(|branch| branch.len() == BRANCH && branch.last().is_none_or(is_full)) {
        branches.push(Arc::default());
    }
    let branch = Arc::make_mut(branches.last_mut()?);
    if branch.last().is_none_or(is_full) {
        branch.push(Arc::default());
    }
    branch.last_mut()
}

/// Appends to a chunk; one that a clone shares is copied, with room for no more.
fn extend_chunk<T: Clone>(chunk: &mut Chunk<T>, values: &[T], chunk_len: usize) {
    let len = chunk.len() + values.len();
    if let Some(own) = Arc::get_mut(chunk) {
        if own.capacity() < len {
            // Small stores are ordinary: a chunk takes the room it needs, a full one no more.
            own.reserve_exact((len * 2).min(chunk_len) - own.len());
        }
        own.extend_from_slice(values);
    } else {
        *chunk = Arc::new([chunk, values].concat());
    }
}

impl<T: Binary + Clone, const N: usize> Binary for Column<T, N> {
    fn put(&self, out: &mut Vec<u8>) {
        put_len(self.len(), out);
        self.chunks().for_each(|chunk| T::put_all(chunk, out));
        T::put_all(&self.tail, out);
    }

    fn take(from: &mut Input<'_>) -> Option<Self> {
        let mut left = from.len()?;
        let mut chunks = Vec::new();
        while left > 0 {
            let chunk = T::take_all(left.min(N), from)?;
            left -= chunk.len();
            chunks.push(Arc::new(chunk));
        }
        Some(Self::of_chunks(&chunks))
    }
}

impl<T: Copy + Default, const N: usize> Column<T, N> {
    /// The value at `at`; the default past the end, which no caller asks for.
    #[must_use]
    pub fn at(&self, at: u32) -> T {
        debug_assert!((at as usize) < self.len(), "{at} is past the end of a column of {}", self.len());
        self.get(at as usize).copied().unwrap_or_default()
    }

    /// A column of `len` equal values.
    #[must_use]
    pub fn filled(len: usize, value: T) -> Self {
        let lens = (0..len.div_ceil(N)).map(|chunk| (len - chunk * N).min(N));
        Self::of_chunks(&lens.map(|len| Arc::new(vec![value; len])).collect::<Vec<_>>())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_keeps_what_the_original_changes() {
        let mut column: Column<u32, 4> = Column::default();
        (0..10).for_each(|n| column.push(n));
        let before = column.clone();
        column.set(5, 50);
        column.push(10);
        assert_eq!(before.iter().copied().collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
        assert_eq!(column.at(5), 50);
        assert_eq!(column.len(), 11);
        assert_eq!(column.get(11), None);
    }

    #[test]
    fn what_is_cut_off_can_be_appended_anew() {
        let mut column: Column<u32, 4> = Column::default();
        column.grow(10, &1);
        for len in [9, 8, 4, 5, 3, 0] {
            let before = column.clone();
            column.truncate(len);
            assert_eq!(column.len(), len.min(before.len()));
            assert_eq!(column.iter().count(), column.len());
            column.push(2);
            assert_eq!(column.get(column.len() - 1), Some(&2));
            assert_eq!(before.iter().count(), before.len());
        }
    }

    #[test]
    fn a_column_comes_back_from_its_bytes_and_grows_on() {
        for len in [0, 3, 4, 9] {
            let mut column: Column<u32, 4> = Column::default();
            (0..len).for_each(|n| column.push(n));
            let mut bytes = Vec::new();
            column.put(&mut bytes);
            let mut back = Column::<u32, 4>::take(&mut Input(&bytes)).unwrap();
            back.push(77);
            assert_eq!(back.iter().copied().collect::<Vec<_>>(), (0..len).chain([77]).collect::<Vec<_>>());
            assert!(Column::<u32, 4>::take(&mut Input(bytes.get(..bytes.len() - 1).unwrap())).is_none());
        }
    }

    /// Appends, changes and cuts at random over many branches: every clone stays what it was.
    #[test]
    fn equals_a_plain_vector_whatever_is_done_to_it() {
        let mut state = 7u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        let (mut plain, mut column) = (Vec::new(), Column::<u64, 4>::default());
        let mut kept = Vec::new();
        for step in 0..4_000u64 {
            match random(20) {
                0 => {
                    let len = plain.len() - random(plain.len().min(500) + 1);
                    plain.truncate(len);
                    column.truncate(len);
                }
                1..=6 if !plain.is_empty() => {
                    let at = random(plain.len());
                    *plain.get_mut(at).unwrap() = step;
                    column.set(at, step);
                }
                7 => kept.push((plain.clone(), column.clone())),
                _ => (0..random(90)).for_each(|n| {
                    plain.push(n as u64);
                    column.push(n as u64);
                }),
            }
            kept.truncate(40);
            assert_eq!(column.len(), plain.len());
            let at = random(plain.len() + 1);
            assert_eq!(column.get(at), plain.get(at));
        }
        assert!(column.branches.len() > 3, "{}", column.branches.len());
        for (plain, column) in kept.into_iter().chain([(plain, column)]) {
            assert!(column.iter().eq(&plain));
            let mut bytes = Vec::new();
            column.put(&mut bytes);
            let back = Column::<u64, 4>::take(&mut Input(&bytes)).unwrap();
            assert!((0..=plain.len()).all(|at| back.get(at) == plain.get(at)));
        }
    }

    #[test]
    fn an_append_copies_little_of_what_a_clone_shares() {
        let mut column: Column<u32, 4> = Column::default();
        column.grow(5_000, &1);
        let before = column.clone();
        column.push(2);
        assert!(Arc::ptr_eq(&before.branches, &column.branches));
        column.set(3, 7);
        let shared = before.branches.iter().zip(column.branches.iter()).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert_eq!(shared + 1, before.branches.len());
        let shared = before.chunks().zip(column.chunks()).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert_eq!(shared + 1, before.chunks().count());
    }

    #[test]
    fn a_filled_column_grows() {
        let mut column: Column<u32, 4> = Column::filled(6, 7);
        column.push(8);
        assert_eq!(column.iter().copied().collect::<Vec<_>>(), [7, 7, 7, 7, 7, 7, 8]);
    }
}
