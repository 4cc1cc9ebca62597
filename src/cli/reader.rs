//! Opening the store for a command.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::failure::Result;
use super::progress::{advance, bar};
use super::{Session, locate};
use crate::braid::{Braid, OpenOptions};
use crate::disk::Disk;
use crate::epoch::Epoch;
use crate::store::{Mode, Store};
use crate::view::Tree;

/// What takes no longer shows no progress.
const UNSEEN: Duration = Duration::from_millis(100);

/// Which state a command reads.
#[derive(Args)]
pub(super) struct Moment {
    /// As of then: a git revision, a transaction, position:N, seq:N, epoch:N or time:2026-01-31T12:00:00Z
    #[arg(long, value_name = "WHEN")]
    at: Option<String>,
}

/// The tree of the session's store as of a moment.
pub(super) fn tree_at(session: &Session, moment: &Moment) -> Result<Tree> {
    let Some(when) = &moment.at else { return tree(session) };
    let directory = locate::named_or_found(session, &Disk::real())?;
    let (braid, _) = open(session, &directory, true)?;
    let epoch = braid.at(when)?;
    Ok(Tree::of(epoch))
}

/// The tree of the session's store, for commands that change nothing.
pub(super) fn tree(session: &Session) -> Result<Tree> {
    let directory = locate::named_or_found(session, &Disk::real())?;
    let (_, epoch) = open(session, &directory, true)?;
    Ok(Tree::of(epoch))
}

/// The tree in which every event that can have a number of the feed has one.
///
/// Numbers are given by whoever may write. Where this process may not, those that were given before are shown, and standard error has what
/// that lacks.
pub(super) fn numbered_tree(session: &Session) -> Result<Tree> {
    let directory = locate::named_or_found(session, &Disk::real())?;
    let (_, epoch) = open(session, &directory, false).or_else(|_| open(session, &directory, true))?;
    if let Some(lacks) = epoch.index.feed_lacks(epoch.feed_shown, epoch.index.log.events.iter_from(0)) {
        session.out.note(&lacks.to_string(), &[]);
    }
    Ok(Tree::of(epoch))
}

/// The tree of a moment; without one, as [`numbered_tree`].
pub(super) fn numbered_tree_at(session: &Session, moment: &Moment) -> Result<Tree> {
    if moment.at.is_some() { tree_at(session, moment) } else { numbered_tree(session) }
}

/// The session's store, with everything in it taken in.
pub(super) fn braid(session: &Session, read_only: bool) -> Result<Braid> {
    let directory = locate::named_or_found(session, &Disk::real())?;
    Ok(open(session, &directory, read_only)?.0)
}

/// Opens a store and waits until everything in it is taken in.
pub(super) fn open(session: &Session, directory: &Path, read_only: bool) -> Result<(Braid, Arc<Epoch>)> {
    open_by(session, directory, &OpenOptions { read_only, ..OpenOptions::default() })
}

/// The same by any options.
pub(super) fn open_by(session: &Session, directory: &Path, options: &OpenOptions) -> Result<(Braid, Arc<Epoch>)> {
    // Asked first, because it tells what is no store from what cannot be read.
    Store::open(directory, &Disk::real(), Mode::ReadOnly)?;
    let braid = Braid::open(directory, options)?;
    let is_over = |epoch: &Epoch| epoch.progress.ready || epoch.progress.failed;
    if braid.wait(is_over, UNSEEN).is_none() {
        let progress = bar(session.format, "reading transactions", None);
        let (shown, now) = (progress.clone(), braid.epoch().progress);
        advance(&shown, now.done, now.of);
        braid.on_publish(Box::new(move |_, epoch| {
            if !is_over(epoch) {
                advance(&shown, epoch.progress.done, epoch.progress.of);
            }
        }));
        // Why it is over is asked below.
        drop(braid.wait_ready());
        progress.finish_and_clear();
    }
    let epoch = braid.wait_ready()?;
    Ok((braid, epoch))
}
