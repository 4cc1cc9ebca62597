//! A commit as a transaction file.

use std::collections::{BTreeMap, HashMap};

use serde_json::json;
use sha2::{Digest, Sha256};

use super::history::{Node, Seen, see};
use super::log::{Change, ChangeKind, Commit};
use super::names::stream_of;
use crate::format::draft::{DRAFT_LEN_MAX, EVENTS_MAX, LINE_LEN_MAX};
use crate::format::time::format_nanos;
use crate::format::transaction::{EncodeEvent, FORMAT_VERSION, encode};
use crate::model::{EventId, Header, ReplicaId, TransactionId};

/// A longer name of an author is cut.
const AUTHOR_LEN_MAX: usize = 200;

/// A longer subject is cut.
const SUBJECT_LEN_MAX: usize = 1000;

/// All copies of a commit's subject together; each event has one.
const SUBJECTS_LEN_MAX: usize = 16 << 20;

/// More than an event's line has beside its stream and its payload.
const EVENT_FIXED_LEN_MAX: usize = 192;

/// More than an entry of `stream_bases` has beside its stream.
const BASE_FIXED_LEN_MAX: usize = 24;

/// More than a header has beside `stream_bases`, but for merges of tens of thousands of parents or of streams that both sides wrote to.
const HEADER_LEN_MAX: usize = 1 << 20;

const NANOS_PER_SECOND: i128 = 1_000_000_000;

/// One event to be, its stream by number.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Planned {
    stream: u32,
    event_type: &'static str,
    data: String,
}

#[derive(Debug)]
struct Kept {
    oid: String,
    /// In seconds since 1970.
    seconds: i64,
    replica: ReplicaId,
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
    /// Changes for which a transaction has no room.
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

/// The text, cut to so many bytes or a little less, with a sign that it was.
fn cut(text: &str, len_max: usize) -> String {
    if text.len() <= len_max {
        return text.to_owned();
    }
    let end = (0..=len_max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", text.get(..end).unwrap_or_default())
}

/// What each event of a commit says.
struct Said<'a> {
    oid: &'a str,
    author: String,
    subject: String,
}

impl Said<'_> {
    /// The events of a change, each with its path: a rename is told in the stream that ends and in the one that begins.
    fn events_of(&self, change: &Change) -> Vec<(Vec<u8>, &'static str, String)> {
        let event_type = match change.kind {
            ChangeKind::Added => "FileAdded",
            ChangeKind::Modified => "FileModified",
            ChangeKind::Deleted => "FileDeleted",
            ChangeKind::Retyped => "FileRetyped",
            ChangeKind::Renamed => "FileRenamed",
        };
        match &change.from {
            None => vec![(change.path.clone(), event_type, self.data(change, &change.path, None))],
            Some(from) => vec![
                (from.clone(), event_type, self.data(change, from, Some(("to", &change.path)))),
                (change.path.clone(), "FileAdded", self.data(change, &change.path, Some(("from", from)))),
            ],
        }
    }

    /// The payload of an event; `other` is the other end of a rename.
    fn data(&self, change: &Change, path: &[u8], other: Option<(&str, &[u8])>) -> String {
        let path = String::from_utf8_lossy(path);
        let mut data = json!({"path": path, "commit": self.oid, "author": self.author, "message": self.subject});
        let is_gone = change.mode.chars().all(|c| c == '0') || matches!(other, Some(("to", _)));
        if let Some(object) = data.as_object_mut() {
            if let Some((end, path)) = other {
                object.insert(end.to_owned(), json!(String::from_utf8_lossy(path)));
            }
            if !is_gone {
                object.insert("mode".to_owned(), json!(change.mode));
                object.insert("blob".to_owned(), json!(change.blob));
            }
        }
        data.to_string()
    }
}

/// How much a transaction has still room for (README.md, "Limits").
struct Room {
    events: usize,
    header_len: usize,
    all_len: usize,
}

impl Room {
    fn new() -> Self {
        Self { events: EVENTS_MAX, header_len: LINE_LEN_MAX - HEADER_LEN_MAX, all_len: DRAFT_LEN_MAX - HEADER_LEN_MAX }
    }

