//! Which transactions came and went from one numbered state of the store to the next, so that the number names a moment.
//!
//! A past state is the present one without what came since; so nothing needs to be known of what was here all along. The numbers go on
//! over restarts, since the saved index carries them.

use std::collections::{HashMap, HashSet};

use crate::format::binary::binary_fields;
use crate::model::TransactionId;

/// So many comings and goings are remembered, and always the last change; with more, the oldest numbers are forgotten.
const MENTIONS_MAX: usize = 1 << 17;

/// So many numbers are set apart at once for states of which nobody may ever learn.
const SET_APART: u64 = 1 << 10;

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

/// Whether a transaction came or went by the state of a number.
type Mention = (u64, (TransactionId, bool));

/// The changes that are remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The number of the newest state; 0 before the first reading has ended.
    number: u64,
    /// The oldest state of which is known what came since.
    oldest: u64,
    /// What came (true) and went, oldest first.
    mentions: Vec<Mention>,
    /// What came (true) and went since the newest state, in its order.
    next: Vec<(TransactionId, bool)>,
    /// Up to here numbers may have been shown that were never saved.
    set_apart: u64,
}
binary_fields!(History { number, oldest, mentions, next, set_apart });

impl History {
    /// The number of the newest state; 0 before the first reading has ended.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Notes what came into the views and what left them, for the next state. What is read for the first time was there before.
    pub fn note(&mut self, came: impl IntoIterator<Item = TransactionId>, went: impl IntoIterator<Item = TransactionId>) {
        if self.number > 0 {
            self.next.extend(went.into_iter().map(|id| (id, false)));
            self.next.extend(came.into_iter().map(|id| (id, true)));
        }
    }

    /// What was noted since the newest state is not so; gives it, as it was before for each.
    pub fn take_back(&mut self) -> HashMap<TransactionId, bool> {
        let mut before = HashMap::new();
        for (id, came) in std::mem::take(&mut self.next) {
            before.entry(id).or_insert(!came);
        }
        before
    }

    /// The transactions of which something was noted since the newest state.
    pub fn pending(&self) -> impl Iterator<Item = TransactionId> + '_ {
        self.next.iter().map(|(id, _)| *id)
    }

    /// Ends the first reading; `unsaved` is what no saved index remembers of what was read.
    pub fn begin(&mut self, unsaved: Vec<TransactionId>) -> Change {
        (self.number, self.oldest) = (1, 1);
        Change { number: 1, came: unsaved, went: Vec::new() }
    }

    /// Gives what was noted since the last state a number; none if nothing came or went.
    pub fn close(&mut self) -> Option<Change> {
        let mut change = Change { number: self.number + 1, ..Change::default() };
        if self.next.iter().all(|(_, came)| *came) {
            change.came = std::mem::take(&mut self.next).into_iter().map(|(id, _)| id).collect();
        }
        let mut ends: HashMap<TransactionId, (bool, bool)> = HashMap::new();
        for &(id, came) in &self.next {
            ends.entry(id).or_insert((came, came)).1 = came;
        }
        for (id, _) in std::mem::take(&mut self.next) {
            // Of one that went and came nothing changed; another is told once.
            match ends.remove(&id) {
                Some((true, true)) => change.came.push(id),
                Some((false, false)) => change.went.push(id),
                _ => {}
            }
        }
        if self.number == 0 || (change.came.is_empty() && change.went.is_empty()) {
            return None;
        }
        self.follow(&change);
        Some(change)
    }

    /// Goes on to a state that another process numbered.
    pub fn follow(&mut self, change: &Change) {
        self.number = change.number;
        self.next = Vec::new();
        if change.number == 1 {
            (self.oldest, self.mentions) = (1, Vec::new());
            return;
        }
        let mention = |came| move |&id: &TransactionId| (change.number, (id, came));
        self.mentions.extend(change.came.iter().map(mention(true)).chain(change.went.iter().map(mention(false))));
        if self.mentions.len() > MENTIONS_MAX {
            // No part of a change, and not the last one.
            let last = self.mentions.len() - MENTIONS_MAX / 2;
            self.oldest = self.mentions.get(last - 1).map_or(0, |(number, _)| *number).min(change.number - 1);
            let kept = self.mentions.partition_point(|(number, _)| *number <= self.oldest);
            self.mentions.drain(..kept);
        }
    }

    /// Sets numbers apart that may be shown from now on, where those that are do not reach far; gives up to which.
    pub fn set_apart(&mut self) -> Option<u64> {
        if self.number + SET_APART / 2 <= self.set_apart {
            return None;
        }
        self.set_apart = self.number + SET_APART;
        Some(self.set_apart)
    }

    /// Takes over up to which number another process may have shown states; its own number where it ended well.
    pub fn follow_set_apart(&mut self, until: u64) {
        self.set_apart = until;
    }

    /// Passes over every number that may have been shown and not saved; gives the state under its new number, if there was any.
    pub fn pass_over(&mut self) -> Option<Change> {
        if self.number == 0 || self.set_apart <= self.number {
            return None;
        }
        self.number = self.set_apart;
        Some(Change { number: self.number, ..Change::default() })
    }

    /// What came and went since the state of this number.
    ///
    /// # Errors
    /// [`Unknown`], for a number that is not given yet or no longer remembered.
    pub fn since(&self, number: u64) -> Result<Vec<Mention>, Unknown> {
        if number > self.number {
            return Err(Unknown::Beyond(self.number));
        }
        if number < self.oldest {
            return Err(Unknown::Forgotten(self.oldest));
        }
        let since = self.mentions.partition_point(|(of, _)| *of <= number);
        Ok(self.mentions.get(since..).unwrap_or_default().to_vec())
    }
}

