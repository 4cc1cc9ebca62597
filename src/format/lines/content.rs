//! A view line with its content first: what people compare stands where a diff tool shows it.

use super::prefix::{push_stream_prefix, push_version};
use super::{CREATED_AT_KEY, EVENT_ID_KEY, REPLICA_ID_KEY, STREAM_ID_KEY, TRANSACTION_ID_KEY};

const ID_LEN: usize = uuid::fmt::Hyphenated::LENGTH;

/// What stands between the metadata and the text of the time.
const BEHIND_CONTENT_LEN: usize = TRANSACTION_ID_KEY.len() + ID_LEN + REPLICA_ID_KEY.len() + ID_LEN + CREATED_AT_KEY.len();

/// Appends the fields of a line of `streams/` in another order, with as many bytes: type, payload and metadata, then the numbers and ids.
///
/// What is no tail is appended as it is.
pub fn push_content_first(out: &mut Vec<u8>, stream_version: u64, tail: &[u8]) {
    let Some((ids, content, end)) = parts(tail) else {
        push_stream_prefix(out, stream_version);
        return out.extend_from_slice(tail);
    };
    out.push(b'{');
    out.extend_from_slice(content);
    out.push(b',');
    push_version(out, stream_version);
    out.extend_from_slice(ids);
    out.extend_from_slice(end);
}

/// The event's and the stream's id; type, payload and metadata; what is behind them, from its comma on.
///
/// The strings around the content are passed over, and it is not looked into, however large it is.
fn parts(tail: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let stream_at = EVENT_ID_KEY.len() + ID_LEN + STREAM_ID_KEY.len();
    let ids_end = stream_at + string_len(tail.get(stream_at..)?)?;
    let time_end = tail.len().checked_sub(b"}\n".len())?;
    let time_at = string_start(tail.get(..time_end)?)?;
    let content_end = time_at.checked_sub(BEHIND_CONTENT_LEN)?;
    let content_at = ids_end + 1;
    Some((tail.get(..ids_end)?, tail.get(content_at..content_end)?, tail.get(content_end..)?))
}

/// The bytes of the JSON string that stands in front.
fn string_len(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Where the JSON string begins that ends the text: within it a quote has an odd number of backslashes before it.
fn string_start(text: &[u8]) -> Option<usize> {
    let mut end = text.len().checked_sub(1)?;
    loop {
        let at = text.get(..end)?.iter().rposition(|&byte| byte == b'"')?;
        let slashes = text.get(..at)?.iter().rev().take_while(|&&byte| byte == b'\\').count();
        if slashes % 2 == 0 {
            return Some(at);
        }
        end = at;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::super::tests::{tail, tail_of};
    use super::*;
    use crate::format::lines::parse_line;

    fn pushed(version: u64, tail: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        push_content_first(&mut out, version, tail);
        out
    }

    #[test]
    fn the_content_stands_first_and_every_byte_is_there() {
        let expected = concat!(
            r#"{"event_type":"Opened","event_data":{ "a" : 1.50 },"metadata":{},"stream_version":12,"#,
            r#""event_id":"00000000-0000-0000-0000-000000000001","stream_id":"a\"/é\n","#,
            r#""transaction_id":"00000000-0000-0000-0000-000000000002","replica_id":"00000000-0000-0000-0000-000000000003","#,
            r#""created_at":"2026-11-21T22:17:35+00:00"}"#,
            "\n"
        );
        assert_eq!(String::from_utf8(pushed(12, &tail())).unwrap(), expected);
    }

    #[test]
    fn it_is_the_line_of_the_stream_whatever_its_strings_hold() {
        let odd =
            [r#"\"#, r#"\\""#, "\"}\n", r#"","transaction_id":"x"#, "", r#"","event_type":"T","event_data":1,"metadata":2,"#, "\u{1}é"];
        for (stream, time) in odd.iter().flat_map(|stream| odd.iter().map(move |time| (stream, time))) {
            let tail = tail_of(stream, time);
            let mut line = Vec::new();
            push_stream_prefix(&mut line, 7);
            line.extend_from_slice(&tail);
            let turned = pushed(7, &tail);
            let first = br#"{"event_type":"Opened","event_data":{ "a" : 1.50 },"metadata":{},"stream_version":7,"#;
            assert!(turned.starts_with(first), "{stream} {time}");
            assert_eq!(turned.len(), line.len());
            assert_eq!(parse_line(&turned).unwrap(), parse_line(&line).unwrap());
        }
    }

    #[test]
    fn what_is_no_line_keeps_its_size() {
        let whole = tail();
        for cut in 0..whole.len() {
            assert_eq!(pushed(7, &whole[..cut]).len(), r#"{"stream_version":7,"#.len() + cut);
        }
    }
}
