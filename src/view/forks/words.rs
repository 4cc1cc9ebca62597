//! The README of a conflict: what happened, in words, and what resolves it.

use std::fmt::Write;

use crate::format::text::{counted, harmless, quoted};
use crate::model::{BranchReport, ConflictReport, ConflictState, ForkReport};

/// So many forks of one conflict are told in words; `report.json` has them all.
pub(super) const FORKS_TOLD_MAX: usize = 20;

/// So many events of one side are told; its file has them all.
pub(super) const EVENTS_TOLD_MAX: usize = 5;

/// What compares two sides. The words of JSON end at its punctuation, not at blanks, of which it may have none.
const TOOLS: [&str; 3] = ["diff", "git diff --no-index --word-diff-regex='[^][{}:, ]+'", "vimdiff"];

/// So many characters of a payload are told.
const DATA_CHARS_MAX: usize = 100;

/// The text of a conflict's `README.md`, of so many forks with a report of the first ones; `told` gives type and payload of the first events of a fork's branch.
pub(super) fn readme(report: &ConflictReport, forks: usize, told: impl Fn(usize, usize) -> Vec<(String, String)>) -> String {
    let id = &report.conflict;
    let mut text = format!("# Conflict {id}\n\n");
    text += "Working copies that did not know of each other wrote the same streams. Nothing is lost: every event stands in every\n";
    text += "view, in the order that all replicas share. What is open is what the two histories mean together.\n";
    if let Some(declined) = &report.declined {
        let _ = write!(text, "\nAsked here at {}, somebody declined to settle it: {}\n", declined.at, spoken(&declined.reason));
    }
    for (place, fork) in report.streams.iter().enumerate() {
        tell_fork(&mut text, fork, report.state, |branch| told(place, branch));
    }
    if forks > report.streams.len() {
        let _ = write!(text, "\nAnd {}: see report.json.\n", counted(forks - report.streams.len(), "more stream"));
    }
    text += "\n## To resolve it\n\n";
    if report.state == ConflictState::Provisional {
        text += "The conflict is provisional: a parent of these histories is missing, and may tell that there is none. Find it first\n";
        text += "(`braidfs doctor`), or resolve it all the same with `braidfs reconcile --force`, as staging/ does not take it:\n\n";
        let _ = writeln!(text, "    braidfs reconcile --force {id}");
        return text;
    }
    text += "From the root of the mount; the draft may stay as it is, or get events in \"events\" that set things right, each as in\n";
    text += "`{\"stream\":\"…\",\"type\":\"…\",\"data\":…}`:\n\n";
    let _ = writeln!(text, "    cp forks/{id}/resolution.json staging/.{id}");
    let _ = writeln!(text, "    ${{EDITOR:-vi}} staging/.{id}");
    let _ = writeln!(text, "    mv staging/.{id} staging/resolve-{id}.json");
    text += "\n`braidfs reconcile` does the same, also where there is no staging/: in a read-only mount, and below at/.\n";
    text += "Until then, an append to one of these streams must state its version in \"expect\".\n";
    text += "A conflict that another branch joins has a new name; then read it again.\n";
    text
}

fn tell_fork(text: &mut String, fork: &ForkReport, state: ConflictState, told: impl Fn(usize) -> Vec<(String, String)>) {
    let _ = write!(text, "\n## Stream {}\n\n{} in common", spoken(&fork.stream_id), counted(fork.base_version, "event"));
    match fork.fork_point.as_slice() {
        [] if state == ConflictState::Provisional => text.push_str("; what else they have is not known while a parent is missing.\n"),
        [] => text.push_str("; the histories have no common past.\n"),
        points => {
            let _ = writeln!(text, ", up to {}.", points.join(", "));
        }
    }
    text.push('\n');
    for (place, branch) in fork.branches.iter().enumerate() {
        let (events, transactions) = (counted(branch.events, "event"), counted(branch.transactions.len(), "transaction"));
        let _ = write!(text, "- {}: {events} in {transactions} of replica {}", branch.name, branch.replica_id);
        if let (Some(author), Some(commit)) = (&branch.author, &branch.commit) {
            let _ = write!(text, ",\n  brought to git by {} in commit {commit}", spoken(author));
        }
        text.push('\n');
        let events = told(place);
        for (event_type, data) in &events {
            let _ = writeln!(text, "  - {} {}", harmless(event_type), harmless(&shortened(data)));
        }
        let hidden = branch.events.saturating_sub(events.len() as u64);
        if hidden > 0 {
            let _ = writeln!(text, "  - and {hidden} more");
        }
    }
    let path = |branch: &BranchReport| quoted(&format!("{}/{}.jsonl", fork.path, branch.name));
    if let [one, others @ ..] = fork.branches.as_slice() {
        text.push_str("\nIn this directory, a line an event, type and payload first, ids and time behind:\n\n");
        for (tool, other) in TOOLS.iter().flat_map(|tool| others.iter().map(move |other| (tool, other))) {
            let _ = writeln!(text, "    {tool} {} {}", path(one), path(other));
        }
        text.push_str("\nType and payload alone, in bash or zsh (`vimdiff` takes the same):\n\n");
        let what = |branch: &BranchReport| format!("<(jq '.event_type, .event_data' {})", path(branch));
        for other in others {
            let _ = writeln!(text, "    diff -u {} {}", what(one), what(other));
        }
    }
}

/// A name of other people in a sentence: in quotes, nothing in it moves the cursor or ends the line.
fn spoken(name: &str) -> String {
    let name: String = name.chars().map(|c| if matches!(c, '`' | '\\') { c.escape_unicode().to_string() } else { c.to_string() }).collect();
    format!("\"{}\"", harmless(&name).replace('"', "\\\""))
}

fn shortened(data: &str) -> String {
    if data.chars().count() <= DATA_CHARS_MAX {
        return data.to_owned();
    }
    data.chars().take(DATA_CHARS_MAX).chain(['…']).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_people_are_harmless() {
        assert_eq!(spoken("a\u{1b}[2J`x`\u{202e}\"b\n"), "\"a\\u{1b}[2J\\u{60}x\\u{60}\\u{202e}\\\"b\\u{a}\"");
    }
}
