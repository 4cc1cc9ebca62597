//! What a view costs whoever reads it page by page: it is made once.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use super::views_tests::walk;
use super::*;
use crate::braid::{Braid, OpenOptions};
use crate::format::draft::{DraftKind, parse_draft};
use crate::view::counted;

const PAGE: usize = 4096;
const STREAMS: usize = 60;

fn open(store: &Path) -> Braid {
    let braid = Braid::open(store, &OpenOptions::default()).unwrap();
    braid.wait_ready().unwrap();
    braid
}

/// An event of each of many streams; some are below a prefix, and some have names that are too long for a file.
fn append(store: &Path) {
    let mut text = String::new();
    for n in 0..STREAMS {
        let name = if n == 0 { "é".repeat(200) } else { format!("area-of-{n}-{}", "y".repeat(100)) };
        // Writing to a string does not fail.
        let _ = writeln!(text, "{{\"stream\":\"{name}\",\"type\":\"{}\",\"data\":\"{}\"}}", "é".repeat(200), "z".repeat(100));
    }
    open(store).append(parse_draft(text.as_bytes(), DraftKind::Lines).unwrap()).unwrap();
}

fn pull(to: &Path, from: &Path) {
    for entry in std::fs::read_dir(from.join("events")).unwrap() {
        let name = entry.unwrap().file_name();
        std::fs::copy(from.join("events").join(&name), to.join("events").join(&name)).unwrap();
    }
}

fn git(store: &Path, words: &[&str]) {
    let run = Command::new("git").current_dir(store).args(["-c", "user.name=t", "-c", "user.email=t@t"]).args(words).output().unwrap();
    assert!(run.status.success(), "{words:?}: {}", String::from_utf8_lossy(&run.stderr));
}

fn below(fs: &Fs, directory: &str) -> Vec<String> {
    let entries = fs.list(directory).unwrap_or_else(|| panic!("{directory}"));
    entries.into_iter().map(|entry| format!("{directory}/{}", entry.name)).collect()
}

/// The size of a file in pages, after each was read by itself.
fn read_by_pages(fs: &Fs, path: &str) -> usize {
    let (_, rest) = path.split_once("at/").unwrap_or(("", path));
    let attr = walk(fs, path).unwrap_or_else(|error| panic!("{rest}: {error:?}"));
    let mut read = 0;
    while (read as u64) < attr.size {
        let page = fs.read(attr.ino, 0, read as u64, PAGE).unwrap();
        assert!(!page.is_empty(), "{path} ends at {read}");
        read += page.len();
        assert_eq!(fs.attributes(attr.ino).unwrap().0.size, attr.size, "{path}");
    }
    read.div_ceil(PAGE)
}

#[test]
fn a_view_that_is_read_by_pages_is_made_once() {
    let home = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| home.path().join(name));
    [&a, &b].into_iter().for_each(|store| Braid::init(store).unwrap());
    append(&a);
    pull(&b, &a);
    [&a, &b].into_iter().for_each(|store| append(store));
    pull(&a, &b);
    git(&a, &["init", "--quiet"]);
    std::fs::write(a.join("events").join("refused.jsonl"), "r".repeat(3 * PAGE)).unwrap();
    git(&a, &["add", "."]);
    git(&a, &["commit", "--quiet", "--message", "all"]);
    let braid = open(&a);
    let state = parse_draft(
        format!("{{\"snapshot\":{{\"name\":\"s\",\"versions\":{{\"{}\":0}}}},\"state\":1}}", "é".repeat(200)).as_bytes(),
        DraftKind::Document,
    );
    braid.append(state.unwrap()).unwrap();
    let tree = braid.tree();
    let past = "at/git:HEAD";
    assert!(tree.find(past).is_some());
    // It leaves after that past is put together: from now on git is asked for it.
    let gone = tree.list("transactions").unwrap().remove(0).name;
    std::fs::remove_file(a.join("events").join(&gone)).unwrap();
    let fs = Fs::new(Manner { read_only: false, uid: 0, gid: 0, uncached: true }, Arc::new(tree), None);
    let mut seen = 0;
    for root in ["", "at/position:180/", &format!("{past}/")] {
        let mut paths: Vec<String> = ["README.md", "status.json", "metrics", "graph.txt"].map(|name| format!("{root}{name}")).into();
        paths.push(format!("{root}categories/area-of.jsonl"));
        for directory in ["forks", "streams", "types"] {
            paths.extend(below(&fs, &format!("{root}{directory}")));
        }
        let conflict = paths.iter().find(|path| path.contains("forks/")).unwrap().clone();
        paths.extend(["README.md", "report.json"].map(|name| format!("{conflict}/{name}")));
        for fork in below(&fs, &format!("{conflict}/streams")).into_iter().take(2) {
            paths.extend(below(&fs, &fork));
        }
        match root {
            "" => paths.push("snapshots/s/after.jsonl".to_owned()),
            "at/git:HEAD/" => {
                paths.push(format!("{root}transactions/{gone}"));
                paths.push(format!("{root}quarantine/refused.jsonl"));
            }
            _ => {}
        }
        paths.retain(|path| fs.list(path).is_none());
        for path in paths {
            let mut pages = 0;
            let cost = counted::cost(|| pages = read_by_pages(&fs, &path));
            assert!(cost.described <= STREAMS as u64 && (cost.described <= 20 || path.ends_with("report.json")), "{path}: {cost:?}");
            assert!(cost.made <= 1, "{path} was made {} times for {pages} pages", cost.made);
            seen += cost.made * u64::from(pages > 1);
        }
    }
    assert!(seen > 10, "{seen} of them have several pages and are made");
}
