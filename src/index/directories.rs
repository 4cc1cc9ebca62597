//! The directories that the `/` in stream ids makes, kept up as streams come and go.

use crate::dag::column::Column;
use crate::format::binary::binary_fields;
use crate::format::names::stream_path;
use crate::index::names::Names;

/// One directory below `streams/`.
#[derive(Clone, Debug, Default)]
struct Directory {
    parent: u32,
    /// Streams and directories in it, in the order in which they were first met, also those without events.
    streams: Column<u32, 256>,
    directories: Column<u32, 256>,
    /// How many streams with events lie in it, at any depth.
    live: u32,
}
binary_fields!(Directory { parent, streams, directories, live });

/// The tree; a directory's number stands for its encoded path for ever.
#[derive(Clone, Debug, Default)]
pub struct Directories {
    paths: Names,
    entries: Column<Directory, 256>,
    /// The directory of each stream.
    of_stream: Column<u32>,
}
binary_fields!(Directories { paths, entries, of_stream });

impl Directories {
    /// Enters the next stream; it has no events yet.
    pub(crate) fn enter(&mut self, stream: u32, stream_id: &str) {
        let path = stream_path(stream_id);
        let directory = self.directory(path.rsplit_once('/').map_or("", |(directory, _)| directory));
        debug_assert_eq!(self.of_stream.len(), stream as usize);
        self.of_stream.push(directory);
        if let Some(entry) = self.entries.get_mut(directory as usize) {
            entry.streams.push(stream);
        }
    }

    fn directory(&mut self, path: &str) -> u32 {
        let mut number = self.number("", 0);
        let mut end = 0;
        while end < path.len() {
            let rest = path.get(end + usize::from(end > 0)..).unwrap_or_default();
            let start = path.len() - rest.len();
            end = start + rest.find('/').unwrap_or(rest.len());
            number = self.number(path.get(..end).unwrap_or_default(), number);
        }
        number
    }

    fn number(&mut self, path: &str, parent: u32) -> u32 {
        let number = self.paths.number(path);
        if number as usize == self.entries.len() {
            self.entries.push(Directory { parent, ..Directory::default() });
            if number != 0
                && let Some(entry) = self.entries.get_mut(parent as usize)
            {
                entry.directories.push(number);
            }
        }
        number
    }

    /// Counts a stream that got its first event or lost its last.
    pub(crate) fn count(&mut self, stream: u32, live: bool) {
        let mut number = self.of_stream.at(stream);
        while let Some(entry) = self.entries.get_mut(number as usize) {
            entry.live = if live { entry.live + 1 } else { entry.live.saturating_sub(1) };
            if number == 0 {
                break;
            }
            number = entry.parent;
        }
    }

    /// The number of a directory that has streams with events; `""` is `streams/` itself and always there.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<u32> {
        if path.is_empty() {
            return Some(0);
        }
        self.paths.find(path).filter(|&number| self.is_live(number))
    }

    /// How many streams have events.
    #[must_use]
    pub fn live(&self) -> u64 {
        self.entries.get(0).map_or(0, |root| u64::from(root.live))
    }

    fn is_live(&self, number: u32) -> bool {
        self.entries.get(number as usize).is_some_and(|entry| entry.live > 0)
    }

    /// The directories in it that have streams with events: their names.
    pub fn directories(&self, number: u32) -> impl Iterator<Item = &str> {
        let below = self.entries.get(number as usize).into_iter().flat_map(|entry| entry.directories.iter());
        below.filter(|&&number| self.is_live(number)).map(|&number| {
            let path = self.paths.text(number);
            path.rsplit_once('/').map_or(path, |(_, name)| name)
        })
    }

    /// The streams in it, also those without events.
    pub fn streams(&self, number: u32) -> impl Iterator<Item = u32> + '_ {
        self.entries.get(number as usize).into_iter().flat_map(|entry| entry.streams.iter().copied())
    }
}
