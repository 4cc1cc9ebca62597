//! Definitions that come, change and go are looked at although nobody reads their views: what is told of them comes and goes by itself.

use std::collections::{BTreeMap, HashMap};
use std::sync::Weak;
use std::time::Duration;

use super::definitions::Read;
use super::{Projections, digest_of, locked};
use crate::braid::attention::Attention;
use crate::fold::{Definition, FoldError};

/// How often the definitions are looked at while they change.
const PAUSE: Duration = Duration::from_millis(400);

/// Looks at the definitions until the store is closed.
pub(in crate::braid) fn follow(projections: &Weak<Projections>) {
    let mut tried = HashMap::new();
    let mut attention = Attention::new(PAUSE);
    let Some(mut shown) = projections.upgrade().map(|projections| projections.texts()) else { return };
    loop {
        attention.rest();
        let Some(projections) = projections.upgrade() else { return };
        projections.look(&mut tried);
        // Whoever keeps the names in `views/` is told of others.
        let texts = projections.texts();
        if texts != shown {
            shown = texts;
            attention.noticed();
            (projections.ask)();
        }
    }
}

impl Projections {
    /// The definitions by name, with the digests of their texts.
    fn texts(&self) -> BTreeMap<String, [u8; 32]> {
        self.definitions.all(&self.store).into_iter().map(|(name, read)| (name, digest_of(&read))).collect()
    }

    /// Forgets what is said of texts that are no more, and tries those that are new: whether they are definitions, and their programs jq.
    pub(super) fn look(&self, tried: &mut HashMap<String, Read>) {
        let now: HashMap<String, Read> = self.definitions.all(&self.store).into_iter().collect();
        self.forget_outdated(&now);
        tried.retain(|name, before| now.get(name).is_some_and(|read| std::sync::Arc::ptr_eq(read, before)));
        for (name, read) in now {
            if tried.contains_key(&name) {
                continue;
            }
            let outcome = match read.as_ref() {
                Ok(definition) => self.try_out(definition),
                Err(error) => Some(Err(error.clone())),
            };
            // While a state is folded the program is not tried; nobody is to wait for that.
            let Some(outcome) = outcome else { continue };
            if let Err(error) = outcome {
                self.note(&name, "", digest_of(&read), Some(&error));
            }
            tried.insert(name, read);
        }
    }

    /// Compiles a program and tries its initial state; none while a worker is at work.
    fn try_out(&self, definition: &Definition) -> Option<Result<(), FoldError>> {
        self.workers.lend_idle(|worker| worker.check(&definition.text, definition.init.as_bytes()))
    }

    /// Forgets what was broken about texts that others have taken the place of, or nothing.
    fn forget_outdated(&self, now: &HashMap<String, Read>) {
        let mut broken = locked(&self.broken);
        let before = broken.len();
        broken.retain(|(name, _), (digest, _)| now.get(name).is_some_and(|read| digest_of(read) == *digest));
        let changed = broken.len() != before;
        drop(broken);
        if changed {
            (self.ask)();
        }
    }
}
