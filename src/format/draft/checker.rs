//! A draft checked while it is written, so that a bad line is refused in the write(2) that brings it.

use memchr::memchr;
use serde_json::value::RawValue;

use super::build::Builder;
use super::fault::{self, Fault};
use super::source::{Source, is_json_space};
use super::{APPEND_LEN_MAX, DRAFT_LEN_MAX, DraftKind, LINE_LEN_MAX};
use crate::model::{Draft, Errno, Rejection};

/// Checks a draft piece by piece; what it holds is bounded by [`DRAFT_LEN_MAX`].
///
/// Of [`DraftKind::Lines`] every whole line is checked as it arrives, of the others the whole at the end.
pub struct LineChecker {
    kind: DraftKind,
    builder: Builder,
    /// What has no line end yet, or the whole of what is not lines.
    pending: Vec<u8>,
    /// The line that `pending` is part of, from 1.
    line: u64,
    len: usize,
    /// Too large: what comes is not looked at.
    is_over: bool,
    /// Events that a check has given.
    given: usize,
}

impl LineChecker {
    /// Begins a draft.
    #[must_use]
    pub fn new(kind: DraftKind) -> Self {
        Self { kind, builder: Builder::default(), pending: Vec::new(), line: 1, len: 0, is_over: false, given: 0 }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// Every reason so far, from these bytes or earlier ones.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Rejection> {
        self.len = self.len.saturating_add(bytes.len());
        let len_max = if self.kind == DraftKind::AppendWrite { APPEND_LEN_MAX } else { DRAFT_LEN_MAX };
        if self.len > len_max && !self.is_over {
            // Only a write is known to be all that there is.
            self.give_up(
                None,
                match self.kind {
                    DraftKind::AppendWrite => fault::of_len(self.len, len_max, "cut it into several, or use staging/"),
                    DraftKind::Lines | DraftKind::Document => fault::of_endless(len_max),
                },
            );
        }
        if !self.is_over {
            match self.kind {
                DraftKind::Lines => self.push_lines(bytes),
                DraftKind::Document | DraftKind::AppendWrite => self.pending.extend_from_slice(bytes),
            }
        }
        self.builder.verdict()
    }

    /// Checks what has arrived but for an end that is unfinished, as at a flush; more may follow. Gives the header and the events that no
    /// check before has given; all of them where what came before says whether these are right, as for a key or event ids.
    ///
    /// Costs what has come since the last check, where the whole is not to be given and is not one document.
    ///
    /// # Errors
    /// Every reason so far.
    pub fn check(&mut self) -> Result<Draft, Rejection> {
        let mark = self.builder.mark();
        let pending = std::mem::take(&mut self.pending);
        if !is_unfinished(without_bom(&pending)) {
            self.add(&pending);
        }
        self.pending = pending;
        let checked = self.builder.verdict().map(|()| self.builder.draft_from(self.given));
        self.builder.roll_back(&mark);
        if checked.is_ok() {
            self.given = self.builder.draft.events.len();
        }
        checked
    }

    /// The draft as far as it has been taken, for expectations and forks to be checked early.
    #[must_use]
    pub fn draft(&self) -> &Draft {
        &self.builder.draft
    }

    /// Ends the draft.
    ///
    /// # Errors
    /// Every reason against it.
    pub fn finish(mut self) -> Result<Draft, Rejection> {
        let pending = std::mem::take(&mut self.pending);
        if !self.is_over {
            self.finish_pending(&pending);
        }
        self.builder.finish(self.len == 0)
    }

    fn finish_pending(&mut self, pending: &[u8]) {
        if self.kind != DraftKind::AppendWrite {
            return self.add(pending);
        }
        let hint = "write one line with its end; for several events use an array, or staging/";
        match memchr(b'\n', pending) {
            None => self.builder.refuse_as(Errno::EINVAL, None, "line has no end", hint),
            Some(end) if end + 1 < pending.len() => self.builder.refuse_as(Errno::EINVAL, None, "write holds more than one line", hint),
            Some(_) => self.add(pending),
        }
    }

    fn push_lines(&mut self, mut bytes: &[u8]) {
        while let Some(end) = memchr(b'\n', bytes) {
            let (line, rest) = bytes.split_at_checked(end).unwrap_or_default();
            if self.pending.is_empty() {
                self.add(line);
            } else {
                let mut whole = std::mem::take(&mut self.pending);
                whole.extend_from_slice(line);
                self.add(&whole);
            }
            self.line += 1;
            bytes = rest.strip_prefix(b"\n").unwrap_or_default();
        }
        self.pending.extend_from_slice(bytes);
        if self.pending.len() > LINE_LEN_MAX {
            let message = format!("line has more than {LINE_LEN_MAX} bytes");
            self.give_up(Some((self.line, Some(1))), Fault { errno: Errno::EFBIG, message, hint: fault::CUT });
        }
    }

    /// Takes a line, or the whole of what is not lines.
    fn add(&mut self, bytes: &[u8]) {
        let bytes = if self.line == 1 { without_bom(bytes) } else { bytes };
        if self.kind == DraftKind::Lines && bytes.len() > LINE_LEN_MAX {
            let message = format!("line has {} bytes, at most {LINE_LEN_MAX} are allowed", bytes.len());
            return self.builder.refuse_as(Errno::EFBIG, Some((self.line, Some(1))), message, fault::CUT);
        }
        if bytes.iter().all(|&byte| is_json_space(byte)) {
            return;
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => self.builder.add(&Source::new(text, self.line), self.kind != DraftKind::Lines),
            Err(error) => {
                let good = String::from_utf8_lossy(bytes.get(..error.valid_up_to()).unwrap_or_default());
                self.builder.refuse(&Source::new(&good, self.line), good.len(), "text is not UTF-8", "save it as UTF-8");
            }
        }
    }

    fn give_up(&mut self, place: Option<(u64, Option<u64>)>, Fault { errno, message, hint }: Fault) {
        self.is_over = true;
        self.pending = Vec::new();
        self.builder.refuse_as(errno, place, message, hint);
    }
}

/// Drops the byte order mark that some editors put in front of everything.
fn without_bom(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes)
}

/// Tells whether bytes are the beginning of a JSON value and more could make them one.
fn is_unfinished(bytes: &[u8]) -> bool {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        // A character is cut in the middle.
        Err(error) if error.error_len().is_none() => return true,
        Err(_) => return false,
    };
    serde_json::from_str::<&RawValue>(text).is_err_and(|error| error.is_eof())
}
