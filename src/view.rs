//! What each virtual file is: the tree of one epoch, names, exact sizes, rendered ranges.

mod checkpoints;
mod early;
mod file;
mod folded;
mod forks;
mod graph;
mod lines;
mod made;
mod metrics;
mod page;
mod quarantine;
mod report;
mod snapshots;
mod states;
mod status;
mod texts;
mod tree;

pub use file::File;
pub use folded::{StateText, States};
pub use forks::{base_events, branch_events};
pub use graph::{GRAPH_TRANSACTIONS_MAX, GraphTransaction, graph_nodes, graph_transactions};
#[cfg(test)]
pub(crate) use lines::counted;
pub use lines::{Lines, Numbers, with_line};
pub use page::{FeedEvent, FeedFilter, FeedPage, PAGE_BYTES_MAX, PAGE_EVENTS_DEFAULT};
pub use report::ReportContext;
pub use status::status_json;
pub use tree::{Entry, Node, Past, Tree};
