//! Fields of a header that both of its readers read.

use std::collections::HashSet;

use uuid::Uuid;

/// Of several bases for one stream the last.
pub(super) fn without_repeats(bases: Vec<(String, u64)>) -> Vec<(String, u64)> {
    if bases.is_sorted_by(|a, b| a.0 < b.0) {
        return bases;
    }
    let mut seen = HashSet::new();
    let last: Vec<bool> = bases.iter().rev().map(|(stream, _)| seen.insert(stream.as_str())).collect();
    let mut kept = last.into_iter().rev();
    let mut bases = bases.clone();
    bases.retain(|_| kept.next().unwrap_or(true));
    bases
}

/// Reads 64 lower-case hex digits, the only spelling that `eventcore-fs` compares equal.
pub(super) fn hash_of_hex(hex: &str) -> Option<[u8; 32]> {
    if hex.len() != 64 || hex.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    // 32 hex digits are a UUID too, and that crate reads them fast.
    let (front, back) = hex.split_at_checked(32)?;
    let mut hash = [0; 32];
    let (front_bytes, back_bytes) = hash.split_at_mut(16);
    front_bytes.copy_from_slice(Uuid::try_parse(front).ok()?.as_bytes());
    back_bytes.copy_from_slice(Uuid::try_parse(back).ok()?.as_bytes());
    Some(hash)
}
