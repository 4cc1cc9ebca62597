//! What was shown as gone is remembered on disk before it is shown: see [`crate::store::Store::gone`].

use std::collections::BTreeMap;

use crate::braid::keeper::Keeper;
use crate::disk::{self, Stat};
use crate::epoch::WriterState;
use crate::model::EventId;
use crate::store::Store;

/// The numbers that were passed as gone.
#[derive(Default)]
pub(super) struct Gone {
    recorded: BTreeMap<u64, EventId>,
    /// The feed's incarnation and its gone numbers when they were last compared.
    compared: Option<(u32, usize)>,
    /// The facts of the file that was read last, where others write it.
    seen: Option<Option<Stat>>,
}

impl Gone {
    pub(super) fn read(store: &Store) -> disk::Result<Self> {
        Ok(Self { recorded: store.gone()?, ..Self::default() })
    }

    /// All of them.
    pub(super) fn recorded(&self) -> impl Iterator<Item = (u64, EventId)> + '_ {
        self.recorded.iter().map(|(&seq_nr, &id)| (seq_nr, id))
    }

    /// Reads what others recorded, if that changed, and gives whether it did; costs one look at the file's facts.
    pub(super) fn follow(&mut self, store: &Store) -> bool {
        let followed = store.gone_stat().and_then(|stat| {
            let has_changed = self.seen != Some(stat);
            if has_changed {
                self.recorded = store.gone()?;
                self.seen = Some(stat);
            }
            Ok(has_changed)
        });
        followed.unwrap_or_else(|error| {
            tracing::warn!(%error, "what is gone cannot be read");
            false
        })
    }

    /// Whether a line of the log was passed as gone.
    pub(super) fn has(&self, seq_nr: u64, id: EventId) -> bool {
        self.recorded.get(&seq_nr) == Some(&id)
    }
}

impl Keeper {
    /// Forgets them all where the log is lost with every number: fresh ones would be taken for these.
    pub(super) fn forget_gone(&mut self) {
        if self.gone.recorded.is_empty() {
            return;
        }
        let updated = self.store.update_gone(|_, _| false, &[]);
        self.note_recorded(updated, None);
    }

    /// Records what is about to be shown as gone; costs nothing while no more goes.
    pub(super) fn record_gone(&mut self) {
        if self.writer == WriterState::ReadOnly {
            return self.hold_feed_back();
        }
        let feed = &self.index.feed;
        let now = Some((feed.incarnation, feed.gone_count()));
        if self.gone.compared == now || !self.progress.ready {
            return;
        }
        let ids = self.log.ids();
        let id_of = |seq_nr: u64| ids.get(usize::try_from(seq_nr).ok()?.checked_sub(1)?).copied();
        let new: Vec<(u64, EventId)> = feed
            .gone_upto(feed.latest())
            .filter_map(|seq| Some((seq, id_of(seq)?)))
            .filter(|(seq, id)| !self.gone.has(*seq, *id))
            .collect();
        // Numbers of a log that was removed or replaced would be taken for those of this one.
        let is_stale = self.gone.recorded.iter().any(|(seq, id)| id_of(*seq) != Some(*id));
        if new.is_empty() && !is_stale {
            self.gone.compared = now;
            return;
        }
        let updated = self.store.update_gone(|seq, id| id_of(seq) == Some(id), &new);
        self.note_recorded(updated, now);
    }

    fn note_recorded(&mut self, updated: disk::Result<Option<BTreeMap<u64, EventId>>>, compared: Option<(u32, usize)>) {
        match updated {
            Ok(Some(recorded)) => self.gone = Gone { recorded, compared, seen: None },
            Ok(None) => tracing::warn!("what is gone cannot be recorded: another process is at it"),
            Err(error) => tracing::warn!(%error, "what is gone cannot be recorded"),
        }
    }
}
