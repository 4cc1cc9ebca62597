//! braidfs: an event store that is a directory of files in git, and a file system over it.
//!
//! The modules are rows of a house: each imports only from rows below it (`docs/ARCHITECTURE.md`).
//! A user of the library starts at [`braid::Braid`].

pub mod braid;
pub mod cli;
pub mod dag;
pub mod disk;
pub mod epoch;
#[cfg(feature = "eventcore")]
pub mod eventcore;
pub mod fold;
pub mod format;
pub mod fs;
pub mod index;
pub mod model;
pub mod mount;
pub mod store;
pub mod view;
