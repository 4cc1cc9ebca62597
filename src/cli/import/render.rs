//! A commit as a transaction file.

use serde_json::json;
use sha2::{Digest, Sha256};

use super::history::{Node, Seen, see};
use super::log::{Change, ChangeKind, Commit};
use super::names::stream_of;
use crate::format::time::format_nanos;
use crate::format::transaction::{EncodeEvent, FORMAT_VERSION, encode};
use crate::model::{EventId, Header, ReplicaId, TransactionId};

use std::collections::{BTreeMap, HashMap};

/// A transaction of more events could not be written by hand either; what a commit changes beyond is left out and counted.
const EVENTS_MAX: usize = 100_000;

const NANOS_PER_SECOND: i128 = 1_000_000_000;

/// One event to be, its stream by number.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Planned {
    stream: u32,
    event_type: &'static str,
    path: String,
    /// The other end of a rename: `to` or `from`, and the path.
    other: Option<(&'static str, String)>,
    mode: String,
    blob: String,
}

#[derive(Debug)]
struct Kept {
    oid: String,
    /// In seconds since 1970.
    seconds: i64,
    replica: ReplicaId,
    author: String,
    subject: String,
    events: Vec<Planned>,
}

/// A history on its way to a store: numbered, and each path a stream.
#[derive(Default)]
pub(super) struct Plan {
    numbers: HashMap<String, u32>,
    nodes: Vec<Node>,
    kept: Vec<Kept>,
    streams: Vec<String>,
    stream_numbers: HashMap<String, u32>,
    /// Changes beyond [`EVENTS_MAX`] in one commit.
    pub(super) left_out: usize,
}

/// Counts and outputs of a finished plan.
pub(super) struct Rendered {
    pub(super) id: TransactionId,
    pub(super) bytes: Vec<u8>,
    pub(super) events: usize,
}

/// The transaction that a commit becomes: by its time and id, so the same everywhere.
fn transaction_id(oid: &str, seconds: i64) -> TransactionId {
    TransactionId(uuid7(seconds, &format!("transaction {oid}")))
}

/// The replica of a commit's transaction: one of its own, that begins as all of its author's do.
///
/// One replica's transactions form one chain. Were a commit to go on with its parent's replica, another child of that parent, which is
/// imported later or nowhere, would do so as well.
fn replica_id(oid: &str, author: &str, email: &str) -> ReplicaId {
    let mut bytes = hash16(&format!("replica {oid}"));
    bytes.iter_mut().zip(hash16(&format!("author {author}\0{email}"))).take(4).for_each(|(byte, of_author)| *byte = of_author);
    ReplicaId(uuid::Builder::from_random_bytes(bytes).into_uuid())
}

fn hash16(seed: &str) -> [u8; 16] {
    let hash = Sha256::digest(seed.as_bytes());
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
    bytes
}

