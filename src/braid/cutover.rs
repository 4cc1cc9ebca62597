//! The one-time move of a legacy log into the store.

use std::time::{Duration, Instant};

use crate::braid::keeper::check::is_same;
use crate::braid::{AppendError, Braid};
use crate::format::legacy::{
    CutoverRequest, LegacyPlan, corrupt_events, cutover_event, cutover_event_id, cutover_stream_id, sentinel_state,
};
use crate::index::Index;
use crate::model::{Draft, DraftEvent, Errno, Expectation, Payload, Rejection, SnapshotRequest};

/// The most events of one transaction: what a kill takes back.
const CHUNK_EVENTS_MAX: usize = 1000;
/// The most bytes of payloads of one transaction; one event may be larger.
const CHUNK_BYTES_MAX: usize = 8 << 20;
/// How long others may hold the store while it moves.
const BUSY_MAX: Duration = Duration::from_secs(60);

/// What a cutover did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CutOver {
    /// Events that this run wrote.
    pub written: usize,
    /// Events that were there already.
    pub present: usize,
    /// Of those, how many have other content in the store than in the source; they stay as they are.
    pub differing: usize,
    /// Events of the source that came to it after the cutover was done; they are not taken.
    pub late: usize,
    /// Whether this run wrote the cutover's event: exactly one of all runs does.
    pub cut: bool,
}

impl Braid {
    /// Moves a legacy log in: its events in chunks, then one `system.cutover` event and a snapshot that is no state.
    ///
    /// It may be killed at any point and run again, or by several processes at once: what is there is passed over,
    /// and after the cutover nothing is taken any more. A plan without anything writes nothing. `progress` is told how
    /// many events are done.
    ///
    /// # Errors
    /// As [`Braid::append`]; what was written before stays, and the next run goes on from there.
    pub fn cut_over(&self, plan: &LegacyPlan, request: &CutoverRequest<'_>, progress: impl Fn(usize)) -> Result<CutOver, AppendError> {
        let mut done = CutOver::default();
        if plan.is_empty() {
            return Ok(done);
        }
        self.renewed()?;
        if !self.is_cut_over(request) {
            check_start(plan, request)?;
            self.move_in(&corrupt_events(plan, request), request, |_| ())?;
            done.written = self.move_in(&plan.events, request, progress)?;
            done.cut = self.append_cutover(plan, request)?;
        }
        self.count(plan, &mut done);
        self.save_sentinel(request.aggregate_type)?;
        Ok(done)
    }

