//! The checkpoints of subscriptions, as the keeper knows them, and when one may be saved.

use std::sync::Arc;

use crate::braid::Shared;
use crate::braid::keeper::Keeper;
use crate::format::text::quoted;
use crate::model::{Finding, FindingKind, Severity};
use crate::store::{Checkpoint, CheckpointError, IngestionLog, Mode, Standing, Store};

/// Those that an epoch shows, and those that cannot be read.
#[derive(Default)]
pub(in crate::braid) struct Checkpoints {
    shown: Arc<Vec<Checkpoint>>,
    /// What is told of those that cannot be read.
    unread: Vec<Finding>,
    /// Inode and time of `checkpoints/` when it was last looked at.
    seen: Option<(u64, i128)>,
}

impl Checkpoints {
    pub(super) fn shown(&self) -> Arc<Vec<Checkpoint>> {
        Arc::clone(&self.shown)
    }

    /// Those that belong to another ingestion log, or cannot be read.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let orphaned = self.shown.iter().filter(|checkpoint| checkpoint.standing == Standing::Orphaned);
        orphaned.map(orphaned_finding).chain(self.unread.iter().cloned()).collect()
    }

    /// They are looked at anew: the log is another one.
    pub(super) fn log_changed(&mut self) {
        self.seen = None;
    }

    /// Looks whether some came or changed without us; gives whether something else is to be shown. Costs one pass over the log if there is any.
    fn follow(&mut self, store: &Store, log: &mut IngestionLog) -> bool {
        let mark = mark(store);
        if mark == self.seen {
            return false;
        }
        self.seen = mark;
        let (read, unread) = match store.checkpoints(log) {
            Ok(all) => all,
            Err(error) => {
                tracing::warn!(%error, "the checkpoints cannot be read");
                return false;
            }
        };
        // That a file may be read again is not seen by the directory.
        if unread.iter().any(|(_, error)| matches!(error, CheckpointError::Disk(_))) {
            self.seen = None;
        }
        let unread: Vec<Finding> = unread.iter().map(|(name, error)| unread_finding(name, error)).collect();
        let is_changed = read != *self.shown || unread != self.unread;
        if is_changed {
            (self.shown, self.unread) = (Arc::new(read), unread);
        }
        is_changed
    }

    /// We saved one; the others are as they were.
    fn note_saved(&mut self, store: &Store, name: &str, seq_nr: u64) {
        self.seen = mark(store);
        let all = Arc::make_mut(&mut self.shown);
        all.retain(|checkpoint| checkpoint.name != name);
        let at = all.partition_point(|checkpoint| (checkpoint.seq_nr, checkpoint.name.as_str()) < (seq_nr, name));
        all.insert(at, Checkpoint { name: name.to_owned(), seq_nr, standing: Standing::Belongs });
    }
}

impl Keeper {
    /// Looks whether checkpoints came or changed without us.
    pub(super) fn follow_checkpoints(&mut self) {
        if self.checkpoints.follow(&self.store, self.ingestion.log()) {
            self.mark_unshown();
        }
    }

    /// Saves one; numbers that could not be given so far are given first.
    pub(in crate::braid) fn save_checkpoint(
        &mut self,
        name: &str,
        seq_nr: u64,
        force: bool,
        shared: &Shared,
    ) -> Result<(), CheckpointError> {
        self.follow_checkpoints();
        let latest = self.ingestion.log().latest_seq_nr();
        if seq_nr > latest && seq_nr <= latest + self.ingestion.waiting_events(&self.index) && self.store.mode() != Mode::ReadOnly {
            // Who enters gives the numbers that could not be given so far.
            self.enter_briefly(shared).map_err(|error| CheckpointError::Unnumbered {
                name: name.to_owned(),
                seq_nr,
                errno: error.errno(),
                why: error.to_string(),
            })?;
        }
        let saved = self.store.save_checkpoint(name, seq_nr, self.ingestion.log(), force);
        if saved.is_ok() {
            self.checkpoints.note_saved(&self.store, name, seq_nr);
            self.mark_unshown();
        } else {
            self.follow_checkpoints();
        }
        saved
    }

    /// Forgets one; false if there was none.
    pub(in crate::braid) fn forget_checkpoint(&mut self, name: &str) -> Result<bool, CheckpointError> {
        self.follow_checkpoints();
        let forgotten = self.store.forget_checkpoint(name);
        self.follow_checkpoints();
        forgotten
    }
}

fn mark(store: &Store) -> Option<(u64, i128)> {
    let stat = store.disk().stat_if_present(&store.layout().checkpoints()).ok().flatten();
    stat.map(|stat| (stat.inode, stat.mtime_ns))
}

fn unread_finding(name: &str, error: &CheckpointError) -> Finding {
    let hint = match error {
        CheckpointError::Disk(error) => error.hint(),
        _ => forget_it(name),
    };
    finding(error.to_string(), hint)
}

fn orphaned_finding(checkpoint: &Checkpoint) -> Finding {
    let Checkpoint { name, seq_nr, .. } = checkpoint;
    finding(format!("checkpoint \"{name}\" at {seq_nr} belongs to another ingestion log and is refused"), forget_it(name))
}

fn forget_it(name: &str) -> String {
    format!("braidfs checkpoint forget {}   # then that subscription reads from the start", quoted(name))
}

fn finding(message: String, hint: String) -> Finding {
    Finding { kind: FindingKind::OrphanedCheckpoint, severity: Severity::Warning, file: None, transaction_id: None, message, hint }
}
