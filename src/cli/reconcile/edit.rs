//! A person decides on a conflict, with an editor.

use std::env;
use std::ffi::OsString;
use std::io::Write;
use std::process::Command;
use std::time::SystemTime;

use tempfile::TempPath;

use super::super::events::rendered;
use super::super::failure::{Failure, Kind, Result};
use super::super::harmless::harmless;
use super::super::output::complain;
use super::ask::parse_answer;
use crate::braid::{OpenConflict, OpenFork, Resolution};
use crate::disk::Disk;
use crate::format::text::{counted, quoted};

/// When a file that nobody has saved yet was last changed.
const UNSAVED: SystemTime = SystemTime::UNIX_EPOCH;
/// How many of the last events that all sides have in common are shown.
const BASE_SHOWN_MAX: usize = 3;
/// How many events of one side are shown.
const SIDE_SHOWN_MAX: usize = 20;
/// How many streams of a conflict are shown.
const STREAMS_SHOWN_MAX: usize = 20;
/// What a line of a resolution begins with that is no part of it.
const COMMENT: u8 = b'#';

/// What people have written that is not committed yet.
#[derive(Default)]
pub(super) struct Written(Vec<TempPath>);

impl Written {
    /// A failure that says where to find what was written, which is kept.
    pub(super) fn keep(self, failure: Failure) -> Failure {
        self.0.into_iter().fold(failure, |failure, file| match file.keep() {
            Ok(kept) => failure.hint(format!("what you wrote is kept in {}", quoted(&kept.to_string_lossy()))),
            Err(error) => failure.because(&error),
        })
    }
}

/// Asks a person: the resolution in an editor, with what diverged as comments below it. A resolution with events is added to what was
/// written.
pub(super) fn editor(conflict: &OpenConflict, written: &mut Written) -> Result<Resolution> {
    let failed = |what: &str| Failure::new(Kind::Failed, what.to_owned());
    let refused = |what: &str| Failure::new(Kind::Refused, what.to_owned());
    let file = |ending: &str, text: String| {
        let mut file = tempfile::Builder::new().prefix("braidfs-").suffix(ending).tempfile()?;
        file.write_all(text.as_bytes()).map(|()| file.into_temp_path())
    };
    let files = file(".jsonl", whole(conflict)).and_then(|all| {
        let text = template(conflict, &all.display().to_string());
        Ok((file(".json", text)?, all))
    });
    let (resolution, _all) = files.map_err(|error| failed("no file can be made for the editor").because(&error))?;
    let disk = Disk::real();
    let stat = || disk.stat(&resolution).map_err(|error| failed("what was edited cannot be read").because(&error));
    // A time that no editor gives, so that whatever is saved from now on shows.
    disk.set_modified(&resolution, UNSAVED).map_err(|error| failed("no file can be made for the editor").because(&error))?;
    let offered = stat()?;
    loop {
        let ended = Command::new("sh")
            .arg("-c")
            .arg(command())
            .arg("sh")
            .arg(&resolution)
            .status()
            .map_err(|error| refused("the editor cannot be started").because(&error))?;
        if !ended.success() {
            if stat()? != offered {
                written.0.push(resolution);
            }
            return Err(refused(&format!("the editor ended with {ended}; nothing is committed")));
        }
        // Who leaves without saving has decided nothing, or has an editor that saves no text that was not changed.
        if stat()? == offered {
            if is_yes("nothing was saved; let both sides stand as they are? [y/N] ", false)? {
                return Ok(Resolution::Events(Vec::new()));
            }
            let before = conflict.declined.as_ref().map(|declined| declined.reason.clone());
            return Ok(Resolution::Unresolvable(before.unwrap_or_else(|| "nothing was saved".to_owned())));
        }
        let text = disk.read(&resolution).map_err(|error| failed("what was edited cannot be read").because(&error))?;
        let text = without_comments(&text);
        if text.trim_ascii().is_empty() {
            return Ok(Resolution::Unresolvable("left open".to_owned()));
        }
        match parse_answer(&conflict.conflict, &text) {
            Ok(answer) => {
                if matches!(&answer, Resolution::Events(events) if !events.is_empty()) {
                    written.0.push(resolution);
                }
                return Ok(answer);
            }
            Err(rejection) => complain(Failure::from(rejection).about("the resolution")),
        }
        if !is_yes("edit again? [Y/n] ", true)? {
            let kept = resolution.keep().map_err(|error| failed("what was edited cannot be kept").because(&error))?;
            return Ok(Resolution::Unresolvable(format!("the resolution makes no sense; it is kept in {}", kept.display())));
        }
    }
}

/// What a shell is to run: as with git the variable is a piece of its language, with arguments and quotes.
fn command() -> OsString {
    let named = ["VISUAL", "EDITOR"].into_iter().filter_map(env::var_os).find(|editor| !editor.is_empty());
    let mut command = named.unwrap_or_else(|| "vi".into());
    command.push(" \"$@\"");
    command
}

