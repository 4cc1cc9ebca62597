//! Where drafts become transactions: the seam to `braid`, so that tests can stand in for it.

use crate::braid::Committed;
use crate::model::{Draft, Errno, Finding, Rejection};

/// What commits drafts.
pub trait Ledger: Send + Sync {
    /// Commits a draft; returns when it is durable and every view has been published.
    ///
    /// # Errors
    /// [`Failure`]; then nothing was committed, unless it says that this may be otherwise.
    fn append(&self, draft: Draft) -> Result<Committed, Failure>;

    /// Checks what can be known of a draft that is still being written: expectations and forks.
    ///
    /// # Errors
    /// Every reason that would refuse it now.
    fn check(&self, draft: &Draft) -> Result<(), Rejection>;

    /// Counts a draft that was refused before it was handed in, or takes back one that was handed in twice by one call.
    fn count_refused(&self, more: i8);

    /// Publishes what is worth a report about drafts from now on, in place of what was before; does not wait for it.
    fn report(&self, findings: Vec<Finding>);
}

/// How the file that lies under `from` in `staging/` is tried again as `name`, where the fault was ours.
#[must_use]
pub fn try_again(from: &str, name: &str) -> String {
    let how = if from == name { "touch does".to_owned() } else { format!("mv {from} {name}") };
    format!("try again under this name ({how}): nothing is committed twice")
}

/// Why nothing was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The author's fault.
    Rejected(Rejection),
    /// Ours, the machine's or another program's.
    Error {
        /// What a system call reports.
        errno: Errno,
        /// Subject first, values in quotes.
        message: String,
        /// Whether the transaction is there all the same, or nobody knows.
        may_count: bool,
    },
}

impl Failure {
    /// It as reasons for a receipt; `again` says how that is tried again where the fault was ours.
    #[must_use]
    pub fn into_rejection(self, again: impl Into<String>) -> Rejection {
        match self {
            Self::Rejected(rejection) => rejection,
            Self::Error { errno, message, .. } => Rejection::whole(errno, message, again),
        }
    }
}
