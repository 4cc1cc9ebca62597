//! Transactions without events that this working copy has seen and has no more: the feed has no line of them, so they are remembered by
//! their ids.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::disk::Stat;
use crate::index::Index;
use crate::model::TransactionId;
use crate::store::{Mode, Store};

/// Those that are gone.
#[derive(Default)]
pub(super) struct Eventless {
    gone: Arc<BTreeSet<TransactionId>>,
    /// Those that went and are not written down.
    went: BTreeSet<TransactionId>,
    /// The facts of the file that names them.
    seen: Option<Option<Stat>>,
}

impl Eventless {
    /// Notes what a change of the index hid.
    pub(super) fn note(&mut self, index: &Index, hidden: &[u32]) {
        let eventless = hidden.iter().filter(|&&tx| index.transactions.events(tx).is_empty());
        self.went.extend(eventless.map(|&tx| index.transactions.id(tx)));
    }

    pub(super) fn gone(&self) -> &Arc<BTreeSet<TransactionId>> {
        &self.gone
    }

    /// Writes down what went and what is back, here or by another process; tells whether there was anything. Costs one look at a file's
    /// facts, and nothing where nothing is gone.
    pub(super) fn follow(&mut self, index: &Index, store: &Store) -> bool {
        if self.seen.is_some() && self.gone.is_empty() && self.went.is_empty() {
            return false;
        }
        let is_here = |id: &TransactionId| index.transactions.find_valid(*id).is_some();
        let mut gone = BTreeSet::clone(&self.gone);
        if let Ok(stat) = store.eventless_stat()
            && self.seen.replace(stat) != Some(stat)
        {
            gone = store.eventless().unwrap_or_default();
        }
        self.went.retain(|id| !is_here(id));
        let back: BTreeSet<TransactionId> = gone.iter().copied().filter(is_here).collect();
        // Who may write nothing remembers it for its own life.
        let is_due = !self.went.is_empty() || !back.is_empty();
        if is_due && store.mode() != Mode::ReadOnly {
            match store.update_eventless(&self.went, &back) {
                Ok(Some(all)) => {
                    gone = all;
                    self.went.clear();
                    self.seen = store.eventless_stat().ok();
                }
                Ok(None) => tracing::warn!("what is gone cannot be remembered: another process is at it"),
                Err(error) => tracing::warn!(%error, "what is gone cannot be remembered"),
            }
        }
        gone.retain(|id| !back.contains(id));
        gone.extend(&self.went);
        let is_new = gone != *self.gone;
        if is_new {
            self.gone = Arc::new(gone);
        }
        is_new
    }
}

/// The name of the file that had it.
pub(in crate::braid) fn file_of_transaction(index: &Index, id: TransactionId) -> String {
    index.transactions.find(id).map_or_else(|| format!("{id}.jsonl"), |tx| index.transactions.file_name(tx))
}
