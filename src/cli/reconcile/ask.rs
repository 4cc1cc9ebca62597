//! A program decides on a conflict, and what an answer says.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::super::failure::{Failure, Kind, Result};
use crate::braid::{OpenConflict, Resolution};
use crate::disk::NO_THREAD_CURE;
use crate::format::draft::{DRAFT_LEN_MAX, DraftKind, parse_draft};
use crate::model::{Errno, Rejection};

/// Asks a program: the conflict on its standard input, the answer on its standard output.
pub(super) fn program(program: &Path, conflict: &OpenConflict) -> Result<Resolution> {
    let name = program.display().to_string();
    let id = &conflict.conflict;
    let ended = |kind: Kind, what: &str| Failure::new(kind, format!("program '{name}', asked about conflict '{id}', {what}"));
    let failed = |what: &str| ended(Kind::Failed, what);
    // As with every program that the user names: it is no fault of the machine or the store.
    let refused = |what: &str| ended(Kind::Refused, what);
    let question = serde_json::to_vec(conflict).map_err(|error| failed("cannot be asked").because(&error))?;
    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| refused("cannot be started").because(&error))?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    // It may answer before it has read everything, or nothing.
    let asked = std::thread::Builder::new().spawn(move || stdin.map(|mut stdin| stdin.write_all(&question)));
    let asked = match asked {
        Ok(asked) => asked,
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            return Err(failed("cannot be asked").because(&error).hint(NO_THREAD_CURE));
        }
    };
    let mut answer = Vec::new();
    if let Some(stdout) = stdout {
        let read = stdout.take(DRAFT_LEN_MAX as u64 + 1).read_to_end(&mut answer);
        read.map_err(|error| failed("cannot be heard").because(&error))?;
    }
    let status = child.wait().map_err(|error| failed("cannot be waited for").because(&error))?;
    drop(asked.join());
    if !status.success() {
        return Err(refused(&format!("ended with {status}; nothing is committed")));
    }
    if answer.trim_ascii().is_empty() {
        return Err(refused("has not answered; nothing is committed").hint("answer {\"events\":[]} to let both sides stand"));
    }
    parse_answer(id, &answer)
        .map_err(|rejection| Failure::from(rejection).about(&format!("the answer of program '{name}' on conflict '{id}'")))
}

