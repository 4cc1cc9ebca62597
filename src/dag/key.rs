//! The key that orders transactions, with `created_at` in twelve bytes.

use std::cmp::Ordering;

/// Marks a text that is not in canonical form: the low word is then its place among the odd texts.
const ODD: u128 = 1 << 95;
/// Days of each month, February in a leap year.
const DAYS: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
const ZONE: &[u8] = b"+00:00";

/// A `created_at` in twelve bytes, from which its exact text comes back.
///
/// A canonical text (`YYYY-MM-DDTHH:MM:SS`, a fraction of 0, 3, 6 or 9 digits, `+00:00`, a date of the calendar)
/// is held as its 14 digits, its nanoseconds and its number of fraction digits, whose order is that of the texts'
/// bytes. Any other text is held by the caller in a list of odd texts, which every function here takes.
#[derive(Clone, Copy, Debug)]
pub struct Created([u32; 3]);

impl Created {
    /// Holds a text; one that is not canonical is put at the end of `odd`.
    pub fn parse(text: &str, odd: &mut Vec<Box<str>>) -> Self {
        if let Some(packed) = parse_canonical(text.as_bytes()) {
            return Self::from_packed(packed);
        }
        let place = u32::try_from(odd.len()).unwrap_or(u32::MAX);
        odd.push(text.into());
        Self::from_packed(ODD | u128::from(place))
    }

    /// Whether the text is not in canonical form, which is a finding.
    #[must_use]
    pub fn is_odd(self) -> bool {
        self.packed() & ODD != 0
    }

    /// Compares as the bytes of the texts compare.
    #[must_use]
    pub fn compare(self, other: Self, odd: &[Box<str>]) -> Ordering {
        if self.is_odd() || other.is_odd() {
            return self.text(odd).as_bytes().cmp(other.text(odd).as_bytes());
        }
        self.0.cmp(&other.0)
    }

    /// The exact text; empty if `odd` is not the list that it was held in.
    #[must_use]
    pub fn text(self, odd: &[Box<str>]) -> String {
        let packed = self.packed();
        if packed & ODD != 0 {
            let place = (packed & u128::from(u32::MAX)) as usize;
            return odd.get(place).map(ToString::to_string).unwrap_or_default();
        }
        canonical_text(packed)
    }

    /// The three words as a persistent column keeps them.
    #[must_use]
    pub fn to_words(self) -> [u32; 3] {
        self.0
    }

    /// What [`Created::to_words`] gave.
    #[must_use]
    pub fn from_words(words: [u32; 3]) -> Self {
        Self(words)
    }

    fn packed(self) -> u128 {
        let [high, middle, low] = self.0;
        u128::from(high) << 64 | u128::from(middle) << 32 | u128::from(low)
    }

    fn from_packed(packed: u128) -> Self {
        Self([(packed >> 64) as u32, (packed >> 32) as u32, packed as u32])
    }
}

/// 14 digits of date and time above 30 bits of nanoseconds above 2 bits of a third of the fraction's digits.
fn parse_canonical(text: &[u8]) -> Option<u128> {
    let (stamp, rest) = text.split_at_checked(19)?;
    let fraction = rest.strip_suffix(ZONE)?;
    let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if !separators.iter().all(|&(at, byte)| stamp.get(at) == Some(&byte)) {
        return None;
    }
    let field = |from: usize, to: usize| stamp.get(from..to).and_then(parse_digits);
    let (year, month, day) = (field(0, 4)?, field(5, 7)?, field(8, 10)?);
    let (hour, minute, second) = (field(11, 13)?, field(14, 16)?, field(17, 19)?);
    if !is_date(year, month, day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let date = u64::from(year) * 10_000 + u64::from(month) * 100 + u64::from(day);
    let stamp = date * 1_000_000 + u64::from(hour * 10_000 + minute * 100 + second);
    let (nanos, thirds) = parse_fraction(fraction)?;
    Some(u128::from(stamp) << 32 | u128::from(nanos) << 2 | u128::from(thirds))
}

fn parse_fraction(fraction: &[u8]) -> Option<(u32, u32)> {
    if fraction.is_empty() {
        return Some((0, 0));
    }
    let digits = fraction.strip_prefix(b".")?;
    let (scale, thirds) = match digits.len() {
        3 => (1_000_000, 1),
        6 => (1_000, 2),
        9 => (1, 3),
        _ => return None,
    };
    Some((parse_digits(digits)? * scale, thirds))
}

/// At most nine digits, so the number fits.
fn parse_digits(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + u32::from(byte - b'0')))
}

