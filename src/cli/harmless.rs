//! Names and payloads of other people on a terminal: nothing in them may move the cursor or reorder text.

use std::borrow::Cow;

pub(crate) use crate::format::text::harmless;
use crate::format::text::is_obeyed;

/// Renders lines of JSON for a terminal: each harmful character becomes its JSON escape, so that the value stays the same.
///
/// Line ends stay; so do bytes that are no UTF-8, which a terminal does not obey.
#[must_use]
pub(crate) fn harmless_json(bytes: &[u8]) -> Cow<'_, [u8]> {
    let is_plain = |byte: &u8| matches!(byte, b'\n' | b' '..=b'~');
    if bytes.iter().all(is_plain) {
        return Cow::Borrowed(bytes);
    }
    let mut out = Vec::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c != '\n' && is_obeyed(c) {
                // Every harmful character lies in the basic plane: four digits are enough.
                out.extend_from_slice(format!("\\u{:04x}", u32::from(c)).as_bytes());
            } else {
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        out.extend_from_slice(chunk.invalid());
    }
    Cow::Owned(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_left_alone() {
        assert!(matches!(harmless("konto/Ä 😀"), Cow::Borrowed("konto/Ä 😀")));
        assert!(matches!(harmless_json(b"{\"a\":1}\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn what_a_terminal_obeys_is_spelled_out() {
        assert_eq!(harmless("a\u{1b}[2Jb\u{9b}c\u{202e}d\ne"), "a\\u{1b}[2Jb\\u{9b}c\\u{202e}d\\u{a}e");
    }

    #[test]
    fn json_keeps_its_value() {
        let line = "{\"a\":\"x\u{7f}\u{9b}31m\u{202e}é\"}\n";
        let shown = harmless_json(line.as_bytes());
        assert_eq!(shown.as_ref(), "{\"a\":\"x\\u007f\\u009b31m\\u202eé\"}\n".as_bytes());
        let [before, after]: [serde_json::Value; 2] = [line.as_bytes(), &shown].map(|bytes| serde_json::from_slice(bytes).unwrap());
        assert_eq!(before, after);
    }
}
