//! What did not come as text, held to what a draft file is held to.

use std::collections::HashSet;
use std::str::FromStr;

use super::build::Builder;
use super::fault::{self, Fault};
use super::source::{Source, one_line};
use super::{DRAFT_LEN_MAX, EVENTS_MAX, NESTING_MAX, is_nothing};
use crate::model::{Draft, DraftEvent, Payload, Rejection, SnapshotRequest};

impl FromStr for Payload {
    type Err = Rejection;

    /// Takes one JSON value, with white space around it or none; line ends between its tokens are dropped.
    ///
    /// # Errors
    /// Every reason for which a draft file with it would be refused, with line and column of the text.
    fn from_str(text: &str) -> Result<Self, Rejection> {
        let (mut builder, source) = (Builder::default(), Source::new(text, 1));
        let whole = source.whole();
        if builder.is_json(&source, whole, "write one whole JSON value, and nothing behind it") {
            builder.check_readable(&source, whole, NESTING_MAX);
        }
        builder.verdict()?;
        Ok(Self::checked(one_line(source.get(whole))))
    }
}

/// Checks a draft that may have been put together instead of read; costs a look at each event, and none at its payload.
///
/// A draft as [`parse_draft`](super::parse_draft) gives it passes.
///
/// # Errors
/// Every reason for which a draft file that says the same would be refused.
pub fn check_draft(draft: &Draft) -> Result<(), Rejection> {
    let mut builder = Builder::default();
    builder.check_streams(draft.expect.iter().map(|(stream_id, _)| stream_id.as_str()));
    builder.refuse_if(None, draft.key.as_deref().and_then(fault::of_key));
    builder.refuse_if(None, draft.resolve.as_ref().and_then(|resolve| fault::of_resolve(&resolve.conflict)));
    if let Some(request) = &draft.snapshot {
        let is_alone = draft.expect.is_empty() && draft.key.is_none() && draft.count.is_none() && draft.resolve.is_none();
        builder.refuse_if(None, (!is_alone).then(fault::of_company));
        builder.check_snapshot(request);
    }
    let len: usize = draft.events.iter().map(len_of).sum();
    builder.refuse_if(None, (len > DRAFT_LEN_MAX).then(|| fault::of_len(len, DRAFT_LEN_MAX, fault::CUT)));
    if draft.events.len() > EVENTS_MAX {
        builder.refuse_if(None, Some(fault::of_too_many_events()));
    } else {
        draft.events.iter().for_each(|event| builder.check_event(event));
    }
    let too_many = draft.count.filter(|count| *count < draft.events.len() as u64);
    builder.refuse_if(None, too_many.map(fault::of_more_than_count));
    fault::of_whole(draft, draft.events.len(), !is_nothing(draft)).into_iter().for_each(|fault| builder.refuse_if(None, Some(fault)));
    builder.verdict()
}

/// The same for a state that is to be saved.
///
/// # Errors
/// As [`check_draft`].
pub fn check_snapshot(request: &SnapshotRequest) -> Result<(), Rejection> {
    let mut builder = Builder::default();
    builder.check_snapshot(request);
    builder.verdict()
}

/// No more than the event has in any draft file.
fn len_of(event: &DraftEvent) -> usize {
    event.stream_id.len() + event.event_type.len() + event.event_data.len() + event.metadata.len()
}

impl Builder {
    fn check_event(&mut self, event: &DraftEvent) {
        let faults = [
            fault::of_stream_id(&event.stream_id),
            fault::of_event_type(&event.event_type),
            event.event_id.filter(|id| !self.is_new_id(*id)).map(fault::of_second_id),
            fault::of_event_len(event.event_data.len() + event.metadata.len()),
        ];
        faults.into_iter().for_each(|fault| self.refuse_if(Some(event.line), fault));
    }

    fn check_snapshot(&mut self, request: &SnapshotRequest) {
        self.refuse_if(None, fault::of_snapshot_name(&request.name));
        // None of both covers streams too: the store before its first event.
        let is_both = request.seq_nr.is_some() && !request.versions.is_empty();
        self.refuse_if(None, fault::of_coverage(is_both, is_both).filter(|_| is_both));
        self.check_streams(request.versions.iter().map(|(stream_id, _)| stream_id.as_str()));
        let len = request.state.len();
        self.refuse_if(None, (len > DRAFT_LEN_MAX).then(|| fault::of_len(len, DRAFT_LEN_MAX, "")));
    }

    fn check_streams<'a>(&mut self, streams: impl Iterator<Item = &'a str>) {
        let mut seen = HashSet::new();
        for stream_id in streams {
            let second = (!seen.insert(stream_id)).then(|| fault::of_second_stream(stream_id));
            self.refuse_if(None, fault::of_named_stream(stream_id).or(second));
        }
    }

    fn refuse_if(&mut self, line: Option<u64>, fault: Option<Fault>) {
        if let Some(Fault { errno, message, hint }) = fault {
            self.refuse_as(errno, line.map(|line| (line, None)), message, hint);
        }
    }
}
