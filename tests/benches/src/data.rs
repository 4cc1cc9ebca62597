//! Synthetic stores from a seed: chains and merges, one event a transaction.

use std::fs;
use std::path::{Path, PathBuf};

use braidfs::format::transaction::{EncodeEvent, encode};
use braidfs::model::{EventId, Header, ReplicaId, TransactionId};
use uuid::Uuid;

/// The shape of a store.
#[derive(Clone, Copy)]
pub struct Shape {
    pub transactions: usize,
    pub streams: usize,
}

pub fn id(n: usize) -> Uuid {
    let mut bytes = (0x019a_0000_0000u128 + n as u128).to_be_bytes();
    bytes.rotate_left(10);
    bytes[6] = 0x70;
    bytes[8] = 0x80;
    bytes[9..16].copy_from_slice(&(n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes()[..7]);
    Uuid::from_bytes(bytes)
}

pub fn header(n: usize, parents: &[usize]) -> Header {
    Header {
        format_version: 2,
        transaction_id: TransactionId(id(n)),
        replica_id: ReplicaId(Uuid::from_u128(7)),
        parents: parents.iter().map(|&parent| TransactionId(id(parent))).collect(),
        created_at: format!("2026-01-{:02}T{:02}:{:02}:{:02}.{:09}+00:00", 1 + n / 86_400 % 28, n / 3_600 % 24, n / 60 % 60, n % 60, n),
        stream_bases: Vec::new(),
        content_hash: None,
        resolves: Vec::new(),
        key: None,
    }
}

/// The bytes of transaction `n` in a chain.
pub fn file(n: usize, parents: &[usize], streams: usize) -> (String, Vec<u8>) {
    let stream = format!("account-{}", n % streams);
    let mut header = header(n, parents);
    let base = (n / streams) as u64;
    header.stream_bases.push((stream.clone(), base));
    let data = format!("{{\"amount\":{n},\"note\":\"a payment of some length for order {n}\"}}");
    let event = EncodeEvent {
        event_id: EventId(id(n + 500_000_000)),
        stream_id: &stream,
        stream_version: base + 1,
        event_type: ["Opened", "Paid", "Closed"][n % 3],
        event_data: &data,
        metadata: "{}",
    };
    (format!("{}.jsonl", header.transaction_id), encode(&header, &[event]))
}

/// Makes a store that is a chain.
pub fn chain(dir: &Path, shape: Shape) -> PathBuf {
    let events = dir.join("events");
    fs::create_dir_all(&events).expect("a directory");
    for n in 0..shape.transactions {
        let parents: Vec<usize> = n.checked_sub(1).into_iter().collect();
        let (name, bytes) = file(n, &parents, shape.streams);
        fs::write(events.join(name), bytes).expect("a file");
    }
    dir.to_path_buf()
}
