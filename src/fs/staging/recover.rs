//! What a daemon that ended has left: drafts stay, unfinished commits are finished, the rest is refused.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use crate::format::draft::parse_draft;
use crate::fs::ledger::{Failure, try_again};
use crate::fs::locked;
use crate::fs::receipt::{Attempt, Receipt, State as Verdict, sha256_hex};
use crate::fs::staging::decide::name_events;
use crate::fs::staging::{Phase, Staged, Staging, commit_kind};
use crate::model::{Errno, EventId, Rejection};
use crate::store::StagedName;

/// A pending receipt is at most so much older than the newest one: no commit takes longer.
const UNFINISHED_AGE_MAX_NS: i128 = 600 * 1_000_000_000;

/// Commits that a daemon had begun and not answered.
pub struct Unfinished(Vec<Receipt>);

impl Staging {
    /// Takes up what lies on disk. What is unfinished is shown as such until [`Staging::finish`].
    ///
    /// # Errors
    /// What the disk answers when it cannot be listed.
    pub fn recover(&self) -> Result<Unfinished, Errno> {
        self.take_up_receipts()?;
        let unfinished: HashMap<String, Receipt> = self.pending()?.into_iter().collect();
        let entries = self.files.list().map_err(|error| error.errno())?;
        if entries.iter().any(|entry| commit_kind(&entry.name).is_none()) {
            // Only the receipts tell which of these drafts was refused when it was renamed.
            self.kept.list().map_err(|error| error.errno())?.iter().for_each(|(name, _)| drop(self.brief(name.as_str())));
        }
        for entry in entries {
            let Some(name) = StagedName::new(&entry.name) else { continue };
            let Ok(stat) = self.files.stat(&name) else { continue };
            let phase = if unfinished.contains_key(name.as_str()) { Some(Phase::Deciding) } else { self.phase_left(&name, stat.size) };
            match phase {
                Some(phase) => drop(self.insert(name, stat.size, stat.mtime_ns, phase)),
                None => drop(self.files.remove(&name)),
            }
        }
        Ok(Unfinished(unfinished.into_values().collect()))
    }

    /// Where a file stands that no commit had begun for; none if it was committed and only its removal is missing.
    fn phase_left(&self, name: &StagedName, size: u64) -> Option<Phase> {
        if commit_kind(name.as_str()).is_none() || size == 0 {
            return Some(Phase::Open);
        }
        let bytes = self.files.read(name).unwrap_or_default();
        let sha256 = sha256_hex(&bytes);
        match self.brief(name.as_str()) {
            Some(brief) if brief.state == Verdict::Committed && brief.sha256 == sha256 => return None,
            Some(brief) if brief.state == Verdict::Refused && brief.sha256 == sha256 => {}
            _ => {
                let hint = "touch the file to commit it as it is, or save it again";
                let rejection = Rejection::whole(Errno::EINTR, "the daemon ended first: the file was not closed for the last time", hint);
                self.refuse(Receipt::pending(name.as_str(), size, sha256, None), &rejection);
            }
        }
        Some(Phase::Refused)
    }

    /// The receipts of commits that were begun, by the name under which their bytes lie.
    fn pending(&self) -> Result<Vec<(String, Receipt)>, Errno> {
        let kept = self.kept.list().map_err(|error| error.errno())?;
        let newest = kept.last().map_or(0, |(_, stat)| stat.mtime_ns);
        let recent = kept.into_iter().filter(|(_, stat)| stat.mtime_ns >= newest - UNFINISHED_AGE_MAX_NS);
        let mut pending = Vec::new();
        for (name, _) in recent {
            let receipt = self.receipt_on_disk(&name).filter(|receipt| receipt.state == Verdict::Pending);
            let Some(receipt) = receipt else { continue };
            match &receipt.attempt {
                Some(attempt) => pending.push(self.at_its_place(attempt.clone(), &receipt)),
                None => self.forget_receipt(name.as_str()).unwrap_or_default(),
            }
        }
        Ok(pending)
    }

