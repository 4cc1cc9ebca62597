//! States of a past: its lists have incarnations of their own, so what was folded is compared by its events.

use std::sync::Arc;

use super::{Projections, text_of};
use crate::epoch::Epoch;
use crate::fold::Per;
use crate::view::{StateText, States};

/// The folds as they are defined now, over the events of then.
#[derive(Debug)]
pub(in crate::braid) struct Past {
    projections: Arc<Projections>,
}

impl Past {
    pub(in crate::braid) fn of(projections: &Arc<Projections>) -> Arc<dyn States> {
        Arc::new(Self { projections: Arc::clone(projections) })
    }
}

impl States for Past {
    fn names(&self) -> Vec<(String, Per)> {
        self.projections.names()
    }

    fn per(&self, name: &str) -> Option<Per> {
        self.projections.per(name)
    }

    fn keys(&self, name: &str, epoch: &Epoch) -> Option<Vec<String>> {
        self.projections.keys(name, epoch)
    }

    fn state(&self, name: &str, key: &str, epoch: &Epoch) -> Option<StateText> {
        let (outcome, last_event) = self.projections.fold(name, key, epoch, false)?;
        Some(StateText { bytes: text_of(&outcome, epoch), last_event })
    }
}
