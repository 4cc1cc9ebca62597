//! The order of the rows, read from the source (`docs/ARCHITECTURE.md`).
//!
//! A module imports only from rows below its own; `fuser`, the disk and standard output each have one door; files stay short.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The rows from the top; modules on one line may not import each other.
const ROWS: &[&[&str]] = &[
    &["cli"],
    &["mount"],
    &["fs", "eventcore"],
    &["braid"],
    &["view"],
    &["epoch"],
    &["index"],
    &["store"],
    &["disk"],
    &["dag"],
    &["format", "fold"],
    &["model"],
];

/// No file is longer, its tests included.
const FILE_LINES_MAX: usize = 800;

/// Half of the files are at most so long.
const FILE_LINES_MEDIAN_MAX: usize = 200;

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Mark(char),
}

/// One source file: its module path (`["store", "scan"]`), its tokens without comments, literals and test modules.
struct Source {
    file: PathBuf,
    module: Vec<String>,
    tokens: Vec<Token>,
    lines: usize,
}

fn source_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn rust_files(root: &Path) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![root.to_path_buf()]);
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Source text as words and marks, without comments and literals.
fn tokens_of(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let (mut tokens, mut at) = (Vec::new(), 0);
    while at < chars.len() {
        let next = chars.get(at + 1).copied().unwrap_or(' ');
        match chars[at] {
            '/' if next == '/' => at = skip_line(&chars, at),
            '/' if next == '*' => at = skip_block_comment(&chars, at),
            '"' => at = skip_string(&chars, at),
            '\'' => at = skip_char_or_lifetime(&chars, at),
            c if c.is_alphabetic() || c == '_' => {
                let start = at;
                while at < chars.len() && (chars[at].is_alphanumeric() || chars[at] == '_') {
                    at += 1;
                }
                let word: String = chars[start..at].iter().collect();
                match raw_string_end(&word, &chars, at) {
                    Some(end) => at = end,
                    None => tokens.push(Token::Word(word)),
                }
            }
            c => {
                if !c.is_whitespace() {
                    tokens.push(Token::Mark(c));
                }
                at += 1;
            }
        }
    }
    tokens
}

fn skip_line(chars: &[char], from: usize) -> usize {
    chars[from..].iter().position(|c| *c == '\n').map_or(chars.len(), |n| from + n)
}

