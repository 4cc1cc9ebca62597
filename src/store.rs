//! The row `store`.
