//! The worker's side: folds what it is told to until its input ends.

use std::io::{self, BufRead, Write};

use serde_json::value::RawValue;

use super::error::{FoldError, FoldErrorKind};
use super::folder::Folder;
use super::program::Program;
use super::wire::{Answer, Failure, Request};

/// Most events of one request: the parent measures a worker's time by the request, and learns by its index which event
/// was too much.
pub const CHUNK_EVENTS_MAX: usize = 256;

/// Serves a parent's requests until `input` ends, in a process that has nothing else to do.
///
/// `progress` gets the index of each event before it is folded, unbuffered.
///
/// # Errors
///
/// Reading or writing fails, or a request is not one of the parent's.
pub fn serve(input: &mut dyn BufRead, output: &mut dyn Write, progress: &mut dyn Write) -> io::Result<()> {
    let mut session = Session::default();
    let mut line = Vec::new();
    while read_line(input, &mut line)? {
        let answer = match serde_json::from_slice(&line).map_err(io::Error::other)? {
            Request::Begin { step, state, state_bytes_max } => session.begin(&step, state, state_bytes_max),
            Request::Events(count) => session.fold(&read_lines(input, count)?, progress),
            Request::State => session.state(),
        };
        let state;
        let answer = match answer {
            Ok(None) => Answer::Ok,
            Ok(Some(json)) => {
                state = json;
                Answer::State(&state)
            }
            Err((index, error)) => Answer::Failed(failure(index, error)),
        };
        serde_json::to_writer(&mut *output, &answer).map_err(io::Error::other)?;
        output.write_all(b"\n")?;
        output.flush()?;
    }
    Ok(())
}

type Outcome = Result<Option<Box<RawValue>>, (Option<usize>, FoldError)>;

/// The program is kept: a fold per stream begins anew for each of them.
#[derive(Default)]
struct Session {
    compiled: Option<(String, Program)>,
    folder: Option<Folder>,
    state_bytes_max: usize,
}

impl Session {
    fn begin(&mut self, step: &str, state: &RawValue, state_bytes_max: Option<usize>) -> Outcome {
        self.folder = None;
        self.state_bytes_max = state_bytes_max.unwrap_or(usize::MAX);
        if self.compiled.as_ref().is_none_or(|(compiled, _)| compiled != step) {
            self.compiled = Some((step.to_owned(), Program::compile(step).map_err(|error| (None, error))?));
        }
        let program = self.compiled.as_ref().map(|(_, program)| program.clone());
        let folder = program.map(|program| Folder::new(program, state.get().as_bytes()));
        self.folder = folder.transpose().map_err(|error| (None, error))?;
        Ok(None)
    }

    fn fold(&mut self, event_lines: &[Vec<u8>], progress: &mut dyn Write) -> Outcome {
        let folder = self.folder.as_mut().ok_or_else(not_begun)?;
        // An index that cannot be told is no reason to stop: only a worker that is killed is ever asked for it.
        let before = |index: usize| drop(progress.write_all(format!("{index}\n").as_bytes()));
        folder.apply_all(event_lines, self.state_bytes_max, before).map_err(|(index, error)| (Some(index), error))?;
        Ok(None)
    }

    fn state(&self) -> Outcome {
        let state = self.folder.as_ref().ok_or_else(not_begun)?.state().map_err(|error| (None, error))?;
        let state = String::from_utf8(state).map_err(|error| (None, FoldError::step(error.to_string())))?;
        RawValue::from_string(state).map(Some).map_err(|error| (None, FoldError::step(error.to_string())))
    }
}

fn not_begun() -> (Option<usize>, FoldError) {
    (None, FoldError::new(FoldErrorKind::Machine, "no fold has begun"))
}

fn failure(index: Option<usize>, error: FoldError) -> Failure {
    let (program, limit) = (error.kind == FoldErrorKind::Program, error.kind == FoldErrorKind::Limit);
    Failure { program, limit, index, line: error.line, column: error.column, message: error.message }
}

fn read_line(input: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    input.read_until(b'\n', line)?;
    if line.pop_if(|byte| *byte == b'\n').is_some() {
        return Ok(true);
    }
    if line.is_empty() { Ok(false) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// All of a request is read before any of it is folded, so neither side ever waits for the other to read.
fn read_lines(input: &mut dyn BufRead, count: usize) -> io::Result<Vec<Vec<u8>>> {
    let mut lines = Vec::new();
    for _ in 0..count.min(CHUNK_EVENTS_MAX) {
        let mut line = Vec::new();
        if !read_line(input, &mut line)? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        lines.push(line);
    }
    Ok(lines)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn talk(input: &str) -> (String, String) {
        let (mut output, mut progress) = (Vec::new(), Vec::new());
        serve(&mut input.as_bytes(), &mut output, &mut progress).unwrap();
        (String::from_utf8(output).unwrap(), String::from_utf8(progress).unwrap())
    }

    #[test]
    fn a_fold_is_begun_fed_and_asked() {
        let begin = r#"{"begin":{"step":". + $event.n","state":1}}"#;
        let (answers, progress) = talk(&format!("{begin}\n{{\"events\":2}}\n{{\"n\":2}}\n{{\"n\":3}}\n\"state\"\n{begin}\n\"state\"\n"));
        assert_eq!(answers, "\"ok\"\n\"ok\"\n{\"state\":6}\n\"ok\"\n{\"state\":1}\n");
        assert_eq!(progress, "0\n1\n");
    }

    #[test]
    fn failures_are_answers() {
        let (answers, _) = talk("{\"begin\":{\"step\":\". +\",\"state\":1}}\n{\"events\":1}\n{}\n\"state\"\n");
        let lines: Vec<_> = answers.lines().collect();
        assert!(
            matches!(lines.as_slice(), [a, b, c] if a.contains("\"column\":4") && b.contains("no fold") && c.contains("no fold")),
            "{answers}"
        );
        let (answers, _) = talk("{\"begin\":{\"step\":\". + $event\",\"state\":1}}\n{\"events\":2}\n1\n\"a\"\n");
        assert!(answers.contains(r#"{"failed":{"program":false,"index":1"#), "{answers}");
    }

    #[test]
    fn half_a_request_is_an_error() {
        for input in ["{\"events\":1}\n", "\"state\"", "{\"other\":1}\n"] {
            assert!(serve(&mut input.as_bytes(), &mut Vec::new(), &mut Vec::new()).is_err(), "{input:?}");
        }
    }
}
