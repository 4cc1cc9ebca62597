//! Real mounts by the real binary: each promise of `docs/SEMANTICS.md`, with the tools that users have.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/all.rs"]
mod support;

#[path = "mounted/appending.rs"]
mod appending;
#[path = "mounted/checkpoints.rs"]
mod checkpoints;
#[path = "mounted/daemon.rs"]
mod daemon;
#[path = "mounted/exporting.rs"]
mod exporting;
#[path = "mounted/folding.rs"]
mod folding;
#[path = "mounted/following.rs"]
mod following;
#[path = "mounted/forks.rs"]
mod forks;
#[path = "mounted/gone.rs"]
mod gone;
#[cfg(debug_assertions)]
#[path = "mounted/mishaps.rs"]
mod mishaps;
#[path = "mounted/model.rs"]
mod model;
#[path = "mounted/people.rs"]
mod people;
#[path = "mounted/promises.rs"]
mod promises;
#[path = "mounted/reading.rs"]
mod reading;
#[path = "mounted/requests.rs"]
mod requests;
#[path = "mounted/system_calls.rs"]
mod system_calls;
#[path = "mounted/tools.rs"]
mod tools;
#[path = "mounted/waiting.rs"]
mod waiting;
