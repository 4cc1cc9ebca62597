//! `transactions/` while the index catches up: it needs no order, so each file answers for itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::disk::Stat;
use crate::format::names::ENDING;
use crate::format::time::parse_rfc3339;
use crate::format::transaction::{normalize, parse_events};
use crate::model::TransactionId;
use crate::store::{ListedKind, Store};

/// The files that were asked for before the index knew them, and what they say if they count.
///
/// What only the others tell is not known of them yet: that two claim one id, or that they stand in a cycle.
#[derive(Debug, Default)]
pub(super) struct Early {
    seen: Mutex<HashMap<TransactionId, (Stat, Option<Written>)>>,
}

/// When a file that counts says that it was written, in nanoseconds since 1970; none where its time is odd.
type Written = Option<i128>;

impl Early {
    /// The facts of the file that has a transaction's own name and holds it, and when it says that it was written; none if there is no
    /// such file.
    pub(super) fn find(&self, store: &Store, id: TransactionId) -> Option<(Stat, Written)> {
        let name = own_name(id);
        let stat = store.stat(&name).ok()?;
        let known = self.lock().get(&id).copied().filter(|(seen, _)| *seen == stat);
        let written = known.map_or_else(|| written(store, &name, id), |(_, written)| written);
        self.lock().insert(id, (stat, written));
        Some((stat, written?))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<TransactionId, (Stat, Option<Written>)>> {
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

/// When a file says that it was written, if it holds a transaction.
fn written(store: &Store, name: &str, id: TransactionId) -> Option<Written> {
    let (bytes, _) = store.load(name).ok()?;
    let normal = normalize(&bytes).ok().filter(|normal| normal.header.transaction_id == id)?;
    parse_events(normal.payload()).ok()?;
    Some(parse_rfc3339(&normal.header.created_at))
}
