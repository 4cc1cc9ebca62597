//! Whether what is shown below `forks/` may be another than before: thousands of files may be held by whoever looked at them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::braid::keeper::memory::Memory;
use crate::dag::Conflict;
use crate::index::{Index, Touched};
use crate::model::{Declined, Origin, TransactionId};

/// What the forks of the last epoch were made of.
#[derive(Default)]
pub(super) struct ForksShown {
    conflicts: Arc<Vec<Conflict>>,
    origins: Arc<BTreeMap<TransactionId, Origin>>,
    declined: Arc<BTreeMap<String, Declined>>,
    number: u64,
}

impl ForksShown {
    /// Notes what the next epoch shows, whose streams differ from the last one's as `touched` says.
    pub(super) fn note(&mut self, index: &Index, touched: &Touched, memory: &Memory) {
        let conflicts = index.forks().conflicts();
        let are_same = Arc::ptr_eq(&self.conflicts, conflicts)
            && Arc::ptr_eq(&self.origins, &memory.origins)
            && Arc::ptr_eq(&self.declined, &memory.declined);
        // What all branches have in common is shown as well, and may change under the same branches.
        if are_same && !touched.streams.iter().any(|&stream| index.forks().of_stream(stream).is_some()) {
            return;
        }
        self.number += 1;
        (self.conflicts, self.origins, self.declined) = (Arc::clone(conflicts), Arc::clone(&memory.origins), Arc::clone(&memory.declined));
    }

    /// Rises with each difference.
    pub(super) fn number(&self) -> u64 {
        self.number
    }
}
