//! The mounted file system: the shell around `fs`, the daemon that runs it, and its end.

mod alone;
mod arrivals;
mod attach;
mod background;
mod checks;
mod convert;
mod cut;
mod error;
mod fuse;
mod guard;
mod heap;
pub mod home;
mod listing;
mod log;
mod notify;
mod otlp;
mod park;
mod session;
mod shell;
mod signals;
pub mod table;
mod tend;
mod umount;
mod verdicts;
mod waits;

use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use error::{Error, ErrorKind};
pub use guard::{COMMAND as GUARD_COMMAND, run as run_guard};
pub use log::VARIABLE as LOG_VARIABLE;
pub use otlp::Collector;
pub use umount::umount;

use crate::braid::{Braid, OpenOptions};
use crate::fs::{Checkpoints, Fs, Manner, Staging, Unfinished};
use crate::view;
use attach::Attachment;
use background::{Readiness, Side};
use checks::Place;
use notify::Queue;
use session::Session;
use signals::Signals;

/// The last of the descriptors that a daemon has of its own.
const STDERR: RawFd = 2;

/// What to mount, where and how.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The store's directory.
    pub store: PathBuf,
    /// The directory that shows it.
    pub mount_point: PathBuf,
    /// Whether the call returns when the mount has ended, instead of when it answers.
    pub foreground: bool,
    /// Without staging, `append` and locks.
    pub read_only: bool,
    /// Whether other users may read.
    pub allow_other: bool,
    /// Whether nothing is kept that can be had again: the kernel asks for everything each time, what an earlier process saved is set
    /// aside, and every commit is made durable alone. For looking for faults: every byte is the same.
    pub no_cache: bool,
    /// Where the log goes; none: the terminal in the foreground, else the system's log.
    pub log_file: Option<PathBuf>,
    /// Where spans are exported to besides.
    pub collector: Option<Collector>,
}

/// Mounts a store.
///
/// In the background it returns once the mount answers; in the foreground when it has ended. To be called before the process has
/// started any thread: the background is another process.
///
/// # Errors
/// Why the store cannot be mounted there, with what helps.
pub fn start(options: &Options) -> Result<(), Error> {
    let place = Place::find(&options.store, &options.mount_point)?;
    // What a descriptor stands for may have no path, and is there as long as the descriptor is.
    let descriptor = options.log_file.as_deref().and_then(log::descriptor).filter(|&fd| options.foreground || fd > STDERR);
    let log_file = options.log_file.as_deref().map(|path| if descriptor.is_some() { path.to_path_buf() } else { checks::absolute(path) });
    let options = Options { log_file, ..options.clone() };
    if options.foreground {
        return run(&options, &place, Readiness::unheard());
    }
    match background::split(descriptor)? {
        Side::Caller(result) => result,
        Side::Daemon(readiness) => {
            let ended = run(&options, &place, readiness);
            std::process::exit(i32::from(ended.is_err()))
        }
    }
}

fn run(options: &Options, place: &Place, readiness: Readiness) -> Result<(), Error> {
    heap::share();
    // Whoever sends the last spans is dropped last, when nothing is locked any more.
    let begun = Signals::hold().and_then(|signals| Ok((log::begin(options, &place.store)?, Daemon::begin(options, place)?, signals)));
    readiness.tell(&begun.as_ref().map(|_| ()).map_err(Clone::clone));
    let (_exporter, daemon, signals) = begun.inspect_err(|error| tracing::error!(%error, "cannot be mounted"))?;
    tracing::info!(store = %place.store.display(), mount_point = %place.point.display(), "mounted");
    let unused = daemon.session.wait(&signals);
    daemon.session.end(unused);
    tracing::info!(mount_point = %place.point.display(), "unmounted");
    Ok(())
}

/// What lives as long as a mount.
struct Daemon {
    session: Session,
    /// Finishes what it was asked for when it is dropped, after the session.
    _braid: Braid,
    /// Keeps a second writable daemon away.
    _alone: Option<Arc<alone::Alone>>,
}

impl Daemon {
    fn begin(options: &Options, place: &Place) -> Result<Self, Error> {
        let alone = if options.read_only { None } else { lead(&place.store)? };
        // Where nobody can be kept away, nothing is staged or written. That it is so is found by the store, which tries it again.
        let read_only = alone.is_none();
        let opening = OpenOptions {
            read_only: options.read_only,
            follow: true,
            from_scratch: options.no_cache,
            one_by_one: options.no_cache,
            ..OpenOptions::default()
        };
        let braid = Braid::open(&place.store, &opening).map_err(|failure| Error::new(failure.message, failure.hint))?;
        let staging = if read_only { None } else { Some(staging(&braid)?) };
        let (staging, unfinished) = staging.unzip();
        let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
        let manner = Manner { read_only, uid, gid, uncached: options.no_cache };
        let queue = Arc::new(Queue::default());
        let told = Arc::clone(&queue);
        let (past, states) = (braid.past(), braid.states());
        braid.on_publish(Box::new(move |_, epoch| {
            let tree = view::Tree::of(Arc::clone(epoch)).with_past(Arc::clone(&past)).with_states(Arc::clone(&states));
            told.publish(Arc::new(tree));
        }));
        // After the listener: an epoch in between is shown twice rather than never.
        let mut fs = Fs::new(manner, Arc::new(braid.tree()), staging);
        if !read_only {
            fs = fs.with_checkpoints(Checkpoints::new(Arc::new(braid.clone())));
        }
        let fs = Arc::new(fs);
        let attachment = Attachment { source: &place.store, point: &place.point, read_only, allow_other: options.allow_other };
        let session = Session::begin(&fs, &queue, &attachment, unfinished.zip(alone.clone()))?;
        Ok(Self { session, _braid: braid, _alone: alone })
    }
}

/// The lock of a store's writable daemon; none where its file system has no locks, so that it can only be read.
fn lead(store: &Path) -> Result<Option<Arc<alone::Alone>>, Error> {
    match alone::lock(store, alone::PATIENCE)? {
        alone::Lead::Alone(alone) => Ok(Some(Arc::new(alone))),
        alone::Lead::NoLocks(error) => {
            tracing::warn!(%error, "mounted for reading only, since no other daemon could be kept away");
            Ok(None)
        }
    }
}

/// The staging area of a store, with what a daemon before has left.
fn staging(braid: &Braid) -> Result<(Staging, Unfinished), Error> {
    let failed = |what: &str| Error::new(format!("staging area cannot be opened: {what}"), "check the permissions of tmp/ in the store");
    let files = braid.store().staging().map_err(|error| failed(&error.to_string()))?;
    let receipts = braid.store().receipts().map_err(|error| failed(&error.to_string()))?;
    let staging = Staging::new(files, receipts, Arc::new(braid.clone()));
    let unfinished = staging.recover().map_err(|errno| failed(errno.name()))?;
    Ok((staging, unfinished))
}