/// Asks whoever is at the terminal; nobody there, or the end of what was typed, is a no.
fn is_yes(question: &str, by_default: bool) -> Result<bool> {
    loop {
        let _ = write!(std::io::stderr(), "{question}");
        let mut answer = String::new();
        let read = std::io::stdin().read_line(&mut answer);
        if read.map_err(|error| Failure::new(Kind::Failed, "the answer cannot be read").because(&error))? == 0 {
            complain("");
            return Ok(false);
        }
        match answer.trim().to_ascii_lowercase().as_str() {
            "" => return Ok(by_default),
            "y" | "yes" => return Ok(true),
            "n" | "no" => return Ok(false),
            _ => {}
        }
    }
}

/// The text without its comments; their lines are left empty, so that every other one keeps its number.
fn without_comments(text: &[u8]) -> Vec<u8> {
    let lines = text.split_inclusive(|byte| *byte == b'\n').map(|line| if line.first() == Some(&COMMENT) { b"\n" } else { line });
    lines.flatten().copied().collect()
}

/// What is put into the editor: the resolution without events, and as comments what diverged.
fn template(conflict: &OpenConflict, all: &str) -> String {
    let mut comments = format!(
        "Conflict {}: working copies that did not know of each other wrote the same streams.\n\
         Save this as it is to let both sides stand, or with events that set things right:\n\
         \x20 \"events\": [{{\"stream\":\"…\",\"type\":\"…\",\"data\":…}}]\n\
         Leave without saving, or empty the file, to leave the conflict open; who leaves without saving is asked once more.\n\
         Lines that begin with \"#\" do not count. Every event, whole: {all}\n",
        conflict.conflict
    );
    for fork in conflict.streams.iter().take(STREAMS_SHOWN_MAX) {
        tell(&mut comments, fork);
    }
    if conflict.streams.len() > STREAMS_SHOWN_MAX {
        comments += &format!("\nand {}\n", counted(conflict.streams.len() - STREAMS_SHOWN_MAX, "more stream"));
    }
    let comments: String = comments.lines().map(|line| if line.is_empty() { "#\n".to_owned() } else { format!("# {line}\n") }).collect();
    format!("{{\n  \"resolve\": \"{}\",\n  \"events\": []\n}}\n\n{comments}", conflict.conflict)
}

fn tell(text: &mut String, fork: &OpenFork) {
    let shown = |text: &mut String, lines: &[Box<serde_json::value::RawValue>]| {
        lines.iter().for_each(|line| *text += &format!("  {}\n", rendered(line.get().as_bytes())));
    };
    *text += &format!("\nStream {}: {} in common\n", harmless(&fork.stream_id), counted(fork.base_version, "event"));
    let base = fork.base.len().saturating_sub(BASE_SHOWN_MAX);
    if base > 0 {
        *text += &format!("  {}, then\n", counted(base, "event"));
    }
    shown(text, fork.base.get(base..).unwrap_or_default());
    for branch in &fork.branches {
        *text += &format!("{} wrote {}\n", harmless(&branch.report.name), counted(branch.lines.len(), "event"));
        shown(text, branch.lines.get(..SIDE_SHOWN_MAX).unwrap_or(&branch.lines));
        if branch.lines.len() > SIDE_SHOWN_MAX {
            *text += &format!("  and {} more\n", branch.lines.len() - SIDE_SHOWN_MAX);
        }
    }
}

/// Every event of every side, each file behind a line that names it.
fn whole(conflict: &OpenConflict) -> String {
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_no_part_of_a_resolution_and_keep_the_lines_in_place() {
        let text = b"# one\n{\n# two\n  \"a\": \"# three\"\n}\n#";
        assert_eq!(without_comments(text), b"\n{\n\n  \"a\": \"# three\"\n}\n\n");
        assert!(without_comments(b"# all\n#\n").trim_ascii().is_empty());
    }

    #[test]
    fn what_is_offered_is_a_resolution_without_events() {
        let conflict = OpenConflict {
            conflict: "0123456789ab".to_owned(),
            state: crate::model::ConflictState::Open,
            declined: None,
            heads: Vec::new(),
            streams: vec![OpenFork {
                stream_id: "a\n{\"evil\":1}".to_owned(),
                path: String::new(),
                base_version: 0,
                fork_point: Vec::new(),
                base: Vec::new(),
                branches: Vec::new(),
            }],
        };
        let text = template(&conflict, "/tmp/x\ny");
        let offered = without_comments(text.as_bytes());
        assert_eq!(parse_answer("0123456789ab", &offered).unwrap(), Resolution::Events(Vec::new()), "{text}");
    }
}
