//! A persistent vector in chunks: cloning shares every chunk, a change copies only the chunk it touches.

use std::sync::Arc;

use crate::format::binary::{Binary, Input, put_len};

/// A vector whose clones share their chunks of `N` values; published epochs keep old clones unchanged.
#[derive(Debug)]
pub struct Column<T, const N: usize = 4096> {
    chunks: Vec<Arc<Vec<T>>>,
    len: usize,
}

impl<T, const N: usize> Clone for Column<T, N> {
    fn clone(&self) -> Self {
        Self { chunks: self.chunks.clone(), len: self.len }
    }
}

impl<T, const N: usize> Default for Column<T, N> {
    fn default() -> Self {
        Self { chunks: Vec::new(), len: 0 }
    }
}

impl<T: Clone, const N: usize> Column<T, N> {
    /// The number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value at `at`, or none past the end.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<&T> {
        self.chunks.get(at / N)?.get(at % N)
    }

    /// Appends a value.
    pub fn push(&mut self, value: T) {
        match self.chunks.last_mut() {
            Some(last) if last.len() < N => Arc::make_mut(last).push(value),
            _ => {
                // Small stores are ordinary: a chunk takes the room it needs, a full one no more.
                let mut chunk = Vec::with_capacity(if self.chunks.is_empty() { 4 } else { N });
                chunk.push(value);
                self.chunks.push(Arc::new(chunk));
            }
        }
        self.len += 1;
    }

    /// The value at `at` for a change in place; copies its chunk if a clone shares it.
    pub fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        Arc::make_mut(self.chunks.get_mut(at / N)?).get_mut(at % N)
    }

    /// Replaces the value at `at`; does nothing past the end.
    pub fn set(&mut self, at: usize, value: T) {
        if let Some(slot) = self.get_mut(at) {
            *slot = value;
        }
    }

    /// Cuts off what lies behind the first `len` values.
    pub fn truncate(&mut self, len: usize) {
        if len >= self.len {
            return;
        }
        self.chunks.truncate(len.div_ceil(N));
        if let Some(last) = self.chunks.last_mut()
            && !len.is_multiple_of(N)
        {
            Arc::make_mut(last).truncate(len % N);
        }
        self.len = len;
    }

    /// Appends copies of a value until there are `len`.
    pub fn grow(&mut self, len: usize, value: &T) {
        while self.len < len {
            self.push(value.clone());
        }
    }

    /// Every value in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }
}

impl<T: Binary + Clone, const N: usize> Binary for Column<T, N> {
    fn put(&self, out: &mut Vec<u8>) {
        put_len(self.len, out);
        self.chunks.iter().for_each(|chunk| T::put_all(chunk, out));
    }

    fn take(from: &mut Input<'_>) -> Option<Self> {
        let len = from.len()?;
        let mut chunks = Vec::new();
        let mut left = len;
        while left > 0 {
            let chunk = T::take_all(left.min(N), from)?;
            left -= chunk.len();
            chunks.push(Arc::new(chunk));
        }
        Some(Self { chunks, len })
    }
}

impl<T: Copy + Default, const N: usize> Column<T, N> {
    /// The value at `at`; the default past the end, which no caller asks for.
    #[must_use]
    pub fn at(&self, at: u32) -> T {
        debug_assert!((at as usize) < self.len, "{at} is past the end of a column of {}", self.len);
        self.get(at as usize).copied().unwrap_or_default()
    }

    /// A column of `len` equal values.
    #[must_use]
    pub fn filled(len: usize, value: T) -> Self {
        let mut chunks = Vec::with_capacity(len.div_ceil(N));
        let mut rest = len;
        while rest > 0 {
            let take = rest.min(N);
            chunks.push(Arc::new(vec![value; take]));
            rest -= take;
        }
        Self { chunks, len }
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

    #[test]
    fn a_filled_column_grows() {
        let mut column: Column<u32, 4> = Column::filled(6, 7);
        column.push(8);
        assert_eq!(column.iter().copied().collect::<Vec<_>>(), [7, 7, 7, 7, 7, 7, 8]);
    }
}
