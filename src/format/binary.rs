//! Values as bytes and back, for derived files that only this program reads: fixed widths, least byte first.
//!
//! Reading never fails loudly: bytes that are none give `None`, and what they were to speed up is made anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

use crate::model::{EventId, ReplicaId, TransactionId};

/// What can be written as bytes and read back.
pub trait Binary: Sized {
    /// Appends the bytes.
    fn put(&self, out: &mut Vec<u8>);

    /// Takes a value from the front; none if the bytes do not hold one.
    fn take(from: &mut Input<'_>) -> Option<Self>;

    /// Appends many values behind each other.
    fn put_all(all: &[Self], out: &mut Vec<u8>) {
        all.iter().for_each(|one| one.put(out));
    }

    /// Takes so many values from the front; `count` is not believed further than there are bytes.
    fn take_all(count: usize, from: &mut Input<'_>) -> Option<Vec<Self>> {
        let mut all = Vec::with_capacity(count.min(from.0.len()));
        for _ in 0..count {
            all.push(Self::take(from)?);
        }
        Some(all)
    }
}

/// Bytes that are still to be read.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// Takes so many bytes from the front.
    pub fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(front)
    }

    /// Takes a length that was written with [`put_len`].
    pub fn len(&mut self) -> Option<usize> {
        usize::try_from(u64::take(self)?).ok()
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Appends a length.
pub fn put_len(len: usize, out: &mut Vec<u8>) {
    (len as u64).put(out);
}

/// Implements [`Binary`] for a struct by its fields, in the order given.
macro_rules! binary_fields {
    ($name:ty { $($field:ident),* $(,)? }) => {
        impl $crate::format::binary::Binary for $name {
            fn put(&self, out: &mut Vec<u8>) {
                let Self { $($field),* } = self;
                $($crate::format::binary::Binary::put($field, out);)*
            }

            fn take(from: &mut $crate::format::binary::Input<'_>) -> Option<Self> {
                Some(Self { $($field: $crate::format::binary::Binary::take(from)?),* })
            }
        }
    };
}
pub(crate) use binary_fields;

macro_rules! binary_integers {
    ($($integer:ty),*) => {$(
        impl Binary for $integer {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            fn take(from: &mut Input<'_>) -> Option<Self> {
                let (bytes, rest) = from.0.split_first_chunk()?;
                from.0 = rest;
                Some(Self::from_le_bytes(*bytes))
            }

            // In one piece, as columns of a million are.
            fn put_all(all: &[Self], out: &mut Vec<u8>) {
                let start = out.len();
                out.resize(start + size_of_val(all), 0);
                let room = out.get_mut(start..).unwrap_or_default();
                for (place, one) in room.chunks_exact_mut(size_of::<Self>()).zip(all) {
                    place.copy_from_slice(&one.to_le_bytes());
                }
            }

            fn take_all(count: usize, from: &mut Input<'_>) -> Option<Vec<Self>> {
                let bytes = from.bytes(count.checked_mul(size_of::<Self>())?)?;
                let (values, _) = bytes.as_chunks();
                Some(values.iter().map(|value| Self::from_le_bytes(*value)).collect())
            }
        }
    )*};
}
binary_integers!(u8, u16, u32, u64, i64);

impl<const N: usize> Binary for [u8; N] {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }

    fn take(from: &mut Input<'_>) -> Option<Self> {
        let (bytes, rest) = from.0.split_first_chunk()?;
        from.0 = rest;
        Some(*bytes)
    }

    fn put_all(all: &[Self], out: &mut Vec<u8>) {
        out.extend_from_slice(all.as_flattened());
    }

    fn take_all(count: usize, from: &mut Input<'_>) -> Option<Vec<Self>> {
        let bytes = from.bytes(count.checked_mul(N)?)?;
        Some(bytes.as_chunks().0.to_vec())
    }
}

impl Binary for [u32; 3] {
    fn put(&self, out: &mut Vec<u8>) {
        u32::put_all(self, out);
    }

    fn take(from: &mut Input<'_>) -> Option<Self> {
        Some([u32::take(from)?, u32::take(from)?, u32::take(from)?])
    }
}

impl Binary for bool {
    fn put(&self, out: &mut Vec<u8>) {
        u8::from(*self).put(out);
    }

    fn take(from: &mut Input<'_>) -> Option<Self> {
        match u8::take(from)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl<T: Binary> Binary for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }

    fn take(from: &mut Input<'_>) -> Option<Self> {
        if bool::take(from)? { T::take(from).map(Some) } else { Some(None) }
    }
}

impl<T: Binary> Binary for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        put_len(self.len(), out);
        T::put_all(self, out);
    }

    fn take(from: &mut Input<'_>) -> Option<Self> {
        let len = from.len()?;
        T::take_all(len, from)
    }
}

impl<T: Binary> Binary for Box<[T]> {
    fn put(&self, out: &mut Vec<u8>) {
        put_len(self.len(), out);
        T::put_all(self, out);
    }

    fn take(from: &mut Input<'_>) -> Option<Self> {
        Vec::take(from).map(Vec::into_boxed_slice)
    }
}

impl<T: Binary> Binary for Arc<[T]> {
    fn put(&self, out: &mut Vec<u8>) {
        put_len(self.len(), out);
        T::put_all(self, out);
    }

