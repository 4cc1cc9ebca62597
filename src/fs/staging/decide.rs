//! The verdict over a staged file: at its last close, or when a draft is renamed to a name that is committed.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::format::draft::{DRAFT_LEN_MAX, DraftKind, LineChecker, parse_draft};
use crate::format::time::new_uuid;
use crate::fs::ledger::{Failure, try_again};
use crate::fs::locked;
use crate::fs::receipt::{Attempt, Receipt, State as Verdict, sha256_hex};
use crate::fs::staging::{Inner, Phase, Staged, Staging, Told, VERDICT_WAIT_MAX, commit_kind};
use crate::model::{Draft, Errno, EventId, Rejection};
use crate::store::StagedName;

/// What became of an attempt to commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// There was nothing to commit.
    Nothing,
    /// The same bytes as before: neither a transaction nor a refusal.
    SecondSave,
    /// A transaction.
    Committed,
    /// Refused, with what a system call reports.
    Refused(Errno),
}

impl Staging {
    /// Decides over a file that was closed for the last time. `settle` returns once the kernel knows the views.
    pub fn decide(&self, file: &Arc<Staged>, settle: impl FnOnce()) {
        // From then on the file is whoever's opens it: the next save of it may even be decided before the kernel is told of this one.
        let is_out = Cell::new(false);
        let decided = catch_unwind(AssertUnwindSafe(|| {
            let out = || {
                // The name leaves the listing before anybody who waited looks.
                locked(&file.inner).decided(Phase::Committed { until: Instant::now() + self.grace });
                is_out.set(true);
                self.announce();
            };
            self.decide_content(file, out, settle)
        }));
        if is_out.get() {
            return decided.map_or_else(|panic| resume_unwind(panic), drop);
        }
        let outcome = decided.as_ref().map_or_else(|_| self.refuse_for_bug(file), |outcome| *outcome);
        // Who waits for the verdict finds no name that is about to go: what is saved under it then is a file of its own.
        let name = locked(&file.inner).name.clone();
        match (outcome, name) {
            (Outcome::SecondSave, Some(name)) => {
                if let Err(error) = self.remove(name.as_str(), file) {
                    tracing::warn!(%error, name = name.as_str(), "a second save cannot be removed");
                }
            }
            // Nothing is left of what was refused.
            (Outcome::Nothing, Some(name)) => self.dismiss(name.as_str()),
            _ => {}
        }
        locked(&file.inner).decided(match outcome {
            Outcome::Nothing => Phase::Open,
            Outcome::Refused(_) => Phase::Refused,
            Outcome::Committed | Outcome::SecondSave => Phase::Committed { until: Instant::now() + self.grace },
        });
        self.announce();
        decided.map_or_else(|panic| resume_unwind(panic), drop);
    }

    /// Nobody must wait for ever for a verdict that a bug has swallowed.
    fn refuse_for_bug(&self, file: &Staged) -> Outcome {
        let (name, size, bytes) = {
            let mut inner = locked(&file.inner);
            let Some(name) = inner.name.clone() else { return Outcome::Refused(Errno::EIO) };
            (name, inner.size, self.all_bytes(&mut inner).unwrap_or_default())
        };
        let begun = self.receipt_on_disk(&name).filter(|receipt| receipt.state == Verdict::Pending);
        let receipt = begun.unwrap_or_else(|| Receipt::pending(name.as_str(), size, sha256_hex(&bytes), None));
        let from = receipt.attempt.as_ref().map_or_else(|| receipt.name.clone(), |attempt| attempt.from.clone());
        let again = try_again(&from, &receipt.name);
        self.refuse(receipt, &Rejection::whole(Errno::EIO, "a bug in braidfs ended the attempt", again))
    }

    fn decide_content(&self, file: &Staged, out: impl FnOnce(), settle: impl FnOnce()) -> Outcome {
        let (name, bytes, told) = {
            let mut inner = locked(&file.inner);
            let Some(name) = inner.name.clone() else { return Outcome::Nothing };
            let lost = inner.checking.lost.rejection();
            if inner.size == 0 && lost.is_none() {
                return Outcome::Nothing;
            }
            let told = match inner.checking.told.take() {
                Some(Told::SecondSave) => return Outcome::SecondSave,
                Some(Told::Refused(rejection)) => Some(rejection),
                None => lost,
            };
            let bytes = self.all_bytes(&mut inner);
            if inner.openers == 0 {
                inner.file = None;
            }
            (name, bytes.map_err(|errno| (errno, inner.size)), told)
        };
        match bytes {
            Ok(bytes) => self.attempt(&name, &name, &bytes, told, out, settle),
            Err((errno, size)) => self.refuse_unread(&name, &name, size, told.unwrap_or_else(|| unreadable(errno, size))),
        }
    }

