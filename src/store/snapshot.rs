//! Saved states, under `.eventcore/braidfs/snapshots/<name>/<ordinal>`: one line about the state, then its bytes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::disk::{self, EntryKind, Stat};
use crate::format::text::counted;
use crate::model::Errno;
use crate::store::checkpoint::{hex_of, name_digest};
use crate::store::{CommitLock, Store};

/// How many states of a name are kept unless told otherwise.
pub const SNAPSHOTS_KEPT: usize = 5;

/// The longest name whose bytes, in hex, are the name of its directory.
const PLAIN_NAME_BYTES_MAX: usize = 120;

/// The longest first line; one version a stream is in it.
const META_BYTES_MAX: usize = 64 << 20;

/// What nearly every first line is shorter than.
const META_BYTES_USUAL: usize = 4096;

/// How much of a state is looked at at once.
const PIECE_BYTES: usize = 1 << 20;

/// What a state covers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Coverage {
    /// The feed up to a number.
    SeqNr(u64),
    /// Streams, each up to a version.
    Versions(Vec<(String, u64)>),
}

impl Coverage {
    /// What it covers, by the keys that say it: `{"seq_nr":N}` or `{"versions":{"STREAM":N,…}}`.
    #[must_use]
    pub fn to_json(&self) -> Map<String, Value> {
        let (key, value) = match self {
            Self::SeqNr(seq_nr) => ("seq_nr", Value::from(*seq_nr)),
            Self::Versions(versions) => {
                ("versions", versions.iter().map(|(stream, version)| (stream.clone(), Value::from(*version))).collect())
            }
        };
        Map::from_iter([(key.to_owned(), value)])
    }

    /// Whether `self` lacks something that `other` covers; coverages of two kinds are not compared.
    fn is_behind(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::SeqNr(own), Self::SeqNr(other)) => own < other,
            (Self::Versions(own), Self::Versions(other)) => {
                let own: std::collections::HashMap<&str, u64> = own.iter().map(|(stream, version)| (stream.as_str(), *version)).collect();
                other.iter().any(|(stream, version)| own.get(stream.as_str()).copied().unwrap_or(0) < *version)
            }
            _ => false,
        }
    }
}

impl std::fmt::Display for Coverage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::SeqNr(seq_nr) => write!(f, "the feed up to {seq_nr}"),
            Self::Versions(versions) => f.write_str(&counted(versions.len(), "stream")),
        }
    }
}

/// A state to be saved.
#[derive(Clone, Debug)]
pub struct NewSnapshot<'a> {
    /// The snapshot's name: any text that is not empty.
    pub name: &'a str,
    /// What the state covers.
    pub coverage: Coverage,
    /// The digest of the events that it covers, as the caller computes it.
    pub digest: String,
    /// When it is saved: RFC 3339.
    pub saved_at: String,
    /// The state's bytes.
    pub state: &'a [u8],
}

/// What is known of a saved state without its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotMeta {
    /// The snapshot's name.
    pub name: String,
    /// Rises with each state that is saved under the name, from 1.
    pub ordinal: u64,
    /// What the state covers.
    pub coverage: Coverage,
    /// The digest of the events that it covers.
    pub digest: String,
    /// When it was saved: RFC 3339.
    pub saved_at: String,
    state_sha256: String,
}

impl SnapshotMeta {
    /// The SHA-256 of the state's bytes, in hex.
    #[must_use]
    pub fn state_sha256(&self) -> &str {
        &self.state_sha256
    }
}

/// A file that a state was saved in.
#[derive(Clone, Debug)]
pub struct FoundSnapshot {
    /// The snapshot's name.
    pub name: String,
    /// Which of the name's states it is.
    pub ordinal: u64,
    /// Where it lies.
    pub path: PathBuf,
    /// The facts of the file.
    pub stat: Stat,
    /// What is known of it; none if the first line cannot be read.
    pub meta: Option<SnapshotMeta>,
}

/// A saved state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// What is known of it.
    pub meta: SnapshotMeta,
    /// The bytes that were saved.
    pub state: Vec<u8>,
}

/// Why a state was not saved.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The name is empty.
    #[error("snapshot name is empty")]
    Name,
    /// What is saved covers something that the new state does not.
    #[error("snapshot \"{}\" is older than the saved state {}, which covers {}", .0.name, .0.ordinal, .0.coverage)]
    Older(Box<SnapshotMeta>),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] disk::Error),
}

impl SnapshotError {
    /// The error number that a system call reports for it.
    #[must_use]
    pub fn errno(&self) -> Errno {
        match self {
            Self::Name => Errno::EINVAL,
            Self::Older(_) => Errno::ESTALE,
            Self::Disk(error) => error.errno(),
        }
    }
}

