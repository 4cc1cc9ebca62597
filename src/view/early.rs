//! `transactions/` while the index catches up: it needs no order, so each file answers for itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::disk::Stat;
use crate::format::names::ENDING;
use crate::format::transaction::{normalize, parse_events};
use crate::model::TransactionId;
use crate::store::{ListedKind, Store};

/// The files that were asked for before the index knew them, and whether they count.
///
/// What only the others tell is not known of them yet: that two claim one id, or that they stand in a cycle.
#[derive(Debug, Default)]
pub(super) struct Early {
    seen: Mutex<HashMap<TransactionId, (Stat, bool)>>,
}

impl Early {
    /// The facts of the file that has a transaction's own name and holds it; none if there is no such file.
    pub(super) fn find(&self, store: &Store, id: TransactionId) -> Option<Stat> {
        let name = own_name(id);
        let stat = store.stat(&name).ok()?;
        let known = self.lock().get(&id).copied().filter(|(seen, _)| *seen == stat);
        let counts = known.map_or_else(|| holds(store, &name, id), |(_, counts)| counts);
        self.lock().insert(id, (stat, counts));
        counts.then_some(stat)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<TransactionId, (Stat, bool)>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The transactions whose files have their own names, valid or not.
pub(super) fn named(store: &Arc<Store>) -> Vec<TransactionId> {
    let files = store.list().unwrap_or_default().into_iter().filter(|listed| listed.kind == ListedKind::File);
    files.filter_map(|listed| id_of(&listed.name)).collect()
}

/// The name that a transaction's file has in `events/` and in `transactions/`.
pub(super) fn own_name(id: TransactionId) -> String {
    format!("{id}{ENDING}")
}

/// The transaction whose own name this is.
pub(super) fn id_of(name: &str) -> Option<TransactionId> {
    let id = name.strip_suffix(ENDING)?.parse().ok()?;
    (own_name(id) == name).then_some(id)
}

fn holds(store: &Store, name: &str, id: TransactionId) -> bool {
    let Ok((bytes, _)) = store.load(name) else { return false };
    normalize(&bytes).is_ok_and(|normal| normal.header.transaction_id == id && parse_events(normal.payload()).is_ok())
}
