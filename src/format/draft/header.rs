//! The header of a draft.

use std::collections::HashSet;

use super::NESTING_MAX;
use super::build::Builder;
use super::fault;
use super::keys::HEADER_KEYS;
use super::source::{Member, Source, Span, one_line};
use crate::model::{Expectation, Payload, ResolveRequest, SnapshotRequest};

const KNOWN: &str = "expect, key, count, resolve, snapshot with state, and events";

/// Hex digits of a conflict's id.
pub const CONFLICT_LEN: usize = 12;

/// Whether a text has the form of a conflict's id.
#[must_use]
pub fn is_conflict_id(text: &str) -> bool {
    text.len() == CONFLICT_LEN && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl Builder {
    pub(super) fn add_header(&mut self, source: &Source<'_>, members: &[Member]) {
        let mut seen = HashSet::new();
        let mut values = Vec::new();
        for member in members {
            if member.key != "events" {
                self.check_readable(source, member.value, NESTING_MAX);
            }
            if !HEADER_KEYS.contains(&member.key.as_str()) {
                self.refuse_key(source, member, KNOWN);
            } else if seen.insert(member.key.as_str()) {
                values.push(member);
            } else {
                self.refuse(source, member.at, format!("key {:?} stands in the header twice", member.key), "leave one out");
            }
        }
        let find = |key: &str| values.iter().find(|member| member.key == key).map(|member| member.value);
        self.draft.expect = find("expect").map(|value| self.expect(source, value)).unwrap_or_default();
        self.draft.key = find("key").and_then(|value| self.key(source, value));
        self.draft.count = find("count").and_then(|value| self.number(source, "count", value));
        self.draft.resolve = find("resolve").and_then(|value| self.resolve(source, value));
        self.add_snapshot(source, find("snapshot"), find("state"), values.len());
        if let Some(events) = find("events") {
            self.add_events(source, events);
        }
    }

    fn add_events(&mut self, source: &Source<'_>, events: Span) {
        if source.byte(events.at) == b'[' {
            self.add_elements(source, &source.elements(events));
        } else {
            self.refuse(source, events.at, "\"events\" is not an array", "");
        }
    }

    fn expect(&mut self, source: &Source<'_>, value: Span) -> Vec<(String, Expectation)> {
        let mut seen = HashSet::new();
        let mut expect = Vec::new();
        for member in self.object(source, "expect", value) {
            if !self.is_new_stream(source, &member, &mut seen) {
                continue;
            }
            let expectation = match source.get(member.value) {
                "\"none\"" | "0" => Expectation::None,
                "\"exists\"" => Expectation::Exists,
                "\"any\"" => Expectation::Any,
                number => match number.parse() {
                    Ok(version) => Expectation::Version(version),
                    Err(_) => {
                        let message = format!("expectation of stream {:?} is not known", member.key);
                        self.refuse(source, member.value.at, message, "write a version, \"none\", \"exists\" or \"any\"");
                        continue;
                    }
                },
            };
            expect.push((member.key, expectation));
        }
        expect
    }

    /// Refuses a stream that is named twice or cannot exist.
    fn is_new_stream(&mut self, source: &Source<'_>, member: &Member, seen: &mut HashSet<String>) -> bool {
        let fault = fault::of_named_stream(&member.key);
        let fault = fault.or_else(|| (!seen.insert(member.key.clone())).then(|| fault::of_second_stream(&member.key)));
        self.accepts(source, Span { at: member.at, end: member.value.at }, fault)
    }

    fn object(&mut self, source: &Source<'_>, key: &str, value: Span) -> Vec<Member> {
        if source.byte(value.at) == b'{' {
            return self.members(source, value);
        }
        self.refuse(source, value.at, format!("\"{key}\" is not an object"), "");
        Vec::new()
    }

    fn key(&mut self, source: &Source<'_>, value: Span) -> Option<String> {
        let key = self.string(source, "key", value)?;
        self.accepts(source, value, fault::of_key(&key)).then_some(key)
    }

    fn resolve(&mut self, source: &Source<'_>, value: Span) -> Option<ResolveRequest> {
        let conflict = self.string(source, "resolve", value)?;
        self.accepts(source, value, fault::of_resolve(&conflict)).then_some(ResolveRequest { conflict })
    }

    fn add_snapshot(&mut self, source: &Source<'_>, snapshot: Option<Span>, state: Option<Span>, keys: usize) {
        match (snapshot, state) {
            (Some(snapshot), Some(state)) => {
                if keys > 2 {
                    self.refuse_for(source, snapshot.at, fault::of_company());
                }
                self.draft.snapshot = self.snapshot(source, snapshot, state);
            }
            (Some(at), None) => self.refuse(source, at.at, "snapshot has no \"state\" beside it", "add it"),
            (None, Some(at)) => self.refuse(source, at.at, "state has no \"snapshot\" beside it", "add it"),
            (None, None) => (),
        }
    }

    fn snapshot(&mut self, source: &Source<'_>, snapshot: Span, state: Span) -> Option<SnapshotRequest> {
        let (mut name, mut seq_nr, mut versions) = (None, None, None);
        for member in self.object(source, "snapshot", snapshot) {
            let is_new = match member.key.as_str() {
                "name" => name.replace(self.string(source, "name", member.value)).is_none(),
                "seq_nr" => seq_nr.replace(self.number(source, "seq_nr", member.value)).is_none(),
                "versions" => versions.replace(self.versions(source, member.value)).is_none(),
                _ => {
                    self.refuse(source, member.at, format!("key {:?} is not known", member.key), "known are name, seq_nr and versions");
                    true
                }
            };
            if !is_new {
                self.refuse(source, member.at, format!("key {:?} stands in the snapshot twice", member.key), "leave one out");
            }
        }
        self.accepts(source, snapshot, fault::of_coverage(seq_nr.is_some(), versions.is_some()));
        let name = name.flatten().unwrap_or_default();
        self.accepts(source, snapshot, fault::of_snapshot_name(&name));
        let state = Payload::checked(one_line(source.get(state)));
        Some(SnapshotRequest { name, seq_nr: seq_nr.flatten(), versions: versions.unwrap_or_default(), state })
    }

    fn versions(&mut self, source: &Source<'_>, value: Span) -> Vec<(String, u64)> {
        let mut seen = HashSet::new();
        let mut versions = Vec::new();
        for member in self.object(source, "versions", value) {
            if self.is_new_stream(source, &member, &mut seen)
                && let Some(version) = self.number(source, &member.key, member.value)
            {
                versions.push((member.key, version));
            }
        }
        versions
    }
}
