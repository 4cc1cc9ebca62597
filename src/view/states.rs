//! `views/`: the states of user-defined folds, computed by whoever can run them.

use std::sync::Arc;

use crate::fold::Per;
use crate::format::names::{Decoded, decode_file_name, file_name};
use crate::view::file::File;
use crate::view::folded::{StateText, States};
use crate::view::tree::{Entry, Node, Tree};

/// The ending of a state's file.
const ENDING: &str = ".json";

impl Tree {
    /// The same tree with `views/`.
    #[must_use]
    pub fn with_states(mut self, states: Arc<dyn States>) -> Self {
        self.states = Some(states);
        self
    }

    pub(super) fn find_view(&self, rest: &str) -> Option<Node> {
        let states = self.states.as_deref()?;
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
