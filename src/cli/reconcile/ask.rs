//! Who decides on a conflict: a program, or a person with an editor.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use serde_json::Value;

use super::super::failure::{Failure, Kind, Result};
use super::super::harmless::harmless;
use crate::braid::{OpenConflict, Resolution};
use crate::disk::Disk;
use crate::format::draft::{DRAFT_LEN_MAX, DraftKind, parse_draft};
use crate::model::Rejection;

/// How often a text that makes no sense is put before its author again.
const ATTEMPTS_MAX: usize = 10;

/// When a file that nobody has saved yet was last changed.
const UNSAVED: SystemTime = SystemTime::UNIX_EPOCH;

/// Asks a program: the conflict on its standard input, the answer on its standard output.
pub(super) fn program(program: &Path, conflict: &OpenConflict) -> Result<Resolution> {
    let name = program.display().to_string();
    let failed = |what: &str| Failure::new(Kind::Failed, format!("program '{name}' {what}"));
    let question = serde_json::to_vec(conflict).map_err(|error| failed("cannot be asked").because(&error))?;
    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed("cannot be started").because(&error))?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    // It may answer before it has read everything, or nothing.
    let asked = std::thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(&question)));
    let mut answer = Vec::new();
    if let Some(stdout) = stdout {
        let read = stdout.take(DRAFT_LEN_MAX as u64 + 1).read_to_end(&mut answer);
        read.map_err(|error| failed("cannot be heard").because(&error))?;
    }
    let ended = child.wait().map_err(|error| failed("cannot be waited for").because(&error))?;
    drop(asked.join());
    if !ended.success() {
        return Err(failed(&format!("ended with {ended}; nothing is committed")));
    }
    parse_answer(&conflict.conflict, &answer)
        .map_err(|rejection| Failure::from(rejection).about(&format!("the answer of program '{name}'")))
}

/// Asks a person: the resolution in an editor, with the conflict beside it.
pub(super) fn editor(conflict: &OpenConflict) -> Result<Resolution> {
    let failed = |what: &str| Failure::new(Kind::Failed, what.to_owned());
    let file = |ending: &str, text: String| {
        let mut file = tempfile::Builder::new().prefix("braidfs-").suffix(ending).tempfile()?;
        file.write_all(text.as_bytes()).map(|()| file.into_temp_path())
    };
    let files = file(".json", format!("{{\n  \"resolve\": \"{}\",\n  \"events\": []\n}}\n", conflict.conflict))
        .and_then(|resolution| Ok((resolution, file(".jsonl", context(conflict))?)));
    let (resolution, context) = files.map_err(|error| failed("no file can be made for the editor").because(&error))?;
    let disk = Disk::real();
    let stat = || disk.stat(&resolution).map_err(|error| failed("what was edited cannot be read").because(&error));
    // A time that no editor gives, so that whatever is saved from now on shows.
    disk.set_modified(&resolution, UNSAVED).map_err(|error| failed("no file can be made for the editor").because(&error))?;
    let offered = stat()?;
    for _ in 0..ATTEMPTS_MAX {
        // As git does it: the variable may hold arguments too.
        let ended = Command::new("sh")
            .args(["-c", "${VISUAL:-${EDITOR:-vi}} \"$@\"", "sh"])
            .args([&resolution, &context])
            .status()
            .map_err(|error| failed("the editor cannot be started").because(&error))?;
        if !ended.success() {
            return Err(failed("the editor failed; nothing is committed"));
        }
        // Who leaves without saving has decided nothing.
        if stat()? == offered {
            return Ok(Resolution::Unresolvable("nothing was saved".to_owned()));
        }
        let text = disk.read(&resolution).map_err(|error| failed("what was edited cannot be read").because(&error))?;
        if text.trim_ascii().is_empty() {
            return Ok(Resolution::Unresolvable("left open".to_owned()));
        }
        match parse_answer(&conflict.conflict, &text) {
            Ok(resolution) => return Ok(resolution),
            Err(rejection) => eprintln!("braidfs: {}", harmless(&rejection.to_string())),
        }
    }
    Err(failed("what was edited makes no sense, again and again; nothing is committed"))
}

/// Every event of every side, each file behind a line that names it.
fn context(conflict: &OpenConflict) -> String {
    let mut text = String::new();
    for fork in &conflict.streams {
        let mut side = |name: &str, lines: &[Box<serde_json::value::RawValue>]| {
            text += &format!("{}\n", serde_json::json!({"stream_id": fork.stream_id, "side": name, "events": lines.len()}));
            lines.iter().for_each(|line| text += &format!("{}\n", line.get()));
        };
        side("base", &fork.base);
        for branch in &fork.branches {
            side(&branch.report.name, &branch.lines);
        }
    }
    text
}

/// Reads `{"unresolvable":"why"}`, an array of events, or an object with `events`; `resolve` may be left out.
fn parse_answer(id: &str, answer: &[u8]) -> std::result::Result<Resolution, Rejection> {
    let value: Option<Value> = serde_json::from_slice(answer).ok();
    let object = value.as_ref().and_then(Value::as_object);
    if let Some(reason) = object.and_then(|object| object.get("unresolvable")) {
        return Ok(Resolution::Unresolvable(reason.as_str().unwrap_or("no reason is given").to_owned()));
    }
    // The payloads must stay the bytes that they are, so the text is completed and not printed anew.
    let text = String::from_utf8_lossy(answer);
    let completed = match (&value, text.trim().strip_prefix('{')) {
        (Some(Value::Array(_)), _) => format!("{{\"resolve\":\"{id}\",\"events\":{text}}}"),
        (Some(Value::Object(object)), Some(rest)) if !object.contains_key("resolve") => {
            format!("{{\"resolve\":\"{id}\"{}{rest}", if object.is_empty() { "" } else { "," })
        }
        _ => text.into_owned(),
    };
    let draft = parse_draft(completed.as_bytes(), DraftKind::Document)?;
    if draft.resolve.as_ref().is_some_and(|resolve| resolve.conflict == id) {
        return Ok(Resolution::Events(draft.events));
    }
    Err(Rejection::whole(crate::model::Errno::EINVAL, format!("the answer is not about conflict \"{id}\""), "leave \"resolve\" as it was"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    const ID: &str = "0123456789ab";

    #[test]
    fn an_answer_may_leave_out_what_is_known() {
        let event = "{\"stream\":\"s\",\"type\":\"T\",\"data\":1.50}";
        for text in [format!("{{\"resolve\":\"{ID}\",\"events\":[{event}]}}"), format!(" {{\"events\":[{event}]}}\n"), format!("[{event}]")]
        {
            let Resolution::Events(events) = parse_answer(ID, text.as_bytes()).unwrap() else { panic!("{text}") };
            assert_eq!((events.len(), events[0].event_data.as_str()), (1, "1.50"), "{text}");
        }
        for text in ["{}", "{\"events\":[]}", "[]"] {
            assert_eq!(parse_answer(ID, text.as_bytes()).unwrap(), Resolution::Events(Vec::new()), "{text}");
        }
    }

    #[test]
    fn no_answer_is_an_answer_too() {
        let declined = Resolution::Unresolvable("ask Ada".to_owned());
        assert_eq!(parse_answer(ID, b"{\"unresolvable\":\"ask Ada\"}").unwrap(), declined);
        for text in ["", "{", "{\"resolve\":\"ba9876543210\"}", "[{}]", "7"] {
            assert!(parse_answer(ID, text.as_bytes()).is_err(), "{text}");
        }
    }
}
