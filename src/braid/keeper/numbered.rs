//! The numbers of epochs, by which `at/epoch:N` finds them: one for each set of transactions that was shown, over restarts too.
//!
//! The saved index carries them. What its records leave out, the files that have something to report, is read at the next start and did
//! not come then.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::index::Index;
use crate::index::history::{Change, History};
use crate::index::saved::Record;
use crate::model::TransactionId;

/// What time travel reads while the keeper writes it.
pub(in crate::braid) type SharedHistory = Arc<Mutex<History>>;

/// The history, and what is still to be found as the last process left it.
#[derive(Debug, Default)]
pub(in crate::braid) struct Numbered {
    history: SharedHistory,
    /// What the newest number stands for otherwise than the index that was taken over: whether it was shown. It is yet to be read or yet to
    /// be missed.
    expected: HashMap<TransactionId, bool>,
}

/// Locks it; a panic elsewhere leaves it as it was between two changes.
pub(in crate::braid) fn lock(history: &SharedHistory) -> MutexGuard<'_, History> {
    history.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Numbered {
    pub(super) fn history(&self) -> MutexGuard<'_, History> {
        lock(&self.history)
    }

    pub(in crate::braid) fn share(&self) -> SharedHistory {
        Arc::clone(&self.history)
    }

    /// Goes on with the numbers of the last process: those of the base that was taken over, and what was noted since.
    pub(super) fn resume(&mut self, index: &Index, mut history: History, records: Vec<Record>) {
        let mut shown: HashMap<TransactionId, bool> = HashMap::new();
        // What was noted while the base was written may be in both.
        let known = history.number();
        // What came and went without a number yet: the last process ended between the two.
        let mut later = Vec::new();
        for record in records {
            match record {
                Record::State(change) if change.number > known => {
                    history.follow(&change);
                    shown.extend(change.went.into_iter().map(|id| (id, false)));
                    shown.extend(change.came.into_iter().map(|id| (id, true)));
                    later.clear();
                }
                Record::SetApart(until) => history.follow_set_apart(until),
                Record::Came(file) => later.push((file.header.transaction_id, true)),
                Record::Went(id) => later.push((id, false)),
                _ => {}
            }
        }
        for (id, came) in later {
            history.note(came.then_some(id), (!came).then_some(id));
        }
        shown.retain(|id, shown| index.transactions.find_valid(*id).is_some() != *shown);
        // These are noted already.
        let pending: HashSet<TransactionId> = history.pending().collect();
        shown.retain(|id, _| !pending.contains(id));
        self.expected = shown;
        *self.history() = history;
    }

    /// What was entered since the newest number counts no more: the index is another one, and the files are read anew.
    pub(super) fn take_back(&mut self, before: &Index, after: &Index) {
        let mut history = lock(&self.history);
        if history.number() == 0 {
            return;
        }
        let was_shown = history.take_back();
        let ids = |index: &Index| -> HashSet<TransactionId> {
            let transactions = &index.transactions;
            (0..transactions.len()).filter(|&tx| transactions.is_valid(tx)).map(|tx| transactions.id(tx)).collect()
        };
        let mut shown = ids(before);
        for (id, is_shown) in self.expected.drain().chain(was_shown) {
            if is_shown {
                shown.insert(id)
            } else {
                shown.remove(&id)
            };
        }
        let here = ids(after);
        self.expected = shown.symmetric_difference(&here).map(|id| (*id, shown.contains(id))).collect();
    }

    /// Notes what a change of the index showed and hid.
    pub(super) fn note(&mut self, index: &Index, shown: &[u32], hidden: &[u32]) {
        let mut history = lock(&self.history);
        if history.number() > 0 {
            let id = |&tx: &u32| index.transactions.id(tx);
            let mut is_expected = |id: &TransactionId, shown| self.expected.get(id) == Some(&shown) && self.expected.remove(id).is_some();
            let came: Vec<TransactionId> = shown.iter().map(id).filter(|id| !is_expected(id, true)).collect();
            let went: Vec<TransactionId> = hidden.iter().map(id).filter(|id| !is_expected(id, false)).collect();
            history.note(came, went);
        }
    }

    /// Whether there is a number yet.
    pub(super) fn has_begun(&self) -> bool {
        self.history().number() > 0
    }

    /// Gives what is about to be published the first number, once everything was read; `unsaved` are the transactions in the views that
    /// have no record.
    pub(super) fn begin(&mut self, unsaved: Vec<TransactionId>) -> Change {
        self.history().begin(unsaved)
    }

    /// Gives what is about to be published a number, if it has other transactions than what was shown before.
    pub(super) fn close(&mut self) -> Option<Change> {
        let mut history = lock(&self.history);
        // What was not found as it was left has changed since.
        let (went, came): (Vec<_>, Vec<_>) = std::mem::take(&mut self.expected).into_iter().partition(|(_, was_shown)| *was_shown);
        history.note(came.into_iter().map(|(id, _)| id), went.into_iter().map(|(id, _)| id));
        history.close()
    }
}
