//! braidfs: an event store that is a directory of files in git, and a file system over it.
//!
//! The modules are rows of a house: each imports only from rows below it (`docs/ARCHITECTURE.md`).
//! A user of the library starts at [`braid::Braid`]; the other modules are what it takes and gives.

pub mod braid;
#[doc(hidden)]
pub mod cli;
mod dag;
mod disk;
pub mod epoch;
#[cfg(feature = "eventcore")]
pub mod eventcore;
pub mod fold;
pub mod format;
mod fs;
pub mod index;
pub mod model;
mod mount;
pub mod store;
pub mod view;
