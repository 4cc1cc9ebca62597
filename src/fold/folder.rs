//! A running fold.

use jaq_json::Val;

use super::error::{FoldError, FoldErrorKind};
use super::program::Program;
use super::value::{check_value, find_event_id, parse_value, write_value};

/// A running fold in this process, without limits.
///
/// The state is a function of the program, the initial state and the events: integers stay exact at any size, sums,
/// differences, products and remainders of integers are integers, everything else is a 64-bit float once it is
/// calculated with, and keys keep the order in which they were set. Going on from a saved state gives the same bytes
/// as folding from the start.
pub struct Folder {
    program: Program,
    state: Result<Val, FoldError>,
}

impl Folder {
    /// Begins a fold at `state`, a JSON text: the initial state or a saved one.
    ///
    /// # Errors
    ///
    /// A state that is no JSON.
    pub fn new(program: Program, state: &[u8]) -> Result<Self, FoldError> {
        let state = parse_value(state).map_err(|error| FoldError::program(format!("the first state is no JSON: {error}")))?;
        Ok(Self { program, state: Ok(state) })
    }

    /// Folds one event, given as its line in a view.
    ///
    /// # Errors
    ///
    /// What the step did wrong, with the event. A fold that failed stays so: every later call says the same.
    pub fn apply(&mut self, event_line: &[u8]) -> Result<(), FoldError> {
        // The state moves into the step and out again: with a second owner every change would copy it.
        let state = std::mem::replace(&mut self.state, Ok(Val::Null));
        self.state = state.and_then(|state| step(&self.program, state, event_line));
        self.state.as_ref().map(drop).map_err(Clone::clone)
    }

    /// Folds events one by one and then checks that the state is JSON and no longer than so many bytes; names the first event after which
    /// it is not JSON, or one that made it too long.
    ///
    /// Checking after each event would cost the size of the state every time. So a state that is no JSON or too long for a moment and is
    /// right again before the last event goes unnoticed.
    ///
    /// # Errors
    ///
    /// As [`Folder::apply`], with the index of the event in `event_lines`.
    pub(super) fn apply_all(
        &mut self,
        event_lines: &[Vec<u8>],
        state_bytes_max: usize,
        mut before: impl FnMut(usize),
    ) -> Result<(), (usize, FoldError)> {
        let first = self.state.clone().map_err(|error| (0, error))?;
        for (index, event_line) in event_lines.iter().enumerate() {
            before(index);
            self.apply(event_line).map_err(|error| (index, error))?;
        }
        match self.state.as_ref().map_or(Ok(0), check_value) {
            Ok(bytes) if bytes <= state_bytes_max => return Ok(()),
            Ok(_) => return Err(self.find_too_long(&first, event_lines, state_bytes_max, before)),
            Err(_) => {}
        }
        self.state = Ok(first);
        for (index, event_line) in event_lines.iter().enumerate() {
            before(index);
            self.apply(event_line).map_err(|error| (index, error))?;
            let checked = self.state.as_ref().map_err(Clone::clone).and_then(check_value);
            if let Err(error) = checked {
                let error = error.with_event(find_event_id(event_line));
                self.state = Err(error.clone());
                return Err((index, error));
            }
        }
        Ok(())
    }

    /// Finds an event that made the state too long, which it is after the last one: by halves, since a long state takes long to measure.
    fn find_too_long(
        &mut self,
        first: &Val,
        event_lines: &[Vec<u8>],
        state_bytes_max: usize,
        mut before: impl FnMut(usize),
    ) -> (usize, FoldError) {
        // After so many events it is short enough, and after one more than so many too long.
        let (mut short, mut long) = (0, event_lines.len().saturating_sub(1));
        while short < long {
            let middle = short + (long - short) / 2;
            self.state = Ok(first.clone());
            for (index, event_line) in event_lines.iter().enumerate().take(middle + 1) {
                before(index);
                // What went well goes well again.
                drop(self.apply(event_line));
            }
            if self.state.as_ref().is_ok_and(|state| check_value(state).is_ok_and(|bytes| bytes <= state_bytes_max)) {
                short = middle + 1;
            } else {
                long = middle;
            }
        }
        let error = FoldError::too_long(state_bytes_max).with_event(event_lines.get(long).and_then(|line| find_event_id(line)));
        self.state = Err(error.clone());
        (long, error)
    }

    /// The state as compact JSON.
    ///
    /// # Errors
    ///
    /// A fold that failed, or a state that is no JSON (not a number, infinite, keys that are no strings, nesting over
    /// 100).
    pub fn state(&self) -> Result<Vec<u8>, FoldError> {
        self.state.as_ref().map_err(Clone::clone).and_then(write_value)
    }
}

fn step(program: &Program, state: Val, event_line: &[u8]) -> Result<Val, FoldError> {
    let event = parse_value(event_line).map_err(|error| FoldError::new(FoldErrorKind::Step, format!("the event cannot be read: {error}")));
    event.and_then(|event| program.run(state, event)).map_err(|error| error.with_event(find_event_id(event_line)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests;
