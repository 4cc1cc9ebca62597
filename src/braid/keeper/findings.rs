//! What is worth a report, put together for an epoch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::braid::keeper::Keeper;
use crate::braid::keeper::memory::Memory;
use crate::braid::keeper::told::{FilesTold, Told};
use crate::braid::keeper::vanished::{file_of, vanished_events};
use crate::dag::StaleRead;
use crate::disk::quoted_name;
use crate::epoch::Quarantined;
use crate::index::{Index, Linked};
use crate::model::{EventId, Finding, FindingKind, Severity, TransactionId};

/// How many refused files are looked into for events that have gone.
const REFUSED_READ_MAX: usize = 100;
/// How many writers of a stream that was read a finding names.
const WRITERS_TOLD_MAX: usize = 3;

/// What was there before transactions came, to tell whether any of them gives something to report.
pub(super) struct Before {
    transactions: u32,
    shared: usize,
    stale: Arc<BTreeMap<(u32, u32), StaleRead>>,
}

impl Before {
    pub(super) fn of(index: &Index) -> Self {
        let stale = Arc::clone(index.forks().stale_reads());
        Self { transactions: index.transactions.len(), shared: index.events.shared_count(), stale }
    }

    /// Whether what came changed nothing that is told of transactions: nobody has heard of it before, its parents are all here, and it has
    /// nothing that another one has. Keys are asked of [`DeliveredTwice`].
    ///
    /// [`DeliveredTwice`]: crate::braid::keeper::delivered::DeliveredTwice
    pub(super) fn is_all_there_is_to_tell(&self, index: &Index, linked: &Linked, memory: &Memory) -> bool {
        let transactions = &index.transactions;
        let is_new = |&tx: &u32| tx >= self.transactions && transactions.listed(tx).all(|parent| transactions.is_valid(parent));
        let is_edited = |&tx: &u32| memory.edited.contains_key(&transactions.file_name(tx));
        linked.hidden.is_empty()
            && linked.moved.is_empty()
            && linked.shown.iter().all(is_new)
            && index.events.shared_count() == self.shared
            && Arc::ptr_eq(index.forks().stale_reads(), &self.stale)
            && (memory.edited.is_empty() || !linked.shown.iter().any(is_edited))
    }
}

/// What was told last, and of what.
#[derive(Default)]
pub(super) struct LastTold {
    /// What lasts, and with which files; none if it may have changed since.
    lasting: Option<(Arc<FilesTold>, Arc<Told>)>,
    all: Option<AllTold>,
    /// How often what lasts was put together.
    #[cfg(test)]
    pub(super) times: u32,
}

/// All that was told.
struct AllTold {
    lasting: Arc<Told>,
    besides: Vec<Finding>,
    findings: Arc<Vec<Finding>>,
}

impl LastTold {
    /// Notes that what lasts may have changed.
    pub(super) fn forget(&mut self) {
        self.lasting = None;
    }
}

impl Keeper {
    /// Every finding, the gravest first.
    pub(in crate::braid) fn findings(&self) -> Arc<Vec<Finding>> {
        let mut others = self.checkpoints.findings();
        others.extend(self.projections.findings());
        others.extend(self.shelf.findings());
        let lasting = self.lasting_told();
        let mut last = self.told.borrow_mut();
        if let Some(all) = &last.all
            && Arc::ptr_eq(&all.lasting, &lasting)
            && all.besides == others
        {
            return Arc::clone(&all.findings);
        }
        let findings = Arc::new(Told::clone(&lasting).with(others.clone(), Vec::dedup).into_findings());
        last.all = Some(AllTold { lasting, besides: others, findings: Arc::clone(&findings) });
        findings
    }