/// Reads `{"unresolvable":"why"}`, an array of events, or an object with `events`; `resolve` may be left out.
pub(super) fn parse_answer(id: &str, answer: &[u8]) -> std::result::Result<Resolution, Rejection> {
    let value: Option<Value> = serde_json::from_slice(answer).ok();
    let object = value.as_ref().and_then(Value::as_object);
    if let Some(reason) = object.and_then(|object| object.get("unresolvable")) {
        return match reason.as_str().filter(|reason| !reason.trim().is_empty()) {
            Some(reason) => Ok(Resolution::Unresolvable(reason.to_owned())),
            None => Err(Rejection::whole(
                Errno::EINVAL,
                "the answer says \"unresolvable\" without a reason",
                "say why, for those who decide later",
            )),
        };
    }
    // It would settle the conflict as it is; a program that printed it more likely did not get to its answer.
    if object.is_some_and(serde_json::Map::is_empty) {
        let hint = "answer {\"events\":[]} to let both sides stand, or {\"unresolvable\":\"why\"}";
        return Err(Rejection::whole(Errno::EINVAL, "the answer is an empty object".to_owned(), hint));
    }
    // The payloads must stay the bytes that they are, so the text is completed and not printed anew.
    let (at, added, end) = match &value {
        Some(Value::Array(_)) => (0, format!("{{\"resolve\":\"{id}\",\"events\":"), "}"),
        Some(Value::Object(object)) if !object.contains_key("resolve") => {
            (answer.iter().position(|byte| *byte == b'{').map_or(0, |brace| brace + 1), format!("\"resolve\":\"{id}\","), "")
        }
        _ => (0, String::new(), ""),
    };
    let (before, behind) = answer.split_at(at);
    let completed = [before, added.as_bytes(), behind, end.as_bytes()].concat();
    let mut lines = before.rsplit(|byte| *byte == b'\n');
    let column = lines.next().map_or(0, <[u8]>::len) as u64 + 1;
    let place = (lines.count() as u64 + 1, column);
    let draft = parse_draft(&completed, DraftKind::Document).map_err(|rejection| rejection.without_inserted(place, added.len() as u64))?;
    // All that is settled in one pass is one transaction, for which a single answer cannot speak.
    if !draft.expect.is_empty() || draft.key.is_some() {
        let message = "the answer has \"expect\" or \"key\", which a resolution has no use for";
        let hint = "leave them out, or append it as a draft of its own: braidfs append";
        return Err(Rejection::whole(Errno::EINVAL, message.to_owned(), hint));
    }
    if draft.resolve.as_ref().is_some_and(|resolve| resolve.conflict == id) {
        return Ok(Resolution::Events(draft.events));
    }
    Err(Rejection::whole(Errno::EINVAL, format!("the answer is not about conflict \"{id}\""), "leave \"resolve\" as it was"))
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
        for text in ["{\"events\":[]}", "[]"] {
            assert_eq!(parse_answer(ID, text.as_bytes()).unwrap(), Resolution::Events(Vec::new()), "{text}");
        }
    }

    /// Places are those of the answer, not of what it is completed to.
    #[test]
    fn what_is_wrong_with_an_answer_is_where_its_author_wrote_it() {
        let cases: [(&str, &[(u64, u64)]); 7] = [
            (r#"[{"stream":"s","type":""}]"#, &[(1, 2), (1, 23)]),
            ("\n [{\"stream\":\"s\",\"data\":1,\n\"type\":\"\"}]", &[(3, 8)]),
            (r#"{"events":[{"stream":"s","type":"","data":1}]}"#, &[(1, 33)]),
            ("\n\n  {\"events\":[{\"stream\":\"s\",\"type\":\"\",\"data\":1}]}", &[(3, 35)]),
            ("{\n\"events\":[{\"stream\":\"s\",\"type\":\"\",\"data\":1}]}", &[(2, 32)]),
            (r#"{"resolve":"0123456789ab","events":[{"stream":"s","type":"","data":1}]}"#, &[(1, 58)]),
            (r#"[{"stream":"s","type":"T","data":1},]"#, &[(1, 37)]),
        ];
        for (text, places) in cases {
            let refused = parse_answer(ID, text.as_bytes()).unwrap_err();
            let found: Vec<_> = refused.reasons.iter().map(|reason| (reason.line.unwrap(), reason.column.unwrap())).collect();
            assert_eq!(found, places, "{text}: {refused}");
        }
        let refused = parse_answer(ID, b"{\"resolve\":\"0123456789ab\",\"events\":[{\"stream\":\"s\xff\",\"type\":\"T\",\"data\":1}]}");
        assert!(refused.is_err(), "what is no UTF-8 is not put right");
    }

    /// They would be dropped without a word.
    #[test]
    fn an_answer_that_expects_something_or_has_a_key_is_refused() {
        for more in ["\"key\":\"k\"", "\"expect\":{\"s\":3}"] {
            let text = format!("{{\"events\":[{{\"stream\":\"s\",\"type\":\"T\",\"data\":1}}],{more}}}");
            let refused = parse_answer(ID, text.as_bytes()).unwrap_err();
            assert!(refused.to_string().contains("no use"), "{refused}");
        }
    }

    #[test]
    fn no_answer_is_an_answer_too() {
        let declined = Resolution::Unresolvable("ask Ada".to_owned());
        assert_eq!(parse_answer(ID, b"{\"unresolvable\":\"ask Ada\"}").unwrap(), declined);
        for text in
            ["", "{", "{}", " { }\n", "{\"resolve\":\"ba9876543210\"}", "[{}]", "7", "{\"unresolvable\":\" \"}", "{\"unresolvable\":7}"]
        {
            assert!(parse_answer(ID, text.as_bytes()).is_err(), "{text}");
        }
    }
}
