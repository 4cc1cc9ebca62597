//! The lines of the log.

use std::io::Write as _;

use serde::Deserialize;
use uuid::Uuid;

use crate::model::EventId;

/// What our own and eventcore-fs's lines begin with.
const START: &[u8] = b"{\"event_id\":\"";
/// What stands between the id and the number.
const MIDDLE: &[u8] = b"\",\"seq\":";
/// Length of a UUID as text.
const ID_LEN: usize = 36;
/// Problems that are kept; a file of another kind would have one a line.
const PROBLEMS_MAX: usize = 100;

/// Something odd about the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogProblem {
    /// A line before the last whole one is no line of a log: eventcore-fs cannot open the store.
    Unreadable {
        /// The number that would come next there.
        seq_nr: u64,
    },
    /// Numbers are missing before this one: no line says which event had them.
    Skipped {
        /// The first that is missing.
        first: u64,
        /// The number after the gap.
        seq_nr: u64,
    },
    /// A number was given a second time; the first line counts.
    Repeated {
        /// The number.
        seq_nr: u64,
    },
}

#[derive(Deserialize)]
struct Line {
    event_id: Uuid,
    seq: u64,
}

/// Takes whole lines and answers the bytes up to the end of the last one; what follows is torn.
///
/// Lines that cannot be read count as torn as long as no readable one follows them: a loss of power may leave zeros.
pub(super) fn parse_lines(bytes: &[u8], ids: &mut Vec<EventId>, problems: &mut Vec<LogProblem>) -> u64 {
    let mut start = 0;
    let mut whole = 0;
    let mut unreadable = 0_usize;
    // A gap may be no longer than the log has bytes, or a damaged number could ask for any amount of memory.
    let seq_nr_max = (ids.len() as u64).saturating_add(bytes.len() as u64);
    for end in memchr::memchr_iter(b'\n', bytes) {
        let line = bytes.get(start..end).unwrap_or_default();
        start = end + 1;
        let parsed = parse_line(line).filter(|line| (1..=seq_nr_max).contains(&line.seq));
        let next = ids.len() as u64 + 1;
        if parsed.as_ref().is_some_and(|line| line.seq > next) && goes_on_from(next, bytes.get(start..).unwrap_or_default()) {
            // A number that is damaged: the line behind tells that there is no gap. Its event is one of which no line says anything.
            continue;
        }
        match parsed {
            Some(line) => {
                if unreadable > 0 {
                    note(problems, LogProblem::Unreadable { seq_nr: ids.len() as u64 + 1 });
                    unreadable = 0;
                }
                take_line(&line, ids, problems);
                whole = start;
            }
            None if line.trim_ascii().is_empty() && !line.contains(&0) && unreadable == 0 => whole = start,
            None => unreadable += 1,
        }
    }
    whole as u64
}

/// Whether the first of these lines gives the number behind `seq_nr`.
fn goes_on_from(seq_nr: u64, lines: &[u8]) -> bool {
    lines.split(|&byte| byte == b'\n').next().and_then(parse_line).is_some_and(|line| line.seq == seq_nr + 1)
}

/// Whether an end without its line end is a whole line behind so many numbers: eventcore-fs reads it like any other.
pub(super) fn is_whole_line(end: &[u8], latest: usize) -> bool {
    let seq_nr_max = (latest as u64).saturating_add(end.len() as u64);
    parse_line(end).is_some_and(|line| (1..=seq_nr_max).contains(&line.seq))
}

fn take_line(line: &Line, ids: &mut Vec<EventId>, problems: &mut Vec<LogProblem>) {
    let next = ids.len() as u64 + 1;
    if line.seq < next {
        note(problems, LogProblem::Repeated { seq_nr: line.seq });
        return;
    }
    if line.seq > next {
        note(problems, LogProblem::Skipped { first: next, seq_nr: line.seq });
        ids.resize(usize::try_from(line.seq - 1).unwrap_or(usize::MAX), EventId(Uuid::nil()));
    }
    ids.push(EventId(line.event_id));
}

fn note(problems: &mut Vec<LogProblem>, problem: LogProblem) {
    if problems.len() < PROBLEMS_MAX {
        problems.push(problem);
    }
}

fn parse_line(line: &[u8]) -> Option<Line> {
    parse_usual_line(line).or_else(|| serde_json::from_slice(line).ok())
}

fn parse_usual_line(line: &[u8]) -> Option<Line> {
    let (id, rest) = line.strip_prefix(START)?.split_at_checked(ID_LEN)?;
    let digits = rest.strip_prefix(MIDDLE)?.strip_suffix(b"}")?;
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seq = digits.iter().try_fold(0_u64, |seq, digit| seq.checked_mul(10)?.checked_add(u64::from(digit - b'0')))?;
    Some(Line { event_id: Uuid::try_parse_ascii(id).ok()?, seq })
}

/// The lines that give the numbers from `first` on to `ids`.
pub(super) fn lines_of(ids: &[EventId], first: u64) -> Vec<u8> {
    let mut lines = Vec::with_capacity(ids.len().saturating_mul(START.len() + ID_LEN + MIDDLE.len() + 12));
    for (id, seq) in ids.iter().zip(first..) {
        lines.extend_from_slice(START);
        lines.extend_from_slice(id.0.as_hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes());
        lines.extend_from_slice(MIDDLE);
        // Writing to memory does not fail.
        let _ = writeln!(lines, "{seq}}}");
    }
    lines
}
