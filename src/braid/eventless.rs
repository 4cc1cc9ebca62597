//! Transactions without events that this working copy has seen and has no more: the feed has no line of them, so they are remembered by
//! their ids.

use std::collections::BTreeSet;

use crate::braid::keeper::Keeper;
use crate::disk::Stat;
use crate::epoch::{Epoch, WriterState};
use crate::index::Index;
use crate::model::TransactionId;

/// Those that are gone.
#[derive(Default)]
pub(super) struct Eventless {
    gone: BTreeSet<TransactionId>,
    /// Those that went since they were last written down.
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

    pub(super) fn gone(&self) -> &BTreeSet<TransactionId> {
        &self.gone
    }
}

impl Keeper {
    /// Writes down what went and what is back, here or by another process; tells whether there was anything. Costs one look at a file's
    /// facts, and nothing where nothing is gone.
    pub(super) fn follow_eventless(&mut self) -> bool {
        let known = &mut self.memory.vanished.eventless;
        if known.seen.is_some() && known.gone.is_empty() && known.went.is_empty() {
            return false;
        }
        let before = known.gone.clone();
        if let Ok(stat) = self.store.eventless_stat()
            && known.seen.replace(stat) != Some(stat)
        {
            known.gone = self.store.eventless().unwrap_or_default();
        }
        let is_here = |id: &TransactionId| self.index.transactions.find_valid(*id).is_some();
        known.went.retain(|id| !is_here(id) && !known.gone.contains(id));
        let back: BTreeSet<TransactionId> = known.gone.iter().copied().filter(is_here).collect();
        if !known.went.is_empty() || !back.is_empty() {
            known.gone.retain(|id| !back.contains(id));
            known.gone.extend(&known.went);
            // Who may write nothing remembers it for its own life.
            if self.writer != WriterState::ReadOnly {
                match self.store.update_eventless(&known.went, &back) {
                    Ok(Some(gone)) => {
                        known.gone = gone;
                        known.seen = self.store.eventless_stat().ok();
                        known.went.clear();
                    }
                    Ok(None) => tracing::warn!("what is gone cannot be remembered: another process is at it"),
                    Err(error) => tracing::warn!(%error, "what is gone cannot be remembered"),
                }
            }
        }
        known.gone != before
    }
}

/// Those of an epoch that are gone and that nobody has acknowledged.
pub(super) fn vanished_transactions(epoch: &Epoch) -> BTreeSet<TransactionId> {
    // Where it cannot be read what is gone, there is nothing to look for.
    let mut gone = epoch.store.eventless().unwrap_or_default();
    gone.retain(|id| epoch.index.transactions.find_valid(*id).is_none());
    gone
}

/// The name of the file that had it.
pub(super) fn file_of_transaction(index: &Index, id: TransactionId) -> String {
    index.transactions.find(id).map_or_else(|| format!("{id}.jsonl"), |tx| index.transactions.file_name(tx))
}
