//! What a proposal must fulfil where streams are forked.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::dag::Conflict;
use crate::format::draft::{CONFLICT_LEN, is_conflict_id};
use crate::index::Index;
use crate::index::forks::ClosedConflicts;
use crate::model::{ConflictReport, Draft, Errno, Expectation, Reason, TransactionId};
use crate::view::ReportContext;

/// How many streams of a conflict, and how many conflicts, a message names.
pub(in crate::braid) const NAMED_MAX: usize = 5;
/// How many streams the reports of a refusal have together.
const REPORTED_STREAMS_MAX: usize = 10_000;

/// A draft on its way to become a transaction, with what only a library user can ask for.
#[derive(Clone, Debug, Default)]
pub(in crate::braid) struct Proposal {
    pub(in crate::braid) draft: Draft,
    /// The conflicts that it resolves.
    pub(in crate::braid) conflicts: Vec<String>,
    /// Whether it also resolves provisional ones.
    pub(in crate::braid) force: bool,
    /// The heads that it joins, if it may join no others: see [`resolutions_that_met`].
    pub(in crate::braid) joins: Option<Vec<TransactionId>>,
    /// The session whose recorder it comes from.
    pub(in crate::braid) session: Option<String>,
}

impl From<Draft> for Proposal {
    fn from(draft: Draft) -> Self {
        let conflicts = draft.resolve.iter().map(|resolve| resolve.conflict.clone()).collect();
        Self { draft, conflicts, ..Self::default() }
    }
}

/// The streams whose forks a proposal resolves, in the order of their ids, and why it may not.
pub(super) fn resolved(index: &Index, proposal: &Proposal) -> (Vec<String>, Vec<Reason>) {
    let (mut streams, mut reasons) = (BTreeSet::new(), Vec::new());
    // Who asks for a resolution by a command has written no line.
    let line = proposal.draft.resolve.is_some().then_some(1);
    if let Some(joins) = &proposal.joins {
        match resolutions_that_met(index).filter(|met| met == joins) {
            None => reasons.push(stale(
                line,
                "the heads are no longer those that were to be joined".to_owned(),
                "nothing needs to be done: the next transaction joins them".to_owned(),
            )),
            Some(met) => streams.extend(met.into_iter().flat_map(|head| resolves(index, head)).map(str::to_owned)),
        }
    }
    for id in &proposal.conflicts {
        match index.forks().find(id) {
            None => reasons.push(not_open(index, id, line)),
            Some(conflict) if conflict.is_provisional() && !proposal.force => reasons.push(stale(
                line,
                format!("conflict \"{id}\" is provisional: a parent is missing in its past"),
                format!("bring what is missing, or resolve it all the same: braidfs reconcile --force {id}"),
            )),
            Some(conflict) => streams.extend(conflict.forks.iter().map(|fork| index.streams.text(fork.stream).to_owned())),
        }
    }
    (streams.into_iter().collect(), reasons)
}

/// The heads, if there are several, each of which settles conflicts, and nothing is open: several working copies settled at once.
///
/// Costs O(transactions) where there are several.
pub(in crate::braid) fn resolutions_that_met(index: &Index) -> Option<Vec<TransactionId>> {
    let heads = index.transactions.heads();
    if heads.len() < 2 || !index.forks().conflicts().is_empty() {
        return None;
    }
    let mut closed = ClosedConflicts::of(index);
    let mut settles = |head| index.transactions.find(head).is_some_and(|head| closed.is_settled_by(head));
    heads.iter().all(|&head| settles(head)).then_some(heads)
}

/// The streams whose forks a transaction says to close.
fn resolves(index: &Index, id: TransactionId) -> impl Iterator<Item = &str> {
    let details = index.transactions.find(id).and_then(|tx| index.transactions.details(tx));
    details.into_iter().flat_map(|details| &details.resolves).map(|&stream| index.streams.text(stream))
}

/// Why events must not go to streams that are forked, not provisionally, and not resolved by the same proposal.
pub(super) fn forked(index: &Index, draft: &Draft, resolved: &[String]) -> Vec<Reason> {
    let mut lines: BTreeMap<&str, u64> = BTreeMap::new();
    for event in &draft.events {
        lines.entry(&event.stream_id).or_insert(event.line);
    }
    // A conflict may have as many streams as a draft has events.
    let stated = draft.expect.iter().filter(|(_, expected)| matches!(expected, Expectation::Version(1..)));
    let free: HashSet<&str> = stated.map(|(stream, _)| stream.as_str()).chain(resolved.iter().map(String::as_str)).collect();
    let refused = |(stream, line): (&str, u64)| {
        let (conflict, _) = index.forks().of_stream(index.find_stream(stream)?).filter(|(_, fork)| !fork.is_provisional)?;
        (!free.contains(stream)).then(|| {
            let version = index.stream_version(stream);
            stale(
                Some(line),
                format!("stream \"{stream}\" is forked: conflict \"{}\"", conflict.id),
                format!(
                    "resolve the conflict ({}), or state that both sides are known: {{\"expect\":{{{}:{version}}}}}",
                    shown(&conflict.id),
                    serde_json::Value::from(stream)
                ),
            )
        })
    };
    let mut reasons: Vec<Reason> = lines.into_iter().filter_map(refused).collect();
    reasons.sort_by_key(|reason| reason.line);
    reasons
}

