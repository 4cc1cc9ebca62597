//! Ids as newtypes, transactions, events, findings and rejections: what every row speaks of.

mod conflict;
mod declined;
mod errno;
mod finding;
mod ids;
mod origin;
mod payload;
mod rejection;
mod transaction;

pub use conflict::{BranchReport, ConflictReport, ConflictState, ForkReport};
pub use declined::Declined;
pub use errno::Errno;
pub use finding::{Finding, FindingKind, Severity};
pub use ids::{EventId, ReplicaId, TransactionId};
pub use origin::Origin;
pub use payload::Payload;
pub use rejection::{Reason, Rejection};
pub use transaction::{Draft, DraftEvent, Expectation, Header, ResolveRequest, SnapshotRequest};
