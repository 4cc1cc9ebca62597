//! `snapshots/<name>/`: the newest state that still holds, each saved one, what is to be put on top, and both in one.

use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::epoch::SavedSnapshot;
use crate::format::names::{Decoded, decode_directory_name, directory_name};
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
/// Both of one moment: the one name is looked up after the other, and somebody may save in between.
const RECOVERY: &str = "recovery.jsonl";

/// The name of a state's own file: its number in the feed, or, where it covers streams, its ordinal behind a `v`.
fn file_name_of(saved: &SavedSnapshot) -> String {
    match saved.meta.coverage {
        Coverage::SeqNr(seq_nr) => format!("{seq_nr}.json"),
        Coverage::Versions(_) => format!("v{}.json", saved.meta.ordinal),
    }
}

/// The text about a state with the state in it.
struct Document {
    pieces: Vec<Arc<[u8]>>,
    incarnation: u64,
    mtime_ns: i128,
}

impl Document {
    /// The document alone, or with lines behind it.
    fn into_file(self, after: Option<&File>) -> File {
        let mtime_ns = after.map_or(self.mtime_ns, |after| after.mtime_ns().max(self.mtime_ns));
        let incarnation = self.incarnation.wrapping_add(after.map_or(0, File::incarnation));
        File::of_pieces(self.pieces, after.and_then(File::lines).cloned(), incarnation, mtime_ns)
    }
}

impl Tree {
    /// The states of the name that a directory stands for, in the order of saving.
    fn saved(&self, directory: &str) -> &[SavedSnapshot] {
        let all = self.epoch().snapshots.as_slice();
        let name = match decode_directory_name(directory) {
            Some(Decoded::Exact(name)) => Some(name),
            Some(Decoded::Cut) => all.iter().map(|saved| &saved.meta.name).find(|name| directory_name(name) == directory).cloned(),
            None => None,
        };
        let Some(name) = name else { return &[] };
        let start = all.partition_point(|saved| saved.meta.name < name);
        let rest = all.get(start..).unwrap_or_default();
        rest.get(..rest.partition_point(|saved| saved.meta.name == name)).unwrap_or_default()
    }

    /// What a path below `snapshots/` is.
    pub(super) fn find_snapshot(&self, path: &str) -> Option<Node> {
        let (directory, name) = path.split_once('/').map_or((path, None), |(directory, name)| (directory, Some(name)));
        let saved = self.saved(directory);
        let newest = saved.last()?;
        match name {
            None => Some(Node::Directory { mtime_ns: saved_at_ns(newest) }),
            Some(LATEST) => Some(Node::File(self.newest_document(saved, false)?.1.into_file(None))),
            Some(AFTER) => Some(Node::File(self.after_snapshot(self.newest_that_holds(saved), newest))),
            Some(RECOVERY) => Some(Node::File(self.recovery(saved, newest))),
            Some(name) => {
                let saved = saved.iter().rev().find(|saved| file_name_of(saved) == name)?;
                Some(Node::File(self.document(saved, false)?.into_file(None)))
            }
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
        names.extend([AFTER, RECOVERY].map(str::to_owned));
        Some(names.into_iter().map(Entry::file).collect())
    }

    /// `{"snapshot":{"name":…,"seq_nr":N},…,"state":…}`: the state's bytes are those that were saved, but for spaces where it is to be one line.
    fn document(&self, saved: &SavedSnapshot, is_line: bool) -> Option<Document> {
        let meta = &saved.meta;
        let state = if is_line { saved.state_in_one_line(&self.epoch().store) } else { saved.state(&self.epoch().store) }?;
        let mut covers = meta.coverage.to_json();
        covers.insert("name".to_owned(), json!(meta.name));
        let covers = Value::from(covers);
        let (digest, saved_at) = (json!(meta.digest), json!(meta.saved_at));
        let head = format!(
            "{{\"snapshot\":{covers},\"ordinal\":{},\"digest\":{digest},\"saved_at\":{saved_at},\"stale\":{},\"state\":",
            meta.ordinal, !saved.valid
        );
        let digest = Sha256::new().chain_update(&head).chain_update(meta.state_sha256()).finalize();
        let incarnation = digest.iter().take(8).fold(0, |sum, &byte| sum << 8 | u64::from(byte));
        Some(Document {
            pieces: vec![head.into_bytes().into(), state, b"}\n".as_slice().into()],
            incarnation,
            mtime_ns: saved_at_ns(saved),
        })
    }

    /// That of the newest state that holds.
    fn newest_document<'a>(&self, saved: &'a [SavedSnapshot], is_line: bool) -> Option<(&'a SavedSnapshot, Document)> {
        let holding = saved.iter().rev().filter(|saved| saved.holds(&self.epoch().store));
        holding.filter_map(|saved| Some((saved, self.document(saved, is_line)?))).next()
    }

    /// The newest state that holds in one line, and what is to be put on top.
    fn recovery(&self, saved: &[SavedSnapshot], newest: &SavedSnapshot) -> File {
        match self.newest_document(saved, true) {
            Some((latest, document)) => document.into_file(Some(&self.after_snapshot(Some(latest), newest))),
            None => self.after_snapshot(None, newest),
        }
    }

    /// What is to be put on top of the state that is served, or everything where none is.
    fn after_snapshot(&self, latest: Option<&SavedSnapshot>, newest: &SavedSnapshot) -> File {
        let versions = match (&newest.meta.coverage, latest.map(|saved| &saved.meta.coverage)) {
            (_, Some(Coverage::SeqNr(seq_nr))) => return self.feed(*seq_nr).renewed(*seq_nr),
            (Coverage::SeqNr(_), None) => return self.feed(0).renewed(0),
            (_, Some(Coverage::Versions(versions))) => versions.clone(),
            (Coverage::Versions(versions), None) => versions.iter().map(|(stream, _)| (stream.clone(), 0)).collect(),
        };
        // An ordinal may be given again once its state is removed; what is covered tells states apart.
        let covered = latest.and_then(|saved| u64::from_str_radix(saved.meta.digest.get(..12)?, 16).ok());
        let path = format!("snapshots/{}/{AFTER}/{covered:?}", newest.meta.name);
        let make = || self.after_versions(&versions, covered);
        self.made.file(&path, || Some(make())).unwrap_or_else(make)
    }

    /// What streams have behind these versions, in canonical order.
    fn after_versions(&self, versions: &[(String, u64)], covered: Option<u64>) -> File {
        let index = &self.epoch().index;
        let mut incarnation = covered.unwrap_or(0) << 16;
        let mut events = Vec::new();
        for (stream, version) in versions {
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

fn saved_at_ns(saved: &SavedSnapshot) -> i128 {
    parse_rfc3339(&saved.meta.saved_at).unwrap_or(0)
}
