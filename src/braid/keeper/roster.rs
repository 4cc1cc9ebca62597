//! The names in `events/` that stand beside the index, each for its reason.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use crate::braid::keeper::told::{Counted, FilesTold};
use crate::disk::quoted_name;
use crate::epoch::Quarantined;
use crate::format::time::parse_rfc3339;
use crate::index::Index;
use crate::model::{Errno, Finding, FindingKind, Severity, TransactionId};

/// A name in `events/` that is not the file of a transaction in the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Odd {
    pub(super) inode: u64,
    pub(super) size: u64,
    pub(super) mtime_ns: i64,
    pub(super) kind: OddKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OddKind {
    /// Refused, with the reason; the id that it claims if another file of other bytes claims it too.
    Refused(String, Option<TransactionId>),
    /// The same bytes as the file of this transaction.
    Duplicate(TransactionId),
    /// No file at all: a directory or a broken link.
    NoFile(&'static str),
}

impl Odd {
    fn is_unreadable(&self) -> bool {
        self.inode == 0 && matches!(self.kind, OddKind::Refused(_, None))
    }
}

/// What is known of names beyond the index.
#[derive(Default)]
pub(in crate::braid) struct Roster {
    pub(super) odd: Counted<String, Odd>,
    /// Transactions in the index whose file has another name than their id.
    pub(super) misnamed: BTreeMap<String, u32>,
    pub(in crate::braid) findings: Counted<String, Vec<Finding>>,
    /// Files that claim one id with different bytes.
    pub(super) claims: BTreeMap<TransactionId, BTreeSet<String>>,
    /// What was last told of all this, and of which state of it.
    told: RefCell<Option<(State, Arc<FilesTold>)>>,
}

/// How often what is told of the files changed, and which transactions stood in cycles.
type State = (u64, u64, BTreeSet<u32>);

impl Roster {
    /// Forgets what stands beside the index, so that a look at everything finds it again.
    pub(super) fn begin_anew(&mut self, index: &Index) {
        let transactions = &index.transactions;
        let odd_name =
            |number: u32| Some(transactions.file_name(number)).filter(|name| *name != format!("{}.jsonl", transactions.id(number)));
        let present = (0..transactions.len()).filter(|&number| transactions.is_present(number));
        let misnamed = present.filter_map(|number| Some((odd_name(number)?, number))).collect();
        *self = Self { misnamed, findings: std::mem::take(&mut self.findings), ..Self::default() };
    }

    /// What is told of the files and of the transactions in cycles: what was told last, or what `make` gives if there was a change.
    pub(super) fn told(&self, cyclic: &BTreeSet<u32>, make: impl FnOnce() -> FilesTold) -> Arc<FilesTold> {
        let changes = (self.odd.changes(), self.findings.changes());
        if let Some(((odd, findings, was_cyclic), told)) = &*self.told.borrow()
            && (*odd, *findings) == changes
            && was_cyclic == cyclic
        {
            return Arc::clone(told);
        }
        let told = Arc::new(make());
        *self.told.borrow_mut() = Some(((changes.0, changes.1, cyclic.clone()), Arc::clone(&told)));
        told
    }

    /// The refused files, those in cycles included.
    pub(super) fn quarantined(&self, index: &Index) -> Vec<Quarantined> {
        let mut all: Vec<Quarantined> = self
            .odd
            .iter()
            .filter_map(|(file, odd)| match &odd.kind {
                OddKind::Refused(reason, _) => {
                    Some(Quarantined { file: file.clone(), size: odd.size, mtime_ns: odd.mtime_ns, reason: reason.clone() })
                }
                _ => None,
            })
            .collect();
        all.extend(cyclic(index));
        all.sort_by(|a, b| a.file.cmp(&b.file));
        all
    }

    /// The refused files that cannot be read: of them there are no facts, and they may be whole.
    pub(super) fn unreadable(&self) -> impl Iterator<Item = &str> {
        self.odd.iter().filter(|(_, odd)| odd.is_unreadable()).map(|(name, _)| name.as_str())
    }

    /// What lets a refused file be read that cannot be; none where its bytes are what is refused.
    pub(super) fn cure_of_unreadable(&self, file: &str) -> Option<String> {
        let odd = self.odd.get(file).filter(|odd| odd.is_unreadable())?;
        let OddKind::Refused(reason, _) = &odd.kind else { return None };
        let is = |errno: Errno| reason.ends_with(&io::Error::from_raw_os_error(errno.raw()).to_string());
        let name = quoted_name(file);
        Some(if is(Errno::EACCES) || is(Errno::EPERM) {
            format!("chmod u+r events/{name}   # if it is another user's: sudo chown \"$USER\" events/{name}")
        } else {
            format!("dmesg   # tells why; it is looked at again, and its bytes may be in git: git checkout HEAD -- events/{name}")
        })
    }

    /// What ends it that several files claim one id: one stays, and of all of them the same one. It is the one with the proper name, if any has it.
    pub(super) fn cure_of_claim(&self, file: &str) -> Option<String> {
        let Odd { kind: OddKind::Refused(_, Some(id)), .. } = self.odd.get(file)? else { return None };
        let files = self.claims.get(id)?;
        let proper = files.iter().find(|file| id.is_file_name(file));
        let kept = proper.or_else(|| files.first())?;
        let others: Vec<String> =
            files.iter().filter(|other| *other != kept).map(|other| format!("events/{}", quoted_name(other))).collect();
        let what = proper.map_or_else(|| format!("events/{}", quoted_name(kept)), |_| "the file that is named after the id".to_owned());
        Some(format!("mv {} .   # then {what} counts again", others.join(" ")))
    }

    /// Notes that the file of a transaction has another name than its id.
    pub(super) fn note_misnamed(&mut self, name: &str, number: u32) {
        self.misnamed.insert(name.to_owned(), number);
    }

    /// The names that stand beside the index for what they are.
    pub(super) fn odd_findings(&self) -> Vec<Finding> {
        let finding = |file: &String, kind, severity, transaction_id, message, hint: String| Finding {
            kind,
            severity,
            file: Some(file.clone()),
            transaction_id,
            message,
            hint,
        };
        self.odd
            .iter()
            .filter_map(|(file, odd)| match &odd.kind {
                OddKind::Refused(..) => None,
                OddKind::Duplicate(of) => Some(finding(
                    file,
                    FindingKind::Duplicate,
                    Severity::Info,
                    Some(*of),
                    format!("file \"{file}\" says the same as the file of transaction \"{of}\""),
                    format!("git rm -f events/{name} || rm events/{name}", name = quoted_name(file)),
                )),
                OddKind::NoFile(what) => Some(finding(
                    file,
                    FindingKind::UnreadableByEventcore,
                    Severity::Warning,
                    None,
                    format!("\"{file}\" is {what}: eventcore-fs cannot open this store while it is there"),
                    format!("mv events/{} .", quoted_name(file)),
                )),
            })
            .collect()
    }
}

const CLAIMED: &str = "is claimed by files of different bytes";

pub(in crate::braid) fn claim_reason(id: TransactionId) -> String {
    format!("transaction id \"{id}\" {CLAIMED}")
}

/// Whether the message of a finding ends with such a reason, of whatever id.
pub(in crate::braid) fn is_claim(message: &str) -> bool {
    message.ends_with(CLAIMED)
}

/// The files that are refused since they stand in or behind a cycle.
pub(in crate::braid) fn cyclic(index: &Index) -> impl Iterator<Item = Quarantined> + '_ {
    index.cyclic().iter().map(|&tx| Quarantined {
        file: index.transactions.file_name(tx),
        size: 0,
        mtime_ns: parse_rfc3339(&index.transactions.created_at(tx)).and_then(|nanos| i64::try_from(nanos).ok()).unwrap_or(0),
        reason: format!("transaction \"{}\" stands in or behind a cycle of parents", index.transactions.id(tx)),
    })
}