    /// Appends what is not there of some events, and nothing once the cutover is done; gives how many events that were.
    fn move_in(&self, events: &[DraftEvent], request: &CutoverRequest<'_>, progress: impl Fn(usize)) -> Result<usize, AppendError> {
        let (mut rest, mut all) = (events, 0);
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(chunk_len(rest));
            let written = self.append_absent(chunk, request)?;
            all += written;
            rest = after;
            progress(events.len() - rest.len());
            if written == 0 && self.is_cut_over(request) {
                break;
            }
        }
        Ok(all)
    }

    fn renewed(&self) -> Result<(), AppendError> {
        self.refresh().map(drop).map_err(|failure| storage(failure.message))
    }

    fn is_cut_over(&self, request: &CutoverRequest<'_>) -> bool {
        self.epoch().index.find_event(cutover_event_id(request.aggregate_type)).is_some()
    }

    /// Appends what is not there of a chunk, and nothing once the cutover is done; gives how many events that were.
    fn append_absent(&self, chunk: &[DraftEvent], request: &CutoverRequest<'_>) -> Result<usize, AppendError> {
        // Whoever loses a race learns what the winner wrote, so each turn has less to write.
        for _ in 0..=chunk.len() {
            let epoch = self.epoch();
            let absent: Vec<DraftEvent> =
                chunk.iter().filter(|event| event.event_id.is_none_or(|id| epoch.index.find_event(id).is_none())).cloned().collect();
            if absent.is_empty() || self.is_cut_over(request) {
                return Ok(0);
            }
            let count = absent.len();
            let draft = Draft {
                // The cutover ends it for everybody: a process that lags behind must not write past it.
                expect: vec![(cutover_stream_id(request.aggregate_type), Expectation::None)],
                events: absent,
                ..Draft::default()
            };
            match self.append_patiently(&draft) {
                Ok(committed) if committed.repeated => return Ok(0),
                Ok(_) => return Ok(count),
                Err(AppendError::Rejected(rejection)) => {
                    self.renewed()?;
                    let is_race = self.is_cut_over(request) || self.knows_any(&draft.events);
                    if !is_race {
                        return Err(rejection.into());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(0)
    }

    fn knows_any(&self, events: &[DraftEvent]) -> bool {
        let epoch = self.epoch();
        events.iter().filter_map(|event| event.event_id).any(|id| epoch.index.find_event(id).is_some())
    }

    fn append_patiently(&self, draft: &Draft) -> Result<crate::braid::Committed, AppendError> {
        let start = Instant::now();
        loop {
            match self.append(draft.clone()) {
                Err(AppendError::Busy { .. }) if start.elapsed() < BUSY_MAX => {}
                result => return result,
            }
        }
    }

    /// Writes the event that ends the cutover; says whether it was this run that did.
    fn append_cutover(&self, plan: &LegacyPlan, request: &CutoverRequest<'_>) -> Result<bool, AppendError> {
        if self.is_cut_over(request) {
            return Ok(false);
        }
        let event = cutover_event(plan, request);
        let draft = Draft { expect: vec![(event.stream_id.clone(), Expectation::None)], events: vec![event], ..Draft::default() };
        match self.append_patiently(&draft) {
            Ok(committed) => Ok(!committed.repeated),
            Err(AppendError::Rejected(rejection)) => {
                self.renewed()?;
                if self.is_cut_over(request) { Ok(false) } else { Err(rejection.into()) }
            }
            Err(error) => Err(error),
        }
    }

    fn count(&self, plan: &LegacyPlan, done: &mut CutOver) {
        let epoch = self.epoch();
        for event in &plan.events {
            match event.event_id.and_then(|id| epoch.index.find_event(id)) {
                Some(found) => {
                    done.present += 1;
                    done.differing += usize::from(!is_same(&epoch.index, found, event));
                }
                None => done.late += 1,
            }
        }
        done.present -= done.written.min(done.present);
    }

    /// Saves the snapshot that says that there is no state, unless any state is saved under the name.
    fn save_sentinel(&self, aggregate_type: &str) -> Result<(), AppendError> {
        let mut written = written_cutover(&self.epoch().index, aggregate_type);
        if written.is_some_and(|(_, seq_nr)| seq_nr == 0) {
            // Another process has written it, and its number was not taken in yet.
            self.renewed()?;
            written = written_cutover(&self.epoch().index, aggregate_type);
        }
        let Some((count, seq_nr)) = written else { return Ok(()) };
        let name = cutover_stream_id(aggregate_type);
        let state = sentinel_state(aggregate_type, count);
        // Two that cut over at once must not leave two of them.
        self.save_first_snapshot(SnapshotRequest { name, seq_nr: Some(seq_nr), versions: Vec::new(), state: Payload::checked(state) })
            .map(drop)
    }
}

/// What the cutover's event says of the count before it, and its number in ingestion order.
fn written_cutover(index: &Index, aggregate_type: &str) -> Option<(usize, u64)> {
    #[derive(serde::Deserialize)]
    struct Line {
        event_data: Data,
    }
    #[derive(serde::Deserialize)]
    struct Data {
        pre_cutover_event_count: usize,
    }
    let event = index.find_event(cutover_event_id(aggregate_type))?;
    let mut line = b"{".to_vec();
    line.extend_from_slice(index.events.tail(event, &index.pack));
    let line: Line = serde_json::from_slice(&line).ok()?;
    Some((line.event_data.pre_cutover_event_count, u64::from(index.events.seq_nr(event))))
}

/// A counter goes on behind the numbers that were given.
fn check_start(plan: &LegacyPlan, request: &CutoverRequest<'_>) -> Result<(), Rejection> {
    let (Some(start), Some(last)) = (request.start_seq_nr, plan.last_legacy_seq_nr) else { return Ok(()) };
    if start > last {
        return Ok(());
    }
    let message = format!("sequence number {start} was given: the largest one in the source is {last}");
    Err(Rejection::whole(Errno::EINVAL, message, format!("go on with a larger one: --start-seq {}", last.saturating_add(1))))
}

fn chunk_len(events: &[DraftEvent]) -> usize {
    let mut bytes = 0;
    let fits = events.iter().take(CHUNK_EVENTS_MAX).take_while(|event| {
        bytes += event.event_data.len() + event.metadata.len();
        bytes <= CHUNK_BYTES_MAX
    });
    fits.count().max(1)
}

fn storage(message: String) -> AppendError {
    AppendError::Storage { errno: Errno::EIO, message, hint: String::new() }
}
