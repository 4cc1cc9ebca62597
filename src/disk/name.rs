//! File names as text, whatever their bytes are.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use crate::format::text::quoted_path;

/// The name as text: each byte that is no UTF-8 becomes `/XX`, which no real name contains, so that [`os_name`] gives it back.
#[must_use]
pub fn shown_name(name: &OsStr) -> String {
    let mut shown = String::with_capacity(name.len());
    for chunk in name.as_bytes().utf8_chunks() {
        shown.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a string does not fail.
            let _ = write!(shown, "/{byte:02X}");
        }
    }
    shown
}

/// The name that [`shown_name`] made text of.
#[must_use]
pub fn os_name(shown: &str) -> OsString {
    let mut parts = shown.split('/');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        match part.get(..2).map(|hex| u8::from_str_radix(hex, 16)) {
            Some(Ok(byte)) => {
                bytes.push(byte);
                bytes.extend_from_slice(part.get(2..).unwrap_or_default().as_bytes());
            }
            // No name of ours: kept without its slash, so that no text leads out of a directory.
            _ => bytes.extend_from_slice(part.as_bytes()),
        }
    }
    OsString::from_vec(bytes)
}

/// The name of which this is the text, as one word of a shell.
#[must_use]
pub fn quoted_name(shown: &str) -> String {
    quoted_path(Path::new(&os_name(shown)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn any_name_is_shown_and_found_again() {
        for bytes in [&b"plain.jsonl"[..], b"\xff\xfe.jsonl", b"a\xc3", b"\xc3\xa4 \xc3", b""] {
            let name = OsStr::from_bytes(bytes);
            assert_eq!(os_name(&shown_name(name)), name);
        }
        assert_eq!(shown_name(OsStr::from_bytes(b"a\xff.jsonl")), "a/FF.jsonl");
    }

    #[test]
    fn text_that_is_no_shown_name_stays_one_component() {
        assert_eq!(os_name("../etc"), OsStr::new("..etc"));
    }
}
