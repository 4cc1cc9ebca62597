//! The names in the root that are not views.

/// The name of the file that takes one transaction a write.
pub const APPEND: &str = "append";
/// The name of the directory where files are dropped.
pub const STAGING: &str = "staging";
/// The name of the directory that says what became of them.
pub const RECEIPTS: &str = "receipts";
/// The name of the directory of subscriptions' cursors.
pub const CHECKPOINTS: &str = "checkpoints";