    /// Refuses a file whose bytes were not looked at.
    pub(super) fn refuse_unread(&self, name: &StagedName, from: &StagedName, size: u64, rejection: Rejection) -> Outcome {
        self.refuse(Receipt::pending(name.as_str(), size, sha256_hex(b""), None).of_draft(from.as_str()), &rejection)
    }

    /// Tries to commit bytes under a name; the receipt says what became of it. `out` and `settle` are as [`Staging::commit`] has them.
    pub(super) fn attempt(
        &self,
        name: &StagedName,
        from: &StagedName,
        bytes: &[u8],
        told: Option<Rejection>,
        out: impl FnOnce(),
        settle: impl FnOnce(),
    ) -> Outcome {
        let Some(kind) = commit_kind(name.as_str()) else { return Outcome::Nothing };
        if bytes.is_empty() && told.is_none() {
            return Outcome::Nothing;
        }
        if self.is_second_save(name.as_str(), bytes) {
            return Outcome::SecondSave;
        }
        let receipt = Receipt::pending(name.as_str(), bytes.len() as u64, sha256_hex(bytes), None).of_draft(from.as_str());
        let draft = match (parse_draft(bytes, kind), told) {
            (Ok(draft), None) => draft,
            (Err(rejection), None) => return self.refuse(receipt, &rejection),
            (_, Some(told)) => return self.refuse(receipt, &with_reasons_of(told, bytes, kind)),
        };
        self.commit(receipt, from, draft, out, settle)
    }

    /// Commits a draft so that a daemon that finds it unfinished can finish it exactly once. `out` tells those who wait that it is committed, as
    /// soon as the receipt can be read; `settle` returns once the kernel knows the views.
    fn commit(&self, receipt: Receipt, from: &StagedName, mut draft: Draft, out: impl FnOnce(), settle: impl FnOnce()) -> Outcome {
        let before = StagedName::new(&receipt.name).and_then(|name| self.receipt_on_disk(&name));
        let tried = before.map(|before| before.tried(&receipt.sha256)).unwrap_or_default();
        let event_ids = name_events(&mut draft, &tried);
        let attempt = Attempt { from: from.as_str().to_owned(), event_ids };
        let pending = Receipt { attempt: Some(attempt), ..receipt };
        if let Err(errno) = self.save(&pending) {
            let receipt = Receipt { attempt: None, ..pending };
            let is_full = matches!(errno, Errno::ENOSPC | Errno::EDQUOT);
            let first = if is_full { "make room" } else { "see what keeps the store's tmp/ from being written" };
            let again = format!("{first}, then {}", try_again(from.as_str(), &receipt.name));
            return self.refuse(receipt, &Rejection::whole(errno, "receipt cannot be written", again));
        }
        match self.ledger.append(draft) {
            Ok(committed) => {
                // Written once it is told: what is on disk until then is pending, and has the ids of what is durable.
                let receipt = pending.committed(&committed);
                self.hold(&receipt);
                out();
                if let Err(errno) = self.save_held(&receipt.name) {
                    tracing::error!(%errno, name = receipt.name, "the receipt of a commit cannot be written");
                }
                settle();
                Outcome::Committed
            }
            Err(failure @ Failure::Error { may_count, .. }) => {
                let again = try_again(from.as_str(), &pending.name);
                // The next attempt has the same event ids where this one, or one before, may be a transaction all the same.
                let attempt = pending.attempt.filter(|_| may_count || !tried.is_empty());
                self.write_down(Receipt { attempt, ..pending }, &failure.into_rejection(again))
            }
            Err(Failure::Rejected(rejection)) => {
                let is_by_rename = from.as_str() != pending.name;
                if is_by_rename {
                    self.count_once(&pending, rejection.errno());
                }
                self.write_down(Receipt { attempt: None, ..pending }, &rejection)
            }
        }
    }

    /// Does not count a refusal of what names a file by its path where that was refused like this a moment ago: the kernel asks at once again on
    /// `ESTALE`.
    fn count_once(&self, receipt: &Receipt, errno: Errno) {
        if errno == Errno::ESTALE && self.is_asked_again(receipt) {
            self.ledger.count_refused(-1);
        }
    }

    fn is_asked_again(&self, receipt: &Receipt) -> bool {
        const AT_ONCE: Duration = Duration::from_millis(250);
        let mut just = locked(&self.stale);
        just.retain(|(_, _, at)| at.elapsed() < AT_ONCE);
        let same = just.iter().position(|(name, sha256, _)| *name == receipt.name && *sha256 == receipt.sha256);
        match same {
            Some(at) => drop(just.swap_remove(at)),
            None => just.push((receipt.name.clone(), receipt.sha256.clone(), Instant::now())),
        }
        same.is_some()
    }

    /// Refuses a file that was not handed in.
    pub(super) fn refuse(&self, receipt: Receipt, rejection: &Rejection) -> Outcome {
        self.ledger.count_refused(1);
        self.write_down(receipt, rejection)
    }

