//! The row `braid`.
