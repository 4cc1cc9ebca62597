//! Renaming in `staging/`: among drafts, or to a name that is committed.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Instant;

use crate::fs::locked;
use crate::fs::staging::decide::{Outcome, unreadable};
use crate::fs::staging::{Phase, Staged, Staging, commit_kind};
use crate::model::Errno;
use crate::store::StagedName;

impl Staging {
    /// Renames a file; to a name that is committed it returns when the transaction is durable, or with the draft still there.
    ///
    /// # Errors
    /// `ENOENT` without such a file, also where it was committed, though its name still resolves: renamed, the same bytes would be committed
    /// once more. `EEXIST` for a name that is taken if none may be replaced, and why a draft is refused.
    pub fn rename(&self, from: &str, to: &str, replaces: bool, settle: impl FnOnce()) -> Result<(), Errno> {
        let file = self.find(from).ok_or_else(|| self.error(from).map_or(Errno::ENOENT, |_| Errno::EROFS))?;
        let target = Self::staged_name(to)?;
        let present = self.find(to);
        if let Some(present) = &present {
            if present.id == file.id {
                return Ok(());
            }
            self.wait_decided(present);
        }
        if !replaces && (present.is_some() || self.error(to).is_some()) {
            return Err(Errno::EEXIST);
        }
        let before = self.claim(&file, from)?;
        let renamed = catch_unwind(AssertUnwindSafe(|| self.rename_claimed(&file, &target, settle)));
        if !matches!(renamed, Ok(Ok(()))) {
            // The draft stays as it was; nobody must wait for ever for a verdict that a bug has swallowed.
            locked(&file.inner).phase = before;
        }
        self.announce();
        renamed.unwrap_or_else(|panic| resume_unwind(panic))?;
        // The name has no file any more: what was told of it is not true any more.
        self.dismiss_of(from);
        self.tell_idle_again();
        Ok(())
    }

    /// Takes a file for oneself until its phase is set anew, as a decision does; returns the phase that it had.
    fn claim(&self, file: &Staged, name: &str) -> Result<Phase, Errno> {
        let mut inner = self.lock_decided(file);
        let is_named = inner.name.as_ref().is_some_and(|present| present.as_str() == name);
        if !is_named || matches!(inner.phase, Phase::Committed { .. }) {
            return Err(Errno::ENOENT);
        }
        Ok(std::mem::replace(&mut inner.phase, Phase::Deciding))
    }

    fn rename_claimed(&self, file: &Arc<Staged>, target: &StagedName, settle: impl FnOnce()) -> Result<(), Errno> {
        if commit_kind(target.as_str()).is_none() {
            return self.give_name(file, target, Phase::Open);
        }
        match self.commit_renamed(file, target, settle)? {
            Outcome::Nothing => self.give_name(file, target, Phase::Open),
            Outcome::Committed => {
                self.leave(file, target);
                Ok(())
            }
            Outcome::SecondSave => Err(Errno::EEXIST),
            Outcome::Refused(errno) => Err(errno),
        }
    }

    /// Takes a committed draft out of the listing, under its new name: what is durable is answered so, whatever the disk says of the move.
    fn leave(&self, file: &Arc<Staged>, target: &StagedName) {
        let phase = Phase::Committed { until: Instant::now() + self.grace };
        let Err(errno) = self.give_name(file, target, phase) else { return };
        tracing::warn!(%errno, name = target.as_str(), "a committed draft cannot be moved; it is removed where it lies");
        locked(&file.inner).phase = phase;
        let replaced = locked(&self.state).names.get(target.as_str()).cloned();
        if let Some(Err(errno)) = replaced.map(|replaced| self.remove(target.as_str(), &replaced)) {
            tracing::warn!(%errno, name = target.as_str(), "a file that a committed draft replaces cannot be removed");
        }
    }

    fn commit_renamed(&self, file: &Staged, target: &StagedName, settle: impl FnOnce()) -> Result<Outcome, Errno> {
        let (from, bytes, lost) = {
            let mut inner = locked(&file.inner);
            let from = inner.name.clone().ok_or(Errno::ENOENT)?;
            let bytes = match self.all_bytes(&mut inner) {
                Ok(bytes) => bytes,
                Err(errno) => {
                    let size = inner.size;
                    drop(inner);
                    return Ok(self.refuse_unread(target, &from, size, unreadable(errno, size)));
                }
            };
            if inner.openers == 0 {
                inner.file = None;
            }
            (from, bytes, inner.checking.lost.rejection())
        };
        Ok(self.attempt(target, &from, &bytes, lost, || (), settle))
    }

    /// Moves a file to a name, in place of whatever has it.
    fn give_name(&self, file: &Arc<Staged>, target: &StagedName, phase: Phase) -> Result<(), Errno> {
        let replaced = locked(&self.state).names.get(target.as_str()).cloned().filter(|replaced| replaced.id != file.id);
        if let Some(replaced) = &replaced {
            let mut inner = locked(&replaced.inner);
            // Who has the replaced file open keeps its bytes.
            if inner.openers > 0 {
                self.ensure_open(&mut inner)?;
            }
            inner.name = None;
        }
        let moved = self.move_file(file, target, phase);
        if let (Err(_), Some(replaced)) = (&moved, &replaced) {
            locked(&replaced.inner).name = Some(target.clone());
        }
        let before = moved?;
        let mut state = locked(&self.state);
        state.forget_name(before.as_str(), file);
        state.names.insert(target.as_str().to_owned(), Arc::clone(file));
        Ok(())
    }
    /// Moves the file itself; gives the name that it had.
    fn move_file(&self, file: &Staged, target: &StagedName, phase: Phase) -> Result<StagedName, Errno> {
        let mut inner = locked(&file.inner);
        let before = inner.name.clone().ok_or(Errno::ENOENT)?;
        self.files.rename(&before, target).map_err(|error| error.errno())?;
        inner.name = Some(target.clone());
        inner.phase = phase;
        inner.used = Instant::now();
        inner.checking.begin_anew();
        Ok(before)
    }
}
