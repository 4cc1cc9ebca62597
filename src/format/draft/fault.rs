//! What the values of a draft may not be, whether they were read or put together.

use super::{EVENTS_MAX, KEY_CHARS_MAX, LINE_LEN_MAX, SNAPSHOT_NAME_CHARS_MAX, is_conflict_id};
use crate::format::text::counted;
use crate::format::transaction::stream_id_fault;
use crate::model::{Draft, Errno, EventId, Rejection};

/// What helps against what is too large.
pub(super) const CUT: &str = "cut it into several";

/// Why a value is refused, and what helps.
pub(super) struct Fault {
    pub(super) errno: Errno,
    pub(super) message: String,
    pub(super) hint: &'static str,
}

impl Fault {
    fn new(message: impl Into<String>, hint: &'static str) -> Self {
        Self { errno: Errno::EINVAL, message: message.into(), hint }
    }
}

/// Of a draft whose end was not looked for.
pub(super) fn of_endless(len_max: usize) -> Fault {
    Fault { errno: Errno::EFBIG, ..Fault::new(format!("draft has more than {len_max} bytes"), CUT) }
}

pub(super) fn of_len(len: usize, len_max: usize, hint: &'static str) -> Fault {
    Fault { errno: Errno::EFBIG, ..Fault::new(format!("draft has {len} bytes, at most {len_max} are allowed"), hint) }
}

pub(super) fn of_too_many_events() -> Fault {
    Fault { errno: Errno::EFBIG, ..Fault::new(format!("draft has more than {EVENTS_MAX} events"), CUT) }
}

pub(super) fn of_more_than_count(count: u64) -> Fault {
    Fault::new(format!("draft has more events than its count {count}"), "mend \"count\" or leave it out")
}

pub(super) fn of_stream_id(stream_id: &str) -> Option<Fault> {
    stream_id_fault(stream_id).map(|message| Fault::new(message, "choose another stream id"))
}

/// Of a stream that is named and not written to.
pub(super) fn of_named_stream(stream_id: &str) -> Option<Fault> {
    stream_id_fault(stream_id).map(|message| Fault::new(message, "no stream has such an id: mend it or leave it out"))
}

pub(super) fn of_event_type(event_type: &str) -> Option<Fault> {
    event_type.is_empty().then(|| Fault::new("event_type \"\" is empty", "name what happened"))
}

pub(super) fn of_second_id(id: EventId) -> Fault {
    Fault::new(format!("event_id \"{id}\" stands in the draft twice"), "leave it out and the store gives one")
}

/// `len` is that of payload and metadata together.
pub(super) fn of_event_len(len: usize) -> Option<Fault> {
    let message = || format!("event has {len} bytes, at most {LINE_LEN_MAX} are allowed");
    (len > LINE_LEN_MAX).then(|| Fault { errno: Errno::EFBIG, ..Fault::new(message(), CUT) })
}

pub(super) fn of_key(key: &str) -> Option<Fault> {
    let chars = key.chars().count();
    let is_good = (1..=KEY_CHARS_MAX).contains(&chars);
    (!is_good).then(|| Fault::new(format!("key has {chars} characters, 1 to {KEY_CHARS_MAX} are allowed"), "choose a key of that length"))
}

pub(super) fn of_resolve(conflict: &str) -> Option<Fault> {
    let message = || format!("\"resolve\" {conflict:?} is not the id of a conflict");
    (!is_conflict_id(conflict)).then(|| Fault::new(message(), "the ids are told by braidfs forks; in a mount they are the names in forks/"))
}

pub(super) fn of_second_stream(stream_id: &str) -> Fault {
    Fault::new(format!("stream {stream_id:?} is named twice"), "leave one out")
}

pub(super) fn of_coverage(has_seq_nr: bool, has_versions: bool) -> Option<Fault> {
    let is_good = has_seq_nr != has_versions;
    (!is_good).then(|| Fault::new("snapshot does not say what it covers", "give it either \"seq_nr\" or \"versions\""))
}

pub(super) fn of_snapshot_name(name: &str) -> Option<Fault> {
    let chars = name.chars().count();
    let is_good = (1..=SNAPSHOT_NAME_CHARS_MAX).contains(&chars);
    (!is_good).then(|| Fault::new(format!("snapshot's name has {chars} characters, 1 to {SNAPSHOT_NAME_CHARS_MAX} are allowed"), ""))
}

pub(super) fn of_company() -> Fault {
    Fault::new("snapshot stands with other keys than \"state\"", "hand it in alone")
}

/// The refusal of a draft of white space only, or of none.
#[must_use]
pub fn no_event() -> Rejection {
    Rejection::whole(Errno::EINVAL, "draft holds no event", "write an event into it")
}

/// What is wrong with a draft of so many events as a whole; `is_more` if it says anything besides them.
pub(super) fn of_whole(draft: &Draft, events: usize, is_more: bool) -> Vec<Fault> {
    let snapshot = draft.snapshot.is_some();
    let short = draft.count.filter(|count| *count > events as u64).map(|count| {
        let message = format!("draft has {}, its count says {count}", counted(events, "event"));
        Fault::new(message, "write the rest, or mend \"count\"")
    });
    let both = (snapshot && events > 0).then(|| Fault::new("draft has a snapshot and events", "hand them in one by one"));
    let is_empty = is_more && events == 0 && !snapshot && draft.resolve.is_none();
    let empty = is_empty.then(|| Fault::new("draft has a header and no event", "write an event behind it"));
    [short, both, empty].into_iter().flatten().collect()
}
