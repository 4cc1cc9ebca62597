//! Why a mount cannot be had, or cannot be ended.

/// An error of the daemon: what is wrong, and what helps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Subject first, values in quotes.
    pub message: String,
    /// The cure; may be empty.
    pub hint: String,
}

impl Error {
    /// An error with its cure.
    #[must_use]
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into() }
    }
}
