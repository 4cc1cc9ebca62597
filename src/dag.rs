//! The row `dag`: canonical order, ancestry, forks, as pure functions over dense numbers and their parents.
//!
//! A transaction is a number here; who holds its id, parents and depth implements [`Graph`] and, for forks,
//! [`forks::History`].

pub mod closed;
pub mod column;
pub mod conflicts;
pub mod cuts;
mod divided;
pub mod draw;
pub mod forks;
pub mod graph;
pub mod key;
pub mod reach;
pub mod stale;
pub mod tips;

#[cfg(test)]
pub mod real_history;
#[cfg(test)]
pub mod reference;
#[cfg(test)]
pub mod tests_support;

pub use closed::{ClosedFork, Closing};
pub use conflicts::Conflict;
pub use cuts::Cuts;
pub use forks::Fork;
pub use graph::Graph;
pub use reach::Reach;
pub use stale::StaleRead;
pub use tips::TipSet;
