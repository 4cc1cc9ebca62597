//! A path in git as a stream id: the path itself, but for what a stream id may not hold.

use sha2::{Digest, Sha256};

use crate::format::transaction::STREAM_ID_CHARS_MAX;

/// How much of a path that is too long stays readable.
const LONG_PATH_CHARS: usize = 200;

/// Hex digits of the path's hash behind `%~`, where a path is too long.
const LONG_PATH_DIGITS: usize = 32;

/// The stream of a path: `* ? [ ]`, `%`, bytes that are no UTF-8 and white space at an end become `%XX`; a path that is too
/// long is cut, and its hash put behind.
///
/// Different paths give different streams.
pub(super) fn stream_of(path: &[u8]) -> String {
    let mut out = String::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        for c in chunk.valid().chars() {
            if matches!(c, '*' | '?' | '[' | ']' | '%') { escape(&mut out, c) } else { out.push(c) }
        }
        chunk.invalid().iter().for_each(|byte| out.push_str(&format!("%{byte:02X}")));
    }
    let out = escape_ends(&out);
    if out.chars().count() <= STREAM_ID_CHARS_MAX {
        return out;
    }
    let hash: String = Sha256::digest(path).iter().map(|byte| format!("{byte:02x}")).take(LONG_PATH_DIGITS / 2).collect();
    let start: String = out.chars().take(LONG_PATH_CHARS).collect();
    format!("{start}%~{hash}")
}

fn escape(out: &mut String, c: char) {
    c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| out.push_str(&format!("%{byte:02X}")));
}

fn escape_ends(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let start = chars.iter().take_while(|c| c.is_whitespace()).count();
    let end = chars.len() - chars.iter().skip(start).rev().take_while(|c| c.is_whitespace()).count();
    let mut out = String::with_capacity(text.len());
    for (at, c) in chars.into_iter().enumerate() {
        if at < start || at >= end { escape(&mut out, c) } else { out.push(c) }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::format::transaction::stream_id_fault;

    #[test]
    fn ordinary_paths_stay_themselves() {
        assert_eq!(stream_of(b"src/cli/import.rs"), "src/cli/import.rs");
        assert_eq!(stream_of("Bücher/ä b.txt".as_bytes()), "Bücher/ä b.txt");
    }

    #[test]
    fn what_a_stream_id_may_not_hold_is_escaped() {
        assert_eq!(stream_of(b"app/[id]/100%?.ts"), "app/%5Bid%5D/100%25%3F.ts");
        assert_eq!(stream_of(b" a\xff \n"), "%20a%FF%20%0A");
        assert_eq!(stream_of(b" "), "%20");
        let long = stream_of("é".repeat(300).as_bytes());
        assert_eq!(long.chars().count(), LONG_PATH_CHARS + 2 + LONG_PATH_DIGITS);
    }

    proptest! {
        #[test]
        fn every_path_gives_a_stream_of_its_own(paths in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..9), 1..50)) {
            let mut owner: BTreeMap<String, Vec<u8>> = BTreeMap::new();
            for path in paths {
                let stream = stream_of(&path);
                prop_assert_eq!(stream_id_fault(&stream), None);
                prop_assert_eq!(&*owner.entry(stream).or_insert_with(|| path.clone()), &path);
            }
        }
    }
}
