//! Acknowledges that events are gone for good, so that they are told of no more.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::braid::git::{Program, State};
use crate::braid::keeper::eventless::file_of_transaction;
use crate::braid::keeper::vanished::{file_of, is_gone, vanished_events};
use crate::braid::restore::{file_name, holding};
use crate::braid::{Braid, Failure};
use crate::epoch::Quarantined;
use crate::model::{EventId, TransactionId};
use crate::store::Mode;

/// What is to be forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forget {
    /// Files, or events, by names in `events/` or ids.
    Named(Vec<String>),
    /// Everything that is gone.
    All,
}

/// What was forgotten, and what was not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Files that are known to be gone now, with how many events of each.
    pub files: BTreeMap<String, usize>,
    /// How many events besides, of which no file is known.
    pub unnamed: usize,
    /// How many events were not forgotten, of which no file is known and which what is refused may have.
    pub withheld: usize,
    /// Files that git still has; their events were not forgotten.
    pub in_git: Vec<String>,
    /// Files that git's last commit has: as long as it does it is told that they are gone.
    pub committed: Vec<String>,
    /// Names under which nothing is gone.
    pub unknown: Vec<String>,
    /// What is here and counts as gone, since it is refused.
    pub refused: Vec<Quarantined>,
}

impl Braid {
    /// Acknowledges that events are gone, so that nothing tells of them any more; their numbers in the feed stay gone.
    ///
    /// What a commit has that git still knows is left out, unless `even_so`: then git is not asked. So is, where everything is
    /// meant, what no file is known of while a file is refused: it may be in there.
    ///
    /// # Errors
    /// If git gives no answer, or the store cannot be written.
    pub fn forget(&self, what: &Forget, even_so: bool) -> Result<Forgotten, Failure> {
        let epoch = self.wait_ready()?;
        let store = &self.inner.store;
        if store.mode() == Mode::ReadOnly {
            return Err(Failure::new("the store was opened to be read only", ""));
        }
        let known = store.forgotten().map_err(|error| Failure::new(error.to_string(), ""))?;
        let mut gone: BTreeMap<EventId, Option<String>> =
            vanished_events(&epoch.index, &known).map(|id| (id, file_of(&epoch.index, id).map(|(file, _)| file))).collect();
        let mut eventless: BTreeMap<TransactionId, String> =
            epoch.eventless_gone.iter().map(|&id| (id, file_of_transaction(&epoch.index, id))).collect();
        let mut forgotten = Forgotten::default();
        let git = store.git().ok().flatten().map(|_| Program::new(store.dir()));
        // Where git gives no answer it tells of no such file later either.
        let changes = git.as_ref().map_or_else(|| Ok(Vec::new()), Program::changes);
        let deleted = changes.unwrap_or_default().into_iter().filter(|change| change.state == State::Deleted);
        let mut committed: BTreeSet<String> = deleted.map(|change| change.name).collect();
        if let Forget::Named(names) = what {
            committed.retain(|file| names.iter().any(|name| file_name(name) == *file));
            let is_meant = |name: &str, id: EventId, file: Option<&String>| file == Some(&file_name(name)) || id.to_string() == name;
            for name in names {
                let refused = epoch.quarantined.iter().find(|refused| refused.file == file_name(name));
                if let Some(refused) = refused {
                    forgotten.refused.push(refused.clone());
                } else if !gone.iter().any(|(&id, file)| is_meant(name, id, file.as_ref()))
                    && !eventless.values().any(|file| *file == file_name(name))
                    && !committed.contains(&file_name(name))
                {
                    forgotten.unknown.push(name.clone());
                }
            }
            gone.retain(|&id, file| names.iter().any(|name| is_meant(name, id, file.as_ref())));
            eventless.retain(|_, file| names.iter().any(|name| *file == file_name(name)));
        }
        // What is here is not gone for good.
        gone.retain(|_, file| file.as_ref().is_none_or(|file| is_gone(&epoch, file)));
        eventless.retain(|_, file| is_gone(&epoch, file));
        let is_any = !gone.is_empty() || !eventless.is_empty();
        if !even_so
            && is_any
            && let Some(git) = &git
        {
            let mut nowhere: HashSet<EventId> = gone.keys().copied().collect();
            forgotten.in_git = if gone.is_empty() { Vec::new() } else { holding(git, &epoch, &mut nowhere)? };
            gone.retain(|id, _| nowhere.contains(id));
            let held = git.last_said_by(&eventless.values().cloned().collect())?;
            eventless.retain(|_, file| !held.contains_key(file));
            forgotten.in_git.extend(held.into_keys());
        }
        committed.retain(|file| !forgotten.in_git.contains(file));
        forgotten.committed = committed.into_iter().collect();
        if *what == Forget::All && !even_so && !epoch.quarantined.is_empty() {
            forgotten.withheld = gone.values().filter(|file| file.is_none()).count();
            gone.retain(|_, file| file.is_some());
            if forgotten.withheld > 0 {
                forgotten.refused.extend(epoch.quarantined.iter().cloned());
            }
        }
        if !(gone.is_empty() && eventless.is_empty()) {
            let events: BTreeSet<EventId> = gone.keys().copied().collect();
            let transactions: BTreeSet<TransactionId> = eventless.keys().copied().collect();
            self.at_keeper(move |keeper, shared| keeper.forget(&events, &transactions, shared))
                .unwrap_or_else(|| Err(Failure::closed()))?;
        }
        forgotten.files.extend(eventless.into_values().map(|file| (file, 0)));
        for file in gone.into_values() {
            match file {
                Some(file) => *forgotten.files.entry(file).or_default() += 1,
                None => forgotten.unnamed += 1,
            }
        }
        Ok(forgotten)
    }
}
