//! The row `disk`.
