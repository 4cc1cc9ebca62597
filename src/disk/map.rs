//! Read-only mappings, so that large derived files cost no anonymous memory.

use std::fs::File;
use std::ops::Deref;
use std::path::Path;

use memmap2::{Mmap, MmapOptions};

use super::error::Context as _;
use super::read::open_at_once;
use super::torn::Keep;
use super::{Disk, DiskFile, Op, Result};

/// The bytes of a file as they were when it was mapped; an empty file is an empty slice.
#[derive(Debug, Default)]
pub struct Mapping {
    /// Ends before what it looks after.
    keep: Option<Keep>,
    map: Option<Mmap>,
}

impl Mapping {
    fn of(map: Mmap) -> Self {
        Self { keep: Keep::of(&map), map: Some(map) }
    }

    /// Whether zeros were read in the place of bytes that are not there any more: another program cut the file, or its disk fails.
    #[must_use]
    pub fn is_torn(&self) -> bool {
        self.keep.as_ref().is_some_and(Keep::is_torn)
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.map.as_deref().unwrap_or_default()
    }
}

impl Disk {
    /// Maps a file that nobody should cut or change while it is mapped: ours alone, append-only or replaced by rename. Where somebody does
    /// cut it, zeros are read and [`Mapping::is_torn`].
    pub fn map(&self, path: &Path) -> Result<Mapping> {
        self.admit(Op::Map, path)?;
        let file = open_at_once(path).context(Op::Map, path)?;
        map_file(&file).context(Op::Map, path)
    }
}

impl DiskFile {
    /// Maps what the file holds now, on the terms of [`Disk::map`].
    pub fn map(&self) -> Result<Mapping> {
        self.disk().admit(Op::Map, self.path())?;
        map_file(self.raw()).context(Op::Map, self.path())
    }
}

impl DiskFile {
    /// Maps `len` bytes from `offset` on, also where the file does not reach that far yet.
    ///
    /// What lies beyond its present end may be read only once it is written.
    ///
    /// # Errors
    /// What mmap(2) answered.
    pub fn map_beyond(&self, offset: u64, len: u64) -> Result<Mapping> {
        self.disk().admit(Op::Map, self.path())?;
        if len == 0 {
            return Ok(Mapping::default());
        }
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        // SAFETY: as for `map_file`; bytes beyond the end are read by nobody before they are written.
        #[allow(unsafe_code)]
        let map = unsafe { MmapOptions::new().offset(offset).len(len).map(self.raw()) }.context(Op::Map, self.path())?;
        Ok(Mapping::of(map))
    }
}

fn map_file(file: &File) -> std::io::Result<Mapping> {
    let len = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    if len == 0 {
        return Ok(Mapping::default());
    }
    // SAFETY: the mapping is read-only and shared; files that are mapped lie in `index/`, are written by this program
    // alone, grow only at their end (past `len`) and are replaced by rename, never cut in place.
    #[allow(unsafe_code)]
    let map = unsafe { MmapOptions::new().len(len).map(file) }?;
    Ok(Mapping::of(map))
}
