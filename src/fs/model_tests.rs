//! `staging/` against a model that is as simple as a table, under random operations.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::staging_tests::{Desk, LINE, ME, OTHER};
use crate::model::Errno;

/// Names that are committed, and names that are not.
const NAMES: [&str; 4] = ["a.jsonl", "b.jsonl", ".draft", "c.tmp"];
const BAD: &[u8] = b"{\"stream_id\":\"a\"}\n";

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Save whole content under a name, as an editor does.
    Save(usize, usize),
    /// Open, write at the end, close.
    Append(usize, usize),
    Rename(usize, usize),
    Unlink(usize),
    Touch(usize),
    ForgetReceipt(usize),
    Restart,
}

fn contents() -> [Vec<u8>; 5] {
    [Vec::new(), LINE.to_vec(), OTHER.to_vec(), [LINE, OTHER].concat(), BAD.to_vec()]
}

fn step() -> impl Strategy<Value = Step> {
    let (name, content) = (0..NAMES.len(), 0..contents().len());
    prop_oneof![
        4 => (name.clone(), content.clone()).prop_map(|(name, content)| Step::Save(name, content)),
        2 => (name.clone(), content).prop_map(|(name, content)| Step::Append(name, content)),
        3 => (name.clone(), name.clone()).prop_map(|(from, to)| Step::Rename(from, to)),
        1 => name.clone().prop_map(Step::Unlink),
        1 => name.clone().prop_map(Step::Touch),
        1 => name.prop_map(Step::ForgetReceipt),
        1 => Just(Step::Restart),
    ]
}

/// What must be true, as a table says it.
#[derive(Default)]
struct Model {
    /// What lies in `staging/`.
    files: BTreeMap<usize, Vec<u8>>,
    /// What was last committed under a name, while its receipt stands; refusals replace it.
    receipts: BTreeMap<usize, Option<Vec<u8>>>,
    /// Names that were committed and still resolve, with their bytes.
    graced: BTreeMap<usize, Vec<u8>>,
    commits: usize,
}

impl Model {
    fn commits(name: usize) -> bool {
        name < 2
    }

    fn is_good(bytes: &[u8]) -> bool {
        !bytes.windows(BAD.len()).any(|part| part == BAD)
    }

    /// Whether bytes repeat what was committed under a name.
    fn repeats(&self, name: usize, bytes: &[u8]) -> bool {
        matches!(self.receipts.get(&name), Some(Some(before)) if bytes.starts_with(before))
    }

    /// The last close of a name with these bytes in it.
    fn close(&mut self, name: usize, bytes: Vec<u8>) {
        self.graced.remove(&name);
        if !Self::commits(name) || bytes.is_empty() {
            self.files.insert(name, bytes);
        } else if self.repeats(name, &bytes) {
            self.files.remove(&name);
        } else if Self::is_good(&bytes) {
            self.commits += 1;
            self.files.remove(&name);
            self.receipts.insert(name, Some(bytes.clone()));
            self.graced.insert(name, bytes);
        } else {
            self.receipts.insert(name, None);
            self.files.insert(name, bytes);
        }
    }

    /// What opening a name for writing finds.
    fn present(&self, name: usize) -> Option<Vec<u8>> {
        self.files.get(&name).or_else(|| self.graced.get(&name)).cloned()
    }

    fn rename(&mut self, from: usize, to: usize) -> Result<(), Errno> {
        let bytes = self.present(from).ok_or(Errno::ENOENT)?;
        if from == to {
            return Ok(());
        }
        if Self::commits(to) && !bytes.is_empty() {
            if self.repeats(to, &bytes) {
                return Err(Errno::EEXIST);
            }
            if !Self::is_good(&bytes) {
                self.receipts.insert(to, None);
                self.graced.remove(&to);
                return Err(Errno::EINVAL);
            }
            self.commits += 1;
            self.receipts.insert(to, Some(bytes.clone()));
            self.files.remove(&from);
            self.graced.remove(&from);
            self.files.remove(&to);
            self.graced.insert(to, bytes);
            return Ok(());
        }
        self.files.remove(&from);
        self.graced.remove(&from);
        self.graced.remove(&to);
        self.files.insert(to, bytes);
        Ok(())
    }
}

