//! `forks/`: the open conflicts as directories that an editor and a diff tool can use.

mod words;

use std::collections::HashSet;

use crate::dag::forks::Branch;
use crate::dag::{Conflict, Fork};
use crate::epoch::Epoch;
use crate::format::draft::render_document;
use crate::format::names::ENDING;
use crate::index::Index;
use crate::index::sequence::Sequence;
use crate::model::{ConflictReport, Draft, ResolveRequest};
use crate::view::file::File;
use crate::view::lines::{Numbers, with_line};
use crate::view::report::{BranchName, STREAMS, branch_names};
use crate::view::tree::{Entry, Node, Tree};

/// The name of the events that all branches have in common.
const BASE: &str = "base";

impl Tree {
    /// What a path below `forks/` is.
    pub(super) fn find_fork(&self, path: &str) -> Option<Node> {
        let (id, rest) = path.split_once('/').map_or((path, ""), |(id, rest)| (id, rest));
        let index = &self.epoch().index;
        let conflict = index.forks().find(id)?;
        match rest {
            "" => Some(self.directory_of(conflict)),
            "README.md" => {
                let make = || {
                    let told = |fork, branch| self.told(conflict, fork, branch);
                    // It is made anew for each state that is published while somebody has it at hand.
                    let report = ConflictReport::of_first(self.epoch().as_ref(), conflict, words::FORKS_TOLD_MAX);
                    let text = words::readme(&report, conflict.forks.len(), told);
                    Some(File::of_bytes(text.into_bytes(), self.mtime_of_conflict(conflict)))
                };
                self.made.file(&format!("forks/{path}"), make).map(Node::File)
            }
            // It has the heads of the store.
            "report.json" => self.text(&format!("forks/{path}"), || report_json(self.epoch(), conflict)),
            "resolution.json" => Some(Node::File(File::of_bytes(resolution(id).into_bytes(), self.mtime_of_conflict(conflict)))),
            path => self.find_in_conflict(conflict, path),
        }
    }

    /// What is no event of a conflict is as old as its newest side: so it stays as it is, times included, while the conflict does.
    fn mtime_of_conflict(&self, conflict: &Conflict) -> i128 {
        let transactions = &self.epoch().index.transactions;
        let tips = conflict.forks.iter().filter_map(|fork| fork.branches.last()).map(|branch| branch.tip);
        self.mtime_of_transaction(tips.max_by(|&a, &b| transactions.compare(a, b)))
    }

    fn directory_of(&self, conflict: &Conflict) -> Node {
        Node::Directory { mtime_ns: self.mtime_of_conflict(conflict) }
    }

    /// The names in a directory below `forks/`; `""` is `forks/` itself.
    pub(super) fn list_forks(&self, path: &str) -> Option<Vec<Entry>> {
        let index = &self.epoch().index;
        if path.is_empty() {
            return Some(index.forks().conflicts().iter().map(|conflict| Entry::directory(conflict.id.as_str())).collect());
        }
        let (id, rest) = path.split_once('/').map_or((path, ""), |(id, rest)| (id, rest));
        if rest.is_empty() {
            index.forks().find(id)?;
            let files = ["README.md", "report.json", "resolution.json"].map(Entry::file);
            return Some(files.into_iter().chain([Entry::directory(STREAMS)]).collect());
        }
        let directory = below_streams(rest)?;
        let paths = index.forks().paths(id, &index.streams)?;
        let mut entries: Vec<Entry> = paths.names_in(directory).into_iter().map(Entry::directory).collect();
        // A stream may lie where others have a directory.
        if let Some(fork) = paths.find(directory) {
            let names = branch_names(self.epoch().as_ref(), fork);
            let names = names.iter().map(BranchName::shown).chain([BASE.to_owned()]);
            entries.extend(names.map(|name| Entry::file(name + ENDING)));
        }
        (!entries.is_empty()).then_some(entries)
    }

