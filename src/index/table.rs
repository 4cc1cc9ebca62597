//! A persistent hash table of numbers: the keys stay where they are, only their numbers are hashed in.

use std::hash::{BuildHasher, Hasher as _, RandomState};

use siphasher::sip::SipHasher13;

use crate::dag::column::Column;
use crate::format::binary::binary_fields;

/// The tag of a slot that holds nothing; those of hashes have their highest bit set.
const EMPTY: u8 = 0;
const SLOTS_MIN: usize = 16;

/// Finds a number by a key that the caller keeps; 5 bytes a slot, at most three quarters full.
///
/// Seven bits of each hash stand beside the numbers, so a key that is not here is told apart without a look at other keys. The hash
/// is seeded anew for each table, so no input can be made to collide; the seed is saved with the table.
#[derive(Clone, Debug)]
pub struct Table {
    numbers: Column<u32, 1024>,
    tags: Column<u8, 1024>,
    len: u64,
    seed: (u64, u64),
}
binary_fields!(Table { numbers, tags, len, seed });

impl Default for Table {
    fn default() -> Self {
        Self::of_slots(SLOTS_MIN)
    }
}

impl Table {
    fn of_slots(slots: usize) -> Self {
        let random = RandomState::new();
        let seed = (random.hash_one(0), random.hash_one(1));
        Self { numbers: Column::filled(slots, 0), tags: Column::filled(slots, EMPTY), len: 0, seed }
    }

    /// A table with room for so many numbers before it grows.
    #[must_use]
    pub fn with_room(numbers: usize) -> Self {
        Self::of_slots((numbers.max(SLOTS_MIN / 2) * 4 / 3 + 1).next_power_of_two())
    }

    /// The hash of a key for this table.
    #[must_use]
    pub fn hash(&self, key: &[u8]) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.seed.0, self.seed.1);
        hasher.write(key);
        hasher.finish()
    }

    /// How many numbers it holds.
    #[cfg(test)]
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The first number whose key `is` the one asked for.
    pub fn find(&self, hash: u64, is: impl FnMut(u32) -> bool) -> Option<u32> {
        Some(self.numbers.at(self.find_slot(hash, is)? as u32))
    }

    /// Puts another number in the place of the first that `is` it, which has the same key; gives whether there was one.
    pub fn replace(&mut self, hash: u64, number: u32, is: impl FnMut(u32) -> bool) -> bool {
        let slot = self.find_slot(hash, is);
        if let Some(slot) = slot {
            self.numbers.set(slot, number);
        }
        slot.is_some()
    }

    fn find_slot(&self, hash: u64, mut is: impl FnMut(u32) -> bool) -> Option<usize> {
        let mask = self.tags.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            match self.tags.at(slot as u32) {
                EMPTY => return None,
                tag if tag == tag_of(hash) && is(self.numbers.at(slot as u32)) => return Some(slot),
                _ => {}
            }
            slot = (slot + 1) & mask;
        }
    }

    /// Adds a number under its key's hash; `hash_of` gives the hashes of those already here when the table grows.
    pub fn insert(&mut self, hash: u64, number: u32, hash_of: impl Fn(&Self, u32) -> u64) {
        if (self.len as usize + 1) * 4 > self.tags.len() * 3 {
            let slots = self.tags.len() * 2;
            let (numbers, tags) = (std::mem::take(&mut self.numbers), std::mem::take(&mut self.tags));
            (self.numbers, self.tags) = (Column::filled(slots, 0), Column::filled(slots, EMPTY));
            for (&held, _) in numbers.iter().zip(tags.iter()).filter(|&(_, &tag)| tag != EMPTY) {
                self.place(hash_of(self, held), held);
            }
        }
        self.place(hash, number);
        self.len += 1;
    }

    fn place(&mut self, hash: u64, number: u32) {
        let mask = self.tags.len() - 1;
        let mut slot = hash as usize & mask;
        while self.tags.at(slot as u32) != EMPTY {
            slot = (slot + 1) & mask;
        }
        self.tags.set(slot, tag_of(hash));
        self.numbers.set(slot, number);
    }
}

fn tag_of(hash: u64) -> u8 {
    (hash >> 57) as u8 | 0x80
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::Table;
    use crate::format::binary::{Binary as _, Input};

    #[test]
    fn finds_what_was_inserted_and_nothing_else() {
        let key = |n: u32| n.wrapping_mul(2_654_435_761).to_be_bytes();
        let mut table = Table::default();
        for n in 0..1_000 {
            let hash = table.hash(&key(n));
            table.insert(hash, n, |table, held| table.hash(&key(held)));
        }
        let mut bytes = Vec::new();
        table.put(&mut bytes);
        let saved = Table::take(&mut Input(&bytes)).unwrap();
        for table in [table, saved] {
            let mut looks = 0;
            for n in 0..2_000 {
                let found = table.find(table.hash(&key(n)), |held| {
                    looks += 1;
                    key(held) == key(n)
                });
                assert_eq!(found, (n < 1_000).then_some(n));
            }
            // Keys are hardly ever looked at in vain.
            assert!(looks < 1_200, "{looks}");
        }
    }
}
