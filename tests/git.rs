//! Real git on stores that are open, followed or mounted while it happens.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/all.rs"]
mod support;

#[path = "git/altered.rs"]
mod altered;
#[path = "git/attributes.rs"]
mod attributes;
#[path = "git/claims.rs"]
mod claims;
#[path = "git/cures.rs"]
mod cures;
#[path = "git/dozens.rs"]
mod dozens;
#[path = "git/during.rs"]
mod during;
#[path = "git/edited.rs"]
mod edited;
#[path = "git/following.rs"]
mod following;
#[path = "git/many.rs"]
mod many;
#[path = "git/mounted.rs"]
mod mounted;
#[path = "git/people.rs"]
mod people;
#[path = "git/restored.rs"]
mod restored;
#[path = "git/settings.rs"]
mod settings;
#[path = "git/sparse.rs"]
mod sparse;
#[path = "git/stage.rs"]
mod stage;
#[path = "git/unasked.rs"]
mod unasked;
#[path = "git/unfinished.rs"]
mod unfinished;
#[path = "git/vanished.rs"]
mod vanished;
#[path = "git/whose.rs"]
mod whose;
