//! The row `fs`.
