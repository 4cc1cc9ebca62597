//! JSON as bytes: strings written as serde_json writes them, and what its `Value` refuses in valid JSON.

use memchr::{memchr, memchr2, memchr2_iter, memmem};

/// The deepest nesting that `serde_json` reads into a `Value`, counted from the outermost bracket.
pub(crate) const NESTING_MAX: usize = 127;

/// What `serde_json::Value` refuses at its default limits although the syntax is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Unreadable {
    /// Brackets nest too deep.
    Nesting,
    /// A number is not finite as an f64.
    Number,
    /// A `\u` escape of one half of a surrogate pair.
    Surrogate,
    /// An object whose first key is one by which `serde_json` knows a value of its own: it reads another value, or nothing.
    Reserved,
}

/// What the keys begin with by which `serde_json` knows a `RawValue` and, in programs that have it so, a `Number`.
const RESERVED: &str = "$serde_json::private::";

/// Appends `text` as a JSON string, escaping no more than JSON demands.
pub(crate) fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    if text.bytes().any(must_escape) {
        text.bytes().for_each(|byte| push_escaped(out, byte));
    } else {
        out.extend_from_slice(text.as_bytes());
    }
    out.push(b'"');
}

fn must_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn push_escaped(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        8 => out.extend_from_slice(b"\\b"),
        12 => out.extend_from_slice(b"\\f"),
        0..0x20 => {
            out.extend_from_slice(b"\\u00");
            push_hex(out, &[byte]);
        }
        _ => out.push(byte),
    }
}

/// The same JSON without white space between its parts; what is in strings stays, and so does how numbers are written.
pub(crate) fn without_spaces(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    let (mut is_string, mut is_escaped) = (false, false);
    for &byte in json {
        if is_string {
            is_string = is_escaped || byte != b'"';
            is_escaped = byte == b'\\' && !is_escaped;
        } else if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            continue;
        } else {
            is_string = byte == b'"';
        }
        out.push(byte);
    }
    out
}

/// Appends `bytes` as lower-case hex digits.
pub(crate) fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble & 15)).copied().unwrap_or(b'0');
    for byte in bytes {
        out.push(digit(byte >> 4));
        out.push(digit(*byte));
    }
}

/// Calls `report` with the place of everything in `json`, which is valid JSON, that [`Unreadable`] names.
pub(crate) fn find_unreadable(json: &[u8], nesting_max: usize, mut report: impl FnMut(usize, Unreadable)) {
    if !is_suspect(json, nesting_max) {
        return;
    }
    let mut at = 0;
    let mut depth = 0_usize;
    while let Some(&byte) = json.get(at) {
        match byte {
            b'"' => at = scan_string(json, at + 1, &mut report),
            b'-' | b'0'..=b'9' => at = scan_number(json, at, &mut report),
            b'[' | b'{' => {
                depth += 1;
                if depth == nesting_max + 1 {
                    report(at, Unreadable::Nesting);
                }
                if byte == b'{' && is_reserved(json.get(at + 1..).unwrap_or_default().trim_ascii_start()) {
                    report(at, Unreadable::Reserved);
                }
                at += 1;
            }
            b']' | b'}' => {
                depth = depth.saturating_sub(1);
                at += 1;
            }
            _ => at += 1,
        }
    }
}

/// Tells at memory speed that a closer look is not needed, as for nearly every payload.
fn is_suspect(json: &[u8], nesting_max: usize) -> bool {
    /// No number with fewer digits and no exponent is infinite.
    const RUN: usize = 256;
    // Without a branch, for letters are frequent.
    let pairs = json.iter().zip(json.get(1..).unwrap_or_default());
    let has_exponent = pairs.fold(false, |found, (before, byte)| found | (before.is_ascii_digit() & (byte | 32 == b'e')));
    memchr2_iter(b'[', b'{', json).nth(nesting_max).is_some()
        || memchr(b'\\', json).is_some()
        || memmem::find(json, RESERVED.as_bytes()).is_some()
        || has_exponent
        || (json.len() > RUN && has_run(json, RUN))
}

/// Tells whether a run of that many digits may be there; looks at every 64th byte.
fn has_run(json: &[u8], len: usize) -> bool {
    let mut seen = 0;
    json.iter().step_by(64).any(|byte| {
        seen = if byte.is_ascii_digit() { seen + 1 } else { 0 };
        seen >= len / 64 - 1
    })
}

/// Whether the string that begins there, if one does, is a reserved key, however it is escaped.
fn is_reserved(rest: &[u8]) -> bool {
    let Some(b"\"$" | b"\"\\") = rest.get(..2) else { return false };
    let key = rest.get(..scan_string(rest, 1, &mut |_, _| {})).unwrap_or_default();
    serde_json::from_slice::<String>(key).is_ok_and(|key| matches!(key.strip_prefix(RESERVED), Some("RawValue" | "Number")))
}

/// Returns the place behind the closing quote of the string whose first character is at `at`.
fn scan_string(json: &[u8], mut at: usize, report: &mut impl FnMut(usize, Unreadable)) -> usize {
    loop {
        let Some(found) = json.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) else {
            return json.len();
        };
        at += found;
        if json.get(at) == Some(&b'"') {
            return at + 1;
        }
        match unit(json, at) {
            Some(0xD800..0xDC00) if matches!(unit(json, at + 6), Some(0xDC00..0xE000)) => at += 12,
            Some(0xD800..0xE000) => {
                report(at, Unreadable::Surrogate);
                at += 6;
            }
            Some(_) => at += 6,
            None => at += 2,
        }
    }
}

