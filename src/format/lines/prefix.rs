//! The numbers in front of a view line.

use std::ops::Deref;

const VERSION_KEY: &[u8] = br#""stream_version":"#;
const POSITION_KEY: &[u8] = br#""position":"#;
const SEQ_KEY: &[u8] = br#""seq_nr":"#;

/// The longest prefix: both numbers of `log.jsonl` with 20 digits each.
const PREFIX_LEN_MAX: usize = 80;

/// The front of a view line, rendered without allocation.
#[derive(Clone, Copy, Debug)]
pub struct Prefix {
    bytes: [u8; PREFIX_LEN_MAX],
    len: usize,
}

impl Prefix {
    /// The rendered bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn new() -> Self {
        Self { bytes: [0; PREFIX_LEN_MAX], len: 0 }.with(b"{")
    }

    fn with(mut self, text: &[u8]) -> Self {
        if let Some(place) = self.bytes.get_mut(self.len..self.len + text.len()) {
            place.copy_from_slice(text);
            self.len += text.len();
        }
        self
    }

    /// Appends a number and the comma behind it.
    fn with_number(mut self, mut number: u64) -> Self {
        let end = self.len + digits(number);
        for place in self.bytes.get_mut(self.len..end).into_iter().flatten().rev() {
            *place = b'0' + (number % 10) as u8;
            number /= 10;
        }
        self.len = end;
        self.with(b",")
    }
}

impl Deref for Prefix {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_bytes()
    }
}

/// The number of decimal digits.
#[must_use]
pub fn digits(number: u64) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// `{"stream_version":7,`: what `streams/`, `types/` and `categories/` have in front of a tail.
#[must_use]
pub fn stream_prefix(stream_version: u64) -> Prefix {
    Prefix::new().with(VERSION_KEY).with_number(stream_version)
}

/// `{"position":5,"stream_version":7,`: what `log.jsonl` has in front of a tail.
#[must_use]
pub fn log_prefix(position: u64, stream_version: u64) -> Prefix {
    Prefix::new().with(POSITION_KEY).with_number(position).with(VERSION_KEY).with_number(stream_version)
}

/// `{"seq_nr":9,`: what `feed.jsonl` has in front of a tail.
#[must_use]
pub fn feed_prefix(seq_nr: u64) -> Prefix {
    Prefix::new().with(SEQ_KEY).with_number(seq_nr)
}

/// The number of bytes of [`stream_prefix`].
#[must_use]
pub fn stream_prefix_len(stream_version: u64) -> usize {
    VERSION_KEY.len() + 2 + digits(stream_version)
}

/// The number of bytes of [`log_prefix`].
#[must_use]
pub fn log_prefix_len(position: u64, stream_version: u64) -> usize {
    POSITION_KEY.len() + VERSION_KEY.len() + 3 + digits(position) + digits(stream_version)
}

/// The number of bytes of [`feed_prefix`].
#[must_use]
pub fn feed_prefix_len(seq_nr: u64) -> usize {
    SEQ_KEY.len() + 2 + digits(seq_nr)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_have_the_length_that_is_told() {
        for number in [0, 1, 9, 10, 99, 100, 12_345_678_901, u64::MAX - 1, u64::MAX] {
            assert_eq!(digits(number), number.to_string().len());
            assert_eq!(&*stream_prefix(number), format!("{{\"stream_version\":{number},").as_bytes());
            assert_eq!(&*feed_prefix(number), format!("{{\"seq_nr\":{number},").as_bytes());
            assert_eq!(stream_prefix_len(number), stream_prefix(number).len());
            assert_eq!(feed_prefix_len(number), feed_prefix(number).len());
            for other in [0, 10, u64::MAX] {
                assert_eq!(&*log_prefix(number, other), format!("{{\"position\":{number},\"stream_version\":{other},").as_bytes());
                assert_eq!(log_prefix_len(number, other), log_prefix(number, other).len());
            }
        }
    }
}
