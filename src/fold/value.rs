//! JSON in and out of the interpreter, whose values are more than JSON.

use jaq_json::{Num, Val, read, write};
use serde_json::value::RawValue;

use super::error::FoldError;
use crate::model::EventId;

/// Deepest nesting of a state: with what a view or a snapshot puts around it, readers with the usual limit of 128
/// can still parse it.
pub(super) const DEPTH_MAX: usize = 100;

/// Parses one JSON text: integers of any size stay exact, other numbers keep their spelling until calculated with.
///
/// A lone surrogate, which the store accepts from others, reads as U+FFFD.
pub(super) fn parse_value(json: &[u8]) -> Result<Val, String> {
    read::parse_single(json).or_else(|error| {
        let text = std::str::from_utf8(json).map_err(|error| error.to_string())?;
        let Some(mended) = replace_lone_surrogates(text) else { return Err(error.to_string()) };
        read::parse_single(mended.as_bytes()).map_err(|error| error.to_string())
    })
}

/// Writes a value as compact JSON, keys in the order in which they were set.
///
/// Refuses what is no JSON, or could not be read by others: not a number, infinite, bytes, broken UTF-8, keys other
/// than strings, nesting over [`DEPTH_MAX`].
pub(super) fn write_value(value: &Val) -> Result<Vec<u8>, FoldError> {
    check_value(value)?;
    let mut json = Vec::new();
    write::write(&mut json, &write::Pp::default(), 0, value).map_err(|error| FoldError::step(error.to_string()))?;
    // Spellings of numbers that the interpreter takes and JSON does not: `"+1.5" | tonumber`.
    match serde_json::from_slice::<&RawValue>(&json) {
        Ok(_) => Ok(json),
        Err(error) => Err(FoldError::step(format!("the state is no JSON: {error}"))),
    }
}

/// Checks that a value is JSON, and gives how many bytes it has as that at least (what is escaped has more); the walk keeps its own stack,
/// because the value is as deep as a program made it.
pub(super) fn check_value(value: &Val) -> Result<usize, FoldError> {
    let mut bytes = 0usize;
    let bad = |what: &str| Err(FoldError::step(format!("the state is no JSON: it has {what}")));
    let mut open = vec![(value, 1_usize)];
    while let Some((value, depth)) = open.pop() {
        bytes = bytes.saturating_add(own_bytes(value));
        match value {
            Val::Null | Val::Bool(_) => {}
            Val::Num(number) if !is_finite(number) => return bad(&format!("the number {number}")),
            Val::Num(_) => {}
            Val::BStr(_) => return bad("a byte string"),
            Val::TStr(text) if std::str::from_utf8(text).is_err() => return bad("a string that is not UTF-8"),
            Val::TStr(_) => {}
            Val::Arr(_) | Val::Obj(_) if depth > DEPTH_MAX => return bad(&format!("nesting over {DEPTH_MAX}")),
            Val::Arr(items) => open.extend(items.iter().map(|item| (item, depth + 1))),
            Val::Obj(members) => {
                for (key, value) in members.iter() {
                    if !matches!(key, Val::TStr(text) if std::str::from_utf8(text).is_ok()) {
                        return bad("a key that is no string");
                    }
                    bytes = bytes.saturating_add(own_bytes(key));
                    open.push((value, depth + 1));
                }
            }
        }
    }
    Ok(bytes)
}

/// How many bytes a value has at least, without those that it holds.
fn own_bytes(value: &Val) -> usize {
    const AROUND: usize = 2;
    match value {
        Val::TStr(text) => AROUND + text.len(),
        Val::Arr(items) => AROUND + items.len().saturating_sub(1),
        // A colon each, and commas between.
        Val::Obj(members) => AROUND + (2 * members.len()).saturating_sub(1),
        Val::Null | Val::Bool(_) => "null".len(),
        Val::Num(Num::Int(number)) => usize::from(*number < 0) + number.unsigned_abs().checked_ilog10().unwrap_or(0) as usize + 1,
        Val::Num(Num::Dec(text)) => text.len(),
        Val::Num(_) | Val::BStr(_) => 1,
    }
}

fn is_finite(number: &Num) -> bool {
    match number {
        Num::Int(_) | Num::BigInt(_) => true,
        Num::Float(value) => value.is_finite(),
        Num::Dec(text) => text.parse::<f64>().is_ok_and(f64::is_finite),
    }
}