    fn take(from: &mut Input<'_>) -> Option<Self> {
        Vec::take(from).map(Self::from)
    }
}

impl<T: Binary> Binary for Arc<T> {
    fn put(&self, out: &mut Vec<u8>) {
        T::put(self, out);
    }

    fn take(from: &mut Input<'_>) -> Option<Self> {
        T::take(from).map(Self::new)
    }
}

impl Binary for String {
    fn put(&self, out: &mut Vec<u8>) {
        put_len(self.len(), out);
        out.extend_from_slice(self.as_bytes());
    }

    fn take(from: &mut Input<'_>) -> Option<Self> {
        let len = from.len()?;
        // Copied, and then looked at: what is read may lie in a mapped file, which another program can change in between.
        String::from_utf8(from.bytes(len)?.to_vec()).ok()
    }
}

impl Binary for Box<str> {
    fn put(&self, out: &mut Vec<u8>) {
        put_len(self.len(), out);
        out.extend_from_slice(self.as_bytes());
    }

    fn take(from: &mut Input<'_>) -> Option<Self> {
        String::take(from).map(String::into_boxed_str)
    }
}

impl Binary for Arc<str> {
    fn put(&self, out: &mut Vec<u8>) {
        put_len(self.len(), out);
        out.extend_from_slice(self.as_bytes());
    }

    fn take(from: &mut Input<'_>) -> Option<Self> {
        String::take(from).map(Self::from)
    }
}

impl<A: Binary, B: Binary> Binary for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }

    fn take(from: &mut Input<'_>) -> Option<Self> {
        Some((A::take(from)?, B::take(from)?))
    }
}

impl<K: Binary + Ord, V: Binary> Binary for BTreeMap<K, V> {
    fn put(&self, out: &mut Vec<u8>) {
        put_len(self.len(), out);
        for (key, value) in self {
            key.put(out);
            value.put(out);
        }
    }

    fn take(from: &mut Input<'_>) -> Option<Self> {
        Vec::take(from).map(|all: Vec<(K, V)>| all.into_iter().collect())
    }
}

impl<T: Binary + Ord> Binary for BTreeSet<T> {
    fn put(&self, out: &mut Vec<u8>) {
        put_len(self.len(), out);
        self.iter().for_each(|one| one.put(out));
    }

    fn take(from: &mut Input<'_>) -> Option<Self> {
        Vec::take(from).map(|all: Vec<T>| all.into_iter().collect())
    }
}

macro_rules! binary_ids {
    ($($id:ident),*) => {$(
        impl Binary for $id {
            fn put(&self, out: &mut Vec<u8>) {
                self.0.as_bytes().put(out);
            }

            fn take(from: &mut Input<'_>) -> Option<Self> {
                <[u8; 16]>::take(from).map(|bytes| Self(Uuid::from_bytes(bytes)))
            }
        }
    )*};
}
binary_ids!(EventId, ReplicaId, TransactionId);

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Everything {
        numbers: (u8, u16),
        wide: (u32, (u64, i64)),
        words: Vec<[u32; 3]>,
        ids: Vec<[u8; 16]>,
        texts: (String, (Box<str>, Arc<str>)),
        flags: Vec<Option<bool>>,
        lists: (Box<[u32]>, Arc<[u64]>),
        shared: Arc<Vec<i64>>,
        map: BTreeMap<u32, BTreeSet<String>>,
        id: TransactionId,
    }
    binary_fields!(Everything { numbers, wide, words, ids, texts, flags, lists, shared, map, id });

    fn sample() -> Everything {
        Everything {
            numbers: (7, u16::MAX),
            wide: (1 << 31, (u64::MAX, -3)),
            words: vec![[1, 2, 3], [u32::MAX, 0, 9]],
            ids: vec![[7; 16], [8; 16]],
            texts: ("ströme/1".to_owned(), ("".into(), "a\nb".into())),
            flags: vec![None, Some(true), Some(false)],
            lists: ([1, 2].into(), [3].into()),
            shared: Arc::new(vec![i64::MIN]),
            map: BTreeMap::from([(3, BTreeSet::from(["x".to_owned(), String::new()])), (4, BTreeSet::new())]),
            id: TransactionId(Uuid::from_u128(5)),
        }
    }

    #[test]
    fn values_come_back_and_no_part_of_the_bytes_is_taken_for_all() {
        let mut bytes = Vec::new();
        sample().put(&mut bytes);
        let mut input = Input(&bytes);
        assert_eq!(Everything::take(&mut input), Some(sample()));
        assert!(input.is_empty());
        for cut in 0..bytes.len() {
            assert_eq!(Everything::take(&mut Input(&bytes[..cut])), None, "{cut}");
        }
    }

    #[test]
    fn a_length_that_lies_allocates_nothing() {
        let mut bytes = Vec::new();
        put_len(usize::MAX, &mut bytes);
        bytes.extend_from_slice(b"abc");
        assert_eq!(Vec::<u64>::take(&mut Input(&bytes)), None);
        assert_eq!(Vec::<String>::take(&mut Input(&bytes)), None);
        assert_eq!(Vec::<[u8; 16]>::take(&mut Input(&bytes)), None);
        assert_eq!(String::take(&mut Input(&bytes)), None);
    }
}
