//! The numbers in front of a view line.

const VERSION_KEY: &[u8] = br#""stream_version":"#;
const POSITION_KEY: &[u8] = br#""position":"#;
const SEQ_KEY: &[u8] = br#""seq_nr":"#;

/// The bytes of [`push_stream_prefix`] but for the number's [`digits`].
pub const STREAM_PREFIX_FIXED_LEN: u64 = VERSION_KEY.len() as u64 + 2;
/// The bytes of [`push_log_prefix`] but for the numbers' [`digits`].
pub const LOG_PREFIX_FIXED_LEN: u64 = STREAM_PREFIX_FIXED_LEN + POSITION_KEY.len() as u64 + 1;
/// The bytes of [`push_feed_prefix`] but for the number's [`digits`].
pub const FEED_PREFIX_FIXED_LEN: u64 = SEQ_KEY.len() as u64 + 2;

/// The most decimal digits that a number has.
const DIGITS_MAX: usize = 20;

/// Appends `{"stream_version":7,`: what `streams/`, `types/` and `categories/` have in front of a tail.
pub fn push_stream_prefix(out: &mut Vec<u8>, stream_version: u64) {
    out.push(b'{');
    push_version(out, stream_version);
}

/// Appends `"stream_version":7,`.
pub(super) fn push_version(out: &mut Vec<u8>, stream_version: u64) {
    push_field(out, VERSION_KEY, stream_version);
}

/// Appends `{"position":5,"stream_version":7,`: what `log.jsonl` has in front of a tail.
pub fn push_log_prefix(out: &mut Vec<u8>, position: u64, stream_version: u64) {
    out.push(b'{');
    push_field(out, POSITION_KEY, position);
    push_version(out, stream_version);
}

/// Appends `{"seq_nr":9,`: what `feed.jsonl` has in front of a tail.
pub fn push_feed_prefix(out: &mut Vec<u8>, seq_nr: u64) {
    out.push(b'{');
    push_field(out, SEQ_KEY, seq_nr);
}

fn push_field(out: &mut Vec<u8>, key: &[u8], mut number: u64) {
    out.extend_from_slice(key);
    let mut text = [0u8; DIGITS_MAX];
    let used = digits(number) as usize;
    for place in text.iter_mut().take(used).rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(text.get(..used).unwrap_or_default());
    out.push(b',');
}

/// The number of decimal digits.
#[must_use]
pub fn digits(number: u64) -> u64 {
    number.checked_ilog10().map_or(1, |log| u64::from(log) + 1)
}

/// The decimal digits of all numbers from 1 to `last` together.
#[must_use]
pub fn digits_up_to(last: u64) -> u64 {
    let mut sum = 0;
    let mut first = 1u64;
    let mut width = 1;
    while first <= last {
        let end = first.saturating_mul(10).saturating_sub(1).min(last);
        sum += (end - first + 1) * width;
        width += 1;
        let Some(next) = first.checked_mul(10) else { break };
        first = next;
    }
    sum
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    fn pushed(push: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        push(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn prefixes_have_the_length_that_is_told() {
        for number in [0, 1, 9, 10, 99, 100, 12_345_678_901, u64::MAX - 1, u64::MAX] {
            assert_eq!(digits(number), number.to_string().len() as u64);
            let stream = pushed(|out| push_stream_prefix(out, number));
            assert_eq!(stream, format!("{{\"stream_version\":{number},"));
            assert_eq!(stream.len() as u64, STREAM_PREFIX_FIXED_LEN + digits(number));
            let feed = pushed(|out| push_feed_prefix(out, number));
            assert_eq!(feed, format!("{{\"seq_nr\":{number},"));
            assert_eq!(feed.len() as u64, FEED_PREFIX_FIXED_LEN + digits(number));
            for other in [0, 10, u64::MAX] {
                let log = pushed(|out| push_log_prefix(out, number, other));
                assert_eq!(log, format!("{{\"position\":{number},\"stream_version\":{other},"));
                assert_eq!(log.len() as u64, LOG_PREFIX_FIXED_LEN + digits(number) + digits(other));
            }
        }
    }

    #[test]
    fn digits_of_many_numbers_are_the_sum_of_those_of_each() {
        let mut sum = 0;
        for number in 1..=12_345u64 {
            sum += digits(number);
            assert_eq!(digits_up_to(number), sum);
        }
        assert_eq!(digits_up_to(0), 0);
    }
}
