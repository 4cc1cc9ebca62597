//! Every command, by the real binary: what it prints, and how it ends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/all.rs"]
mod support;

#[path = "cli/cursors.rs"]
mod cursors;
#[path = "cli/documents.rs"]
mod documents;
#[path = "cli/fixtures.rs"]
mod fixtures;
#[path = "cli/fold_worker.rs"]
mod fold_worker;
#[path = "cli/forks.rs"]
mod forks;
#[path = "cli/general.rs"]
mod general;
#[path = "cli/import_git.rs"]
mod import_git;
#[path = "cli/init.rs"]
mod init;
#[cfg(debug_assertions)]
#[path = "cli/killed.rs"]
mod killed;
#[path = "cli/mounted.rs"]
mod mounted;
#[path = "cli/moving.rs"]
mod moving;
#[path = "cli/observed.rs"]
mod observed;
#[path = "cli/projections.rs"]
mod projections;
#[path = "cli/read.rs"]
mod read;
#[path = "cli/scarce.rs"]
mod scarce;
#[path = "cli/write.rs"]
mod write;
