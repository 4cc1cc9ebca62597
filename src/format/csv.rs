//! View lines as CSV (RFC 4180), for spreadsheets and data tools.

use std::borrow::Cow;
use std::io::Write;

use csv::{Terminator, Writer, WriterBuilder};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The columns, whatever the view: a number that the view has not, or what an event that is gone has lost, is empty.
pub const COLUMNS: [&str; 11] = [
    "position",
    "seq_nr",
    "stream_version",
    "event_id",
    "stream_id",
    "event_type",
    "created_at",
    "event_data",
    "metadata",
    "transaction_id",
    "replica_id",
];

/// Why a line cannot be written as CSV.
#[derive(Debug, thiserror::Error)]
pub enum CsvError {
    /// The line is not one of a view.
    #[error("line is not one of a view: {0}")]
    Line(#[from] serde_json::Error),
    /// Writing failed.
    #[error(transparent)]
    Write(#[from] std::io::Error),
}

/// Writes view lines as rows: a header, then one row an event; cells are quoted only where they must be, rows end in
/// CRLF, `event_data` and `metadata` are the stored bytes.
pub struct CsvWriter<W: Write> {
    rows: Writer<W>,
}

impl<W: Write> CsvWriter<W> {
    /// Begins a table: writes the header.
    ///
    /// # Errors
    ///
    /// Writing fails.
    pub fn new(out: W) -> Result<Self, CsvError> {
        let mut rows = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(out);
        rows.write_record(COLUMNS).map_err(of_writer)?;
        Ok(Self { rows })
    }

    /// Writes one line of a view, with or without its line end.
    ///
    /// # Errors
    ///
    /// The line is not one of a view (nothing is written then), or writing fails.
    pub fn write_line(&mut self, line: &[u8]) -> Result<(), CsvError> {
        let fields: Fields<'_> = serde_json::from_slice(line)?;
        let row: [Cow<'_, str>; COLUMNS.len()] = [
            number(fields.position),
            number(fields.seq_nr),
            number(fields.stream_version),
            text(fields.event_id),
            text(fields.stream_id),
            text(fields.event_type),
            text(fields.created_at),
            raw(fields.event_data),
            raw(fields.metadata),
            text(fields.transaction_id),
            text(fields.replica_id),
        ];
        self.rows.write_record(row.iter().map(|cell| cell.as_bytes())).map_err(of_writer)?;
        Ok(())
    }

    /// Ends the table and gives back what it was written to.
    ///
    /// # Errors
    ///
    /// Writing fails.
    pub fn finish(self) -> Result<W, CsvError> {
        self.rows.into_inner().map_err(|error| CsvError::Write(error.into_error()))
    }
}

/// What the system said, which `csv` wraps: its kind tells a reader who has enough from a failure.
fn of_writer(error: csv::Error) -> std::io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        kind => std::io::Error::other(format!("{kind:?}")),
    }
}

#[derive(Deserialize)]
struct Fields<'a> {
    position: Option<u64>,
    seq_nr: Option<u64>,
    stream_version: Option<u64>,
    #[serde(borrow)]
    event_id: &'a RawValue,
    #[serde(borrow)]
    stream_id: Option<&'a RawValue>,
    #[serde(borrow)]
    event_type: Option<&'a RawValue>,
    #[serde(borrow)]
    created_at: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    event_data: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    transaction_id: Option<&'a RawValue>,
    #[serde(borrow)]
    replica_id: Option<&'a RawValue>,
}

/// What is there, `null` too: that is a payload like any other.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

fn number(number: Option<u64>) -> Cow<'static, str> {
    number.map(|number| number.to_string().into()).unwrap_or_default()
}

fn raw(value: Option<&RawValue>) -> Cow<'_, str> {
    value.map(|value| value.get().into()).unwrap_or_default()
}

