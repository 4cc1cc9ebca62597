//! What each virtual file is: the tree of one epoch, names, exact sizes, rendered ranges.

mod file;
mod lines;
mod page;
mod snapshots;
mod status;
mod texts;
mod tree;

pub use file::File;
pub use lines::{Lines, Numbers};
pub use page::{FeedEvent, FeedFilter, FeedPage, PAGE_BYTES_MAX, PAGE_EVENTS_DEFAULT};
pub use status::status_json;
pub use tree::{Entry, Node, Tree};
