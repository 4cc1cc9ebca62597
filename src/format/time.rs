//! The times of a header: written as `eventcore-fs` writes them, read as RFC 3339.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::civil::date;
use jiff::fmt::temporal::{Pieces, PiecesOffset};
use jiff::tz::{Offset, TimeZone};
use uuid::{NoContext, Uuid};

/// Renders a time as a header's `created_at`: UTC as `+00:00`, with the shortest of 0, 3, 6 or 9 digits of fraction that loses nothing.
///
/// A time outside the years 0 to 9999 becomes the nearest one inside.
#[must_use]
pub fn created_at(time: SystemTime) -> String {
    format_nanos(nanos(time))
}

/// Makes an id of version 7, by the machine's clock.
#[must_use]
pub fn new_uuid() -> Uuid {
    uuid_at(SystemTime::now())
}

/// Makes an id of version 7 at a time. Before 1970, where it can have none, it has the first one.
fn uuid_at(now: SystemTime) -> Uuid {
    // Those that one process makes within a millisecond are in order by what the library keeps for that.
    if now >= UNIX_EPOCH { Uuid::now_v7() } else { Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, 0, 0)) }
}

/// Renders nanoseconds since the epoch as [`created_at`] does.
#[must_use]
pub fn format_nanos(nanos: i128) -> String {
    const FIRST: i128 = -62_167_219_200_000_000_000;
    const LAST: i128 = 253_402_207_200_999_999_999;
    let time = Timestamp::from_nanosecond(nanos.clamp(FIRST, LAST)).unwrap_or_default();
    let civil = TimeZone::UTC.to_datetime(time);
    let whole = civil.strftime("%Y-%m-%dT%H:%M:%S");
    let fraction = civil.subsec_nanosecond();
    match fraction {
        0 => format!("{whole}+00:00"),
        f if f % 1_000_000 == 0 => format!("{whole}.{:03}+00:00", f / 1_000_000),
        f if f % 1_000 == 0 => format!("{whole}.{:06}+00:00", f / 1_000),
        f => format!("{whole}.{f:09}+00:00"),
    }
}

/// Tells whether a `created_at` has exactly the form that headers are written in.
#[must_use]
pub fn is_canonical(text: &str) -> bool {
    let Some((date, fraction)) = text.strip_suffix("+00:00").and_then(|text| text.split_at_checked(19)) else {
        return false;
    };
    let form =
        date.bytes().zip(b"dddd-dd-ddTdd:dd:dd").all(|(byte, form)| if *form == b'd' { byte.is_ascii_digit() } else { byte == *form });
    let fraction_fits = match fraction.strip_prefix('.') {
        Some(digits) => matches!(digits.len(), 3 | 6 | 9) && digits.bytes().all(|byte| byte.is_ascii_digit()),
        None => fraction.is_empty(),
    };
    form && fraction_fits && is_date_and_time(date)
}

fn is_date_and_time(text: &str) -> bool {
    let number = |from: usize, to: usize| text.get(from..to).and_then(|digits| digits.parse::<u32>().ok()).unwrap_or(u32::MAX);
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 0,
    };
    (1..=days).contains(&day) && number(11, 13) < 24 && number(14, 16) < 60 && number(17, 19) < 60
}

/// Reads a time of RFC 3339 with its zone as nanoseconds since the epoch, rounded down. A leap second is the last nanosecond of its minute.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<i128> {
    let text = &*on_scale(text)?;
    match text.parse::<Timestamp>() {
        Ok(time) => Some(time.as_nanosecond()),
        // A timestamp ends with the last moment that every zone has in the year 9999, and "for ever" is often written as one after it.
        Err(_) => parse_outside_timestamps(text),
    }
}

