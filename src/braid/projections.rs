//! The states of user-defined folds: computed when they are asked for, then kept up event by event.

mod definitions;
mod follow;
mod kept;
mod past;
mod source;
mod workers;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use lru::LruCache;
use sha2::{Digest as _, Sha256};
use tracing::field::Empty;

use crate::braid::spans::{count, micros};
use crate::braid::{Braid, OpenOptions};
use crate::disk::Disk;
use crate::epoch::Epoch;
use crate::fold::{Definition, FoldError, FoldErrorKind, Limits, Per, Worker};
use crate::format::text::quoted;
use crate::model::{Finding, FindingKind, Severity};
use crate::store::{Mode, Store};
use crate::view::{StateText, States};

use definitions::Definitions;
pub use definitions::read_definition;
pub(super) use follow::follow;
use kept::{Kept, Outcome, Point};
pub(super) use past::Past;
use source::Source;
use workers::Workers;

/// How many states are kept in memory.
const KEPT_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);
/// How many bytes the newest of them may take together before the ones that were not asked for are forgotten.
const KEPT_BYTES_MAX: usize = 256 << 20;
/// A state is saved once so many events came after what is saved; a large one later, so that saving costs less than folding.
const SAVE_EVENTS_MIN: u64 = 64;
/// How many bytes of a state are worth one event more.
const SAVE_BYTES_AN_EVENT: u64 = 1024;

/// The program that runs folds in a process of its own: this one if it is `braidfs`, else the one beside it, else the one in `PATH`.
#[must_use]
pub fn worker_exe(disk: &Disk) -> PathBuf {
    const NAME: &str = "braidfs";
    let Ok(own) = std::env::current_exe() else { return NAME.into() };
    if own.file_name().is_some_and(|name| name == NAME) {
        // Stays the same program when the file is replaced by an upgrade.
        return "/proc/self/exe".into();
    }
    let beside = own.with_file_name(NAME);
    if disk.exists(&beside) { beside } else { NAME.into() }
}

/// A state's name: fold, key, and whether it is of the present.
type Slot = (String, String, bool);

/// What is broken, by fold and key, with the digest of the definition.
type Broken = BTreeMap<(String, String), ([u8; 32], Finding)>;

/// What folds, with what it has folded.
pub(super) struct Projections {
    store: Arc<Store>,
    definitions: Definitions,
    kept: Mutex<LruCache<Slot, Kept>>,
    workers: Workers,
    broken: Mutex<Broken>,
    /// Events that were folded since the store was opened.
    folded: AtomicU64,
    /// Definitions of which a state was saved since the store was opened.
    saved: Mutex<HashSet<[u8; 32]>>,
    /// Asks for an epoch with other findings.
    ask: Box<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for Projections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Projections").field("store", &self.store.dir()).finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Projections {
    pub(super) fn new(store: Arc<Store>, options: &OpenOptions, ask: Box<dyn Fn() + Send + Sync>) -> Self {
        Self {
            workers: Workers::new(options.worker.clone().unwrap_or_else(|| worker_exe(&options.disk)), options.fold_limits),
            store,
            definitions: Definitions::default(),
            kept: Mutex::new(LruCache::new(KEPT_MAX)),
            broken: Mutex::default(),
            folded: AtomicU64::new(0),
            saved: Mutex::default(),
            ask,
        }
    }