    /// A receipt of a commit that was begun, with the name under which its bytes lie: a draft that was renamed may have been moved already.
    fn at_its_place(&self, attempt: Attempt, receipt: &Receipt) -> (String, Receipt) {
        let has_them = |name: &str| {
            let bytes = StagedName::new(name).and_then(|name| self.files.read(&name).ok());
            bytes.is_some_and(|bytes| sha256_hex(&bytes) == receipt.sha256)
        };
        let is_moved = attempt.from != receipt.name && !has_them(&attempt.from) && has_them(&receipt.name);
        let from = if is_moved { receipt.name.clone() } else { attempt.from.clone() };
        (from.clone(), Receipt { attempt: Some(Attempt { from, ..attempt }), ..receipt.clone() })
    }

    /// Finishes the commits that were begun: with the same event ids, so that what is durable already is not committed again. `settle`
    /// returns once the kernel knows the views.
    pub fn finish(&self, unfinished: Unfinished, settle: &dyn Fn()) {
        for receipt in unfinished.0 {
            let Some(attempt) = receipt.attempt.clone() else { continue };
            let file = self.find(&attempt.from);
            let set_phase = |phase: Phase| {
                if let Some(file) = &file {
                    locked(&file.inner).phase = phase;
                }
            };
            // The name leaves the listing before the receipt says that it was committed.
            let leave = || {
                set_phase(Phase::Committed { until: Instant::now() + self.grace });
                settle();
            };
            let finished = catch_unwind(AssertUnwindSafe(|| self.finish_one(&receipt, &attempt.event_ids, &attempt.from, leave)));
            let committed = finished.unwrap_or_else(|_| {
                tracing::error!(name = receipt.name, "an unfinished commit could not be finished: this is a bug in braidfs");
                false
            });
            if !committed {
                set_phase(self.phase_unfinished(&attempt.from));
            }
            // While the kernel was told somebody may have begun to save the next.
            let is_left = |file: &Arc<Staged>| committed && matches!(locked(&file.inner).phase, Phase::Committed { .. });
            if let Some(file) = file.filter(is_left)
                && let Err(error) = self.remove(&attempt.from, &file)
            {
                tracing::warn!(%error, name = attempt.from, "a committed file cannot be removed");
            }
            self.announce();
        }
    }

    /// Where a file stands that could not be committed now. It may be the next one of its name, whose writer the daemon did not outlive.
    fn phase_unfinished(&self, name: &str) -> Phase {
        if commit_kind(name).is_none() {
            return Phase::Open;
        }
        let size = self.find(name).map(|file| locked(&file.inner).size);
        let left = size.zip(StagedName::new(name)).and_then(|(size, name)| self.phase_left(&name, size));
        left.unwrap_or(Phase::Refused)
    }

    fn finish_one(&self, receipt: &Receipt, event_ids: &[String], from: &str, leave: impl FnOnce()) -> bool {
        let bytes = StagedName::new(from).and_then(|from| self.files.read(&from).ok()).unwrap_or_default();
        let Some(kind) = commit_kind(&receipt.name).filter(|_| sha256_hex(&bytes) == receipt.sha256) else {
            self.forget_receipt(&receipt.name).unwrap_or_default();
            return false;
        };
        let ids: Vec<EventId> = event_ids.iter().filter_map(|id| id.parse().ok()).collect();
        let appended = parse_draft(&bytes, kind).map_err(Failure::Rejected).and_then(|mut draft| {
            name_events(&mut draft, &ids);
            self.ledger.append(draft)
        });
        match appended {
            Ok(committed) => {
                leave();
                self.save(&receipt.clone().committed(&committed)).is_ok()
            }
            Err(failure) => {
                let attempt = receipt.attempt.clone().filter(|_| matches!(failure, Failure::Error { .. }));
                self.refuse(Receipt { attempt, ..receipt.clone() }, &failure.into_rejection(try_again(from, &receipt.name)));
                false
            }
        }
    }
}
