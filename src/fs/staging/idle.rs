//! Drafts that look finished under names that are never committed: whoever saved them is told how to rename them.

use std::time::{Duration, Instant};

use crate::format::text::quoted;
use crate::fs::locked;
use crate::fs::staging::{Inner, Phase, Staging, State, commit_kind};
use crate::model::{Finding, FindingKind, Severity};
use crate::store::StagedName;

/// A draft that was not open for so long is at rest.
pub const REST: Duration = Duration::from_secs(10);
/// So much of a draft is read to see whether it has an object a line.
const BYTES_READ: usize = 64 << 10;
/// Endings by which editors and programs that copy name what they have not finished, or keep beside.
const UNFINISHED: [&str; 11] = ["tmp", "temp", "part", "partial", "filepart", "crdownload", "download", "swp", "swo", "swx", "bak"];
/// Endings of other formats of text, which a name for events does without.
const OF_TEXT: [&str; 5] = ["txt", "log", "ndjson", "jsonl", "json"];
/// Of a name that is too long so much is kept.
const STEM_BYTES_MAX: usize = 200;

impl Staging {
    /// Tells of drafts at rest, and of those no more that went, were renamed or are open. Returns when the next one may come to rest.
    pub(super) fn tell_idle(&self, now: Instant) -> Duration {
        let mut next = Duration::MAX;
        let mut told = locked(&self.told);
        let names: Vec<String> = {
            let state = locked(&self.state);
            let drafts = state.names.iter().filter(|(name, _)| looks_finished(name));
            let idle = drafts.filter(|(_, file)| match rest_left(&locked(&file.inner), now) {
                Some(left) => {
                    next = if left.is_zero() { next } else { next.min(left) };
                    left.is_zero()
                }
                None => false,
            });
            idle.map(|(name, _)| name.clone()).collect()
        };
        let findings: Vec<Finding> = names
            .iter()
            .map(|name| {
                let before = told.iter().find(|(of, _)| of == name).map(|(_, finding)| finding.clone());
                before.unwrap_or_else(|| self.idle(name))
            })
            .collect();
        if !told.iter().map(|(_, finding)| finding).eq(&findings) {
            self.ledger.report(findings.clone());
            *told = names.into_iter().zip(findings).collect();
        }
        next
    }

    /// Looks again at the drafts that are told of: one of them may have gone.
    pub(super) fn tell_idle_again(&self) {
        if !locked(&self.told).is_empty() {
            self.tell_idle(Instant::now());
        }
    }

    fn idle(&self, name: &str) -> Finding {
        let begins = StagedName::new(name).and_then(|staged| self.files.open(&staged).ok()?.read_at(0, BYTES_READ).ok());
        let better = suggestion(&locked(&self.state), name, &begins.unwrap_or_default());
        // What a terminal would obey is in no command.
        let is_typed = !name.chars().any(char::is_control) && !name.contains('/');
        Finding {
            kind: FindingKind::IdleDraft,
            severity: Severity::Warning,
            file: None,
            transaction_id: None,
            message: format!("draft \"{}\" in staging/ is not committed: a file of such a name never is", name.escape_debug()),
            hint: if is_typed {
                format!("mv staging/{} staging/{better}", quoted(name))
            } else {
                "give it a name of letters, digits, \".\", \"_\" and \"-\" that ends in \".jsonl\"".to_owned()
            },
        }
    }
}

/// How long a draft has still to rest; none if it is open, empty or none.
fn rest_left(inner: &Inner, now: Instant) -> Option<Duration> {
    let rests = inner.openers == 0 && inner.size > 0 && inner.phase == Phase::Open;
    rests.then(|| REST.saturating_sub(now.saturating_duration_since(inner.used)))
}