    /// Writes down why a file was refused.
    fn write_down(&self, receipt: Receipt, rejection: &Rejection) -> Outcome {
        let receipt = receipt.refused(rejection);
        tracing::info!(name = receipt.name, errno = %rejection.errno(), reason = %rejection, "refused");
        if let Err(errno) = self.save(&receipt) {
            tracing::error!(%errno, name = receipt.name, "the receipt of a refusal cannot be written");
        }
        Outcome::Refused(rejection.errno())
    }

    /// With what a file was refused that was tried again by its path, while it is.
    pub fn refused_by_path(&self, file: &Staged) -> Option<Errno> {
        let name = {
            let inner = locked(&file.inner);
            inner.name.clone().filter(|_| inner.phase == Phase::Refused)?
        };
        let receipt = self.receipt_on_disk(&name)?;
        let errno = receipt.errno()?;
        self.count_once(&receipt, errno);
        Some(errno)
    }

    fn is_second_save(&self, name: &str, bytes: &[u8]) -> bool {
        self.brief(name).is_some_and(|brief| {
            let begins = usize::try_from(brief.bytes).ok().and_then(|len| bytes.get(..len));
            brief.state == Verdict::Committed && begins.is_some_and(|begins| sha256_hex(begins) == brief.sha256)
        })
    }

    /// Wakes those who wait for a verdict.
    pub fn announce(&self) {
        locked(&self.state).verdicts += 1;
        self.verdict.notify_all();
    }

    /// Waits until a file is not being decided any more.
    pub fn wait_decided(&self, file: &Staged) {
        drop(self.lock_decided(file));
    }

    /// Waits until a file is not being decided, and keeps it so while what this returns is held.
    pub(super) fn lock_decided<'a>(&self, file: &'a Staged) -> MutexGuard<'a, Inner> {
        let mut state = locked(&self.state);
        loop {
            let inner = locked(&file.inner);
            if inner.phase != Phase::Deciding {
                return inner;
            }
            drop(inner);
            let waited = self.verdict.wait_timeout(state, Duration::from_millis(100));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for the verdict over a name that is on its way, not for ever.
    pub fn wait_verdict(&self, name: &str) {
        let until = Instant::now() + VERDICT_WAIT_MAX;
        let mut seen = self.verdicts();
        while self.is_on_its_way(name) && Instant::now() < until {
            seen = self.wait_next(seen, Some(until));
        }
    }

    /// Whether the verdict over a name may be out at any moment.
    #[must_use]
    pub fn is_on_its_way(&self, name: &str) -> bool {
        let file = locked(&self.state).names.get(name).cloned();
        file.is_some_and(|file| {
            let inner = locked(&file.inner);
            inner.phase == Phase::Deciding || (inner.closed && inner.writers > 0)
        })
    }

    /// How many verdicts were announced so far.
    #[must_use]
    pub fn verdicts(&self) -> u64 {
        locked(&self.state).verdicts
    }

    /// Waits until there are more than `seen`, or until then at most; returns how many there are.
    pub fn wait_next(&self, seen: u64, until: Option<Instant>) -> u64 {
        let mut state = locked(&self.state);
        while state.verdicts == seen {
            let left = until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                break;
            }
            state = self.verdict.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.verdicts
    }
}

/// What was told, and what else the bytes that arrived say: but for their end, which is cut where the writer stopped.
fn with_reasons_of(mut told: Rejection, bytes: &[u8], kind: DraftKind) -> Rejection {
    let Err(found) = LineChecker::new(kind).push(bytes) else { return told };
    if told.reasons.iter().all(|reason| found.reasons.contains(reason)) {
        return found;
    }
    let others = found.reasons.into_iter().filter(|reason| !told.reasons.contains(reason)).collect::<Vec<_>>();
    told.reasons.extend(others);
    told
}

/// Why the bytes of a file of that size were not looked at.
pub(super) fn unreadable(errno: Errno, size: u64) -> Rejection {
    match errno {
        Errno::EFBIG => {
            Rejection::whole(errno, format!("draft has {size} bytes, at most {DRAFT_LEN_MAX} are allowed"), "cut it into several")
        }
        _ => Rejection::whole(errno, "file cannot be read", "look at the daemon's log"),
    }
}

/// Gives every event that has no id one of `ids`, or a new one; returns those given. A draft with a key needs none: its key tells.
pub(super) fn name_events(draft: &mut Draft, ids: &[EventId]) -> Vec<String> {
    if draft.key.is_some() {
        return Vec::new();
    }
    let mut ids = ids.iter().copied();
    let nameless = draft.events.iter_mut().filter(|event| event.event_id.is_none());
    let given = nameless.map(|event| {
        let id = ids.next().unwrap_or_else(|| EventId(new_uuid()));
        event.event_id = Some(id);
        id.to_string()
    });
    given.collect()
}
