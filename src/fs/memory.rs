//! A tree in memory that stands in for the views, in tests only.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use crate::fs::source::{Content, Entry, Node, Tree};

/// Files by path; their directories are there by themselves.
#[derive(Clone, Default)]
pub struct Memory {
    files: BTreeMap<String, Arc<File>>,
    /// Whatever was changed since it was made, so more than since it was last shown.
    changed: BTreeSet<String>,
}

#[derive(Clone)]
struct File {
    bytes: Vec<u8>,
    incarnation: u64,
    grows: bool,
}

impl Content for File {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn incarnation(&self) -> u64 {
        self.incarnation
    }

    fn grows(&self) -> bool {
        self.grows
    }

    fn mtime_ns(&self) -> i128 {
        self.bytes.len() as i128
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let start = (offset as usize).min(self.bytes.len());
        let end = (start + len).min(self.bytes.len());
        Ok(self.bytes[start..end].to_vec())
    }

    fn xattrs(&self) -> Vec<(String, Vec<u8>)> {
        vec![("user.braidfs.size".to_owned(), self.bytes.len().to_string().into_bytes())]
    }
}

impl Memory {
    /// The tree with one more file that grows, or another in its place.
    pub fn with(self, path: &str, incarnation: u64, text: &str) -> Self {
        self.with_file(path, File { bytes: text.as_bytes().to_vec(), incarnation, grows: true })
    }

    /// The tree with a file that is another one for every text.
    pub fn with_text(self, path: &str, text: &str) -> Self {
        let incarnation = text.bytes().fold(7, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        self.with_file(path, File { bytes: text.as_bytes().to_vec(), incarnation, grows: false })
    }

    fn with_file(mut self, path: &str, file: File) -> Self {
        self.changed.insert(path.to_owned());
        self.files.insert(path.to_owned(), Arc::new(file));
        self
    }

    /// The tree without a file.
    pub fn without(mut self, path: &str) -> Self {
        self.changed.insert(path.to_owned());
        self.files.remove(path);
        self
    }

    /// As what a file system shows.
    pub fn shown(&self) -> Arc<dyn Tree> {
        Arc::new(self.clone())
    }
}

impl Tree for Memory {
    fn find(&self, path: &str) -> Option<Node> {
        if let Some(file) = self.files.get(path) {
            return Some(Node::File(Arc::clone(file) as Arc<dyn Content>));
        }
        self.list(path).map(|names| Node::Directory { mtime_ns: names.len() as i128 })
    }

    fn list(&self, path: &str) -> Option<Vec<Entry>> {
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        let mut entries: Vec<Entry> = Vec::new();
        for rest in self.files.keys().filter_map(|file| file.strip_prefix(&prefix)) {
            let (name, directory) = rest.split_once('/').map_or((rest, false), |(name, _)| (name, true));
            let entry = Entry { name: name.to_owned(), directory };
            if !entries.contains(&entry) {
                entries.push(entry);
            }
        }
        (path.is_empty() || !entries.is_empty()).then_some(entries)
    }

    fn changed(&self) -> Vec<String> {
        self.changed.iter().cloned().collect()
    }

    fn is_ready(&self) -> bool {
        true
    }
}
