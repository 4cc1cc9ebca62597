//! What is told of the files in `events/`, put together once and kept until one of them changes: a commit does not pay for it.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use crate::epoch::Quarantined;
use crate::format::text::counted;
use crate::model::{Finding, FindingKind, Severity};

/// How many findings of one kind are told one by one; the rest is counted.
const TOLD_MAX: usize = 100;

/// A map that counts its changes.
#[derive(Debug)]
pub(in crate::braid) struct Counted<K, V> {
    map: BTreeMap<K, V>,
    changes: u64,
}

impl<K, V> Default for Counted<K, V> {
    fn default() -> Self {
        Self { map: BTreeMap::new(), changes: 0 }
    }
}

impl<K, V> Deref for Counted<K, V> {
    type Target = BTreeMap<K, V>;

    fn deref(&self) -> &Self::Target {
        &self.map
    }
}

impl<K: Ord, V> Counted<K, V> {
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.changes += 1;
        self.map.insert(key, value)
    }

    pub(super) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let removed = self.map.remove(key);
        self.changes += u64::from(removed.is_some());
        removed
    }

    /// How often it was changed.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }
}

/// What is told of the files.
#[derive(Debug)]
pub(super) struct FilesTold {
    /// The refused files, by name.
    pub(super) quarantined: Arc<Vec<Quarantined>>,
    /// What was found about files.
    pub(in crate::braid) findings: Told,
}

impl FilesTold {
    pub(super) fn is_refused(&self, file: &str) -> bool {
        self.quarantined.binary_search_by(|refused| refused.file.as_str().cmp(file)).is_ok()
    }
}

/// Findings, the gravest first, and of each kind only as many as are told one by one.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    findings: Vec<Finding>,
    /// How many more there are of a kind, and how grave.
    more: BTreeMap<FindingKind, (usize, Severity)>,
}

impl Told {
    /// These findings; `adjust` is done to them in their order before they are counted.
    pub(super) fn of(mut findings: Vec<Finding>, adjust: impl FnOnce(&mut Vec<Finding>)) -> Self {
        findings.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.cmp(b)));
        adjust(&mut findings);
        let mut counts: BTreeMap<FindingKind, usize> = BTreeMap::new();
        let mut told = Self::default();
        for finding in findings {
            let count = counts.entry(finding.kind).or_default();
            *count += 1;
            if *count <= TOLD_MAX {
                told.findings.push(finding);
            } else {
                told.more.entry(finding.kind).or_insert((0, finding.severity)).0 += 1;
            }
        }
        told
    }

    /// The same with more findings among them.
    pub(super) fn with(self, mut others: Vec<Finding>, adjust: impl FnOnce(&mut Vec<Finding>)) -> Self {
        others.extend(self.findings);
        let mut told = Self::of(others, adjust);
        for (kind, (count, severity)) in self.more {
            told.more.entry(kind).or_insert((0, severity)).0 += count;
        }
        told
    }

    /// All of it, and for each kind of which there are more one finding that counts those.
    pub(super) fn into_findings(self) -> Vec<Finding> {
        let more = self.more.into_iter().map(|(kind, (count, severity))| Finding {
            kind,
            severity,
            file: None,
            transaction_id: None,
            message: format!("{} of the kind \"{}\"", counted(count, "more finding"), kind.name()),
            hint: "braidfs verify".to_owned(),
        });
        self.findings.into_iter().chain(more).collect()
    }
}
