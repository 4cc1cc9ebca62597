//! The row `format`.