/// The same time as this scale has it: without leap seconds, and with nine digits of a fraction at most. None for a zone that RFC 3339 does
/// not know.
fn on_scale(text: &str) -> Option<Cow<'_, str>> {
    const SECONDS_END: usize = "0000-00-00T00:00:00".len();
    const FRACTION_LEN_MAX: usize = ".000000000".len();
    let Some((whole, rest)) = text.split_at_checked(SECONDS_END) else { return Some(text.into()) };
    let digits = rest.strip_prefix('.').map_or(0, |rest| rest.bytes().take_while(u8::is_ascii_digit).count());
    let (fraction, zone) = rest.split_at(if digits > 0 { digits + 1 } else { 0 });
    let hours = zone.strip_prefix(['+', '-']).and_then(|offset| offset.get(..2)?.parse::<u8>().ok());
    if hours.is_some_and(|hours| hours >= 24) {
        return None;
    }
    Some(match (whole.strip_suffix(":60"), fraction.get(..FRACTION_LEN_MAX)) {
        (Some(minute), _) => format!("{minute}:59.999999999{zone}").into(),
        (None, Some(nanos)) => format!("{whole}{nanos}{zone}").into(),
        (None, None) => text.into(),
    })
}

/// A time as nanoseconds since 1970, below 0 before.
#[must_use]
pub fn nanos(time: SystemTime) -> i128 {
    let signed = |distance: Duration| i128::try_from(distance.as_nanos()).unwrap_or(i128::MAX);
    time.duration_since(UNIX_EPOCH).map_or_else(|before| -signed(before.duration()), signed)
}

/// The time that is so many nanoseconds after 1970, or before it; 1970 for one that no time can be.
#[must_use]
pub fn at_nanos(nanos: i128) -> SystemTime {
    const SECOND_NS: u128 = 1_000_000_000;
    let (seconds, rest) = (nanos.unsigned_abs() / SECOND_NS, nanos.unsigned_abs() % SECOND_NS);
    let distance = Duration::new(u64::try_from(seconds).unwrap_or(u64::MAX), u32::try_from(rest).unwrap_or(0));
    let time = if nanos < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
    time.unwrap_or(UNIX_EPOCH)
}

