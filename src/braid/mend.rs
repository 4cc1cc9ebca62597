//! Mends what can be mended without a question.

use std::time::SystemTime;

use crate::braid::git::Program;
use crate::braid::keeper::commit::LOCK_WAIT;
use crate::braid::restore::failure_of_lock;
use crate::braid::{Braid, Failure};
use crate::epoch::WriterState;
use crate::format::text::counted;
use crate::format::transaction::normalize;
use crate::model::FindingKind;
use crate::store::{CommitLock, LogProblem};

/// Gaps in the numbers that are named.
const LOST_SHOWN_MAX: usize = 5;

impl Braid {
    /// Mends what is safe: files whose line ends were changed get the bytes back that their hash is of, what a killed program
    /// left of temporary files goes, a damaged ingestion log is written anew, a lost index is made again, `.gitattributes` and `.gitignore` get the lines they lack,
    /// and git looks anew at files that are as it has them.
    ///
    /// Gives a sentence for each thing that was done.
    ///
    /// # Errors
    /// If another program has the lock, or the disk fails.
    pub fn mend(&self) -> Result<Vec<String>, Failure> {
        self.wait_ready()?;
        self.can_write()?;
        // What any process that may write mends as it opens a store.
        let by_the_way = self.at_keeper(|keeper, _| std::mem::take(&mut keeper.mended)).ok_or_else(Failure::closed)?;
        let mut done: Vec<String> = by_the_way.into_iter().collect();
        done.extend(self.mend_line_ends()?);
        let store = &self.inner.store;
        let lock = store.lock(LOCK_WAIT).map_err(|error| failure_of_lock(&error))?;
        match store.remove_stale_temporaries(&lock, SystemTime::now())? {
            0 => {}
            count => done.push(format!("removed {} that a killed program left", counted(count, "temporary file"))),
        }
        if let Some(lacks) = store.git()?.and_then(|_| Program::new(store.dir()).lacks().ok()) {
            let amended = store.amend_git_files(lacks.lines)?;
            done.extend(amended.into_iter().map(|(file, line)| format!("added \"{line}\" to {file}")));
        }
        done.extend(self.mend_log(lock)?);
        done.extend(self.refresh_git());
        self.survey()?;
        self.can_write()?;
        Ok(done)
    }

    /// Has git see that it has the files which got their bytes back. That waits for the attributes by which it looks at them.
    fn refresh_git(&self) -> Option<String> {
        let store = &self.inner.store;
        store.git().ok().flatten()?;
        match Program::new(store.dir()).refresh_index() {
            Ok(same) if same.is_empty() => None,
            Ok(same) => Some(format!("had git look anew at {} that it took for changed", counted(same.len(), "file"))),
            Err(error) => {
                tracing::warn!(%error, "git was not told which files are as it has them");
                None
            }
        }
    }

    /// Fails where a sync has failed, so that what was to be written may not be.
    fn can_write(&self) -> Result<(), Failure> {
        match &self.epoch().writer {
            WriterState::Failed(why) => Err(Failure::new(format!("not everything could be mended: {why}"), "")),
            _ => Ok(()),
        }
    }

    fn mend_line_ends(&self) -> Result<Vec<String>, Failure> {
        self.refresh()?;
        // An epoch tells only so many of them.
        let healed = self.at_keeper(|keeper, _| {
            let findings = keeper.roster.findings().values().flatten();
            findings.filter(|finding| finding.kind == FindingKind::Healed).filter_map(|finding| finding.file.clone()).collect::<Vec<_>>()
        });
        let store = &self.inner.store;
        let lock = store.lock(LOCK_WAIT).map_err(|error| failure_of_lock(&error))?;
        let mut done = Vec::new();
        for name in healed.ok_or_else(Failure::closed)? {
            let (bytes, _) = store.load(&name)?;
            if let Ok(normal) = normalize(&bytes)
                && let Some(healing) = &normal.healing
            {
                store.replace(&lock, &name, normal.text.as_bytes())?;
                done.push(format!("gave file \"{name}\" its bytes back ({healing})"));
            }
        }
        drop(lock);
        self.refresh()?;
        Ok(done)
    }

    /// Writes the ingestion log anew where it is damaged; every number that it still tells stays what it is.
    fn mend_log(&self, lock: CommitLock) -> Result<Option<String>, Failure> {
        let mended = self.at_keeper(move |keeper, shared| {
            let result = keeper.mend_log(&lock);
            drop(lock);
            keeper.publish_if_dirty(shared);
            result
        });
        let mended = mended.ok_or_else(Failure::closed)??;
        Ok((!mended.is_empty()).then(|| format!("wrote index/ingestion.log anew; {}", kept_and_lost(&mended))))
    }
}

/// Which numbers a log that was damaged so has lost.
///
/// The saved index may know which event had one, but only as long as nobody has opened the store since.
fn kept_and_lost(problems: &[LogProblem]) -> String {
    let mut lost: Vec<String> = Vec::new();
    let mut repeated = false;
    for problem in problems {
        match *problem {
            LogProblem::Skipped { first, seq_nr } if first + 1 == seq_nr => lost.push(first.to_string()),
            LogProblem::Skipped { first, seq_nr } => lost.push(format!("{first} to {}", seq_nr - 1)),
            LogProblem::Repeated { .. } => repeated = true,
            LogProblem::Unreadable { .. } => {}
        }
    }
    let count = lost.len();
    if count > LOST_SHOWN_MAX {
        lost.truncate(LOST_SHOWN_MAX);
        lost.push("more".to_owned());
    }
    let mut told = match lost.as_slice() {
        [] if repeated => "every number is what its first line said".to_owned(),
        [] => return "every number is what it was".to_owned(),
        lost => {
            let lost = lost.join(", ");
            format!(
                "no line said any more which event had number {lost}: such an event has a fresh number, and checkpoints beyond the lost one are orphaned; every other number is what it was"
            )
        }
    };
    if repeated {
        told.push_str("; an event whose line gave a number a second time has a fresh one");
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lost_is_told_by_number() {
        let skipped = |first, seq_nr| LogProblem::Skipped { first, seq_nr };
        let told = |problems: &[LogProblem]| kept_and_lost(problems);
        assert_eq!(told(&[LogProblem::Unreadable { seq_nr: 2 }]), "every number is what it was");
        assert!(told(&[LogProblem::Unreadable { seq_nr: 2 }, skipped(2, 3)]).contains("had number 2: "));
        assert!(told(&[skipped(2, 3), skipped(5, 8)]).contains("had number 2, 5 to 7: "));
        let many: Vec<LogProblem> = (1..=20).map(|n| skipped(2 * n, 2 * n + 1)).collect();
        assert!(told(&many).contains("had number 2, 4, 6, 8, 10, more: "), "{}", told(&many));
        let repeated = told(&[LogProblem::Repeated { seq_nr: 2 }]);
        assert!(repeated.starts_with("every number is what its first line said; an event whose line"), "{repeated}");
    }
}
