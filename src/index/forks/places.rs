//! Where open forks are found: by stream and by path, made when it is first asked for.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::OnceLock;

use crate::dag::{Conflict, Fork};
use crate::format::names::stream_directory;
use crate::index::names::Names;

/// The places of forks in a list of conflicts that never changes.
#[derive(Debug, Default)]
pub(super) struct Places {
    by_stream: OnceLock<HashMap<u32, (usize, usize)>>,
    /// By conflict: the directory of each of its forks below `streams/`, and the fork's place.
    by_path: OnceLock<Vec<BTreeMap<String, usize>>>,
}

impl Places {
    /// The conflict and in it the fork of a stream.
    pub(super) fn of_stream<'a>(&self, conflicts: &'a [Conflict], stream: u32) -> Option<(&'a Conflict, &'a Fork)> {
        let by_stream = self.by_stream.get_or_init(|| {
            let forks = |(at, conflict): (usize, &Conflict)| {
                conflict.forks.iter().enumerate().map(move |(place, fork)| (fork.stream, (at, place))).collect::<Vec<_>>()
            };
            conflicts.iter().enumerate().flat_map(forks).collect()
        });
        let (at, place) = *by_stream.get(&stream)?;
        let conflict = conflicts.get(at)?;
        Some((conflict, conflict.forks.get(place)?))
    }

    pub(super) fn paths<'a>(&'a self, conflicts: &'a [Conflict], at: usize, streams: &Names) -> Option<ForkPaths<'a>> {
        let by_path = self.by_path.get_or_init(|| {
            let directory = |(place, fork): (usize, &Fork)| (stream_directory(streams.text(fork.stream)), place);
            conflicts.iter().map(|conflict| conflict.forks.iter().enumerate().map(directory).collect()).collect()
        });
        Some(ForkPaths { conflict: conflicts.get(at)?, places: by_path.get(at)? })
    }
}

/// The directories of a conflict's forks, as the streams' names make them.
#[derive(Clone, Copy, Debug)]
pub struct ForkPaths<'a> {
    conflict: &'a Conflict,
    places: &'a BTreeMap<String, usize>,
}

impl<'a> ForkPaths<'a> {
    /// The fork whose directory this is.
    #[must_use]
    pub fn find(&self, directory: &str) -> Option<&'a Fork> {
        self.conflict.forks.get(*self.places.get(directory)?)
    }

    /// Whether a fork's directory lies below this one.
    #[must_use]
    pub fn has_below(&self, directory: &str) -> bool {
        self.first_from(&format!("{directory}/")).is_some_and(|path| below(path, directory).is_some())
    }

    /// The names in a directory that lead to those of forks, each once; `""` is the uppermost. Costs what it gives.
    #[must_use]
    pub fn names_in(&self, directory: &str) -> Vec<&'a str> {
        let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
        let mut names: Vec<&str> = Vec::new();
        let mut from = prefix.clone();
        while let Some(rest) = self.first_from(&from).and_then(|path| path.strip_prefix(&prefix)) {
            let name = rest.split('/').next().unwrap_or_default();
            names.push(name);
            // Behind the name itself, and behind all that lies below it.
            from = if rest.len() == name.len() { format!("{prefix}{name}\0") } else { format!("{prefix}{name}{AFTER_SLASH}") };
        }
        names.sort_unstable();
        names.dedup();
        names
    }

    fn first_from(&self, path: &str) -> Option<&'a str> {
        self.places.range::<str, _>((Bound::Included(path), Bound::Unbounded)).next().map(|(path, _)| path.as_str())
    }
}

/// The character that follows `/`.
const AFTER_SLASH: char = '0';

fn below<'a>(path: &'a str, directory: &str) -> Option<&'a str> {
    path.strip_prefix(directory)?.strip_prefix('/')
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    fn fork(stream: u32) -> Fork {
        Fork { stream, base_version: 0, fork_points: Vec::new(), branches: Vec::new(), is_provisional: false }
    }

    #[test]
    fn forks_are_found_by_stream_and_by_path_and_names_are_listed_once() {
        let mut streams = Names::default();
        let ids = ["a", "a/b", "a-b", "a/c/d", "a/c/e", "a0", "b/x"];
        let forks: Vec<Fork> = ids.iter().map(|id| fork(streams.number(id))).collect();
        let (one, other) = forks.split_at(6);
        let conflicts = [one, other].map(|forks| Conflict { id: forks.len().to_string(), forks: forks.to_vec() });
        let places = Places::default();
        let paths = places.paths(&conflicts, 0, &streams).unwrap();
        assert_eq!(paths.names_in(""), ["a", "a-b", "a0"]);
        assert_eq!(paths.names_in("a"), ["b", "c"]);
        assert_eq!(paths.names_in("a/c"), ["d", "e"]);
        assert_eq!(paths.names_in("a/c/d"), [] as [&str; 0]);
        assert_eq!(paths.names_in("b"), [] as [&str; 0]);
        assert_eq!(["a", "a/c", "a/b", "b"].map(|path| paths.has_below(path)), [true, true, false, false]);
        assert_eq!(["a", "a/c", "a/b", "b/x"].map(|path| paths.find(path).map(|fork| fork.stream)), [Some(0), None, Some(1), None]);
        assert_eq!(places.paths(&conflicts, 1, &streams).unwrap().names_in(""), ["b"]);
        for (at, fork) in forks.iter().enumerate() {
            let (conflict, found) = places.of_stream(&conflicts, fork.stream).unwrap();
            assert_eq!((conflict.id.as_str(), found), (if at < 6 { "6" } else { "1" }, fork));
        }
        assert!(places.of_stream(&conflicts, 7).is_none());
    }
}
