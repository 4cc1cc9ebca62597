//! Reconciliation: what is open is shown to a resolver, and what it answers becomes one transaction.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use serde_json::value::RawValue;
use tracing::field::Empty;

use crate::braid::keeper::forked::{Proposal, resolutions_that_met};
use crate::braid::spans::{count, micros};
use crate::braid::{AppendError, Braid, Committed};
use crate::dag::{Conflict, Fork};
use crate::epoch::Epoch;
use crate::index::sequence::Sequence;
use crate::model::{BranchReport, ConflictReport, ConflictState, Declined, DraftEvent};
use crate::view::{Lines, Numbers, base_events, branch_events};

/// A conflict as a resolver gets it: the report, and every event that it is about.
#[derive(Clone, Debug, Serialize)]
pub struct OpenConflict {
    /// Its 12 hex digits.
    pub conflict: String,
    /// How it stands.
    pub state: ConflictState,
    /// Why somebody who was asked in this working copy did not settle it before; null where nobody declined.
    pub declined: Option<Declined>,
    /// The store's heads.
    pub heads: Vec<String>,
    /// Its forks, in the order of the streams' ids.
    pub streams: Vec<OpenFork>,
}

/// A stream with two or more tips, and its events.
#[derive(Clone, Debug, Serialize)]
pub struct OpenFork {
    /// The stream.
    pub stream_id: String,
    /// Where it is shown below `forks/<conflict>/`.
    pub path: String,
    /// How many of its events all branches have in common.
    pub base_version: u64,
    /// The latest transactions that all branches have in common.
    pub fork_point: Vec<String>,
    /// The events that all branches have in common, in canonical order, each as a line of a view without its end.
    pub base: Vec<Box<RawValue>>,
    /// Its branches.
    pub branches: Vec<OpenBranch>,
}

/// One side of a fork, and its events.
#[derive(Clone, Debug, Serialize)]
pub struct OpenBranch {
    /// What the report says of it.
    #[serde(flatten)]
    pub report: BranchReport,
    /// Its events in canonical order, each as a line of a view without its end.
    pub lines: Vec<Box<RawValue>>,
}

/// What a resolver decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// The conflict is settled, with these events; none are needed.
    Events(Vec<DraftEvent>),
    /// It stays open, for this reason.
    Unresolvable(String),
}

/// Decides what two histories of the same streams mean together.
pub trait Resolver {
    /// Decides on one conflict.
    fn resolve(&mut self, conflict: &OpenConflict) -> Resolution;
}

impl<F: FnMut(&OpenConflict) -> Resolution> Resolver for F {
    fn resolve(&mut self, conflict: &OpenConflict) -> Resolution {
        self(conflict)
    }
}

/// What a pass of [`Braid::reconcile`] is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReconcileOptions {
    /// The conflicts to decide on; none is all.
    pub only: Option<Vec<String>>,
    /// Whether provisional conflicts are decided on too; they stay and are reported otherwise.
    pub force: bool,
}

/// What a pass came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// The transaction that resolved, unless nothing was resolved.
    pub committed: Option<Committed>,
    /// The conflicts that it resolved.
    pub resolved: Vec<String>,
    /// The conflicts that stay, each with the reason.
    pub declined: Vec<(String, String)>,
}

impl Braid {
    /// The open conflicts as of the newest epoch, in the order of their ids.
    #[must_use]
    pub fn forks(&self) -> Vec<ConflictReport> {
        let epoch = self.epoch();
        epoch.index.forks().conflicts().iter().map(|conflict| ConflictReport::of(epoch.as_ref(), conflict)).collect()
    }

    /// Shows open conflicts to a resolver and commits everything that it settles as one transaction; what it declines stays, and
    /// says so in this working copy.
    ///
    /// # Errors
    /// See [`AppendError`]; refused with ESTALE if a conflict has changed meanwhile. Nothing is committed then.
    pub fn reconcile(&self, mut resolver: impl Resolver, options: &ReconcileOptions) -> Result<Reconciled, AppendError> {
        let span = tracing::info_span!("reconcile", resolved = Empty, declined = Empty, duration_us = Empty).entered();
        let begun = Instant::now();
        let pass = self.reconcile_now(&mut resolver, options);
        if let Ok(pass) = &pass {
            span.record("resolved", count(pass.resolved.len()));
            span.record("declined", count(pass.declined.len()));
        }
        span.record("duration_us", micros(begun));
        pass
    }

