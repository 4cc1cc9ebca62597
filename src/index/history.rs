//! Which transactions came and went from one numbered state of the store to the next, so that the number names a moment.
//!
//! A past state is the present one without what came since; so nothing needs to be known of what was here all along. The numbers go on
//! over restarts, since the saved index carries them.

use std::collections::{HashMap, HashSet};

use crate::format::binary::binary_fields;
use crate::model::TransactionId;

/// So many comings and goings are remembered; with more, the oldest numbers are forgotten.
const MENTIONS_MAX: usize = 1 << 17;

/// What came and went between a state and the one before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The number of the state after it, from 1 on. Number 1 is the end of the first reading; what came with it is only what no saved
    /// index remembers.
    pub number: u64,
    /// What came.
    pub came: Vec<TransactionId>,
    /// What went.
    pub went: Vec<TransactionId>,
}
binary_fields!(Change { number, came, went });

/// The numbers that cannot be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// The state is still to come; with the number of the last one.
    Beyond(u64),
    /// It is forgotten; with the oldest number that is remembered.
    Forgotten(u64),
}

/// The changes that are remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The number of the newest state; 0 before the first reading has ended.
    number: u64,
    /// The oldest state of which is known what came since.
    oldest: u64,
    /// What came (true) and went by the state of that number, oldest first.
    mentions: Vec<(u64, (TransactionId, bool))>,
    /// What will make the next state.
    next: Change,
}
binary_fields!(History { number, oldest, mentions, next });

impl History {
    /// The number of the newest state; 0 before the first reading has ended.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Notes what came into the views and what left them, for the next state. What is read for the first time was there before.
    pub fn note(&mut self, came: impl IntoIterator<Item = TransactionId>, went: impl IntoIterator<Item = TransactionId>) {
        if self.number > 0 {
            self.next.came.extend(came);
            self.next.went.extend(went);
        }
    }

    /// Ends the first reading; `unsaved` is what no saved index remembers of what was read.
    pub fn begin(&mut self, unsaved: Vec<TransactionId>) -> Change {
        (self.number, self.oldest) = (1, 1);
        Change { number: 1, came: unsaved, went: Vec::new() }
    }

    /// Gives what was noted since the last state a number; none if nothing came or went.
    pub fn close(&mut self) -> Option<Change> {
        let Change { mut came, mut went, .. } = std::mem::take(&mut self.next);
        if !came.is_empty() && !went.is_empty() {
            // A file that was replaced went and came.
            let (here, gone): (HashSet<_>, HashSet<_>) = (came.iter().copied().collect(), went.iter().copied().collect());
            came.retain(|id| !gone.contains(id));
            went.retain(|id| !here.contains(id));
        }
        if self.number == 0 || (came.is_empty() && went.is_empty()) {
            return None;
        }
        let change = Change { number: self.number + 1, came, went };
        self.follow(&change);
        Some(change)
    }

    /// Goes on to a state that another process numbered.
    pub fn follow(&mut self, change: &Change) {
        self.number = change.number;
        self.next = Change::default();
        if change.number == 1 {
            (self.oldest, self.mentions) = (1, Vec::new());
            return;
        }
        let mention = |came| move |&id: &TransactionId| (change.number, (id, came));
        self.mentions.extend(change.came.iter().map(mention(true)).chain(change.went.iter().map(mention(false))));
        if self.mentions.len() > MENTIONS_MAX {
            let last = self.mentions.len() - MENTIONS_MAX / 2;
            self.oldest = self.mentions.get(last - 1).map_or(change.number, |(number, _)| *number);
            let kept = self.mentions.partition_point(|(number, _)| *number <= self.oldest);
            self.mentions.drain(..kept);
        }
    }

    /// The transactions that came since the state of this number, of those that are in the newest.
    ///
    /// # Errors
    /// [`Unknown`], for a number that is not given yet or no longer remembered.
    pub fn came_since(&self, number: u64) -> Result<HashSet<TransactionId>, Unknown> {
        if number > self.number {
            return Err(Unknown::Beyond(self.number));
        }
        if number < self.oldest {
            return Err(Unknown::Forgotten(self.oldest));
        }
        // Of several mentions the first tells how it was before.
        let mut first = HashMap::new();
        let since = self.mentions.partition_point(|(of, _)| *of <= number);
        for (_, (id, came)) in self.mentions.get(since..).unwrap_or_default() {
            first.entry(*id).or_insert(*came);
        }
        Ok(first.into_iter().filter(|(_, came)| *came).map(|(id, _)| id).collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn id(n: u128) -> TransactionId {
        TransactionId(Uuid::from_u128(n))
    }

    fn step(history: &mut History, came: &[u128], went: &[u128]) -> Option<Change> {
        history.note(came.iter().copied().map(id), went.iter().copied().map(id));
        history.close()
    }

    /// What was here at each number, from what was ever noted.
    #[test]
    fn every_number_has_what_was_here_then() {
        let mut history = History::default();
        assert_eq!(step(&mut history, &[1, 2], &[]), None, "all of it was there before");
        history.begin(vec![id(2)]);
        assert_eq!((history.number(), history.came_since(1)), (1, Ok(HashSet::new())));
        step(&mut history, &[3, 4], &[]);
        step(&mut history, &[], &[3, 1]);
        assert_eq!(step(&mut history, &[], &[]), None);
        assert_eq!(step(&mut history, &[2], &[2]), None, "one that was replaced");
        step(&mut history, &[3, 5], &[2]);
        step(&mut history, &[1], &[]);
        assert_eq!(history.number(), 5);
        // 1 was here at 2 and back at 5; 3 came at 2, went at 3, came again at 4.
        let since = |number| history.came_since(number).unwrap();
        let ids = |list: &[u128]| list.iter().copied().map(id).collect::<HashSet<_>>();
        assert_eq!(since(1), ids(&[3, 4, 5]));
        assert_eq!(since(2), ids(&[5]));
        assert_eq!(since(3), ids(&[1, 3, 5]));
        assert_eq!(since(4), ids(&[1]));
        assert_eq!(since(5), ids(&[]));
        assert_eq!(history.came_since(6), Err(Unknown::Beyond(5)));
        assert_eq!(history.came_since(0), Err(Unknown::Forgotten(1)));
    }

    #[test]
    fn too_many_forget_the_oldest_numbers_and_no_half_of_one() {
        let mut history = History::default();
        history.begin(Vec::new());
        step(&mut history, &[1], &[]);
        let many: Vec<u128> = (10..10 + MENTIONS_MAX as u128).collect();
        step(&mut history, &many, &[]);
        assert_eq!(history.came_since(2), Err(Unknown::Forgotten(3)));
        assert_eq!(history.came_since(3), Ok(HashSet::new()));
        step(&mut history, &[2], &[]);
        assert_eq!(history.came_since(3).unwrap(), HashSet::from([id(2)]));
    }

    #[test]
    fn what_is_followed_is_what_was_closed() {
        let (mut ours, mut theirs) = (History::default(), History::default());
        theirs.follow(&ours.begin(vec![id(9)]));
        for (came, went) in [(&[1, 2][..], &[][..]), (&[], &[1]), (&[1, 3], &[2])] {
            theirs.follow(&step(&mut ours, came, went).unwrap());
        }
        assert_eq!(ours, theirs);
    }
}
