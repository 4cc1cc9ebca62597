//! That a conflict was not settled, on purpose.

use serde::{Deserialize, Serialize};

/// Why somebody who was asked did not settle a conflict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declined {
    /// The reason, in the words of whoever was asked.
    pub reason: String,
    /// When, as RFC 3339.
    pub at: String,
}
