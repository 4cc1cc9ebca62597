//! Events on standard output, for `log`, `stream` and `feed`: chosen, limited, for people or for programs.

use std::borrow::Cow;
use std::collections::VecDeque;

use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Session;
use super::failure::{Failure, Kind, Result};
use super::glob;
use super::harmless::harmless;
use crate::view::{File, Lines};

/// So much is rendered at a time.
const CHUNK_BYTES: usize = 1 << 18;

/// So much of a payload is shown to people.
const SHOWN_CHARS_MAX: usize = 120;

/// Which events are printed.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Choice {
    /// Only what comes after this number (of the first column)
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) after: u64,
    /// At most so many events
    #[arg(long, value_name = "N")]
    pub(super) limit: Option<u64>,
    /// Only the last so many of what is chosen
    #[arg(long, value_name = "N", conflicts_with = "limit")]
    pub(super) last: Option<u64>,
    /// Only events of this type; `*` and `?` match any text and any character
    #[arg(long = "type", value_name = "GLOB")]
    pub(super) event_type: Option<String>,
}

/// One line of a view, as far as it is shown or chosen by.
#[derive(Deserialize)]
struct Line<'a> {
    position: Option<u64>,
    seq_nr: Option<u64>,
    stream_version: Option<u64>,
    #[serde(default, borrow)]
    stream_id: Cow<'a, str>,
    #[serde(default, borrow)]
    event_type: Cow<'a, str>,
    #[serde(default, borrow)]
    event_id: Cow<'a, str>,
    #[serde(default, borrow)]
    created_at: Cow<'a, str>,
    #[serde(borrow)]
    event_data: Option<&'a RawValue>,
    #[serde(default)]
    gone: bool,
}

impl Line<'_> {
    fn is_chosen(&self, choice: &Choice, stream: Option<&str>) -> bool {
        let fits = |pattern: Option<&str>, text: &str| pattern.is_none_or(|pattern| glob::matches(pattern, text));
        fits(choice.event_type.as_deref(), &self.event_type) && fits(stream, &self.stream_id)
    }

    fn render(&self) -> String {
        let number = self.position.or(self.seq_nr).or(self.stream_version).unwrap_or(0);
        if self.gone {
            return format!("{number:>7}  {} is gone", harmless(&self.event_id));
        }
        // In one stream's own view the number in front says it already.
        let version = self.position.and(self.stream_version).map(|version| format!(" v{version}")).unwrap_or_default();
        // To the second; the exact time is for programs.
        let time = self.created_at.get(..19).unwrap_or(&self.created_at).replace('T', " ");
        let data = self.event_data.map_or("", RawValue::get);
        let mut shown: String = data.chars().take(SHOWN_CHARS_MAX).collect();
        if shown.len() < data.len() {
            shown.push('…');
        }
        format!(
            "{number:>7}  {}  {}{version}  {}  {}",
            harmless(&time),
            harmless(&self.stream_id),
            harmless(&self.event_type),
            harmless(&shown)
        )
    }
}

/// An event's line of a view for people; what is none as it stands.
pub(super) fn rendered(line: &[u8]) -> String {
    let parsed: Option<Line<'_>> = serde_json::from_slice(line).ok();
    parsed.map_or_else(|| harmless(&String::from_utf8_lossy(line)).into_owned(), |line| line.render())
}

/// Prints the chosen events of a view.
pub(super) fn print(session: &mut Session, view: &File, choice: &Choice, stream: Option<&str>) -> Result {
    let Some(lines) = view.lines() else { return Err(Failure::new(Kind::Failed, "the view has no lines")) };
    if let Some(count) = choice.last {
        return last_chosen(choice.after, lines.len(), count, |from| {
            let mut chosen = VecDeque::new();
            each_line(&lines.clone().after(from), |line| {
                if parsed(line)?.is_chosen(choice, stream) {
                    keep_last(&mut chosen, count, line.to_vec());
                }
                Ok(true)
            })?;
            Ok(chosen)
        })?
        .iter()
        .try_for_each(|line| print_line(session, line, choice, stream).map(drop));
    }
    let lines = lines.clone().after(choice.after);
    let mut left = choice.limit.unwrap_or(u64::MAX);
    let is_everything = session.out.is_json() && choice.event_type.is_none() && stream.is_none() && choice.limit.is_none();
    if is_everything {
        return each_chunk(&lines, |bytes| session.out.bytes(bytes).map(|()| true));
    }
    each_line(&lines, |line| {
        left = left.saturating_sub(u64::from(left > 0 && print_line(session, line, choice, stream)?));
        Ok(left > 0)
    })
}

/// The last so many lines that are chosen of those from `after` up to `end`: `chosen` gives the last ones behind a number, and is asked for
/// a few first, then for more and more before them until there are enough.
///
/// Costs four thirds of the last look.
pub(super) fn last_chosen(
    after: u64,
    end: u64,
    count: u64,
    mut chosen: impl FnMut(u64) -> Result<VecDeque<Vec<u8>>>,
) -> Result<VecDeque<Vec<u8>>> {
    let mut window = count;
    loop {
        let from = end.saturating_sub(window).max(after);
        let found = chosen(from)?;
        if found.len() as u64 >= count || from == after {
            return Ok(found);
        }
        window = window.saturating_mul(4);
    }
}

/// Adds a line, and lets go of the first one where there are more than so many.
pub(super) fn keep_last(lines: &mut VecDeque<Vec<u8>>, count: u64, line: Vec<u8>) {
    lines.push_back(line);
    if lines.len() as u64 > count {
        lines.pop_front();
    }
}

fn parsed(line: &[u8]) -> Result<Line<'_>> {
    serde_json::from_slice(line).map_err(|error| Failure::new(Kind::Failed, "a line of a view is damaged").because(&error))
}

/// Renders a view piece by piece, whatever its size, until `each` says false.
pub(super) fn each_chunk(lines: &Lines, mut each: impl FnMut(&[u8]) -> Result<bool>) -> Result {
    let mut offset = 0;
    while offset < lines.size() {
        let bytes = lines.read(offset, CHUNK_BYTES);
        if bytes.is_empty() || !each(&bytes)? {
            break;
        }
        offset += bytes.len() as u64;
    }
    Ok(())
}

/// Renders a view line by line, each with its end, until `each` says false.
pub(super) fn each_line(lines: &Lines, mut each: impl FnMut(&[u8]) -> Result<bool>) -> Result {
    let mut rest = Vec::new();
    each_chunk(lines, |bytes| {
        rest.extend_from_slice(bytes);
        let whole = memchr::memrchr(b'\n', &rest).map_or(0, |end| end + 1);
        let tail = rest.split_off(whole);
        for line in std::mem::replace(&mut rest, tail).split_inclusive(|byte| *byte == b'\n') {
            if !each(line)? {
                return Ok(false);
            }
        }
        Ok(true)
    })
}

/// Prints a line if it is chosen; tells whether it was.
pub(super) fn print_line(session: &mut Session, bytes: &[u8], choice: &Choice, stream: Option<&str>) -> Result<bool> {
    let line = parsed(bytes)?;
    if !line.is_chosen(choice, stream) {
        return Ok(false);
    }
    if session.out.is_json() {
        session.out.bytes(bytes)?
    } else {
        session.out.line(line.render())?
    }
    Ok(true)
}
