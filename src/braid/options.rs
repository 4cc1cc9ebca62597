//! How a store is opened.

use std::path::PathBuf;

use crate::braid::Clock;
use crate::disk::Disk;
use crate::fold::Limits;
use crate::model::ReplicaId;
use crate::store::SNAPSHOTS_KEPT;

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// Nothing is ever written.
    pub read_only: bool,
    /// Whether changes by other programs are followed while it is open.
    pub follow: bool,
    /// Whether the system is asked what came between two commits, which is worth it for who makes many; who follows asks it anyway. Else `events/`
    /// is listed for each.
    pub hinted: bool,
    /// Whether what an earlier process saved is set aside, so that every byte is read and checked again.
    pub from_scratch: bool,
    /// Whether every commit is made durable alone, instead of with those that wait beside it.
    pub one_by_one: bool,
    /// How many threads read files at most; more than there are processors only read where one waits for the disk.
    pub threads: usize,
    /// Whether files are compared with what was saved of them before the store is ready, instead of soon after.
    pub verify: bool,
    /// After how many changes the index is saved as a whole anew, if they are also a thirty-second part of it; so many a start goes through. A
    /// transaction of many events counts as half as many.
    pub save_after: usize,
    /// The disk; another one only in tests.
    pub disk: Disk,
    /// The time that new transactions carry; another one than the machine's only in tests.
    pub clock: Clock,
    /// Under which replica id is written, instead of the working copy's own; whoever gives it keeps writers apart.
    pub replica_id: Option<ReplicaId>,
    /// The program that runs user-defined folds; by default the one that [`worker_exe`](crate::braid::worker_exe) finds.
    pub worker: Option<PathBuf>,
    /// What a fold may use.
    pub fold_limits: Limits,
    /// How many saved states of a name are kept, the newest ones; at least one.
    pub snapshots_kept: usize,
}

impl Default for OpenOptions {
    fn default() -> Self {
        // More than there are processors: a disk that must be waited for answers many at once.
        let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(32, 64);
        Self {
            read_only: false,
            follow: false,
            hinted: false,
            from_scratch: false,
            one_by_one: false,
            threads,
            verify: false,
            save_after: 1024,
            disk: Disk::real(),
            clock: Clock::machine(),
            replica_id: None,
            worker: None,
            fold_limits: Limits::default(),
            snapshots_kept: SNAPSHOTS_KEPT,
        }
    }
}
