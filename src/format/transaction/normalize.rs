//! From the bytes of a file to a text that can be read: checked, or healed of what mail, editors and git did to it.

use std::borrow::Cow;
use std::fmt;

use memchr::memchr;

use super::header::{self, RawHeader};
use super::{Oddity, Refusal, content_hash};
use crate::format::json::push_hex;
use crate::format::text::shorten;
use crate::model::Header;

const BOM: &[u8] = "\u{feff}".as_bytes();

/// What was wrong with the end of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FinalNewline {
    /// One newline too many.
    Extra,
    /// One newline too few.
    Missing,
}

/// What had to be undone for a file to be what its writer wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Healing {
    /// A byte order mark stood in front.
    pub bom: bool,
    /// Line ends were `\r\n`.
    pub carriage_returns: bool,
    /// The end had a newline too many or too few.
    pub final_newline: Option<FinalNewline>,
}

impl fmt::Display for Healing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self.final_newline.map(|end| match end {
            FinalNewline::Extra => "one final newline too many",
            FinalNewline::Missing => "one final newline too few",
        });
        let parts = [self.bom.then_some("a byte order mark in front"), self.carriage_returns.then_some("\\r before line ends"), end];
        for (n, part) in parts.into_iter().flatten().enumerate() {
            write!(f, "{}{part}", if n == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// A file's text with a valid header and the payload that the header was written for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Normal<'a> {
    /// The text as its writer wrote it; the file's own bytes unless healed.
    pub text: Cow<'a, str>,
    line_len: usize,
    /// What was undone, if anything.
    pub healing: Option<Healing>,
    /// The first line, read.
    pub header: Header,
    /// What is odd about the first line.
    pub oddities: Vec<Oddity>,
}

impl Normal<'_> {
    /// The first line, without its line end.
    #[must_use]
    pub fn line(&self) -> &str {
        self.text.get(..self.line_len).unwrap_or_default()
    }

    /// Everything behind the first line end.
    #[must_use]
    pub fn payload(&self) -> &str {
        self.text.get(self.line_len + 1..).unwrap_or_default()
    }
}

/// Checks the encoding, the header and the content hash of a file, and heals what can be healed.
///
/// # Errors
/// Bytes that are not UTF-8, a first line that is not a header, a payload that the hash does not fit.
pub fn normalize(bytes: &[u8]) -> Result<Normal<'_>, Refusal> {
    let text = std::str::from_utf8(bytes).map_err(|error| Refusal::NotUtf8 { at: error.valid_up_to() as u64 })?;
    let plain = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut healing = Healing { bom: bytes.starts_with(BOM), ..Healing::default() };
    let end = memchr(b'\n', plain.as_bytes());
    let (line, payload) = end.and_then(|end| plain.split_at_checked(end)).ok_or_else(missing_end)?;
    let payload = payload.strip_prefix('\n').unwrap_or_default();
    let RawHeader { header, hash, oddities } = header::parse_raw(line)?;
    let Some(expected) = hash else {
        return Ok(normal(Cow::Borrowed(plain), line.len(), healing, header, oddities));
    };
    let actual = content_hash(payload.as_bytes());
    if header.content_hash == Some(actual) {
        return Ok(normal(Cow::Borrowed(plain), line.len(), healing, header, oddities));
    }
    match header.content_hash.and_then(|hash| heal(line, payload, &hash, &mut healing)) {
        Some((line_len, text)) => Ok(normal(Cow::Owned(text), line_len, healing, header, oddities)),
        None => Err(hash_differs(&expected, &actual)),
    }
}