    /// Folds that have no state, as far as they were asked for.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let broken = locked(&self.broken).clone();
        let is_current =
            |name: &str, digest: [u8; 32]| self.definitions.find(&self.store, name).is_some_and(|read| digest_of(&read) == digest);
        broken.into_iter().filter(|((name, _), (digest, _))| is_current(name, *digest)).map(|(_, (_, finding))| finding).collect()
    }

    pub(super) fn folded(&self) -> u64 {
        self.folded.load(Ordering::Relaxed)
    }

    /// The state under a key; none if there is no such fold or key. `is_present` says that the epoch is of the open store's own
    /// line, in which a list of one incarnation only grows.
    pub(super) fn fold(&self, name: &str, key: &str, epoch: &Epoch, is_present: bool) -> Option<(Outcome, Option<u32>)> {
        let Some(read) = self.definitions.find(&self.store, name) else {
            self.note_gone(name);
            return None;
        };
        let digest = digest_of(&read);
        let definition = match read.as_ref() {
            Ok(definition) => definition,
            Err(error) => {
                self.note(name, "", digest, Some(error));
                return key.is_empty().then(|| (Err(error.clone()), None));
            }
        };
        let Some(source) = Source::find(definition, key, &epoch.index) else {
            if is_present {
                self.note(name, key, digest, None);
            }
            return None;
        };
        let outcome = self.compute(definition, key, &source, is_present);
        if is_present {
            self.note(name, key, digest, outcome.as_ref().err());
        }
        Some((outcome, source.last_event()))
    }

    /// The outcome at the end of a source if nothing has to be folded for it.
    fn known(&self, definition: &Definition, slot: &Slot, source: &Source<'_>) -> Option<Outcome> {
        locked(&self.kept).get(slot).filter(|kept| kept.fold == definition.digest())?.find(source, slot.2)
    }

    fn compute(&self, definition: &Definition, key: &str, source: &Source<'_>, is_present: bool) -> Outcome {
        let digest = definition.digest();
        let slot = slot_of(definition, key, is_present);
        if let Some(outcome) = self.known(definition, &slot, source) {
            return outcome;
        }
        let turn = self.workers.turn(&slot);
        if let Some(outcome) = self.known(definition, &slot, source) {
            return outcome;
        }
        let mut kept = {
            let mut shelf = locked(&self.kept);
            let own = shelf.get(&slot).filter(|kept| kept.fold == digest).cloned();
            // A past begins with what the present has in common with it.
            own.or_else(|| shelf.get(&(slot.0.clone(), slot.1.clone(), true)).filter(|kept| kept.fold == digest).cloned())
        }
        .unwrap_or_else(|| Kept::load(&self.store, digest, key));
        let point = match kept.base(source, is_present) {
            Some(base) if base.len == source.len() || base.outcome.is_err() => base,
            base => self.advance(definition, base, source, is_present)?,
        };
        let outcome = point.outcome.clone();
        kept.push(point);
        if is_present && self.store.mode() == Mode::Writable && kept.is_worth_saving() {
            self.save(&mut kept, key);
        }
        self.shelve(slot.clone(), kept);
        drop(turn);
        outcome
    }

    /// Folds what came after `base`; an error of the machine's is none of the fold's and is not kept.
    fn advance(&self, definition: &Definition, base: Option<Point>, source: &Source<'_>, is_present: bool) -> Result<Point, FoldError> {
        let (from, state, before) = match base {
            Some(Point { len, outcome: Ok(state), hasher: Some(hasher), .. }) => (len, Some(state), hasher),
            _ => (0, None, Sha256::new()),
        };
        let (mut hasher, mut count) = (before.clone(), 0u64);
        let span = tracing::info_span!("fold", name = definition.name, events = Empty, duration_us = Empty).entered();
        let begun = Instant::now();
        let outcome = {
            let mut events = source.events(from, source.len()).peekable();
            match state {
                Some(state) if events.peek().is_none() => Ok(state),
                state => {
                    let lines = events.map(|event| {
                        count += 1;
                        source.hash(&mut hasher, event);
                        source.line(event)
                    });
                    let state = state.unwrap_or_else(|| definition.init.as_bytes().into());
                    self.workers.lend(|worker| worker.fold(&definition.text, &state, lines)).map(Arc::from)
                }
            }
        };
        self.folded.fetch_add(count, Ordering::Relaxed);
        span.record("events", self::count(count));
        span.record("duration_us", micros(begun));
        if let Err(error) = &outcome {
            if error.kind == FoldErrorKind::Machine {
                return Err(error.clone());
            }
            // The events behind the one that broke it were not looked at.
            hasher = before;
            source.events(from, source.len()).for_each(|event| source.hash(&mut hasher, event));
        }
        Ok(Point::new(source, hasher, outcome, is_present))
    }

    fn save(&self, kept: &mut Kept, key: &str) {
        // A definition that is saved for the first time may have taken the place of another.
        if locked(&self.saved).insert(kept.fold) {
            let digests = self.definitions.digests(&self.store);
            if let Err(error) = self.store.forget_fold_states_but(&digests) {
                tracing::debug!(%error, "states of other folds could not be forgotten");
            }
        }
        if let Err(error) = kept.save(&self.store, key) {
            tracing::debug!(%error, "the state of a fold could not be saved");
        }
    }

    fn shelve(&self, slot: Slot, kept: Kept) {
        let mut shelf = locked(&self.kept);
        shelf.put(slot, kept);
        let mut bytes: usize = shelf.iter().map(|(_, kept)| kept.bytes()).sum();
        while bytes > KEPT_BYTES_MAX && shelf.len() > 1 {
            bytes -= shelf.pop_lru().map_or(0, |(_, kept)| kept.bytes());
        }
    }

    /// Remembers what is broken and what is not any more; where that changed, an epoch says so.
    fn note(&self, name: &str, key: &str, digest: [u8; 32], error: Option<&FoldError>) {
        let slot = |key: &str| (name.to_owned(), key.to_owned());
        let mut broken = locked(&self.broken);
        let changed = match error {
            // It says nothing about the fold.
            Some(error) if error.kind == FoldErrorKind::Machine => false,
            Some(error) => {
                let now = (digest, finding(name, key, error));
                broken.insert(slot(key), now.clone()) != Some(now)
            }
            None if broken.is_empty() => false,
            // Without a key it was the text that made no sense, or a fold that had one state.
            None => [broken.remove(&slot(key)), broken.remove(&slot(""))].iter().any(Option::is_some),
        };
        drop(broken);
        if changed {
            (self.ask)();
        }
    }

    fn note_gone(&self, name: &str) {
        let mut broken = locked(&self.broken);
        let before = broken.len();
        broken.retain(|(other, _), _| other != name);
        let changed = broken.len() != before;
        drop(broken);
        if changed {
            (self.ask)();
        }
    }
}