fn check(desk: &Desk, model: &Model) {
    let listed: Vec<String> = desk.list("staging").into_iter().filter(|name| !name.ends_with(".error")).collect();
    let mut expected: Vec<String> = model.files.keys().map(|&name| NAMES[name].to_owned()).collect();
    expected.sort();
    assert_eq!(listed, expected);
    for (&name, bytes) in &model.files {
        assert_eq!(desk.text("staging", NAMES[name]).unwrap().as_bytes(), bytes, "{}", NAMES[name]);
    }
    for (&name, committed) in &model.receipts {
        let state = if committed.is_some() { "committed" } else { "refused" };
        assert_eq!(desk.receipt(NAMES[name])["state"], state, "{}", NAMES[name]);
    }
    assert_eq!(desk.list("receipts").len(), model.receipts.len());
    assert_eq!(desk.commits(), model.commits);
}

fn act(desk: &mut Desk, model: &mut Model, step: Step) {
    let parent = desk.directory("staging");
    match step {
        Step::Save(name, content) => {
            let bytes = contents()[content].clone();
            // What a program is told never decides what becomes of the file: the table does.
            let told = desk.drop_file(NAMES[name], &bytes);
            let fails = Model::commits(name) && (!Model::is_good(&bytes) || (!bytes.is_empty() && model.repeats(name, &bytes)));
            assert_eq!(told.is_err(), fails, "{told:?}");
            model.close(name, bytes);
        }
        Step::Append(name, content) => {
            let handle = desk.open(NAMES[name], libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND).unwrap();
            let (before, more) = (model.present(name).unwrap_or_default(), contents()[content].clone());
            let written = if more.is_empty() { Ok(()) } else { desk.fs.write(handle, 0, &more) };
            let _ = written.and(desk.close(handle));
            let is_graced = model.graced.contains_key(&name);
            if !(is_graced && more.is_empty()) {
                model.close(name, [before, more].concat());
            }
        }
        Step::Rename(from, to) => {
            let renamed = desk.fs.rename((parent, NAMES[from]), (parent, NAMES[to]), 0, ME, || ());
            assert_eq!(renamed, model.rename(from, to));
        }
        Step::Unlink(name) => {
            let expected = model.present(name).map(drop).ok_or(Errno::ENOENT);
            assert_eq!(desk.fs.unlink(parent, NAMES[name], ME), expected);
            model.files.remove(&name);
            model.graced.remove(&name);
        }
        Step::Touch(name) => {
            let Some(bytes) = model.files.get(&name).cloned() else { return };
            let handle = desk.open(NAMES[name], libc::O_WRONLY).unwrap();
            let _ = desk.close(handle);
            model.close(name, bytes);
        }
        Step::ForgetReceipt(name) => {
            let receipts = desk.directory("receipts");
            let forgotten = desk.fs.unlink(receipts, &format!("{}.json", NAMES[name]), ME);
            assert_eq!(forgotten.is_ok(), model.receipts.remove(&name).is_some());
            if forgotten.is_ok() {
                model.graced.remove(&name);
            }
        }
        Step::Restart => {
            desk.restart();
            model.graced.clear();
            // What was refused is as it was; what never had a verdict of its own has one now.
            for (&name, bytes) in &model.files {
                if Model::commits(name) && !bytes.is_empty() {
                    model.receipts.insert(name, None);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn staging_is_what_a_table_says_after_any_operations(steps in prop::collection::vec(step(), 1..25)) {
        let (mut desk, mut model) = (Desk::new(), Model::default());
        for step in steps {
            act(&mut desk, &mut model, step);
            check(&desk, &model);
        }
    }
}
