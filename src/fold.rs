//! User-defined folds: programs in the jq language that turn events into a state.
//!
//! A [`Definition`] is the text of `projections/<NAME>.jq`. A [`Program`] is its compiled step and a [`Folder`] the
//! running fold. Neither bounds time, memory or the depth of the stack, so what runs the programs of others is a
//! [`Worker`]: a process of its own (`braidfs fold`, which calls [`serve`]) under limits.

mod definition;
mod error;
mod folder;
mod glob;
mod limits;
mod program;
mod serve;
mod value;
mod wire;
mod worker;

pub use definition::{Definition, Per};
pub use error::{FoldError, FoldErrorKind};
pub use folder::Folder;
pub use glob::glob_matches;
pub use limits::Limits;
pub use program::Program;
pub use serve::serve;
pub use worker::Worker;
