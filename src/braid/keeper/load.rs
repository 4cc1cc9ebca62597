//! From the bytes of a file to what the index takes in.

use std::time::{Duration, SystemTime};

use crate::disk::{self, Stat};
use crate::format::binary::Binary as _;
use crate::format::lines::render_tail;
use crate::format::transaction::{self, Healing, Oddity, OddityKind};
use crate::index::saved::checksum;
use crate::index::{Arrival, ArrivalEvent};
use crate::model::{EventId, Finding, FindingKind, Header, Severity};
use crate::store::FILE_BYTES_MAX;

const SECOND_NS: i128 = 1_000_000_000;
/// The steps of the coarsest clock of a file system, that of FAT.
const COARSEST: Duration = Duration::from_secs(2);

/// A file that counts, with its packed lines.
#[derive(Debug)]
pub(in crate::braid) struct Good {
    pub(in crate::braid) header: Header,
    /// The checksum of the first line as its writer wrote it.
    pub(super) header_sum: u32,
    pub(in crate::braid) events: Vec<LoadedEvent>,
    pub(in crate::braid) lines: Vec<u8>,
    pub(in crate::braid) healing: Option<Healing>,
    pub(super) oddities: Vec<Oddity>,
}

#[derive(Debug)]
pub(in crate::braid) struct LoadedEvent {
    pub(in crate::braid) event_id: EventId,
    pub(super) stream_id: Box<str>,
    pub(super) event_type: Box<str>,
    pub(super) line_len: usize,
}

/// What reading a file came to.
#[derive(Debug)]
pub(super) enum Loaded {
    Good(Box<Good>, Stat),
    Refused(String, Option<Stat>),
    /// It could not be looked at for want of something that has nothing to do with it: what it says is to be read again.
    Unread(disk::Error),
    /// Nothing that is read: gone since it was named, or no regular file.
    Nothing,
}

/// Reads a file's bytes; never fails, a file that is none is refused with its reason.
pub(super) fn load(bytes: &[u8], stat: Stat) -> Loaded {
    if stat.size > FILE_BYTES_MAX {
        let reason = format!("file is too large to be read: {} bytes, the limit is {FILE_BYTES_MAX}", stat.size);
        return Loaded::Refused(reason, Some(stat));
    }
    match read(bytes) {
        Ok(good) => Loaded::Good(Box::new(good), stat),
        Err(refusal) => Loaded::Refused(refusal.to_string(), Some(stat)),
    }
}

/// Reads the bytes of a file that counts.
pub(in crate::braid) fn read(bytes: &[u8]) -> Result<Good, transaction::Refusal> {
    let normal = transaction::normalize(bytes)?;
    let (events, more) = transaction::parse_events(normal.payload())?;
    let mut lines = Vec::with_capacity(normal.text.len() + events.len() * 64);
    let mut loaded = Vec::with_capacity(events.len());
    for event in &events {
        let start = lines.len();
        render_tail(&mut lines, &normal.header, event);
        loaded.push(LoadedEvent {
            event_id: event.event_id,
            stream_id: event.stream_id.as_ref().into(),
            event_type: event.event_type.as_ref().into(),
            line_len: lines.len() - start,
        });
    }
    let header_sum = checksum(normal.line().as_bytes());
    let mut oddities = normal.oddities;
    oddities.extend(more);
    Ok(Good { header_sum, header: normal.header, events: loaded, lines, healing: normal.healing, oddities })
}

/// The stamp of a file that may be changed once more without another size or time: it fits no file.
const RACY: u32 = 0;

/// What is kept of a file's size and time, as of now.
pub(in crate::braid) fn stamp(stat: Stat) -> u32 {
    if is_racy(stat) {
        return RACY;
    }
    let mut bytes = Vec::with_capacity(16);
    (stat.size, i64::try_from(stat.mtime_ns).unwrap_or(0)).put(&mut bytes);
    checksum(&bytes).max(RACY + 1)
}

/// Whether a file has the size and time of which a stamp was kept.
pub(in crate::braid) fn has_stamp(stat: Stat, kept: u32) -> bool {
    kept != RACY && stamp(stat) == kept
}

/// Where the disk knows whole seconds only, two writes within one leave the same time.
fn is_racy(stat: Stat) -> bool {
    stat.mtime_ns % SECOND_NS == 0 && stat.modified() + COARSEST > SystemTime::now()
}

impl Good {
    /// What the index takes in; `odd_name` is the file's name where it is not that of its id, `stat` is known of a file on the disk.
    pub(in crate::braid) fn arrival<'a>(&'a self, odd_name: Option<&'a str>, stat: Option<Stat>) -> Arrival<'a> {
        let events = self.events.iter().map(|event| ArrivalEvent {
            event_id: event.event_id,
            stream_id: &event.stream_id,
            event_type: &event.event_type,
            line_len: event.line_len,
        });
        let (inode, stamp) = stat.map_or((0, 0), |stat| (stat.inode, stamp(stat)));
        Arrival { header: &self.header, odd_name, inode, stamp, header_sum: self.header_sum, events: events.collect() }
    }

    /// Whether another file says what this one says, whatever was healed of either.
    pub(in crate::braid) fn says_the_same(&self, other: &Self) -> bool {
        let parents = |good: &Self| good.header.parents.iter().copied().collect::<std::collections::BTreeSet<_>>();
        let (a, b) = (&self.header, &other.header);
        (a.transaction_id, a.replica_id, &a.created_at, &a.key) == (b.transaction_id, b.replica_id, &b.created_at, &b.key)
            && parents(self) == parents(other)
            && self.events.len() == other.events.len()
            && self.lines == other.lines
    }

    /// What is worth a report about a file that counts.
    pub(in crate::braid) fn findings(&self, file: &str) -> Vec<Finding> {
        let id = self.header.transaction_id;
        let finding = |kind, severity, message: String, hint: String| Finding {
            kind,
            severity,
            file: Some(file.to_owned()),
            transaction_id: Some(id),
            message,
            hint,
        };
        let mut findings: Vec<Finding> = Vec::new();
        if let Some(healing) = &self.healing {
            findings.push(finding(
                FindingKind::Healed,
                Severity::Warning,
                format!("file \"{file}\" was changed since it was written ({healing}) and is read as it was"),
                "braidfs doctor --fix".to_owned(),
            ));
        }
        for oddity in &self.oddities {
            let (severity, hint) = match oddity.kind {
                OddityKind::Unreadable => {
                    (Severity::Warning, "eventcore-fs cannot open this store while the file is there; braidfs reads it as it is".to_owned())
                }
                _ => (Severity::Info, "it counts as it stands; mend the program that wrote it".to_owned()),
            };
            findings.push(finding(oddity.finding_kind(), severity, format!("file \"{file}\": {}", oddity.message), hint));
        }
        if !id.is_file_name(file) {
            findings.push(finding(
                FindingKind::Misnamed,
                Severity::Warning,
                format!("file \"{file}\" holds transaction \"{id}\" under another name"),
                format!(
                    "git mv events/{name} events/{id}.jsonl || mv events/{name} events/{id}.jsonl",
                    name = crate::disk::quoted_name(file)
                ),
            ));
        }
        findings
    }
}
