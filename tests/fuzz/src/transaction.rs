//! Transaction files: what we make of one is what eventcore-fs makes of it, but for what FORMAT.md has us accept.

use braidfs::format::transaction::{Healing, OddityKind, content_hash, normalize, parse_events};
use eventcore_fs::FileEventStore;

use super::stores;

const HASH: &str = "\"content_hash\":\"";
const NAME: &str = "01998877-6655-7000-8000-000000000001.jsonl";

/// If the first byte is odd, a hash in the first line is made to fit.
pub fn holds(data: &[u8]) {
    let [first, bytes @ ..] = data else { return };
    let mut bytes = bytes.to_vec();
    if first % 2 == 1 {
        fit_hash(&mut bytes);
    }
    let ours = normalize(&bytes).and_then(|normal| {
        let (_, more) = parse_events(normal.payload())?;
        Ok((normal.healing, normal.oddities.into_iter().chain(more).any(|oddity| oddity.kind == OddityKind::Unreadable)))
    });
    let theirs = peer_reads(&bytes);
    let shown = || String::from_utf8_lossy(&bytes).into_owned();
    match ours {
        Err(refusal) => assert!(!theirs, "only we refuse {}: {refusal}", shown()),
        Ok((healing, is_told)) if theirs => {
            assert!(healing.is_none_or(is_harmless) && !is_told, "told to be unreadable: {}", shown());
        }
        Ok((healing, is_told)) => assert!(healing.is_some() || is_told, "only we read {}", shown()),
    }
}

/// Whether the other program does not see that something was undone: blank lines at the end of a file without a hash are none to it.
fn is_harmless(healing: Healing) -> bool {
    !healing.bom && healing.final_newline.is_none()
}

/// Whether eventcore-fs opens a store with this file and no other, and takes what it says.
pub fn peer_reads(bytes: &[u8]) -> bool {
    let place = stores::place();
    std::fs::create_dir(place.path().join("events")).expect("a directory");
    std::fs::write(place.path().join("events").join(NAME), bytes).expect("a file");
    // A hash that does not fit is told, and keeps nobody from opening the store.
    FileEventStore::open(place.path()).and_then(|peer| peer.status()).is_ok_and(|status| status.integrity_failures().is_empty())
}

fn fit_hash(bytes: &mut [u8]) {
    let Some(end) = bytes.iter().position(|&byte| byte == b'\n') else { return };
    let (line, payload) = bytes.split_at_mut(end);
    let Some(at) = line.windows(HASH.len()).position(|window| window == HASH.as_bytes()) else { return };
    let hex: String = content_hash(&payload[1..]).iter().map(|byte| format!("{byte:02x}")).collect();
    if let Some(room) = line.get_mut(at + HASH.len()..at + HASH.len() + hex.len()) {
        room.copy_from_slice(hex.as_bytes());
    }
}

/// Real files, and with what mail, editors and git do to them.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for text in stores::history(6).into_values() {
        let unhashed = text.split_once(HASH).map(|(front, back)| format!("{}{}", front.trim_end_matches(','), &back[65..]));
        for text in
            [Some(text.clone()), Some(text.replace('\n', "\r\n")), Some(format!("\u{feff}{text}\n")), unhashed].into_iter().flatten()
        {
            seeds.push([&[0], text.as_bytes()].concat());
            seeds.push([&[1], text.as_bytes()].concat());
        }
    }
    seeds
}