    /// What is told of all that our own commits do not change: a transaction of ours has a new id, and descends from all that is here. Made
    /// anew only when something else happened.
    fn lasting_told(&self) -> Arc<Told> {
        let files = self.files_told();
        if let Some((of, told)) = &self.told.borrow().lasting
            && Arc::ptr_eq(of, &files)
        {
            return Arc::clone(told);
        }
        let mut findings = self.delivered_twice.findings(&self.index);
        findings.extend(duplicate_event_findings(&self.index));
        findings.extend(stale_read_findings(&self.index));
        findings.extend(self.dangling_findings(&files));
        findings.extend(self.edited_findings());
        findings.extend(self.memory.findings());
        findings.extend(self.ingestion.findings().chain(self.vanished.findings()).cloned());
        let is_refused = |finding: &Finding| finding.file.as_ref().is_some_and(|file| files.is_refused(file));
        let holds_nameless = !files.quarantined.is_empty() && findings.iter().any(is_nameless) && self.is_nameless_refused(&files);
        findings.retain(|finding| match finding.kind {
            // Git was asked a while ago; what is back by now is known at once.
            FindingKind::Vanished => !(self.is_here(finding) || is_refused(finding) || (holds_nameless && is_nameless(finding))),
            // What cannot be read may say what it said first.
            FindingKind::Edited => finding.file.as_ref().is_none_or(|file| self.roster.cure_of_unreadable(file).is_none()),
            _ => true,
        });
        let is_versioned = self.memory.edited.is_empty() || self.is_versioned();
        let told = files.findings.clone().with(findings, |findings| {
            for finding in findings.iter_mut() {
                let Some(file) = &finding.file else { continue };
                match (finding.kind, self.memory.cures.get(file)) {
                    (FindingKind::Quarantined | FindingKind::Edited, Some(cure)) => finding.hint.clone_from(cure),
                    (FindingKind::Edited, None) if !is_versioned => finding.hint = cure_by_backup(file),
                    _ => {}
                }
            }
            // Memory and git may both tell that a file has gone or was changed.
            findings.dedup_by(|b, a| a == b || (told_once(a.kind) && a.kind == b.kind && a.file.is_some() && a.file == b.file));
        });
        let told = Arc::new(told);
        let mut last = self.told.borrow_mut();
        last.lasting = Some((files, Arc::clone(&told)));
        #[cfg(test)]
        {
            last.times += 1;
        }
        told
    }

    /// What is told of the files; made anew only when one of them changed.
    pub(super) fn files_told(&self) -> Arc<FilesTold> {
        self.roster.told(self.index.cyclic(), || {
            let quarantined = self.roster.quarantined(&self.index);
            let mut findings: Vec<Finding> = self.roster.findings().values().flatten().cloned().collect();
            findings.extend(self.roster.odd_findings());
            findings.extend(self.quarantine_findings(&quarantined));
            FilesTold { findings: Told::of(findings, |_| ()), quarantined: Arc::new(quarantined) }
        })
    }

    /// Whether the transaction that a finding is about is in the views, under whatever name.
    fn is_here(&self, finding: &Finding) -> bool {
        finding.transaction_id.is_some_and(|id| self.index.transactions.find_valid(id).is_some())
    }