fn uuid7(seconds: i64, seed: &str) -> uuid::Uuid {
    let millis = u64::try_from(seconds).unwrap_or(0).saturating_mul(1000);
    let mut random = [0; 10];
    random.iter_mut().zip(hash16(seed)).for_each(|(to, from)| *to = from);
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

impl Plan {
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Takes in the next commit; its parents were taken in before, or are not part of this history.
    pub(super) fn push(&mut self, commit: Commit) {
        let number = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        let parents = commit.parents.iter().filter_map(|oid| self.numbers.get(oid).copied()).collect();
        let mut changes = commit.changes;
        changes.sort_by(|a, b| a.path.cmp(&b.path));
        let mut events: Vec<Planned> = changes.into_iter().flat_map(|change| self.plan(change)).collect();
        self.left_out += events.len().saturating_sub(EVENTS_MAX);
        events.truncate(EVENTS_MAX);
        let replica = replica_id(&commit.oid, &commit.author, &commit.email);
        let streams = events.iter().map(|event| event.stream).collect();
        self.nodes.push(Node { parents, streams });
        self.numbers.insert(commit.oid.clone(), number);
        let (oid, seconds, author, subject) = (commit.oid, commit.seconds, commit.author, commit.subject);
        self.kept.push(Kept { oid, seconds, replica, author, subject, events });
    }

    fn stream(&mut self, path: &[u8]) -> u32 {
        let name = stream_of(path);
        if let Some(number) = self.stream_numbers.get(&name) {
            return *number;
        }
        let number = u32::try_from(self.streams.len()).unwrap_or(u32::MAX);
        self.streams.push(name.clone());
        self.stream_numbers.insert(name, number);
        number
    }

    /// One event a path; a rename is told in the stream that ends and in the one that begins.
    fn plan(&mut self, change: Change) -> Vec<Planned> {
        let path = String::from_utf8_lossy(&change.path).into_owned();
        let event_type = match change.kind {
            ChangeKind::Added => "FileAdded",
            ChangeKind::Modified => "FileModified",
            ChangeKind::Deleted => "FileDeleted",
            ChangeKind::Retyped => "FileRetyped",
            ChangeKind::Renamed => "FileRenamed",
        };
        let stream = self.stream(&change.path);
        let (mode, blob) = (change.mode, change.blob);
        let Some(from) = change.from else {
            return vec![Planned { stream, event_type, path, other: None, mode, blob }];
        };
        let old = String::from_utf8_lossy(&from).into_owned();
        let ends = Planned {
            stream: self.stream(&from),
            event_type,
            path: old.clone(),
            other: Some(("to", path.clone())),
            mode: mode.clone(),
            blob: blob.clone(),
        };
        let begins = Planned { stream, event_type: "FileAdded", path, other: Some(("from", old)), mode, blob };
        vec![ends, begins]
    }

    /// Renders every transaction, parents first.
    pub(super) fn render(&self) -> impl Iterator<Item = Rendered> {
        let seen = see(&self.nodes);
        let numbered = self.nodes.iter().zip(&self.kept).zip(seen);
        numbered.map(|((node, kept), seen)| self.render_one(node, kept, &seen))
    }

    fn id_of(&self, number: u32) -> Option<TransactionId> {
        self.kept.get(number as usize).map(|kept| transaction_id(&kept.oid, kept.seconds))
    }

    fn stream_name(&self, number: u32) -> &str {
        self.streams.get(number as usize).map_or("", String::as_str)
    }

    fn render_one(&self, node: &Node, kept: &Kept, seen: &Seen) -> Rendered {
        let id = transaction_id(&kept.oid, kept.seconds);
        let mut bases: BTreeMap<&str, u64> = BTreeMap::new();
        for (event, before) in kept.events.iter().zip(&seen.before) {
            bases.entry(self.stream_name(event.stream)).or_insert(*before);
        }
        let mut resolves: Vec<String> = seen.settled.iter().map(|stream| self.stream_name(*stream).to_owned()).collect();
        resolves.sort();
        let mut parents: Vec<TransactionId> = node.parents.iter().filter_map(|parent| self.id_of(*parent)).collect();
        parents.sort();
        let header = Header {
            format_version: FORMAT_VERSION,
            transaction_id: id,
            replica_id: kept.replica,
            parents,
            created_at: format_nanos(i128::from(kept.seconds) * NANOS_PER_SECOND),
            stream_bases: bases.into_iter().map(|(stream, base)| (stream.to_owned(), base)).collect(),
            content_hash: None,
            resolves,
            key: None,
        };
        let payloads: Vec<String> = kept.events.iter().map(|event| payload(event, kept)).collect();
        let events: Vec<EncodeEvent<'_>> = (0u32..)
            .zip(kept.events.iter().zip(&seen.before).zip(&payloads))
            .map(|(n, ((event, before), event_data))| EncodeEvent {
                event_id: EventId(uuid7(kept.seconds, &format!("event {n} {}", kept.oid))),
                stream_id: self.stream_name(event.stream),
                stream_version: before + 1,
                event_type: event.event_type,
                event_data,
                metadata: "{}",
            })
            .collect();
        Rendered { id, bytes: encode(&header, &events), events: events.len() }
    }
}

fn payload(event: &Planned, kept: &Kept) -> String {
    let mut data = json!({"path": event.path, "commit": kept.oid, "author": kept.author, "message": kept.subject});
    let is_gone = event.mode.chars().all(|c| c == '0') || matches!(event.other, Some(("to", _)));
    if let Some(object) = data.as_object_mut() {
        if let Some((end, path)) = &event.other {
            object.insert((*end).to_owned(), json!(path));
        }
        if !is_gone {
            object.insert("mode".to_owned(), json!(event.mode));
            object.insert("blob".to_owned(), json!(event.blob));
        }
    }
    data.to_string()
}
