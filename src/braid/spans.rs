//! What the spans of operations say.

use std::time::Instant;

/// Microseconds since then, as the spans of operations say them.
pub(super) fn micros(begun: Instant) -> i64 {
    count(begun.elapsed().as_micros())
}

/// A number as the spans of operations say it: what exports them takes an unsigned one for a text.
pub(super) fn count(of: impl TryInto<i64>) -> i64 {
    of.try_into().unwrap_or(i64::MAX)
}