/// Whether a name is neither one that is committed nor one that editors and their like give to what is not finished.
fn looks_finished(name: &str) -> bool {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    let is_of_sed = name.len() == 9 && name.starts_with("sed") && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    commit_kind(name).is_none()
        && !name.starts_with(['.', '#', '~'])
        && !name.ends_with(['~', '#'])
        && !ending.is_some_and(|ending| UNFINISHED.contains(&ending.as_str()))
        && !name.bytes().all(|byte| byte.is_ascii_digit())
        && !is_of_sed
}

/// A name like the draft's that is committed and that nothing has.
fn suggestion(state: &State, name: &str, begins: &[u8]) -> String {
    let (stem, ending) = match name.rsplit_once('.') {
        Some((stem, ending)) if OF_TEXT.contains(&ending.to_ascii_lowercase().as_str()) => (stem, ending.to_ascii_lowercase()),
        _ => (name, String::new()),
    };
    let mut plain = String::new();
    for c in stem.chars().take(STEM_BYTES_MAX) {
        match c {
            c if c.is_ascii_alphanumeric() || (!plain.is_empty() && matches!(c, '.' | '_' | '-')) => plain.push(c),
            _ if plain.is_empty() || plain.ends_with('-') => {}
            _ => plain.push('-'),
        }
    }
    let stem = Some(plain.trim_end_matches(['-', '.', '_'])).filter(|plain| !plain.is_empty()).unwrap_or("events");
    let ending = if ending == "json" || (ending != "jsonl" && !has_an_object_a_line(begins)) { "json" } else { "jsonl" };
    let names = (1u64..).map(|n| if n == 1 { format!("{stem}.{ending}") } else { format!("{stem}-{n}.{ending}") });
    names.into_iter().find(|name| !state.names.contains_key(name) && !state.receipts.contains_key(name)).unwrap_or_default()
}

/// Whether bytes begin with a line that is an object; what makes no sense at all counts as lines, whose refusal names the place.
fn has_an_object_a_line(begins: &[u8]) -> bool {
    let is_object = |bytes: &[u8]| serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(bytes).is_ok();
    let first = begins.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty()).unwrap_or_default();
    is_object(first) || !matches!(first.trim_ascii_start().first(), Some(b'[' | b'{'))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn only_what_somebody_may_have_taken_for_finished_is_told() {
        for name in ["x.txt", "my events.jsonl", "foo", "ä.json", "X.JSONL", "-x.json", "_x.json", "a.2024", "x.jsonl "] {
            assert!(looks_finished(name), "{name}");
        }
        for name in ["x.jsonl", "x.json", ".x", "x~", "x.tmp", "x.jsonl.part", "#x#", ".#x", "4913", "sedAbCdEf", ".x.swp", "x.TMP", "~x"] {
            assert!(!looks_finished(name), "{name}");
        }
    }

    #[test]
    fn a_better_name_is_like_the_one_that_was_meant_and_free() {
        let state = State::default();
        let better = |name: &str, begins: &str| suggestion(&state, name, begins.as_bytes());
        assert_eq!(better("my events.jsonl", "nonsense"), "my-events.jsonl");
        assert_eq!(better("x.txt", "{\"stream\":1}\n{\"x\":"), "x.jsonl");
        assert_eq!(better("foo", "[\n"), "foo.json");
        assert_eq!(better("foo", "{\n  \"stream\": 1\n}\n"), "foo.json");
        assert_eq!(better("a.2024", "{}\n"), "a.2024.jsonl");
        assert_eq!(better("ä.json", "{}"), "events.json");
        assert_eq!(better("-ä  b_.JSONL", ""), "b.jsonl");
        for name in ["my events.jsonl", "x.txt", &"ß".repeat(120), &"x".repeat(255)] {
            assert!(commit_kind(&better(name, "")).is_some() && better(name, "").len() <= 255, "{name}");
        }
        let mut state = State::default();
        state.receipts.insert("foo.jsonl".to_owned(), None);
        assert_eq!(suggestion(&state, "foo", b""), "foo-2.jsonl");
    }
}
