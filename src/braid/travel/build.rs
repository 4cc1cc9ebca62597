//! Makes a past epoch of the present one.

use std::collections::HashSet;
use std::sync::Arc;

use crate::braid::keeper::findings::dangling_findings;
use crate::braid::travel::cure_of_absent;
use crate::braid::travel::revision::{FromGit, Revision, names};
use crate::disk::quoted_name;
use crate::epoch::{Counters, Epoch, PastFacts, Progress, Quarantined, WriterState};
use crate::index::feed::{Feed, Slot};
use crate::index::{Index, Touched};
use crate::model::{EventId, Finding, FindingKind, Severity, TransactionId};

/// The epoch of some transactions of the present; `hint` says what brings parents that are missing.
pub(super) fn from_present(present: &Epoch, chosen: &[u32], hint: impl Fn(&[TransactionId]) -> String) -> Epoch {
    let mut index = present.index.clone();
    keep_only(&mut index, chosen);
    number_anew(&mut index);
    let findings = kept_findings(present, &names(present, chosen));
    epoch(present, index, Vec::new(), findings, hint)
}

/// The epoch of the files in a commit's tree.
pub(super) fn from_revision(present: &Epoch, revision: &Revision, elsewhere: FromGit) -> Epoch {
    let mut index = present.index.clone();
    // What is entered here must never reach the file behind the present's lines.
    index.pack.detach();
    keep_only(&mut index, &revision.kept);
    let entered: Vec<u32> = revision.foreign.iter().map(|counted| enter(&mut index, counted)).collect();
    index.link(&entered, &[]);
    number_anew(&mut index);
    let mut findings = kept_findings(present, &names(present, &revision.kept));
    findings.extend(revision.foreign.iter().flat_map(|counted| counted.good.findings(&counted.blob.name)));
    let quarantined = quarantined(&index, revision);
    findings.extend(quarantined.iter().map(refused));
    findings.extend(revision.duplicates.iter().map(|(file, of)| duplicate(file, *of)));
    let past = epoch(present, index, quarantined, findings, |absent| cure_of_absent(absent, true));
    Epoch { past: Some(PastFacts { incarnation: 0, elsewhere: Some(Arc::new(elsewhere)) }), ..past }
}

fn keep_only(index: &mut Index, kept: &[u32]) {
    let kept: HashSet<u32> = kept.iter().copied().collect();
    let transactions = &index.transactions;
    let gone: Vec<u32> = (0..transactions.len()).filter(|tx| transactions.is_present(*tx) && !kept.contains(tx)).collect();
    index.link(&[], &gone);
}

fn enter(index: &mut Index, counted: &crate::braid::travel::revision::Counted) -> u32 {
    let (good, name) = (&counted.good, counted.blob.name.as_str());
    let odd_name = (!good.header.transaction_id.is_file_name(name)).then_some(name);
    index.enter(&good.arrival(odd_name, None), &good.lines)
}

/// Gives sequence numbers as a replica does that takes everything in at once.
fn number_anew(index: &mut Index) {
    let Index { feed, events, pack, log, .. } = index;
    for event in (0..events.len()).filter(|&event| events.seq_nr(event) != 0).collect::<Vec<_>>() {
        events.set_seq_nr(event, 0);
    }
    let mut seen: HashSet<EventId> = HashSet::new();
    let once = log.events.iter_from(0).filter(|&event| seen.insert(events.id(event, pack)));
    let slots: Vec<Slot> = once.map(Slot::Event).collect();
    *feed = Feed::default();
    feed.append(&slots, events);
}

/// What is worth a report about files that are the same in the present.
fn kept_findings(present: &Epoch, names: &HashSet<String>) -> Vec<Finding> {
    let is_kept = |finding: &&Finding| finding.file.as_ref().is_some_and(|file| names.contains(file));
    findings_of_bytes(present).filter(is_kept).cloned().collect()
}

/// What is told of files as they are, whatever else is there.
pub(super) fn findings_of_bytes(present: &Epoch) -> impl Iterator<Item = &Finding> {
    present.findings.iter().filter(|finding| {
        matches!(finding.kind, FindingKind::Healed | FindingKind::Misnamed | FindingKind::OddHeader | FindingKind::UnreadableByEventcore)
    })
}

/// What is told of a file that did not count then.
fn refused(refused: &Quarantined) -> Finding {
    Finding {
        kind: FindingKind::Quarantined,
        severity: Severity::Error,
        transaction_id: TransactionId::of_file_name(&refused.file),
        message: format!("file \"{}\" is refused: {}", refused.file, refused.reason),
        hint: format!("git log --all --oneline -- events/{}   # what it said in other commits", quoted_name(&refused.file)),
        file: Some(refused.file.clone()),
    }
}

/// What is told of a second file of a transaction.
fn duplicate(file: &str, of: TransactionId) -> Finding {
    Finding {
        kind: FindingKind::Duplicate,
        severity: Severity::Info,
        file: Some(file.to_owned()),
        transaction_id: Some(of),
        message: format!("file \"{file}\" says the same as the file of transaction \"{of}\""),
        hint: format!("git log --all --oneline -- events/{}   # whether it is there still", quoted_name(file)),
    }
}

fn quarantined(index: &Index, revision: &Revision) -> Vec<Quarantined> {
    let refused = revision.refused.iter().map(|(blob, reason)| Quarantined {
        file: blob.name.clone(),
        size: blob.bytes.len() as u64,
        mtime_ns: 0,
        reason: reason.clone(),
    });
    let mut all: Vec<Quarantined> = refused.chain(crate::braid::keeper::roster::cyclic(index)).collect();
    all.sort_by(|a, b| a.file.cmp(&b.file));
    all
}

fn epoch(
    present: &Epoch,
    index: Index,
    quarantined: Vec<Quarantined>,
    mut findings: Vec<Finding>,
    hint: impl Fn(&[TransactionId]) -> String,
) -> Epoch {
    findings.extend(dangling_findings(&index, |_| false, hint));
    findings.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.cmp(b)));
    let count = u64::from(index.transactions.valid_count());
    Epoch {
        number: 1,
        name: 1,
        touched: Touched::default(),
        feed_shown: index.feed.latest(),
        quarantined: Arc::new(quarantined),
        findings: Arc::new(findings),
        // A fresh store has none.
        snapshots: Arc::default(),
        checkpoints: Arc::default(),
        // A fresh store has not asked git.
        origins: Arc::default(),
        forks_number: 0,
        declined: Arc::default(),
        eventless_gone: Arc::default(),
        replica_id: None,
        writer: WriterState::ReadOnly,
        progress: Progress { done: count, of: count, ordered: true, ready: true, failed: false },
        counters: Counters::default(),
        store: Arc::clone(&present.store),
        past: None,
        index,
    }
}
