//! Why a mount cannot be had, or cannot be ended.

/// An error of the daemon: what is wrong, and what helps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Whether it is to be asked otherwise, later, or not here.
    pub kind: ErrorKind,
    /// Subject first, values in quotes.
    pub message: String,
    /// The cure; may be empty.
    pub hint: String,
}

/// What kind of no an [`Error`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// What was asked cannot be: these two places do not go together, or nothing is mounted there.
    Refused,
    /// Somebody uses the mount or has the store; later it may work.
    Busy,
    /// The machine or the store failed.
    Failed,
}

impl ErrorKind {
    const ALL: [Self; 3] = [Self::Refused, Self::Busy, Self::Failed];

    /// The kind as one byte, for another process.
    pub(super) fn to_byte(self) -> u8 {
        match self {
            Self::Refused => b'r',
            Self::Busy => b'b',
            Self::Failed => b'f',
        }
    }

    /// The kind that a byte stands for.
    pub(super) fn of_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.to_byte() == byte)
    }
}

impl Error {
    /// A failure of the machine or the store, with its cure.
    #[must_use]
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Failed, message: message.into(), hint: hint.into() }
    }

    /// What cannot be, with what can.
    #[must_use]
    pub fn refused(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Refused, ..Self::new(message, hint) }
    }

    /// What may work later, with what helps.
    #[must_use]
    pub fn busy(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Busy, ..Self::new(message, hint) }
    }
}
