//! Standard output, and error: for people or for programs, buffered, and harmless on a terminal.

use std::fmt;
use std::io::{self, BufWriter, IsTerminal, Write};

use clap::ValueEnum;
use serde_json::{Value, json};

use super::failure::Result;
use super::harmless::harmless_json;

/// Whom the output is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Text for people.
    #[default]
    Human,
    /// JSON for programs: one object, or one a line where there are several.
    Json,
}

/// Says something on standard error. Where that cannot be written, nothing is: how the command ends tells as much.
pub(crate) fn complain(text: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Standard output of one command.
pub(crate) struct Output {
    writer: Box<dyn Write>,
    format: Format,
    is_terminal: bool,
}

impl Output {
    /// This process's standard output.
    pub(crate) fn stdout(format: Format) -> Self {
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        Self { writer: Box::new(BufWriter::with_capacity(1 << 16, stdout)), format, is_terminal }
    }

    /// Says on standard error what is worth knowing and is no failure: for programs one JSON object.
    pub(crate) fn note(&self, message: &str, hints: &[String]) {
        if self.is_json() {
            return complain(json!({"note": {"message": message, "hints": hints}}));
        }
        complain(format!("braidfs: {message}"));
        hints.iter().for_each(|hint| complain(format!("  hint: {hint}")));
    }

    /// True if programs read it.
    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Writes one line for people; the caller has made foreign text harmless.
    pub(crate) fn line(&mut self, text: impl fmt::Display) -> Result {
        writeln!(self.writer, "{text}")?;
        Ok(())
    }

    /// Writes one value as a line of JSON.
    pub(crate) fn json(&mut self, value: &Value) -> Result {
        self.bytes(value.to_string().as_bytes())?;
        self.bytes(b"\n")
    }

    /// Writes one value for programs, or what `human` renders of it.
    pub(crate) fn either(&mut self, value: &Value, human: impl FnOnce(&Value) -> String) -> Result {
        if self.is_json() { self.json(value) } else { self.line(human(value)) }
    }

    /// Writes bytes that are JSON or text: as they are, but harmless if a person may see them on a terminal.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result {
        self.write(bytes)?;
        Ok(())
    }

    /// As [`Output::bytes`], with the error as the system reported it.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.is_terminal { self.writer.write_all(&harmless_json(bytes)) } else { self.writer.write_all(bytes) }
    }

    /// Hands everything over, for an error to be seen; must be called last.
    pub(crate) fn finish(&mut self) -> Result {
        self.writer.flush()?;
        Ok(())
    }
}
