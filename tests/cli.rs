//! Every command, by the real binary: what it prints, and how it ends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/all.rs"]
mod support;

#[path = "cli/fixtures.rs"]
mod fixtures;
#[path = "cli/general.rs"]
mod general;
#[path = "cli/import_git.rs"]
mod import_git;
#[path = "cli/init.rs"]
mod init;
