//! The README of a conflict: what happened, in words, and what resolves it.

use std::fmt::Write;

use crate::view::report::{ConflictReport, ForkReport};

/// So many forks of one conflict are told in words; `report.json` has them all.
const FORKS_TOLD_MAX: usize = 20;

/// The text of a conflict's `README.md`.
pub(super) fn readme(report: &ConflictReport) -> String {
    let id = &report.conflict;
    let mut text = format!("# Conflict {id}\n\n");
    text += "Working copies that did not know of each other wrote the same streams. Nothing is lost: every event stands in every\n";
    text += "view, in the order that all replicas share. What is open is what the two histories mean together.\n";
    if let Some(declined) = &report.declined {
        let _ = write!(text, "\nAsked here at {}, somebody declined to settle it: {}\n", declined.at, spoken(&declined.reason));
    }
    for fork in report.streams.iter().take(FORKS_TOLD_MAX) {
        tell_fork(&mut text, fork);
    }
    if report.streams.len() > FORKS_TOLD_MAX {
        let _ = write!(text, "\nAnd {} more streams: see report.json.\n", report.streams.len() - FORKS_TOLD_MAX);
    }
    text += "\n## To resolve it\n\n";
    if report.state == "provisional" {
        text += "The conflict is provisional: a parent of these histories is missing, and may tell that there is none. Find it first\n";
        text += "(`braidfs verify`), or resolve it all the same with `braidfs reconcile --force`, as staging/ does not take it:\n\n";
        let _ = writeln!(text, "    braidfs reconcile --force {id}");
        return text;
    }
    text += "From the root of the mount; add events to the draft if something must be set right, or leave it as it is:\n\n";
    let _ = writeln!(text, "    cp forks/{id}/resolution.json staging/.{id}");
    let _ = writeln!(text, "    ${{EDITOR:-vi}} staging/.{id}");
    let _ = writeln!(text, "    mv staging/.{id} staging/resolve-{id}.json");
    text += "\n`braidfs reconcile` does the same. Until then, an append to one of these streams must state its version in \"expect\".\n";
    text += "A conflict that another branch joins has a new name; then read it again.\n";
    text
}

fn tell_fork(text: &mut String, fork: &ForkReport) {
    let _ = write!(text, "\n## Stream {}\n\n{} in common", spoken(&fork.stream_id), counted(fork.base_version, "event"));
    match fork.fork_point.as_slice() {
        [] => text.push_str("; the histories have no common past.\n"),
        points => {
            let _ = writeln!(text, ", up to {}.", points.join(", "));
        }
    }
    text.push('\n');
    for branch in &fork.branches {
        let (events, transactions) = (counted(branch.events, "event"), counted(branch.transactions.len() as u64, "transaction"));
        let _ = write!(text, "- {}: {events} in {transactions} of replica {}", branch.name, branch.replica_id);
        if let (Some(author), Some(commit)) = (&branch.author, &branch.commit) {
            let _ = write!(text, ",\n  brought to git by {} in commit {commit}", spoken(author));
        }
        text.push('\n');
    }
    if let [one, other, ..] = fork.branches.as_slice() {
        let path = |name: &str| quoted(&format!("{}/{name}.jsonl", fork.path));
        let _ = write!(text, "\n    diff {} {}\n", path(&one.name), path(&other.name));
    }
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// A name of other people in a sentence: in quotes, nothing in it moves the cursor or ends the line.
fn spoken(name: &str) -> String {
    let is_plain = |c: char| c != '"' && c != '\\' && c != '`' && !c.is_control() && !is_direction(c);
    let text: String = name.chars().map(|c| if is_plain(c) { c.to_string() } else { c.escape_unicode().to_string() }).collect();
    format!("\"{text}\"")
}

/// Marks that reorder text, and line ends beyond ASCII.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A path as one word of a shell; what a terminal would obey is left to completion.
fn quoted(path: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+%:@,=".contains(&byte);
    if path.bytes().all(is_plain) {
        return path.to_owned();
    }
    let text: String = path.chars().map(|c| if c.is_control() || is_direction(c) { '?' } else { c }).collect();
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_people_are_harmless() {
        assert_eq!(quoted("streams/a-1/x.jsonl"), "streams/a-1/x.jsonl");
        assert_eq!(quoted("streams/$(rm -rf ~)'; x"), "'streams/$(rm -rf ~)'\\''; x'");
        assert_eq!(spoken("a\u{1b}[2J`x`\u{202e}\"b\n"), "\"a\\u{1b}[2J\\u{60}x\\u{60}\\u{202e}\\u{22}b\\u{a}\"");
    }
}
