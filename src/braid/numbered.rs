//! The numbers of epochs, by which `at/epoch:N` finds them: one for each set of transactions that was shown, over restarts too.
//!
//! The saved index carries them. What its records leave out, the files that have something to report, is read at the next start and did
//! not come then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::braid::keeper::Keeper;
use crate::index::history::{Change, History};
use crate::index::saved::Record;
use crate::model::TransactionId;

/// What the keeper writes and time travel reads.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbered(Arc<Mutex<History>>);

impl Numbered {
    pub(super) fn lock(&self) -> MutexGuard<'_, History> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keeper {
    /// Notes what a change of the index showed and hid.
    pub(super) fn note_shown(&mut self, shown: &[u32], hidden: &[u32]) {
        let mut history = self.numbered.lock();
        if history.number() > 0 {
            let id = |&tx: &u32| self.index.transactions.id(tx);
            let mut is_expected = |id: &TransactionId, shown| self.expected.get(id) == Some(&shown) && self.expected.remove(id).is_some();
            let came: Vec<TransactionId> = shown.iter().map(id).filter(|id| !is_expected(id, true)).collect();
            let went: Vec<TransactionId> = hidden.iter().map(id).filter(|id| !is_expected(id, false)).collect();
            history.note(came, went);
        }
    }

    /// Gives what is about to be published a number, if it has other transactions than what was shown before.
    pub(super) fn number_state(&mut self) {
        let mut history = self.numbered.lock();
        let change = if !self.progress.ready {
            None
        } else if history.number() == 0 {
            Some(history.begin(self.unsaved()))
        } else {
            let (went, came): (Vec<_>, Vec<_>) = std::mem::take(&mut self.expected).into_iter().partition(|(_, was_shown)| *was_shown);
            history.note(came.into_iter().map(|(id, _)| id), went.into_iter().map(|(id, _)| id));
            history.close()
        };
        drop(history);
        if let Some(change) = change {
            self.note(&Record::State(change));
        }
    }

    /// The transactions in the views that have no record, since their files have something to report.
    fn unsaved(&self) -> Vec<TransactionId> {
        let numbers = self.roster.findings.keys().filter_map(|name| self.entered_number(name));
        numbers.filter(|&tx| self.index.transactions.is_valid(tx)).map(|tx| self.index.transactions.id(tx)).collect()
    }

    /// Goes on with the numbers of the last process, after its index was taken over.
    pub(super) fn resume_numbers(&mut self, mut history: History, changes: impl Iterator<Item = Change>) {
        let mut shown: HashMap<TransactionId, bool> = HashMap::new();
        // What was noted while the base was written may be in both.
        let known = history.number();
        for change in changes.filter(|change| change.number > known) {
            history.follow(&change);
            shown.extend(change.went.into_iter().map(|id| (id, false)));
            shown.extend(change.came.into_iter().map(|id| (id, true)));
        }
        let transactions = &self.index.transactions;
        shown.retain(|id, shown| transactions.find_valid(*id).is_some() != *shown);
        self.expected = shown;
        *self.numbered.lock() = history;
    }
}
