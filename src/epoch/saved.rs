//! Saved states as readers see them: what each covers, whether that still holds, and its bytes while somebody reads them.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use memchr::memchr2;

use crate::disk;
use crate::format::json::without_spaces;
use crate::store::{SnapshotMeta, Store};

/// A state that was saved, and what became of it and of what it covers.
#[derive(Clone, Debug)]
pub struct SavedSnapshot {
    /// What was saved.
    pub meta: Arc<SnapshotMeta>,
    /// Whether the events that it covers are still these, so that the later ones may be put on top.
    pub valid: bool,
    /// Its bytes.
    pub bytes: Arc<StateBytes>,
}

impl SavedSnapshot {
    /// Whether it may be built on: what it covers is still that, and its bytes are those that were saved.
    ///
    /// Reads the state if nobody has looked at these bytes before.
    #[must_use]
    pub fn holds(&self, store: &Store) -> bool {
        self.valid && self.bytes.known().unwrap_or_else(|| self.state(store).is_some())
    }

    /// The state's bytes; none if they are not those that were saved, or not there.
    #[must_use]
    pub fn state(&self, store: &Store) -> Option<Arc<[u8]>> {
        self.bytes.kept(&self.meta, store)?.bytes.clone()
    }

    /// The same without line ends: what is no string loses its white space where there is one.
    #[must_use]
    pub fn state_in_one_line(&self, store: &Store) -> Option<Arc<[u8]>> {
        let mut kept = self.bytes.kept(&self.meta, store)?;
        let bytes = kept.bytes.clone()?;
        if memchr2(b'\n', b'\r', &bytes).is_none() {
            return Some(bytes);
        }
        Some(Arc::clone(kept.line.get_or_insert_with(|| without_spaces(&bytes).into())))
    }
}

/// The bytes of a state's file: looked at once, and kept while they are asked for.
#[derive(Debug, Default)]
pub struct StateBytes {
    verdict: AtomicU8,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    bytes: Option<Arc<[u8]>>,
    /// The same in one line, where somebody asked for that.
    line: Option<Arc<[u8]>>,
    /// When anybody asked for the last time.
    used: Option<Instant>,
}

/// How long bytes are kept that nobody asks for.
const KEPT: Duration = Duration::from_secs(10);

const UNKNOWN: u8 = 0;
const WHOLE: u8 = 1;
const DAMAGED: u8 = 2;

impl StateBytes {
    /// Whether they are those that were saved; none if nobody has looked.
    #[must_use]
    pub fn known(&self) -> Option<bool> {
        match self.verdict.load(Ordering::Relaxed) {
            UNKNOWN => None,
            verdict => Some(verdict == WHOLE),
        }
    }

    /// The same after a look if there was none; the bytes are not kept.
    pub fn check(&self, meta: &SnapshotMeta, store: &Store) -> bool {
        self.known().unwrap_or_else(|| match store.is_whole(meta) {
            Ok(is_whole) => self.settle(is_whole),
            Err(error) => unreadable(&error),
        })
    }

    fn settle(&self, is_whole: bool) -> bool {
        self.verdict.store(if is_whole { WHOLE } else { DAMAGED }, Ordering::Relaxed);
        is_whole
    }

    fn kept(&self, meta: &SnapshotMeta, store: &Store) -> Option<MutexGuard<'_, Kept>> {
        if self.known() == Some(false) {
            return None;
        }
        // Whoever comes meanwhile waits for the same bytes.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.used = Some(Instant::now());
        if kept.bytes.is_none() {
            let found = match store.snapshot(&meta.name, meta.ordinal) {
                Ok(found) => found.filter(|found| found.meta == *meta),
                Err(error) => {
                    unreadable(&error);
                    return None;
                }
            };
            self.settle(found.is_some());
            kept.bytes = found.map(|found| found.state.into());
        }
        kept.bytes.is_some().then_some(kept)
    }

    /// Gives the bytes back if nobody asked for them for a while. Whoever has a file of them open is kept by that: a newer state may come, and this one's
    /// file be removed, before what the name stands for is shown.
    pub fn rest(&self) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.used.is_some_and(|used| used.elapsed() > KEPT) {
            *kept = Kept::default();
        }
    }
}

/// Tells of an error that may pass: nothing is known of the bytes, and they are looked at again.
fn unreadable(error: &disk::Error) -> bool {
    tracing::debug!(%error, "a saved state cannot be read");
    false
}
