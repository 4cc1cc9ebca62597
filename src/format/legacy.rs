//! The daily-file event logs of the sightjack family of tools, as events of ours.
//!
//! A source is a directory of files `YYYY-MM-DD.jsonl`, flat or in a directory a session. Each line is an event
//! (`schema_version id type timestamp data session_id correlation_id causation_id aggregate_id aggregate_type seq_nr`,
//! most of them optional). A [`plan`] says what a one-time cutover writes; it depends on the source's files alone, so
//! making it again gives the same events with the same ids.

mod cutover;
mod event;
mod ids;
mod plan;

pub use cutover::{CUTOVER_TYPE, CutoverRequest, SENTINEL_KEY, corrupt_events, cutover_event, sentinel_state};
pub use event::{LegacyError, LegacyEvent, parse_legacy_line};
pub use ids::{corrupt_stream_id, cutover_event_id, cutover_stream_id, stream_id};
pub use plan::{CorruptLine, LegacyFile, LegacyPlan, parse_file_path, plan};
