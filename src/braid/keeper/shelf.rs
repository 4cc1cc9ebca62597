//! Saved states: what they cover, whether that is still what it was, and which one is the newest that can be built on.
//!
//! A state that covers the feed up to a number holds as long as the log begins as it did and no covered event has gone. One
//! that covers streams holds as long as these begin with the same events. Both are looked at only where something
//! changed that was shown, so an append costs nothing here. Its own bytes are looked at once a file, by whoever asks for them first
//! or when there is nothing else to do, and again where the file is another one or was rewritten.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use sha2::{Digest as _, Sha256};

use crate::braid::keeper::Keeper;
use crate::braid::keeper::commit::storage;
use crate::braid::spans::{count, micros};
use crate::braid::{AppendError, Shared};
use crate::disk::Stat;
use crate::epoch::{SavedSnapshot, StateBytes};
use crate::format::text::{quoted, quoted_path};
use crate::format::time::created_at;
use crate::index::Index;
use crate::model::{Errno, Finding, FindingKind, Rejection, Severity, SnapshotRequest};
use crate::store::{Coverage, FoundSnapshot, NewSnapshot, SnapshotError, SnapshotMeta, Store};

/// After how many bytes of states one look for damaged ones ends, so that it is a short one.
const INSPECTED_BYTES: u64 = 8 << 20;

/// The saved states as the keeper knows them.
#[derive(Default)]
pub(super) struct Shelf {
    /// How many states of a name are kept.
    kept_max: usize,
    kept: Vec<Kept>,
    /// Files of which the first line cannot be read.
    unreadable: Vec<FoundSnapshot>,
    shown: Arc<Vec<SavedSnapshot>>,
    /// How the directory of each name looked when it was read.
    seen: BTreeMap<PathBuf, i128>,
    /// Whether the log is another one than when `kept` was read.
    log_changed: bool,
}

struct Kept {
    meta: Arc<SnapshotMeta>,
    valid: bool,
    basis: Basis,
    path: PathBuf,
    /// The facts of the file that `bytes` speak of.
    stat: Stat,
    bytes: Arc<StateBytes>,
    /// Whether the bytes were looked at and are not those that were saved.
    is_damaged: bool,
}

/// What the verdict over a state rests on: while it is the same, so is the verdict.
enum Basis {
    /// The feed's incarnation, and whether the log begins as it did.
    Feed { incarnation: u32, same_log: bool },
    /// The incarnations of the streams that are covered; none for one that is not there.
    Streams(HashMap<String, Option<u32>>),
}

impl Shelf {
    pub(super) fn new(kept_max: usize) -> Self {
        Self { kept_max: kept_max.max(1), ..Self::default() }
    }

    pub(super) fn shown(&self) -> Arc<Vec<SavedSnapshot>> {
        Arc::clone(&self.shown)
    }

    pub(super) fn log_changed(&mut self) {
        self.log_changed = true;
    }

    pub(super) fn findings(&self) -> Vec<Finding> {
        let stale = self.kept.iter().filter(|kept| !kept.valid && !kept.is_damaged).map(|kept| stale_finding(&kept.meta));
        let damaged = self.kept.iter().filter(|kept| kept.is_damaged);
        let damaged = damaged.map(|kept| damaged_finding(&kept.meta.name, kept.meta.ordinal, &kept.path));
        let unreadable = self.unreadable.iter().map(|found| damaged_finding(&found.name, found.ordinal, &found.path));
        stale.chain(damaged).chain(unreadable).collect()
    }

    fn settle(&mut self) {
        let shown = |kept: &Kept| SavedSnapshot { meta: Arc::clone(&kept.meta), valid: kept.valid, bytes: Arc::clone(&kept.bytes) };
        self.shown = Arc::new(self.kept.iter().map(shown).collect());
    }

    /// The directories in which the file of a state is another one, or says something else, than when it was looked at, among some.
    fn rewritten(&self, store: &Store, is_asked: impl Fn(&Path) -> bool) -> BTreeSet<PathBuf> {
        let kept = self.kept.iter().map(|kept| (&kept.path, kept.stat));
        let all = kept.chain(self.unreadable.iter().map(|found| (&found.path, found.stat)));
        let asked = all.filter_map(|(path, stat)| Some((path.parent().filter(|dir| is_asked(dir))?, path, stat)));
        let differs = |path: &Path, stat: Stat| store.disk().stat_if_present(path).ok().flatten() != Some(stat);
        asked.filter(|(_, path, stat)| differs(path, *stat)).map(|(dir, ..)| dir.to_owned()).collect()
    }
}