fn skip_block_comment(chars: &[char], from: usize) -> usize {
    let (mut depth, mut at) = (0usize, from);
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => {
                (depth, at) = (depth - 1, at + 2);
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    at
}

fn skip_string(chars: &[char], from: usize) -> usize {
    let mut at = from + 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

fn skip_char_or_lifetime(chars: &[char], from: usize) -> usize {
    if chars.get(from + 1) == Some(&'\\') {
        return chars[from + 3..].iter().position(|c| *c == '\'').map_or(chars.len(), |n| from + 4 + n);
    }
    if chars.get(from + 2) == Some(&'\'') { from + 3 } else { from + 1 }
}

/// The end of a raw string whose prefix (`r`, `br`, `cr`) was just read, or none if this is no raw string.
fn raw_string_end(word: &str, chars: &[char], at: usize) -> Option<usize> {
    if !matches!(word, "r" | "br" | "cr") {
        return None;
    }
    let hashes = chars[at..].iter().take_while(|c| **c == '#').count();
    if chars.get(at + hashes) != Some(&'"') {
        return None;
    }
    let mut end = at + hashes + 1;
    while end < chars.len() {
        if chars[end] == '"' && chars[end + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes {
            return Some(end + 1 + hashes);
        }
        end += 1;
    }
    Some(end)
}

fn is_word(token: Option<&Token>, word: &str) -> bool {
    matches!(token, Some(Token::Word(found)) if found == word)
}

fn is_mark(token: Option<&Token>, mark: char) -> bool {
    token == Some(&Token::Mark(mark))
}

/// Drops every item under `#[cfg(test)]`; returns the names of the modules among them that live in files.
fn drop_tests(tokens: Vec<Token>) -> (Vec<Token>, Vec<String>) {
    let pattern = ["#", "[", "cfg", "(", "test", ")", "]"];
    let (mut kept, mut files, mut at) = (Vec::new(), Vec::new(), 0);
    while at < tokens.len() {
        let here = pattern.iter().enumerate().all(|(n, part)| match tokens.get(at + n) {
            Some(Token::Word(word)) => word == part,
            Some(Token::Mark(mark)) => *part == mark.to_string(),
            None => false,
        });
        if !here {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        at += pattern.len();
        let start = at;
        at = item_end(&tokens, at);
        let item = &tokens[start..at];
        if let Some(n) = item.iter().position(|token| is_word(Some(token), "mod"))
            && is_mark(item.get(n + 2), ';')
            && let Some(Token::Word(name)) = item.get(n + 1)
        {
            files.push(name.clone());
        }
    }
    (kept, files)
}

/// Where the item that begins at `at` ends: after its `;` or its closing brace.
fn item_end(tokens: &[Token], mut at: usize) -> usize {
    let mut depth = 0usize;
    while at < tokens.len() {
        match tokens[at] {
            Token::Mark('{' | '(' | '[') => depth += 1,
            Token::Mark(close @ ('}' | ')' | ']')) => {
                depth = depth.saturating_sub(1);
                if depth == 0 && close == '}' {
                    return at + 1;
                }
            }
            Token::Mark(';') if depth == 0 => return at + 1,
            _ => {}
        }
        at += 1;
    }
    at
}

fn sources() -> Vec<Source> {
    let root = source_root();
    let mut tests = BTreeSet::new();
    let mut found = Vec::new();
    for file in rust_files(&root) {
        let text = fs::read_to_string(&file).unwrap();
        let (tokens, test_modules) = drop_tests(tokens_of(&text));
        let stem = file.with_extension("");
        tests.extend(test_modules.iter().map(|name| stem.join(name).with_extension("rs")));
        let module = stem.strip_prefix(&root).unwrap().iter().map(|part| part.to_str().unwrap().to_owned()).collect();
        found.push(Source { file, module, tokens, lines: text.lines().count() });
    }
    for source in &mut found {
        if tests.contains(&source.file) {
            source.tokens.clear();
        }
    }
    found
}

/// Every path in the source that begins with `start`, use-trees spelled out: `crate::{a, b::c}` gives `[a]` and `[b, c]`.
fn paths_from(tokens: &[Token], start: &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    for at in 0..tokens.len() {
        let inside = at >= 2 && is_mark(tokens.get(at - 1), ':') && is_mark(tokens.get(at - 2), ':');
        if is_word(tokens.get(at), start) && !inside {
            walk_tree(tokens, at + 1, &mut paths);
        }
    }
    paths
}

/// Reads what follows the first word of a path: `::a::b`, `::{a, b::{c, d}}`.
fn walk_tree(tokens: &[Token], mut at: usize, paths: &mut Vec<Vec<String>>) {
    let (mut prefix, mut open): (Vec<String>, Vec<usize>) = (Vec::new(), Vec::new());
    let mut fresh = false;
    loop {
        match (tokens.get(at), tokens.get(at + 1), tokens.get(at + 2)) {
            (Some(Token::Mark(':')), Some(Token::Mark(':')), Some(Token::Mark('{'))) => {
                open.push(prefix.len());
                (at, fresh) = (at + 3, true);
            }
            (Some(Token::Mark(':')), Some(Token::Mark(':')), Some(Token::Word(word))) => {
                prefix.push(word.clone());
                at += 3;
                paths.push(prefix.clone());
            }
            (Some(Token::Word(word)), ..) if fresh => {
                prefix.push(word.clone());
                (at, fresh) = (at + 1, false);
                paths.push(prefix.clone());
            }
            (Some(Token::Word(word)), ..) if word == "as" && !open.is_empty() => at += 2,
            (Some(Token::Mark(',')), ..) if !open.is_empty() => {
                prefix.truncate(*open.last().unwrap());
                (at, fresh) = (at + 1, true);
            }
            (Some(Token::Mark('}')), ..) if !open.is_empty() => {
                prefix.truncate(open.pop().unwrap());
                (at, fresh) = (at + 1, false);
                if open.is_empty() {
                    return;
                }
            }
            (Some(Token::Mark('*')), ..) if !open.is_empty() => at += 1,
            _ => return,
        }
    }
}

/// The paths within the crate that a file names, from the crate's root.
fn crate_paths(source: &Source) -> Vec<Vec<String>> {
    let mut paths = paths_from(&source.tokens, "crate");
    paths.extend(paths_from(&source.tokens, "braidfs"));
    for path in paths_from(&source.tokens, "super") {
        let ups = 1 + path.iter().take_while(|part| *part == "super").count();
        let Some(kept) = source.module.len().checked_sub(ups) else { continue };
        let mut whole = source.module[..kept].to_vec();
        whole.extend(path.into_iter().skip(ups - 1));
        paths.push(whole);
    }
    paths
}

fn rank(row: &str) -> Option<usize> {
    ROWS.iter().position(|names| names.contains(&row))
}

fn row_of(source: &Source) -> Option<&str> {
    source.module.first().map(String::as_str).filter(|name| *name != "lib" && *name != "main")
}

#[test]
fn every_module_has_a_row() {
    let unknown: Vec<_> = sources().iter().filter_map(|s| row_of(s).filter(|row| rank(row).is_none()).map(str::to_owned)).collect();
    assert_eq!(unknown, Vec::<String>::new(), "give each a row in ROWS and in docs/ARCHITECTURE.md");
}

#[test]
fn imports_go_down_only() {
    let mut wrong = BTreeSet::new();
    for source in sources() {
        let Some(row) = row_of(&source) else { continue };
        for path in crate_paths(&source) {
            let Some(to) = path.first().filter(|to| *to != row) else { continue };
            if rank(to).is_some_and(|to| to <= rank(row).unwrap()) {
                wrong.insert(format!("{}: '{row}' imports '{}'", source.file.display(), path.join("::")));
            }
        }
    }
    assert_eq!(wrong, BTreeSet::new());
}

#[test]
fn the_binary_knows_only_the_command_line() {
    let sources = sources();
    let main = sources.iter().find(|s| s.module == ["main"]).unwrap();
    assert!(!main.tokens.is_empty());
    for path in crate_paths(main) {
        assert_eq!(path[0], "cli", "main.rs imports '{}'", path.join("::"));
    }
}

/// Whether a file only adds methods to the type that a path names, `impl Keeper { … }`: such methods may stand in several files.
fn adds_methods_to(source: &Source, path: &[String]) -> bool {
    let Some(name) = path.last() else { return false };
    source.tokens.windows(3).any(|three| is_word(three.first(), "impl") && is_word(three.get(1), name) && is_mark(three.get(2), '{'))
}

/// A module declares and re-exports what lies in its directory, and that uses the module's types; a type's methods name the type. All
/// other circles are found, also among the files of one directory.
#[test]
fn files_have_no_cycles() {
    let sources = sources();
    let known: BTreeSet<&[String]> = sources.iter().map(|source| source.module.as_slice()).collect();
    let mut edges: BTreeSet<(&[String], &[String])> = BTreeSet::new();
    for source in &sources {
        let from = source.module.as_slice();
        let paths = crate_paths(source);
        // A module that is named on the way to what lies in it.
        let is_prefix = |path: &Vec<String>| paths.iter().any(|longer| longer.len() > path.len() && longer.starts_with(path));
        for path in paths.iter().filter(|path| !is_prefix(path)) {
            let Some(to) = (1..=path.len()).rev().find_map(|n| known.get(&path[..n]).copied()) else { continue };
            if !from.starts_with(to) && !to.starts_with(from) && !adds_methods_to(source, path) {
                edges.insert((from, to));
            }
        }
    }
    assert!(edges.len() > 100, "{edges:?}");
    // What nobody imports and what imports nobody is taken away until nothing changes: what stays is in a cycle or between two.
    loop {
        let before = edges.len();
        let (from, to): (BTreeSet<_>, BTreeSet<_>) = edges.iter().copied().unzip();
        edges.retain(|(importer, imported)| to.contains(importer) && from.contains(imported));
        if edges.len() == before {
            break;
        }
    }
    let left: Vec<String> = edges.iter().map(|(from, to)| format!("{} -> {}", from.join("::"), to.join("::"))).collect();
    assert_eq!(left, Vec::<String>::new(), "these imports make a cycle or lie between two");
}

/// Asserts that no file outside `row` names a path that begins with `path`.
fn assert_only_in(row: &str, path: &[&str]) {
    let mut wrong = BTreeSet::new();
    for source in sources().iter().filter(|s| row_of(s) != Some(row)) {
        let (first, rest) = path.split_first().unwrap();
        let starts = |found: &Vec<String>| found.len() >= rest.len() && found.iter().zip(rest).all(|(a, b)| a == b);
        if paths_from(&source.tokens, first).iter().any(starts) {
            wrong.insert(source.file.display().to_string());
        }
    }
    assert_eq!(wrong, BTreeSet::new(), "'{}' is for the row '{row}'", path.join("::"));
}

#[test]
fn the_kernel_protocol_stays_in_mount() {
    assert_only_in("mount", &["fuser"]);
}

#[test]
fn the_disk_has_one_door() {
    assert_only_in("disk", &["std", "fs"]);
}

#[test]
fn only_the_command_line_prints() {
    let mut wrong = BTreeSet::new();
    for source in sources().iter().filter(|s| row_of(s) != Some("cli")) {
        for three in source.tokens.windows(3) {
            let Token::Word(word) = &three[1] else { continue };
            let prints = matches!(word.as_str(), "println" | "print") && is_mark(three.get(2), '!');
            // Behind a dot it is the output of a child process.
            if prints || (word == "stdout" && is_mark(three.get(2), '(') && !is_mark(three.first(), '.')) {
                wrong.insert(format!("{}: {word}", source.file.display()));
            }
        }
    }
    assert_eq!(wrong, BTreeSet::new());
}

#[test]
fn files_are_short() {
    let sources = sources();
    let long: Vec<_> = sources.iter().filter(|s| s.lines > FILE_LINES_MAX).map(|s| format!("{}: {}", s.file.display(), s.lines)).collect();
    assert_eq!(long, Vec::<String>::new(), "more than {FILE_LINES_MAX} lines: split by subject");
    let mut lines: Vec<usize> = sources.iter().map(|s| s.lines).collect();
    lines.sort_unstable();
    let median = lines[lines.len() / 2];
    assert!(median <= FILE_LINES_MEDIAN_MAX, "the median file has {median} lines, {FILE_LINES_MEDIAN_MAX} are allowed");
}

#[test]
fn the_reader_of_sources_sees_what_it_must() {
    let text = r##"
        // use crate::comment;
        use crate::{alpha::{One, two::Three as Four}, beta};
        /* crate::block /* nested */ */
        fn f<'a>() { let _ = ("crate::string", '"', r#"crate::raw"#, b'\'', crate::gamma::call()); super::delta(); }
        #[cfg(test)]
        mod tests { use crate::hidden; }
        #[cfg(test)]
        mod proptests;
        fn g() -> std::io::Result<()> { std::fs::read("x").map(drop) }
    "##;
    let (tokens, files) = drop_tests(tokens_of(text));
    assert_eq!(files, ["proptests"]);
    let found: BTreeSet<String> = paths_from(&tokens, "crate").iter().map(|path| path.join("::")).collect();
    let expected = ["alpha", "alpha::One", "alpha::two", "alpha::two::Three", "beta", "gamma", "gamma::call"];
    assert_eq!(found, expected.map(str::to_owned).into());
    assert!(paths_from(&tokens, "std").contains(&vec!["fs".to_owned(), "read".to_owned()]));
    assert_eq!(paths_from(&tokens, "super"), [["delta"]]);
}
