//! A draft as it comes together, and the reasons against it.

use std::collections::HashSet;

use serde_json::value::RawValue;

use super::fault::{self, Fault, no_event};
use super::source::{MEMBERS_MAX, Member, Source, Span};
use super::{EVENTS_MAX, REASONS_MAX};
use crate::format::json::{Unreadable, find_unreadable};
use crate::format::text::shorten;
use crate::model::{Draft, Errno, EventId, Reason, Rejection};

/// The draft so far.
#[derive(Default)]
pub(super) struct Builder {
    pub(super) draft: Draft,
    /// Events that were meant, the refused ones too.
    pub(super) events: usize,
    ids: HashSet<EventId>,
    /// The same in the order of the draft.
    id_log: Vec<EventId>,
    started: bool,
    reasons: Vec<Reason>,
    /// Reasons beyond [`REASONS_MAX`].
    more: usize,
}

/// Where a builder was, to take back what was only tried.
pub(super) struct Mark {
    pushed: usize,
    ids: usize,
    events: usize,
    started: bool,
    reasons: usize,
    more: usize,
}

impl Builder {
    /// Takes a line or a document.
    pub(super) fn add(&mut self, source: &Source<'_>, may_be_array: bool) {
        let whole = source.whole();
        if !self.is_json(source, whole, if may_be_array { WHOLE } else { WHOLE_LINES }) {
            return;
        }
        match source.byte(whole.at) {
            b'{' => self.add_object(source, whole),
            b'[' if may_be_array => match source.elements(whole) {
                elements if elements.is_empty() => self.refuse(source, whole.at, "array is empty", "write an event into it"),
                elements => self.add_elements(source, &elements),
            },
            b'[' => self.refuse(
                source,
                whole.at,
                "line is an array, one JSON object a line is expected",
                "write a line for each, or name the file *.json",
            ),
            _ => self.refuse(source, whole.at, "value is neither an event nor a header", "write a JSON object"),
        }
    }

    /// Tells whether a part is one JSON value, and refuses what is none.
    pub(super) fn is_json(&mut self, source: &Source<'_>, span: Span, hint: &str) -> bool {
        let Err(error) = serde_json::from_str::<&RawValue>(source.get(span)) else { return true };
        self.refuse(source, span.at + place_of(source.get(span), &error), syntax(&error), hint);
        false
    }

    /// Tells whether no other event of the draft has that id.
    pub(super) fn is_new_id(&mut self, id: EventId) -> bool {
        let is_new = self.ids.insert(id);
        if is_new {
            self.id_log.push(id);
        }
        is_new
    }

    pub(super) fn add_elements(&mut self, source: &Source<'_>, elements: &[Span]) {
        for &element in elements {
            if source.byte(element.at) == b'{' {
                self.add_object(source, element);
            } else {
                self.refuse(source, element.at, "element is neither an event nor a header", "write a JSON object");
            }
        }
    }

    fn add_object(&mut self, source: &Source<'_>, object: Span) {
        let members = self.members(source, object);
        if !super::keys::is_header(&members) {
            self.started = true;
            return self.add_event(source, object, &members);
        }
        if std::mem::replace(&mut self.started, true) {
            return self.refuse(source, object.at, "header does not come first", "move it in front of the events, once");
        }
        self.add_header(source, &members);
    }

    /// The members of an object, unless there are too many to hold.
    pub(super) fn members(&mut self, source: &Source<'_>, object: Span) -> Vec<Member> {
        let members = source.members(object);
        if members.len() > MEMBERS_MAX {
            let message = format!("object has more than {MEMBERS_MAX} keys");
            self.refuse_as(Errno::EFBIG, place(source, object.at), message, fault::CUT);
        }
        members
    }

    /// Counts an event and says once that there are too many.
    pub(super) fn count_event(&mut self, source: &Source<'_>, at: usize) {
        self.events += 1;
        if self.events == EVENTS_MAX + 1 {
            self.refuse_for(source, at, fault::of_too_many_events());
        }
        if self.draft.count.is_some_and(|count| self.events as u64 == count.saturating_add(1)) {
            self.refuse_for(source, at, fault::of_more_than_count(self.events as u64 - 1));
        }
    }

    /// Reports what the readers of `events/` could not read in a value.
    pub(super) fn check_readable(&mut self, source: &Source<'_>, span: Span, nesting_max: usize) {
        find_unreadable(source.get(span).as_bytes(), nesting_max, |at, what| {
            let (message, hint) = match what {
                Unreadable::Nesting => ("nesting is deeper than 126", "flatten the value, or carry it as a string"),
                Unreadable::Number => ("number is too large for a 64-bit float", "carry it as a string"),
                Unreadable::Reserved => {
                    ("first key of an object is one that serde_json keeps for itself", "name it otherwise, or carry the object as a string")
                }
                Unreadable::Surrogate => ("escape is half of a surrogate pair", "write both halves, or the character itself"),
            };
            self.refuse(source, span.at + at, message, hint);
        });
    }

