//! Renaming in `staging/`: among drafts, or to a name that is committed.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Instant;

use crate::fs::locked;
use crate::fs::staging::decide::{Outcome, unreadable};
use crate::fs::staging::{Phase, Staged, Staging, commit_kind, now_ns};
use crate::model::Errno;
use crate::store::StagedName;

impl Staging {
    /// Renames a file; to a name that is committed it returns when the transaction is durable, or with the draft still there.
    ///
    /// # Errors
    /// `ENOENT` without such a file, `EEXIST` for a name that is taken if none may be replaced, and why a draft is refused.
    pub fn rename(&self, from: &str, to: &str, replaces: bool, settle: impl FnOnce()) -> Result<(), Errno> {
        let file = self.find(from).ok_or_else(|| self.error(from).map_or(Errno::ENOENT, |_| Errno::EROFS))?;
        let target = Self::staged_name(to)?;
        self.wait_decided(&file);
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
        if commit_kind(to).is_none() {
            return self.give_name(&file, &target, Phase::Open).map(|()| self.left(from));
        }
        let before = locked(&file.inner).phase;
        let named = catch_unwind(AssertUnwindSafe(|| match self.commit_renamed(&file, &target, settle)? {
            Outcome::Nothing => self.give_name(&file, &target, Phase::Open),
            Outcome::Committed => self.give_name(&file, &target, Phase::Committed { until: Instant::now() + self.grace }),
            Outcome::SecondSave => Self::keep(&file, before, Errno::EEXIST),
            Outcome::Refused(errno) => Self::keep(&file, before, errno),
        }));
        if named.is_err() {
            // Nobody must wait for ever for a verdict that a bug has swallowed.
            locked(&file.inner).phase = before;
        }
        self.announce();
        named.unwrap_or_else(|panic| resume_unwind(panic)).map(|()| self.left(from))
    }

    /// A name has no file any more: what was told of it is not true any more.
    fn left(&self, name: &str) {
        self.dismiss_of(name);
        self.tell_idle_again();
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
            inner.phase = Phase::Deciding;
            (from, bytes, inner.checking.lost.rejection())
        };
        Ok(self.attempt(target, &from, &bytes, lost, settle))
    }

    /// The draft stays as it was.
    fn keep(file: &Staged, before: Phase, errno: Errno) -> Result<(), Errno> {
        locked(&file.inner).phase = before;
        Err(errno)
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
        let before = {
            let mut inner = locked(&file.inner);
            let before = inner.name.clone().ok_or(Errno::ENOENT)?;
            if let Err(error) = self.files.rename(&before, target) {
                inner.phase = Phase::Open;
                return Err(error.errno());
            }
            inner.name = Some(target.clone());
            inner.phase = phase;
            inner.used_ns = now_ns();
            inner.checking.begin_anew();
            before
        };
        let mut state = locked(&self.state);
        state.forget_name(before.as_str(), file);
        state.names.insert(target.as_str().to_owned(), Arc::clone(file));
        Ok(())
    }
}
