//! Which of the present transactions a moment names.

use std::collections::HashSet;

use crate::braid::keeper::numbered::{self, SharedHistory};
use crate::braid::travel::{TravelError, When};
use crate::epoch::Epoch;
use crate::format::time::parse_rfc3339;
use crate::index::Index;
use crate::index::feed::Slot;
use crate::index::history::{Unknown, came_by};

/// The numbers of the chosen transactions in canonical order; but for an epoch, whose parents may have come late, nothing chosen lacks
/// an ancestor that is here.
pub(super) fn choose(when: &When, present: &Epoch, history: &SharedHistory, in_git: impl Fn() -> bool) -> Result<Vec<u32>, TravelError> {
    let index = &present.index;
    let transactions = &index.transactions;
    match *when {
        When::Position(0) | When::SeqNr(0) => Ok(Vec::new()),
        When::Position(position) => {
            let beyond = || TravelError::Beyond { what: "position", asked: position, last: index.log.events.len() };
            let event = index.log.events.get(position - 1).ok_or_else(beyond)?;
            let last = index.rank(index.events.transaction(event));
            Ok(index.order.iter_from(0).take(last as usize + 1).collect())
        }
        When::SeqNr(seq_nr) if seq_nr > present.feed_shown => {
            Err(TravelError::Beyond { what: "sequence number", asked: seq_nr, last: present.feed_shown })
        }
        When::SeqNr(seq_nr) => {
            // What left and returned has another number by now, and had this one before.
            let returned = returned(index, seq_nr);
            let had = |event: u32| (1..=seq_nr).contains(&u64::from(index.events.seq_nr(event))) || returned.contains(&event);
            Ok(with_ancestors(present, |tx| transactions.events(tx).any(had)))
        }
        When::Epoch(number) => {
            let since = numbered::lock(history).since(number).map_err(|unknown| match unknown {
                Unknown::Beyond(last) => TravelError::Beyond { what: "epoch", asked: number, last },
                Unknown::Forgotten(oldest) => TravelError::Forgotten { asked: number, oldest },
            })?;
            let since = came_by(&since);
            Ok(index.order.iter_from(0).filter(|&tx| !since.contains(&transactions.id(tx))).collect())
        }
        When::Time(nanos) => Ok(with_ancestors(present, |tx| parse_rfc3339(&transactions.created_at(tx)).is_some_and(|at| at <= nanos))),
        When::Transaction(id) => {
            let chosen = transactions.find_valid(id).ok_or_else(|| TravelError::UnknownTransaction { id, in_git: in_git() })?;
            Ok(with_ancestors(present, |tx| tx == chosen))
        }
        // Settled by git.
        When::Revision(_) => Ok(Vec::new()),
    }
}

/// The events that are here and had a number up to this one which is gone.
fn returned(index: &Index, seq_nr: u64) -> HashSet<u32> {
    let mut returned = HashSet::new();
    for seq in index.feed.gone_upto(seq_nr) {
        if let Some(Slot::Gone(id)) = index.feed.items.get(seq - 1).map(|item| index.feed.slot(item)) {
            let is_here = |event: u32| {
                let tx = index.events.transaction(event);
                index.transactions.is_valid(tx) && index.transactions.events(tx).any(|its| its == event)
            };
            returned.extend(index.events.find(id, &index.pack, is_here));
        }
    }
    returned
}

/// The transactions that fulfil `is`, and their ancestors: a clock that ran ahead or a merge without events loses nobody a parent.
fn with_ancestors(present: &Epoch, is: impl Fn(u32) -> bool) -> Vec<u32> {
    let transactions = &present.index.transactions;
    let order: Vec<u32> = present.index.order.iter_from(0).collect();
    let mut chosen = HashSet::new();
    // Children come behind their parents, so one pass from the end finds all.
    for &tx in order.iter().rev() {
        if chosen.contains(&tx) || is(tx) {
            chosen.insert(tx);
            chosen.extend(transactions.parents(tx));
        }
    }
    order.into_iter().filter(|tx| chosen.contains(tx)).collect()
}