/// The transactions that were not here before all that came and went ([`History::since`]), of those that are here after it.
#[must_use]
pub fn came_by(mentions: &[Mention]) -> HashSet<TransactionId> {
    // Of several mentions the first tells how it was before.
    let mut first = HashMap::new();
    for (_, (id, came)) in mentions {
        first.entry(*id).or_insert(*came);
    }
    first.into_iter().filter(|(_, came)| *came).map(|(id, _)| id).collect()
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
        assert_eq!((history.number(), history.since(1)), (1, Ok(Vec::new())));
        step(&mut history, &[3, 4], &[]);
        step(&mut history, &[], &[3, 1]);
        assert_eq!(step(&mut history, &[], &[]), None);
        assert_eq!(step(&mut history, &[2], &[2]), None, "one that was replaced");
        step(&mut history, &[3, 5], &[2]);
        step(&mut history, &[1], &[]);
        assert_eq!(history.number(), 5);
        // 1 was here at 2 and back at 5; 3 came at 2, went at 3, came again at 4.
        let since = |number| came_by(&history.since(number).unwrap());
        let ids = |list: &[u128]| list.iter().copied().map(id).collect::<HashSet<_>>();
        assert_eq!(since(1), ids(&[3, 4, 5]));
        assert_eq!(since(2), ids(&[5]));
        assert_eq!(since(3), ids(&[1, 3, 5]));
        assert_eq!(since(4), ids(&[1]));
        assert_eq!(since(5), ids(&[]));
        assert_eq!(history.since(6), Err(Unknown::Beyond(5)));
        assert_eq!(history.since(0), Err(Unknown::Forgotten(1)));
    }

    #[test]
    fn too_many_forget_the_oldest_numbers_and_never_the_last_change() {
        let mut history = History::default();
        history.begin(Vec::new());
        step(&mut history, &[1], &[]);
        let many: Vec<u128> = (10..10 + MENTIONS_MAX as u128).collect();
        step(&mut history, &many, &[]);
        assert_eq!(history.since(1), Err(Unknown::Forgotten(2)));
        assert_eq!(came_by(&history.since(2).unwrap()).len(), MENTIONS_MAX, "what a pull brought, however much");
        step(&mut history, &[2], &[]);
        assert_eq!(history.since(2), Err(Unknown::Forgotten(3)));
        assert_eq!(came_by(&history.since(3).unwrap()), HashSet::from([id(2)]));
    }

    #[test]
    fn the_first_and_the_last_of_what_was_noted_count() {
        let mut history = History::default();
        history.begin(Vec::new());
        let note = |history: &mut History, all: &[bool]| {
            all.iter().for_each(|&came| history.note(came.then_some(id(1)), (!came).then_some(id(1))));
            history.close().map(|change| (change.came.len(), change.went.len()))
        };
        assert_eq!(note(&mut history, &[true, false]), None);
        assert_eq!(note(&mut history, &[true, false, true]), Some((1, 0)));
        assert_eq!(note(&mut history, &[false, true]), None);
        assert_eq!(note(&mut history, &[false, true, false]), Some((0, 1)));
    }

    #[test]
    fn numbers_that_may_have_been_shown_are_given_to_nothing_else() {
        let mut history = History::default();
        history.begin(Vec::new());
        let until = history.set_apart().unwrap();
        assert_eq!(history.set_apart(), None);
        (0..2_000).for_each(|n| {
            step(&mut history, &[n], &[]);
            history.set_apart();
            assert!(history.number() + SET_APART / 4 < history.set_apart);
        });
        let mut next = history.clone();
        let passed = next.pass_over().unwrap();
        assert!(passed.number > until && passed.number == next.number());
        let mut well = history.clone();
        well.follow_set_apart(history.number());
        assert_eq!(well.pass_over(), None);
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
