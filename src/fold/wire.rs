//! What a worker and its parent say to each other: JSON lines, one answer a request.
//!
//! After `{"events":N}` come N lines, the events as they stand in a view. Before each event the worker writes its
//! index within the request to standard error, so that the parent of a killed worker knows whose fault it was.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What the parent asks.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Request<'a> {
    /// Compiles a step and begins a fold at a state.
    Begin {
        #[serde(borrow)]
        step: Cow<'a, str>,
        #[serde(borrow)]
        state: &'a RawValue,
        /// The longest state, in bytes as JSON; none: any.
        #[serde(default)]
        state_bytes_max: Option<usize>,
    },
    /// Folds so many events, which follow line by line.
    Events(usize),
    /// Asks for the state.
    State,
}

/// What the worker answers.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Answer<'a> {
    /// Done.
    Ok,
    /// The state.
    State(#[serde(borrow)] &'a RawValue),
    /// It failed; the fold has no state.
    Failed(Failure),
}

/// An error of the fold as it travels; `index` is that of the event within its request.
#[derive(Serialize, Deserialize)]
pub(super) struct Failure {
    pub(super) program: bool,
    pub(super) index: Option<usize>,
    pub(super) line: Option<u64>,
    pub(super) column: Option<u64>,
    pub(super) message: String,
    pub(super) limit: bool,
}
