//! What the test binaries share. A binary includes it with `#[path = "support/all.rs"] mod support;`.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

pub mod draft;
pub mod git;
pub mod mount;
pub mod run;
pub mod store;
pub mod table;
pub mod terminal;
pub mod wait;
