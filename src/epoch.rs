//! The row `epoch`.
