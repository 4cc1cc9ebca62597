//! A draft's text that is known to be valid JSON: places in it, and its parts without recursion.

use std::cell::Cell;

use memchr::{memchr, memchr_iter, memchr2, memrchr};

use super::EVENTS_MAX;

/// The most keys of one object that is not a payload: one stream each for all events.
pub(super) const MEMBERS_MAX: usize = EVENTS_MAX;

/// A part of a text, by offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) at: usize,
    pub(super) end: usize,
}

/// One key of an object and its value.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) key: String,
    pub(super) at: usize,
    pub(super) value: Span,
}

/// White space as JSON has it: a form feed is none.
pub(super) fn is_json_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// A line or a document.
pub(super) struct Source<'a> {
    text: &'a str,
    first_line: u64,
    /// An offset and the line that it is on, so that going forward counts each line once.
    known: Cell<(usize, u64)>,
}

impl<'a> Source<'a> {
    pub(super) fn new(text: &'a str, first_line: u64) -> Self {
        Self { text, first_line, known: Cell::new((0, first_line)) }
    }

    pub(super) fn whole(&self) -> Span {
        let space = |char: char| u8::try_from(char).is_ok_and(is_json_space);
        let at = self.text.len() - self.text.trim_start_matches(space).len();
        Span { at, end: at.max(self.text.trim_end_matches(space).len()) }
    }

    pub(super) fn get(&self, span: Span) -> &'a str {
        self.text.get(span.at..span.end).unwrap_or_default()
    }

    /// The byte at an offset; 0 behind the end, which no JSON has.
    pub(super) fn byte(&self, at: usize) -> u8 {
        self.text.as_bytes().get(at).copied().unwrap_or(0)
    }

    pub(super) fn line(&self, at: usize) -> u64 {
        let (mut from, mut line) = self.known.get();
        if from > at {
            (from, line) = (0, self.first_line);
        }
        line += memchr_iter(b'\n', self.text.as_bytes().get(from..at).unwrap_or_default()).count() as u64;
        self.known.set((at, line));
        line
    }

    /// The column in bytes, from 1.
    pub(super) fn column(&self, at: usize) -> u64 {
        let before = self.text.as_bytes().get(..at).unwrap_or_default();
        (at - memrchr(b'\n', before).map_or(0, |end| end + 1) + 1) as u64
    }

    /// The members of an object, at most one more than [`MEMBERS_MAX`].
    pub(super) fn members(&self, object: Span) -> Vec<Member> {
        let mut members = Vec::new();
        let mut at = self.skip_space(object.at + 1);
        while at < object.end && self.byte(at) == b'"' && members.len() <= MEMBERS_MAX {
            let key = Span { at, end: self.string_end(at) };
            let value_at = self.skip_space(self.skip_space(key.end) + 1);
            let value = Span { at: value_at, end: self.value_end(value_at) };
            members.push(Member { key: self.key(key), at, value });
            at = self.skip_comma(value.end);
        }
        members
    }

    /// The elements of an array, as many as a draft of one header and one event too many has.
    pub(super) fn elements(&self, array: Span) -> Vec<Span> {
        let mut elements = Vec::new();
        let mut at = self.skip_space(array.at + 1);
        while at + 1 < array.end && elements.len() < EVENTS_MAX + 2 {
            let element = Span { at, end: self.value_end(at).max(at + 1) };
            elements.push(element);
            at = self.skip_comma(element.end);
        }
        elements
    }

    /// A key that holds half a surrogate pair stays escaped: it is refused anyway.
    fn key(&self, span: Span) -> String {
        let raw = self.get(span);
        serde_json::from_str(raw).unwrap_or_else(|_| raw.trim_matches('"').to_owned())
    }

    fn skip_space(&self, at: usize) -> usize {
        let rest = self.text.as_bytes().get(at..).unwrap_or_default();
        at + rest.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(rest.len())
    }

    fn skip_comma(&self, at: usize) -> usize {
        let at = self.skip_space(at);
        if self.byte(at) == b',' { self.skip_space(at + 1) } else { at }
    }

    /// The end of the string whose quote is at `at`.
    fn string_end(&self, at: usize) -> usize {
        let mut at = at + 1;
        while let Some(found) = self.text.as_bytes().get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
            at += found + 1;
            match self.byte(at - 1) {
                b'"' => return at,
                _ => at += 1,
            }
        }
        self.text.len()
    }

    fn value_end(&self, at: usize) -> usize {
        match self.byte(at) {
            b'"' => self.string_end(at),
            b'[' | b'{' => self.nested_end(at),
            _ => {
                let rest = self.text.as_bytes().get(at..).unwrap_or_default();
                at + rest.iter().position(|byte| byte.is_ascii_whitespace() || matches!(byte, b',' | b']' | b'}')).unwrap_or(rest.len())
            }
        }
    }

    fn nested_end(&self, mut at: usize) -> usize {
        let mut depth = 0_usize;
        while at < self.text.len() {
            match self.byte(at) {
                b'"' => {
                    at = self.string_end(at);
                    continue;
                }
                b'[' | b'{' => depth += 1,
                b']' | b'}' => depth = depth.saturating_sub(1),
                _ => (),
            }
            at += 1;
            if depth == 0 {
                break;
            }
        }
        at
    }
}

