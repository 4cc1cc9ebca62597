//! The row `index`.
