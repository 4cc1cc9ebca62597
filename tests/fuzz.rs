//! What holds for any bytes (`tests/fuzz/`), tried for those that are known to be hard and for some near them. `scripts/fuzz` looks for more.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

#[path = "fuzz/src/lib.rs"]
mod targets;

use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use targets::{TARGETS, Target};

/// What was once found, one file an input, below the target's name.
fn found(target: &Target) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/found").join(target.name);
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    entries.map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect()
}

/// Seeds, and `cases` inputs that differ from one of them in a few places.
fn try_out(name: &str, cases: u32) {
    let target = TARGETS.into_iter().find(|target| target.name == name).unwrap();
    let known: Vec<Vec<u8>> = (target.seeds)().into_iter().chain(found(&target)).collect();
    known.iter().for_each(|data| (target.holds)(data));
    let edit = (any::<prop::sample::Index>(), 0..3_u8, any::<u8>());
    let near = (prop::sample::select(known), prop::collection::vec(edit, 1..5)).prop_map(|(mut data, edits)| {
        for (at, how, byte) in edits {
            let at = at.index(data.len() + 1);
            match how {
                0 => data.insert(at, byte),
                1 => drop(data.drain(at..(at + usize::from(byte)).min(data.len()))),
                _ => data.get_mut(at).into_iter().for_each(|old| *old ^= 1 << (byte % 8)),
            }
        }
        data
    });
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let tried = runner.run(&near, |data| {
        (target.holds)(&data);
        Ok(())
    });
    tried.unwrap();
}

#[test]
fn drafts_are_read_alike_in_pieces_and_written_so_that_both_programs_read_them() {
    try_out("draft", 500);
}

#[test]
fn any_files_show_the_same_in_any_order() {
    try_out("files", 60);
}

#[test]
fn any_log_leaves_each_event_one_number() {
    try_out("log", 60);
}

#[test]
fn names_are_injective_and_canonical() {
    try_out("name", 1_000);
}

#[test]
fn a_damaged_index_shows_nothing_wrong() {
    try_out("saved", 60);
}

#[test]
fn transaction_files_are_read_as_eventcore_fs_reads_them() {
    try_out("transaction", 200);
}

/// Each has a test above.
#[test]
fn every_target_is_tried() {
    let here = include_str!("fuzz.rs");
    for target in TARGETS {
        assert!(here.contains(&format!("try_out(\"{}\"", target.name)), "{}", target.name);
    }
}
