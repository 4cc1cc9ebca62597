//! `views/`: the states of user-defined folds, computed by whoever can run them.

use std::fmt::Debug;
use std::sync::Arc;

use crate::epoch::Epoch;
use crate::fold::Per;
use crate::format::names::{Decoded, decode_file_name, file_name};
use crate::view::file::File;
use crate::view::tree::{Entry, Node, Tree};

/// The ending of a state's file.
const ENDING: &str = ".json";

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

impl Tree {
    /// The same tree with `views/`.
    #[must_use]
    pub fn with_states(mut self, states: Arc<dyn States>) -> Self {
        self.states = Some(states);
        self
    }

    pub(super) fn find_view(&self, rest: &str) -> Option<Node> {
        let states = self.states.as_ref()?;
        let Some((name, key)) = rest.split_once('/') else {
            if states.per(rest).is_some_and(|per| per != Per::All) {
                return Some(self.directory());
            }
            let name = rest.strip_suffix(ENDING)?;
            return if states.per(name)? == Per::All { self.state_file(states.state(name, "", self.epoch())?) } else { None };
        };
        if states.per(name)? == Per::All {
            return None;
        }
        let key = match decode_file_name(key, ENDING)? {
            Decoded::Exact(key) => key,
            Decoded::Cut => states.keys(name, self.epoch())?.into_iter().find(|other| file_name(other, ENDING) == key)?,
        };
        self.state_file(states.state(name, &key, self.epoch())?)
    }

    fn state_file(&self, state: StateText) -> Option<Node> {
        Some(Node::File(File::of_bytes(state.bytes, self.mtime_of(state.last_event))))
    }

    pub(super) fn list_views(&self, directory: &str) -> Option<Vec<Entry>> {
        let states = self.states.as_ref()?;
        if !directory.is_empty() {
            let keys = states.keys(directory, self.epoch())?;
            return Some(keys.iter().map(|key| Entry::file(file_name(key, ENDING))).collect());
        }
        let names = states.names().into_iter();
        Some(names.map(|(name, per)| if per == Per::All { Entry::file(name + ENDING) } else { Entry::directory(name) }).collect())
    }
}
