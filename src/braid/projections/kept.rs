//! What was folded of one state: a few points of its history from which it can go on.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::source::Source;
use super::{SAVE_BYTES_AN_EVENT, SAVE_EVENTS_MIN};
use crate::disk;
use crate::fold::FoldError;
use crate::store::Store;

/// A state, or why there is none.
pub(super) type Outcome = Result<Arc<[u8]>, FoldError>;

/// How many points of one state are kept.
const POINTS_MAX: usize = 5;
/// A point behind the newest is kept only if its state is as short as this, in bytes.
const OLD_STATE_BYTES_MAX: usize = 16 << 10;

/// A state after the first events of a list.
#[derive(Clone)]
pub(super) struct Point {
    /// How many events of the list it covers, also those that were passed over.
    pub(super) len: u64,
    pub(super) outcome: Outcome,
    /// The hash over the folded events, ready for more; none if the state was read from disk and was not compared yet.
    pub(super) hasher: Option<Sha256>,
    digest: [u8; 32],
    /// The incarnation of the list in the present; none if it comes from elsewhere.
    incarnation: Option<u32>,
}

impl Point {
    /// The point at the end of a source.
    pub(super) fn new(source: &Source<'_>, hasher: Sha256, outcome: Outcome, is_present: bool) -> Self {
        Self {
            len: source.len(),
            outcome,
            digest: hasher.clone().finalize().into(),
            hasher: Some(hasher),
            incarnation: is_present.then(|| source.incarnation()),
        }
    }

    /// Whether it is one of a source's points without a look at the events: under one incarnation a list only grows.
    fn is_of(&self, source: &Source<'_>) -> bool {
        self.incarnation == Some(source.incarnation()) && self.len <= source.len()
    }

    fn state_bytes(&self) -> usize {
        self.outcome.as_ref().map_or(0, |state| state.len())
    }
}

/// The points of one state, in the order of what they cover.
#[derive(Clone)]
pub(super) struct Kept {
    /// The digest of the definition.
    pub(super) fold: [u8; 32],
    points: Vec<Point>,
    /// What the saved state covers.
    saved_len: u64,
}

/// The first line of a saved state.
#[derive(Serialize, Deserialize)]
struct Head {
    len: u64,
    events_sha256: [u8; 32],
    state_sha256: [u8; 32],
}

impl Kept {
    /// What was saved under a definition's digest, or nothing.
    pub(super) fn load(store: &Store, fold: [u8; 32], key: &str) -> Self {
        let bytes = store.read_fold_state(&fold, key).ok().flatten().unwrap_or_default();
        let point = parse(&bytes);
        Self { fold, saved_len: point.as_ref().map_or(0, |point| point.len), points: point.into_iter().collect() }
    }

    /// Saves the newest state.
    pub(super) fn save(&mut self, store: &Store, key: &str) -> disk::Result<()> {
        let Some(Point { len, digest, outcome: Ok(state), .. }) = self.points.last() else { return Ok(()) };
        let head = Head { len: *len, events_sha256: *digest, state_sha256: Sha256::digest(state).into() };
        let mut bytes = serde_json::to_vec(&head).unwrap_or_default();
        bytes.push(b'\n');
        bytes.extend_from_slice(state);
        store.save_fold_state(&self.fold, key, &bytes)?;
        self.saved_len = *len;
        Ok(())
    }

    pub(super) fn is_worth_saving(&self) -> bool {
        let Some(last) = self.points.last().filter(|last| last.outcome.is_ok()) else { return false };
        last.len.abs_diff(self.saved_len) >= SAVE_EVENTS_MIN.max(last.state_bytes() as u64 / SAVE_BYTES_AN_EVENT)
    }

    pub(super) fn bytes(&self) -> usize {
        self.points.iter().map(Point::state_bytes).sum()
    }

    /// The outcome at the end of a source, if it is known without a look at the events.
    pub(super) fn find(&self, source: &Source<'_>, is_present: bool) -> Option<Outcome> {
        let point = self.points.iter().rev().find(|point| is_present && point.is_of(source))?;
        // What broke a fold breaks it whatever comes later.
        (point.len == source.len() || point.outcome.is_err()).then(|| point.outcome.clone())
    }

    /// The newest point from which a source can go on.
    pub(super) fn base(&self, source: &Source<'_>, is_present: bool) -> Option<Point> {
        if is_present && let Some(point) = self.points.iter().rev().find(|point| point.is_of(source)) {
            return Some(point.clone());
        }
        // The list is another: whatever covers the very same events is as good as before.
        let (mut hasher, mut at, mut base) = (Sha256::new(), 0, None);
        for point in self.points.iter().filter(|point| point.len <= source.len()) {
            source.events(at, point.len).for_each(|event| source.hash(&mut hasher, event));
            at = point.len;
            if <[u8; 32]>::from(hasher.clone().finalize()) == point.digest {
                let incarnation = is_present.then(|| source.incarnation());
                base = Some(Point { hasher: Some(hasher.clone()), incarnation, ..point.clone() });
            }
        }
        base
    }

    /// Adds a point and forgets what helps least.
    pub(super) fn push(&mut self, point: Point) {
        self.points.retain(|other| {
            // What covers more and is of another list would pass for the newest; what was saved has been compared by now.
            let helps = other.hasher.is_some() && (other.incarnation == point.incarnation || other.len < point.len);
            other.len != point.len && helps && (other.outcome.is_ok() || other.len > point.len)
        });
        let at = self.points.partition_point(|other| other.len < point.len);
        self.points.insert(at, point);
        let newest = self.points.len().saturating_sub(1);
        let mut rank = 0;
        self.points.retain(|point| {
            rank += 1;
            rank > newest || point.state_bytes() <= OLD_STATE_BYTES_MAX
        });
        while self.points.len() > POINTS_MAX {
            let Some(least) = self.least() else { break };
            self.points.remove(least);
        }
    }

    /// The point, but for the last, whose neighbours are nearest to each other: gaps grow towards the beginning.
    fn least(&self) -> Option<usize> {
        let lens: Vec<u64> = std::iter::once(0).chain(self.points.iter().map(|point| point.len)).collect();
        let gaps = lens.windows(3).map(|around| match around {
            [before, _, after] => after.saturating_sub(*before),
            _ => u64::MAX,
        });
        gaps.enumerate().min_by_key(|(_, gap)| *gap).map(|(at, _)| at)
    }
}

fn parse(bytes: &[u8]) -> Option<Point> {
    let (head, state) = bytes.split_at_checked(memchr::memchr(b'\n', bytes)?)?;
    let head: Head = serde_json::from_slice(head).ok()?;
    let state = state.get(1..)?;
    let whole = <[u8; 32]>::from(Sha256::digest(state)) == head.state_sha256;
    whole.then(|| Point { len: head.len, outcome: Ok(state.into()), hasher: None, digest: head.events_sha256, incarnation: None })
}