fn normal(text: Cow<'_, str>, line_len: usize, healing: Healing, header: Header, oddities: Vec<Oddity>) -> Normal<'_> {
    Normal { text, line_len, healing: (healing != Healing::default()).then_some(healing), header, oddities }
}

pub(super) fn missing_end() -> Refusal {
    Refusal::line(1, "header has no line end")
}

pub(super) fn hash_differs(expected: &str, actual: &[u8; 32]) -> Refusal {
    let mut hex = Vec::with_capacity(64);
    push_hex(&mut hex, actual);
    Refusal::HashDiffers { expected: shorten(expected.to_owned()), actual: String::from_utf8_lossy(&hex).into_owned() }
}

/// Tries the payloads that the writer may have written; the hash decides which it was. Gives the length of the first line and the text.
fn heal(line: &str, payload: &str, hash: &[u8; 32], healing: &mut Healing) -> Option<(usize, String)> {
    let unix = without_carriage_returns(payload);
    let found = mend_end(payload, hash).map(|(end, payload)| (false, end, payload));
    let (carriage_returns, end, payload) = found.or_else(|| {
        let unix = unix?;
        if content_hash(unix.as_bytes()) == *hash {
            Some((true, None, unix))
        } else {
            mend_end(&unix, hash).map(|(end, payload)| (true, end, payload))
        }
    })?;
    healing.carriage_returns = carriage_returns;
    healing.final_newline = end;
    let line = if carriage_returns { line.trim_end_matches('\r') } else { line };
    Some((line.len(), [line, "\n", &payload].concat()))
}

fn mend_end(payload: &str, hash: &[u8; 32]) -> Option<(Option<FinalNewline>, String)> {
    let shorter = payload.strip_suffix('\n').filter(|payload| content_hash(payload.as_bytes()) == *hash);
    if let Some(payload) = shorter {
        return Some((Some(FinalNewline::Extra), payload.to_owned()));
    }
    let longer = [payload, "\n"].concat();
    (content_hash(longer.as_bytes()) == *hash).then_some((Some(FinalNewline::Missing), longer))
}

/// The payload with `\n` for `\r\n`, if that changes it.
fn without_carriage_returns(payload: &str) -> Option<String> {
    payload.contains("\r\n").then(|| payload.replace("\r\n", "\n"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::super::twin_tests::sample;
    use super::*;

    fn healed(bytes: &[u8]) -> Option<Healing> {
        let normal = normalize(bytes).unwrap();
        let written = String::from_utf8(sample(2)).unwrap();
        assert_eq!(normal.text, written);
        assert_eq!(Some((normal.line(), normal.payload())), written.split_once('\n'));
        normal.healing
    }

    fn with_crlf(bytes: &[u8]) -> Vec<u8> {
        String::from_utf8(bytes.to_vec()).unwrap().replace('\n', "\r\n").into_bytes()
    }

    #[test]
    fn every_healing_gives_back_the_file() {
        let file = sample(2);
        let crlf = with_crlf(&file);
        let cut = &file[..file.len() - 1];
        let (extra, missing) = (Some(FinalNewline::Extra), Some(FinalNewline::Missing));
        assert_eq!(healed(&file), None);
        let heal = |bom, carriage_returns, final_newline| Some(Healing { bom, carriage_returns, final_newline });
        assert_eq!(healed(&[BOM, &file].concat()), heal(true, false, None));
        assert_eq!(healed(&crlf), heal(false, true, None));
        assert_eq!(healed(cut), heal(false, false, missing));
        assert_eq!(healed(&[&file[..], b"\n"].concat()), heal(false, false, extra));
        assert_eq!(healed(&[&crlf[..], b"\r\n"].concat()), heal(false, true, extra));
        assert_eq!(healed(&crlf[..crlf.len() - 2]), heal(false, true, missing));
        assert_eq!(healed(&[BOM, &with_crlf(cut)].concat()), heal(true, true, missing));
        assert_eq!(
            heal(true, true, missing).unwrap().to_string(),
            "a byte order mark in front, \\r before line ends, one final newline too few"
        );
    }

    #[test]
    fn a_file_without_events_heals_too() {
        let file = sample(0);
        assert!(file.ends_with(b"}\n\n"));
        let cut = normalize(&file[..file.len() - 1]).unwrap();
        assert_eq!((cut.text.as_bytes(), cut.healing.unwrap().final_newline), (&file[..], Some(FinalNewline::Missing)));
        assert!(matches!(normalize(&file[..file.len() - 2]), Err(Refusal::NotThisFormat { line: 1, .. })));
    }

    #[test]
    fn what_cannot_be_healed_is_refused() {
        let file = sample(2);
        assert!(matches!(normalize(&[&file[..], b"\n\n"].concat()), Err(Refusal::HashDiffers { .. })));
        let text = String::from_utf8(file).unwrap();
        let edited = text.replace("\"n\":1", "\"n\":2");
        let Err(Refusal::HashDiffers { expected, actual }) = normalize(edited.as_bytes()) else { panic!("accepted") };
        assert!(text.contains(&expected) && actual.len() == 64 && actual != expected);
        let upper = text.replace(&expected, &expected.to_uppercase());
        assert!(matches!(normalize(upper.as_bytes()), Err(Refusal::HashDiffers { .. })));
        let mut latin = text.into_bytes();
        latin[40] = 0xE9;
        assert_eq!(normalize(&latin).unwrap_err(), Refusal::NotUtf8 { at: 40 });
    }
}
