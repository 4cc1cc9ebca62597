//! Conflicts that are open under their ids no more, with streams of theirs: who resolves one of another day is told what has become of it.

use std::sync::Arc;

use crate::dag::Conflict;
use crate::format::binary::{Binary, Input};

/// So many are remembered, and so many streams of each.
const FORMER_MAX: usize = 1_000;
const STREAMS_MAX: usize = 100;

/// What is remembered, the oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Former(Arc<Vec<(String, Vec<u32>)>>);

impl Former {
    /// Remembers what is open no more; both are in the order of their ids.
    pub(super) fn note(&mut self, before: &[Conflict], now: &[Conflict]) {
        let is_open = |id: &String| now.binary_search_by(|conflict| conflict.id.cmp(id)).is_ok();
        let mut ended = before.iter().filter(|conflict| !is_open(&conflict.id)).peekable();
        if ended.peek().is_none() {
            return;
        }
        let former = Arc::make_mut(&mut self.0);
        former.extend(ended.map(|conflict| {
            let streams = conflict.forks.iter().take(STREAMS_MAX).map(|fork| fork.stream);
            (conflict.id.clone(), streams.collect())
        }));
        former.drain(..former.len().saturating_sub(FORMER_MAX));
    }

    /// Streams of a conflict that was open under an id; none if it is not remembered.
    pub(super) fn streams(&self, id: &str) -> Option<&[u32]> {
        let found = self.0.iter().rev().find(|(former, _)| former == id)?;
        Some(&found.1)
    }
}

impl Binary for Former {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }

    fn take(from: &mut Input<'_>) -> Option<Self> {
        Binary::take(from).map(Self)
    }
}
