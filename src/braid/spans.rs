//! What the spans of operations say.

use std::time::Instant;

/// Microseconds since then, as the spans of operations say them.
pub(super) fn micros(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX)
}