impl Store {
    fn snapshots_dir(&self) -> PathBuf {
        self.layout().private().join("snapshots")
    }

    /// The directory that the states of a name lie in.
    #[must_use]
    pub fn snapshot_dir(&self, name: &str) -> PathBuf {
        let plain = name.len() <= PLAIN_NAME_BYTES_MAX;
        // A tilde is no hex digit: no plain name gives what a long one gives.
        self.snapshots_dir().join(if plain { hex_of(name.as_bytes()) } else { format!("~{}", name_digest(name)) })
    }

    /// Saves a state durably and forgets all but the last `keep` of its name.
    ///
    /// Errors with [`SnapshotError::Older`] when the latest saved state covers something that this one does not, unless
    /// `may_replace` says of that one that it is of no use any more.
    pub fn save_snapshot(
        &self,
        _lock: &CommitLock,
        new: &NewSnapshot<'_>,
        keep: usize,
        may_replace: impl Fn(&SnapshotMeta) -> bool,
    ) -> Result<SnapshotMeta, SnapshotError> {
        if new.name.is_empty() {
            return Err(SnapshotError::Name);
        }
        let saved = self.snapshots(new.name)?;
        if let Some(older) = saved.iter().find(|saved| new.coverage.is_behind(&saved.coverage) && !may_replace(saved)) {
            return Err(SnapshotError::Older(Box::new(older.clone())));
        }
        let meta = SnapshotMeta {
            name: new.name.to_owned(),
            ordinal: self.next_ordinal(new.name)?,
            coverage: new.coverage.clone(),
            digest: new.digest.clone(),
            saved_at: new.saved_at.clone(),
            state_sha256: hex_of(&Sha256::digest(new.state)),
        };
        let mut bytes = serde_json::to_vec(&meta).unwrap_or_default();
        bytes.push(b'\n');
        bytes.extend_from_slice(new.state);
        let dir = self.snapshot_dir(new.name);
        self.ensure_dir(&dir)?;
        self.disk().replace_durably(&dir.join(meta.ordinal.to_string()), &self.temporary("snapshot")?, &bytes)?;
        self.forget_snapshots_but(new.name, keep.max(1))?;
        Ok(meta)
    }

    fn forget_snapshots_but(&self, name: &str, keep: usize) -> disk::Result<()> {
        let ordinals = self.snapshot_ordinals(name)?;
        for ordinal in ordinals.iter().take(ordinals.len().saturating_sub(keep)) {
            self.disk().remove_if_present(&self.snapshot_dir(name).join(ordinal.to_string()))?;
        }
        Ok(())
    }

    /// Above everything that lies there under a number.
    fn next_ordinal(&self, name: &str) -> disk::Result<u64> {
        let entries = self.disk().list_if_present(&self.snapshot_dir(name))?;
        let last = entries.iter().filter_map(|entry| entry.name.parse::<u64>().ok()).max();
        Ok(last.unwrap_or(0).saturating_add(1))
    }

    /// The ordinals of a name's states, ascending.
    fn snapshot_ordinals(&self, name: &str) -> disk::Result<Vec<u64>> {
        let entries = self.disk().list_if_present(&self.snapshot_dir(name))?;
        let files = entries.iter().filter(|entry| entry.kind != EntryKind::Dir);
        let mut ordinals: Vec<u64> = files.filter_map(|entry| entry.name.parse().ok()).collect();
        ordinals.sort_unstable();
        Ok(ordinals)
    }

    /// What is saved under a name, oldest first; what cannot be read is passed by.
    pub fn snapshots(&self, name: &str) -> disk::Result<Vec<SnapshotMeta>> {
        let dir = self.snapshot_dir(name);
        let mut metas = Vec::new();
        for ordinal in self.snapshot_ordinals(name)? {
            let path = dir.join(ordinal.to_string());
            metas.extend(parse_meta(&self.read_head(&path)?, name, ordinal).map(|(meta, _)| meta));
        }
        Ok(metas)
    }

    /// One saved state; none if it is not there, or not whole.
    pub fn snapshot(&self, name: &str, ordinal: u64) -> disk::Result<Option<Snapshot>> {
        let Some(bytes) = self.disk().read_if_present(&self.snapshot_dir(name).join(ordinal.to_string()))? else {
            return Ok(None);
        };
        let whole = parse_meta(&bytes, name, ordinal).filter(|(meta, state)| hex_of(&Sha256::digest(state)) == meta.state_sha256);
        Ok(whole.map(|(meta, state)| Snapshot { meta, state: state.to_vec() }))
    }