    fn find_in_conflict(&self, conflict: &Conflict, path: &str) -> Option<Node> {
        let index = &self.epoch().index;
        let path = below_streams(path)?;
        let paths = index.forks().paths(&conflict.id, &index.streams)?;
        if path.is_empty() || paths.find(path).is_some() || paths.has_below(path) {
            return Some(self.directory_of(conflict));
        }
        let (directory, name) = path.rsplit_once('/')?;
        let fork = paths.find(directory)?;
        let name = name.strip_suffix(ENDING)?;
        let make = || {
            if name == BASE {
                let events = base_events(index, fork);
                let base = self.fork_lines(fork, &events);
                return Some(if events.is_empty() { base.written_at(self.mtime_of_conflict(conflict)) } else { base });
            }
            let at = branch_names(self.epoch().as_ref(), fork).iter().position(|held| held.is(name))?;
            Some(self.fork_lines(fork, &branch_events(index, fork, fork.branches.get(at)?)))
        };
        self.made.file(&format!("forks/{}/{path}", conflict.id), make).map(Node::File)
    }

    /// The first events of a side, type and payload, for the words of a README.
    fn told(&self, conflict: &Conflict, fork: usize, branch: usize) -> Vec<(String, String)> {
        let index = &self.epoch().index;
        let fork = conflict.forks.get(fork);
        let events = fork.and_then(|fork| Some(branch_events(index, fork, fork.branches.get(branch)?))).unwrap_or_default();
        let told = events
            .into_iter()
            .take(words::EVENTS_TOLD_MAX)
            .filter_map(|event| with_line(index, event, |line| (line.event_type.clone().into_owned(), line.event_data.to_owned())));
        told.collect()
    }

    fn fork_lines(&self, fork: &Fork, events: &[u32]) -> File {
        let index = &self.epoch().index;
        let mut items = Sequence::default();
        items.splice(0, events, |event| index.weight(event));
        // Under one conflict and one incarnation of the stream, the lines are told apart by how many there are.
        let incarnation = u64::from(index.stream_list(fork.stream).map_or(0, |list| list.incarnation));
        let xattrs = vec![("user.braidfs.stream_id".to_owned(), index.streams.text(fork.stream).as_bytes().to_vec())];
        self.lines(items, incarnation << 32 | events.len() as u64, Numbers::VersionBehind, xattrs)
    }
}

/// What a path below a conflict is below its `streams/`; `""` is that itself.
fn below_streams(path: &str) -> Option<&str> {
    let below = path.strip_prefix(STREAMS)?;
    if below.is_empty() { Some(below) } else { below.strip_prefix('/').filter(|below| !below.is_empty()) }
}

/// The events of a fork's stream that all its branches have in common, in canonical order.
#[must_use]
pub fn base_events(index: &Index, fork: &Fork) -> Vec<u32> {
    let apart: HashSet<u32> = fork.branches.iter().flat_map(|branch| branch.transactions.iter().copied()).collect();
    events_of(index, fork.stream, |tx| !apart.contains(&tx))
}

/// The events of a fork's stream that a branch has and not all have, in canonical order.
#[must_use]
pub fn branch_events(index: &Index, fork: &Fork, branch: &Branch) -> Vec<u32> {
    let own: HashSet<u32> = branch.transactions.iter().copied().collect();
    events_of(index, fork.stream, |tx| own.contains(&tx))
}

fn events_of(index: &Index, stream: u32, is: impl Fn(u32) -> bool) -> Vec<u32> {
    let events = index.stream_list(stream).into_iter().flat_map(|list| list.events.iter_from(0));
    events.filter(|&event| is(index.events.transaction(event))).collect()
}

fn report_json(epoch: &Epoch, conflict: &Conflict) -> String {
    // These types hold nothing that JSON cannot.
    serde_json::to_string_pretty(&ConflictReport::of(epoch, conflict)).unwrap_or_default() + "\n"
}

/// A draft that resolves without events.
fn resolution(id: &str) -> String {
    render_document(&Draft { resolve: Some(ResolveRequest { conflict: id.to_owned() }), ..Draft::default() })
}