    /// Reads a string; one with half a surrogate pair was reported already.
    pub(super) fn string(&mut self, source: &Source<'_>, key: &str, value: Span) -> Option<String> {
        if source.byte(value.at) == b'"' {
            return serde_json::from_str(source.get(value)).ok();
        }
        self.refuse(source, value.at, format!("\"{key}\" is not a string"), "");
        None
    }

    /// Reads a number from 0.
    pub(super) fn number(&mut self, source: &Source<'_>, key: &str, value: Span) -> Option<u64> {
        let number = source.get(value).parse().ok();
        if number.is_none() {
            self.refuse(source, value.at, format!("{key:?} is not a whole number from 0"), "");
        }
        number
    }

    pub(super) fn refuse(&mut self, source: &Source<'_>, at: usize, message: impl Into<String>, hint: &str) {
        self.refuse_as(Errno::EINVAL, place(source, at), message, hint);
    }

    pub(super) fn refuse_for(&mut self, source: &Source<'_>, at: usize, Fault { errno, message, hint }: Fault) {
        self.refuse_as(errno, place(source, at), message, hint);
    }

    /// Refuses with a place, which is a line with its column or the whole of it, or as a whole.
    pub(super) fn refuse_as(&mut self, errno: Errno, place: Option<(u64, Option<u64>)>, message: impl Into<String>, hint: &str) {
        if self.reasons.len() >= REASONS_MAX {
            self.more += 1;
            return;
        }
        let (line, column) = (place.map(|(line, _)| line), place.and_then(|(_, column)| column));
        self.reasons.push(Reason { errno, line, column, message: shorten(message.into()), hint: hint.to_owned() });
    }

    pub(super) fn verdict(&self) -> Result<(), Rejection> {
        if self.reasons.is_empty() {
            return Ok(());
        }
        let mut reasons = self.reasons.clone();
        reasons.sort_by_key(|reason| (reason.line.unwrap_or(u64::MAX), reason.column.unwrap_or(u64::MAX)));
        if self.more > 0 {
            let message = format!("and {} more", self.more);
            reasons.push(Reason { errno: Errno::EINVAL, line: None, column: None, message, hint: String::new() });
        }
        Err(Rejection::of(reasons))
    }

    /// Judges the draft as a whole; `is_empty` if not one byte of it came.
    pub(super) fn finish(mut self, is_empty: bool) -> Result<Draft, Rejection> {
        if !self.started && self.reasons.is_empty() && !is_empty {
            return Err(no_event());
        }
        // What was refused may have been the event that is missing.
        let is_more = self.started && self.reasons.is_empty();
        for Fault { errno, message, hint } in fault::of_whole(&self.draft, self.events, is_more) {
            self.refuse_as(errno, None, message, hint);
        }
        self.verdict()?;
        Ok(self.draft)
    }

    /// The draft without its first `spared` events, where the others can be judged without them.
    pub(super) fn draft_from(&mut self, spared: usize) -> Draft {
        let draft = &mut self.draft;
        let is_plain = draft.key.is_none() && draft.resolve.is_none() && draft.snapshot.is_none() && self.id_log.is_empty();
        let events = std::mem::take(&mut draft.events);
        let header = draft.clone();
        let given = events.get(if is_plain { spared } else { 0 }..).unwrap_or_default().to_vec();
        draft.events = events;
        Draft { events: given, ..header }
    }

    pub(super) fn mark(&self) -> Mark {
        Mark {
            pushed: self.draft.events.len(),
            ids: self.id_log.len(),
            events: self.events,
            started: self.started,
            reasons: self.reasons.len(),
            more: self.more,
        }
    }

    pub(super) fn roll_back(&mut self, mark: &Mark) {
        self.draft.events.truncate(mark.pushed);
        for id in self.id_log.drain(mark.ids.min(self.id_log.len())..) {
            self.ids.remove(&id);
        }
        if !mark.started {
            self.draft = Draft::default();
        }
        self.reasons.truncate(mark.reasons);
        (self.events, self.started, self.more) = (mark.events, mark.started, mark.more);
    }
}

/// Where an offset lies.
pub(super) fn place(source: &Source<'_>, at: usize) -> Option<(u64, Option<u64>)> {
    Some((source.line(at), Some(source.column(at))))
}

const WHOLE: &str = "write one whole JSON value, and nothing behind it";
const WHOLE_LINES: &str = "write one whole JSON object a line; a document of several lines is named *.json";

/// The offset that serde_json's line and column stand for.
fn place_of(text: &str, error: &serde_json::Error) -> usize {
    let line_at: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    (line_at + error.column().saturating_sub(1)).min(text.len())
}

fn syntax(error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "JSON is unfinished".to_owned();
    }
    let text = error.to_string();
    format!("not JSON: {}", text.split(" at line ").next().unwrap_or_default())
}