    /// Whether refused files hold all events that have gone and of which no file is known, as to who reads everything anew.
    fn is_nameless_refused(&self, files: &FilesTold) -> bool {
        if self.roster.unreadable().next().is_some() {
            // Nobody knows what one holds that cannot be read.
            return true;
        }
        let forgotten = self.store.forgotten().unwrap_or_default();
        let mut nameless: BTreeSet<EventId> =
            vanished_events(&self.index, &forgotten).filter(|&id| file_of(&self.index, id).is_none()).collect();
        for refused in files.quarantined.iter().take(REFUSED_READ_MAX) {
            let text = self.store.load(&refused.file).map(|(bytes, _)| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
            for id in text.split(r#""event_id":""#).filter_map(|rest| rest.get(..36)?.parse().ok()) {
                nameless.remove(&id);
            }
        }
        nameless.is_empty()
    }

    /// Whether the store lies in a repository of git, as far as the disk tells.
    fn is_versioned(&self) -> bool {
        !matches!(self.store.git(), Ok(None))
    }

    /// A parent that is here and refused is brought back by nothing but what mends its file.
    fn dangling_findings(&self, files: &FilesTold) -> Vec<Finding> {
        let file_of = |parent: TransactionId| Some(format!("{parent}.jsonl")).filter(|file| files.is_refused(file));
        let hint = |parents: &[TransactionId]| match parents.iter().find_map(|&parent| file_of(parent)) {
            Some(file) => self.memory.cures.get(&file).cloned().unwrap_or_else(|| self.cure_of_refused(&file, self.is_versioned())),
            None => self.memory.parents.hint(parents),
        };
        dangling_findings(&self.index, |parent| file_of(parent).is_some(), hint)
    }

    fn quarantine_findings(&self, refused: &[Quarantined]) -> Vec<Finding> {
        let is_versioned = refused.is_empty() || self.is_versioned();
        refused
            .iter()
            .map(|refused| Finding {
                kind: FindingKind::Quarantined,
                severity: Severity::Error,
                transaction_id: TransactionId::of_file_name(&refused.file),
                message: format!("file \"{}\" is refused: {}", refused.file, refused.reason),
                hint: self.cure_of_refused(&refused.file, is_versioned),
                file: Some(refused.file.clone()),
            })
            .collect()
    }

    /// What mends a refused file, before git was asked about it.
    fn cure_of_refused(&self, file: &str, is_versioned: bool) -> String {
        let by_git = || format!("git log --oneline -- events/{}   # and restore the version that was committed first", quoted_name(file));
        let cure = self.roster.cure_of_unreadable(file).or_else(|| self.roster.cure_of_claim(file));
        cure.unwrap_or_else(|| if is_versioned { by_git() } else { cure_by_backup(file) })
    }
}

/// Whether a finding tells of events that have gone and of which no file is known. What a sparse checkout leaves out is graver, what a
/// branch has is less.
fn is_nameless(finding: &Finding) -> bool {
    (finding.kind, finding.severity) == (FindingKind::Vanished, Severity::Warning) && finding.file.is_none()
}

/// Transactions with an event that another one has.
fn duplicate_event_findings(index: &Index) -> Vec<Finding> {
    let Index { transactions, events, pack, .. } = index;
    let mut findings = Vec::new();
    for (id, shared) in events.shared(pack, |event| index.is_shown(event)) {
        let mut shared: Vec<u32> = shared.into_iter().map(|event| events.transaction(event)).collect();
        shared.sort_by(|&a, &b| transactions.compare(a, b));
        let first = shared.first().map(|&tx| transactions.id(tx).to_string()).unwrap_or_default();
        findings.extend(shared.iter().skip(1).map(|&tx| Finding {
            kind: FindingKind::DuplicateEvent,
            severity: Severity::Warning,
            file: Some(transactions.file_name(tx)),
            transaction_id: Some(transactions.id(tx)),
            message: format!(
                "transaction \"{}\" has the event \"{id}\" of transaction \"{first}\"; the feed has it once",
                transactions.id(tx)
            ),
            hint: "mend the program that wrote it twice; both stay in the ordered views".to_owned(),
        }));
    }
    findings
}

/// Transactions that read a stream while others wrote it.
fn stale_read_findings(index: &Index) -> Vec<Finding> {
    let (transactions, streams) = (&index.transactions, &index.streams);
    let finding = |read: &StaleRead| {
        let (reader, stream) = (transactions.id(read.reader), streams.text(read.stream));
        let writers: Vec<String> = read.writers.iter().take(WRITERS_TOLD_MAX).map(|&tx| transactions.id(tx).to_string()).collect();
        let more = if read.writers.len() > WRITERS_TOLD_MAX { ", …" } else { "" };
        Finding {
            kind: FindingKind::StaleRead,
            severity: Severity::Info,
            file: Some(transactions.file_name(read.reader)),
            transaction_id: Some(reader),
            message: format!("transaction \"{reader}\" read stream \"{stream}\" while others wrote it: {}{more}", writers.join(", ")),
            hint: "nothing is forked; look whether what it decided still holds".to_owned(),
        }
    };
    index.forks().stale_reads().values().map(finding).collect()
}

/// What gives a file its bytes back that no git has.
fn cure_by_backup(file: &str) -> String {
    format!("cp BACKUP/events/{name} events/{name}   # from a clone or a backup", name = quoted_name(file))
}

fn told_once(kind: FindingKind) -> bool {
    matches!(kind, FindingKind::Edited | FindingKind::Vanished)
}

/// Transactions of which a parent is missing. `hint` is asked about those that are not here, unless all that are missing are refused.
pub(in crate::braid) fn dangling_findings(
    index: &Index,
    is_refused: impl Fn(TransactionId) -> bool,
    hint: impl Fn(&[TransactionId]) -> String,
) -> Vec<Finding> {
    let transactions = &index.transactions;
    let mut by_child: BTreeMap<u32, Vec<TransactionId>> = BTreeMap::new();
    for (&parent, children) in transactions.missing() {
        for &child in children.iter().filter(|&&child| transactions.is_valid(child)) {
            by_child.entry(child).or_default().push(transactions.id(parent));
        }
    }
    let told = |what: &str, parents: &[TransactionId]| {
        let names: Vec<String> = parents.iter().map(ToString::to_string).collect();
        format!("{what}: {}", names.join(", "))
    };
    by_child
        .into_iter()
        .map(|(child, mut parents)| {
            // As they came is another order on each replica.
            parents.sort_unstable();
            let (refused, absent): (Vec<TransactionId>, Vec<TransactionId>) = parents.into_iter().partition(|&parent| is_refused(parent));
            let not_here = told("parents that are not here", &absent);
            let (lacks, hint) = match (refused.is_empty(), absent.is_empty()) {
                (true, _) => (not_here, hint(&absent)),
                (false, true) => (told("parents whose files are refused", &refused), hint(&refused)),
                (false, false) => (format!("{not_here}; {}", told("and whose files are refused", &refused)), hint(&absent)),
            };
            Finding {
                kind: FindingKind::Dangling,
                severity: Severity::Warning,
                file: Some(transactions.file_name(child)),
                transaction_id: Some(transactions.id(child)),
                message: format!("transaction \"{}\" names {lacks}", transactions.id(child)),
                hint,
            }
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use std::fs;
    use std::path::Path;

    use crate::braid::Braid;
    use crate::braid::tests::{append, event, open, store};
    use crate::model::FindingKind;

    /// Copies the file of a new transaction of one store into another.
    fn bring(from: &Braid, into: &Path, text: &str) -> String {
        let file = format!("{}.jsonl", append(from, text).transaction_id);
        fs::copy(from.store().dir().join("events").join(&file), into.join("events").join(&file)).unwrap();
        file
    }

    /// How often findings were put together, and how often it was looked which events are gone.
    fn times(braid: &Braid) -> (u32, u32) {
        braid.at_keeper(|keeper, _| (keeper.told.borrow().times, keeper.vanished.looks)).unwrap()
    }

    fn told(braid: &Braid, kind: FindingKind) -> usize {
        braid.epoch().findings.iter().filter(|finding| finding.kind == kind).count()
    }

    #[test]
    fn what_changes_no_finding_has_none_told_anew() {
        let ((_temp, dir), (_other_temp, other), (_third_temp, third)) = (store(), store(), store());
        let (braid, elsewhere) = (open(&dir, false), open(&other, false));
        append(&braid, "{\"key\":\"k\",\"events\":[{\"stream\":\"s\",\"type\":\"T\",\"data\":1}]}\n");
        let keyed = bring(&elsewhere, &dir, "{\"key\":\"k\",\"events\":[{\"stream\":\"t\",\"type\":\"T\",\"data\":1}]}\n");
        let lost = bring(&open(&third, false), &dir, &event("u", 1));
        braid.refresh().unwrap();
        fs::remove_file(dir.join("events").join(&lost)).unwrap();
        braid.refresh().unwrap();
        assert_eq!((told(&braid, FindingKind::DeliveredTwice), told(&braid, FindingKind::Vanished)), (1, 1));
        let before = times(&braid);
        for seq_nr in 1..=3 {
            braid.save_checkpoint("c", seq_nr, false).unwrap();
            bring(&elsewhere, &dir, &event("u", 2));
            braid.refresh().unwrap();
            append(&braid, &event("s", 2));
        }
        assert_eq!(times(&braid), before);
        assert_eq!(told(&braid, FindingKind::DeliveredTwice), 1);

        fs::remove_file(dir.join("events").join(&keyed)).unwrap();
        braid.refresh().unwrap();
        fs::copy(third.join("events").join(&lost), dir.join("events").join(&lost)).unwrap();
        braid.refresh().unwrap();
        assert_ne!(times(&braid), before);
        assert_eq!((told(&braid, FindingKind::DeliveredTwice), told(&braid, FindingKind::Vanished)), (0, 1));
    }
}
