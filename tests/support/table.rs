//! `staging/` as simple as a table: what lies there, what was committed, what receipts say, after any steps.
//!
//! The tests of the file system without a kernel and those of a real mount take the same steps.

use std::collections::BTreeMap;

use proptest::prelude::*;

/// Names that are committed, and names that are not.
pub const NAMES: [&str; 4] = ["a.jsonl", "b.jsonl", ".draft", "c.tmp"];
/// A draft, and another one.
pub const LINE: &[u8] = b"{\"stream_id\":\"a\",\"event_type\":\"T\",\"event_data\":{}}\n";
pub const OTHER: &[u8] = b"{\"stream_id\":\"b\",\"event_type\":\"T\",\"event_data\":{}}\n";
const BAD: &[u8] = b"{\"stream_id\":\"a\"}\n";

/// What a user does; numbers are of [`NAMES`] and of [`contents`].
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Saves whole content under a name, as an editor does.
    Save(usize, usize),
    /// Opens, writes at the end, closes.
    Append(usize, usize),
    Rename(usize, usize),
    Unlink(usize),
    /// Opens for writing and closes.
    Touch(usize),
    ForgetReceipt(usize),
    /// The daemon ends and another one begins.
    Restart,
}

/// What is saved.
pub fn contents() -> [Vec<u8>; 5] {
    [Vec::new(), LINE.to_vec(), OTHER.to_vec(), [LINE, OTHER].concat(), BAD.to_vec()]
}

/// Any step.
pub fn step() -> impl Strategy<Value = Step> {
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

/// What must be true.
#[derive(Default)]
pub struct Table {
    /// What lies in `staging/`.
    pub files: BTreeMap<usize, Vec<u8>>,
    /// What was last committed under a name, while its receipt stands; refusals replace it.
    pub receipts: BTreeMap<usize, Option<Vec<u8>>>,
    /// Names that were committed and still resolve, with their bytes.
    pub graced: BTreeMap<usize, Vec<u8>>,
    /// How many transactions there are.
    pub commits: usize,
}

impl Table {
    /// Whether a name is one that is committed.
    pub fn commits(name: usize) -> bool {
        name < 2
    }

    fn is_good(bytes: &[u8]) -> bool {
        !bytes.windows(BAD.len()).any(|part| part == BAD)
    }

    /// Whether bytes repeat what was committed under a name.
    fn repeats(&self, name: usize, bytes: &[u8]) -> bool {
        matches!(self.receipts.get(&name), Some(Some(before)) if bytes.starts_with(before))
    }

    /// Whether write(2) or close(2) tells that these bytes will not be committed.
    pub fn is_told(&self, name: usize, bytes: &[u8]) -> bool {
        Self::commits(name) && (!Self::is_good(bytes) || (!bytes.is_empty() && self.repeats(name, bytes)))
    }

    /// The last close of a name with these bytes in it.
    pub fn close(&mut self, name: usize, bytes: Vec<u8>) {
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

    /// Content is written at the end of what opening the name finds.
    pub fn append(&mut self, name: usize, more: &[u8]) {
        let before = self.present(name).unwrap_or_default();
        if !(self.graced.contains_key(&name) && more.is_empty()) {
            self.close(name, [&before, more].concat());
        }
    }

    /// What opening a name for writing finds.
    pub fn present(&self, name: usize) -> Option<Vec<u8>> {
        self.files.get(&name).or_else(|| self.graced.get(&name)).cloned()
    }

    /// What rename(2) answers. What was committed is gone, though its name still resolves.
    pub fn rename(&mut self, from: usize, to: usize) -> Result<(), i32> {
        if from == to {
            return self.present(from).map(drop).ok_or(libc::ENOENT);
        }
        let bytes = self.files.get(&from).cloned().ok_or(libc::ENOENT)?;
        if Self::commits(to) && !bytes.is_empty() {
            if self.repeats(to, &bytes) {
                return Err(libc::EEXIST);
            }
            if !Self::is_good(&bytes) {
                self.receipts.insert(to, None);
                self.graced.remove(&to);
                return Err(libc::EINVAL);
            }
            self.commits += 1;
            self.receipts.insert(to, Some(bytes.clone()));
            self.files.remove(&from);
            self.files.remove(&to);
            self.graced.insert(to, bytes);
            return Ok(());
        }
        self.files.remove(&from);
        self.graced.remove(&to);
        self.files.insert(to, bytes);
        Ok(())
    }

    /// What unlink(2) answers.
    pub fn unlink(&mut self, name: usize) -> Result<(), i32> {
        self.present(name).ok_or(libc::ENOENT)?;
        self.files.remove(&name);
        self.graced.remove(&name);
        Ok(())
    }

    /// Whether there was a receipt to forget.
    pub fn forget_receipt(&mut self, name: usize) -> bool {
        let is_there = self.receipts.remove(&name).is_some();
        if is_there {
            self.graced.remove(&name);
        }
        is_there
    }

    /// What was refused is as it was; what never had a verdict of its own has one now.
    pub fn restart(&mut self) {
        self.graced.clear();
        for (&name, bytes) in &self.files {
            if Self::commits(name) && !bytes.is_empty() {
                self.receipts.insert(name, None);
            }
        }
    }
}