/// What a conflict that is not open under its id has become: those that are open on its streams; none if it is not remembered.
fn became<'a>(index: &'a Index, id: &str) -> Option<Vec<&'a Conflict>> {
    let forks = index.forks();
    let mut seen = HashSet::new();
    let now = forks.former_streams(id).filter(|_| forks.find(id).is_none())?.iter().filter_map(|&stream| Some(forks.of_stream(stream)?.0));
    Some(now.filter(|conflict| seen.insert(&conflict.id)).collect())
}

/// All that are open, those first that the newest transactions have changed.
fn newest_first(index: &Index) -> Vec<&Conflict> {
    let newest = |conflict: &Conflict| conflict.forks.iter().flat_map(|fork| &fork.branches).map(|branch| branch.tip).max();
    let mut open: Vec<&Conflict> = index.forks().conflicts().iter().collect();
    open.sort_by_cached_key(|conflict| std::cmp::Reverse(newest(conflict)));
    open
}

/// The conflicts that a refused proposal runs into, as they stand: those of the streams that it names, what those that it names have
/// become, and those themselves; then, where one that it names is not open, all that are; and how many of them there are without a report.
pub(super) fn reports(context: ReportContext<'_>, proposal: &Proposal) -> (Vec<ConflictReport>, usize) {
    let (forks, draft) = (context.index.forks(), &proposal.draft);
    let streams = draft.events.iter().map(|event| &event.stream_id).chain(draft.expect.iter().map(|(stream, _)| stream));
    let of_streams = streams.filter_map(|stream| Some(forks.of_stream(context.index.find_stream(stream)?)?.0));
    let named = proposal.conflicts.iter().filter_map(|id| forks.find(id));
    let became = proposal.conflicts.iter().flat_map(|id| became(context.index, id).unwrap_or_default());
    let is_lost = |id: &String| forks.find(id).is_none() && self::became(context.index, id).is_none_or(|became| became.is_empty());
    let open = if proposal.conflicts.iter().any(is_lost) { newest_first(context.index) } else { Vec::new() };
    let (mut seen, mut left) = (HashSet::new(), REPORTED_STREAMS_MAX);
    let mut reports = Vec::new();
    for conflict in of_streams.chain(became).chain(named).chain(open) {
        if seen.insert(&conflict.id) && reports.len() < NAMED_MAX && conflict.forks.len() <= left {
            left -= conflict.forks.len();
            reports.push(ConflictReport::of(context, conflict));
        }
    }
    let more = seen.len() - reports.len();
    (reports, more)
}

fn stale(line: Option<u64>, message: String, hint: String) -> Reason {
    Reason { errno: Errno::ESTALE, line, column: None, message, hint }
}

/// Why a conflict cannot be resolved that is not open, with what is open instead.
fn not_open(index: &Index, id: &str, line: Option<u64>) -> Reason {
    let became = became(index, id);
    let open: Vec<&Conflict> = match &became {
        Some(became) if !became.is_empty() => became.clone(),
        _ => newest_first(index),
    };
    let mut named: Vec<String> = open.iter().take(NAMED_MAX).map(|conflict| told(index, conflict)).collect();
    if open.len() > NAMED_MAX {
        named.push(format!("and {} more", open.len() - NAMED_MAX));
    }
    let instead = if named.is_empty() { "nothing is open".to_owned() } else { format!("open now: {}", named.join("; ")) };
    let why = match &became {
        Some(became) if became.is_empty() => format!("conflict \"{id}\" is not open: it is closed"),
        Some(_) => format!("conflict \"{id}\" is not open: it has changed"),
        None if is_conflict_id(id) => {
            format!("conflict \"{id}\" is not open: it is closed, it has changed, or there never was one")
        }
        None => format!("no conflict \"{id}\" is known: its id would have {CONFLICT_LEN} hex digits"),
    };
    let hint = match open.first() {
        None => "see what was closed, and by which transaction: braidfs forks --closed".to_owned(),
        Some(conflict) if open.len() == 1 => format!("look at what is open: {}", shown(&conflict.id)),
        _ => "look at what is open: braidfs forks; in a mount: forks/".to_owned(),
    };
    stale(line, format!("{why}; {instead}"), hint)
}

/// Where a conflict can be looked at; there may be no mount.
fn shown(id: &str) -> String {
    format!("braidfs forks; in a mount: forks/{id}/README.md")
}

fn told(index: &Index, conflict: &Conflict) -> String {
    let mut streams: Vec<String> =
        conflict.forks.iter().take(NAMED_MAX).map(|fork| format!("\"{}\"", index.streams.text(fork.stream))).collect();
    if conflict.forks.len() > NAMED_MAX {
        streams.push(format!("and {} more", conflict.forks.len() - NAMED_MAX));
    }
    format!("\"{}\" (streams {})", conflict.id, streams.join(", "))
}
