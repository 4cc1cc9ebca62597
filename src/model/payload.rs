//! A payload: one JSON value that a transaction can carry.

use std::fmt;
use std::ops::Deref;

/// One JSON value that `events/` can hold: its bytes as they were written, on one line.
///
/// There is none that a store could not read back: it is made from text by [`str::parse`], which refuses what a draft file is refused
/// for (see [`crate::format::draft`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload(String);

impl Payload {
    /// Takes text of which the caller knows that it is such a value: it was checked, or serialised of strings and finite numbers.
    pub(crate) fn checked(json: String) -> Self {
        Self(json)
    }

    /// Its bytes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An empty object, as metadata is by default.
impl Default for Payload {
    fn default() -> Self {
        Self("{}".to_owned())
    }
}

impl Deref for Payload {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Payload {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialEq<str> for Payload {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for Payload {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}
