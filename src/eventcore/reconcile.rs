//! Reconciling: a resolver decides for each fork, one transaction closes all that it resolves.

use std::collections::BTreeMap;

use eventcore_types::{Event, StreamId};
use serde_json::value::to_raw_value;

use crate::braid::AppendError;
use crate::epoch::Epoch;
use crate::eventcore::draft::{NewEvent, draft_of};
use crate::eventcore::error::FsEventStoreError;
use crate::eventcore::merge::{BranchView, Fork, ForkContext, ReconcileReport, ResolutionOutcome};
use crate::eventcore::reading::decode;
use crate::eventcore::store::{FileEventStore, Shared};
use crate::model::{Draft, Errno, TransactionId};

/// How often a reconciliation starts anew because events came in between.
const ATTEMPTS_MAX: usize = 8;

/// What a resolver came to on all forks.
struct Decision {
    report: ReconcileReport,
    draft: Draft,
}

impl FileEventStore {
    /// Asks the resolver for each open fork, and closes those that it resolves with one transaction.
    ///
    /// If events come in between, the resolver is asked again. A fork that it leaves stays open for
    /// [`crate::braid`]; by [`FileEventStore::detect_forks`] it is joined as soon as anything else is appended.
    ///
    /// # Errors
    /// As [`FileEventStore::detect_forks`]; a branch's event that is no `E`; what the disk answered.
    pub async fn reconcile<E, R>(&self, resolver: R) -> Result<ReconcileReport, FsEventStoreError>
    where
        E: Event,
        R: Fn(&ForkContext<E>) -> ResolutionOutcome<E>,
    {
        for _ in 0..ATTEMPTS_MAX {
            let Decision { report, draft } = self.shared.decide(&resolver)?;
            if report.resolved == 0 {
                return Ok(report);
            }
            match self.commit(draft).await {
                Ok(_) => return Ok(report),
                Err(AppendError::Rejected(rejection)) if rejection.errno() == Errno::ESTALE => {}
                Err(error) => return Err(FsEventStoreError::of_append(&self.shared.root, &error)),
            }
        }
        Err(FsEventStoreError::StoreLocked { path: self.shared.root.join(".lock") })
    }
}

impl Shared {
    fn decide<E: Event>(&self, resolver: impl Fn(&ForkContext<E>) -> ResolutionOutcome<E>) -> Result<Decision, FsEventStoreError> {
        let epoch = self.braid.epoch();
        let mut report = ReconcileReport { resolved: 0, unresolved: Vec::new() };
        let mut events: Vec<NewEvent> = Vec::new();
        for fork in self.forks(&epoch)? {
            match resolver(&self.context(&epoch, &fork)?) {
                ResolutionOutcome::Unresolvable(reason) => {
                    tracing::info!(stream = %fork.stream_id, reason, "a fork is left");
                    report.unresolved.push(fork.stream_id);
                }
                ResolutionOutcome::Resolve(resolution) => {
                    report.resolved += 1;
                    for event in &resolution {
                        events.push(self.new_event(event)?);
                    }
                }
            }
        }
        let draft = self.merge_draft(&epoch, &events)?;
        Ok(Decision { report, draft })
    }

    /// A merge of all heads on the present versions of what it writes.
    fn merge_draft(&self, epoch: &Epoch, events: &[NewEvent]) -> Result<Draft, FsEventStoreError> {
        if events.is_empty() {
            return Ok(Draft::default());
        }
        let streams = events.iter().map(|event| event.stream_id.as_str());
        let expected: BTreeMap<String, u64> = streams.map(|stream| (stream.to_owned(), epoch.index.stream_version(stream))).collect();
        draft_of(&expected, events).map_err(|rejection| FsEventStoreError::of_append(&self.root, &rejection.into()))
    }

    fn new_event<E: Event>(&self, event: &E) -> Result<NewEvent, FsEventStoreError> {
        let stream: &StreamId = event.stream_id();
        let event_data = to_raw_value(event).map_err(|error| FsEventStoreError::Corrupted {
            path: self.root.clone(),
            detail: format!("event of stream \"{stream}\" cannot be serialized: {error}"),
        })?;
        Ok(NewEvent { stream_id: stream.as_ref().to_owned(), event_type: E::event_type_name(), event_data })
    }

    fn context<E: Event>(&self, epoch: &Epoch, fork: &Fork) -> Result<ForkContext<E>, FsEventStoreError> {
        let index = &epoch.index;
        let stream = index.streams.find(fork.stream_id.as_ref());
        let mut branches = Vec::with_capacity(fork.transactions.len());
        for &transaction_id in &fork.transactions {
            let Some(number) = index.transactions.find_valid(TransactionId(transaction_id.into_inner())) else { continue };
            let own = index.transactions.events(number).filter(|&event| Some(index.events.stream(event)) == stream);
            let decoded = own.map(|event| {
                decode(index, event).map_err(|error| FsEventStoreError::Corrupted {
                    path: self.file_of(epoch, number),
                    detail: format!("event of a branch is not what the resolver takes: {error}"),
                })
            });
            branches.push(BranchView { transaction_id, events: decoded.collect::<Result<_, _>>()? });
        }
        Ok(ForkContext { stream_id: fork.stream_id.clone(), base_version: fork.base_version, branches })
    }
}