fn damaged_finding(name: &str, ordinal: u64, path: &Path) -> Finding {
    Finding {
        kind: FindingKind::StaleSnapshot,
        severity: Severity::Warning,
        file: None,
        transaction_id: None,
        message: format!("state {ordinal} of snapshot \"{name}\" is damaged: its file does not say what was saved, and is not served"),
        hint: format!(
            "rm -rf {}   # nothing else is lost; what was folded since the newest state that holds is to be folded anew",
            quoted_path(path)
        ),
    }
}

fn stale_finding(meta: &SnapshotMeta) -> Finding {
    Finding {
        kind: FindingKind::StaleSnapshot,
        severity: Severity::Info,
        file: None,
        transaction_id: None,
        message: format!("state {} of snapshot \"{}\" is stale: what it covers has changed since", meta.ordinal, meta.name),
        hint: format!(
            "braidfs snapshot after {}   # what a new state has to add to the newest one that still holds, until one is saved",
            quoted(&meta.name)
        ),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The digest of the numbers up to one whose events are gone.
fn gone_digest(index: &Index, seq_nr: u64) -> String {
    let mut hash = Sha256::new();
    index.feed.gone_upto(seq_nr).for_each(|seq| hash.update(seq.to_be_bytes()));
    hex(&hash.finalize())
}

/// The digest of what the first events of streams say; the first stream that has fewer is the error, with how many it has.
fn streams_digest(index: &Index, versions: &[(String, u64)]) -> Result<String, (String, u64)> {
    let mut sorted: Vec<&(String, u64)> = versions.iter().collect();
    sorted.sort();
    let mut hash = Sha256::new();
    for (stream, version) in sorted {
        let has = index.stream_version(stream);
        if has < *version {
            return Err((stream.clone(), has));
        }
        hash.update((stream.len() as u64).to_be_bytes());
        hash.update(stream.as_bytes());
        hash.update(version.to_be_bytes());
        let list = index.find_stream(stream).and_then(|number| index.stream_list(number));
        if let Some(list) = list {
            let covered = list.events.iter_from(0).take(usize::try_from(*version).unwrap_or(usize::MAX));
            for event in covered {
                let line = index.events.tail(event, &index.pack);
                hash.update((line.len() as u64).to_be_bytes());
                hash.update(line);
            }
        }
    }
    Ok(hex(&hash.finalize()))
}

fn incarnation(index: &Index, stream: &str) -> Option<u32> {
    index.find_stream(stream).and_then(|number| index.stream_list(number)).map(|list| list.incarnation)
}

fn basis_of_streams(index: &Index, versions: &[(String, u64)]) -> Basis {
    Basis::Streams(versions.iter().map(|(stream, _)| (stream.clone(), incarnation(index, stream))).collect())
}

impl Keeper {
    /// Reads what is saved again if anybody saved or forgot something.
    pub(in crate::braid) fn follow_snapshots(&mut self) {
        let mark = match self.store.snapshots_mark() {
            Ok(mark) => mark,
            Err(error) => {
                tracing::warn!(%error, "the saved states cannot be read");
                return;
            }
        };
        if std::mem::take(&mut self.shelf.log_changed) {
            let all = mark.keys().chain(self.shelf.seen.keys()).cloned().collect();
            return self.read_snapshots(all, mark);
        }
        let mut others = self.shelf.rewritten(&self.store, |_| true);
        let seen = &self.shelf.seen;
        others.extend(mark.iter().filter(|(dir, changed)| seen.get(*dir) != Some(changed)).map(|(dir, _)| dir.clone()));
        others.extend(seen.keys().filter(|dir| !mark.contains_key(*dir)).cloned());
        if !others.is_empty() {
            self.read_snapshots(others, mark);
        }
    }

    /// The same of one name alone: what it costs does not depend on how many others there are.
    fn follow_snapshots_of(&mut self, name: &str, is_changed: bool) {
        if self.shelf.log_changed {
            return self.follow_snapshots();
        }
        let dir = self.store.snapshot_dir(name);
        let changed = match self.store.snapshot_mark(&dir) {
            Ok(changed) => changed,
            Err(error) => {
                tracing::warn!(%error, "the saved states of a name cannot be read");
                return;
            }
        };
        if is_changed
            || self.shelf.seen.get(&dir) != changed.as_ref()
            || !self.shelf.rewritten(&self.store, |asked| asked == dir).is_empty()
        {
            let mut mark = std::mem::take(&mut self.shelf.seen);
            match changed {
                Some(changed) => mark.insert(dir.clone(), changed),
                None => mark.remove(&dir),
            };
            self.read_snapshots(BTreeSet::from([dir]), mark);
        }
    }

    /// Looks whether files of states that nobody has looked at say what was saved: some of them at once, or all.
    pub(in crate::braid) fn inspect_snapshots(&mut self, all: bool) {
        let mut looked = 0;
        let mut found = false;
        for kept in &mut self.shelf.kept {
            kept.bytes.rest();
            if kept.bytes.known().is_none() && !all {
                if looked >= INSPECTED_BYTES {
                    continue;
                }
                looked += kept.stat.size;
            }
            let is_damaged = !kept.bytes.check(&kept.meta, &self.store);
            found |= std::mem::replace(&mut kept.is_damaged, is_damaged) != is_damaged;
        }
        if found {
            self.mark_unshown();
        }
    }

    /// Reads what some directories have; what the others have stays.
    fn read_snapshots(&mut self, dirs: BTreeSet<PathBuf>, mark: BTreeMap<PathBuf, i128>) {
        self.shelf.seen = mark;
        let is_read = |path: &Path| path.parent().is_some_and(|dir| dirs.contains(dir));
        let before: Vec<Kept> = self.shelf.kept.extract_if(.., |kept| is_read(&kept.path)).collect();
        self.shelf.unreadable.retain(|found| !is_read(&found.path));
        let mut found = Vec::new();
        for dir in dirs.iter().filter(|dir| self.shelf.seen.contains_key(*dir)) {
            match self.store.found_states(dir) {
                Ok(states) => found.extend(states),
                Err(error) => tracing::warn!(%error, "the saved states of a name cannot be read"),
            }
        }
        self.shelf.unreadable.extend(found.extract_if(.., |found| found.meta.is_none()));
        // By number, so that the log is gone through once.
        found.sort_by_key(|found| match found.meta.as_ref().map(|meta| &meta.coverage) {
            Some(Coverage::SeqNr(seq_nr)) => *seq_nr,
            _ => 0,
        });
        let before: HashMap<&Path, &Kept> = before.iter().map(|kept| (kept.path.as_path(), kept)).collect();
        let kept: Vec<Kept> = found.into_iter().filter_map(|found| self.judged(found, &before)).collect();
        self.shelf.kept.extend(kept);
        self.shelf.kept.sort_by(|a, b| (&a.meta.name, a.meta.ordinal).cmp(&(&b.meta.name, b.meta.ordinal)));
        self.shelf.settle();
        self.mark_unshown();
    }

    fn judged(&mut self, found: FoundSnapshot, before: &HashMap<&Path, &Kept>) -> Option<Kept> {
        let FoundSnapshot { path, stat, meta, .. } = found;
        let meta = Arc::new(meta?);
        let (valid, basis) = match &meta.coverage {
            Coverage::SeqNr(seq_nr) => {
                let log = self.ingestion.log().digest_upto(*seq_nr).map(|digest| hex(&digest));
                let same_log = log.is_some() && log.as_deref() == meta.digest.split(':').next();
                let valid = same_log && meta.digest.split(':').nth(1) == Some(&gone_digest(&self.index, *seq_nr));
                (valid, Basis::Feed { incarnation: self.index.feed.incarnation, same_log })
            }
            Coverage::Versions(versions) => {
                let valid = streams_digest(&self.index, versions).as_ref() == Ok(&meta.digest);
                (valid, basis_of_streams(&self.index, versions))
            }
        };
        // Bytes that were looked at are not looked at again.
        let before = before.get(path.as_path()).filter(|kept| kept.stat == stat && kept.meta == meta);
        let (bytes, is_damaged) = before.map_or_else(Default::default, |kept| (Arc::clone(&kept.bytes), kept.is_damaged));
        Some(Kept { meta, valid, basis, path, stat, bytes, is_damaged })
    }

    /// Looks which states still hold, right before what changed is published.
    pub(super) fn check_snapshots(&mut self) {
        if self.shelf.kept.is_empty() {
            return;
        }
        if self.shelf.log_changed {
            return self.follow_snapshots();
        }
        let touched: Vec<&str> = self.touched.streams.iter().map(|&stream| self.index.streams.text(stream)).collect();
        let mut changed = false;
        for kept in &mut self.shelf.kept {
            let before = kept.valid;
            match (&mut kept.basis, &kept.meta.coverage) {
                (Basis::Feed { incarnation, same_log }, Coverage::SeqNr(seq_nr)) if *incarnation != self.index.feed.incarnation => {
                    *incarnation = self.index.feed.incarnation;
                    let gone = gone_digest(&self.index, *seq_nr);
                    kept.valid = *same_log && kept.meta.digest.split(':').nth(1) == Some(&gone);
                }
                (Basis::Streams(known), Coverage::Versions(versions)) => {
                    let differs = |stream: &&str| known.get(*stream).is_some_and(|known| *known != incarnation(&self.index, stream));
                    if touched.iter().any(differs) {
                        kept.valid = streams_digest(&self.index, versions).as_ref() == Ok(&kept.meta.digest);
                        kept.basis = basis_of_streams(&self.index, versions);
                    }
                }
                _ => {}
            }
            changed |= before != kept.valid;
        }
        if changed {
            self.shelf.settle();
        }
    }

    pub(in crate::braid) fn save_snapshot(
        &mut self,
        request: &SnapshotRequest,
        only_first: bool,
        shared: &Shared,
    ) -> Result<SnapshotMeta, AppendError> {
        let span =
            tracing::info_span!("snapshot", name = request.name, bytes = count(request.state.len()), duration_us = tracing::field::Empty);
        let _entered = span.enter();
        let begun = Instant::now();
        let lock = self.enter_quietly(shared)?;
        self.follow_snapshots_of(&request.name, false);
        self.check_snapshots();
        let first =
            self.shelf.kept.iter().find(|kept| only_first && kept.meta.name == request.name).map(|kept| SnapshotMeta::clone(&kept.meta));
        if let Some(first) = first {
            drop(lock);
            self.publish_if_dirty(shared);
            return Ok(first);
        }
        let (coverage, digest) = self.covered(request)?;
        let new =
            NewSnapshot { name: &request.name, coverage, digest, saved_at: created_at(SystemTime::now()), state: request.state.as_bytes() };
        // One that is stale or damaged holds nobody up.
        let holds = |meta: &SnapshotMeta| {
            let kept = self.shelf.kept.iter().find(|kept| *kept.meta == *meta);
            kept.is_some_and(|kept| kept.valid && kept.bytes.check(meta, &self.store))
        };
        let saved = self.store.save_snapshot(&lock, &new, self.shelf.kept_max, |meta| !holds(meta));
        drop(lock);
        self.counters.snapshot.add(begun.elapsed());
        span.record("duration_us", micros(begun));
        // One that follows at once may leave the directory's time as it is.
        self.follow_snapshots_of(&request.name, saved.is_ok());
        self.publish_if_dirty(shared);
        saved.map_err(|error| match error {
            SnapshotError::Disk(error) => storage(&error),
            error => Rejection::whole(error.errno(), error.to_string(), "read the newer state and go on from it").into(),
        })
    }

    /// What a state covers, and the digest of it; all that it covers is certain then.
    fn covered(&mut self, request: &SnapshotRequest) -> Result<(Coverage, String), AppendError> {
        let Some(seq_nr) = request.seq_nr else {
            let digest = streams_digest(&self.index, &request.versions).map_err(|(stream, has)| {
                let message = format!("snapshot \"{}\" covers more of stream \"{stream}\" than its version {has}", request.name);
                Rejection::whole(Errno::EINVAL, message, "name the versions that the state was made of")
            })?;
            return Ok((Coverage::Versions(request.versions.clone()), digest));
        };
        if seq_nr <= self.ingestion.log().latest_seq_nr() {
            self.ingestion.log().sync_upto(seq_nr).map_err(|error| self.sync_failed(&error))?;
        }
        let Some(digest) = self.ingestion.log().digest_upto(seq_nr).filter(|_| seq_nr <= self.index.feed.latest()) else {
            let message =
                format!("snapshot \"{}\" at {seq_nr} is beyond the latest number {}", request.name, self.ingestion.log().latest_seq_nr());
            return Err(Rejection::whole(Errno::EINVAL, message, "name the number of the last event that the state was made of").into());
        };
        Ok((Coverage::SeqNr(seq_nr), format!("{}:{}", hex(&digest), gone_digest(&self.index, seq_nr))))
    }
}