fn parse_outside_timestamps(text: &str) -> Option<i128> {
    let pieces = Pieces::parse(text).ok()?;
    let offset = match pieces.offset()? {
        PiecesOffset::Numeric(numeric) => numeric.offset(),
        _ => Offset::UTC,
    };
    let civil = pieces.date().to_datetime(pieces.time()?);
    let there = civil.duration_since(date(1970, 1, 1).at(0, 0, 0, 0)).as_nanos();
    Some(there - i128::from(offset.seconds()) * 1_000_000_000)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_time_of_any_year_is_the_same_as_nanoseconds() {
        for text in [
            "0000-01-01T00:00:00+00:00",
            "1969-12-31T23:59:59.999999999+00:00",
            "2300-01-01T00:00:00.000000001+00:00",
            "9999-12-30T00:00:00+00:00",
        ] {
            let parsed = parse_rfc3339(text).unwrap();
            assert_eq!((created_at(at_nanos(parsed)).as_str(), nanos(at_nanos(parsed))), (text, parsed));
        }
        assert_eq!((at_nanos(i128::MAX), at_nanos(i128::MIN)), (UNIX_EPOCH, UNIX_EPOCH));
    }

    #[test]
    fn has_as_many_digits_as_it_needs() {
        let at = |nanos| created_at(UNIX_EPOCH + Duration::new(1_763_763_455, nanos));
        assert_eq!(at(0), "2025-11-21T22:17:35+00:00");
        assert_eq!(at(120_000_000), "2025-11-21T22:17:35.120+00:00");
        assert_eq!(at(129_118_000), "2025-11-21T22:17:35.129118+00:00");
        assert_eq!(at(129_118_736), "2025-11-21T22:17:35.129118736+00:00");
        assert_eq!(created_at(UNIX_EPOCH - Duration::from_millis(1)), "1969-12-31T23:59:59.999+00:00");
        assert!(is_canonical(&format_nanos(i128::MAX)) && is_canonical(&format_nanos(i128::MIN)));
    }

    #[test]
    fn other_forms_are_odd() {
        let good = ["2024-02-29T00:00:00+00:00", "2000-02-29T23:59:59.123+00:00", "0000-01-01T00:00:00.000000001+00:00"];
        assert!(good.iter().all(|text| is_canonical(text)));
        let odd = [
            "",
            "2025-11-21T22:17:35Z",
            "2025-11-21T22:17:35.1+00:00",
            "2025-11-21T22:17:35.+00:00",
            "2025-11-21 22:17:35+00:00",
            "2025-11-21T24:17:35+00:00",
            "2025-13-21T22:17:35+00:00",
            "2025-02-29T22:17:35+00:00",
            "1900-02-29T22:17:35+00:00",
            "2025-11-21T22:17:35+01:00",
            "2025-11-21T22:17:3é+00:00",
            "2025-11-00T22:17:35+00:00",
            "+025-11-21T22:17:35+00:00",
        ];
        for text in odd {
            assert!(!is_canonical(text), "{text}");
        }
    }

    #[test]
    fn a_time_needs_its_zone() {
        assert_eq!(parse_rfc3339("1970-01-01T01:00:00.000000001+01:00"), Some(1));
        assert_eq!(parse_rfc3339("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(parse_rfc3339("1970-01-01T00:00:00"), None);
        assert_eq!(parse_rfc3339("yesterday"), None);
    }

    #[test]
    fn a_time_may_be_finer_than_a_nanosecond_or_a_leap_second() {
        for (text, like) in [
            ("2017-01-01T00:00:00.5000000010Z", "2017-01-01T00:00:00.500000001Z"),
            ("2017-01-01T00:00:00.00000000099999999999999999999999+00:00", "2017-01-01T00:00:00Z"),
            ("1969-12-31T23:59:59.9999999999-01:00", "1970-01-01T00:59:59.999999999Z"),
            ("9999-12-31T23:59:59.9999999999Z", "9999-12-31T23:59:59.999999999Z"),
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999999999Z"),
            ("2016-12-31T18:59:60.5-05:00", "2016-12-31T23:59:59.999999999Z"),
        ] {
            assert!(parse_rfc3339(text).is_some() && parse_rfc3339(text) == parse_rfc3339(like), "{text}");
        }
        for text in ["2017-01-01T00:00:00+24:00", "2017-01-01T00:00:00.5-25:00", "2017-01-01T00:00:61Z", "2017-01-01T00:00:60.Z"] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }

    /// "For ever" was called no time of RFC 3339.
    #[test]
    fn a_time_may_be_the_last_of_the_year_9999() {
        let last_nanos = 253_402_300_799_000_000_000;
        for (text, nanos) in [
            ("9999-12-30T22:00:00Z", 253_402_207_200_000_000_000),
            ("9999-12-30T22:00:01Z", 253_402_207_201_000_000_000),
            ("9999-12-31T23:59:59Z", last_nanos),
            ("9999-12-31T23:59:59+00:00", last_nanos),
            ("9999-12-31T23:59:59.999999999Z", last_nanos + 999_999_999),
            ("9999-12-31T23:59:59-23:59", last_nanos + 86_340_000_000_000),
            ("0000-01-01T00:00:00+23:59", -62_167_219_200_000_000_000 - 86_340_000_000_000),
        ] {
            assert_eq!(parse_rfc3339(text), Some(nanos), "{text}");
        }
        for text in ["9999-12-31T23:59:59", "9999-12-31Z", "9999-12-31", "9999-12-32T00:00:00Z", "9999-12-31T23:59:59+99:00"] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_canonical_and_read_back(nanos in -62_167_219_200_000_000_000_i128..253_402_207_200_000_000_000) {
            for nanos in [nanos, nanos / 1_000 * 1_000, nanos / 1_000_000 * 1_000_000, nanos / 1_000_000_000 * 1_000_000_000] {
                let text = format_nanos(nanos);
                prop_assert!(is_canonical(&text));
                prop_assert_eq!(parse_rfc3339(&text), Some(nanos));
            }
        }

        #[test]
        fn canonical_is_never_a_panic(text in "[0-9TZ:.+é-]{0,40}") {
            let _ = is_canonical(&text);
            let _ = parse_rfc3339(&text);
        }
    }

    /// A machine whose clock begins before 1970 made every commit panic.
    #[test]
    fn an_id_can_be_made_at_any_time() {
        for now in [UNIX_EPOCH - Duration::from_secs(86_400), UNIX_EPOCH, SystemTime::now()] {
            assert_eq!(uuid_at(now).get_version_num(), 7);
        }
        assert_ne!(uuid_at(UNIX_EPOCH - Duration::from_secs(1)), uuid_at(UNIX_EPOCH - Duration::from_secs(1)));
    }
}
