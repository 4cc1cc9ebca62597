//! The row `dag`.
