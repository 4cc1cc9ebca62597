//! The views and the braid as what a file system shows and commits to.

use std::any::Any;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use crate::braid::{AppendError, Braid, Committed};
use crate::format::names::{ENDING, file_name, longer_prefixes, stream_path};
use crate::fs::ledger::{Failure, Ledger};
use crate::fs::source::{Content, Entry, Node, Tree};
use crate::model::{Draft, Finding, Rejection};
use crate::view;

impl Tree for view::Tree {
    fn find(&self, path: &str) -> Option<Node> {
        view::Tree::find(self, path).map(Node::from)
    }

    fn find_former(&self, path: &str, incarnation: u64) -> Option<Arc<dyn Content>> {
        view::Tree::find_former(self, path, incarnation).map(|file| Arc::new(file) as Arc<dyn Content>)
    }

    fn list(&self, path: &str) -> Option<Vec<Entry>> {
        let entries = view::Tree::list(self, path)?;
        Some(entries.into_iter().map(|entry| Entry { name: entry.name, directory: entry.directory }).collect())
    }

    fn changed(&self) -> Vec<String> {
        let (index, touched) = (&self.epoch().index, &self.epoch().touched);
        let streams = touched.streams.iter().map(|&stream| format!("streams/{}", stream_path(index.streams.text(stream))));
        let types = touched.types.iter().map(|&of| format!("types/{}", file_name(index.types.text(of), ENDING)));
        let categories = touched.categories.iter().map(|&of| format!("categories/{}", file_name(index.categories.text(of), ENDING)));
        let ids = || touched.streams.iter().map(|&stream| index.streams.text(stream));
        let longer: BTreeSet<&str> = ids().flat_map(longer_prefixes).collect();
        let longer = longer.into_iter().map(|prefix| format!("categories/{}", file_name(prefix, ENDING)));
        let transactions = touched.transactions.iter().map(|&tx| format!("transactions/{}{ENDING}", index.transactions.id(tx)));
        streams.chain(types).chain(categories).chain(longer).chain(transactions).collect()
    }

    fn is_same_below(&self, before: &dyn Tree, directory: &str) -> bool {
        let Some(before) = before.as_any().and_then(|before| before.downcast_ref::<Self>()) else { return false };
        let (now, before) = (self.epoch(), before.epoch());
        match directory {
            "forks" => now.forks_number == before.forks_number,
            // Of those that are not told by name, all are other files once the order is another one.
            "categories" => now.index.log.incarnation == before.index.log.incarnation,
            // Of one without bytes of its own the disk tells the size.
            "quarantine" => Arc::ptr_eq(&now.quarantined, &before.quarantined) && now.quarantined.iter().all(|found| found.size > 0),
            _ => false,
        }
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }

    fn settled(&self, path: &str) -> Option<String> {
        view::Tree::settled(self, path)
    }

    fn is_ready(&self) -> bool {
        self.epoch().progress.ready
    }

    fn is_failed(&self) -> bool {
        self.epoch().progress.failed
    }
}

impl From<view::Node> for Node {
    fn from(node: view::Node) -> Self {
        match node {
            view::Node::Directory { mtime_ns } => Self::Directory { mtime_ns },
            view::Node::File(file) => Self::File(Arc::new(file)),
        }
    }
}

impl Content for view::File {
    fn size(&self) -> u64 {
        view::File::size(self)
    }

    fn incarnation(&self) -> u64 {
        view::File::incarnation(self)
    }

    fn grows(&self) -> bool {
        view::File::grows(self)
    }

    fn mtime_ns(&self) -> i128 {
        view::File::mtime_ns(self)
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        view::File::read(self, offset, len)
    }

    fn xattrs(&self) -> Vec<(String, Vec<u8>)> {
        view::File::xattrs(self)
    }

    fn continued_by(&self, next: &dyn Content) -> Option<Arc<dyn Content>> {
        let next = next.as_any()?.downcast_ref()?;
        Some(Arc::new(view::File::continued_by(self, next)?))
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl Ledger for Braid {
    fn append(&self, draft: Draft) -> Result<Committed, Failure> {
        Braid::append(self, draft).map_err(|error| {
            let (errno, message) = (error.errno(), error.to_string());
            match error {
                AppendError::Rejected(rejection) => Failure::Rejected(rejection),
                AppendError::Busy { .. } | AppendError::Storage { .. } => Failure::Error { errno, message, may_count: false },
                AppendError::Uncertain { .. } => Failure::Error { errno, message, may_count: true },
            }
        })
    }

    fn check(&self, draft: &Draft) -> Result<(), Rejection> {
        Braid::check(self, draft)
    }

    fn count_refused(&self, more: i8) {
        Braid::count_refused(self, more);
    }

    fn report(&self, findings: Vec<Finding>) {
        Braid::report_drafts(self, findings);
    }
}
