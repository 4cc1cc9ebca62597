//! The errors of the rows below as failures of a command.

use super::failure::{Failure, Kind};
use crate::model::Errno;
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
            LockError::Disk(_) => Self::new(Kind::Failed, error.to_string()),
        }
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
