//! Parses the settings in front of a program.

use serde_json::value::RawValue;

use super::{Definition, NAME_CHARS_MAX, Per, TEXT_BYTES_MAX};
use crate::fold::error::FoldError;

/// How a line of settings begins; a comment that begins otherwise is the author's.
const MARK: &str = "#:";

pub(super) fn parse_definition(name: &str, text: &str) -> Result<Definition, FoldError> {
    check_name(name)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("fold \"{name}\" is too long: {} bytes, the limit is {TEXT_BYTES_MAX}", text.len());
        return Err(FoldError::program(message));
    }
    let mut settings = Settings::default();
    let mut in_program = false;
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let trimmed = line.trim();
        if let Some(setting) = trimmed.strip_prefix(MARK) {
            let at = |error: FoldError| error.at_offset(text, offset + leading(line));
            if in_program {
                return Err(at(FoldError::program("a setting stands after the program began; settings come first")));
            }
            settings.set(setting.trim()).map_err(at)?;
        } else if !trimmed.is_empty() && !trimmed.starts_with('#') {
            in_program = true;
        }
        offset += line.len();
    }
    if !in_program {
        return Err(FoldError::program(format!("fold \"{name}\" has no program")).at_offset(text, text.len()));
    }
    let Some(init) = settings.init else {
        return Err(FoldError::program(format!("fold \"{name}\" has no initial state; add \"#: init: JSON\"")).at_offset(text, 0));
    };
    Ok(Definition {
        name: name.to_owned(),
        init,
        per: settings.per.unwrap_or_default(),
        streams: settings.streams.unwrap_or_else(|| "*".to_owned()),
        text: text.to_owned(),
    })
}

/// Names become file names and parts of paths in the mount, so they are plain.
fn check_name(name: &str) -> Result<(), FoldError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.chars().all(plain) && name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.len() <= NAME_CHARS_MAX {
        return Ok(());
    }
    Err(FoldError::program(format!(
        "fold name \"{name}\" is not allowed: 1 to {NAME_CHARS_MAX} of A-Z a-z 0-9 . _ -, a letter or digit first"
    )))
}

fn leading(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

#[derive(Default)]
struct Settings {
    init: Option<String>,
    per: Option<Per>,
    streams: Option<String>,
}

impl Settings {
    fn set(&mut self, setting: &str) -> Result<(), FoldError> {
        // jq takes such a comment to go on in the next line, so the program would lose its first one.
        if setting.ends_with('\\') {
            return Err(FoldError::program("a setting ends in a backslash; jq would take the next line for a comment"));
        }
        let Some((key, value)) = setting.split_once(':') else {
            return Err(FoldError::program(format!("setting \"{setting}\" is not \"key: value\"")));
        };
        let (key, value) = (key.trim(), value.trim());
        let repeated = match key {
            "init" => self.init.replace(parse_init(value)?).is_some(),
            "per" => self.per.replace(parse_per(value)?).is_some(),
            "streams" => self.streams.replace(parse_streams(value)?).is_some(),
            _ => return Err(FoldError::program(format!("setting \"{key}\" is unknown; there are init, per and streams"))),
        };
        if repeated { Err(FoldError::program(format!("setting \"{key}\" stands here twice"))) } else { Ok(()) }
    }
}

fn parse_init(value: &str) -> Result<String, FoldError> {
    match serde_json::from_str::<&RawValue>(value) {
        Ok(_) => Ok(value.to_owned()),
        Err(error) => Err(FoldError::program(format!("init \"{value}\" is not JSON: {error}"))),
    }
}

fn parse_per(value: &str) -> Result<Per, FoldError> {
    Per::from_name(value).ok_or_else(|| FoldError::program(format!("per \"{value}\" is none of stream, type and all")))
}

fn parse_streams(value: &str) -> Result<String, FoldError> {
    if value.is_empty() {
        return Err(FoldError::program("streams \"\" matches no stream; \"*\" matches all"));
    }
    Ok(value.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn settings_have_defaults() {
        let definition = parse_definition("count", "#: init: 0\n. + 1").unwrap();
        assert_eq!((definition.init.as_str(), definition.per, definition.streams.as_str()), ("0", Per::All, "*"));
    }

    #[test]
    fn comments_and_settings_may_mix_before_the_program() {
        let text = "# what it is: a note\n\n  #:per :  type\n#: init: [\":\"]\n# more\n.";
        let definition = parse_definition("a.b-c_1", text).unwrap();
        assert_eq!((definition.init.as_str(), definition.per), ("[\":\"]", Per::Type));
        assert_eq!(definition.text, text);
    }

    #[test]
    fn a_mark_in_front_and_other_line_ends_do_no_harm() {
        let definition = parse_definition("x", "\u{feff}#: init: 0\r\n#: streams: a-*\r\n. + 1\r\n").unwrap();
        assert_eq!((definition.init.as_str(), definition.streams.as_str()), ("0", "a-*"));
        assert!(crate::fold::Program::compile(&definition.text).is_ok());
    }

    #[test]
    fn errors_name_their_place() {
        for (text, place, part) in [
            ("#: init: {\n.", (1, 1), "not JSON"),
            ("# a\n  #: color: red\n.", (2, 3), "\"color\" is unknown"),
            ("#: per: all\n#: per: all\n.", (2, 1), "twice"),
            ("#: per: each\n.", (1, 1), "\"each\""),
            ("#: streams:\n.", (1, 1), "matches no stream"),
            ("#: nothing\n.", (1, 1), "key: value"),
            (".\n#: per: all\n", (2, 1), "settings come first"),
            ("#: streams: a\\\n.", (1, 1), "backslash"),
            ("# only a comment\n", (2, 1), "no program"),
            ("# no setting\n.", (1, 1), "no initial state"),
        ] {
            let error = parse_definition("x", text).unwrap_err();
            assert_eq!((error.line, error.column), (Some(place.0), Some(place.1)), "{text:?}: {error}");
            assert!(error.message.contains(part), "{text:?}: {error}");
        }
    }

    #[test]
    fn names_are_plain_and_short() {
        let text = "#: init: 0\n.";
        for name in ["", ".x", "a/b", "a b", "é", "-x"] {
            assert!(parse_definition(name, text).is_err(), "{name:?}");
        }
        assert!(parse_definition(&"a".repeat(NAME_CHARS_MAX), text).is_ok());
        assert!(parse_definition(&"a".repeat(NAME_CHARS_MAX + 1), text).is_err());
    }

    #[test]
    fn a_text_over_the_limit_is_refused_whole() {
        let text = |bytes: usize| format!("#: init: 0\n{}", ".".repeat(bytes - 11));
        assert!(parse_definition("x", &text(TEXT_BYTES_MAX)).is_ok());
        assert!(parse_definition("x", &text(TEXT_BYTES_MAX + 1)).unwrap_err().message.contains("65537 bytes"));
    }
}
