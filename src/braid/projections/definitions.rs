//! The definitions in `projections/`, read again whenever their files changed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::locked;
use crate::disk::Stat;
use crate::fold::{Definition, FoldError, FoldErrorKind, Per};
use crate::store::Store;

/// A definition, or why its text is none.
pub(super) type Read = Arc<Result<Definition, FoldError>>;

/// Names longer than this are no definition's.
const NAME_BYTES_MAX: usize = 100;

/// What was read, with the facts of the files at that time.
#[derive(Default)]
pub(super) struct Definitions {
    read: Mutex<HashMap<String, (Stat, Read)>>,
}

impl Definitions {
    /// The definition of a name as it is now.
    pub(super) fn find(&self, store: &Store, name: &str) -> Option<Read> {
        if !is_name(name) {
            return None;
        }
        let stat = store.projection_stat(name).ok().flatten();
        let mut read = locked(&self.read);
        let Some(stat) = stat else {
            read.remove(name);
            return None;
        };
        if let Some((_, definition)) = read.get(name).filter(|(before, _)| *before == stat) {
            return Some(Arc::clone(definition));
        }
        let definition = Arc::new(read_definition(store, name));
        read.insert(name.to_owned(), (stat, Arc::clone(&definition)));
        Some(definition)
    }

    /// All definitions by name.
    pub(super) fn all(&self, store: &Store) -> Vec<(String, Read)> {
        let names = store.projections().unwrap_or_default().into_iter();
        names.filter_map(|name| self.find(store, &name).map(|read| (name, read))).collect()
    }

    /// The digests of all definitions that can be folded.
    pub(super) fn digests(&self, store: &Store) -> Vec<[u8; 32]> {
        self.all(store).iter().filter_map(|(_, read)| read.as_ref().as_ref().ok().map(Definition::digest)).collect()
    }
}

/// The definition of a name that has one.
///
/// # Errors
/// Why its file, or the text in it, is none.
pub fn read_definition(store: &Store, name: &str) -> Result<Definition, FoldError> {
    let bytes = store.read_projection(name).map_err(|error| FoldError::new(FoldErrorKind::Program, error.to_string()))?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|error| FoldError::new(FoldErrorKind::Program, format!("the definition is not UTF-8: {error}")))?;
    Definition::parse(name, text)
}

/// What has a state of its own; a text that is no definition has one file, which says why.
pub(super) fn per_of(read: &Read) -> Per {
    read.as_ref().as_ref().map_or(Per::All, |definition| definition.per)
}

/// Whether a file's name can be a definition's: any other file is none of ours. A name that ends like a state's file would
/// make two files of `views/` share one name.
fn is_name(name: &str) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    name.len() <= NAME_BYTES_MAX
        && name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
        && name.as_bytes().iter().all(plain)
        && !name.ends_with(".json")
}
