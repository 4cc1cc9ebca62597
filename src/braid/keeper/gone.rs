//! What was shown as gone is remembered on disk before it is shown: see [`crate::store::Store::gone`].
//!
//! As long as a commit's file is in `events/`, its numbers and that it was the last of our replica id are derived from it after a loss of
//! power, so nothing of that is synced then. Once the file is gone nothing else tells, and both become durable here.

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
    /// Whether something went that could not be recorded: the feed ends before it, and it is tried again.
    pub(super) is_owed: bool,
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
        if !self.progress.ready {
            return;
        }
        if let Err(error) = self.chain.keep_last(&self.index, &self.store) {
            self.not_recorded(&error);
        }
        let feed = &self.index.feed;
        let now = Some((feed.incarnation, feed.gone_count()));
        if self.gone.compared == now {
            return;
        }
        let id_of = |seq_nr| id_in(self.log.ids(), seq_nr);
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
        if let Some((seq_nr, _)) = new.last()
            && let Err(error) = self.log.sync_upto(*seq_nr)
        {
            return self.not_recorded(&error);
        }
        let ids = self.log.ids();
        let updated = self.store.update_gone(|seq, id| id_in(ids, seq) == Some(id), &new);
        self.note_recorded(updated, now);
    }

    /// What went cannot be recorded: the feed ends before it, and says so where that leaves something out. After a failed sync nothing may be
    /// written.
    fn not_recorded(&mut self, error: &disk::Error) {
        tracing::warn!(%error, "what is gone cannot be recorded");
        self.gone.is_owed = true;
        if error.op.is_sync() {
            self.set_writer(WriterState::Failed(error.to_string()));
        }
        self.hold_feed_back();
        let is_cut = self.feed_shown < self.index.feed.latest();
        self.tell_unrecorded(Some(error).filter(|_| is_cut));
    }

    fn note_recorded(&mut self, updated: disk::Result<Option<BTreeMap<u64, EventId>>>, compared: Option<(u32, usize)>) {
        match updated {
            Ok(Some(recorded)) => {
                let was_owed = std::mem::take(&mut self.gone.is_owed);
                self.gone = Gone { recorded, compared, ..Gone::default() };
                if was_owed {
                    self.tell_unrecorded(None);
                    self.show_certain();
                }
            }
            Ok(None) => {
                tracing::warn!("what is gone cannot be recorded: another process is at it");
                self.gone.is_owed = true;
                self.hold_feed_back();
            }
            Err(error) => self.not_recorded(&error),
        }
    }
}

/// The event of a number.
fn id_in(ids: &[EventId], seq_nr: u64) -> Option<EventId> {
    ids.get(usize::try_from(seq_nr).ok()?.checked_sub(1)?).copied()
}
