//! Text for people that quotes what others wrote.

use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::str::Utf8Chunk;

/// The most bytes of a message: a stream id of the longest kind fits with what is said about it.
const MESSAGE_LEN_MAX: usize = 2_000;

/// Cuts a message that quotes something endless.
pub(crate) fn shorten(mut message: String) -> String {
    if message.len() > MESSAGE_LEN_MAX {
        let end = (0..=MESSAGE_LEN_MAX).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
        message.truncate(end);
        message.push('…');
    }
    message
}

/// A count with what is counted, in words whose plural ends in s.
pub(crate) fn counted(count: impl TryInto<u128>, what: &str) -> String {
    counted_as(count, what, &format!("{what}s"))
}

/// A count with what is said of one, or of several.
pub(crate) fn counted_as(count: impl TryInto<u128>, one: &str, several: &str) -> String {
    match count.try_into().unwrap_or(u128::MAX) {
        1 => format!("1 {one}"),
        count => format!("{count} {several}"),
    }
}

/// A path as one word of a shell; what a terminal would obey is spelled out, which bash and its like read.
pub(crate) fn quoted(path: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+%:@,=".contains(&byte);
    if !path.is_empty() && path.bytes().all(is_plain) {
        return path.to_owned();
    }
    if !path.chars().any(is_obeyed) {
        return format!("'{}'", path.replace('\'', "'\\''"));
    }
    format!("$'{}'", path.chars().map(spelled).collect::<String>())
}

/// A character between `$'` and `'`.
fn spelled(c: char) -> String {
    match c {
        '\'' | '\\' => format!("\\{c}"),
        c if !is_obeyed(c) => c.to_string(),
        c if c.is_ascii() => format!("\\{:03o}", u32::from(c)),
        c => format!("\\u{:04x}", u32::from(c)),
    }
}

/// Renders text for people: each harmful character becomes `\u{1b}`-like text.
#[must_use]
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    if !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_obeyed(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Whether a terminal does something else with it than to show it.
pub(crate) fn is_obeyed(c: char) -> bool {
    c.is_control() || is_direction(c)
}

/// The same of a path as the system has it, whose bytes may be no text.
pub(crate) fn quoted_path(path: &Path) -> String {
    if path.as_os_str().as_bytes().first() == Some(&b'-') {
        // No program takes it for an option then.
        return quoted_path(&Path::new(".").join(path));
    }
    if let Some(path) = path.to_str() {
        return quoted(path);
    }
    let chunks = path.as_os_str().as_bytes().utf8_chunks();
    let spell = |chunk: Utf8Chunk<'_>| {
        let invalid = chunk.invalid().iter().map(|byte| format!("\\{byte:03o}"));
        chunk.valid().chars().map(spelled).chain(invalid).collect::<String>()
    };
    format!("$'{}'", chunks.map(spell).collect::<String>())
}

/// Marks that reorder text, and line ends beyond ASCII.
pub(crate) fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_no_option() {
        assert_eq!(quoted_path(Path::new("-dash")), "./-dash");
        assert_eq!(quoted_path(Path::new("a/-dash")), "a/-dash");
    }

    #[test]
    fn one_is_told_from_none_and_several() {
        assert_eq!([0u64, 1, 2].map(|count| counted(count, "event")), ["0 events", "1 event", "2 events"]);
        assert_eq!([0u32, 1, 2].map(|count| counted_as(count, "is", "are")), ["0 are", "1 is", "2 are"]);
    }

    #[test]
    fn a_word_of_a_shell_is_one_word() {
        assert_eq!(quoted("streams/a-1/x.jsonl"), "streams/a-1/x.jsonl");
        assert_eq!(quoted("streams/$(rm -rf ~)'; x"), "'streams/$(rm -rf ~)'\\''; x'");
        assert_eq!(quoted("a\u{1b}7\u{202e}'\\b"), "$'a\\0337\\u202e\\'\\\\b'");
        assert_eq!(quoted(""), "''");
        let bytes = b"a\xff\n'\xc3\xa4.jsonl";
        let word = quoted_path(Path::new(std::ffi::OsStr::from_bytes(bytes)));
        assert_eq!(word, "$'a\\377\\012\\'ä.jsonl'");
        let echo = std::process::Command::new("bash").args(["-c", &format!("printf %s {word}")]).output().unwrap();
        assert_eq!(echo.stdout, bytes);
        for path in ["a b", "it's \"$x\"", "a\nb", "tab\t'\\n", "\u{1b}[2J", "\u{85}\u{2028}9", "ä\r\u{7f}0"] {
            let echo = std::process::Command::new("bash").args(["-c", &format!("printf %s {}", quoted(path))]).output().unwrap();
            assert_eq!(String::from_utf8(echo.stdout).unwrap(), path, "{}", quoted(path));
        }
    }

    #[test]
    fn only_what_is_too_long_is_cut() {
        let fits = "é".repeat(MESSAGE_LEN_MAX / 2);
        assert_eq!(shorten(fits.clone()), fits);
        assert_eq!(shorten(format!("{fits}x")), format!("{fits}…"));
        assert_eq!(shorten(format!("x{fits}")).chars().count(), MESSAGE_LEN_MAX / 2 + 1);
    }
}
