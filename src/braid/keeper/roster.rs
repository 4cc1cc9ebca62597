//! The names in `events/` that stand beside the index, each for its reason.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use crate::braid::keeper::told::{Counted, FilesTold};
use crate::disk::{Stat, quoted_name};
use crate::epoch::Quarantined;
use crate::format::time::parse_rfc3339;
use crate::index::Index;
use crate::model::{Errno, Finding, FindingKind, Severity, TransactionId};

/// A name in `events/` that is not the file of a transaction in the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Odd {
    inode: u64,
    size: u64,
    mtime_ns: i128,
    kind: OddKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum OddKind {
    /// Refused, with the reason; the id that it claims if another file of other bytes claims it too.
    Refused(String, Option<TransactionId>),
    /// The same bytes as the file of this transaction.
    Duplicate(TransactionId),
    /// No file at all: a directory or a broken link.
    NoFile(&'static str),
}

impl Odd {
    /// A file that is refused, with its facts as far as they are known; `claims` is the id that another file of other bytes claims too.
    pub(super) fn refused(reason: String, stat: Option<Stat>, claims: Option<TransactionId>) -> Self {
        let (inode, size, mtime_ns) = stat.map_or((0, 0, 0), |stat| (stat.inode, stat.size, stat.mtime_ns));
        Self { inode, size, mtime_ns, kind: OddKind::Refused(reason, claims) }
    }

    /// A file of the same bytes as that of a transaction, which has this inode.
    pub(super) fn duplicate(of: TransactionId, inode: u64, stat: Stat) -> Self {
        Self { inode, size: stat.size, mtime_ns: stat.mtime_ns, kind: OddKind::Duplicate(of) }
    }

    /// What is no file.
    pub(super) fn no_file(inode: u64, what: &'static str) -> Self {
        Self { inode, size: 0, mtime_ns: 0, kind: OddKind::NoFile(what) }
    }

    /// The id that it claims with others.
    fn claimed(&self) -> Option<TransactionId> {
        if let OddKind::Refused(_, claimed) = self.kind { claimed } else { None }
    }

    fn is_unreadable(&self) -> bool {
        self.inode == 0 && matches!(self.kind, OddKind::Refused(_, None))
    }
}

/// What a name is known to stand for.
#[derive(Clone, Copy)]
pub(super) enum Known {
    Nothing,
    /// The file of this transaction.
    Entered(u32),
    /// A file with this inode that stands beside the index.
    Beside(u64),
    /// No file at all.
    NoFile(&'static str),
}

/// What is known of names beyond the index.
#[derive(Default)]
pub(in crate::braid) struct Roster {
    odd: Counted<String, Odd>,
    /// Transactions in the index whose file has another name than their id.
    misnamed: BTreeMap<String, u32>,
    /// What the files of transactions in the index have to report.
    findings: Counted<String, Vec<Finding>>,
    /// Files that claim one id with different bytes: those of which `odd` says so.
    claims: BTreeMap<TransactionId, BTreeSet<String>>,
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

    /// The transaction whose file has this name now.
    pub(super) fn entered(&self, index: &Index, name: &str) -> Option<u32> {
        if let Some(&number) = self.misnamed.get(name) {
            return Some(number);
        }
        let id = TransactionId::of_file_name(name)?;
        let number = index.transactions.find(id)?;
        (index.transactions.is_present(number) && index.transactions.has_name(number, name)).then_some(number)
    }

    /// What a name is known to stand for.
    pub(super) fn known(&self, index: &Index, name: &str) -> Known {
        if let Some(number) = self.entered(index, name) {
            return Known::Entered(number);
        }
        match self.odd.get(name) {
            Some(Odd { kind: OddKind::NoFile(what), .. }) => Known::NoFile(what),
            Some(odd) => Known::Beside(odd.inode),
            None => Known::Nothing,
        }
    }

    /// The names that stand beside the index.
    pub(super) fn odd_names(&self) -> impl Iterator<Item = &str> {
        self.odd.keys().map(String::as_str)
    }

    /// How often those changed.
    pub(super) fn changes(&self) -> u64 {
        self.odd.changes()
    }

    /// Whether a file is refused, one in a cycle aside.
    pub(super) fn is_refused(&self, name: &str) -> bool {
        self.odd.get(name).is_some_and(|odd| matches!(odd.kind, OddKind::Refused(..)))
    }

    /// What the files of transactions in the index have to report, by name.
    pub(in crate::braid) fn findings(&self) -> &BTreeMap<String, Vec<Finding>> {
        &self.findings
    }

    /// Notes what the file of a transaction has to report; gives whether that is something else than before.
    pub(super) fn set_findings(&mut self, name: &str, findings: Vec<Finding>) -> bool {
        let is_new = self.findings.get(name).map_or(&[][..], Vec::as_slice) != findings;
        if is_new {
            self.findings.remove(name);
            if !findings.is_empty() {
                self.findings.insert(name.to_owned(), findings);
            }
        }
        is_new
    }

    /// A name stands beside the index from now on, for this reason. If that is new, gives the names that are to be looked at with new eyes
    /// since it claims an id with them no more.
    pub(super) fn put(&mut self, name: &str, odd: Odd) -> Option<BTreeSet<String>> {
        if self.odd.get(name) == Some(&odd) {
            return None;
        }
        self.findings.remove(name);
        let claimed = odd.claimed();
        if let Some(id) = claimed {
            self.claims.entry(id).or_default().insert(name.to_owned());
        }
        let before = self.odd.insert(name.to_owned(), odd).and_then(|before| before.claimed());
        let given_up = before.filter(|_| before != claimed);
        Some(given_up.map_or_else(BTreeSet::new, |id| self.unclaim(id, name)))
    }

    /// A name went, or stands for a transaction from now on; gives the names that are to be looked at with new eyes for that.
    pub(super) fn take_out(&mut self, name: &str) -> BTreeSet<String> {
        self.findings.remove(name);
        let claimed = self.odd.remove(name).and_then(|odd| odd.claimed());
        claimed.map_or_else(BTreeSet::new, |id| self.unclaim(id, name))
    }

    /// A name stands for a transaction no more.
    pub(super) fn leave(&mut self, name: &str) {
        self.misnamed.remove(name);
        self.findings.remove(name);
    }

    /// Takes out the other names of the bytes of a transaction, of which one may stand in for the one that went: not each may still be there.
    pub(super) fn take_twins(&mut self, of: TransactionId) -> Vec<String> {
        let twins = self.odd.iter().filter(|(_, odd)| odd.kind == OddKind::Duplicate(of)).map(|(name, _)| name.clone());
        let twins: Vec<String> = twins.collect();
        for twin in &twins {
            self.odd.remove(twin);
        }
        twins
    }

    /// The files that claim an id with different bytes, if any do.
    pub(super) fn claims(&self, id: TransactionId) -> Option<&BTreeSet<String>> {
        self.claims.get(&id)
    }

    fn unclaim(&mut self, id: TransactionId, name: &str) -> BTreeSet<String> {
        // Those that are left may say the same, or there is but one: they are looked at with new eyes.
        if let Some(files) = self.claims.get_mut(&id) {
            files.remove(name);
        }
        self.unclaim_all(id)
    }

    /// Nobody claims an id any more; gives who did, to be looked at with new eyes.
    pub(super) fn unclaim_all(&mut self, id: TransactionId) -> BTreeSet<String> {
        let files = self.claims.remove(&id).unwrap_or_default();
        for file in &files {
            self.odd.remove(file);
        }
        files
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

    /// How many files with the names of transactions are refused, and why the first one is.
    pub(in crate::braid) fn refused_transactions(&self, index: &Index) -> Option<(usize, String)> {
        let refused = self.quarantined(index).into_iter().filter(|refused| TransactionId::of_file_name(&refused.file).is_some());
        let mut reasons = refused.map(|refused| refused.reason);
        let first = reasons.next()?;
        Some((reasons.count() + 1, first))
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
        mtime_ns: parse_rfc3339(&index.transactions.created_at(tx)).unwrap_or(0),
        reason: format!("transaction \"{}\" stands in or behind a cycle of parents", index.transactions.id(tx)),
    })
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use uuid::Uuid;

    use super::*;

    type Step = Box<dyn Fn(&mut Roster) -> BTreeSet<String>>;

    /// What can happen to a few names, two of which may claim an id.
    fn steps() -> Vec<Step> {
        let ids = [1, 2].map(|n| TransactionId(Uuid::from_u128(n)));
        let claiming = |id| Odd::refused(claim_reason(id), None, Some(id));
        let odds = [claiming(ids[0]), claiming(ids[1]), Odd::refused("empty".to_owned(), None, None), Odd::no_file(7, "a directory")];
        let mut steps: Vec<Step> = Vec::new();
        for name in ["a.jsonl", "b.jsonl", "c.jsonl"] {
            for odd in odds.clone() {
                steps.push(Box::new(move |roster| roster.put(name, odd.clone()).unwrap_or_default()));
            }
            steps.push(Box::new(move |roster| roster.take_out(name)));
        }
        for id in ids {
            steps.push(Box::new(move |roster| roster.unclaim_all(id)));
        }
        steps
    }

    #[test]
    fn who_claims_an_id_is_refused_for_it_and_nobody_is_left_to_claim_it_alone() {
        let steps = steps();
        let count = steps.len();
        for n in 0..count.pow(4) {
            let mut roster = Roster::default();
            for at in 0..4 {
                let before = roster.claims.clone();
                let again = steps[n / count.pow(at) % count](&mut roster);
                assert!(again.iter().all(|name| !roster.odd.contains_key(name)), "{again:?} are to be looked at with new eyes");
                let mut claims: BTreeMap<TransactionId, BTreeSet<String>> = BTreeMap::new();
                for (name, odd) in roster.odd.iter() {
                    let of_claimed = odd.claimed().map(|id| claims.entry(id).or_default());
                    of_claimed.into_iter().for_each(|names| names.extend([name.clone()]));
                }
                assert_eq!(roster.claims, claims);
                // The first that claims it is followed by the second at once.
                let is_left_alone =
                    |(id, files): (&TransactionId, &BTreeSet<String>)| files.len() > 1 && claims.get(id).is_some_and(|now| now.len() < 2);
                assert!(!before.iter().any(is_left_alone), "{before:?}, now {claims:?}");
            }
        }
    }
}
