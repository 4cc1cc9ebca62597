//! What a draft must fulfil against the state that it is committed on.

use std::collections::{BTreeMap, BTreeSet};

use crate::braid::keeper::forked::{Proposal, forked, reports, resolved};
use crate::braid::{Committed, CommittedEvent};
use crate::index::Index;
use crate::index::forks::ClosedConflicts;
use crate::model::{Draft, DraftEvent, Errno, Expectation, Reason, Rejection};
use crate::view::{ReportContext, with_line};

/// What a draft comes to before anything is written.
pub(super) enum Verdict {
    /// It is to be written, and resolves the forks of these streams.
    Write(Vec<String>),
    /// It was written before.
    Repeated(Committed),
}

/// Checks everything at once.
pub(super) fn check(context: ReportContext<'_>, proposal: &Proposal) -> Result<Verdict, Rejection> {
    let index = context.index;
    let draft = &proposal.draft;
    if let Some(tx) = draft.key.as_deref().and_then(|key| index.transactions.find_key(key)) {
        return repeated(index, proposal, tx);
    }
    let known: BTreeSet<u32> = draft.events.iter().filter_map(|event| index.find_event(event.event_id?)).collect();
    let reasons = if known.is_empty() { Vec::new() } else { known_events(index, draft) };
    if let Some(&event) = known.iter().next()
        && reasons.is_empty()
    {
        let tx = index.events.transaction(event);
        return Ok(Verdict::Repeated(committed(index, tx, true)));
    }
    check_streams(context, proposal, reasons).map(Verdict::Write)
}

/// Checks what is expected of streams, and whether they are forked; gives the streams that are resolved, unless there are reasons
/// against the draft, these or those given.
fn check_streams(context: ReportContext<'_>, proposal: &Proposal, mut reasons: Vec<Reason>) -> Result<Vec<String>, Rejection> {
    let (streams, refused) = resolved(context.index, proposal);
    let forked = forked(context.index, &proposal.draft, &streams);
    let is_about_forks = !refused.is_empty() || !forked.is_empty();
    reasons.extend(refused);
    reasons.extend(expectations(context.index, &proposal.draft));
    reasons.extend(forked);
    let Err(mut rejection) = refused_for(reasons) else { return Ok(streams) };
    if is_about_forks {
        (rejection.conflicts, rejection.more_conflicts) = reports(context, proposal);
    }
    Err(rejection)
}

/// Checks only what a draft expects of streams, and whether they are forked; more events may follow. What was committed before is not
/// held to it again: once it is whole, it is told whether it is the same.
pub(in crate::braid) fn check_expectations(context: ReportContext<'_>, draft: &Draft) -> Result<(), Rejection> {
    let index = context.index;
    if let Some(tx) = draft.key.as_deref().and_then(|key| index.transactions.find_key(key)) {
        let is_same = begins_like(index, draft, tx) && settles_the_same(index, draft.resolve.iter().map(|resolve| &*resolve.conflict), tx);
        return if is_same { Ok(()) } else { Err(other_content(index, draft, tx)) };
    }
    if draft.events.iter().any(|event| event.event_id.is_some_and(|id| index.find_event(id).is_some())) {
        return refused_for(known_events(index, draft));
    }
    check_streams(context, &draft.clone().into(), Vec::new()).map(|_| ())
}

fn refused_for(reasons: Vec<Reason>) -> Result<(), Rejection> {
    if reasons.is_empty() { Ok(()) } else { Err(Rejection::of(reasons)) }
}

fn expectations(index: &Index, draft: &Draft) -> Vec<Reason> {
    let mut reasons = Vec::new();
    for (stream, expectation) in &draft.expect {
        let version = index.stream_version(stream);
        let (holds, expected) = match expectation {
            Expectation::Any => (true, String::new()),
            Expectation::Exists => (version > 0, "at least one event".to_owned()),
            Expectation::None | Expectation::Version(0) => (version == 0, "no event".to_owned()),
            Expectation::Version(expected) => (version == *expected, format!("version {expected}")),
        };
        if !holds {
            reasons.push(Reason {
                errno: Errno::ESTALE,
                line: (!draft.unwritten.contains(stream)).then_some(1),
                column: None,
                message: format!("stream \"{stream}\" is expected to have {expected}, it has version {version}"),
                hint: "read the stream again and decide anew".to_owned(),
            });
        }
    }
    reasons
}

