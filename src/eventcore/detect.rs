//! Forks as eventcore-fs finds them: concurrent transactions that state the same base of a stream.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use eventcore_types::{StreamId, StreamVersion};
use uuid::Uuid;

use crate::dag::{Graph, Reach};
use crate::epoch::Epoch;
use crate::eventcore::error::FsEventStoreError;
use crate::eventcore::merge::{DanglingTransaction, Fork, IntegrityFailure, StoreStatus, TransactionId};
use crate::eventcore::store::{Bases, FileEventStore, Shared};
use crate::format::transaction::normalize;
use crate::index::transactions::Transactions;
use crate::model::ReplicaId;

/// Threads that read headers.
const THREADS: usize = 4;

/// Ancestry of the transactions that are in the views.
struct Ancestry<'a>(&'a Transactions);

impl Graph for Ancestry<'_> {
    fn parents(&self, n: u32) -> impl Iterator<Item = u32> {
        self.0.parents(n)
    }

    fn depth(&self, n: u32) -> u32 {
        self.0.depth(n)
    }
}

impl FileEventStore {
    /// The forks that no transaction has joined: a stream that two or more concurrent transactions continued from one
    /// version.
    ///
    /// Costs nothing much while there is one head; else the headers of all transactions are read once.
    ///
    /// # Errors
    /// [`FsEventStoreError::ReplicaIdentityConflict`] where one replica id wrote two concurrent transactions.
    pub fn detect_forks(&self) -> Result<Vec<Fork>, FsEventStoreError> {
        self.shared.forks(&self.shared.braid.epoch())
    }

    /// Forks, transactions whose parents are missing, and files that are left out.
    ///
    /// # Errors
    /// As [`FileEventStore::detect_forks`].
    pub fn status(&self) -> Result<StoreStatus, FsEventStoreError> {
        let epoch = self.shared.braid.epoch();
        Ok(StoreStatus { forks: self.shared.forks(&epoch)?, dangling: dangling(&epoch), integrity_failures: integrity_failures(&epoch) })
    }
}

impl Shared {
    pub(super) fn forks(&self, epoch: &Epoch) -> Result<Vec<Fork>, FsEventStoreError> {
        let transactions = &epoch.index.transactions;
        let heads: Vec<u32> = transactions.head_numbers().iter().copied().collect();
        // A single head without a merge ends a chain.
        if heads.len() > 1 || transactions.merge_count() > 0 {
            check_identities(epoch)?;
        }
        // A single head descends from everything, so it joins everything.
        if heads.len() < 2 {
            return Ok(Vec::new());
        }
        let mut reach = Reach::default();
        let graph = Ancestry(transactions);
        let mut forks = Vec::new();
        for ((stream, base), candidates) in self.groups(epoch) {
            let joined = heads.iter().any(|&head| reach.has_ancestors(&graph, &candidates, head));
            if joined || is_chain(&mut reach, &graph, &candidates) {
                continue;
            }
            let corrupted = |detail| FsEventStoreError::Corrupted {
                path: self.file_of(epoch, candidates.first().copied().unwrap_or_default()),
                detail,
            };
            let stream_id = StreamId::try_new(&*stream).map_err(|error| corrupted(format!("stream \"{stream}\": {error}")))?;
            let mut ids: Vec<TransactionId> = candidates.iter().map(|&tx| TransactionId::new(transactions.id(tx).0)).collect();
            ids.sort_unstable();
            forks.push(Fork { stream_id, base_version: StreamVersion::new(base as usize), transactions: ids });
        }
        Ok(forks)
    }

    pub(super) fn file_of(&self, epoch: &Epoch, transaction: u32) -> PathBuf {
        self.root.join("events").join(epoch.index.transactions.file_name(transaction))
    }

    /// The transactions that state the same base of a stream, two or more.
    fn groups(&self, epoch: &Epoch) -> BTreeMap<(Box<str>, u64), Vec<u32>> {
        let mut groups: BTreeMap<(Box<str>, u64), Vec<u32>> = BTreeMap::new();
        let order: Vec<u32> = epoch.index.order.iter_from(0).collect();
        for (transaction, bases) in order.iter().zip(self.bases_of(epoch, &order)) {
            for (stream, base) in bases.iter() {
                groups.entry((stream.clone(), *base)).or_default().push(*transaction);
            }
        }
        groups.retain(|_, candidates| candidates.len() > 1);
        groups
    }

