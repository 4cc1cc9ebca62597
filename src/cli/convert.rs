//! The errors of the rows below as failures of a command.

use super::failure::{Failure, Kind};
use super::harmless::harmless;
use crate::braid::git::GitError;
use crate::braid::{self, AppendError, TravelError};
use crate::model::{Errno, Rejection};
use crate::mount;
use crate::store::{LockError, OpenError, WriteError};

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let kind = if matches!(error, OpenError::Disk(_)) { Kind::Failed } else { Kind::Refused };
        Self::new(kind, error.to_string()).hint(error.hint())
    }
}

impl From<LockError> for Failure {
    fn from(error: LockError) -> Self {
        match &error {
            LockError::Busy { .. } => Self::new(Kind::Busy, error.to_string()).hint("try again when that program is done"),
            LockError::ReadOnly(_) => Self::new(Kind::Refused, error.to_string()),
            LockError::Disk(cause) => Self::new(Kind::Failed, error.to_string()).hint(cause.hint()),
        }
    }
}

impl From<GitError> for Failure {
    fn from(error: GitError) -> Self {
        let kind = if error.is_unrun() { Kind::Failed } else { Kind::Refused };
        Self::new(kind, error.to_string()).hint(error.hint())
    }
}

impl From<TravelError> for Failure {
    fn from(error: TravelError) -> Self {
        let hint = error.hint();
        match error {
            TravelError::Git(error) => Self { hints: Vec::new(), ..error.into() },
            error => Self::new(Kind::Refused, error.to_string()),
        }
        .hint(hint)
    }
}

impl From<WriteError> for Failure {
    fn from(error: WriteError) -> Self {
        let hint = match error.errno() {
            Errno::ENOSPC | Errno::EDQUOT => "free some space and run it again: what is written already is kept",
            _ => "run it again: what is written already is kept",
        };
        Self::new(Kind::Failed, "the transactions cannot all be written").because(&error).hint(hint)
    }
}

impl From<braid::Failure> for Failure {
    fn from(error: braid::Failure) -> Self {
        let kind = if error.errno == Errno::EBUSY { Kind::Busy } else { Kind::Failed };
        Self::new(kind, error.message).hint(error.hint)
    }
}

impl From<mount::Error> for Failure {
    fn from(error: mount::Error) -> Self {
        let kind = match error.kind {
            mount::ErrorKind::Refused => Kind::Refused,
            mount::ErrorKind::Busy => Kind::Busy,
            mount::ErrorKind::Failed => Kind::Failed,
        };
        Self::new(kind, error.message).hint(error.hint)
    }
}

/// Every reason is a cause, with the error number that a system call reports for it.
impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        let mut failure = Self::new(Kind::Refused, "draft is refused");
        for reason in &rejection.reasons {
            // A name in it may end the line, and a cause is one.
            failure.causes.push(harmless(&format!("{reason} ({})", reason.errno)).into_owned());
            failure = failure.hint(reason.hint.as_str());
        }
        failure.rejection = Some(Box::new(rejection));
        failure
    }
}

impl From<AppendError> for Failure {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Rejected(rejection) => rejection.into(),
            AppendError::Busy { message, hint } => Self::new(Kind::Busy, message).hint(hint),
            AppendError::Storage { message, hint, .. } | AppendError::Uncertain { message, hint, .. } => {
                Self::new(Kind::Failed, message).hint(hint)
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_an_end_of_line_makes_no_cause_of_its_own() {
        let failure = Failure::from(Rejection::whole(Errno::ESTALE, "stream \"a\nb\" is forked", ""));
        assert_eq!(failure.to_string(), "braidfs: draft is refused\n  cause: stream \"a\\u{a}b\" is forked (ESTALE)");
    }
}
