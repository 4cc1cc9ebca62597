//! Sparse checkouts: files that git has and keeps out of the work tree.

use super::{GitError, Program};
use crate::format::text::quoted;

/// Transaction files that a sparse checkout leaves out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// How many.
    pub files: usize,
    /// The command that brings them, run in the store's directory.
    pub cure: String,
}

impl Program {
    /// The transaction files that a sparse checkout leaves out of `events/`; none where it leaves out none.
    ///
    /// # Errors
    /// If git cannot be run or the store lies in no repository.
    pub fn left_out(&self) -> Result<Option<LeftOut>, GitError> {
        let listed = self.run(&["ls-files", "-t", "-z", "--", "events"])?;
        let files = listed.split(|byte| *byte == 0).filter(|entry| entry.starts_with(b"S ") && entry.ends_with(b".jsonl")).count();
        if files == 0 {
            return Ok(None);
        }
        // Without cones it takes patterns from the top of the work tree, and only there.
        let cure = if self.setting("core.sparseCheckoutCone").as_deref() == Some("false") {
            let [top, prefix] = [self.text(&["rev-parse", "--show-cdup"])?, self.text(&["rev-parse", "--show-prefix"])?];
            let there = if top.is_empty() { String::new() } else { format!("-C {top} ") };
            format!("git {there}sparse-checkout add {}", quoted(&format!("/{prefix}events/")))
        } else {
            "git sparse-checkout add events".to_owned()
        };
        Ok(Some(LeftOut { files, cure }))
    }
}
