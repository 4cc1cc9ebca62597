//! The row `mount`.