    /// What changes whenever a state is saved or forgotten, by whomever: each name's directory and its last change.
    pub fn snapshots_mark(&self) -> disk::Result<BTreeMap<PathBuf, i128>> {
        let mut mark = BTreeMap::new();
        for entry in self.disk().list_if_present(&self.snapshots_dir())?.into_iter().filter(|entry| entry.kind == EntryKind::Dir) {
            let dir = self.snapshots_dir().join(&entry.name);
            mark.extend(self.snapshot_mark(&dir)?.map(|changed| (dir, changed)));
        }
        Ok(mark)
    }

    /// That of one directory; none if it is not there.
    pub fn snapshot_mark(&self, dir: &Path) -> disk::Result<Option<i128>> {
        Ok(self.disk().stat_if_present(dir)?.map(|stat| stat.mtime_ns))
    }

    /// Every file of a state, by name and then in the order of saving; of a state only the first line is read.
    pub fn found_snapshots(&self) -> disk::Result<Vec<FoundSnapshot>> {
        let mut found = Vec::new();
        for entry in self.disk().list_if_present(&self.snapshots_dir())? {
            if entry.kind == EntryKind::Dir {
                found.extend(self.found_states(&self.snapshots_dir().join(&entry.name))?);
            }
        }
        found.sort_by(|a, b| (&a.name, a.ordinal).cmp(&(&b.name, b.ordinal)));
        Ok(found)
    }

    /// Those in the directory of one name, in any order.
    pub fn found_states(&self, dir: &Path) -> disk::Result<Vec<FoundSnapshot>> {
        let mut found = Vec::new();
        let dir_name = dir.file_name().unwrap_or_default().to_string_lossy();
        let mut name = text_of_hex(&dir_name);
        for entry in self.disk().list_if_present(dir)? {
            let Ok(ordinal) = entry.name.parse() else { continue };
            let path = dir.join(&entry.name);
            // Before it is read: who rewrites it meanwhile is noticed.
            let Ok(Some(stat)) = self.disk().stat_if_present(&path) else { continue };
            let head = if stat.kind == EntryKind::File { self.read_head(&path).unwrap_or_default() } else { Vec::new() };
            let meta = parse_line(&head).map(|(meta, _)| meta);
            let meta = meta.filter(|meta| meta.ordinal == ordinal && self.snapshot_dir(&meta.name) == dir);
            name = name.or_else(|| Some(meta.as_ref()?.name.clone()));
            found.push(FoundSnapshot { name: String::new(), ordinal, path, stat, meta });
        }
        // Where no name is in the first lines, that of the directory tells at least which it is.
        let name = name.unwrap_or_else(|| dir_name.into_owned());
        found.iter_mut().for_each(|state| state.name.clone_from(&name));
        Ok(found)
    }

    fn read_head(&self, path: &Path) -> disk::Result<Vec<u8>> {
        // Nearly every first line is short; a state may be large.
        let head = self.disk().read_at(path, 0, META_BYTES_USUAL)?;
        if head.contains(&b'\n') || head.len() < META_BYTES_USUAL { Ok(head) } else { self.disk().read_at(path, 0, META_BYTES_MAX) }
    }

    /// Whether the bytes of a state are those that were saved; they are not kept.
    pub fn is_whole(&self, meta: &SnapshotMeta) -> disk::Result<bool> {
        let path = self.snapshot_dir(&meta.name).join(meta.ordinal.to_string());
        let head = self.read_head(&path)?;
        let Some((_, state)) = parse_line(&head).filter(|(held, _)| held == meta) else { return Ok(false) };
        let (mut hash, mut offset) = (Sha256::new(), (head.len() - state.len()) as u64);
        loop {
            let piece = self.disk().read_at(&path, offset, PIECE_BYTES)?;
            if piece.is_empty() {
                return Ok(hex_of(&hash.finalize()) == meta.state_sha256);
            }
            hash.update(&piece);
            offset += piece.len() as u64;
        }
    }

    /// Forgets every state of a name; none is fine too.
    pub fn forget_snapshots(&self, _lock: &CommitLock, name: &str) -> disk::Result<()> {
        self.disk().remove_dir_all(&self.snapshot_dir(name))
    }
}

fn parse_meta<'a>(bytes: &'a [u8], name: &str, ordinal: u64) -> Option<(SnapshotMeta, &'a [u8])> {
    parse_line(bytes).filter(|(meta, _)| meta.name == name && meta.ordinal == ordinal)
}

fn parse_line(bytes: &[u8]) -> Option<(SnapshotMeta, &[u8])> {
    let end = memchr::memchr(b'\n', bytes)?;
    let (line, state) = bytes.split_at_checked(end)?;
    Some((serde_json::from_slice(line).ok()?, state.get(1..)?))
}

/// The text whose bytes these digits are; none if they are no such digits.
fn text_of_hex(digits: &str) -> Option<String> {
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
    String::from_utf8(bytes?).ok()
}

#[cfg(test)]
mod tests;