fn is_date(year: u32, month: u32, day: u32) -> bool {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = month.checked_sub(1).and_then(|month| DAYS.get(month as usize));
    days.is_some_and(|&days| (1..=days).contains(&day)) && (leap || month != 2 || day != 29)
}

fn canonical_text(packed: u128) -> String {
    let stamp = (packed >> 32) as u64;
    let (nanos, thirds) = ((packed as u32) >> 2, packed as u32 & 3);
    let (date, time) = (stamp / 1_000_000, stamp % 1_000_000);
    let mut text = format!("{:04}-{:02}-{:02}T", date / 10_000, date / 100 % 100, date % 100);
    text += &format!("{:02}:{:02}:{:02}", time / 10_000, time / 100 % 100, time % 100);
    text += &match thirds {
        0 => String::new(),
        1 => format!(".{:03}", nanos / 1_000_000),
        2 => format!(".{:06}", nanos / 1_000),
        _ => format!(".{nanos:09}"),
    };
    text + "+00:00"
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical() -> impl Strategy<Value = String> {
        let fraction = prop_oneof!["", "\\.[0-9]{3}", "\\.[0-9]{6}", "\\.[0-9]{9}", "\\.000", "\\.000000", "\\.100000", "\\.1000000[01]0"];
        let stamp = (0..3u32, 1..13u32, 1..29u32, 0..24u32, 0..60u32, 0..3u32);
        (stamp, fraction).prop_map(|((year, month, day, hour, minute, second), fraction)| {
            format!("{:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}+00:00", year * 1013)
        })
    }

    fn any_text() -> impl Strategy<Value = String> {
        let near = (canonical(), 0..40usize, "[ -~]?").prop_map(|(text, at, byte)| {
            let at = at.min(text.len());
            format!("{}{byte}{}", &text[..at], text.get(at + 1..).unwrap_or_default())
        });
        prop_oneof![4 => canonical(), 2 => near, 1 => ".{0,12}", 1 => "2026-0[0-9]-3[01]T2[0-9]:00:6[0-9](Z|\\+00:00)"]
    }

    proptest! {
        #[test]
        fn order_is_that_of_the_bytes(texts in prop::collection::vec(any_text(), 2..12)) {
            let mut odd = Vec::new();
            let held: Vec<_> = texts.iter().map(|text| Created::parse(text, &mut odd)).collect();
            for (text, created) in texts.iter().zip(&held) {
                prop_assert_eq!(&created.text(&odd), text);
                prop_assert_eq!(&Created::from_words(created.to_words()).text(&odd), text);
                for (other_text, other) in texts.iter().zip(&held) {
                    prop_assert_eq!(created.compare(*other, &odd), text.as_bytes().cmp(other_text.as_bytes()));
                }
            }
        }

        #[test]
        fn canonical_texts_need_no_list(text in canonical()) {
            let mut odd = Vec::new();
            prop_assert!(!Created::parse(&text, &mut odd).is_odd());
            prop_assert!(odd.is_empty());
        }
    }

    #[test]
    fn twelve_bytes_hold_it() {
        assert_eq!(size_of::<Created>(), 12);
    }

    #[test]
    fn what_is_no_date_is_odd() {
        let texts = ["2026-02-29T00:00:00+00:00", "1900-02-29T00:00:00+00:00", "2026-13-01T00:00:00+00:00", "2026-00-01T00:00:00+00:00"];
        let others = ["2026-01-01T24:00:00+00:00", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.1+00:00", "2026-01-01 00:00:00+00:00", ""];
        for text in texts.iter().chain(&others) {
            let mut odd = Vec::new();
            assert!(Created::parse(text, &mut odd).is_odd(), "{text}");
        }
        let mut odd = Vec::new();
        assert!(!Created::parse("2024-02-29T23:59:59.999999999+00:00", &mut odd).is_odd());
    }
}