    /// Takes what these events of these streams need, all or nothing.
    fn take<'e>(&mut self, events: impl Iterator<Item = (&'e str, &'e str)>) -> bool {
        let (mut count, mut header_len, mut all_len) = (0, 0usize, 0usize);
        for (stream, data) in events {
            // As it is escaped in JSON.
            let stream_len = json!(stream).to_string().len();
            let (line_len, base_len) = (EVENT_FIXED_LEN_MAX + stream_len + data.len(), BASE_FIXED_LEN_MAX + stream_len);
            if line_len > LINE_LEN_MAX {
                return false;
            }
            count += 1;
            header_len += base_len;
            all_len += line_len + base_len;
        }
        let left = (self.events.checked_sub(count), self.header_len.checked_sub(header_len), self.all_len.checked_sub(all_len));
        let (Some(events), Some(header_len), Some(all_len)) = left else { return false };
        *self = Self { events, header_len, all_len };
        true
    }
}

impl Plan {
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Takes in the next commit; its parents were taken in before.
    pub(super) fn push(&mut self, commit: Commit) {
        let number = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        let parents = commit.parents.iter().filter_map(|oid| self.numbers.get(oid).copied()).collect();
        let events = self.plan(&commit);
        let streams = events.iter().map(|event| event.stream).collect();
        let replica = replica_id(&commit.oid, &commit.author, &commit.email);
        self.nodes.push(Node { parents, streams });
        self.numbers.insert(commit.oid.clone(), number);
        self.kept.push(Kept { oid: commit.oid, seconds: commit.seconds, replica, events });
    }

    /// The events of a commit, by path, as far as a transaction has room for them.
    fn plan(&mut self, commit: &Commit) -> Vec<Planned> {
        let mut changes: Vec<&Change> = commit.changes.iter().collect();
        changes.sort_by(|a, b| a.path.cmp(&b.path));
        let count = changes.iter().map(|change| 1 + usize::from(change.from.is_some())).sum::<usize>().clamp(1, EVENTS_MAX);
        let said = Said {
            oid: &commit.oid,
            author: cut(&commit.author, AUTHOR_LEN_MAX),
            subject: cut(&commit.subject, SUBJECT_LEN_MAX.min(SUBJECTS_LEN_MAX / count)),
        };
        let (mut room, mut planned) = (Room::new(), Vec::with_capacity(count));
        for change in changes {
            let events: Vec<_> = said.events_of(change).into_iter().map(|(path, kind, data)| (stream_of(&path), kind, data)).collect();
            if room.take(events.iter().map(|(stream, _, data)| (stream.as_str(), data.as_str()))) {
                let numbered =
                    events.into_iter().map(|(stream, event_type, data)| Planned { stream: self.number(stream), event_type, data });
                planned.extend(numbered);
            } else {
                self.left_out += 1;
            }
        }
        planned
    }

    fn number(&mut self, stream: String) -> u32 {
        if let Some(number) = self.stream_numbers.get(&stream) {
            return *number;
        }
        let number = u32::try_from(self.streams.len()).unwrap_or(u32::MAX);
        self.streams.push(stream.clone());
        self.stream_numbers.insert(stream, number);
        number
    }

    /// Renders every transaction, parents first.
    pub(super) fn render(&self) -> impl Iterator<Item = Rendered> {
        let numbered = self.nodes.iter().zip(&self.kept).zip(see(&self.nodes));
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
        let events: Vec<EncodeEvent<'_>> = (0u32..)
            .zip(kept.events.iter().zip(&seen.before))
            .map(|(n, (event, before))| EncodeEvent {
                event_id: EventId(uuid7(kept.seconds, &format!("event {n} {}", kept.oid))),
                stream_id: self.stream_name(event.stream),
                stream_version: before + 1,
                event_type: event.event_type,
                event_data: &event.data,
                metadata: "{}",
            })
            .collect();
        Rendered { id, bytes: encode(&header, &events), events: events.len() }
    }
}