/// The bytes of a value as one line: as they are, or without white space between its tokens if it has line ends.
pub(super) fn one_line(json: &str) -> String {
    if memchr2(b'\n', b'\r', json.as_bytes()).is_none() {
        return json.to_owned();
    }
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    // Valid JSON has quotes only around strings, and a string holds no raw line end.
    while let Some(quote) = memchr(b'"', rest.as_bytes()) {
        let source = Source::new(rest, 1);
        let end = source.string_end(quote);
        out.extend(rest.get(..quote).unwrap_or_default().split_ascii_whitespace());
        out.push_str(rest.get(quote..end).unwrap_or_default());
        rest = rest.get(end..).unwrap_or_default();
    }
    out.extend(rest.split_ascii_whitespace());
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn parts(text: &str) -> Vec<(String, String)> {
        let source = Source::new(text, 1);
        match source.byte(source.whole().at) {
            b'{' => source.members(source.whole()).into_iter().map(|member| (member.key, source.get(member.value).to_owned())).collect(),
            _ => source.elements(source.whole()).into_iter().map(|span| (String::new(), source.get(span).to_owned())).collect(),
        }
    }

    #[test]
    fn splits_one_level() {
        let text = " { \"a\" : [1,{\"x\":\"]}\\\"\"}] ,\"b\\n\":null,\"c\":-1.5e3,\"\":\"\\\\\" }\n";
        let expected = [("a", "[1,{\"x\":\"]}\\\"\"}]"), ("b\n", "null"), ("c", "-1.5e3"), ("", "\"\\\\\"")];
        assert_eq!(parts(text), expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert!(parts(" [ ] ").is_empty() && parts("{ }").is_empty());
        assert_eq!(parts("[ 1 , [] ]").len(), 2);
    }

    #[test]
    fn knows_its_places() {
        let source = Source::new("{\n \"a\":\n1}", 5);
        assert_eq!([3, 8, 0, 7].map(|at| (source.line(at), source.column(at))), [(6, 2), (7, 1), (5, 1), (6, 6)]);
    }

    proptest! {
        #[test]
        fn one_line_changes_no_token(text in any::<String>(), n in any::<f64>()) {
            let value = serde_json::json!({ "a b": [text.clone(), n, {"": null}], text: [[], {}] });
            for json in [serde_json::to_string_pretty(&value).unwrap(), value.to_string()] {
                let line = one_line(&json);
                prop_assert_eq!(&line, &value.to_string());
                prop_assert_eq!(serde_json::from_str::<Value>(&parts(&json)[0].1).unwrap().is_array(), true);
            }
        }

        #[test]
        fn never_panics(text in "[\\[\\]{}\",:\\\\ a1é\\n]{0,30}") {
            parts(&text);
            one_line(&text);
        }
    }
}
