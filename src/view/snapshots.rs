//! `snapshots/<name>/`: the newest state that still holds, each saved one, and what is to be put on top.

use std::collections::BTreeMap;

use serde_json::json;

use crate::epoch::SavedSnapshot;
use crate::format::names::directory_name;
use crate::format::time::parse_rfc3339;
use crate::index::sequence::Sequence;
use crate::store::Coverage;
use crate::view::file::File;
use crate::view::lines::Numbers;
use crate::view::tree::{Entry, Node, Tree};

/// The newest state that still holds.
const LATEST: &str = "latest.json";
/// What came after what it covers.
const AFTER: &str = "after.jsonl";

/// The name of a state's own file: its number in the feed, or, where it covers streams, its ordinal behind a `v`.
fn file_name_of(saved: &SavedSnapshot) -> String {
    match saved.meta.coverage {
        Coverage::SeqNr(seq_nr) => format!("{seq_nr}.json"),
        Coverage::Versions(_) => format!("v{}.json", saved.meta.ordinal),
    }
}

impl Tree {
    /// The states of the name that a directory stands for, in the order of saving.
    fn saved(&self, directory: &str) -> &[SavedSnapshot] {
        let all = self.epoch().snapshots.as_slice();
        // The names are few, and each state has its name: no search is worth its words.
        let Some(start) = all.iter().position(|saved| directory_name(&saved.meta.name) == directory) else { return &[] };
        let rest = all.get(start..).unwrap_or_default();
        let name = rest.first().map(|saved| &saved.meta.name);
        let len = rest.iter().take_while(|saved| Some(&saved.meta.name) == name).count();
        rest.get(..len).unwrap_or_default()
    }

    /// What a path below `snapshots/` is.
    pub(super) fn find_snapshot(&self, path: &str) -> Option<Node> {
        let (directory, name) = path.split_once('/').map_or((path, None), |(directory, name)| (directory, Some(name)));
        let saved = self.saved(directory);
        let newest = saved.last()?;
        let latest = || self.newest_that_holds(saved);
        match name {
            None => Some(Node::Directory { mtime_ns: saved_at_ns(newest) }),
            Some(LATEST) => self.state_document(latest()?),
            Some(AFTER) => Some(Node::File(self.after_snapshot(latest(), newest))),
            Some(name) => self.state_document(saved.iter().rev().find(|saved| file_name_of(saved) == name)?),
        }
    }

    fn newest_that_holds<'a>(&self, saved: &'a [SavedSnapshot]) -> Option<&'a SavedSnapshot> {
        saved.iter().rev().find(|saved| saved.holds(&self.epoch().store))
    }

    /// The names in `snapshots/` or in a directory of it.
    pub(super) fn list_snapshots(&self, path: &str) -> Option<Vec<Entry>> {
        if path.is_empty() {
            let mut names: Vec<String> = self.epoch().snapshots.iter().map(|saved| directory_name(&saved.meta.name)).collect();
            names.dedup();
            return Some(names.into_iter().map(Entry::directory).collect());
        }
        let saved = self.saved(path);
        saved.first()?;
        let mut names: Vec<String> = saved.iter().filter(|saved| saved.bytes.known() != Some(false)).map(file_name_of).collect();
        names.sort();
        names.dedup();
        if self.newest_that_holds(saved).is_some() {
            names.push(LATEST.to_owned());
        }
        names.push(AFTER.to_owned());
        Some(names.into_iter().map(Entry::file).collect())
    }

    /// `{"snapshot":{"name":…,"seq_nr":N},…,"state":…}`: the state's bytes are those that were saved.
    fn state_document(&self, saved: &SavedSnapshot) -> Option<Node> {
        let meta = &saved.meta;
        let state = saved.state(&self.epoch().store)?;
        let covers = match &meta.coverage {
            Coverage::SeqNr(seq_nr) => json!({"name": meta.name, "seq_nr": seq_nr}),
            Coverage::Versions(versions) => {
                let versions: BTreeMap<&str, u64> = versions.iter().map(|(stream, version)| (stream.as_str(), *version)).collect();
                json!({"name": meta.name, "versions": versions})
            }
        };
        let (digest, saved_at) = (json!(meta.digest), json!(meta.saved_at));
        let mut text = format!(
            "{{\"snapshot\":{covers},\"ordinal\":{},\"digest\":{digest},\"saved_at\":{saved_at},\"stale\":{},\"state\":",
            meta.ordinal, !saved.valid
        )
        .into_bytes();
        text.extend_from_slice(&state);
        text.extend_from_slice(b"}\n");
        Some(Node::File(File::of_bytes(text, saved_at_ns(saved))))
    }

    /// What is to be put on top of the state that is served, or everything where none is.
    fn after_snapshot(&self, latest: Option<&SavedSnapshot>, newest: &SavedSnapshot) -> File {
        let index = &self.epoch().index;
        let versions = match (&newest.meta.coverage, latest.map(|saved| &saved.meta.coverage)) {
            (_, Some(Coverage::SeqNr(seq_nr))) => return self.feed(*seq_nr).renewed(*seq_nr),
            (Coverage::SeqNr(_), None) => return self.feed(0).renewed(0),
            (_, Some(Coverage::Versions(versions))) => versions.clone(),
            (Coverage::Versions(versions), None) => versions.iter().map(|(stream, _)| (stream.clone(), 0)).collect(),
        };
        // An ordinal may be given again once its state is removed; what is covered tells states apart.
        let covered = latest.and_then(|saved| u64::from_str_radix(saved.meta.digest.get(..12)?, 16).ok());
        let mut incarnation = covered.unwrap_or(0) << 16;
        let mut events = Vec::new();
        for (stream, version) in &versions {
            if let Some(list) = index.find_stream(stream).and_then(|number| index.stream_list(number)) {
                incarnation = incarnation.wrapping_add(u64::from(list.incarnation));
                events.extend(list.events.iter_from(*version));
            }
        }
        events.sort_unstable_by(|&a, &b| {
            index.transactions.compare(index.events.transaction(a), index.events.transaction(b)).then(a.cmp(&b))
        });
        let mut items = Sequence::default();
        items.splice(0, &events, |event| index.weight(event));
        self.lines(items, incarnation, Numbers::Version, Vec::new())
    }
}

fn saved_at_ns(saved: &SavedSnapshot) -> i64 {
    parse_rfc3339(&saved.meta.saved_at).and_then(|nanos| i64::try_from(nanos).ok()).unwrap_or(0)
}
