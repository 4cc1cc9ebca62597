//! Bytes to model and back: transaction files, drafts, view lines, names, times. Pure.

pub mod binary;
pub mod csv;
pub mod draft;
pub(crate) mod json;
pub mod legacy;
pub mod lines;
pub mod names;
pub(crate) mod text;
pub mod time;
pub mod transaction;