/// The event id in an event's line, if it has one.
pub(super) fn find_event_id(event_line: &[u8]) -> Option<EventId> {
    #[derive(serde::Deserialize)]
    struct Line<'a> {
        #[serde(borrow)]
        event_id: std::borrow::Cow<'a, str>,
    }
    serde_json::from_slice::<Line<'_>>(event_line).ok()?.event_id.parse().ok()
}

/// The text with `\ufffd` for every `\uD8xx` to `\uDFxx` that is no half of a pair; none if there is no such.
fn replace_lone_surrogates(text: &str) -> Option<String> {
    let (mut mended, mut rest, mut changed) = (String::with_capacity(text.len()), text, false);
    while let Some((before, _)) = rest.split_once('\\') {
        mended.push_str(before);
        rest = rest.get(before.len()..)?;
        let taken = match (surrogate(rest), rest.get(6..).and_then(surrogate)) {
            (Some(0xD800..0xDC00), Some(0xDC00..0xE000)) => 12,
            (Some(_), _) => {
                mended.push_str("\\ufffd");
                changed = true;
                rest = rest.get(6..)?;
                continue;
            }
            // Any other escape: its two characters, so that the second of `\\` begins none.
            (None, _) => 1 + rest.chars().nth(1)?.len_utf8(),
        };
        mended.push_str(rest.get(..taken)?);
        rest = rest.get(taken..)?;
    }
    mended.push_str(rest);
    changed.then_some(mended)
}

/// The surrogate that `text` begins with as an escape.
fn surrogate(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    u32::from_str_radix(digits, 16).ok().filter(|unit| (0xD800..0xE000).contains(unit))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn round(json: &str) -> String {
        String::from_utf8(write_value(&parse_value(json.as_bytes()).unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn values_keep_their_order_and_their_numbers() {
        let json = r#"{"b":[1,2.50,1e3,-0.0,123456789012345678901234567890],"a":{"ä\n\"":null,"x":[true,false]}}"#;
        assert_eq!(round(json), json);
    }

    #[test]
    fn a_lone_surrogate_reads_as_the_replacement_character() {
        assert_eq!(round(r#"["\ud83d\ude00","\\ud800"]"#), "[\"😀\",\"\\\\ud800\"]");
        assert_eq!(round(r#"["\ud83d\ude00\ud800x\udc00"]"#), "[\"😀\u{fffd}x\u{fffd}\"]");
        assert!(parse_value(br#"["\ud8"]"#).is_err());
    }

    #[test]
    fn a_value_is_measured_by_what_it_has_at_least() {
        let bytes = |json: &str| check_value(&parse_value(json.as_bytes()).unwrap()).unwrap();
        for exact in [
            "0",
            "-17",
            "1000",
            "2.50",
            "null",
            "true",
            "\"\"",
            "\"aä\"",
            "[]",
            "[1]",
            "[1,[2,\"b\"]]",
            "{}",
            "{\"a\":1}",
            "{\"a\":[],\"b\":{\"c\":-1}}",
        ] {
            assert_eq!(bytes(exact), exact.len(), "{exact}");
        }
        for more in ["\"\\n\"", "false", "123456789012345678901234567890"] {
            assert!(bytes(more) < more.len(), "{more}");
        }
    }

    #[test]
    fn what_is_no_json_is_refused() {
        let nested = |depth| (0..depth).fold(Val::Null, |inner, _| [inner].into_iter().collect());
        for (value, part) in [
            (Val::Num(Num::Float(f64::NAN)), "NaN"),
            (Val::Num(Num::Float(f64::INFINITY)), "Infinity"),
            (parse_value(b"1e999").unwrap(), "1e999"),
            (parse_value(b"+1.5").unwrap(), "no JSON"),
            (Val::byte_str("a"), "byte string"),
            (Val::utf8_str(vec![0xff]), "UTF-8"),
            (Val::obj([(Val::Null, Val::Null)].into_iter().collect()), "key"),
            (nested(DEPTH_MAX + 1), "nesting over 100"),
        ] {
            let error = write_value(&value).unwrap_err();
            assert!(error.message.contains(part), "{error}");
        }
        assert!(write_value(&nested(DEPTH_MAX)).is_ok());
    }

    #[test]
    fn an_event_id_is_found_wherever_it_stands() {
        let id = "0190a0b0-0000-7000-8000-000000000001";
        let line = format!(r#"{{"stream_version":1,"event_id":"{id}","event_data":{{"event_id":"x"}}}}"#);
        assert_eq!(find_event_id(line.as_bytes()), Some(id.parse().unwrap()));
        assert_eq!(find_event_id(b"{\"event_id\":7}"), None);
    }
}
