//! What was shown as gone is remembered on disk before it is shown: see [`crate::store::Store::gone`].

use std::collections::BTreeMap;

use crate::braid::keeper::ingestion::{Ingestion, id_in};
use crate::disk::{self, Stat};
use crate::index::Index;
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
    is_owed: bool,
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

/// All of these may end in a failed sync, as their error; then nothing may be written any more.
impl Ingestion {
    /// Whether something went that could not be recorded yet.
    pub(in crate::braid::keeper) fn owes_gone(&self) -> bool {
        self.gone.is_owed
    }

    /// Forgets them all where the log is lost with every number: fresh ones would be taken for these.
    pub(in crate::braid::keeper) fn forget_gone(&mut self, index: &Index, store: &Store) -> disk::Result<()> {
        if self.log.latest_seq_nr() > 0 || self.gone.recorded.is_empty() {
            return Ok(());
        }
        let updated = store.update_gone(|_, _| false, &[]);
        self.note_recorded(index, store, updated, None)
    }

    /// Records what is about to be shown as gone; costs nothing while no more goes.
    pub(in crate::braid::keeper) fn record_gone(&mut self, index: &Index, store: &Store) -> disk::Result<()> {
        let feed = &index.feed;
        let now = Some((feed.incarnation, feed.gone_count()));
        if self.gone.compared == now {
            return Ok(());
        }
        let new: Vec<(u64, EventId)> = feed
            .gone_upto(feed.latest())
            .filter_map(|seq| Some((seq, self.id_of(seq)?)))
            .filter(|(seq, id)| !self.gone.has(*seq, *id))
            .collect();
        // Numbers of a log that was removed or replaced would be taken for those of this one.
        let is_stale = self.gone.recorded.iter().any(|(seq, id)| self.id_of(*seq) != Some(*id));
        if new.is_empty() && !is_stale {
            self.gone.compared = now;
            return Ok(());
        }
        if let Some((seq_nr, _)) = new.last()
            && let Err(error) = self.log.sync_upto(*seq_nr)
        {
            return self.not_recorded(index, store, error);
        }
        let ids = self.log.ids();
        let updated = store.update_gone(|seq, id| id_in(ids, seq) == Some(id), &new);
        self.note_recorded(index, store, updated, now)
    }

    /// What went cannot be recorded: the feed ends before it, and says so where that leaves something out.
    pub(in crate::braid::keeper) fn not_recorded(&mut self, index: &Index, store: &Store, error: disk::Error) -> disk::Result<()> {
        tracing::warn!(%error, "what is gone cannot be recorded");
        self.gone.is_owed = true;
        self.hold_back(index, store);
        let is_cut = self.shown < index.feed.latest();
        self.tell_unrecorded(Some(&error).filter(|_| is_cut));
        if error.op.is_sync() { Err(error) } else { Ok(()) }
    }

    fn note_recorded(
        &mut self,
        index: &Index,
        store: &Store,
        updated: disk::Result<Option<BTreeMap<u64, EventId>>>,
        compared: Option<(u32, usize)>,
    ) -> disk::Result<()> {
        match updated {
            Ok(Some(recorded)) => {
                let was_owed = self.gone.is_owed;
                self.gone = Gone { recorded, compared, ..Gone::default() };
                if was_owed {
                    self.tell_unrecorded(None);
                    return self.show_certain(index);
                }
            }
            Ok(None) => {
                tracing::warn!("what is gone cannot be recorded: another process is at it");
                self.gone.is_owed = true;
                self.hold_back(index, store);
            }
            Err(error) => return self.not_recorded(index, store, error),
        }
        Ok(())
    }
}
