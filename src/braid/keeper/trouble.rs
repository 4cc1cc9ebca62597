//! A trouble that lasts is told once, and what meets it is not tried again at once.

use std::time::Duration;

use crate::braid::keeper::Keeper;
use crate::braid::{Failure, Shared};
use crate::model::{Finding, FindingKind, Severity};

/// How soon what met a trouble is tried again.
pub(super) const AGAIN: Duration = Duration::from_millis(500);

/// The trouble that was met last, until it is over.
#[derive(Debug, Default)]
pub(super) struct Trouble(Option<String>);

impl Trouble {
    /// Tells it, unless it is the one that was told.
    pub(super) fn meet(&mut self, what: &'static str, error: impl ToString) {
        let error = error.to_string();
        if self.0.as_ref() != Some(&error) {
            tracing::warn!(%error, "{what}");
            self.0 = Some(error);
        }
    }

    pub(super) fn end(&mut self) {
        self.0 = None;
    }

    pub(super) fn lasts(&self) -> bool {
        self.0.is_some()
    }
}

impl Keeper {
    /// The files could not be looked at: it is told, and tried again.
    pub(super) fn out_of_reach(&mut self, failure: &Failure, shared: &Shared) {
        self.looking.meet("events could not be read; they are looked at again", failure);
        self.is_hurt |= self.progress.failed;
        if self.note_out_of_reach(failure) {
            self.publish(shared);
        }
        // What happens to them meanwhile is told by nobody.
        self.pending.add_everything();
    }

    /// Notes for the next epoch why the files cannot be looked at; gives whether that is new.
    pub(super) fn note_out_of_reach(&mut self, failure: &Failure) -> bool {
        let finding = Some(Finding {
            kind: FindingKind::OutOfReach,
            severity: Severity::Error,
            file: None,
            transaction_id: None,
            message: format!("{}; the views show what was there before", failure.message),
            hint: failure.hint.clone(),
        });
        let is_new = self.memory.out_of_reach != finding;
        if is_new {
            self.memory.out_of_reach = finding;
            self.mark_dirty();
        }
        is_new
    }

    /// The files were looked at.
    pub(super) fn in_reach(&mut self, shared: &Shared) {
        self.looking.end();
        if self.memory.out_of_reach.take().is_some() {
            self.mark_dirty();
            self.publish(shared);
        }
    }
}
