//! A store that has transactions of which none can be seen, since a sparse checkout leaves them out or all that is there is refused: it looks
//! empty, and what is appended to it would begin a second root.

use crate::braid::git::{GitError, Program};
use crate::braid::keeper::Keeper;
use crate::format::text::counted_as;
use crate::index::Index;
use crate::model::{Errno, Finding, FindingKind, Rejection, Severity};
use crate::store::Store;

/// What is left out of a store of which nothing can be seen; git is asked only where a sparse checkout was ever made.
pub(super) fn left_out(store: &Store, index: &Index) -> Result<Option<Finding>, GitError> {
    if index.transactions.valid_count() > 0 {
        return Ok(None);
    }
    let git = store.git().ok().flatten().filter(|git| store.disk().exists(&git.sparse_checkout()));
    let Some(git) = git else { return Ok(None) };
    tracing::debug!(work_tree = %git.work_tree.display(), "nothing is here, and a sparse checkout was made: git is asked");
    let Some(left_out) = Program::new(store.dir()).left_out()? else { return Ok(None) };
    let files = counted_as(left_out.files, "transaction file that git has is", "transaction files that git has are");
    Ok(Some(Finding {
        kind: FindingKind::Vanished,
        severity: Severity::Error,
        file: None,
        transaction_id: None,
        message: format!("{files} left out of \"events/\" by a sparse checkout; nothing can be appended until that is checked out"),
        hint: left_out.cure,
    }))
}

impl Keeper {
    /// Tells at the first look what a sparse checkout leaves out, for those who ask git nothing else.
    pub(super) fn look_for_left_out(&mut self) {
        // Where git does not answer, the survey says so.
        self.memory.surveyed.extend(left_out(&self.store, &self.index).ok().flatten());
    }

    /// Refuses what would begin a second root, since the heads are not checked out.
    pub(super) fn refuse_unseen_heads(&self) -> Result<(), Rejection> {
        match left_out(&self.store, &self.index) {
            Err(error) => {
                let message = format!("nothing is here, and git does not tell whether a sparse checkout leaves it out: {}", error.reason());
                Err(Rejection::whole(Errno::ESTALE, message, error.hint()))
            }
            Ok(Some(finding)) => Err(Rejection::whole(Errno::ESTALE, finding.message, finding.hint)),
            Ok(None) => self.refuse_unread_heads(),
        }
    }

    /// The same where what is there is no transaction file, as in a clone that lacks its filter: what it was may be the heads.
    fn refuse_unread_heads(&self) -> Result<(), Rejection> {
        if self.index.transactions.valid_count() > 0 {
            return Ok(());
        }
        let Some((files, first)) = self.roster.refused_transactions(&self.index) else { return Ok(()) };
        let files = counted_as(files, "file of \"events/\" is refused", "files of \"events/\" are refused");
        let message = format!("{files} and no other is there; a transaction now would begin a second history beside theirs: {first}");
        Err(Rejection::whole(Errno::ESTALE, message, "braidfs doctor   # has a cure for each; what is no transaction is to be moved away"))
    }
}
