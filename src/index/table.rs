//! A persistent hash table of numbers: the keys stay where they are, only their numbers are hashed in.

use std::hash::{BuildHasher, RandomState};

use crate::dag::column::Column;

const EMPTY: u32 = u32::MAX;
const SLOTS_MIN: usize = 16;

/// Finds a number by a key that the caller keeps; 4 bytes a slot, at most seven eighths full.
///
/// The hash is seeded anew for each table, so no input can be made to collide.
#[derive(Clone, Debug)]
pub struct Table {
    slots: Column<u32, 1024>,
    len: usize,
    seed: RandomState,
}

impl Default for Table {
    fn default() -> Self {
        Self { slots: Column::filled(SLOTS_MIN, EMPTY), len: 0, seed: RandomState::new() }
    }
}

impl Table {
    /// A table with room for so many numbers before it grows.
    #[must_use]
    pub fn with_room(numbers: usize) -> Self {
        let slots = (numbers.max(SLOTS_MIN / 2) * 8 / 7 + 1).next_power_of_two();
        Self { slots: Column::filled(slots, EMPTY), ..Self::default() }
    }

    /// The hash of a key for this table.
    #[must_use]
    pub fn hash(&self, key: &[u8]) -> u64 {
        self.seed.hash_one(key)
    }

    /// The first number whose key `is` the one asked for.
    pub fn find(&self, hash: u64, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            let number = self.slots.at(slot as u32);
            if number == EMPTY {
                return None;
            }
            if is(number) {
                return Some(number);
            }
            slot = (slot + 1) & mask;
        }
    }

    /// Adds a number under its key's hash; `hash_of` gives the hashes of those already here when the table grows.
    pub fn insert(&mut self, hash: u64, number: u32, hash_of: impl Fn(&Self, u32) -> u64) {
        if (self.len + 1) * 8 > self.slots.len() * 7 {
            let old = std::mem::replace(&mut self.slots, Column::filled(0, EMPTY));
            self.slots = Column::filled(old.len() * 2, EMPTY);
            for &held in old.iter().filter(|&&held| held != EMPTY) {
                self.place(hash_of(self, held), held);
            }
        }
        self.place(hash, number);
        self.len += 1;
    }

    fn place(&mut self, hash: u64, number: u32) {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        while self.slots.at(slot as u32) != EMPTY {
            slot = (slot + 1) & mask;
        }
        self.slots.set(slot, number);
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn finds_what_was_inserted_and_nothing_else() {
        let key = |n: u32| n.wrapping_mul(2_654_435_761).to_be_bytes();
        let mut table = Table::default();
        for n in 0..1_000 {
            let hash = table.hash(&key(n));
            table.insert(hash, n, |table, held| table.hash(&key(held)));
        }
        for n in 0..2_000 {
            let found = table.find(table.hash(&key(n)), |held| key(held) == key(n));
            assert_eq!(found, (n < 1_000).then_some(n));
        }
    }
}
