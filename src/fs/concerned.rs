//! Which views a draft will change.

use std::collections::HashSet;

use crate::format::names::{ENDING, category_of, file_name, stream_path};
use crate::fs::split;
use crate::model::Draft;

/// What every transaction changes and is not asked for anew each time.
const ALWAYS: [&str; 3] = ["log.jsonl", "feed.jsonl", "transactions"];

/// The paths of the views that a draft will change, as far as they can be named, and of the directories above them.
#[derive(Clone, Default)]
pub struct Concerned(HashSet<String>);

impl Concerned {
    /// Adds what a draft, or more of it, will change.
    pub(super) fn add(&mut self, draft: &Draft) {
        if self.0.is_empty() {
            ALWAYS.into_iter().for_each(|path| self.insert(path.to_owned()));
        }
        if draft.resolve.is_some() {
            self.insert("forks".to_owned());
        }
        for event in &draft.events {
            self.insert(format!("streams/{}", stream_path(&event.stream_id)));
            self.insert(format!("types/{}", file_name(&event.event_type, ENDING)));
            if let Some(category) = category_of(&event.stream_id) {
                self.insert(format!("categories/{}", file_name(category, ENDING)));
            }
        }
    }

    fn insert(&mut self, path: String) {
        let parent = split(&path).map(|(parent, _)| parent.to_owned());
        if self.0.insert(path)
            && let Some(parent) = parent
        {
            self.insert(parent);
        }
    }

    /// Those of these paths that are among them, or all of them where they are fewer; costs what the fewer of both are.
    pub(super) fn among<'a>(&'a self, paths: impl ExactSizeIterator<Item = &'a str>) -> Vec<&'a str> {
        if paths.len() < self.0.len() {
            return paths.filter(|path| self.0.contains(*path)).collect();
        }
        self.0.iter().map(String::as_str).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;
    use crate::format::draft::{DraftKind, parse_draft};

    #[test]
    fn of_many_views_only_those_that_are_known_are_looked_at() {
        let mut concerned = Concerned::default();
        for n in 0..100 {
            let line = format!("{{\"stream\":\"a/b-{n}\",\"type\":\"T\",\"data\":{n}}}\n");
            concerned.add(&parse_draft(line.as_bytes(), DraftKind::Lines).unwrap());
        }
        let known = ["", "streams", "streams/a/b-7.jsonl", "streams/c.jsonl", "log.jsonl", "README.md"];
        assert_eq!(concerned.among(known.into_iter()), ["", "streams", "streams/a/b-7.jsonl", "log.jsonl"]);
        let all = concerned.among(vec!["x"; 1000].into_iter());
        for path in ["", "log.jsonl", "transactions", "streams", "streams/a", "streams/a/b-99.jsonl", "types/T.jsonl", "categories/a.jsonl"]
        {
            assert!(all.contains(&path), "{path} is missing in {all:?}");
        }
    }
}
