//! `quarantine/`: the files that the store refused, each with its reason.

use std::borrow::Cow;
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;

use crate::disk::{os_name, quoted_name};
use crate::epoch::{Place, Quarantined};
use crate::format::names::{COMPONENT_LEN_MAX, ENDING, cut_name};
use crate::view::file::File;
use crate::view::tree::{Entry, Node, Tree};

/// What is behind a file's name in that of its reason.
const REASON: &str = ".reason";

impl Tree {
    pub(super) fn find_quarantined(&self, name: &str) -> Option<Node> {
        let (found, is_reason) = match self.refused(name) {
            Some(found) => (found, false),
            None => (self.refused(name.strip_suffix(REASON)?)?, true),
        };
        let file = if is_reason { self.reason(found) } else { self.refused_bytes(found) };
        Some(Node::File(file.with_xattr("user.braidfs.file", os_name(&found.file).into_vec())))
    }

    pub(super) fn list_quarantined(&self) -> Vec<Entry> {
        let names = self.epoch.quarantined.iter().map(|found| refused_name(&found.file));
        names.flat_map(|name| [Entry::file(&*name), Entry::file(format!("{name}{REASON}"))]).collect()
    }

    /// The file that has such a name here.
    fn refused(&self, name: &str) -> Option<&Quarantined> {
        let refused = &self.epoch.quarantined;
        if name.contains("%~") {
            return refused.iter().find(|found| refused_name(&found.file) == name);
        }
        let file = refused_file(name)?;
        refused.binary_search_by(|found| found.file.as_str().cmp(&file)).ok().and_then(|at| refused.get(at))
    }

    fn refused_bytes(&self, found: &Quarantined) -> File {
        let elsewhere = || match self.epoch.past.as_ref()?.find(&found.file) {
            Place::Elsewhere(bytes) => Some(File::of_bytes(bytes, found.mtime_ns)),
            _ => None,
        };
        if let Some(file) = self.epoch.past.as_ref().and_then(|_| self.made.file(&format!("quarantine/{}", found.file), elsewhere)) {
            return file;
        }
        let (mut size, mut mtime_ns) = (found.size, found.mtime_ns);
        // Nothing is kept of a file that is valid by itself and stands in a cycle.
        if size == 0
            && let Ok(stat) = self.epoch.store.stat(&found.file)
        {
            (size, mtime_ns) = (stat.size, stat.mtime_ns);
        }
        File::of_stored(Arc::clone(&self.epoch.store), found.file.clone(), size, mtime_ns)
    }

    fn reason(&self, found: &Quarantined) -> File {
        let mut text = format!("{}\n", found.reason);
        if refused_name(&found.file).contains("%~") {
            text += &format!("its name in events/: {}\n", quoted_name(&found.file));
        }
        File::of_bytes(text.into_bytes(), found.mtime_ns)
    }
}

/// The name of a refused file in the tree: its own, but `%` is `%25` and a byte that is no UTF-8, which the store shows as `/XX`, is `%XX`.
/// One with which its reason's would be too long is cut.
fn refused_name(file: &str) -> Cow<'_, str> {
    let name = if file.contains(['%', '/']) { file.replace('%', "%25").replace('/', "%").into() } else { Cow::from(file) };
    if name.len() + REASON.len() <= COMPONENT_LEN_MAX {
        return name;
    }
    let front = name.strip_suffix(ENDING).unwrap_or(&name);
    let cut = cut_name(front, &os_name(file).into_vec(), &format!("{ENDING}{REASON}"));
    cut.strip_suffix(REASON).unwrap_or(&cut).to_owned().into()
}

/// The file that has such a name; none if no file's is written so.
fn refused_file(name: &str) -> Option<Cow<'_, str>> {
    let file: Cow<'_, str> = match name.contains('%') {
        true => name.replace("%25", "\0").replace('%', "/").replace('\0', "%").into(),
        false => name.into(),
    };
    (refused_name(&file) == name).then_some(file)
}
