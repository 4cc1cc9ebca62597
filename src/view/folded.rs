//! What the tree is told of user-defined folds, by whoever can run them.

use std::fmt::Debug;

use crate::epoch::Epoch;
use crate::fold::Per;

/// A state, or why there is none, as its file shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateText {
    /// The file's bytes: JSON and a line end.
    pub bytes: Vec<u8>,
    /// The last event that was folded.
    pub last_event: Option<u32>,
}

/// Who computes the states of user-defined folds.
pub trait States: Send + Sync + Debug {
    /// The names of all folds, each with what has a state of its own; one that is no fold counts as [`Per::All`].
    fn names(&self) -> Vec<(String, Per)>;

    /// What has a state of its own under a name.
    fn per(&self, name: &str) -> Option<Per>;

    /// The streams or types that have a state; none if the fold has one state.
    fn keys(&self, name: &str, epoch: &Epoch) -> Option<Vec<String>>;

    /// The state of a stream, of a type, or with the key `""` the only one.
    fn state(&self, name: &str, key: &str, epoch: &Epoch) -> Option<StateText>;
}