/// A retry by `key`: the same content is a success, any other is refused.
fn repeated(index: &Index, proposal: &Proposal, tx: u32) -> Result<Verdict, Rejection> {
    let draft = &proposal.draft;
    let is_same = index.transactions.events(tx).len() == draft.events.len()
        && begins_like(index, draft, tx)
        && settles_the_same(index, proposal.conflicts.iter().map(String::as_str), tx);
    if is_same {
        return Ok(Verdict::Repeated(committed(index, tx, true)));
    }
    Err(other_content(index, draft, tx))
}

/// Whether a transaction has a draft's events, and perhaps more behind them.
fn begins_like(index: &Index, draft: &Draft, tx: u32) -> bool {
    let range = index.transactions.events(tx);
    range.len() >= draft.events.len() && range.zip(&draft.events).all(|(event, drafted)| is_same(index, event, drafted))
}

/// Whether a transaction settled these conflicts and no others, as who wrote it found them.
fn settles_the_same<'a>(index: &Index, conflicts: impl IntoIterator<Item = &'a str>, tx: u32) -> bool {
    let asked: BTreeSet<String> = conflicts.into_iter().map(str::to_owned).collect();
    let streams = index.transactions.details(tx).map_or(&[][..], |details| &details.resolves);
    if asked.is_empty() || streams.is_empty() {
        return asked.is_empty() && streams.is_empty();
    }
    let mut closed = ClosedConflicts::of(index);
    asked == streams.iter().filter_map(|&stream| closed.id(stream, tx).map(str::to_owned)).collect()
}

fn other_content(index: &Index, draft: &Draft, tx: u32) -> Rejection {
    let key = draft.key.as_deref().unwrap_or_default();
    Rejection::whole(
        Errno::EEXIST,
        format!("key \"{key}\" was used for other content by transaction \"{}\"", index.transactions.id(tx)),
        "use another key for other content",
    )
}

/// Events whose ids exist: all of them, in one transaction and with the same content, is a retry.
fn known_events(index: &Index, draft: &Draft) -> Vec<Reason> {
    let found: Vec<Option<u32>> = draft.events.iter().map(|event| event.event_id.and_then(|id| index.find_event(id))).collect();
    let transactions: BTreeSet<u32> = found.iter().flatten().map(|&event| index.events.transaction(event)).collect();
    let whole = found.iter().all(Option::is_some) && transactions.len() == 1;
    let mut reasons = Vec::new();
    for (event, found) in draft.events.iter().zip(&found) {
        let Some(found) = *found else { continue };
        if !whole || !is_same(index, found, event) {
            let tx = index.transactions.id(index.events.transaction(found));
            reasons.push(Reason {
                errno: Errno::EEXIST,
                line: Some(event.line),
                column: None,
                message: format!("event id \"{}\" exists in transaction \"{tx}\"", index.events.id(found, &index.pack)),
                hint: "leave the id out, or repeat the whole transaction with the same content".to_owned(),
            });
        }
    }
    reasons
}

pub(in crate::braid) fn is_same(index: &Index, event: u32, drafted: &DraftEvent) -> bool {
    let same = with_line(index, event, |line| {
        line.stream_id == drafted.stream_id
            && line.event_type == drafted.event_type
            && drafted.event_data == line.event_data
            && drafted.metadata == line.metadata
            && drafted.event_id.is_none_or(|id| id == line.event_id)
    });
    same.unwrap_or(false)
}

/// What a transaction in the index came to.
pub(super) fn committed(index: &Index, tx: u32, repeated: bool) -> Committed {
    let events = index.transactions.events(tx).map(|event| CommittedEvent {
        event_id: index.events.id(event, &index.pack),
        stream_id: index.streams.text(index.events.stream(event)).to_owned(),
        stream_version: u64::from(index.events.version(event)),
        position: index.position(event),
        seq_nr: Some(u64::from(index.events.seq_nr(event))).filter(|&seq| seq > 0),
    });
    Committed { transaction_id: index.transactions.id(tx), events: events.collect(), repeated, snapshot: None }
}

/// The versions that a writer has seen of what it writes and of what it states.
pub(super) fn bases(index: &Index, draft: &Draft) -> BTreeMap<String, u64> {
    let written = draft.events.iter().map(|event| event.stream_id.as_str());
    let stated = draft.expect.iter().filter(|(_, expectation)| *expectation != Expectation::Any).map(|(stream, _)| stream.as_str());
    written.chain(stated).map(|stream| (stream.to_owned(), index.stream_version(stream))).collect()
}
