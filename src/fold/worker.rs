//! A process that folds, under limits.

mod process;

use std::path::{Path, PathBuf};

use serde_json::value::RawValue;

use super::error::{FoldError, FoldErrorKind};
use super::limits::Limits;
use super::serve::CHUNK_EVENTS_MAX;
use super::value::find_event_id;
use super::wire::{Answer, Failure, Request};
use process::Process;

/// How much of the events goes to the worker at once, in bytes; one event may be larger.
const CHUNK_BYTES_MAX: usize = 1 << 20;

/// A process that folds events for its parent and is killed when it takes more than its limits.
///
/// One fold at a time; it is started again when it is needed after it was killed, and ends with this value.
pub struct Worker {
    exe: PathBuf,
    limits: Limits,
    process: Option<Process>,
}

impl Worker {
    /// Starts `exe fold`; `exe` is this program (`/proc/self/exe` stays the same one over an upgrade).
    ///
    /// # Errors
    ///
    /// The program cannot be started or limited.
    pub fn start(exe: &Path, limits: Limits) -> Result<Self, FoldError> {
        let process = Some(Process::start(exe, &limits)?);
        Ok(Self { exe: exe.to_owned(), limits, process })
    }

    /// Compiles a step and tries its initial state, without any event.
    ///
    /// # Errors
    ///
    /// As [`Worker::fold`].
    pub fn check(&mut self, step: &str, init: &[u8]) -> Result<(), FoldError> {
        self.begin(step, init)
    }

    /// Folds events onto `state`, the initial one or a saved one, and gives the state after the last.
    ///
    /// Events are their lines in a view, with or without the line's end. The result does not depend on how a history
    /// is cut into calls.
    ///
    /// # Errors
    ///
    /// A step that is no jq (with line and column), that fails, or that takes more time or memory than it may (with
    /// the event). [`FoldErrorKind::Machine`] means that the worker itself could not do its work.
    pub fn fold<E: AsRef<[u8]>>(&mut self, step: &str, state: &[u8], events: impl IntoIterator<Item = E>) -> Result<Vec<u8>, FoldError> {
        self.begin(step, state)?;
        let mut chunk = Chunk::default();
        for event in events {
            chunk.push(event.as_ref());
            if chunk.is_full() {
                self.send(&chunk)?;
                chunk = Chunk::default();
            }
        }
        if !chunk.starts.is_empty() {
            self.send(&chunk)?;
        }
        let answer = self.ask(&request(&Request::State)?, None)?;
        match parse_answer(&answer)? {
            Answer::State(state) => Ok(state.get().as_bytes().to_vec()),
            Answer::Failed(failure) => Err(error_of(failure, None)),
            Answer::Ok => Err(FoldError::new(FoldErrorKind::Machine, "the worker answered without a state")),
        }
    }

    fn begin(&mut self, step: &str, state: &[u8]) -> Result<(), FoldError> {
        // A request is one line; in JSON a line end is only ever white space.
        let state: Vec<u8> = state.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }).collect();
        let raw: &RawValue =
            serde_json::from_slice(&state).map_err(|error| FoldError::program(format!("the first state is no JSON: {error}")))?;
        let begin = request(&Request::Begin { step: step.into(), state: raw, state_bytes_max: Some(self.limits.state_bytes_max) })?;
        let started_before = self.process.is_some();
        let answer = match self.ask(&begin, None) {
            // It may have been killed by somebody while it was idle, which is nobody's fault here.
            Err(error) if error.kind == FoldErrorKind::Machine && started_before => self.ask(&begin, None)?,
            answer => answer?,
        };
        expect_ok(&answer, None)
    }

    fn send(&mut self, chunk: &Chunk) -> Result<(), FoldError> {
        let mut message = request(&Request::Events(chunk.starts.len()))?;
        message.extend_from_slice(&chunk.lines);
        let answer = self.ask(&message, Some(chunk))?;
        expect_ok(&answer, Some(chunk))
    }

    /// Sends a request and waits for its answer; a worker that broke a limit or died is gone afterwards.
    fn ask(&mut self, message: &[u8], chunk: Option<&Chunk>) -> Result<Vec<u8>, FoldError> {
        let mut process = match self.process.take() {
            Some(process) => process,
            None => Process::start(&self.exe, &self.limits)?,
        };
        match process.exchange(message, &self.limits) {
            Ok(answer) => {
                self.process = Some(process);
                Ok(answer)
            }
            Err(ended) => {
                let (error, index) = process.end(ended, &self.limits);
                Err(error.with_event(chunk.zip(index).and_then(|(chunk, index)| find_event_id(chunk.line(index)))))
            }
        }
    }
}

/// Events on their way, as lines, with the start of each.
#[derive(Default)]
struct Chunk {
    lines: Vec<u8>,
    starts: Vec<usize>,
}

impl Chunk {
    fn push(&mut self, event: &[u8]) {
        self.starts.push(self.lines.len());
        self.lines.extend_from_slice(event.strip_suffix(b"\n").unwrap_or(event));
        self.lines.push(b'\n');
    }

    fn is_full(&self) -> bool {
        self.starts.len() >= CHUNK_EVENTS_MAX || self.lines.len() >= CHUNK_BYTES_MAX
    }

    /// The event with that index, without its line's end; empty if there is none.
    fn line(&self, index: usize) -> &[u8] {
        let rest = self.starts.get(index).and_then(|start| self.lines.get(*start..)).unwrap_or_default();
        rest.split(|byte| *byte == b'\n').next().unwrap_or_default()
    }
}

fn request(request: &Request<'_>) -> Result<Vec<u8>, FoldError> {
    let mut line = serde_json::to_vec(request).map_err(|error| FoldError::new(FoldErrorKind::Machine, error.to_string()))?;
    line.push(b'\n');
    Ok(line)
}

fn parse_answer(answer: &[u8]) -> Result<Answer<'_>, FoldError> {
    serde_json::from_slice(answer).map_err(|error| FoldError::new(FoldErrorKind::Machine, format!("the worker's answer is none: {error}")))
}

fn expect_ok(answer: &[u8], chunk: Option<&Chunk>) -> Result<(), FoldError> {
    match parse_answer(answer)? {
        Answer::Failed(failure) => Err(error_of(failure, chunk)),
        Answer::Ok | Answer::State(_) => Ok(()),
    }
}

fn error_of(failure: Failure, chunk: Option<&Chunk>) -> FoldError {
    let kind = match (failure.program, failure.limit) {
        (true, _) => FoldErrorKind::Program,
        (_, true) => FoldErrorKind::Limit,
        _ => FoldErrorKind::Step,
    };
    let event_id = chunk.zip(failure.index).and_then(|(chunk, index)| find_event_id(chunk.line(index)));
    FoldError { line: failure.line, column: failure.column, ..FoldError::new(kind, failure.message) }.with_event(event_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_knows_its_events() {
        let mut chunk = Chunk::default();
        chunk.push(b"{\"a\":1}\n");
        chunk.push(b"{}");
        assert_eq!((chunk.line(0), chunk.line(1), chunk.line(2)), (&b"{\"a\":1}"[..], &b"{}"[..], &b""[..]));
        assert!(!chunk.is_full());
        (2..CHUNK_EVENTS_MAX).for_each(|_| chunk.push(b"{}"));
        assert!(chunk.is_full());
    }
}
