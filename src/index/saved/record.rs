//! The records of the table: bytes to values and back.

use crate::format::binary::{Binary, Input, binary_fields};
use crate::index::history::Change;
use crate::index::pack::sum_behind;
use crate::model::{EventId, Header, TransactionId};

/// One thing that happened to the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A file was taken in.
    Came(Box<SavedFile>),
    /// The file of this transaction went, or counts no more.
    Went(TransactionId),
    /// A view's name stands for its so-and-so-manieth file; the view as the writer names it.
    Incarnation(String, u32),
    /// The file of this transaction says the same under another inode, or with another stamp, or with another first line.
    Moved(TransactionId, u64, u32, u32),
    /// The file of this name was changed since it said what has this digest; none: it says that again.
    Edited(String, Option<[u8; 32]>),
    /// What came and went since the state before has a number.
    State(Change),
    /// Up to here numbers of states may be shown before they are noted.
    SetApart(u64),
}

/// A file as it was taken in, under the name of its id and without anything to report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedFile {
    /// Its first line; of the bases only those that the index keeps.
    pub header: Header,
    /// Its inode.
    pub inode: u64,
    /// What is kept of its size and time.
    pub stamp: u32,
    /// The checksum of its first line.
    pub header_sum: u32,
    /// Where its lines begin in the pack.
    pub offset: u64,
    /// Their length in bytes.
    pub lines_len: u64,
    /// Their checksum.
    pub lines_checksum: u32,
    /// Its events.
    pub events: Vec<SavedEvent>,
}
binary_fields!(SavedFile { header, inode, stamp, header_sum, offset, lines_len, lines_checksum, events });

/// An event as it was taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedEvent {
    /// Its id.
    pub event_id: EventId,
    /// Its stream.
    pub stream_id: String,
    /// Its type.
    pub event_type: String,
    /// The length of its line in bytes.
    pub line_len: u64,
}
binary_fields!(SavedEvent { event_id, stream_id, event_type, line_len });
binary_fields!(Header { format_version, transaction_id, replica_id, parents, created_at, stream_bases, content_hash, resolves, key });

/// The checksum of some bytes.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u32 {
    sum_behind(0, bytes)
}

/// Appends a record: its length, its checksum, its bytes.
pub fn encode(record: &Record, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    match record {
        Record::Came(file) => {
            1u8.put(out);
            file.put(out);
        }
        Record::Went(id) => {
            2u8.put(out);
            id.put(out);
        }
        Record::Incarnation(view, incarnation) => {
            3u8.put(out);
            view.put(out);
            incarnation.put(out);
        }
        Record::Moved(id, inode, stamp, header_sum) => {
            4u8.put(out);
            id.put(out);
            inode.put(out);
            stamp.put(out);
            header_sum.put(out);
        }
        Record::Edited(name, first) => {
            5u8.put(out);
            name.put(out);
            first.put(out);
        }
        Record::State(change) => {
            6u8.put(out);
            change.put(out);
        }
        Record::SetApart(until) => {
            7u8.put(out);
            until.put(out);
        }
    }
    let body = out.get(start + 8..).unwrap_or_default();
    let (len, sum) = (body.len() as u32, checksum(body));
    let mut head = Vec::with_capacity(8);
    (len, sum).put(&mut head);
    if let Some(room) = out.get_mut(start..start + 8) {
        room.copy_from_slice(&head);
    }
}

/// The records up to the first that is not whole, and the bytes that each takes.
#[must_use]
pub fn decode(mut bytes: &[u8]) -> (Vec<Record>, Vec<usize>) {
    let (mut records, mut sizes) = (Vec::new(), Vec::new());
    while let Some((record, size)) = decode_one(bytes) {
        records.push(record);
        sizes.push(size);
        bytes = bytes.get(size..).unwrap_or_default();
    }
    (records, sizes)
}

fn decode_one(bytes: &[u8]) -> Option<(Record, usize)> {
    let mut from = Input(bytes);
    let (len, sum) = <(u32, u32)>::take(&mut from)?;
    let body = from.bytes(len as usize)?;
    if checksum(body) != sum {
        return None;
    }
    let mut from = Input(body);
    let record = match u8::take(&mut from)? {
        1 => Record::Came(Box::new(SavedFile::take(&mut from)?)),
        2 => Record::Went(TransactionId::take(&mut from)?),
        3 => Record::Incarnation(String::take(&mut from)?, u32::take(&mut from)?),
        4 => Record::Moved(TransactionId::take(&mut from)?, u64::take(&mut from)?, u32::take(&mut from)?, u32::take(&mut from)?),
        5 => Record::Edited(String::take(&mut from)?, <Option<[u8; 32]> as Binary>::take(&mut from)?),
        6 => Record::State(Change::take(&mut from)?),
        7 => Record::SetApart(u64::take(&mut from)?),
        _ => return None,
    };
    from.is_empty().then_some((record, body.len() + 8))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::ReplicaId;

    fn sample() -> Vec<Record> {
        let header = Header {
            format_version: 2,
            transaction_id: TransactionId(Uuid::from_u128(7)),
            replica_id: ReplicaId(Uuid::from_u128(8)),
            parents: vec![TransactionId(Uuid::from_u128(1)), TransactionId(Uuid::from_u128(2))],
            created_at: "2026-01-01T00:00:00+00:00".to_owned(),
            stream_bases: vec![("read".to_owned(), 300)],
            content_hash: None,
            resolves: vec!["s".to_owned()],
            key: Some("k".to_owned()),
        };
        let event = SavedEvent {
            event_id: EventId(Uuid::from_u128(9)),
            stream_id: "ströme/1".to_owned(),
            event_type: "T".to_owned(),
            line_len: 1_000,
        };
        let file = SavedFile {
            header,
            inode: u64::MAX,
            stamp: 5,
            header_sum: 6,
            offset: 70,
            lines_len: 1_000,
            lines_checksum: 0xdead_beef,
            events: vec![event],
        };
        vec![
            Record::Came(Box::new(file)),
            Record::Went(TransactionId(Uuid::from_u128(3))),
            Record::Incarnation("stream s".to_owned(), 12),
            Record::Moved(TransactionId(Uuid::from_u128(4)), 9, 1, 2),
            Record::Edited("a name.jsonl".to_owned(), Some([7; 32])),
            Record::Edited("another.jsonl".to_owned(), None),
            Record::State(Change {
                number: 5,
                came: vec![TransactionId(Uuid::from_u128(7))],
                went: vec![TransactionId(Uuid::from_u128(3))],
            }),
            Record::SetApart(1_029),
        ]
    }

    #[test]
    fn records_come_back_and_a_torn_end_hides_no_whole_one() {
        let mut bytes = Vec::new();
        sample().iter().for_each(|record| encode(record, &mut bytes));
        let (records, sizes) = decode(&bytes);
        assert_eq!(records, sample());
        assert_eq!(sizes.iter().sum::<usize>(), bytes.len());
        for cut in 0..bytes.len() {
            let whole = decode(bytes.get(..cut).unwrap_or_default()).0;
            assert!(sample().starts_with(&whole));
            let mut bent = bytes.clone();
            if let Some(byte) = bent.get_mut(cut) {
                *byte ^= 0x41;
            }
            let believed = decode(&bent).0;
            assert!(sample().starts_with(&believed), "a bent byte at {cut} is believed");
        }
    }
}
