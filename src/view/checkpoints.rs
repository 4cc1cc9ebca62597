//! `checkpoints/` where it cannot be written: a subscription's number as a file.

use crate::format::names::file_name;
use crate::store::{Checkpoint, Standing};
use crate::view::file::File;
use crate::view::tree::{Entry, Node, Tree};

impl Tree {
    fn checkpoints(&self) -> impl Iterator<Item = &Checkpoint> {
        // An orphaned one points at other events: it is a finding, not a file.
        self.epoch().checkpoints.iter().filter(|checkpoint| checkpoint.standing != Standing::Orphaned)
    }

    /// The checkpoint that a file's name stands for.
    pub(super) fn find_checkpoint(&self, name: &str) -> Option<Node> {
        let found = self.checkpoints().find(|checkpoint| file_name(&checkpoint.name, "") == name)?;
        Some(Node::File(File::of_bytes(format!("{}\n", found.seq_nr).into_bytes(), 0)))
    }

    /// The names in `checkpoints/`.
    pub(super) fn list_checkpoints(&self) -> Vec<Entry> {
        self.checkpoints().map(|checkpoint| Entry::file(file_name(&checkpoint.name, ""))).collect()
    }
}