    /// The bases of transactions; only headers that were not asked for before are read.
    fn bases_of(&self, epoch: &Epoch, order: &[u32]) -> Vec<Arc<Bases>> {
        let transactions = &epoch.index.transactions;
        let mut known = self.bases.lock().unwrap_or_else(PoisonError::into_inner);
        let unknown: Vec<u32> = order.iter().copied().filter(|&tx| !known.contains_key(&transactions.id(tx))).collect();
        let names: Vec<String> = unknown.iter().map(|&tx| transactions.file_name(tx)).collect();
        let read = self.braid.store().load_many(&names, THREADS, |_, loaded| {
            let header = loaded.ok().and_then(|(bytes, _)| normalize(bytes).ok().map(|normal| normal.header));
            header
                .map(|header| header.stream_bases.into_iter().map(|(stream, base)| (stream.into_boxed_str(), base)).collect::<Arc<Bases>>())
        });
        for (&tx, bases) in unknown.iter().zip(read) {
            // A file that has gone meanwhile is asked for again, should it come back.
            if let Some(bases) = bases {
                known.insert(transactions.id(tx), bases);
            }
        }
        let none: Arc<Bases> = Arc::from([]);
        order.iter().map(|&tx| known.get(&transactions.id(tx)).unwrap_or(&none).clone()).collect()
    }
}

/// Whether of any two transactions one descends from the other.
fn is_chain(reach: &mut Reach, graph: &Ancestry<'_>, transactions: &[u32]) -> bool {
    first_apart(reach, graph, transactions).is_none()
}

/// The first two neighbours of which neither descends from the other, transactions being in canonical order.
///
/// Ancestors come first in that order, so that neighbours tell of all.
fn first_apart(reach: &mut Reach, graph: &Ancestry<'_>, transactions: &[u32]) -> Option<(u32, u32)> {
    let pairs = transactions.iter().copied().zip(transactions.iter().copied().skip(1));
    pairs.into_iter().find(|&(before, after)| !reach.is_ancestor(graph, before, after))
}

/// Each replica id belongs to one writer, so that its transactions form a chain.
fn check_identities(epoch: &Epoch) -> Result<(), FsEventStoreError> {
    let transactions = &epoch.index.transactions;
    let mut chains: HashMap<ReplicaId, Vec<u32>> = HashMap::new();
    for transaction in epoch.index.order.iter_from(0) {
        chains.entry(transactions.replica(transaction)).or_default().push(transaction);
    }
    let mut chains: Vec<(ReplicaId, Vec<u32>)> = chains.into_iter().collect();
    chains.sort_unstable();
    let mut reach = Reach::default();
    for (replica, chain) in chains {
        if let Some((one, other)) = first_apart(&mut reach, &Ancestry(transactions), &chain) {
            let [mut first, mut second] = [one, other].map(|tx| transactions.id(tx).0);
            if second < first {
                std::mem::swap(&mut first, &mut second);
            }
            return Err(FsEventStoreError::ReplicaIdentityConflict { first, second, replica_id: replica.0 });
        }
    }
    Ok(())
}

fn dangling(epoch: &Epoch) -> Vec<DanglingTransaction> {
    let transactions = &epoch.index.transactions;
    let mut by_child: BTreeMap<TransactionId, Vec<TransactionId>> = BTreeMap::new();
    let id = |tx| TransactionId::new(transactions.id(tx).0);
    for (&parent, children) in transactions.missing() {
        for &child in children.iter().filter(|&&child| transactions.is_valid(child)) {
            by_child.entry(id(child)).or_default().push(id(parent));
        }
    }
    by_child.into_iter().map(|(transaction_id, missing_parents)| DanglingTransaction { transaction_id, missing_parents }).collect()
}

fn integrity_failures(epoch: &Epoch) -> Vec<IntegrityFailure> {
    let refused = epoch.quarantined.iter();
    refused
        .map(|refused| {
            let named = refused.file.strip_suffix(".jsonl").and_then(|id| Uuid::parse_str(id).ok());
            let detail = format!("file \"{}\": {}", refused.file, refused.reason);
            IntegrityFailure { transaction_id: TransactionId::new(named.unwrap_or_default()), detail }
        })
        .collect()
}
