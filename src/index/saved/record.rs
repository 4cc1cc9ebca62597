//! The records of the table: bytes to values and back.

use uuid::Uuid;

use crate::model::{EventId, Header, ReplicaId, TransactionId};

/// One thing that happened to the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A file was taken in.
    Came(Box<SavedFile>),
    /// The file of this transaction went, or counts no more.
    Went(TransactionId),
    /// A view's name stands for its so-and-so-manieth file; the view as the writer names it.
    Incarnation(String, u32),
}

/// A file as it was taken in, under the name of its id and without anything to report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedFile {
    /// Its first line; of the bases only those that the index keeps.
    pub header: Header,
    /// Its inode, size in bytes, and last change in nanoseconds since 1970.
    pub inode: u64,
    /// Its size in bytes.
    pub size: u64,
    /// Its last change, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Where its lines begin in the pack.
    pub offset: u64,
    /// Their length in bytes.
    pub lines_len: u64,
    /// Their checksum.
    pub lines_checksum: u32,
    /// Its events.
    pub events: Vec<SavedEvent>,
}

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

/// The checksum of some bytes.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// Appends a record: its length, its checksum, its bytes.
pub fn encode(record: &Record, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    match record {
        Record::Came(file) => {
            out.push(1);
            push_file(file, out);
        }
        Record::Went(id) => {
            out.push(2);
            out.extend_from_slice(id.as_bytes());
        }
        Record::Incarnation(view, incarnation) => {
            out.push(3);
            push_text(view, out);
            push_number(u64::from(*incarnation), out);
        }
    }
    let body = out.get(start + 8..).unwrap_or_default();
    let head: Vec<u8> = (body.len() as u32).to_le_bytes().into_iter().chain(checksum(body).to_le_bytes()).collect();
    if let Some(room) = out.get_mut(start..start + 8) {
        room.copy_from_slice(&head);
    }
}

fn push_file(file: &SavedFile, out: &mut Vec<u8>) {
    let header = &file.header;
    out.extend_from_slice(header.transaction_id.as_bytes());
    out.extend_from_slice(header.replica_id.as_bytes());
    push_text(&header.created_at, out);
    push_number(header.parents.len() as u64, out);
    header.parents.iter().for_each(|parent| out.extend_from_slice(parent.as_bytes()));
    push_number(header.stream_bases.len() as u64, out);
    for (stream, base) in &header.stream_bases {
        push_text(stream, out);
        push_number(*base, out);
    }
    push_number(header.resolves.len() as u64, out);
    header.resolves.iter().for_each(|stream| push_text(stream, out));
    push_option(header.key.as_deref(), out);
    for number in [file.inode, file.size, file.mtime_ns as u64, file.offset, file.lines_len, u64::from(file.lines_checksum)] {
        push_number(number, out);
    }
    push_number(file.events.len() as u64, out);
    for event in &file.events {
        out.extend_from_slice(event.event_id.as_bytes());
        push_text(&event.stream_id, out);
        push_text(&event.event_type, out);
        push_number(event.line_len, out);
    }
}

/// Seven bits a byte, the least first.
fn push_number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn push_text(text: &str, out: &mut Vec<u8>) {
    push_number(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

fn push_option(text: Option<&str>, out: &mut Vec<u8>) {
    out.push(u8::from(text.is_some()));
    if let Some(text) = text {
        push_text(text, out);
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
    let (head, rest) = bytes.split_first_chunk::<8>()?;
    let [a, b, c, d, e, f, g, h] = *head;
    let len = u32::from_le_bytes([a, b, c, d]) as usize;
    let body = rest.get(..len)?;
    if checksum(body) != u32::from_le_bytes([e, f, g, h]) {
        return None;
    }
    let mut from = From(body);
    let record = match from.byte()? {
        1 => Record::Came(Box::new(from.file()?)),
        2 => Record::Went(TransactionId(from.uuid()?)),
        3 => Record::Incarnation(from.text()?, u32::try_from(from.number()?).ok()?),
        _ => return None,
    };
    from.0.is_empty().then_some((record, len + 8))
}

struct From<'a>(&'a [u8]);

impl From<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn uuid(&mut self) -> Option<Uuid> {
        let (bytes, rest) = self.0.split_first_chunk::<16>()?;
        self.0 = rest;
        Some(Uuid::from_bytes(*bytes))
    }

    fn text(&mut self) -> Option<String> {
        let len = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).ok()
    }

    fn option(&mut self) -> Option<Option<String>> {
        match self.byte()? {
            0 => Some(None),
            _ => self.text().map(Some),
        }
    }

    fn many<T>(&mut self, mut one: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.number()?;
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(one(self)?);
        }
        Some(all)
    }

    fn file(&mut self) -> Option<SavedFile> {
        let header = Header {
            format_version: 2,
            transaction_id: TransactionId(self.uuid()?),
            replica_id: ReplicaId(self.uuid()?),
            created_at: self.text()?,
            parents: self.many(|from| from.uuid().map(TransactionId))?,
            stream_bases: self.many(|from| Some((from.text()?, from.number()?)))?,
            content_hash: None,
            resolves: self.many(Self::text)?,
            key: self.option()?,
        };
        Some(SavedFile {
            header,
            inode: self.number()?,
            size: self.number()?,
            mtime_ns: self.number()? as i64,
            offset: self.number()?,
            lines_len: self.number()?,
            lines_checksum: u32::try_from(self.number()?).ok()?,
            events: self.many(|from| {
                Some(SavedEvent {
                    event_id: EventId(from.uuid()?),
                    stream_id: from.text()?,
                    event_type: from.text()?,
                    line_len: from.number()?,
                })
            })?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            size: 5,
            mtime_ns: -3,
            offset: 70,
            lines_len: 1_000,
            lines_checksum: 0xdead_beef,
            events: vec![event],
        };
        vec![Record::Came(Box::new(file)), Record::Went(TransactionId(Uuid::from_u128(3))), Record::Incarnation("stream s".to_owned(), 12)]
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
