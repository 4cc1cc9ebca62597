//! The first line of a file.

use std::borrow::Cow;
use std::fmt;

use memchr::memmem;
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::canonical;
use super::fields::{hash_of_hex, without_repeats};
use super::oddity::{self, Oddity, OddityKind};
use super::refusal::Refusal;
use crate::model::{Header, ReplicaId, TransactionId};

/// A UUID in any of the spellings that `eventcore-fs` reads.
pub(super) struct Id(pub(super) Uuid);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IdVisitor;
        impl Visitor<'_> for IdVisitor {
            type Value = Id;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a UUID")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Id, E> {
                Uuid::try_parse(text).map(Id).map_err(|_| E::custom(format_args!("{text:?} is not a UUID")))
            }
        }
        deserializer.deserialize_str(IdVisitor)
    }
}

/// `stream_bases` in the order of the file; of a name that comes twice the last counts.
struct Bases(Vec<(String, u64)>);

impl<'de> Deserialize<'de> for Bases {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BasesVisitor;
        impl<'de> Visitor<'de> for BasesVisitor {
            type Value = Bases;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of stream ids and numbers")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Bases, A::Error> {
                let mut bases = Vec::new();
                while let Some(entry) = map.next_entry::<String, u64>()? {
                    bases.push(entry);
                }
                Ok(Bases(without_repeats(bases)))
            }
        }
        deserializer.deserialize_map(BasesVisitor)
    }
}

/// The keys that `eventcore-fs` knows. The order matters: it also reads an array of them.
#[derive(Deserialize)]
struct HeaderLine<'a> {
    #[serde(borrow)]
    record: Cow<'a, str>,
    format_version: u32,
    transaction_id: Id,
    replica_id: Id,
    parent_transaction_ids: Vec<Id>,
    created_at: String,
    stream_bases: Bases,
    #[serde(default, borrow)]
    content_hash: Option<Cow<'a, str>>,
}

/// The keys that are ours: `eventcore-fs` ignores them whatever they hold, so they never refuse a file.
#[derive(Default, Deserialize)]
struct OurKeys<'a> {
    #[serde(default, borrow)]
    resolves: Option<&'a RawValue>,
    #[serde(default, borrow)]
    key: Option<&'a RawValue>,
}

/// A header with its content hash as it stands in the file.
pub(super) struct RawHeader<'a> {
    /// All but the content hash.
    pub(super) header: Header,
    /// The content hash as text, which may be no hash at all.
    pub(super) hash: Option<Cow<'a, str>>,
    pub(super) oddities: Vec<Oddity>,
}

/// Reads a header line, without its line end and without looking at the payload.
pub(super) fn parse_raw(line: &str) -> Result<RawHeader<'_>, Refusal> {
    let Some(header) = canonical::parse_header(line) else {
        return parse_any(line);
    };
    let mut oddities = Vec::new();
    oddity::of_header(&header, &mut oddities);
    Ok(RawHeader { hash: line.get(line.len() - 66..line.len() - 2).map(Cow::Borrowed), header, oddities })
}

/// Reads a header however it is spelled.
pub(super) fn parse_any(line: &str) -> Result<RawHeader<'_>, Refusal> {
    let known: HeaderLine<'_> = serde_json::from_str(line).map_err(|error| Refusal::of_line(1, &error))?;
    match &*known.record {
        "header" => (),
        "event" => return Err(Refusal::line(1, "record is \"event\", the first line must be a \"header\"")),
        other => return Err(Refusal::line(1, format!("record is {other:?}, the first line must be a \"header\""))),
    }
    let mut oddities = Vec::new();
    let mut header = Header {
        format_version: u64::from(known.format_version),
        transaction_id: TransactionId(known.transaction_id.0),
        replica_id: ReplicaId(known.replica_id.0),
        parents: known.parent_transaction_ids.into_iter().map(|id| TransactionId(id.0)).collect(),
        created_at: known.created_at,
        stream_bases: known.stream_bases.0,
        content_hash: known.content_hash.as_deref().and_then(hash_of_hex),
        resolves: Vec::new(),
        key: None,
    };
    oddity::of_header(&header, &mut oddities);
    if has_more_keys(line, &header) {
        add_our_keys(line, &mut header, &mut oddities);
        oddity::of_json(1, 0, line, 0, &mut oddities);
    }
    Ok(RawHeader { header, hash: known.content_hash, oddities })
}

/// Tells by its number of quotes whether a header may hold more than the known keys.
fn has_more_keys(line: &str, header: &Header) -> bool {
    let known = 22 + 2 * (header.parents.len() + header.stream_bases.len()) + if header.content_hash.is_some() { 4 } else { 0 };
    memchr::memchr_iter(b'"', line.as_bytes()).count() != known
}

fn add_our_keys(line: &str, header: &mut Header, oddities: &mut Vec<Oddity>) {
    let named = |key: &[u8]| memmem::find(line.as_bytes(), key).is_some();
    if !named(b"\"resolves\"") && !named(b"\"key\"") {
        return;
    }
    let odd = |what: &str| Oddity::new(OddityKind::HeaderKey, format!("{what}: it is ignored"));
    let Ok(ours) = serde_json::from_str::<OurKeys<'_>>(line) else {
        oddities.push(odd("header has \"resolves\" or \"key\" twice"));
        return;
    };
    match ours.resolves.map(|raw| serde_json::from_str::<Vec<String>>(raw.get())) {
        Some(Ok(streams)) => header.resolves = streams,
        Some(Err(_)) => oddities.push(odd("header's \"resolves\" is not an array of stream ids")),
        None => (),
    }
    match ours.key.map(|raw| serde_json::from_str::<String>(raw.get())) {
        Some(Ok(key)) => header.key = Some(key),
        Some(Err(_)) => oddities.push(odd("header's \"key\" is not a string")),
        None => (),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_64_lower_case_digits() {
        let hex = "00ff".repeat(16);
        assert_eq!(hash_of_hex(&hex).unwrap()[..3], [0, 255, 0]);
        for bad in
            ["", &hex[1..], &hex.to_uppercase(), &hex.replace('0', "g"), &format!("{hex}0"), &"é".repeat(32), &format!("{}-", &hex[1..])]
        {
            assert_eq!(hash_of_hex(bad), None, "{bad}");
        }
    }
}