/// The unescaped string; one that no Rust string can hold (a lone surrogate) as it is spelled.
fn text<'a>(value: impl Into<Option<&'a RawValue>>) -> Cow<'a, str> {
    let Some(value) = value.into() else { return Cow::Borrowed("") };
    serde_json::from_str::<String>(value.get()).map_or_else(|_| Cow::Borrowed(value.get()), Cow::Owned)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    const IDS: &str = r#""transaction_id":"0190a0b0-0000-7000-8000-00000000000a","replica_id":"0190a0b0-0000-4000-8000-00000000000b","created_at":"2026-11-21T22:17:35+00:00""#;

    fn csv(lines: &[&str]) -> String {
        let mut writer = CsvWriter::new(Vec::new()).unwrap();
        lines.iter().for_each(|line| writer.write_line(line.as_bytes()).unwrap());
        String::from_utf8(writer.finish().unwrap()).unwrap()
    }

    /// The end of a pipe was a failure, as its kind was lost.
    #[test]
    fn an_error_of_the_writer_keeps_its_kind() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let line =
            format!(r#"{{"event_id":"e","stream_id":"s","event_type":"t","event_data":"{}","metadata":{{}},{IDS}}}"#, "x".repeat(1 << 16));
        let error = CsvWriter::new(Closed).unwrap().write_line(line.as_bytes()).unwrap_err();
        assert!(matches!(error, CsvError::Write(error) if error.kind() == std::io::ErrorKind::BrokenPipe));
    }

    #[test]
    fn quotes_commas_and_line_ends_are_quoted_and_nothing_else() {
        let line = format!(
            r#"{{"position":7,"stream_version":2,"event_id":"e","stream_id":"a,b","event_type":"x\ny","event_data":{{"t":"a \"b\""}},"metadata":{{}},{IDS}}}"#
        );
        let table = csv(&[&line]);
        let header =
            "position,seq_nr,stream_version,event_id,stream_id,event_type,created_at,event_data,metadata,transaction_id,replica_id\r\n";
        let row = "7,,2,e,\"a,b\",\"x\ny\",2026-11-21T22:17:35+00:00,\"{\"\"t\"\":\"\"a \\\"\"b\\\"\"\"\"}\",{},0190a0b0-0000-7000-8000-00000000000a,0190a0b0-0000-4000-8000-00000000000b\r\n";
        assert_eq!(table, format!("{header}{row}"));
    }

    #[test]
    fn what_a_reader_gets_is_what_the_line_says() {
        let data = r#"{ "big":123456789012345678901234567890, "text":"\u00e4, \"q\"" }"#;
        let line = format!(
            r#"{{"seq_nr":9,"event_id":"e","stream_id":" s\"","event_type":"Ä","event_data":{data},"metadata":null,{IDS}}}{}"#,
            "\n"
        );
        let table = csv(&[&line]);
        let mut reader = csv::Reader::from_reader(table.as_bytes());
        let row = reader.records().next().unwrap().unwrap();
        assert_eq!((&row[0], &row[1], &row[2]), ("", "9", ""));
        assert_eq!((&row[4], &row[5], &row[7], &row[8]), (" s\"", "Ä", data, "null"));
    }

    #[test]
    fn an_event_that_is_gone_keeps_its_number_and_id() {
        let table = csv(&[r#"{"seq_nr":3,"event_id":"e","gone":true}"#]);
        assert_eq!(table.lines().nth(1), Some(",3,,e,,,,,,,"));
    }

    #[test]
    fn a_lone_surrogate_stays_as_it_is_spelled() {
        let line = format!(r#"{{"event_id":"e","stream_id":"s","event_type":"\ud800","event_data":1,"metadata":{{}},{IDS}}}"#);
        assert!(csv(&[&line]).contains(r#","""\ud800""","#));
    }

    #[test]
    fn a_line_that_is_none_is_refused_and_nothing_is_written() {
        let mut writer = CsvWriter::new(Vec::new()).unwrap();
        for line in ["", "{}", "[]", "{\"event_id\":", "{\"event_id\":\"e\",\"position\":-1}"] {
            assert!(matches!(writer.write_line(line.as_bytes()), Err(CsvError::Line(_))), "{line:?}");
        }
        assert_eq!(writer.finish().unwrap().iter().filter(|byte| **byte == b'\n').count(), 1);
    }
}
