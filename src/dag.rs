//! The row `dag`: canonical order, ancestry, forks, as pure functions over dense numbers and their parents.
//!
//! A transaction is a number here; who holds its id, parents and depth implements [`Graph`].

pub mod graph;
pub mod key;

pub use graph::Graph;
pub use key::{Created, Key};
