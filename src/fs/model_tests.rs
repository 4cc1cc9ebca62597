//! `staging/` against a table, under random operations, without a kernel.

use proptest::prelude::*;

use super::staging_tests::{Desk, ME};

#[path = "../../tests/support/table.rs"]
pub mod table;

use table::{NAMES, Step, Table, contents, step};

fn check(desk: &Desk, table: &Table) {
    let listed: Vec<String> = desk.list("staging").into_iter().filter(|name| !name.ends_with(".error")).collect();
    let mut expected: Vec<String> = table.files.keys().map(|&name| NAMES[name].to_owned()).collect();
    expected.sort();
    assert_eq!(listed, expected);
    for (&name, bytes) in &table.files {
        assert_eq!(desk.text("staging", NAMES[name]).unwrap().as_bytes(), bytes, "{}", NAMES[name]);
    }
    for (&name, committed) in &table.receipts {
        let state = if committed.is_some() { "committed" } else { "refused" };
        assert_eq!(desk.receipt(NAMES[name])["state"], state, "{}", NAMES[name]);
    }
    assert_eq!(desk.list("receipts").len(), table.receipts.len());
    assert_eq!(desk.commits(), table.commits);
}

fn act(desk: &mut Desk, table: &mut Table, step: Step) {
    let parent = desk.directory("staging");
    match step {
        Step::Save(name, content) => {
            let bytes = contents()[content].clone();
            // What a program is told never decides what becomes of the file: the table does.
            let told = desk.drop_file(NAMES[name], &bytes);
            assert_eq!(told.is_err(), table.is_told(name, &bytes), "{told:?}");
            table.close(name, bytes);
        }
        Step::Append(name, content) => {
            let handle = desk.open(NAMES[name], libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND).unwrap();
            let more = contents()[content].clone();
            let written = if more.is_empty() { Ok(()) } else { desk.fs.write(handle, 0, &more) };
            let _ = written.and(desk.close(handle));
            table.append(name, &more);
        }
        Step::Rename(from, to) => {
            let renamed = desk.fs.rename((parent, NAMES[from]), (parent, NAMES[to]), 0, ME, || ());
            assert_eq!(renamed.map_err(|errno| errno.raw()), table.rename(from, to));
        }
        Step::Unlink(name) => {
            assert_eq!(desk.fs.unlink(parent, NAMES[name], ME).map_err(|errno| errno.raw()), table.unlink(name));
        }
        Step::Touch(name) => {
            let Some(bytes) = table.files.get(&name).cloned() else { return };
            let handle = desk.open(NAMES[name], libc::O_WRONLY).unwrap();
            let _ = desk.close(handle);
            table.close(name, bytes);
        }
        Step::ForgetReceipt(name) => {
            let receipts = desk.directory("receipts");
            let forgotten = desk.fs.unlink(receipts, &format!("{}.json", NAMES[name]), ME);
            assert_eq!(forgotten.is_ok(), table.forget_receipt(name));
        }
        Step::Restart => {
            desk.restart();
            table.restart();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn staging_is_what_a_table_says_after_any_operations(steps in prop::collection::vec(step(), 1..25)) {
        let (mut desk, mut table) = (Desk::new(), Table::default());
        for step in steps {
            act(&mut desk, &mut table, step);
            check(&desk, &table);
        }
    }
}
