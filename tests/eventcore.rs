//! `braidfs::eventcore` in the place of eventcore-fs: the contract of that family, that crate's own tests, an application.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

#[path = "eventcore/application.rs"]
mod application;
#[path = "eventcore/beside.rs"]
mod beside;
#[path = "eventcore/contract.rs"]
mod contract;
#[path = "eventcore/oracle.rs"]
mod oracle;
#[path = "eventcore/package.rs"]
mod package;
