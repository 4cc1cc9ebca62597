//! Drafts that were delivered twice: transactions of which another one has the key.

use std::collections::{BTreeMap, BTreeSet};

use crate::index::Index;
use crate::model::{Finding, FindingKind, Severity};

/// Those that were found, whether or not they are still here.
#[derive(Default)]
pub(super) struct DeliveredTwice(BTreeSet<u32>);

impl DeliveredTwice {
    /// Notes which of the new transactions carry a key that another one has; gives whether any does.
    pub(super) fn note(&mut self, index: &Index, shown: &[u32]) -> bool {
        let transactions = &index.transactions;
        let mut has_any = false;
        for &tx in shown {
            let key = transactions.details(tx).and_then(|details| details.key.as_deref());
            if let Some(other) = key.and_then(|key| transactions.find_key(key)).filter(|&other| other != tx) {
                self.0.extend([tx, other]);
                has_any = true;
            }
        }
        has_any
    }

    /// What is to be saved of them.
    pub(super) fn to_save(&self) -> BTreeSet<u32> {
        self.0.clone()
    }

    /// Takes over what was saved.
    pub(super) fn resume(&mut self, saved: BTreeSet<u32>) {
        self.0.extend(saved);
    }

    /// Goes back to an index that was published.
    pub(super) fn take_back(&mut self, index: &Index) {
        self.0.retain(|&number| number < index.transactions.len());
    }

    /// Of each key, those that came behind the first in canonical order.
    pub(super) fn findings(&self, index: &Index) -> Vec<Finding> {
        let transactions = &index.transactions;
        let mut by_key: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for &tx in self.0.iter().filter(|&&tx| transactions.is_valid(tx)) {
            if let Some(key) = transactions.details(tx).and_then(|details| details.key.as_deref()) {
                by_key.entry(key).or_default().push(tx);
            }
        }
        let mut findings = Vec::new();
        for (key, mut of_key) in by_key.into_iter().filter(|(_, of_key)| of_key.len() > 1) {
            of_key.sort_by(|&a, &b| transactions.compare(a, b));
            let first = of_key.first().map(|&tx| transactions.id(tx).to_string()).unwrap_or_default();
            findings.extend(of_key.iter().skip(1).map(|&tx| Finding {
                kind: FindingKind::DeliveredTwice,
                // Nothing undoes it, so it is worth knowing for good.
                severity: Severity::Info,
                file: Some(transactions.file_name(tx)),
                transaction_id: Some(transactions.id(tx)),
                message: format!(
                    "transaction \"{}\" has the key \"{}\" of transaction \"{first}\"",
                    transactions.id(tx),
                    key.escape_debug()
                ),
                hint: "both count for good; append an event that takes back what happened twice, if that is wrong".to_owned(),
            }));
        }
        findings
    }
}