fn slot_of(definition: &Definition, key: &str, is_present: bool) -> Slot {
    (definition.name.clone(), key.to_owned(), is_present)
}

/// The digest of a definition; zeros for a text that is none.
fn digest_of(read: &definitions::Read) -> [u8; 32] {
    read.as_ref().as_ref().map(Definition::digest).unwrap_or_default()
}

fn finding(name: &str, key: &str, error: &FoldError) -> Finding {
    let of = if key.is_empty() { String::new() } else { format!(" of \"{key}\"") };
    Finding {
        kind: FindingKind::BrokenProjection,
        severity: Severity::Warning,
        file: None,
        transaction_id: None,
        message: format!("projection \"{name}\" has no state{of}: {error}"),
        hint: format!("${{EDITOR:-vi}} {}", quoted(&format!("projections/{name}.jq"))),
    }
}

/// The line of a view's file for an error: what went wrong and the event that broke it.
fn error_text(error: &FoldError, epoch: &Epoch) -> Vec<u8> {
    let kind = match error.kind {
        FoldErrorKind::Program => "program",
        FoldErrorKind::Step => "step",
        FoldErrorKind::Limit => "limit",
        FoldErrorKind::Machine => "machine",
    };
    let event = error.event_id.and_then(|id| epoch.index.find_event(id)).map(|event| source::line(&epoch.index, event));
    let event: Option<&serde_json::value::RawValue> = event.as_deref().and_then(|line| serde_json::from_slice(line).ok());
    let says = serde_json::json!({
        "kind": kind, "message": error.message, "event_id": error.event_id.map(|id| id.to_string()),
        "line": error.line, "column": error.column,
    });
    // The event's own bytes, as its stream shows them.
    format!("{{\"error\":{says},\"event\":{}}}\n", event.map_or("null", |event| event.get())).into_bytes()
}

fn text_of(outcome: &Outcome, epoch: &Epoch) -> Vec<u8> {
    match outcome {
        Ok(state) => [state, &b"\n"[..]].concat(),
        Err(error) => error_text(error, epoch),
    }
}

impl States for Projections {
    fn names(&self) -> Vec<(String, Per)> {
        self.definitions.all(&self.store).into_iter().map(|(name, read)| (name, definitions::per_of(&read))).collect()
    }

    fn per(&self, name: &str) -> Option<Per> {
        let read = self.definitions.find(&self.store, name);
        if read.is_none() {
            self.note_gone(name);
        }
        read.map(|read| definitions::per_of(&read))
    }

    fn keys(&self, name: &str, epoch: &Epoch) -> Option<Vec<String>> {
        let read = self.definitions.find(&self.store, name)?;
        Source::keys(read.as_ref().as_ref().ok()?, &epoch.index)
    }

    fn state(&self, name: &str, key: &str, epoch: &Epoch) -> Option<StateText> {
        let (outcome, last_event) = self.fold(name, key, epoch, true)?;
        Some(StateText { bytes: text_of(&outcome, epoch), last_event })
    }
}

impl Braid {
    /// Who computes the states of `views/` for trees of this store's epochs.
    #[must_use]
    pub fn states(&self) -> Arc<dyn States> {
        Arc::clone(&self.inner.projections) as Arc<dyn States>
    }

    /// The state of a fold as of the newest epoch: of a stream, of a type, or with the key `""` the only one; none if there is no such
    /// fold or key.
    ///
    /// # Errors
    /// Why the fold has no state.
    pub fn fold_state(&self, name: &str, key: &str) -> Option<Result<Vec<u8>, FoldError>> {
        let (outcome, _) = self.inner.projections.fold(name, key, &self.epoch(), true)?;
        Some(outcome.map(|state| state.to_vec()))
    }

    /// The streams or types under which a fold has states as of the newest epoch; none if it has one state or does not exist.
    #[must_use]
    pub fn fold_keys(&self, name: &str) -> Option<Vec<String>> {
        self.inner.projections.keys(name, &self.epoch())
    }

    /// Tries every definition in `projections/`: the next epoch's findings tell which make no sense.
    pub fn check_projections(&self) {
        self.inner.projections.look(&mut HashMap::new());
    }

    /// How many events were folded since the store was opened.
    #[must_use]
    pub fn folded_events(&self) -> u64 {
        self.inner.projections.folded()
    }
}

/// Compiles a definition and tries its initial state, in a process of its own.
///
/// # Errors
/// What is wrong with it, or that the process could not be started.
pub fn check_definition(exe: &Path, definition: &Definition) -> Result<(), FoldError> {
    Worker::start(exe, Limits::default())?.check(&definition.text, definition.init.as_bytes())
}
