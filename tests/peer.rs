//! Beside the public crate eventcore-fs 2.1.0: the same files, the same orders, in either direction.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/all.rs"]
mod support;

#[path = "peer/branches.rs"]
mod branches;
#[path = "peer/forks.rs"]
mod forks;
#[path = "peer/oracle.rs"]
mod oracle;
#[path = "peer/reading.rs"]
mod reading;
#[path = "peer/turns.rs"]
mod turns;
