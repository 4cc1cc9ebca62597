//! Files that cost more to make than to read, kept with their tree: whoever reads one asks for its path again and again, a piece each time.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use lru::LruCache;

use crate::view::file::File;

/// How many files one tree keeps.
const FILES_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);
/// How many bytes they hold together; one alone may hold more.
const BYTES_MAX: u64 = 64 << 20;

/// The files of one tree that were asked for last, by path.
#[derive(Debug)]
pub(super) struct Made {
    files: Mutex<LruCache<String, Arc<OnceLock<Option<File>>>>>,
}

impl Default for Made {
    /// Takes next to nothing: each publication has a tree of its own.
    fn default() -> Self {
        Self { files: Mutex::new(LruCache::sparse(FILES_MAX)) }
    }
}

impl Made {
    /// The file of a path, made if it is not at hand; many who ask for it at once wait for one. None is not kept.
    ///
    /// Only for what a tree shows the same for as long as it is there.
    pub(super) fn file(&self, path: &str, make: impl FnOnce() -> Option<File>) -> Option<File> {
        let place = self.place(path);
        if let Some(file) = place.get() {
            return file.clone();
        }
        let file = place.get_or_init(|| {
            #[cfg(test)]
            crate::view::counted::made();
            make()
        });
        let mut files = self.lock();
        if file.is_none() {
            files.pop(path);
        }
        let held = |place: &Arc<OnceLock<Option<File>>>| place.get().and_then(Option::as_ref).map_or(0, File::held_bytes);
        let mut bytes: u64 = files.iter().map(|(_, place)| held(place)).sum();
        while bytes > BYTES_MAX && files.len() > 1 {
            bytes -= files.pop_lru().map_or(0, |(_, place)| held(&place));
        }
        file.clone()
    }

    fn place(&self, path: &str) -> Arc<OnceLock<Option<File>>> {
        let mut files = self.lock();
        if let Some(place) = files.get(path) {
            return Arc::clone(place);
        }
        let place = Arc::default();
        files.put(path.to_owned(), Arc::clone(&place));
        place
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<String, Arc<OnceLock<Option<File>>>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;
    use crate::view::counted;

    fn of(len: u64) -> Option<File> {
        Some(File::of_bytes(vec![0; usize::try_from(len).unwrap()], 0))
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_last_one_is_kept_however_large() {
        let made = Made::default();
        let cost = |path: &str, len| counted::cost(|| assert!(made.file(path, || of(len)).is_some())).made;
        assert_eq!([cost("a", 1), cost("a", 1), cost("b", BYTES_MAX - 1), cost("a", 1)], [1, 0, 1, 0]);
        // "b" was asked for before "a".
        assert_eq!([cost("c", 1), cost("a", 1), cost("b", BYTES_MAX - 1)], [1, 0, 1]);
        assert_eq!([cost("large", BYTES_MAX + 1), cost("large", BYTES_MAX + 1), cost("a", 1)], [1, 0, 1]);
        for n in 0..FILES_MAX.get() {
            cost(&n.to_string(), 1);
        }
        assert_eq!([cost("a", 1), made.lock().len() as u64], [1, FILES_MAX.get() as u64]);
    }

    #[test]
    fn what_is_not_there_takes_no_place() {
        let made = Made::default();
        assert!(made.file("none", || None).is_none());
        assert_eq!(made.lock().len(), 0);
    }
}
