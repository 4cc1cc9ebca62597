//! A trouble that lasts is told once, and what meets it is not tried again at once.

use std::time::Duration;

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