    fn reconcile_now(&self, resolver: &mut impl Resolver, options: &ReconcileOptions) -> Result<Reconciled, AppendError> {
        let epoch = self.epoch();
        let mut pass = Reconciled::default();
        let mut declined = Vec::new();
        let mut proposal = Proposal { force: options.force, ..Proposal::default() };
        for id in self.chosen(&epoch, options) {
            let Some(conflict) = epoch.index.forks().find(&id) else {
                // The keeper says what is open instead.
                proposal.conflicts.push(id);
                continue;
            };
            if conflict.is_provisional() && !options.force {
                pass.declined.push((id, "it is provisional: a parent is missing in its past; force resolves it all the same".to_owned()));
                continue;
            }
            match resolver.resolve(&open_conflict(&epoch, conflict)) {
                Resolution::Unresolvable(reason) => {
                    declined.push((id.clone(), reason.clone()));
                    pass.declined.push((id, reason));
                }
                Resolution::Events(events) => {
                    proposal.draft.events.extend(events);
                    proposal.conflicts.push(id);
                }
            }
        }
        if !proposal.conflicts.is_empty() {
            pass.resolved.clone_from(&proposal.conflicts);
            pass.committed = Some(self.commit(proposal)?);
        }
        match self.remember_declined(declined) {
            // What was committed stands, whatever was not noted.
            Err(error) if pass.committed.is_some() => tracing::warn!(%error, "why conflicts were declined could not be noted"),
            noted => noted?,
        }
        Ok(pass)
    }

    /// Joins the heads to one where several working copies settled conflicts at once and nothing is open: by one more transaction,
    /// without events, which names the streams that they name. Gives none, and does nothing, for any other heads.
    ///
    /// The next transaction would join them as well. For who is certain that nobody else does the same now: of two that join at
    /// once, both are heads again.
    ///
    /// # Errors
    /// See [`AppendError`]; refused with ESTALE if the heads have changed meanwhile. Nothing is committed then.
    pub fn join_resolutions(&self) -> Result<Option<Committed>, AppendError> {
        let Some(met) = resolutions_that_met(&self.epoch().index) else { return Ok(None) };
        self.commit(Proposal { joins: Some(met), ..Proposal::default() }).map(Some)
    }

    fn chosen(&self, epoch: &Epoch, options: &ReconcileOptions) -> Vec<String> {
        let all = || epoch.index.forks().conflicts().iter().map(|conflict| conflict.id.clone()).collect();
        let mut chosen = options.only.clone().unwrap_or_else(all);
        // One that is named twice is decided once.
        let mut seen = HashSet::new();
        chosen.retain(|id| seen.insert(id.clone()));
        chosen
    }

    /// An open conflict with its events, as of the newest epoch.
    #[must_use]
    pub fn find_conflict(&self, id: &str) -> Option<OpenConflict> {
        let epoch = self.epoch();
        epoch.index.forks().find(id).map(|conflict| open_conflict(&epoch, conflict))
    }
}

fn open_conflict(epoch: &Arc<Epoch>, conflict: &Conflict) -> OpenConflict {
    let report = ConflictReport::of(epoch.as_ref(), conflict);
    let streams = conflict.forks.iter().zip(report.streams).map(|(fork, report)| {
        let branches = fork.branches.iter().zip(report.branches);
        OpenFork {
            stream_id: report.stream_id,
            path: report.path,
            base_version: report.base_version,
            fork_point: report.fork_point,
            base: lines(epoch, &base_events(&epoch.index, fork)),
            branches: branches.map(|(branch, report)| OpenBranch { report, lines: branch_lines(epoch, fork, branch) }).collect(),
        }
    });
    OpenConflict {
        streams: streams.collect(),
        conflict: report.conflict,
        state: report.state,
        declined: report.declined,
        heads: report.heads,
    }
}

fn branch_lines(epoch: &Arc<Epoch>, fork: &Fork, branch: &crate::dag::forks::Branch) -> Vec<Box<RawValue>> {
    lines(epoch, &branch_events(&epoch.index, fork, branch))
}

fn lines(epoch: &Arc<Epoch>, events: &[u32]) -> Vec<Box<RawValue>> {
    let mut items = Sequence::default();
    items.splice(0, events, |event| epoch.index.weight(event));
    let lines = Lines::new(Arc::clone(epoch), items, Numbers::Version);
    let bytes = lines.read(0, usize::try_from(lines.size()).unwrap_or(usize::MAX));
    // A line of a view is one JSON value; what is not cannot be shown.
    String::from_utf8_lossy(&bytes).lines().filter_map(|line| RawValue::from_string(line.to_owned()).ok()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout)]
mod tests;