/// The UTF-16 unit of the escape `\uXXXX` that stands at `at`, if one does.
fn unit(json: &[u8], at: usize) -> Option<u32> {
    let digits = json.get(at..at + 6)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0, |unit, &digit| Some(unit * 16 + char::from(digit).to_digit(16)?))
}

/// Returns the place behind the number at `at`.
fn scan_number(json: &[u8], at: usize, report: &mut impl FnMut(usize, Unreadable)) -> usize {
    let rest = json.get(at..).unwrap_or_default();
    let len = rest.iter().position(|byte| !matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')).unwrap_or(rest.len());
    let token = rest.get(..len).unwrap_or_default();
    if !is_finite(token) {
        report(at, Unreadable::Number);
    }
    at + len
}

/// Asks serde_json itself, since its limit is not that of std to the last bit.
fn is_finite(token: &[u8]) -> bool {
    let plain = token.len() < 300 && !token.iter().any(|byte| byte | 32 == b'e');
    plain || serde_json::from_slice::<f64>(token).is_ok_and(f64::is_finite)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(json: &str) -> Vec<(usize, Unreadable)> {
        let mut found = Vec::new();
        find_unreadable(json.as_bytes(), NESTING_MAX, |at, what| found.push((at, what)));
        found
    }

    #[test]
    fn finds_what_value_refuses() {
        assert_eq!(found(r#"{"a":1e999,"b":-1e999}"#), [(5, Unreadable::Number), (15, Unreadable::Number)]);
        assert_eq!(found(r#"["\ud83d\ude00","\ud83d","\ude00x"]"#), [(17, Unreadable::Surrogate), (26, Unreadable::Surrogate)]);
        assert_eq!(found(r#"["\\ud83d",0e999,1e-999,"1e999"]"#), []);
        for (digits, infinite) in [(308, false), (309, true), (400, true)] {
            let text = format!("[{}]", "9".repeat(digits));
            assert_eq!(found(&text).len(), usize::from(infinite), "{digits}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&text).is_err(), infinite, "{digits}");
        }
    }

    #[test]
    fn a_first_key_that_serde_json_keeps_for_itself_is_found_however_it_is_written() {
        for (json, at) in [
            (r#"{"$serde_json::private::RawValue":"{"}"#, Some(0)),
            (r#"[1,{ "$serde_json::private::RawValue":"{\"a\":1}"}]"#, Some(3)),
            (r#"{"a":{"\u0024serde_json\u003A:private::RawValue":7,"b":1}}"#, Some(5)),
            (r#"{"$serde_json::private::Number":"1"}"#, Some(0)),
            (r#"{"a":1,"$serde_json::private::RawValue":"{"}"#, None),
            (r#"{"a":"$serde_json::private::RawValue"}"#, None),
            (r#"["$serde_json::private::RawValue",{"$":1},{"\\":2}]"#, None),
            (r#"{"$serde_json::private::RawValue2":"{"}"#, None),
        ] {
            assert_eq!(found(json), at.map(|at| (at, Unreadable::Reserved)).into_iter().collect::<Vec<_>>(), "{json}");
            if json.contains("RawValue\":7") || json.contains("RawValue\":\"{\"}") {
                assert_eq!(serde_json::from_str::<serde_json::Value>(json).is_err(), at.is_some(), "{json}");
            }
        }
    }

    #[test]
    fn nesting_is_the_limit_of_value_and_one_past() {
        for (depth, refused) in [(NESTING_MAX, false), (NESTING_MAX + 1, true), (100_000, true)] {
            let text = "[".repeat(depth) + &"]".repeat(depth);
            assert_eq!(!found(&text).is_empty(), refused, "{depth}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&text).is_err(), refused, "{depth}");
        }
    }

    proptest! {
        #[test]
        fn strings_are_written_as_serde_json_writes_them(text in any::<String>(), control in "[\\x00-\\x1f\"\\\\]{0,8}") {
            let text = text + &control;
            let mut out = Vec::new();
            push_string(&mut out, &text);
            prop_assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string(&text).unwrap());
        }

        #[test]
        fn agrees_with_value(json in "[\\[{]{0,3}(\"a\":)?(-?[0-9]{1,3}(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,4})?|\"(\\\\u[dD][89cC][0-9a-f]{2}|x|\\\\\\\\|\\\\n){0,4}\")[\\]}]{0,3}") {
            if serde_json::from_str::<&serde_json::value::RawValue>(&json).is_ok() {
                prop_assert_eq!(found(&json).is_empty(), serde_json::from_str::<serde_json::Value>(&json).is_ok());
            }
        }

        #[test]
        fn without_spaces_it_says_the_same_in_one_line(text in "[ \\n\\r\\t\"\\\\a]{0,12}", number in "-?[1-9][0-9]{0,30}(\\.[0-9]{1,9})?([eE][+-]?[0-9])?") {
            let mut string = Vec::new();
            push_string(&mut string, &text);
            let part = [&string, &b" : [ \n"[..], number.as_bytes(), b" , \r\n", &string, b"\t]"].concat();
            let json = [b"\n{ ", &part[..], b" } \n"].concat();
            let line = [b"{", &string[..], b":[", number.as_bytes(), b",", &string, b"]}"].concat();
            prop_assert_eq!(without_spaces(&json), line);
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            find_unreadable(&bytes, 3, |_, _| {});
        }
    }
}
