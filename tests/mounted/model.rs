//! A real mount against the table of `staging/`, under random operations.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::PathBuf;

use proptest::prelude::*;

use crate::support::draft::{errno, save, write_and_close};
use crate::support::mount::Mount;
use crate::support::store::TestStore;
use crate::support::table::{NAMES, Step, Table, contents, step};

/// A mount that is started anew now and then.
struct Desk {
    /// Before the store, as fields go in this order.
    mount: Option<Mount>,
    store: TestStore,
}

impl Desk {
    fn new() -> Self {
        let store = TestStore::new();
        let mount = Some(Mount::start(&store.path()));
        Self { mount, store }
    }

    fn mount(&self) -> &Mount {
        self.mount.as_ref().unwrap()
    }

    fn staged(&self, name: usize) -> PathBuf {
        self.mount().join("staging").join(NAMES[name])
    }

    fn restart(&mut self) {
        assert!(self.mount.take().unwrap().unmount().success());
        self.mount = Some(Mount::start(&self.store.path()));
    }
}

fn answer(result: io::Result<()>) -> Result<(), i32> {
    match errno(result) {
        0 => Ok(()),
        errno => Err(errno),
    }
}

fn act(desk: &mut Desk, table: &mut Table, step: Step) {
    match step {
        Step::Save(name, content) => {
            let bytes = contents()[content].clone();
            let told = save(&desk.staged(name), &bytes);
            assert_eq!(told.is_err(), table.is_told(name, &bytes), "{told:?}");
            table.close(name, bytes);
        }
        Step::Append(name, content) => {
            let more = contents()[content].clone();
            let opened = OpenOptions::new().append(true).create(true).open(desk.staged(name));
            drop(write_and_close(opened.unwrap(), &more));
            table.append(name, &more);
        }
        Step::Rename(from, to) => {
            assert_eq!(answer(fs::rename(desk.staged(from), desk.staged(to))), table.rename(from, to));
        }
        Step::Unlink(name) => assert_eq!(answer(fs::remove_file(desk.staged(name))), table.unlink(name)),
        Step::Touch(name) => {
            let Some(bytes) = table.files.get(&name).cloned() else { return };
            drop(write_and_close(OpenOptions::new().write(true).open(desk.staged(name)).unwrap(), b""));
            table.close(name, bytes);
        }
        Step::ForgetReceipt(name) => {
            let forgotten = fs::remove_file(desk.mount().join(format!("receipts/{}.json", NAMES[name])));
            assert_eq!(forgotten.is_ok(), table.forget_receipt(name));
        }
        Step::Restart => {
            desk.restart();
            table.restart();
        }
    }
}

/// Whether a step needs a committed name that resolves only for a time.
fn needs_grace(table: &Table, step: Step) -> bool {
    match step {
        Step::Append(name, _) | Step::Unlink(name) => table.graced.contains_key(&name),
        Step::Rename(from, to) => from == to && table.graced.contains_key(&from),
        _ => false,
    }
}

fn check(desk: &Desk, table: &Table) {
    let mount = desk.mount();
    for (&name, committed) in &table.receipts {
        let state = if committed.is_some() { "committed" } else { "refused" };
        assert_eq!(mount.read_json(&format!("receipts/{}.json", NAMES[name]))["state"], state, "{}", NAMES[name]);
    }
    assert_eq!(mount.list("receipts").len(), table.receipts.len());
    let listed: Vec<String> = mount.list("staging").into_iter().filter(|name| !name.ends_with(".error")).collect();
    let mut expected: Vec<String> = table.files.keys().map(|&name| NAMES[name].to_owned()).collect();
    expected.sort();
    assert_eq!(listed, expected);
    for (&name, bytes) in &table.files {
        assert_eq!(&fs::read(desk.staged(name)).unwrap(), bytes, "{}", NAMES[name]);
    }
    assert_eq!(mount.list("transactions").len(), table.commits);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, max_shrink_iters: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_mount_is_what_a_table_says_after_any_operations(steps in prop::collection::vec(step(), 1..30)) {
        let (mut desk, mut table) = (Desk::new(), Table::default());
        for step in steps {
            if !needs_grace(&table, step) {
                act(&mut desk, &mut table, step);
                check(&desk, &table);
            }
        }
    }
}
